"""lbc.btf.values against bytes that a compiler laid out (data/values.c), for both byte orders."""
from __future__ import absolute_import

import mmap
import struct

import pytest

from lbc.btf import kinds, parse, values
from lbc.btf.encode import Builder
from lbc.btf.records import EnumValue, Record
from lbc.errors import FormatError, InputError
from . import truth

STRUCT = (4,)
both = pytest.mark.parametrize("letter", "lb")


def load(letter):
    return parse.Btf(truth.read("values_%s.btf" % letter))


def decoded(letter, name, section=None):
    btf = load(letter)
    raw = truth.read("values_%s_%s.bin" % (letter, section or name))
    type_id = btf.find(name, STRUCT)[0]
    return btf, type_id, raw, values.decoder(btf, type_id)(raw)


def plain(value):
    """Records as dicts, all the way down."""
    if isinstance(value, Record):
        return dict((name, plain(each)) for name, each in value._asdict().items())
    return [plain(each) for each in value] if isinstance(value, list) else value


EVENT = {"pid": 4711, "ts": 0x0102030405060708, "comm": "cat", "uid": 1000, "gid": 100, "flags": 0xfffffffe,
         "prio": -20,
         "delta": -3, "cpu": 1}
TIGHT = {"a": 1, "b": 0xdeadbeef, "c": 0x1122334455667788, "d": -2}
BITS = {"a": 5, "b": 100, "c": -9, "d": 0x1abcd, "wide": 0x123456789a, "lvl": -5, "e": 2, "f": True, "tail": 200,
        "last": 300}
EVERYTHING = {
    "a": 255, "st": 40, "lv": -5, "bg": 0x8122334455667788, "yes": True, "no": False, "ptr": 0, "d": -2.5, "f": 0.5,
    "i": -3, "u": (1 << 100) + 9, "in": {"x": -1, "class": 300},
    "arr": [{"x": 1, "class": 2}, {"x": 3, "class": 4}, {"x": -5, "class": -6}], "nums": [1, -2, 3, -4], "sc": -7,
    "grid": [[1, 2, 3], [4, 5, 6]], "v6": [0x7f] + list(range(1, 16)), "hi": 0x7f, "lo": 1, "names": ["ab", "wxyz"],
    "mac": [0, 17, 34, 51, 68, 85], "es": [1, 0], "cv": -123456789012}


@both
@pytest.mark.parametrize("name, expected", [("event", EVENT), ("tight", TIGHT), ("bits", BITS)])
def test_structs(letter, name, expected):
    btf, type_id, raw, record = decoded(letter, name)
    assert plain(record) == expected
    assert list(record._fields) == [member.name for member in btf.type(type_id).members if member.name]
    encode = values.encoder(btf, type_id)
    for form in (record, expected, tuple(expected[field] for field in record._fields), raw):
        assert encode(form) == raw


@both
def test_everything(letter):
    btf, type_id, raw, record = decoded(letter, "everything")
    found = plain(record)
    assert found.pop("v4") == struct.unpack({"l": "<I", "b": ">I"}[letter], b"\x7f\1\2\3")[0]
    union = found.pop("un")
    assert union == {"whole": 0x04030201 if letter == "l" else 0x01020304, "parts": [1, 2, 3, 4]}
    assert found == EVERYTHING
    assert getattr(record, "in").class_ == 300 == record.in_.x + 301
    assert record.st.name == "DEAD" and repr(record.lv) == "LOW" and "%s" % record.lv == "-5"
    assert isinstance(record.yes, bool) and repr(record.arr[1]) == "pair(x=3, class=4)"
    assert values.encoder(btf, type_id)(record) == raw
    expected = dict(EVERYTHING, un={"parts": [1, 2, 3, 4]}, st="DEAD", lv="LOW")
    assert values.decoder(btf, type_id)(values.encoder(btf, type_id)(expected)) == record


@both
def test_flexible_arrays(letter):
    btf, type_id, raw, record = decoded(letter, "flex")
    assert (record.n, record.data) == (3, [9, 8, 7])
    assert values.encoder(btf, type_id)({"n": 3, "data": [9, 8, 7]}) == raw
    for buffer in (bytearray(raw), memoryview(raw)):
        assert values.decoder(btf, type_id)(buffer).data == [9, 8, 7]
    btf, type_id, raw, record = decoded(letter, "text", "text_")
    assert (record.n, record.t) == (5, "hello")


