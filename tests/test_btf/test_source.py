"""Files as memory: the same bytes whichever way Python and kernel offer, and what can be given back."""
from __future__ import absolute_import

import os

import pytest

from lbc.btf import source
from lbc.errors import FormatError

SYSFS = "/sys/kernel/btf/vmlinux"


def test_a_file(tmpdir):
    path = tmpdir.join("f")
    path.write(b"\x9f\xeb" + b"x" * 5000, "wb")
    memory = source.map_or_read(str(path))
    assert memory[:] == path.read("rb") and len(memory) == 5002
    memory.close()


def test_too_short(tmpdir):
    path = tmpdir.join("f")
    path.write(b"x" * 23, "wb")
    with pytest.raises(FormatError):
        source.map_or_read(str(path))
    with pytest.raises(EnvironmentError):
        source.map_or_read(str(tmpdir.join("none")))


@pytest.mark.skipif(not os.path.exists(SYSFS), reason="this kernel shows no BTF")
@pytest.mark.parametrize("lacks", ["nothing", "mapping", "memfd", "sendfile", "writing"])
def test_sysfs(lacks, monkeypatch):
    with open(SYSFS, "rb") as f:
        raw = f.read()
    before = len(os.listdir("/proc/self/fd"))
    if lacks != "nothing":  # before 6.16 its files do not map
        real = source.mmap.mmap
        monkeypatch.setattr(source.mmap, "mmap", lambda fd, size, *how: refuse() if how else real(fd, size))
    if lacks == "memfd":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif lacks in ("sendfile", "writing"):
        monkeypatch.setattr(os, "sendfile", refuse if lacks == "sendfile" else lambda *args: 0, raising=False)
    memory = source.map_or_read(SYSFS)
    assert memory[:] == raw
    memory.close()
    assert len(os.listdir("/proc/self/fd")) == before


def refuse(*_args):
    raise OSError(22, "Invalid argument")
