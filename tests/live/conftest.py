"""Fixtures of the live tests."""
from __future__ import absolute_import

import os
import shutil
import tempfile

import pytest

from . import bpffs, cgroup2


@pytest.fixture
def pin_root():
    """A fresh folder in the BPF file system, gone with all its pins afterwards."""
    path = tempfile.mkdtemp(prefix="lbc-test-", dir=bpffs())
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cgroup():
    """A fresh cgroup2 folder; its path."""
    path = tempfile.mkdtemp(prefix="lbc-test-", dir=cgroup2())
    yield path
    os.rmdir(path)
