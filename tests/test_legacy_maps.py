"""pylcc's map wrappers over maps whose content is known."""
from __future__ import absolute_import

import pytest

from lbc import legacy_maps as lm
from lbc.btf import values
from lbc.btf.encode import Builder
from lbc.btf.kinds import Member
from lbc.btf.parse import Btf
from lbc.errors import InputError
from lbc.uapi import bpf as u


class FakeMap(object):
    """A live map as far as the wrappers need one: a dict."""

    def __init__(self, entries, type=u.BPF_MAP_TYPE_HASH, max_entries=None, value_size=8):
        self.entries, self.name, self.type, self.value_size = dict(entries), "fake", type, value_size
        self.max_entries = max_entries or 64

    def items(self):
        return iter(sorted(self.entries.items(), key=repr))

    def keys(self):
        return iter([key for key, _ in self.items()])

    def drain(self):
        found = list(self.items())
        self.entries.clear()
        return iter(found)

    def get(self, key, default=None):
        return self.entries.get(tuple(key) if isinstance(key, list) else key, default)

    def clear(self):
        if self.type == u.BPF_MAP_TYPE_ARRAY:
            self.entries = dict.fromkeys(self.entries, 0)
        else:
            self.entries.clear()


@pytest.fixture
def record():
    """f(a, name, words) -> Record of struct { u32 a; char name[8]; struct { u16 words[2]; } in; }."""
    build = Builder()
    u32 = build.add_int("u32", 4, 32)
    char = build.add_int("char", 1, 8, 1)
    u16 = build.add_int("u16", 2, 16)
    text = build.add_array(char, u32, 8)
    pair = build.add_array(u16, u32, 2)
    inner = build.add_struct("inner", 4, [Member("words", pair, 0)])
    outer = build.add_struct("outer", 16, [Member("a", u32, 0), Member("name", text, 32),
                                            Member("in", inner, 96)])
    btf = Btf(build.bytes())
    decode = values.decoder(btf, outer)

    def make(a, name, words):
        import struct
        return decode(struct.pack("=I8s2H", a, name, *words))
    return make


def test_structs_are_objects(record):
    value = lm.legacy(record(7, b"bash", (1, 513)))
    assert (value.a, value.name, getattr(value, "in").words) == (7, "bash", [1, 513])
    assert value.name.decode("utf-8") == u"bash" and value.name in ("bash",)
    value.a = 8
    assert value.a == 8 and repr(value) == repr(value.__dict__)
    same, other = lm.legacy(record(8, b"bash", (1, 513))), lm.legacy(record(8, b"bash", (1, 514)))
    assert value == same and hash(value) == hash(same) and value != other and value != 8
    assert {value: 1}[same] == 1
    assert lm.plain(value) == {"a": 8, "name": "bash", "in": {"words": [1, 513]}}


def test_hash(record):
    key = record(1, b"x", (0, 0))
    table = lm.wrap(FakeMap({0: 5, 1: 6}))
    assert type(table) is lm.CmapsHash
    assert table.get() == {0: 5, 1: 6} and table.getKeys() == [0, 1]     # the key 0 counts
    assert table.getKeyValue(1) == 6 and table.getKeyValue(2) is None
    assert table.getThenClear() == {0: 5, 1: 6} and table.get() == {}
    table = lm.wrap(FakeMap({key: record(2, b"y", (3, 4))}))
    (found, value), = table.get().items()
    assert (found.a, found.name, value.a, value.name) == (1, "x", 2, "y")
    table = lm.wrap(FakeMap({1: 2}))
    table.clear()
    assert table.get() == {}


def test_per_cpu_values_are_lists():
    table = lm.wrap(FakeMap({0: [1, 0, 2]}, u.BPF_MAP_TYPE_PERCPU_HASH))
    assert type(table) is lm.CmapsPerHash and table.get() == {0: [1, 0, 2]}
    table = lm.wrap(FakeMap({0: [1, 2], 1: [0, 0]}, u.BPF_MAP_TYPE_PERCPU_ARRAY, 2))
    assert type(table) is lm.CmapsPerArray and table.get() == {0: [1, 2], 1: [0, 0]} and table.get(1) == [[1, 2]]


def test_arrays():
    table = lm.wrap(FakeMap({0: 5, 1: 6, 2: 7}, u.BPF_MAP_TYPE_ARRAY, 3))
    assert type(table) is lm.CmapsArray
    assert table.get() == [5, 6, 7] + [None] * 7 and table.get(2) == [5, 6]
    assert table.getKeyValue(2) == 7 and table.getKeyValue(3) is None and table.getKeyValue(-1) is None
    assert table.getThenClear() == {0: 5, 1: 6, 2: 7} and table.get(3) == [0, 0, 0]


