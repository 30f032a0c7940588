"""USDT argument texts: what the compiler writes, and how <bpf/usdt.bpf.h> wants it.  Register offsets: asm/ptrace.h."""
from __future__ import absolute_import

import struct

import pytest

from lbc.bpf.links import usdt
from lbc.bpf.links.usdt_args import CONST, DEREF, INDEXED, REG, UNREADABLE, pack_spec, parse_args
from lbc.errors import InputError

# x86_64 struct pt_regs: r15 0, r14 8, r13 16, r12 24, bp 32, bx 40, r11 48, r10 56, r9 64, r8 72, ax 80, cx 88, dx 96,
# si 104, di 112, orig_ax 120, ip 128, cs 136, flags 144, sp 152
X86 = [
    ("-4@$-9", (CONST, -9, 0, 4, True)), ("8@%rax", (REG, 0, 80, 8, False)), ("-4@%edi", (REG, 0, 112, 4, True)),
    ("1@%sil", (REG, 0, 104, 1, False)), ("-1@%ah", (REG, 0, 81, 1, True)), ("2@%r12w", (REG, 0, 24, 2, False)),
    ("-4@-1204(%rbp)", (DEREF, -1204, 32, 4, True)), ("8@(%rsp)", (DEREF, 0, 152, 8, False)),
    ("8@0x10(%r15)", (DEREF, 16, 0, 8, False)),
    ("-8@$0x7f", (CONST, 127, 0, 8, True)), ("8@%rip", (REG, 0, 128, 8, False)),
]
# aarch64 struct user_pt_regs: x0..x30 at 8*n, sp 248, pc 256
ARM = [
    ("-4@31", (CONST, 31, 0, 4, True)), ("8@x12", (REG, 0, 96, 8, False)), ("-4@w3", (REG, 0, 24, 4, True)),
    ("8@[sp]", (DEREF, 0, 248, 8, False)),
    ("-4@[sp, -60]", (DEREF, -60, 248, 4, True)), ("8@[x4,8]", (DEREF, 8, 32, 8, False)),
    ("8@xzr", (CONST, 0, 0, 8, False)),
    ("8@[x29, #16]", (DEREF, 16, 232, 8, False)),
]


@pytest.mark.parametrize("machine, text, expected", [("x86_64",) + row for row in X86]
                         + [("aarch64",) + row for row in ARM])
def test_one_argument(machine, text, expected):
    arg, = parse_args(text, machine)
    assert (arg.kind, arg.value, arg.reg, arg.size, arg.signed) == expected


def test_many_arguments():
    text = "-4@-1204(%rbp) -4@%edi -8@-1216(%rbp) -8@%r8 -4@$5 -8@%r9 8@%rdx 8@%r10 -4@$-9 -2@%cx -2@%ax -1@%sil"
    args = parse_args(text, "x86_64")
    assert [arg.kind for arg in args] == [DEREF, REG, DEREF, REG, CONST, REG, REG, REG, CONST, REG, REG, REG]
    assert [arg.kind for arg in parse_args("8@x0 -4@[sp, 12] 8@[x1, x2, lsl #3] 4@7", "aarch64")] == [REG, DEREF,
                                                                                                      INDEXED, CONST]
    with pytest.raises(InputError):
        parse_args(text + " 4@$1", "x86_64")
    assert parse_args("", "x86_64") == [] == parse_args(":", "x86_64")


def test_scaled_index():
    arg, = parse_args("8@-96(%rbp,%rax,8)", "x86_64")
    assert (arg.kind, arg.value, arg.reg, arg.index, arg.scale) == (INDEXED, -96, 32, 80, 3)
    arg, = parse_args("8@(%rdx,%rcx)", "x86_64")
    assert (arg.kind, arg.value, arg.reg, arg.index, arg.scale) == (INDEXED, 0, 96, 88, 0)


@pytest.mark.parametrize("machine, text, word", [
    ("x86_64", "8f@%xmm0", "xmm0"), ("x86_64", "-4@counter(%rip)", "counter"), ("x86_64", "16@%rax", "16"),
    ("x86_64", "8@%nope", "nope"),
    ("x86_64", "8@(%rax,%rbx,3)", "scale"), ("aarch64", "8f@d0", "d0")])
def test_what_cannot_be_read_is_noted_and_the_rest_is_kept(machine, text, word):
    bad, good = parse_args(text + (" 8@%rax" if machine == "x86_64" else " 8@x0"), machine)
    assert bad.kind == UNREADABLE and word in bad.note
    assert good.kind == REG and not good.note


def test_float_in_memory_is_raw_bits():
    arg, = parse_args("8f@-8(%rbp)", "x86_64")
    assert (arg.kind, arg.is_float, arg.signed) == (DEREF, True, False)


def test_other_machine():
    with pytest.raises(InputError):
        parse_args("8@r3", "ppc64le")


def test_old_layout():
    """struct __bpf_usdt_arg_spec of libbpf 0.8 to 1.6: u64, u32, s16, bool, s8; 12 of them; u64 cookie; s16 count."""
    raw = pack_spec(parse_args("-4@-20(%rbp) 8@$7 2@%cx 8@(%rdx,%rcx)", "x86_64"), 99, 208)
    assert len(raw) == 208
    assert struct.unpack_from("=qIhBb", raw, 0) == (-20, 2, 32, 1, 32)
    assert struct.unpack_from("=qIhBb", raw, 16) == (7, 0, 0, 0, 0)
    assert struct.unpack_from("=qIhBb", raw, 32) == (0, 1, 88, 0, 48)
    # this header knows no index: bpf_usdt_arg says -EINVAL
    assert struct.unpack_from("=qI", raw, 48)[1] not in (0, 1, 2)
    assert struct.unpack_from("=Qh", raw, 192) == (99, 4)


def test_new_layout():
    """The same of libbpf 1.7: arg_type:8, idx_reg_off:12, scale_bitshift:4, reserved:8, as gcc lays it out (24
    bytes)."""
    raw = bytearray(pack_spec(parse_args("-4@-20(%rbp,%rcx,4) 8@%rax", "x86_64"), 5, 304))
    assert struct.unpack_from("=q", raw, 0) == (-20,)
    assert raw[8] == 3 and struct.unpack_from("=H", raw, 10)[0] == 88 | 2 << 12
    assert struct.unpack_from("=hBb", raw, 14) == (32, 1, 32)
    assert raw[32] == 1 and struct.unpack_from("=h", raw, 38)[0] == 80
    assert struct.unpack_from("=Qh", raw, 288) == (5, 2)
    with pytest.raises(InputError):
        pack_spec([], 0, 100)


def test_target():
    assert usdt.parse_target("/lib/a:b.so:prov:name") == ["/lib/a:b.so", "prov", "name"]
    for text in ("x:y", "", "a::c"):
        with pytest.raises(InputError):
            usdt.parse_target(text)
