"""Maps of every kind on a real kernel, held against bpftool."""
from __future__ import absolute_import

import errno
import json
import os
import socket
import struct
import subprocess
import threading

import pytest

from lbc import _native, host
from lbc.bpf import map_raw, maps, pinning, syscalls
from lbc.bpf.global_data import Globals
from lbc.bpf.map_codec import BtfCodec
from lbc.bpf.spec import MapSpec, Variable
from lbc.bpf.syscalls import Kernel
from lbc.errors import InputError, KernelError, NotFoundError, NotSupported, PrivilegeError
from lbc.uapi import bpf as U

pytestmark = pytest.mark.live


@pytest.fixture
def kernel(native, monkeypatch):
    monkeypatch.setattr(syscalls, "backend", native)
    return Kernel()


@pytest.fixture
def make(kernel):
    """make("HASH", 4, 8, 10) -> Map, closed at the end; skips where the kernel lacks the kind."""
    made = []

    def create(kind, key=4, value=8, entries=16, name="t", **more):
        try:
            m = maps.create(kernel, MapSpec(name, getattr(U, "BPF_MAP_TYPE_" + kind), key, value, entries, **more))
        except NotSupported as error:
            pytest.skip(str(error))
        made.append(m)
        return m
    create.kernel = kernel
    yield create
    for m in made:
        m.close()


def map_id(m):
    return m.info()["id"]


def bpftool(*words):
    from distutils.spawn import find_executable
    if not find_executable("bpftool"):
        pytest.skip("no bpftool here")
    out = subprocess.Popen(["bpftool", "-j"] + list(words), stdout=subprocess.PIPE).communicate()[0]
    return json.loads(out.decode())


def octets(words):
    return bytes(bytearray(int(w, 16) for w in words))


@pytest.mark.parametrize("kind, flags", [("HASH", 0), ("HASH", U.BPF_F_NO_PREALLOC), ("LRU_HASH", 0)])
def test_hash_against_bpftool(make, kind, flags):
    m = make(kind, 4, 8, 1000, flags=flags)
    m.update({i: i * i for i in range(100)})
    m[7] = 1 << 63
    del m[8]
    told = {octets(row["key"]): octets(row["value"]) for row in bpftool("map", "dump", "id", str(map_id(m)))}
    assert told == {struct.pack("=I", i): struct.pack("=Q", 1 << 63 if i == 7 else i * i) for i in range(100) if i != 8}
    assert dict(m.items()) == m.as_dict() == {
        struct.unpack("=I", k)[0]: struct.unpack("=Q", v)[0] for k, v in told.items()}
    assert dict(m.raw.items()) == told
    assert sorted(m.keys()) == sorted(m) == [i for i in range(100) if i != 8]
    assert len(m) == 99 and 0 in m and 8 not in m


def test_one_element(make):
    m = make("HASH", 4, 8, 2)
    m[0] = 5
    assert m[0] == 5 and m.get(1) is None and m.get(1, 3) == 3
    with pytest.raises(KeyError):
        m[1]
    with pytest.raises(NotFoundError):
        del m[1]
    assert m.put(0, 6, U.BPF_NOEXIST) is False and m[0] == 5
    assert m.put(1, 6, U.BPF_EXIST) is False and 1 not in m
    assert m.put(0, 6, U.BPF_EXIST) is True and m[0] == 6
    m[1] = -1
    assert m[1] == (1 << 64) - 1
    with pytest.raises(KernelError) as caught:
        m[2] = 0
    assert caught.value.errno == errno.E2BIG and "max_entries is 2" in str(caught.value)
    assert m.pop(0) == 6 and m.pop(0, "none") == "none"
    with pytest.raises(KeyError):
        m.pop(0)
    with pytest.raises(InputError):
        m["a"] = 1
    with pytest.raises(InputError):
        m[1 << 32] = 1
    with pytest.raises(ValueError):
        m.raw.lookup(b"123")


def test_items_while_deleted(make):
    m = make("HASH", 4, 8, 5000)
    m.update({i: i for i in range(5000)})
    for key in m.keys():
        assert m.discard(key)
    assert len(m) == 0
    m.update({i: i for i in range(5000)})
    assert sorted(m.drain()) == [(i, i) for i in range(5000)] and len(m) == 0


