"""Patching, loading and its retries, constants as immediates, BTF made older: without a kernel."""
from __future__ import absolute_import

import errno
import struct
from collections import OrderedDict

import pytest

from lbc.bpf import const_data, externs, prog_btf, programs, sections, spec as S
from lbc.bpf.features import RETURN_0, insn
from lbc.errors import LbcError, VerifierError
from lbc.uapi import bpf as U
from tests.oldkernel import OldKernel


class Table(object):
    def __init__(self, fd):
        self.fd = fd


class NoBtf(object):
    """Stands for KernelBtf where nothing is asked of it."""

    def attach_id(self, prefix, name, *more, **words):
        return {"bpf_iter_task": 70, "vfs_read": 71, "btf_trace_sched_switch": 72,
                "bpf_lsm_file_open": 73}[prefix + name], 9


def program(insns=RETURN_0, relocs=(), **more):
    more.setdefault("type", U.BPF_PROG_TYPE_TRACEPOINT)
    return S.ProgramSpec(more.pop("name", "use"), more.pop("section", "tp/a/b"), insns=bytearray(insns), relocs=relocs,
                         **more)


def context(kernel, maps=None, symbols=None, externs_=(), specs=None, **more):
    table = OrderedDict((extern.name, extern) for extern in externs_)
    obj = S.ObjectSpec("x.o", "x", "little", OrderedDict(specs or {}), OrderedDict(), OrderedDict(), table, None,
                       b"GPL")
    return programs.Context(kernel, obj, maps or {}, symbols, kernel_btf=NoBtf(), **more)


def rows(insns):
    return [struct.unpack_from("=BBhi", insns, at) for at in range(0, len(insns), 8)]


LD = insn(0x18, 1) + insn(0)


def test_map_relocations():
    ctx = context(OldKernel((5, 4)), {"m": Table(33), "d": Table(34)})
    insns, fds = programs.patch(ctx, program(LD + LD + RETURN_0, [S.Reloc(0, S.MAP, "m"),
                                                                  S.Reloc(2, S.MAP_VALUE, "d", 12)]))
    assert fds is None
    assert rows(insns)[:4] == [(0x18, 0x11, 0, 33), (0, 0, 0, 0), (0x18, 0x21, 0, 34), (0, 0, 0, 12)]


def test_symbols_and_kernel_functions():
    symbols = {"addr": externs.Symbol("addr", 0xffffffff81234567), "var": externs.Symbol("var", btf_id=5, fd=0),
               "mod": externs.Symbol("mod", btf_id=6, fd=77), "func": externs.Symbol("func", btf_id=8),
               "gone": externs.Symbol("gone", found=False)}
    call = insn(0x85, 0, 2, 0, -1)
    kinds = [S.Extern(name, "kfunc") for name in ("addr", "var", "mod", "func", "gone")]
    ctx = context(OldKernel((6, 1)), symbols=symbols, externs_=kinds)
    insns, fds = programs.patch(ctx, program(LD * 3 + call * 4 + RETURN_0, [
        S.Reloc(0, S.KSYM, "addr"), S.Reloc(2, S.KSYM, "var"), S.Reloc(4, S.KSYM, "gone"),
        S.Reloc(6, S.KFUNC, "func"), S.Reloc(7, S.KFUNC, "mod"), S.Reloc(8, S.KFUNC, "mod"),
        S.Reloc(9, S.KFUNC, "gone")]))
    got = rows(insns)
    assert got[0][3] & 0xffffffff == 0x81234567 and got[1][3] & 0xffffffff == 0xffffffff and got[0][1] == 1
    assert got[2] == (0x18, 0x31, 0, 5) and got[3] == (0, 0, 0, 0)
    assert got[4] == (0x18, 1, 0, 0) and got[5] == (0, 0, 0, 0)
    assert got[6] == (0x85, 0x20, 0, 8) and got[7] == (0x85, 0x20, 1, 6) and got[8] == (0x85, 0x20, 1, 6)
    assert got[9] == (0x85, 0, 0, 2002000004)
    assert fds == [0, 77]


