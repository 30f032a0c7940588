"""Maps on kernels that cannot be booted: what is left out, what is asked again, what is said (tests/oldkernel.py)."""
from __future__ import absolute_import

import errno
import struct

import pytest

from lbc.bpf import maps
from lbc.bpf.global_data import Globals
from lbc.bpf.map_codec import BytesCodec, IntCodec, PerCpuCodec, codec_for
from lbc.bpf.map_raw import split
from lbc.bpf.spec import MapSpec, Variable
from lbc.errors import InputError, KernelError, NotFoundError, NotSupported, PrivilegeError
from lbc.uapi import bpf as U

from ..oldkernel import OldKernel

HASH, ARRAY, PERCPU = U.BPF_MAP_TYPE_HASH, U.BPF_MAP_TYPE_ARRAY, U.BPF_MAP_TYPE_PERCPU_HASH


def spec(kind=HASH, key=4, value=8, entries=8, name="counts", **more):
    return MapSpec(name, kind, key, value, entries, **more)


def key(i):
    return struct.pack("=I", i)


@pytest.mark.parametrize("version, kept", [((4, 9), b""), ((4, 14), b""),
                         ((4, 15), b"counts"), ((5, 4), b"counts"), ((6, 1), b"counts")])
def test_names_only_since_4_15(version, kept):
    kernel = OldKernel(version, memlock=None)
    with maps.create(kernel, spec()) as m, maps.create(kernel, spec()):
        m[1] = 2
        assert m[1] == 2 and m.name == "counts"
        assert [made.name for made in kernel.maps] == [kept, kept]
    assert kernel.count("BPF_MAP_CREATE", failed=True) == (0 if kept else 1)    # learnt once
    assert not kernel.open_fds()


def test_dots_in_names_since_5_2():
    for version, name in (((5, 0), b""), ((5, 2), b"a.rodata")):
        kernel = OldKernel(version, memlock=None)
        maps.create(kernel, spec(name="a.rodata")).close()
        maps.create(kernel, spec(name="plain")).close()
        assert [made.name for made in kernel.maps] == [name, b"plain"]


def test_memlock_is_raised_once():
    kernel = OldKernel((4, 19), memlock=65536)
    with maps.create(kernel, spec(entries=100000)):
        assert kernel.facts["memlock_raised"]
    kernel = OldKernel((4, 19), memlock=65536)
    kernel.raise_memlock = lambda: False
    with pytest.raises(PrivilegeError) as caught:
        maps.create(kernel, spec(entries=100000))
    assert "`counts`" in str(caught.value) and caught.value.errno == errno.EPERM


@pytest.mark.parametrize("status, more, words", [
    (b"CapEff:\t0000000000000000\n",
    {"/proc/sys/kernel/unprivileged_bpf_disabled": b"2\n"},
    ["CAP_BPF",
     "unprivileged_bpf_disabled"]),
    (b"CapEff:\t000001ffffffffff\n",
    {"/sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"},
     ["locked down"]),
])
def test_refusals_are_explained(status, more, words):
    kernel = OldKernel((6, 1), root=False, files=dict({"/proc/self/status": status}, **more))
    with pytest.raises(PrivilegeError) as caught:
        maps.create(kernel, spec())
    assert all(word in str(caught.value) for word in words)
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize("kind, version, since", [("RINGBUF", (5, 4), "5.8"),
                         ("QUEUE", (4, 14), "4.20"), ("BLOOM_FILTER", (5, 10), "5.16")])
def test_kinds_that_are_not_there(kind, version, since):
    kernel = OldKernel(version, memlock=None)
    with pytest.raises(NotSupported) as caught:
        maps.create(kernel, spec(getattr(U, "BPF_MAP_TYPE_" + kind), 0, 0 if kind == "RINGBUF" else 8, 4096))
    assert since in str(caught.value) and kind.lower() in str(caught.value)


def test_btf_ids_are_dropped_when_refused():
    kernel = OldKernel((4, 17), memlock=None)
    maps.create(kernel, spec(key_type_id=1, value_type_id=2), btf_fd=9).close()
    assert kernel.maps[0].fields.get("btf_fd", 0) == 0 and kernel.maps[0].name == b"counts"


def test_perf_array_and_ring_sizes():
    kernel = OldKernel((6, 1), cpus=6)
    with maps.create(kernel, spec(U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 0)) as m:
        assert m.max_entries == 6 == kernel.maps[0].max_entries
    for asked, made in ((1, 4096), (4096, 4096), (4097, 8192), (100000, 131072)):
        with maps.create(kernel, spec(U.BPF_MAP_TYPE_RINGBUF, 0, 0, asked)) as m:
            assert m.max_entries == made
    # page multiple, not power of two: libbpf's adjust_ringbuf_sz() goes up as well
    assert maps.ring_size(3 * 4096, 4096) == 16384 and maps.ring_size(0, 4096) == 0
    assert maps.ring_size(1, 65536) == 65536


