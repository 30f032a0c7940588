"""The instructions of every fixture, linked and relocated by lbc, one by one against those libbpf hands to the kernel.

No kernel is asked: the judge answers libbpf's system calls itself.  Target BTFs: a small made-up kernel
(tests/fixtures/btf), this machine's kernel where readable, and the lab's kernels where they were fetched.
"""
from __future__ import absolute_import

import glob
import os
import struct

import pytest

from lbc.errors import FormatError, LbcError, RelocError

from .. import corpus

reader = pytest.importorskip("lbc.bpf.reader")
linker = pytest.importorskip("lbc.bpf.linker")
core_relo = pytest.importorskip("lbc.bpf.core_relo")

INSN = struct.Struct("<BBhi")
LD_IMM64, CALL = 0x18, 0x85
MAP_FD, MAP_VALUE, BTF_ID = 1, 2, 3     # BPF_PSEUDO_* of ld_imm64 (linux/bpf.h)
KFUNC_CALL = 2                          # BPF_PSEUDO_KFUNC_CALL

# libbpf 1.x opens none of these; lbc does, on purpose.
ACCEPTED_ON_PURPOSE = {
    "map_legacy": "objects with a maps section are still around",
    "sec_struct_ops_sleepable": "libbpf 1.1 does not know struct_ops.s (1.2 does)",
    "code_big_endian": "reading and relocating is independent of the machine; only loading is refused",
}

_TARGETS = [("small kernel", os.path.join(corpus.BTF, "small_kernel.btf")), ("this kernel", corpus.KERNEL_BTF)]
_TARGETS += [(os.path.basename(name), name) for name in sorted(glob.glob(os.path.join(corpus.LAB, "btf-*.raw")))]
if os.environ.get("LBC_TEST_LESS"):
    del _TARGETS[1:]


@pytest.fixture(scope="module")
def judge():
    judge = corpus.Judge()
    yield judge
    judge.close()


def need(judge):
    if judge.why_not:
        pytest.skip(judge.why_not)


def masked(insns, kernel_relocs=()):
    """[(opcode, registers, offset, imm)] with what only a live kernel knows (fds, ids, addresses) put to "*".

    ``kernel_relocs``: instructions whose whole immediate is the kernel's (addresses of ksyms, kfunc calls)."""
    rows, index, insns = [], 0, bytes(insns)
    while index * 8 < len(insns):
        code, registers, offset, imm = INSN.unpack_from(insns, index * 8)
        source = registers >> 4
        if code == LD_IMM64:
            upper = INSN.unpack_from(insns, index * 8 + 8)[3]
            if index in kernel_relocs or source == BTF_ID:
                rows.append((index, "ld_imm64 of the kernel", registers & 15))
            elif source == MAP_FD:
                rows.append((index, "ld_imm64 map", registers & 15))
            elif source == MAP_VALUE:
                rows.append((index, "ld_imm64 value", registers & 15, upper))
            else:
                rows.append((index, "ld_imm64", registers, imm, upper))
            index += 2
            continue
        if code == CALL and (source == KFUNC_CALL or index in kernel_relocs):
            rows.append((index, "kfunc"))
        else:
            rows.append((index, code, registers, offset, imm))
        index += 1
    return rows


def linked(name, autoload, known={}):
    """The fixture read and linked (kept: neither depends on the target)."""
    if (name, autoload) not in known:
        with open(corpus.path(name), "rb") as f:
            spec = reader.read_object(f.read(), name)
        if autoload is not None:
            for program in spec.programs.values():
                program.autoload = program.name == autoload
        known[name, autoload] = linker.link(spec)
    return known[name, autoload]


def ours(name, target, autoload=None):
    """{program: ProgramSpec} of the fixture against ``target``; ``autoload``: only that program."""
    spec = core_relo.relocate(linked(name, autoload), [target])
    return dict((key, program) for key, program in spec.programs.items() if program.autoload)


def compare(name, row, target):
    """[differences], count of programs compared."""
    differences, count = [], 0
    if row["open"]:
        if name not in ACCEPTED_ON_PURPOSE:
            try:
                ours(name, target)
                differences.append("%s: libbpf does not open it (%d), lbc does" % (name, row["open"]))
            except FormatError:
                count += 1
        return differences, count
    whole = None
    if not row["load"]:
        try:
            whole = ours(name, target)
        except LbcError as error:
            return ["%s: libbpf loads it, lbc says: %s" % (name, error)], 0
    for program, verdict in sorted(row["programs"].items()):
        if not verdict["autoload"]:
            continue
        if "insns" not in verdict:
            # not handed to the kernel: refused while relocating, or for want of an attach target, symbol, section
            if not verdict["relocated"]:
                try:
                    ours(name, target, program)
                    differences.append("%s, %s: libbpf cannot relocate it (%s)" % (name, program, row["why"].strip()))
                except RelocError:
                    count += 1
            continue
        try:
            found = (whole or ours(name, target, program))[program]
        except LbcError as error:
            differences.append("%s, %s: libbpf relocates it, lbc says: %s" % (name, program, error))
            continue
        of_kernel = set(reloc.insn for reloc in found.relocs if reloc.kind in ("ksym", "kfunc"))
        theirs = masked(bytes(bytearray.fromhex(verdict["insns"])), of_kernel)
        mine = masked(found.insns, of_kernel)
        count += 1
        for left, right in zip(theirs, mine):
            if left != right:
                differences.append("%s, %s: instruction %d: libbpf %s, lbc %s" % (
                    name, program, left[0], left[1:], right[1:]))
                break
        else:
            if len(theirs) != len(mine):
                differences.append("%s, %s: libbpf %d instructions, lbc %d" % (name, program, len(theirs), len(mine)))
    return differences, count


