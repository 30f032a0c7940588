"""How values are stored and shown: converters, names that convert, kernels that lack a type."""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError
from lbc.expr import values
from .world import Table, compile_text

TYPES = """
enum state 4 unsigned RUN=0 WAIT=1
struct in_addr 4
    0x0 __be32 s_addr
struct in6_addr 16
    0x0 union 16 in6_u
        0x0 u8 [16] u6_addr8
        0x0 u32 [4] u6_addr32
struct sock 128
    0x0 __be32 daddr
    0x4 __be16 dport
    0x8 u64 cookie
    0x10 struct in_addr source
    0x14 u8 [4] octets
    0x18 struct in6_addr six
    0x28 struct in6_addr * psix
    0x30 struct in_addr * pfour
    0x38 enum state state
    0x3c:0+5 unsigned int bits
    0x40 u8 [16] raw
    0x50 struct in6_addr __user * usix
    0x58 int (*)(int) call
    0x60 u64 [2] words
    0x70 bool ok
    0x78 struct sock * next
struct pair 16
    0x0 u64 a
    0x8:3+5 u32 b
    0xc u16 c
    0xe u8 d
int f(struct sock * sk, struct in6_addr * six, __be32 addr, struct pair v)
"""
TABLE = Table(TYPES)


def one(text, **more):
    compiled = compile_text("p f " + text, TABLE, **more)
    return compiled.fetch[0][1], compiled.converters.get(compiled.fetch[0][0])