@pytest.mark.parametrize("kind, attach, target, expected", [
    (U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_FENTRY, "vfs_read", (71, 9)),
    (U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_ITER, "task", (70, 9)),
    (U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_RAW_TP, "sched_switch", (72, 9)),
    (U.BPF_PROG_TYPE_LSM, U.BPF_LSM_MAC, "file_open", (73, 9)),
    (U.BPF_PROG_TYPE_KPROBE, 0, "vfs_read", (0, 0))])
def test_attach_ids(kind, attach, target, expected):
    assert programs.attach_ids(context(OldKernel((6, 1))), program(type=kind, attach_type=attach,
                                                                   attach_to=target)) == expected


def test_no_target():
    for kind, attach in ((U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_FENTRY), (U.BPF_PROG_TYPE_EXT, 0),
                         (U.BPF_PROG_TYPE_STRUCT_OPS, 0)):
        with pytest.raises(LbcError):
            programs.attach_ids(context(OldKernel((6, 1))), program(type=kind, attach_type=attach))
    with pytest.raises(LbcError):
        programs.load(context(OldKernel((6, 1))), program(type=0))


def test_names():
    assert programs.clean_name("a.b-c") == b"a_b_c" and programs.clean_name("x" * 20) == b"x" * 15
    assert programs.clean_name(u"\xe9") == b"__"


def test_eagain_is_tried_again():
    kernel, left = OldKernel((6, 1)), [5]

    def busy(attr):
        left[0] -= 1
        return left[0] >= 0
    kernel.refuse.append(("BPF_PROG_LOAD", errno.EAGAIN, busy))
    programs.load(context(kernel), program()).close()
    assert kernel.count("BPF_PROG_LOAD", failed=True) == 5 and not kernel.open_fds()


def test_the_log_grows_until_it_fits():
    kernel = OldKernel((6, 1))
    text = "".join("%d: (b7) r0 = 0\n" % i for i in range(30000)) + "R9 !read_ok\n"
    kernel.verdict = lambda prog: (errno.EACCES, text)
    with pytest.raises(VerifierError) as caught:
        programs.load(context(kernel), program())
    error = caught.value
    assert error.log == text and "R9 !read_ok" in str(error) and len(error.excerpt) < 1000
    assert error.errno == errno.EACCES and error.program == "use" and not kernel.open_fds()


def test_a_log_is_only_asked_for_after_a_refusal():
    kernel = OldKernel((6, 1))
    done = programs.load(context(kernel), program())
    assert kernel.progs[-1].log_level == 0 and done.log == ""
    done.close()
    done = programs.load(context(kernel, log_level=2), program())
    assert kernel.progs[-1].log_level == 2 and "processed 2 insns" in done.log
    done.close()


def test_info_pin_and_test_run():
    kernel = OldKernel((5, 8))
    done = programs.load(context(kernel), program(type=U.BPF_PROG_TYPE_XDP))
    info = done.info()
    assert info.name == "use" and info.type == U.BPF_PROG_TYPE_XDP and info.xlated_len == 16
    done.pin("/sys/fs/bpf/x")
    assert list(kernel.pins) == [b"/sys/fs/bpf/x"]
    ran = done.test_run(b"\0" * 64, repeat=3)
    assert ran.retval == 0 and ran.duration == 100
    fields = [row[1] for row in kernel.calls if row[0] == "BPF_PROG_TEST_RUN"][0]
    assert fields["test.repeat"] == 3 and fields["test.data_size_in"] == 64
    done.close()
    done.close()
    assert not kernel.open_fds() and not kernel.bad_closes


# -- constants as immediates -----------------------------------------------------------------------------------------

def mem(code, dst, src, offset=0):
    return insn(code, dst, src, offset)


DATA = struct.pack("=IiQhb", 7, -2, 1 << 40, -3, -1) + b"\0"


@pytest.mark.parametrize("load, offset, expected", [
    (0x61, 0, (0xb7, 2, 0, 7)), (0x61, 4, (0xb4, 2, 0, -2)), (0x69, 16, (0xb7, 2, 0, 0xfffd)),
    (0x71, 18, (0xb7, 2, 0, 0xff)),
    (0x79, 8, (0xbf, 0x12, 0, 0))])