def test_iteration_ends_though_others_change_it(make):
    m = make("HASH", 4, 4, 512)
    m.update({i: i for i in range(512)})
    end = threading.Event()

    def churn():
        i = 0
        while not end.is_set():
            m.raw.delete(struct.pack("=I", i % 512))
            m.raw.update(struct.pack("=I", i % 512), b"abcd")
            i += 7
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            keys = list(m.keys())
            assert len(keys) == len(set(keys)) and 200 < len(keys) <= 512
            assert len(dict(m.items())) > 200
    finally:
        end.set()
        thread.join()


def test_batches_grow_where_a_bucket_is_full(make, monkeypatch):
    monkeypatch.setattr(map_raw, "_MAX_BATCH", 1)       # smaller than some bucket of the hash: ENOSPC
    m = make("HASH", 4, 8, 300)
    m.update({i: i for i in range(300)})
    assert m.as_dict() == {i: i for i in range(300)}


def test_without_batches(make):
    m = make("HASH", 4, 8, 1000)
    for take in (False, True):
        m.kernel.facts[("map_batch", m.type, take)] = False
    for command in (U.BPF_MAP_UPDATE_BATCH, U.BPF_MAP_DELETE_BATCH):
        m.kernel.facts[("map_batch", m.type, command)] = False
    m.update({i: i for i in range(1000)})
    assert m.as_dict() == {i: i for i in range(1000)}
    assert m.delete_many([1, 2, 5000]) == 2
    assert len(list(m.drain())) == 998
    m.clear()
    assert len(m) == 0


def test_many_with_some_missing(make):
    m = make("HASH", 4, 8, 100)
    m.update([(i, i) for i in range(0, 100, 2)])
    assert m.delete_many(range(50)) == 25 and len(m) == 25
    assert m.get_many([50, 51]) == [50, None]
    m.clear()
    assert m.as_dict() == {}


def test_array(make):
    m = make("ARRAY", 4, 8, 10)
    m.update({3: 4, 9: 1})
    told = {octets(r["key"]): octets(r["value"]) for r in bpftool("map", "dump", "id", str(map_id(m)))}
    assert dict(m.raw.items()) == told
    assert m.as_dict() == {i: {3: 4, 9: 1}.get(i, 0) for i in range(10)} and list(m) == list(range(10)) and len(m) == 10
    with pytest.raises(KernelError):
        m[10] = 1
    with pytest.raises(KernelError):
        del m[1]
    m.clear()
    assert set(m.values()) == {0}


@pytest.mark.parametrize("kind", ["PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH"])
@pytest.mark.parametrize("size", [4, 8, 12])
def test_per_cpu(make, kind, size):
    cpus = host.possible_cpus()
    m = make(kind, 4, size, 8)
    values = [bytes(bytearray([65 + cpu] * size)) for cpu in range(cpus)]
    m.raw.update(struct.pack("=I", 3), b"".join(v + b"\0" * (-size % 8) for v in values))
    row = [r for r in bpftool("map", "dump", "id", str(map_id(m))) if octets(r["key"]) == b"\3\0\0\0"][0]
    assert [octets(v["value"]) for v in row["values"]] == values
    numbers = [struct.unpack({4: "=I", 8: "=Q", 12: "=12s"}[size], v)[0] for v in values]
    assert m[3] == numbers == dict(m.items())[3]
    m[4] = numbers[0]
    assert m[4] == [numbers[0]] * cpus
    with pytest.raises(InputError):
        m[4] = [numbers[0]] * (cpus + 1)


def test_lpm_trie(make):
    m = make("LPM_TRIE", 8, 8, 10, flags=U.BPF_F_NO_PREALLOC)
    m["10.0.0.0/8"] = 1
    m[(16, b"\x0a\x01\0\0")] = 2
    assert m["10.1.2.3/32"] == 2 and m["10.2.2.3/32"] == 1 and m.get("11.0.0.0/32") is None
    told = {octets(r["key"]) for r in bpftool("map", "dump", "id", str(map_id(m)))}
    assert told == {b"\x08\0\0\0\x0a\0\0\0", b"\x10\0\0\0\x0a\x01\0\0"}
    assert m.as_dict() == {(8, b"\x0a\0\0\0"): 1, (16, b"\x0a\x01\0\0"): 2}
    with pytest.raises(InputError):
        m["10.0.0.x/8"] = 1
    with pytest.raises(KernelError) as caught:
        make("LPM_TRIE", 8, 8, 10)
    assert "BPF_F_NO_PREALLOC" in str(caught.value)