SHOWN = [  # expression, fetch argument, number in the event, what is shown
    ("ip_a=sk->daddr", "+0x0(%di):u32", 0x100007f, "127.0.0.1"),
    ("ip_a=sk->source", "+0x10(%di):u32", 0x100007f, "127.0.0.1"),
    ("ip_a=sk->octets", "+0x14(%di):u32", 0xff00000a, "10.0.0.255"),
    ("ip_a=sk->pfour", "+0x0(+0x30(%di)):u32", 1, "1.0.0.0"),
    ("ip_a=addr", "%dx:u32", 0x100007f, "127.0.0.1"), ("ip_a=%ax", "%ax:u32", 0x100007f, "127.0.0.1"),
    ("ip_a=@x", "@x:u32", 0x100007f, "127.0.0.1"), ("ip_a=Xsk->daddr", "+0x0(%di):x32", 0x100007f, "127.0.0.1"),
    ("ip6_a=sk->six", "+0x18(%di):x8[16]", [0] * 15 + [1], "::1"),
    ("ip6_a=six", "+0x0(%si):x8[16]", [0] * 15 + [1], "::1"),
    ("ip6_a=&sk->six", "+0x18(%di):x8[16]", [0] * 16, "::"),
    ("ip6_a=sk->psix", "+0x0(+0x28(%di)):x8[16]", [254, 128] + [0] * 14, "fe80::"),
    ("ip6_a=sk->raw", "+0x40(%di):x8[16]", [255] * 16, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("b16_p=sk->dport", "+0x4(%di):u16", 0x5000, "80"), ("B16_p=sk->dport", "+0x4(%di):u16", 0x5000, "0x50"),
    ("b16_p=Ssk->dport", "+0x4(%di):s16", -2, "-257"), ("b32_p=sk->daddr", "+0x0(%di):u32", 1, "16777216"),
    ("b64_p=sk->cookie", "+0x8(%di):u64", 1, "72057594037927936"), ("B64_p=%ax", "%ax:u64", 1, "0x100000000000000"),
    ("st=sk->state", "+0x38(%di):u32", 1, "WAIT"), ("st=sk->state", "+0x38(%di):u32", 7, "7"),
    ("s=Ssk->bits", "+0x3c(%di):b5@0/32", 31, "-1"), ("s=Xsk->bits", "+0x3c(%di):b5@0/32", 31, "0x1f"),
    ("l=&sk->six", "%di:u64", 0xffff888000000000, str(0xffff888000000018)),
    ("l=X&sk->six", "%di:x64", 0xffff888000000000,
                                                                            "0xffff888000000018"),
    ("l=S&sk->six", "%di:s64", -1, "23"), ("l=&sk->next->six", "+0x78(%di):u64", 8, "32"),
    ("l=Xcontainer_of(sk->next, struct sock, next)", "+0x78(%di):x64", 0x1078, "0x1000"),
]


@pytest.mark.parametrize("text,fetch,number,shown", SHOWN, ids=[row[0] for row in SHOWN])
def test_converters(text, fetch, number, shown):
    spelled, converter = one(text)
    assert spelled == fetch and converter(number) == shown


@pytest.mark.parametrize("text", ["n=sk->cookie", "n=Xsk->state", "n=Usk->state", "n=sk->bits", "n=sk->ok", "n=addr",
    "n=sk->words",
                                  "n=sk->call", "ipx=sk->daddr", "n=$comm", "n=@x"])
def test_what_the_kernel_prints_stays(text):
    assert one(text)[1] is None


@pytest.mark.parametrize("text,what", [
    ("ip_a=sk->dport", "shows 4 bytes, and __be16 has 2"), ("b16_p=sk->daddr", "shows 2 bytes"),
    ("b64_x=sk->daddr", "shows 8 bytes"),
    ("ip_a=sk->bits", "shows 4 bytes, and unsigned int has 0.6"), ("ip6_a=addr", "shows 16 bytes"),
    ("ip_a=sk", "shows 4 bytes"),
    ("ip6_a=sk->usix", "only from its own memory"), ("ip6_a=%ax", "shows 16 bytes"),
    ("ip6_a=v", "only be read from memory"),
    ("b64_x=&sk->six", "with something added"), ("ip_a=sk->six", "shows 4 bytes, and struct in6_addr has 16")])
def test_names_that_promise_too_much(text, what):
    with pytest.raises(ExprError) as caught:
        one(text)
    assert what in caught.value.what, caught.value


REGISTERS = [("n=v.a", "%cx:u64"), ("n=v.b", "%r8:b5@3/64"), ("n=v.c", "%r8:b16@32/64"), ("n=v.d", "%r8:b8@48/64"),
             ("n=Xv.a", "%cx:x64")]


@pytest.mark.parametrize("text,fetch", REGISTERS, ids=[row[0] for row in REGISTERS])
def test_members_in_registers(text, fetch):
    assert one(text)[0] == fetch


def test_formats_of_members_in_registers():
    assert one("n=Sv.c")[1](0xffff) == "-1" and one("n=Xv.d")[1](0xff) == "0xff" and one("n=v.d")[1] is None
    assert one("b16_n=v.c")[1](0x5000) == "80"


def test_kernels_without_hex_types():
    """x8 to x64 came with 4.9."""
    old = frozenset(["arrays"])
    spelled, converter = one("n=Xsk->cookie", features=old)
    assert (spelled, converter(255)) == ("+0x8(%di):u64", "0xff")
    spelled, converter = one("n=Xsk->words", features=old)
    assert (spelled, converter([1, 16])) == ("+0x60(%di):u64[2]", "{0x1,0x10}")
    spelled, converter = one("ip6_n=sk->six", features=old)
    assert (spelled, converter([0] * 16)) == ("+0x18(%di):u8[16]", "::")
    spelled, converter = one("n=X&sk->six", features=old)
    assert (spelled, converter(0)) == ("%di:u64", "0x18")


def test_kernels_without_arrays():
    for text in ("n=sk->words", "ip6_n=sk->six"):
        with pytest.raises(ExprError) as caught:
            one(text, features=())
        assert "this kernel cannot read" in caught.value.what
    assert one("n=sk->words[1]", features=())[0] == "+0x68(%di):u64"


def test_kernels_without_symbols():
    assert one("n=sk->call", features=())[0] == "+0x58(%di):u64" and one("n=sk->call")[0] == "+0x58(%di):symbol"


def test_arrays_of_enums():
    table = Table("enum e 4 unsigned A=0 B=1\nstruct s 8\n    0x0 enum e [2] e\nint f(struct s * s)")
    compiled = compile_text("p f n=s->e m=Xs->e", table)
    assert compiled.fetch == [("n", "+0x0(%di):u32[2]"), ("m", "+0x0(%di):x32[2]")]
    assert isinstance(compiled.converters["n"], values.Each) and compiled.converters["n"]([1, 2]) == "{B,2}"
    assert "m" not in compiled.converters
