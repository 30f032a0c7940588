#!/usr/bin/env python3
"""Compiles lbc/tools/bpf/*.bpf.c into the .bpf.o beside them, which ship in the wheel, and lbc/bpf/btf_walk.bpf.c into
the Python module btf_walk_code.py, as nothing may be slower to load than that one.

    scripts/build_bpf.py [--check]       --check writes nothing and fails when an object is not what its source gives

Needs clang 16 (CLANG names another) and libbpf-dev.  One pinned compiler and no path of this machine in the line
information, so that everybody gets the same bytes.  -mcpu=v1 runs on every kernel.
"""
from __future__ import absolute_import, print_function

import binascii
import glob
import os
import platform
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "lbc", "tools", "bpf")
sys.path.insert(0, ROOT)

from lbc.uapi.btf import BTF_KIND_VAR  # noqa: E402

CLANG = os.environ.get("CLANG") or "clang-16"
STRIP = os.environ.get("LLVM_STRIP") or CLANG.replace("clang", "llvm-strip")


def build(source, target, folder=FOLDER):
    """One object; DWARF is dropped, .BTF and .BTF.ext stay."""
    subprocess.check_call([
        CLANG, "-target", "bpf", "-mcpu=v1", "-g", "-O2", "-Wall", "-Werror", "-fno-ident", "-fdebug-compilation-dir=/",
        "-ffile-prefix-map=%s=." % folder, "-I", "../../include",
        "-idirafter", "/usr/include/%s-linux-gnu" % platform.machine(),
        "-c", source, "-o", target], cwd=folder)
    subprocess.check_call([STRIP, "-g", target])


WALK = '''"""Made by scripts/build_bpf.py of btf_walk.bpf.c; do not edit."""
from __future__ import absolute_import

# instructions, little-endian; those of them that load the address of `state`; bytes of `state`
INSNS = (%s)
LOADS = %r
SIZE = %d
STEP = %d   # instruction where the callback of bpf_loop begins
# member of `state` -> byte
PLACES = {%s}
'''


def walk_module(work):
    """Text of lbc/bpf/btf_walk_code.py."""
    from lbc.bpf import linker, reader, spec as kinds
    made = os.path.join(work, "walk.o")
    build("btf_walk.bpf.c", made, os.path.join(ROOT, "lbc", "bpf"))
    with open(made, "rb") as f:
        spec = linker.link(reader.read_object(f.read(), made))
    program, table = spec.programs["walk"], spec.maps[".bss.state"]
    loads = sorted(row.insn for row in program.relocs if row.kind == kinds.MAP_VALUE)
    assert not any(row.offset for row in program.relocs if row.kind == kinds.MAP_VALUE)
    text = binascii.hexlify(bytes(program.insns)).decode()
    lines = "\n         ".join('"%s"' % text[at:at + 96] for at in range(0, len(text), 96))
    step, = [row[0] // 8 if row[0] >= 8 * len(program.insns) else row[0] for row in program.func_info if row[0]]
    state = spec.btf.type(spec.btf.resolve(spec.btf.type(spec.btf.find_one("state", BTF_KIND_VAR)).type))
    places = ["%r: %d" % (str(member.name), member.bit_offset // 8) for member in state.members]
    places = ",\n          ".join(", ".join(places[at:at + 6]) for at in range(0, len(places), 6))
    return WALK % (lines, loads, table.value_size, step, places)


def main(argv):
    check = "--check" in argv
    if not shutil.which(CLANG):
        print("build_bpf: no %s here (apt-get install clang-16, or set CLANG)" % CLANG, file=sys.stderr)
        return 2
    work, bad = tempfile.mkdtemp(), 0
    try:
        made = []   # (path, bytes)
        for source in sorted(os.path.basename(path) for path in glob.glob(FOLDER + "/*.bpf.c")):
            build(source, os.path.join(work, "o"))
            with open(os.path.join(work, "o"), "rb") as f:
                made.append((os.path.join(FOLDER, source[:-2] + ".o"), f.read()))
        made.append((os.path.join(ROOT, "lbc", "bpf", "btf_walk_code.py"), walk_module(work).encode()))
        for kept, data in made:
            same = os.path.exists(kept) and open(kept, "rb").read() == data
            if check:
                bad += not same
                print("%s: %s" % (os.path.relpath(kept), "matches" if same else "DIFFERS from its source"))
            elif not same:
                with open(kept, "wb") as f:
                    f.write(data)
                print("%s: %d bytes" % (os.path.relpath(kept), len(data)))
    finally:
        shutil.rmtree(work)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