def test_constants(load, offset, expected):
    body = bytearray(LD + mem(load, 2, 1) + insn(0xb7, 1) + RETURN_0)
    assert const_data.inline(body, 0, DATA, offset)
    got = rows(body)
    assert got[2] == expected
    if expected[0] == 0xbf:
        assert got[0][3] & 0xffffffff | got[1][3] << 32 == 1 << 40
    assert got[0][0] == 0x18 and got[0][1] == 1


@pytest.mark.parametrize("body", [
    LD + insn(0x85, imm=6) + RETURN_0,                                               # passed to a helper
    LD + mem(0x7b, 10, 1, -8) + RETURN_0,                                            # kept on the stack
    LD + mem(0x62, 1, 0) + RETURN_0,                                                 # written through
    LD + insn(0x0f, 1, 2) + mem(0x61, 2, 1) + RETURN_0,                              # computed with
    LD + insn(0x05, offset=0) + mem(0x61, 2, 1) + insn(0xb7, 1) + RETURN_0,          # read behind a label
    LD + mem(0x61, 2, 1, 100) + insn(0xb7, 1) + RETURN_0,                            # beyond the data
    LD + insn(0x15, 1, 0, 0, 0) + RETURN_0,                                          # compared
])
def test_what_is_no_constant(body):
    before = bytearray(body)
    after = bytearray(body)
    assert not const_data.inline(after, 0, DATA, 0)
    assert after == before


def test_two_reads_and_a_branch_behind():
    # r1 = &data; r2 = *(u32 *)r1; r3 = *(u32 *)(r1 + 4); if r2 == 0 goto +1; r0 = 1; exit: r1 is dead at the label
    body = bytearray(LD + mem(0x61, 2, 1) + mem(0x61, 3, 1, 4) + insn(0x15, 2, 0, 1) + insn(0xb7, 0, imm=1) + RETURN_0)
    assert const_data.inline(body, 0, DATA, 0)
    assert rows(body)[2] == (0xb7, 2, 0, 7) and rows(body)[3] == (0xb4, 3, 0, -2)


# -- BTF made older --------------------------------------------------------------------------------------------------

def btf(*types):
    strings = b"\0int\0name\0.data.x\0?late\0"
    body = b"".join(types)
    return struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings


def kind(number, name=0, vlen=0, value=0, more=(), flag=0):
    return struct.pack("=III", name, flag << 31 | number << 24 | vlen, value) + struct.pack("=%dI" % len(more), *more)


INT = kind(1, 1, 0, 4, (1 << 24 | 32,))
NEWEST = btf(INT, kind(14, 5, 0, 1, (1,)), kind(15, 10, 1, 4, (2, 0, 4)), kind(13, 0, 1, 1, (0, 1)), kind(12, 5, 1, 4),
             kind(16, 5, 0, 8),
             kind(17, 5, 0, 2, (0xffffffff,)), kind(18, 5, 0, 1), kind(2, 0, 0, 8), kind(19, 5, 1, 8, (5, 1, 0)),
             kind(4, 5, 1, 4, (5, 1, 3 << 24), 1), kind(15, 18, 1, 4, (2, 0, 4)), kind(6, 5, 1, 4, (5, 1), 1))


class Raw(object):
    def __init__(self, raw):
        self.raw = raw


@pytest.mark.parametrize("version", [(4, 18), (5, 0), (5, 2), (5, 6), (5, 13), (5, 16), (5, 17), (6, 0), (6, 9)])
def test_btf_is_taken_by_every_version(version):
    kernel = OldKernel(version)
    fd = prog_btf.load(kernel, Raw(NEWEST))
    assert fd > 0
    tries = kernel.count("BPF_BTF_LOAD", failed=True)
    data = kernel.btfs[-1].data
    assert (data == NEWEST) == (version >= (6, 9))
    again = prog_btf.load(kernel, Raw(NEWEST))
    assert kernel.count("BPF_BTF_LOAD", failed=True) == tries  # known by now
    kernel.close(fd)
    kernel.close(again)
    assert not kernel.open_fds()