def test_buffers_and_offsets():
    btf = load("l")
    raw = truth.read("values_l_event.bin")
    decode = values.decoder(btf, btf.find("event", STRUCT)[0])
    memory = mmap.mmap(-1, 4096)
    memory[100:100 + len(raw)] = raw
    for buffer, offset in ((raw, 0), (bytearray(b"xy" + raw), 2), (memory, 100)):
        assert plain(decode(buffer, offset)) == EVENT
    memory.close()
    for short in (b"", raw[:-1]):
        with pytest.raises(FormatError) as caught:
            decode(short)
        assert "event" in str(caught.value)


@both
def test_stream(letter):
    btf, type_id, raw, record = decoded(letter, "event")
    for count in (0, 1, 63, 64, 65, 200):
        found = values.record_stream(btf, type_id)(raw * count)
        assert len(found) == count and all(each == record for each in found)
    found = values.record_stream(btf, type_id, before=8, after=4)((b"h" * 8 + raw + b"pppp") * 70 + b"rest")
    assert len(found) == 70 and found[69] == record and found[0].pid == 4711


def test_record_behaviour():
    btf, type_id, _raw, record = decoded("l", "event")
    other = record._replace(pid=1, comm="dog")
    assert (other.pid, other.comm, other.ts, record.pid) == (1, "dog", record.ts, 4711)
    assert record != other and record == values.decoder(btf, type_id)(values.encoder(btf, type_id)(record))
    assert hash(record) == hash(record._replace()) and len({record: 1, other: 2, record._replace(): 3}) == 2
    assert len(record) == 9 and record[0] == 4711 and record[-1] == 1 and list(record)[2] == "cat" and record[:1] == [
        4711]
    assert not hasattr(record, "nothing")
    with pytest.raises(AttributeError):
        record.pid = 3
    # rubbish behind the end of a text is no difference
    garbage = bytearray(_raw)
    garbage[28:32] = b"junk"
    assert values.decoder(btf, type_id)(bytes(garbage)) == record


@pytest.mark.parametrize("value", [
    {"pid": 1 << 32}, {"pid": -1}, {"prio": 1 << 31}, {"pid": "x"}, {"pid": 1.5}, {"comm": "x" * 17}, {"nosuch": 1},
    (1, 2),
    b"short", 5, None, {"pid": None}])
def test_bad_values(value):
    btf = load("l")
    with pytest.raises(InputError):
        values.encoder(btf, btf.find("event", STRUCT)[0])(value)


@pytest.mark.parametrize("value", [{"a": 8}, {"c": 16}, {"c": -17}, {"lvl": "NONE"}, {"f": 2, "e": 4}])
def test_bad_bits(value):
    btf = load("l")
    with pytest.raises(InputError):
        values.encoder(btf, btf.find("bits", STRUCT)[0])(value)


def built(order="<"):
    maker = Builder(order=order)
    return maker, maker.add_int("int", 4, 1), maker.add_int("char", 1, 1), maker.add_int("unsigned long", 8, 0)


@pytest.mark.parametrize("order", "<>")
def test_plain_types(order):
    maker, integer, char, ulong = built(order)
    enum64 = maker.add_enum64("e", 8, False, [("BIG", 1 << 63), ("ONE", 1)])
    text, pointer = maker.add_array(char, integer, 5), maker.add_ptr(0)
    odd, wide = maker.add_int("odd", 3, 1), maker.add_int("__int128", 16, 1)
    old_bits = maker.add_int("old", 4, 0, 5, 3)  # a bit-field as it was before kind_flag
    holder = maker.add_struct("holder", 4, [kinds.Member("bits", old_bits, 0)])
    section = maker.add_datasec(".data", 16,
                                [(maker.add_var("v", integer, 1), 4, 4), (maker.add_var("w", ulong, 1), 8, 8)])
    btf = parse.Btf(maker.bytes())
    for type_id, value, raw in (
            (integer, -2, b"\xfe\xff\xff\xff"), (ulong, 1 << 63, b"\0\0\0\0\0\0\0\x80"), (text, "abc", None),
            (pointer, 4096, b"\0\x10\0\0\0\0\0\0"), (odd, -2, b"\xfe\xff\xff"), (wide, -1, b"\xff" * 16),
            (enum64, 1 << 63, b"\0\0\0\0\0\0\0\x80")):
        expected = b"abc\0\0" if raw is None else raw if order == "<" else raw[::-1]
        assert values.encoder(btf, type_id)(value) == expected
        assert values.decoder(btf, type_id)(b"zz" + expected, 2) == value
    assert values.decoder(btf, enum64)(values.encoder(btf, enum64)("BIG")).name == "BIG"
    assert values.decoder(btf,
                          holder)(struct.pack(order + "I", 0x155 << 3 if order == "<" else 0x15 << 24)).bits == 0x15
    assert plain(values.decoder(btf, section)(struct.pack(order + "4xiQ", -7, 9))) == {"v": -7, "w": 9}
    for bad in (1 << 40, "x", None, 1.5):
        with pytest.raises(InputError):
            values.encoder(btf, integer)(bad)