def test_histograms(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "38")
    counts = dict.fromkeys(range(64), 0)
    counts.update({3: 3, 4: 1})         # [4,8) and [8,16)
    table = lm.wrap(FakeMap(counts, u.BPF_MAP_TYPE_ARRAY, 64))
    assert type(table) is lm.CmapsHist2 and len(table.get()) == 64 and sum(table.get()) == 4
    table.showHist("head")
    assert capsys.readouterr().out == ("head\n[4,8)       3   |%s%s|\n[8,16)      1   |%s%s|\n"
                                       % ("@" * 15, " " * 5, "@" * 5, " " * 15))
    counts = dict.fromkeys(range(20), 0)
    counts[2] = 2                       # [100,1K)
    table = lm.wrap(FakeMap(counts, u.BPF_MAP_TYPE_ARRAY, 20))
    assert type(table) is lm.CmapsHist10
    table.showHist()
    assert capsys.readouterr().out == "dummy\n[100,1K)    2   |%s|\n" % ("@" * 20)
    with pytest.raises(ValueError):
        table.showHist("x", [0] * 20)
    # as many entries of another size are no histogram
    assert type(lm.wrap(FakeMap({}, u.BPF_MAP_TYPE_ARRAY, 64, value_size=4))) is lm.CmapsArray


class Stacks(FakeMap):
    def frames(self, stack_id):
        from lbc.kallsyms import Frame
        return [Frame(address, "f%d" % address if address < 9 else None) for address in self.entries.get(stack_id, [])]


def test_stacks():
    live = Stacks({3: [1, 2, 99]}, u.BPF_MAP_TYPE_STACK_TRACE, 32, value_size=127 * 8)
    table = lm.wrap(live)
    assert table.getArr(3) == [1, 2, 99] + [0] * 124 and table.getArr(4) is None
    for wrong in (-1, -14, 0xfffffff2, 0xffffffffffffffef):    # -EFAULT and -EEXIST as programs store them
        assert table.getArr(wrong) is None and table.getStacks(wrong) == []
    assert table.getStacks(3) == ["f1", "f2", "0x63"] and table.getStacks(3, 1) == ["f1"]


class Owner(object):
    def __init__(self, codec):
        self.codec = codec

    def record_codec(self, live):
        return self.codec


def test_events(record):
    class Codec(object):
        size = 16

        @staticmethod
        def decode(data):
            import struct
            a, name, first, second = struct.unpack_from("=I8s2H", data)
            return record(a, name, (first, second))

    table = lm.wrap(FakeMap({}, u.BPF_MAP_TYPE_PERF_EVENT_ARRAY), Owner(Codec))
    event = table.event(b"\x05\0\0\0comm\0\0\0\0\1\0\2\0pad.")
    assert (event.a, event.name) == (5, "comm")
    with pytest.raises(IndexError):
        table.event(b"short")
    assert lm.wrap(FakeMap({}, u.BPF_MAP_TYPE_PERF_EVENT_ARRAY), Owner(None)).event(b"raw") == b"raw"
    with pytest.raises(InputError):
        table.perf_buffer_poll(obj=object())


def test_lost_events_are_told(capsys):
    table = lm.wrap(FakeMap({}, u.BPF_MAP_TYPE_PERF_EVENT_ARRAY), Owner(None))
    told = []
    table._lost(1, 7)
    assert capsys.readouterr().out == "cpu1 lost 7 events\n"
    table.lostcb = lambda cpu, count: told.append((cpu, count))
    table._lost(2, 3)
    table.cb = lambda cpu, data, size: told.append((cpu, data, size))
    table._record(None, b"abc")
    assert told == [(2, 3), (0, b"abc", 3)]


def test_other_kinds_are_tables():
    assert type(lm.wrap(FakeMap({}, u.BPF_MAP_TYPE_LPM_TRIE))) is lm.CtableBase
    for kind, cls in ((u.BPF_MAP_TYPE_LRU_HASH, lm.CmapsLruHash), (u.BPF_MAP_TYPE_LRU_PERCPU_HASH, lm.CmapsLruPerHash),
                      (u.BPF_MAP_TYPE_RINGBUF, lm.CmapsEvent)):
        assert type(lm.wrap(FakeMap({}, kind))) is cls
