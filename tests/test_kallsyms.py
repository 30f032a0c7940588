"""lbc.kallsyms on written files: searching, modules, hidden addresses, hostile text."""
from __future__ import absolute_import

import random

import pytest

from lbc.errors import InputError, NotFoundError, PrivilegeError
from lbc.kallsyms import KernelSymbols

TEXT = """\
0000000000000000 A fixed_percpu_data
0000000000001000 A cpu_debug_store
ffffffff81000000 T startup_64
ffffffff81000000 T _text
ffffffff81000100 t do_one
ffffffff81000180 T vfs_read
ffffffff81000200 t do_one
ffffffff81000300 T _etext
ffffffff82000000 D data_thing
ffffffffc0005000 t second_fn\t[beta]
ffffffffc0001000 t $x\t[alpha]
ffffffffc0001000 t first_fn\t[alpha]
ffffffffc0001100 t .Llabel\t[alpha]
ffffffffc0001200 T vfs_read\t[alpha]
ffffffffc0009000 t bpf_prog_0123456789abcdef_main\t[bpf]
"""


def symbols(tmpdir, text=TEXT):
    tmpdir.join("kallsyms").write(text)
    return KernelSymbols(str(tmpdir.join("kallsyms")))


@pytest.mark.parametrize("address,expected", [
    (0xffffffff81000000, "startup_64+0x0"), (0xffffffff810000ff, "startup_64+0xff"), (0xffffffff81000100, "do_one+0x0"),
    (0xffffffff810001ff, "vfs_read+0x7f"), (0xffffffff81000234, "do_one+0x34"), (0xffffffff82000000, "data_thing+0x0"),
    (0xffffffffc0001004, "first_fn+0x4 [alpha]"), (0xffffffffc0001150, "first_fn+0x150 [alpha]"),
    (0xffffffffc0001201, "vfs_read+0x1 [alpha]"), (0xffffffffc0005001, "second_fn+0x1 [beta]"),
    (0xffffffffc0009010, "bpf_prog_0123456789abcdef_main+0x10 [bpf]"),
    (0xffffffffffffffff, "0xffffffffffffffff"), (0xffffffff82000001, "0xffffffff82000001"),
    (0x1000, "cpu_debug_store+0x0")])
def test_address_to_name(tmpdir, address, expected):
    assert str(symbols(tmpdir).lookup(address)) == expected


def test_stack_ends_at_zero(tmpdir):
    frames = symbols(tmpdir).stack([0xffffffff81000190, 0xffffffffc0005008, 0, 0xffffffff81000100])
    assert [(f.name, f.offset, f.module) for f in frames] == [("vfs_read", 0x10, ""), ("second_fn", 8, "beta")]


@pytest.mark.parametrize("loaded", [False, True])
def test_name_to_addresses(tmpdir, loaded):
    k = symbols(tmpdir)
    if loaded:
        k.lookup(0)
    assert k.addresses("do_one") == [0xffffffff81000100, 0xffffffff81000200]
    assert k.addresses("vfs_read") == [0xffffffff81000180, 0xffffffffc0001200]
    assert k.addresses("vfs_read", "alpha") == [0xffffffffc0001200] and k.addresses("vfs_read",
                                                                                    "") == [0xffffffff81000180]
    assert k.addresses("fs_read") == [] == k.addresses("vfs_rea") == k.addresses("D") == k.addresses("alpha")
    assert k.find_all(["_text", "second_fn", "none"]) == {
        "_text": [(0xffffffff81000000, "T", "")], "second_fn": [(0xffffffffc0005000, "t", "beta")], "none": []}
    assert k.address("first_fn") == 0xffffffffc0001000 and k.has("do_one") and not k.has("do_on")
    with pytest.raises(InputError):
        k.address("do_one")
    with pytest.raises(NotFoundError) as error:
        k.address("vfs_raed")
    assert error.value.near == ["vfs_read"]


def test_names_across_read_boundaries(tmpdir):
    rows = [(0xffffffff81000000 + 16 * i, "function_number_%d" % i) for i in range(20000)]
    k = symbols(tmpdir, "".join("%016x t %s\n" % row for row in rows))
    wanted = [name for _, name in random.Random(1).sample(rows, 50)]
    assert k.find_all(wanted) == {name: [(a, "t", "")] for a, name in rows if name in set(wanted)}
    for address, name in random.Random(2).sample(rows, 500) + [rows[0], rows[-2]]:
        assert (k.lookup(address + 15).name, k.lookup(address + 15).offset) == (name, 15)


def test_hidden_addresses_are_explained(tmpdir):
    k = symbols(tmpdir, "0000000000000000 T vfs_read\n0000000000000000 T vfs_write\n0000000000000000 t f\t[m]\n")
    with pytest.raises(PrivilegeError) as error:
        k.addresses("vfs_read")
    assert "kptr_restrict" in str(error.value)
    assert k.has("vfs_write") and not k.has("nothing") and k.addresses("nothing") == []
    assert str(k.lookup(0xffffffff81000000)) == "0xffffffff81000000" and k.restricted


def test_unsorted_and_damaged_text(tmpdir):
    lines = TEXT.splitlines(True)[:9]
    random.Random(5).shuffle(lines)
    assert str(symbols(tmpdir, "".join(lines)).lookup(0xffffffff81000110)) == "do_one+0x10"
    rng = random.Random(11)
    for _ in range(500):
        raw = bytearray(TEXT.encode())
        for _ in range(rng.choice((1, 4, 30))):
            raw[rng.randrange(len(raw))] = rng.choice((0, 10, 9, 32, 91, 255, 65))
        tmpdir.join("kallsyms").write_binary(bytes(raw[:rng.randrange(len(raw))]))
        k = KernelSymbols(str(tmpdir.join("kallsyms")))
        for address in (0, 0xffffffff81000110, 0xffffffffc0001004):
            assert k.lookup(address).address == address
        k.find_all(["vfs_read", ""])
    assert symbols(tmpdir, "").lookup(5).name is None


def test_missing_file_is_no_traceback():
    with pytest.raises(PrivilegeError):
        KernelSymbols("/nonexistent/kallsyms").lookup(1)


def test_drop_and_read_again(tmpdir):
    k = symbols(tmpdir)
    assert k.lookup(0xffffffff81000100).name == "do_one"
    tmpdir.join("kallsyms").write(TEXT.replace("do_one", "do_two"))
    k.drop()
    assert k.lookup(0xffffffff81000100).name == "do_two"