def test_names_python_does_not_take():
    maker, integer, _char, _ulong = built()
    names = ["class", "None", "_v", "_asdict", "__init__", "print", "_fields", "plain"]
    struct_id = maker.add_struct("s", 4 * len(names), [kinds.Member(name, integer, 32 * at)
                                                       for at, name in enumerate(names)])
    record = values.decoder(parse.Btf(maker.bytes()), struct_id)(struct.pack("<8i", *range(8)))
    assert list(record) == list(range(8)) and list(record._fields) == names
    assert [getattr(record, name + "_") for name in names[:-1]] == list(range(7)) and record.plain == 7
    assert getattr(record, "class") == 0


def test_hostile():
    maker, integer, char, _ulong = built()
    huge = maker.add_array(char, integer, 0xffffffff)
    deep = maker.add_array(huge, integer, 0xffffffff)
    itself = maker.next_id
    maker.add_struct("itself", 8, [kinds.Member("m", itself, 0)])
    anonymous = maker.next_id
    maker.add_struct("", 8, [kinds.Member("", anonymous, 0), kinds.Member("", anonymous, 0)])
    outside = maker.add_struct("o", 2, [kinds.Member("x", integer, 0)])
    crooked = maker.add_struct("c", 8, [kinds.Member("x", integer, 3)])
    array_of_itself = maker.next_id
    maker.add_array(array_of_itself, integer, 2)
    blow = maker.add_struct("", 8, [kinds.Member("x", integer)])
    for _ in range(60):
        blow = maker.add_struct("", 8, [kinds.Member("", blow), kinds.Member("", blow)])
    giant = maker.add_struct("giant", 0xffffffff, [])
    forward, function = maker.add_fwd("f"), maker.add_func_proto(0, [])
    btf = parse.Btf(maker.bytes())
    for type_id in (huge, deep, itself, anonymous, outside, crooked, array_of_itself, blow, giant, forward, function,
                    0):
        with pytest.raises(FormatError):
            values.decoder(btf, type_id)


def test_enum_value():
    assert EnumValue(3).name == "" and EnumValue(3) == 3 and repr(EnumValue(3)) == "3"


def test_equal_records_hash_alike():
    """Whatever their types are made of: a record of plain numbers hashes its raw items, others what they decode to."""
    maker = Builder()
    u32, u64 = maker.add_int("u32", 4, 0), maker.add_int("u64", 8, 0)
    enum = maker.add_enum("e", 4, False, [("ONE", 1)])
    char = maker.add_int("char", 1, 1)
    text = maker.add_array(char, u32, 8)
    pair = maker.add_array(u32, u32, 2)
    plain = maker.add_struct("plain", 16, [kinds.Member("x", u32), kinds.Member("y", u64, 64)])
    wide = maker.add_struct("wide", 16, [kinds.Member("x", u64), kinds.Member("y", u32, 64)])
    named = maker.add_struct("named", 16, [kinds.Member("x", enum), kinds.Member("y", u64, 64)])
    inside = maker.add_struct("inside", 16, [kinds.Member("p", plain)])
    within = maker.add_struct("within", 16, [kinds.Member("p", named)])
    word = maker.add_struct("word", 8, [kinds.Member("t", text)])
    list_ = maker.add_struct("list", 8, [kinds.Member("t", pair)])
    btf = parse.Btf(maker.bytes())
    raw = struct.pack("=I4xQ", 1, 7)
    same = [values.decoder(btf, t)(raw) for t in (plain, named)] + [values.decoder(btf, wide)(struct.pack("=QQ", 1, 7))]
    assert same[0] == same[1] == same[2] and len(set(hash(record) for record in same)) == 1
    holders = [values.decoder(btf, t)(raw) for t in (inside, within)]
    assert holders[0] == holders[1] and hash(holders[0]) == hash(holders[1])
    # text ends at its first zero byte: what lies behind does not count, for == and so for hash()
    one, two = [values.decoder(btf, word)(data) for data in (b"ab\0\0\0\0\0\0", b"ab\0junk\0")]
    assert one == two and hash(one) == hash(two)
    one, two = [values.decoder(btf, list_)(struct.pack("=2I", 3, 4)) for _ in range(2)]
    assert one == two and hash(one) == hash(two) and {one: 1}[two] == 1
