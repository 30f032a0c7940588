"""lbc.kernel_functions against lists typed by hand, and against this kernel's own by other means."""
from __future__ import absolute_import

import os
import re

import pytest

from lbc.kernel_functions import FunctionLists, suffix_meaning
from lbc.kernel_files import KernelFiles
from tests.filesfake import TRACEFS, FakeFiles
from tests.test_ftrace.test_kernel_places import ADDRESSES, KALLSYMS, kernel


def lists(**more):
    return FunctionLists(kernel(**more), TRACEFS)


def test_rows():
    found = lists().rows("twin")
    assert [(row.address, row.module) for row in found] == [(0xffffffff81000300, ""), (0xffffffff81000400, ""),
                                                            (0xffffffffc0000040, "ext4")]
    assert len(lists().rows("twin", "")) == 2 and len(lists().rows("twin", "ext4")) == 1
    assert lists().rows("jiffies") == [] and len(lists().rows("jiffies", data=True)) == 1
    assert lists().rows("vfs") == lists().rows("ead") == lists().rows("") == []


def test_last_line_without_an_end():
    found = lists(**{"/proc/kallsyms": b"ffffffff81000000 T a\nffffffff81000010 T b"})
    assert found.rows("b")[0].address == 0xffffffff81000010


def test_size_and_place():
    found = lists()
    assert found.size(0xffffffff81000110) == 0xf0 and found.size(0) is None
    assert found.place_of(0xffffffff81000118) == "vfs_read+0x8" and found.place_of(0x1000) == ""
    assert found.size(0xffffffffc0000100) is None


def test_beside():
    assert lists().beside(0xffffffff81000400) == ["in_a", "in_b"]


def test_traceable():
    found = lists()
    assert found.traceable("vfs_read") is True and found.traceable("hidden") is False
    assert found.traceable("twin", 0xffffffff81000400) is True     # the list with addresses tells copies apart
    assert found.traceable("twin", 0xffffffff81000300) is False
    assert lists(**{TRACEFS + "/available_filter_functions": None}).traceable("vfs_read") is None
    assert found.traceable("vfs_rea") is False and found.traceable("ext4_sync") is True


def test_hidden_addresses():
    assert not lists().hidden() and not lists(**{"/proc/kallsyms": None}).hidden()
    zeros = re.sub(b"(?m)^[0-9a-f]{16}", b"0" * 16, KALLSYMS)
    assert lists(**{"/proc/kallsyms": zeros}).hidden()
    zeros = re.sub(b"(?m)^[0-9a-f]{16}", b"0" * 16, ADDRESSES)
    assert lists(**{TRACEFS + "/available_filter_functions_addrs": zeros}).addresses_text == b""


def test_blacklist_by_name_and_address():
    found = lists()
    assert found.blacklisted("banned") and found.blacklisted("x", 0xffffffff81000541)
    assert not found.blacklisted("vfs_read", 0xffffffff81000110)
    assert not lists(**{"/sys/kernel/debug/kprobes/blacklist": None}).blacklisted("banned")


def test_suffixes():
    assert "constant arguments" in suffix_meaning("a.constprop.0") and suffix_meaning("a") == ""
    assert suffix_meaning("a.constprop.0.isra.0").count(";") == 1


def test_files_that_are_no_lists():
    found = FunctionLists(FakeFiles({"/proc/kallsyms": b"\xff\0 rubbish\n\n x\n", TRACEFS + "/events/x": b"",
                                     TRACEFS + "/available_filter_functions_addrs": b"no address\n"}))
    assert found.rows("rubbish") == [] and found.size(5) is None and found.matching("*") == []
    assert found.addresses_text == b"" and not found.hidden()


def test_this_kernel():
    if os.geteuid() or not os.access("/proc/kallsyms", os.R_OK):
        pytest.skip("needs root: /proc/kallsyms hides addresses")
    found, expected = FunctionLists(KernelFiles()), {}
    with open("/proc/kallsyms") as source:
        for line in source:
            fields = line.split()
            if fields[1] in "tTwW":
                expected.setdefault(fields[2], []).append((int(fields[0], 16), fields[3][1:-1] if fields[3:] else ""))
    for name in ("vfs_read", "schedule", "_stext", sorted(expected)[len(expected) // 2]):
        assert [(row.address, row.module) for row in found.rows(name)] == expected.get(name, [])
    if any(expected["vfs_read"][0]) and not found.hidden():
        starts = sorted({address for rows in expected.values() for address, _ in rows})
        address = expected["vfs_read"][0][0]
        assert found.size(address) == starts[starts.index(address) + 1] - address
