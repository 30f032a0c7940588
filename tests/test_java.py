"""Compiled Java methods: where they are entered.  Code as HotSpot made it, by objdump; a JVM where there is one."""
from __future__ import absolute_import

import binascii
import os

import pytest

from lbc import java
from lbc.errors import InputError, LbcError, NotFoundError

# (what, first bytes, where `sub rsp` or the stack bang stands by objdump, in use?)
CODE = [
    ("17, C2, static", "4881ec1800000048896c24108bc60fafc6", 0, True),
    ("17, C2", "448b560849bb000000a3647f00004d03d3493bc20f856618acff66900f1f40004881ec18000000", 0x20, True),
    ("17, C1", "448b560849bb00000017867f00004d03d34c3bd00f85c632f5ff660f1f44000089842400c0feff55", 0x20, True),
    ("17, C1, static", "89842400c0feff554883ec30488bc6", 0, True),
    ("17, replaced", "448b560849bb000000a3647f00004d03d34c3bd00f85c67f5807660f1f440000e9bb755807feff55", 0x20, False),
    ("17, replaced, static", "e9db785807feff554883ec30", 0, False),
    ("17, ZGC, no compressed class pointers", "483b46080f8556d6abff66900f1f40004881ec1800000048896c2410", 0x10, True),
    ("25, C2", "6690448b5608443b50080f8550e0abff4881ec1800000048896c2410", 0x10, True),
    ("25, C1, replaced",
     "660f1f840000000000660f1f840000000000448b5608443b50080f85c0685807e93bf55307feff55", 0x20, False),
]


@pytest.mark.parametrize("what, code, entry, live", CODE, ids=[row[0] for row in CODE])
def test_entry(what, code, entry, live):
    assert java.verified_entry(binascii.unhexlify(code)) == (entry, live)


def test_unknown_checks_are_not_guessed():
    with pytest.raises(InputError):
        java.verified_entry(b"\x44\x8b\x56\x08" + b"\xcc" * 60)


def test_hostile_code_ends():
    import random
    random.seed(17)
    pieces = [nop for nop, _ in java._NOPS] + java._CHECK_BEGINS + \
        [part for part, _ in java._CHECK_PARTS] + [b"\x0f\x85"]
    for _ in range(3000):
        code = b"".join([random.choice(pieces) for _ in range(random.randrange(12))])[:random.randrange(65)]
        try:
            entry, _ = java.verified_entry(code)
            assert 0 <= entry <= len(code) + 16
        except InputError:
            pass


@pytest.mark.parametrize("name, plain", [
    ("Ltest;::square_test", "test.square_test"), ("int test.square_test(int)", "test.square_test"),
    ("void pack.bel.bel_test()", "pack.bel.bel_test"), ("Lpack/bel;::bel_test", "pack.bel.bel_test"),
    ("test::square_test", "test.square_test"), ("test.square_test", "test.square_test"),
    ("java.util.List java.util.Map.of(int, long[])", "java.util.Map.of")])
def test_names(name, plain):
    assert java._plain_name(name) == plain


@pytest.fixture
def map_file(monkeypatch):
    """Stands for a process's perf map and code: this process's own memory."""
    from lbc import _native
    static, method, gone = [bytearray(binascii.unhexlify(CODE[i][1]) + b"\xcc" * 64) for i in (0, 1, 5)]
    at = [_native.backend.address_of(code) for code in (static, method, gone)]
    rows = [(at[0], 64, "int test.square_test(int)"), (at[2], 64, "int test.square_test(int)"),
            (at[1], 64, "int test.add(int, int)"), (at[0], 64, "int test.add(long, long)"),
            (at[2], 64, "void test.old()")]
    monkeypatch.setattr(java, "perf_map_entries", lambda pid: rows)
    monkeypatch.setattr(java, "_keep", (static, method, gone), raising=False)
    return at


@pytest.mark.skipif(os.uname()[4] != "x86_64", reason="the entry is known on x86_64")
def test_methods_of_a_process(map_file):
    pid = os.getpid()
    found = java.methods(pid, "Ltest;::square_test")
    assert [(m.entry - m.start, m.live) for m in found] == [(0, True), (0, False)]
    assert [m.entry - m.start for m in java.methods(pid, "test.add")] == [0x20, 0]       # overloads
    assert [m.entry - map_file[1] for m in java.methods(pid, "int test.add(int, int)")] == [0x20]
    with pytest.raises(NotFoundError) as caught:
        java.methods(pid, "test.squaretest")
    assert "test.square_test" in str(caught.value)
    with pytest.raises(NotFoundError):
        java.methods(pid, "int test.square_test(long)")


@pytest.mark.skipif(os.uname()[4] != "x86_64", reason="the entry is known on x86_64")
def test_what_was_replaced_is_not_probed(map_file):
    class Program(object):
        kernel = object = None
    with pytest.raises(NotFoundError) as caught:
        java.attach(Program, os.getpid(), "test.old")
    assert "jcmd" in str(caught.value)


@pytest.mark.skipif(os.uname()[4] != "x86_64", reason="the entry is known on x86_64")
def test_no_map_and_no_process():
    with pytest.raises(NotFoundError) as caught:
        java.methods(os.getpid(), "a.b")
    assert "jcmd %d Compiler.perfmap" % os.getpid() in str(caught.value)
    with pytest.raises(LbcError) as caught:
        java.methods(1 << 22, "a.b")
    assert "process" in str(caught.value)


@pytest.mark.skipif(os.uname()[4] != "x86_64", reason="the entry is known on x86_64")
def test_a_map_that_another_user_planted():
    path = "/tmp/perf-%d.map" % os.getpid()
    os.symlink("/etc/hostname", path)
    try:
        with pytest.raises(LbcError):
            java.methods(os.getpid(), "a.b")
    finally:
        os.unlink(path)
    if os.geteuid() == 0:
        with open(path, "w") as f:
            f.write("1000 10 a.b\n")
        try:
            os.chown(path, 12345, 12345)
            with pytest.raises(InputError):
                java.methods(os.getpid(), "a.b")
        finally:
            os.unlink(path)