@pytest.mark.parametrize("newer", (False, True), ids=("system libbpf", "newer libbpf"))
@pytest.mark.parametrize("label,path", _TARGETS, ids=[label for label, _ in _TARGETS])
def test_instructions_equal_libbpf(judge, label, path, newer):
    from lbc.btf.parse import open_btf
    need(judge)
    if not os.access(path, os.R_OK):
        pytest.skip("%s is not readable" % path)
    if newer and not judge.command(newer):
        pytest.skip("the lab has no newer libbpf")
    if newer and path.startswith(corpus.LAB):
        pytest.skip("the newer libbpf is asked about two targets only, to keep this quick")
    fixtures = corpus.names()
    verdicts = judge.instructions(fixtures, path, newer)
    target, differences, count = open_btf(path), [], 0
    try:
        for name in fixtures:
            wrong, compared = compare(name, verdicts[name], target)
            differences += wrong
            count += compared
    finally:
        target.close()
    assert not differences, "\n".join(differences)
    assert count >= (150 if label == "small kernel" else 200)


def test_the_command_prints_the_same(capsys):
    """`python -m lbc relocate --json`: one line for each program, the instructions that were compared above."""
    relocate = pytest.importorskip("lbc.tools.relocate")
    import json
    btf = os.path.join(corpus.BTF, "small_kernel.btf")
    assert relocate.main([corpus.path("core_subprogram"), "--btf", btf, "--json"]) == 0
    rows = dict((row["prog"], row["insns"]) for row in map(json.loads, capsys.readouterr()[0].splitlines()))
    from lbc.btf.parse import open_btf
    target = open_btf(btf)
    expected = ours("core_subprogram", target)
    target.close()
    assert sorted(rows) == ["on_exec", "on_switch"]
    for name in rows:
        assert bytearray.fromhex(rows[name]) == expected[name].insns


def test_masking_hides_only_what_the_kernel_knows():
    plain = INSN.pack(0xb7, 1, 0, 5) + INSN.pack(0x95, 0, 0, 0)
    other = INSN.pack(0xb7, 1, 0, 6) + INSN.pack(0x95, 0, 0, 0)
    assert masked(plain) != masked(other)
    wide = INSN.pack(LD_IMM64, 1 | MAP_VALUE << 4, 0, 7) + INSN.pack(0, 0, 0, 40)
    assert masked(wide) == masked(INSN.pack(LD_IMM64, 1 | MAP_VALUE << 4, 0, 9) + INSN.pack(0, 0, 0, 40))
    assert masked(wide) != masked(INSN.pack(LD_IMM64, 1 | MAP_VALUE << 4, 0, 7) + INSN.pack(0, 0, 0, 48))


def test_every_fixture_has_its_source():
    for name in corpus.names():
        with open(corpus.path(name)[:-1] + "c") as f:
            first = f.readline()
        assert first.startswith("/* "), "%s: the first line says what the fixture shows" % name
    assert len(corpus.names()) >= 50


# Sections no judge here knows (libbpf 1.6 and newer), so no fixture has them.
WITHOUT_JUDGE = {
    "uprobe.session", "uprobe.session.s", "usdt.s", "tracepoint.s", "tp.s", "raw_tracepoint.s", "raw_tp.s", "tp_btf.s",
    "fsession", "fsession.s", "fsession.multi", "fsession.multi.s",
    "fentry.multi", "fexit.multi", "fentry.multi.s", "fexit.multi.s"}


@pytest.fixture(scope="module")
def specs():
    found = []
    for name in corpus.names():
        try:
            with open(corpus.path(name), "rb") as f:
                found.append(reader.read_object(f.read(), name))
        except FormatError:
            pass
    return found


def test_every_section_of_the_table_has_a_fixture(specs):
    from lbc.bpf.sections import SECTIONS
    used = set(id(program.section_def) for spec in specs for program in spec.programs.values())
    missing = set(row.name for row in SECTIONS if id(row) not in used)
    assert missing == WITHOUT_JUDGE


def test_every_relocation_kind_has_a_fixture(specs):
    functions = []
    for spec in specs:
        functions += list(spec.programs.values()) + list(spec.subprograms.values())
    kinds = set(row[3] for function in functions for row in function.core_relos)
    assert kinds == set(range(13))  # enum bpf_core_relo_kind


def test_every_map_type_has_a_fixture(specs):
    maps = [table for spec in specs for table in spec.maps.values()]
    types = set(table.type for table in maps) | set(table.inner.type for table in maps if table.inner)
    assert types - set([9999]) == set(range(1, 34))  # enum bpf_map_type up to the arena (6.9)


def test_fixtures_name_no_folder_of_a_machine():
    for name in corpus.names():
        with open(corpus.path(name), "rb") as f:
            data = f.read()
        for folder in (b"/home/", b"/root/", b"/usr/include", b"/tmp/", b"/work/"):
            assert folder not in data, "%s names %s" % (name, folder)
