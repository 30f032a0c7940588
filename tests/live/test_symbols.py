"""lbc.kallsyms and lbc.symbols on the running kernel; truth: the text of /proc/kallsyms read plainly, unshare(1)."""
from __future__ import absolute_import

import os
import random
import subprocess
import time

import pytest

from lbc.kallsyms import KernelSymbols
from lbc.symbols import UserSymbols
from tests.test_elf.test_reader import tool

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def lines():
    with open("/proc/kallsyms") as source:
        rows = [line.split() for line in source]
    if not rows or not int(rows[-1][0], 16):
        pytest.skip("addresses in /proc/kallsyms are hidden")
    return rows


def test_core_symbols(lines):
    k, first = KernelSymbols(), {}
    for fields in lines:
        if len(fields) == 3:
            first.setdefault(int(fields[0], 16), fields[2])
    for address in random.Random(9).sample(sorted(first), 2000):
        frame = k.lookup(address)
        assert (frame.name, frame.offset, frame.module) == (first[address], 0, "")


def test_module_symbols(lines):
    names = {}
    for fields in lines:
        if len(fields) == 4 and fields[1] in "tT" and fields[2][0] not in "$.":
            names.setdefault((int(fields[0], 16), fields[3][1:-1]), set()).add(fields[2])
    if not names:
        pytest.skip("no module or BPF program is loaded")
    k = KernelSymbols()
    for (address, module), expected in list(names.items())[:3000]:
        frame = k.lookup(address)
        assert frame.offset == 0 and frame.module == module and frame.name in expected


def test_names(lines):
    k, expected = KernelSymbols(), {}
    for fields in lines:
        expected.setdefault(fields[2], []).append(int(fields[0], 16))
    names = random.Random(4).sample(sorted(expected), 30) + ["vfs_read"]
    found = k.find_all(names)
    for name in names:
        assert [row[0] for row in found[name]] == expected[name]


def test_memory_of_kernel_symbols():
    def resident():
        with open("/proc/self/statm") as source:
            return int(source.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    size = 0
    with open("/proc/kallsyms", "rb") as source:
        for chunk in iter(lambda: source.read(1 << 16), b""):
            size += len(chunk)
    k, before = KernelSymbols(), resident()
    k.lookup(k.addresses("vfs_read")[0])
    assert resident() - before < 1.4 * size + (2 << 20)  # the text, not objects (which take 20 times as much)


def test_perf_map_inside_another_pid_and_mount_namespace():
    """The process is pid 1 inside: its map is /tmp/perf-1.map of its own /tmp, which we cannot see as a path of
    ours."""
    script = "mount -t tmpfs none /tmp && echo '1000 20 inner' > /tmp/perf-1.map && exec sleep 100"
    try:
        process = subprocess.Popen(["unshare", "-m", "-p", "-f", "sh", "-c", script])
    except OSError:
        pytest.skip("no unshare(1)")
    child = None
    try:
        for _ in range(100):
            time.sleep(0.1)
            kids = tool("ps", "-o", "pid=,comm=", "--ppid", str(process.pid)).split()
            if kids[1:] == ["sleep"]:
                child = int(kids[0])
                break
            if process.poll() is not None:
                pytest.skip("namespaces are not allowed here")
        assert child
        with UserSymbols() as symbols:
            frame = symbols.resolve(child, [0x1008])[0]
            assert (frame.name, frame.offset) == ("inner", 8)
    finally:
        if child:
            os.kill(child, 9)
        process.kill()
        process.wait()