@pytest.mark.parametrize("kind, order", [("QUEUE", [1, 2, 3]), ("STACK", [3, 2, 1])])
def test_queue_and_stack(make, kind, order):
    m = make(kind, 0, 8, 3)
    assert m.pop() is None and m.peek() is None
    assert [m.push(i) for i in (1, 2, 3, 4)] == [True, True, True, False]
    assert m.peek() == order[0] and list(m.drain()) == order and m.pop("empty") == "empty"
    for i in (1, 2, 3, 4):
        assert m.push(i, overwrite=True)
    assert sorted(m.drain()) == [2, 3, 4]
    with pytest.raises(InputError):
        m[0]
    with pytest.raises(InputError):
        m.items()


def test_bloom_filter(make):
    m = make("BLOOM_FILTER", 0, 8, 100)
    m.add(5)
    assert 5 in m and sum(i in m for i in range(1000, 1200)) < 100


@pytest.mark.parametrize("kind", ["HASH_OF_MAPS", "ARRAY_OF_MAPS"])
def test_maps_in_maps(make, kind):
    template = MapSpec("inner", U.BPF_MAP_TYPE_HASH, 4, 8, 4)
    outer = make(kind, 4, 4, 3, inner=template)
    inner = make("HASH", 4, 8, 4, name="in1")
    inner[1] = 11
    outer[2] = inner
    assert outer[2] == map_id(inner)
    assert dict(outer.items()) == {2: map_id(inner)}
    with maps.from_id(make.kernel, outer[2]) as found:
        assert found[1] == 11 and found.name == "in1" and type(found) is type(inner)
    with pytest.raises(KernelError):
        outer[1] = make("HASH", 8, 8, 4)    # not like the template
    assert outer.discard(2) and outer.get(2) is None
    with pytest.raises(InputError) as caught:
        make(kind, 4, 4, 3)
    assert "template" in str(caught.value)


def test_prog_and_perf_arrays_take_fds_only(make):
    m = make("PROG_ARRAY", 4, 4, 4)
    with pytest.raises(KernelError):
        m[0] = 0xffff
    assert list(m.items()) == []
    m = make("PERF_EVENT_ARRAY", 4, 4, 0)
    assert m.max_entries == host.possible_cpus() == m.info()["max_entries"]


def test_ring_sizes(make):
    m = make("RINGBUF", 0, 0, 5000)
    assert m.max_entries == m.info()["max_entries"] == 8192
    with pytest.raises(InputError):
        m.items()


def test_socket_storage(make, kernel):
    btf = storage_btf(kernel)
    try:
        m = make_with_btf(kernel, "SK_STORAGE", btf)
        with m:
            s = socket.socket()
            m[s] = 5
            assert m[s.fileno()] == 5
            del m[s]
            assert m.get(s) is None
            s.close()
    finally:
        kernel.close(btf)


def storage_btf(kernel):
    """fd of BTF with `int` as type 1, `u64` as type 2: local storage wants types."""
    names = b"\0int\0u64\0"
    types = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32) + struct.pack("=IIII", 5, 1 << 24, 8, 64)
    data = struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(names)) + types + names
    return kernel.bpf(U.BPF_BTF_LOAD, {"btf": data, "btf_size": len(data)})


def make_with_btf(kernel, kind, btf):
    spec = MapSpec("store", getattr(U, "BPF_MAP_TYPE_" + kind), 4, 8, 0,
                   flags=U.BPF_F_NO_PREALLOC, key_type_id=1, value_type_id=2)
    try:
        return maps.create(kernel, spec, btf_fd=btf)
    except NotSupported as error:
        pytest.skip(str(error))
    except KernelError as error:
        if error.errno == errno.EINVAL:
            pytest.skip("no %s on this kernel" % kind)
        raise


