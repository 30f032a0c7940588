"""What is generated and committed is what its sources give: the tools' BPF objects and the fixtures."""
from __future__ import absolute_import

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMANDS = {"tools": [sys.executable, "scripts/build_bpf.py", "--check"],
            "fixtures": ["bash", "scripts/gen_fixtures.sh", "--check"]}


@pytest.mark.parametrize("what", sorted(COMMANDS))
def test_objects_match_their_sources(what):
    if not any(os.access(os.path.join(folder, "clang-16"), os.X_OK) for folder in os.environ["PATH"].split(":")):
        pytest.skip("no clang-16, the pinned compiler")
    process = subprocess.Popen(COMMANDS[what], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = process.communicate()[0].decode("utf-8", "replace")
    assert process.returncode == 0, text
