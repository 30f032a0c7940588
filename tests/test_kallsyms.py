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


SPANS = [
    (0xffffffff81000010, (0xffffffff81000000, 0x100, "startup_64", "")),  # of two at one address the first
    (0xffffffff810001ff, (0xffffffff81000180, 0x80, "vfs_read", "")),
    (0xffffffff82000000, None),                                            # the last one has no end
    (0xffffffffc0001004, (0xffffffffc0001000, 0x200, "first_fn", "alpha")),
    (0xffffffffc0001210, (0xffffffffc0001200, 0xe00, "vfs_read", "alpha")),  # the module's last: to the end of its page
    (0xffffffffc0005001, (0xffffffffc0005000, 0x1000, "second_fn", "beta")),
    (0x1, (0, 0x1000, "fixed_percpu_data", "")), (0xffffffffffffffff, None)]


@pytest.mark.parametrize("loaded", [False, True])
def test_spans_are_those_of_sprint_symbol(tmpdir, loaded):
    """Sizes reach to the next symbol (kernel/kallsyms.c get_symbol_pos, kernel/module/kallsyms.c
    find_kallsyms_symbol)."""
    k = symbols(tmpdir)
    if loaded:
        k.lookup(0xffffffff81000000)
    found = k.spans([address for address, _ in SPANS])
    assert found == {address: row for address, row in SPANS if row}
    assert (k._core is None) == (not loaded), "one pass keeps nothing"


def test_spans_of_a_module_whose_data_lies_between_anothers_code(tmpdir):
    """Since 6.4 (ac3b43283923) code and data of a module are apart."""
    text = ("ffffffff81000000 T _text\nffffffff81000100 T _etext\n"
            "ffffffffc0001000 t a_fn\t[a]\nffffffffc0009000 d a_data\t[a]\n"
            "ffffffffc0003000 t b_fn\t[b]\nffffffffc0003080 t b_last\t[b]\nffffffffc000b000 d b_data\t[b]\n")
    found = symbols(tmpdir, text).spans(
        [0xffffffffc0003010, 0xffffffffc0003090, 0xffffffffc0001001, 0xffffffffc0009001])
    assert found[0xffffffffc0003010] == (0xffffffffc0003000, 0x80, "b_fn", "b")
    assert found[0xffffffffc0003090] == (0xffffffffc0003080, 0xf80, "b_last", "b")
    assert found[0xffffffffc0001001] == (0xffffffffc0001000, 0x1000, "a_fn", "a")
    assert found[0xffffffffc0009001][2:] == ("a_data", "a")


@pytest.mark.parametrize("size", [100, 5000, 1 << 17])
def test_spans_do_not_depend_on_how_the_file_is_read(tmpdir, monkeypatch, size):
    rng, address, lines = random.Random(size), 0xffffffff81000000, []
    for number in range(3000):
        lines.append((address, "f%d" % number))
        address += rng.choice([0, 0, 16, 64, 4096])
    lines.append((address + 32, "end"))
    k = symbols(tmpdir, "".join("%016x t %s\n" % row for row in lines))
    from lbc import kallsyms
    raw = tmpdir.join("kallsyms").read_binary()
    monkeypatch.setattr(kallsyms, "_larger", lambda chunks: [raw[at:at + size] for at in range(0, len(raw), size)])
    starts = sorted({row[0] for row in lines})
    first = {}
    for start, name in lines:
        first.setdefault(start, name)
    following = dict(zip(starts, starts[1:]))
    wanted = [rng.choice(starts[:-1]) for _ in range(200)]
    found = k.spans([start + 1 for start in wanted])
    for start in wanted:
        assert found[start + 1] == (start, following[start] - start, first[start], "")


def test_hidden_addresses_have_no_spans(tmpdir):
    assert symbols(tmpdir, "".join("%016x t f%d\n" % (0, n) for n in range(9))).spans([1, 0xffffffff81000000]) == {}
