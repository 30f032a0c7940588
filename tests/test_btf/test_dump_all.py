"""vmlinux.h of a small BTF: a compiler takes it, and gives every type the size that the BTF says."""
from __future__ import absolute_import

import os
import subprocess

import pytest

from lbc.btf import dump_all, kinds, parse

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURE = os.path.join(os.path.dirname(HERE), "fixtures", "btf", "small_kernel.btf")


def test_a_compiler_agrees_about_sizes(tmpdir):
    with parse.open_btf(FIXTURE) as btf:
        text = dump_all.header(btf)
        sized = [(found.name, found.size) for found in [btf.type(n) for n in range(1, btf.count)]
                 if isinstance(found, kinds.Struct) and found.name and found.size]
    if not isinstance(text, str):
        text = "".join(text)
    assert len(sized) > 5
    source = tmpdir.join("v.c")
    source.write(text + "".join("_Static_assert(sizeof(struct %s) == %d, \"%s\");\n" % (name, size, name)
                               for name, size in sized))
    for compiler in ("clang-16", "gcc"):
        try:
            process = subprocess.Popen([compiler, "-fsyntax-only", "-w", str(source)], stderr=subprocess.PIPE)
        except OSError:
            continue
        err = process.communicate()[1]
        assert process.returncode == 0, err.decode()[-2000:]
        return
    pytest.skip("no compiler here")
