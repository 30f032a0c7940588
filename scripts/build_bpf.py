#!/usr/bin/env python3
"""Compiles lbc/tools/bpf/*.bpf.c into the .bpf.o beside them, which ship in the wheel.

    scripts/build_bpf.py [--check]       --check writes nothing and fails when an object is not what its source gives

Needs clang 16 (CLANG names another) and libbpf-dev.  One pinned compiler and no path of this machine in the line
information, so that everybody gets the same bytes.  -mcpu=v1 runs on every kernel.
"""
from __future__ import absolute_import, print_function

import glob
import os
import platform
import shutil
import subprocess
import sys
import tempfile

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lbc", "tools", "bpf")
CLANG = os.environ.get("CLANG") or "clang-16"
STRIP = os.environ.get("LLVM_STRIP") or CLANG.replace("clang", "llvm-strip")


def build(source, target):
    """One object; DWARF is dropped, .BTF and .BTF.ext stay."""
    subprocess.check_call([
        CLANG, "-target", "bpf", "-mcpu=v1", "-g", "-O2", "-Wall", "-Werror", "-fno-ident", "-fdebug-compilation-dir=/",
        "-ffile-prefix-map=%s=." % FOLDER, "-I", "../../include",
        "-idirafter", "/usr/include/%s-linux-gnu" % platform.machine(),
        "-c", source, "-o", target], cwd=FOLDER)
    subprocess.check_call([STRIP, "-g", target])


def main(argv):
    check = "--check" in argv
    if not shutil.which(CLANG):
        print("build_bpf: no %s here (apt-get install clang-16, or set CLANG)" % CLANG, file=sys.stderr)
        return 2
    work, bad = tempfile.mkdtemp(), 0
    try:
        for source in sorted(os.path.basename(path) for path in glob.glob(FOLDER + "/*.bpf.c")):
            made, kept = os.path.join(work, "o"), os.path.join(FOLDER, source[:-2] + ".o")
            build(source, made)
            with open(made, "rb") as f:
                data = f.read()
            same = os.path.exists(kept) and open(kept, "rb").read() == data
            if check:
                bad += not same
                print("%s: %s" % (source, "matches" if same else "DIFFERS from its object"))
            elif not same:
                with open(kept, "wb") as f:
                    f.write(data)
                print("%s: %d bytes" % (os.path.relpath(kept), len(data)))
    finally:
        shutil.rmtree(work)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