def test_ids_stay_when_btf_is_made_older():
    old = prog_btf.sanitize(NEWEST, {"btf_datasec", "btf_func", "btf_float", "btf_decl_tag", "btf_type_tag",
                                     "btf_enum64", "btf_kind_flag"})
    before, after = prog_btf._walk(NEWEST), prog_btf._walk(old)
    assert len(before) == len(after)
    assert [row[1] for row in after] == [1, 1, 4, 6, 8, 4, 1, 10, 2, 5, 4, 4, 6]
    assert not prog_btf.kinds_of(old) & {12, 13, 14, 15, 16, 17, 18, 19}
    far = btf(INT, kind(14, 5, 0, 1, (1,)), kind(15, 10, 1, 4, (2, 0xfffffff0, 4)))  # damaged: no such offset
    assert len(prog_btf.sanitize(far, {"btf_datasec"})) == len(far)


# as libbpf's bpf_object__sanitize_btf: (feature, kind before, kind, vlen and flag, size or type after)
@pytest.mark.parametrize("lacks, number, expected", [
    ("btf_datasec", 2, (1, 0, 1)), ("btf_datasec", 3, (4, 1, 4)), ("btf_func", 4, (6, 1, 4)),
    ("btf_func", 5, (8, 0, 4)),
    ("btf_global_func", 5, (12, 0, 4)), ("btf_float", 6, (4, 0, 8)), ("btf_decl_tag", 7, (1, 0, 1)),
    ("btf_type_tag", 8, (10, 0, 1)), ("btf_enum64", 10, (5, 1, 8)), ("btf_enum64", 13, (6, 1, 4))])
def test_what_stands_for_newer_kinds(lacks, number, expected):
    old = prog_btf.sanitize(NEWEST, {lacks})
    at, kind_, vlen, flag, _ = prog_btf._walk(old)[number - 1]
    assert (kind_, vlen | flag << 31, struct.unpack_from("=I", old, at + 8)[0]) == expected


def test_no_btf_before_418():
    kernel = OldKernel((4, 14))
    assert prog_btf.load(kernel, Raw(NEWEST)) == 0
    assert prog_btf.load(kernel, None) == 0
    assert kernel.facts["btf"] is False


def test_maps_left_out_on_purpose_are_no_error_until_they_are_reached():
    off = S.MapSpec("off", 1, 4, 4, 1, autocreate=False)
    ctx = context(OldKernel((6, 1)), {}, specs={"on": S.MapSpec("on", 1, 4, 4, 1), "off": off})
    insns, _ = programs.patch(ctx, program(LD + RETURN_0, [S.Reloc(0, S.MAP, "off")]))
    assert rows(insns)[:2] == [(0x85, 0, 0, 2001000001)] * 2  # as libbpf poisons it: index in the object's maps
    with pytest.raises(LbcError) as caught:
        programs.patch(ctx, program(LD + RETURN_0, [S.Reloc(0, S.MAP, "on")]))
    assert "`on`" in str(caught.value)


def test_offsets_of_data_beyond_31_bits():
    ctx = context(OldKernel((6, 1)), {"d": Table(3)})
    insns, _ = programs.patch(ctx, program(LD + RETURN_0, [S.Reloc(0, S.MAP_VALUE, "d", 0x180000004)]))
    assert rows(insns)[1] == (0, 0, 0, -0x7ffffffc)


def test_multi_programs_have_no_single_target():
    row = sections.match("fentry.multi/vfs_*")[0]
    spec = program(type=row.type, attach_type=row.attach_type, attach_to="vfs_*", section_def=row)
    assert programs.attach_ids(context(OldKernel((6, 12))), spec) == (0, 0)


def test_names_of_any_bytes():
    assert programs.clean_name("caf\xe9.x")[:3] == b"caf" and b"." not in programs.clean_name("caf\xe9.x")


def test_the_log_is_no_larger_than_old_kernels_take():
    assert programs.MAX_LOG == 0xffffffff >> 8  # bpf_check of 4.15 to 5.1: len_total > UINT_MAX >> 8 is EINVAL


def test_more_than_65535_members():
    """vlen has had 24 bits since Linux 7.1 (BTF_MAX_VLEN); the types behind a large one are found all the same."""
    count = 70000
    large = btf(INT, kind(6, 5, count, 4, (5, 1) * count), kind(16, 5, 0, 8))
    assert [row[1] for row in prog_btf._walk(large)] == [1, 6, 16]
    assert [row[1] for row in prog_btf._walk(prog_btf.sanitize(large, {"btf_float"}))] == [1, 6, 4]