@pytest.mark.parametrize("kind", ["TASK_STORAGE", "INODE_STORAGE", "CGRP_STORAGE"])
def test_other_storage(kernel, kind):
    btf = storage_btf(kernel)
    opened = []
    try:
        with make_with_btf(kernel, kind, btf) as m:
            if kind == "TASK_STORAGE":
                opened.append(_native.backend.syscall(434, os.getpid(), 0))     # pidfd_open, asm-generic/unistd.h
            elif kind == "INODE_STORAGE":
                opened.append(os.open("/tmp", os.O_RDONLY))
            else:
                points = [point for point, kind, _ in host.mounts() if kind == "cgroup2"]
                if not points:
                    pytest.skip("no cgroup2 mounted")
                opened.append(os.open(points[0], os.O_RDONLY))
            try:
                m[opened[0]] = 77
            except KernelError as error:
                pytest.skip("%s: %s" % (kind, error.what))
            assert m[opened[0]] == 77
            assert m.discard(opened[0])
            assert m.get(opened[0]) is None
    finally:
        for fd in opened + [btf]:
            os.close(fd)


def test_net_maps(make):
    m = make("DEVMAP", 4, 4, 4)
    m[0] = 1    # ifindex of lo
    assert m[0] == 1
    m = make("CPUMAP", 4, 4, 2)
    m[0] = 192
    assert m[0] == 192
    m = make("SOCKMAP", 4, 8, 4)
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    client = socket.create_connection(server.getsockname())
    try:
        m[0] = client
        assert m[0] != 0    # the socket's cookie
        m = make("SOCKHASH", 4, 8, 4)
        m[9] = client
        assert 9 in m
        del m[9]
    finally:
        client.close()
        server.close()
    make("XSKMAP", 4, 4, 4)
    make("DEVMAP_HASH", 4, 4, 4)[5] = 1
    make("CGROUP_ARRAY", 4, 4, 4)
    assert make("STACK_TRACE", 4, 8 * 20, 16).as_dict() == {}


def test_arena(make):
    m = make("ARENA", 0, 0, 4, flags=U.BPF_F_MMAPABLE)
    assert m.memory_bytes() == 4 * host.page_size()
    m.memory[0:4] = b"abcd"
    assert m.memory[0:4] == b"abcd"


# -- types -------------------------------------------------------------------------------------------------------------

def test_decoded_by_btf(make, kernel):
    """The running kernel's own struct timespec64 as the value: bpftool knows its members from the same map."""
    from lbc.btf.parse import open_btf
    btf = open_btf("/sys/kernel/btf/vmlinux")
    try:
        stamp = btf.find("timespec64")[0]
        m = make("HASH", 4, 16, 8)
        m.value_codec = BtfCodec(btf, stamp, 16)
        m[1] = {"tv_sec": -5, "tv_nsec": 7}
        assert m.raw.lookup(struct.pack("=I", 1)) == struct.pack("=qq", -5, 7)
        assert m[1].tv_sec == -5 and dict(m.items())[1].tv_nsec == 7
        m[2] = struct.pack("=qq", 1, 2)
        assert m[2].tv_sec == 1
        assert {k: v._asdict() for k, v in m.as_dict().items()} == {
                             1: {"tv_sec": -5, "tv_nsec": 7}, 2: {"tv_sec": 1, "tv_nsec": 2}}
        with pytest.raises(InputError):
            m[3] = {"nothing": 1}
    finally:
        btf.close()


# -- the map itself ------------------------------------------------------

def test_freeze(make):
    m = make("ARRAY", 4, 8, 1)
    m[0] = 3
    m.freeze()
    with pytest.raises(KernelError) as caught:
        m[0] = 4
    assert caught.value.errno == errno.EPERM and "frozen" in str(caught.value) and m[0] == 3


