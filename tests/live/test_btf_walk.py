"""The walk over the kernel's BTF by a program in the kernel, against the walk in Python, on the kernel's own BTF and on
damaged ones."""
from __future__ import absolute_import

import os
import struct

import pytest

from lbc.bpf import btf_walk
from lbc.bpf.kernel_btf import SYSFS, KernelBtf
from lbc.bpf.syscalls import kernel
from lbc.btf.parse import Btf, open_btf
from lbc.btf.walk import SIZES, Header, TypeWalk
from tests.live import kernel_version, skip

pytestmark = pytest.mark.live


@pytest.fixture
def walker():
    made = btf_walk.Walker(kernel)
    yield made
    made.close()


def raw_btf():
    if not os.path.exists(SYSFS):
        skip("has no BTF")
    with open(SYSFS, "rb") as f:
        return f.read()


def walk_raw(walker, raw, names=()):
    header = Header(raw)
    return walker.walk(raw, header.types, header.types_end - header.types, header.sizes, names)


def need_walk(answer):
    """Skips where the kernel is older than bpf_loop (5.17); in the lab a newer one must have it."""
    if answer is None:
        if kernel_version() >= (5, 17):
            pytest.fail("a kernel of this version must take the program")
        skip("takes no such program")
    return answer


def test_same_boundaries_as_the_walk_in_python(walker):
    raw = raw_btf()
    count, ways, rows = need_walk(walk_raw(walker, raw))
    python = TypeWalk(raw, Header(raw))
    assert count == python.count() and [way // 4 for way in ways] == python._ways[:len(ways)] and rows == []
    assert len(ways) == (count + 63) // 64
    # a second time with the same program, from bytes that are mapped elsewhere
    assert walk_raw(walker, bytes(bytearray(raw)))[:2] == (count, ways)


def test_expected_names_are_what_a_search_finds():
    raw_btf()
    names = ["task_struct", "vfs_unlink", "inode", "file", "no_such_name_anywhere", "u64"]
    with open_btf(SYSFS) as slow:
        wanted = {name: slow.find(name) for name in names}
    fast = KernelBtf(kernel, None, lambda: names)
    try:
        btf = fast.ids()
        assert {name: btf.find(name) for name in names} == wanted and wanted["task_struct"]
        assert btf._flavours == slow_flavours()
        need_walk(btf.walker)
        assert btf._columns is None, "found by the walk, not by searching"
        assert btf.find("dentry") and btf._columns is not None, "what was not expected is searched"
        assert btf.member_at(btf.find_one("task_struct", 4), "pid") is not None
    finally:
        fast.close()


def slow_flavours():
    with open_btf(SYSFS) as slow:
        slow._flavour_offsets(b"x")
        return slow._flavours


def small(types, strings=b"\0a\0bc\0"):
    return struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


INT = struct.pack("=IIII", 1, 1 << 24, 4, 32)
STRUCT = struct.pack("=III", 3, 4 << 24 | 1, 4) + struct.pack("=III", 1, 1, 0)


def test_small_ones(walker):
    assert need_walk(walk_raw(walker, small(INT + STRUCT), {1, 3})) == (2, [0], [(1, 0, 0), (3, 1, 16)])
    assert walk_raw(walker, small(INT * 64 + STRUCT)) == (65, [0, 64 * 16], [])
    assert walk_raw(walker, small(INT), {3})[2] == [], "of another name with the same low bits nothing is said"
    # a struct over more than one piece of the section
    big = struct.pack("=III", 3, 4 << 24 | 30000, 4) + struct.pack("=III", 1, 1, 0) * 30000
    assert walk_raw(walker, small(big + INT), {1, 3}) == (2, [0], [(3, 0, 0), (1, 1, len(big))])
    assert walk_raw(walker, small(INT * 100000))[0] == 100000


@pytest.mark.parametrize("types", [
    INT + STRUCT[:-4], INT + INT[:8], struct.pack("=III", 1, 77 << 24, 0) + INT,
    struct.pack("=III", 1, 4 << 24 | 0xffffff, 0), INT[:-4]], ids=["member", "head", "kind", "vlen", "int"])
def test_damage_is_left_to_python(walker, types):
    need_walk(walk_raw(walker, small(INT)))
    assert walk_raw(walker, small(types)) is None
    assert walk_raw(walker, small(INT)) is not None, "the next one is walked again"


def test_memory_that_is_not_ours(walker):
    need_walk(walk_raw(walker, small(INT)))
    assert walker._walk(1, 64, SIZES, ()) is None


def test_damaged_btf_says_what_python_says():
    raw = small(INT + STRUCT[:-4])
    btf = Btf(raw)
    made = btf_walk.Walker(kernel)
    btf.walker = made.walk
    try:
        btf.expect(["a"])
        with pytest.raises(Exception) as caught:
            btf.count
        assert "ends inside type number 2" in str(caught.value)
    finally:
        made.close()