@pytest.mark.parametrize("version", [(4, 9), (4, 11), (4, 12), (5, 4), (5, 6), (6, 1)])
def test_walks_on_every_version(version):
    kernel = OldKernel(version, memlock=None)
    with maps.create(kernel, spec(entries=2000)) as m:
        m.update({i: i * 3 for i in range(1000)})
        assert dict(m.items()) == {i: i * 3 for i in range(1000)} == m.as_dict()
        assert sorted(m.keys()) == list(range(1000)) and len(m) == 1000
        assert m.delete_many([0, 1, 5000]) == 2
        assert m.pop(2) == 6 and m.get(2) is None
        assert sorted(key for key, _ in m.drain()) == list(range(3, 1000))
        assert len(m) == 0 and list(m.keys()) == []
        before = kernel.count("BPF_MAP_LOOKUP_BATCH", failed=True)
        list(m.items())
        if version < (5, 6):
            assert kernel.count("BPF_MAP_LOOKUP_BATCH", failed=True) == before == 1     # asked once in all
    assert not kernel.open_fds()


@pytest.mark.parametrize("version", [(4, 9), (6, 1)])
def test_per_cpu(version):
    kernel = OldKernel(version, cpus=3, memlock=None)
    with maps.create(kernel, spec(PERCPU, 4, 4)) as m:
        m[1] = [7, 8, 9]
        assert kernel.maps[0].data[key(1)] == struct.pack("=6I", 7, 0, 8, 0, 9, 0)
        assert m[1] == [7, 8, 9] and dict(m.items()) == {1: [7, 8, 9]}


def data_spec(flags=U.BPF_F_MMAPABLE, kind="data"):
    return MapSpec("o.data", ARRAY, 4, 12, 1, flags, data=bytearray(struct.pack("=IIi", 1, 2, 3)), kind=kind,
                   variables={"a": Variable("a", 0, 4), "b": Variable("b", 4, 4), "text": Variable("text", 8, 3)})


@pytest.mark.parametrize("version", [(5, 2), (5, 4)])
def test_global_data_without_mmap(version):
    kernel = OldKernel(version, memlock=None)
    first = data_spec()
    g = Globals([first])
    g.b = 20
    with maps.create(kernel, first) as m:
        assert not kernel.maps[0].flags & U.BPF_F_MMAPABLE and m.memory is None
        g.attach({"o.data": m})
        g.a = 10
        assert kernel.maps[0].data[key(0)] == struct.pack("=IIi", 10, 20, 3)
        assert (g.a, g.b, g["text"]) == (10, 20, b"\3\0\0") and g._asdict() == {"a": 10, "b": 20, "text": b"\3\0\0"}
        refused = kernel.count("BPF_MAP_CREATE", failed=True)
        maps.create(kernel, data_spec()).close()
    assert kernel.count("BPF_MAP_CREATE", failed=True) == refused      # learnt once


def test_constants_are_frozen_where_it_can_be_done():
    for version, frozen in (((5, 0), False), ((5, 2), True)):
        kernel = OldKernel(version, memlock=None)
        maps.create(kernel, data_spec(0, "rodata")).close()
        assert kernel.maps[0].frozen is frozen


def test_globals_say_what_is_wrong():
    g = Globals([data_spec()])
    with pytest.raises(NotFoundError) as caught:
        g.tex
    assert "`text`" in str(caught.value)
    assert not hasattr(g, "nothing") and "a" in g and len(g) == 3
    with pytest.raises(InputError):
        g.a = 1 << 40
    with pytest.raises(InputError):
        g.text = b"four"


def test_a_failing_start_leaves_nothing():
    kernel = OldKernel((6, 1))
    kernel.refuse.append(("BPF_MAP_UPDATE_ELEM", errno.ENOMEM, lambda attr: True))
    with pytest.raises(KernelError):
        maps.create(kernel, data_spec())
    assert not kernel.open_fds()
    kernel = OldKernel((6, 1))
    kernel.refuse.append(("BPF_MAP_CREATE", errno.EINVAL,
                          lambda attr: attr.get("map_type") == U.BPF_MAP_TYPE_HASH_OF_MAPS))
    with pytest.raises(KernelError):
        maps.create(kernel, spec(U.BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, inner=spec()))
    assert not kernel.open_fds()


def test_codecs():
    assert IntCodec(4).encode(-1) == b"\xff" * 4 and IntCodec(2).decode(b"\0\0\1\0",
                    2) == struct.unpack("=H", b"\1\0")[0]
    for bad in (1 << 32, -(1 << 31) - 1, "x", 1.5, None):
        with pytest.raises(InputError):
            IntCodec(4).encode(bad)
    assert IntCodec(8).encode(b"12345678") == b"12345678"
    assert isinstance(codec_for(16), BytesCodec) and isinstance(codec_for(8), IntCodec)
    with pytest.raises(InputError):
        BytesCodec(3).encode(b"1234")
    with pytest.raises(InputError):
        PerCpuCodec(IntCodec(4), 2).encode([1, 2, 3])
    for count in (0, 1, 63, 64, 65, 200):
        data = bytes(bytearray(i % 251 for i in range(count * 3)))
        assert list(split(data, 3, count)) == [data[i * 3:i * 3 + 3] for i in range(count)]
        assert list(split(bytearray(data), 3, count)) == [data[i * 3:i * 3 + 3] for i in range(count)]