@pytest.mark.parametrize("mapped", [True, False])
def test_globals(kernel, mapped):
    variables = {"count": Variable("count", 0, 4), "name": Variable("name", 8, 3), "wide": Variable("wide", 16, 8)}
    flags = U.BPF_F_MMAPABLE if mapped else 0
    data = MapSpec("g.data", U.BPF_MAP_TYPE_ARRAY, 4, 24, 1, flags, data=bytearray(b"\x05" + b"\0" * 23), kind="data",
                   variables=variables)
    const = MapSpec("g.rodata", U.BPF_MAP_TYPE_ARRAY, 4, 8, 1, flags | U.BPF_F_RDONLY_PROG, data=bytearray(8),
                    kind="rodata", variables={"limit": Variable("limit", 0, 8)})
    g = Globals([data, const])
    assert g.count == 5 and g.limit == 0 and sorted(g) == ["count", "limit", "name", "wide"]
    g.count, g.limit = 6, 1 << 40
    g["name"] = b"abc"
    with pytest.raises(AttributeError):
        g.nothing
    with pytest.raises(NotFoundError) as caught:
        g.coumt = 1
    assert "`count`" in str(caught.value)
    with maps.create(kernel, data) as live, maps.create(kernel, const) as ro:
        g.attach({"g.data": live, "g.rodata": ro})
        assert (live.memory is not None) == mapped
        row = bpftool("map", "dump", "id", str(map_id(live)))[0]
        assert octets(row["value"]) == b"\x06\0\0\0\0\0\0\0abc" + b"\0" * 13
        g.wide = 1 << 33
        assert struct.unpack_from("=Q", live.raw.lookup(b"\0\0\0\0"), 16)[0] == 1 << 33
        live.raw.update(b"\0\0\0\0", struct.pack("=Q", 9) + b"\0" * 16)
        assert g.count == 9 and g.name == b"\0\0\0" and g.limit == 1 << 40
        with pytest.raises(InputError):
            g.limit = 1
        with pytest.raises(KernelError):
            ro[0] = 5


@pytest.fixture
def bpffs():
    if not pinning.on_bpffs("/sys/fs/bpf/x") and not pinning.mount_bpffs(kernel):
        pytest.skip("no bpffs here")
    folder = "/sys/fs/bpf/lbc_test_%d" % os.getpid()
    yield folder
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        os.unlink(folder + "/" + name)
    if os.path.isdir(folder):
        os.rmdir(folder)


def test_pins(make, kernel, bpffs):
    m = make("HASH", 4, 8, 4, name="keep", pin_by_name=False)
    m[1] = 2
    m.pin(bpffs + "/keep")
    with pytest.raises(InputError):
        make("HASH", 4, 8, 4).pin(bpffs + "/keep")
    with maps.from_pin(kernel, bpffs + "/keep") as again:
        assert again[1] == 2 and map_id(again) == map_id(m)
    same = MapSpec("keep", U.BPF_MAP_TYPE_HASH, 4, 8, 4, pin_by_name=True)
    with maps.create(kernel, same, pin_root=bpffs) as again:
        assert again[1] == 2 and again.pinned
    with pytest.raises(InputError) as caught:
        maps.create(kernel, same.copy(value_size=4, max_entries=5), pin_root=bpffs)
    assert "value_size is 8, not 4" in str(caught.value) and "max_entries is 4, not 5" in str(caught.value)
    m.unpin()
    with pytest.raises(NotFoundError):
        maps.from_pin(kernel, bpffs + "/keep")
    with maps.create(kernel, same, pin_root=bpffs) as fresh:
        assert len(fresh) == 0 and os.path.exists(bpffs + "/keep")


def test_pin_outside_of_bpffs(make, tmpdir):
    with pytest.raises(KernelError) as caught:
        make("HASH").pin(str(tmpdir.join("x")))
    assert "no BPF file system" in str(caught.value) and "mount -t bpf" in str(caught.value)


def test_from_id_unknown(kernel):
    with pytest.raises(NotFoundError):
        maps.from_id(kernel, 0x7ffffff0)


def test_ids(make, kernel):
    m = make("HASH")
    assert map_id(m) in maps.ids(kernel)


def test_names(make):
    assert make("HASH", name="with space and more than 15").info()["name"] == "with_space_and_"


def test_unknown_kind(kernel):
    with pytest.raises(NotSupported):
        maps.create(kernel, MapSpec("x", 77, 4, 4, 1))


def test_not_root(kernel):
    """A child without privileges gets told why."""
    import resource  # noqa: F401  (the child may not be allowed to read this Python's folder)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        text = b"nothing"
        try:
            os.setgid(65534)
            os.setuid(65534)
            maps.create(kernel, MapSpec("x", U.BPF_MAP_TYPE_LRU_HASH, 4, 4, 1))
        except PrivilegeError as error:
            text = str(error).encode()
        except BaseException as error:
            text = repr(error).encode()
        finally:
            os.write(write, text)
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    text = os.read(read, 4096).decode()
    os.close(read)
    assert "CAP_BPF" in text and "`x`" in text, text
