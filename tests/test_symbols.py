"""lbc.symbols: stacks of this very process and of children, against the loader's and the linker's own answers."""
from __future__ import absolute_import

import ctypes
import os
import struct
import subprocess
import sys

import pytest

from lbc.symbols import UserSymbols, parse_build_id_stack
from tests.test_elf.test_reader import compile_c, tool
from tests.test_elf.test_symbols import nm

PROGRAM = """
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline)) int where(int a) { return a + 1; }
int main(void) { printf("%p %p\\n", (void *)where, (void *)getpid); fflush(stdout); return getchar(); }
"""


class Running(object):
    """A started program and the addresses it printed."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addresses = [int(word, 16) for word in self.process.stdout.readline().split()]
        self.pid = self.process.pid

    def stop(self):
        self.process.communicate(b"x")


@pytest.fixture(params=[("-pie",), ("-no-pie",), ("-static",)])
def running(request, tmpdir):
    program = Running(compile_c(tmpdir, PROGRAM, "where", "gcc", "-O1", *request.param))
    yield program
    program.stop()


def test_functions_of_a_program_with_and_without_aslr(running):
    with UserSymbols() as symbols:
        where, getpid = running.addresses
        frames = symbols.resolve(running.pid, [where + 2, 0, where])
        assert [(f.name, f.offset) for f in frames] == [("where", 2)] and frames[0].module.endswith("/where")
        assert str(frames[0]).startswith("where+0x2 [/")


def test_libc_address_as_the_loader_sees_it():
    address = ctypes.cast(ctypes.CDLL("libc.so.6").malloc, ctypes.c_void_p).value
    with UserSymbols() as symbols:
        frame = symbols.resolve(os.getpid(), [address + 3])[0]
        assert frame.name in ("malloc", "__libc_malloc") and frame.offset == 3 and "libc" in frame.module


def test_deleted_program_and_exited_process(tmpdir):
    program = Running(compile_c(tmpdir, PROGRAM, "gone", "gcc", "-O1"))
    try:
        os.unlink(str(tmpdir.join("gone")))
        symbols = UserSymbols()
        frame = symbols.resolve(program.pid, [program.addresses[0]])[0]
        if os.geteuid() == 0:
            assert frame.name == "where"  # through map_files
        else:
            assert frame.name is None and frame.module.endswith("/gone")
    finally:
        program.stop()
    again = symbols.resolve(program.pid, [program.addresses[0]])[0]  # known from before
    assert again.name == frame.name
    assert symbols.why(program.pid) == "process %d has exited" % program.pid
    symbols.close()
    with UserSymbols() as fresh:
        assert str(fresh.resolve(program.pid, [0x1234])[0]) == "0x1234"


def test_replaced_file_names_nothing_wrong(tmpdir):
    """A file of the same path but another inode is not what runs: its symbols would be lies."""
    program = Running(compile_c(tmpdir, PROGRAM, "tool", "gcc", "-O1"))
    try:
        os.rename(str(tmpdir.join("tool")), str(tmpdir.join("kept")))
        compile_c(tmpdir, "int a[999]; int other(void){return 7;} " + PROGRAM, "tool", "gcc", "-O0")
        with UserSymbols() as symbols:
            frame = symbols.resolve(program.pid, [program.addresses[0]])[0]
            assert (frame.name, frame.offset) == ("where", 0)
    finally:
        program.stop()


def test_debug_file_by_build_id(tmpdir):
    path = compile_c(tmpdir, PROGRAM, "bare", "gcc", "-O1", "-Wl,--build-id")
    build_id = tool("readelf", "-n", path).partition("Build ID: ")[2].split()[0]
    folder = tmpdir.mkdir("debug").mkdir(build_id[:2])
    tool("objcopy", "--only-keep-debug", path, str(folder.join(build_id[2:] + ".debug")))
    tool("strip", path)
    program = Running(path)
    try:
        with UserSymbols(str(tmpdir.join("nothing"))) as symbols:
            frame = symbols.resolve(program.pid, [program.addresses[0] + 1])[0]
            assert frame.name is None and str(frame).startswith("[/")
        with UserSymbols(str(tmpdir.join("debug"))) as symbols:
            assert symbols.resolve(program.pid, [program.addresses[0] + 1])[0].name == "where"
            frame = symbols.resolve_build_ids([(1, bytes(bytearray.fromhex(build_id)), 0)], program.pid)[0]
            assert frame.module == path
    finally:
        program.stop()


def test_build_id_form(tmpdir):
    path = compile_c(tmpdir, PROGRAM, "ids", "gcc", "-O1", "-Wl,--build-id")
    build_id = bytes(bytearray.fromhex(tool("readelf", "-n", path).partition("Build ID: ")[2].split()[0]))
    offset = nm(path)["where"][0][0]  # of a small PIE: text is mapped at its file offset
    program = Running(path)
    try:
        raw = b"".join(struct.pack("=i20sQ", *row) for row in (
            (1, build_id, offset + 1), (2, b"", program.addresses[0]), (1, b"\x01" * 20, 0x40), (0, b"", 0),
            (1, build_id, 0)))
        entries = parse_build_id_stack(raw)
        assert len(entries) == 3
        with UserSymbols(str(tmpdir)) as symbols:
            frames = symbols.resolve_build_ids(entries, program.pid)
            assert [(f.name, f.offset) for f in frames] == [("where", 1), ("where", 0), (None, 0x40)]
            assert "01010101" in frames[2].module
            frames = symbols.resolve_build_ids(entries)  # the file is known now; a bare address needs the process
            assert [f.name for f in frames] == ["where", None, None]
    finally:
        program.stop()


@pytest.fixture
def perf_map():
    path = "/tmp/perf-%d.map" % os.getpid()
    yield path
    if os.path.lexists(path):
        os.unlink(path)


def test_perf_map_of_just_in_time_code(perf_map):
    pid = os.getpid()
    with open(perf_map, "w") as target:
        target.write("1000 20 LMain;::run (int)\n2000 8 old\nnot a line\n2000 10 new\n")
    with UserSymbols() as symbols:
        texts = [str(f) for f in symbols.resolve(pid, [0x1004, 0x101f, 0x1020, 0x200f])]
        label = " [perf-%d.map]" % pid
        assert texts == ["LMain;::run (int)+0x4" + label, "LMain;::run (int)+0x1f" + label, "0x1020", "new+0xf" + label]
        with open(perf_map, "a") as target:
            target.write("3000 10 later\n")
        assert symbols.resolve(pid, [0x3001])[0].name == "later"


def test_perf_map_is_not_followed_through_a_link(perf_map, tmpdir):
    tmpdir.join("map").write("1000 20 planted\n")
    os.symlink(str(tmpdir.join("map")), perf_map)
    with UserSymbols() as symbols:
        assert symbols.resolve(os.getpid(), [0x1004])[0].name is None


def test_perf_map_of_a_stranger_is_ignored(perf_map):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    with open(perf_map, "w") as target:
        target.write("1000 20 planted\n")
    os.chown(perf_map, 65534, 65534)
    with UserSymbols() as symbols:
        assert symbols.resolve(os.getpid(), [0x1004])[0].name is None
        os.chown(perf_map, 0, 0)
        assert symbols.resolve(os.getpid(), [0x1004])[0].name == "planted"


def test_perf_map_fifo_does_not_block(perf_map):
    os.mkfifo(perf_map)
    with UserSymbols() as symbols:
        assert symbols.resolve(os.getpid(), [0x1004])[0].name is None


def test_vdso_is_named():
    with open("/proc/self/maps") as source:
        lines = [line for line in source if "[vdso]" in line]
    if not lines or sys.maxsize < 1 << 32:
        pytest.skip("no vDSO here")
    start = int(lines[0].partition("-")[0], 16)
    with UserSymbols() as symbols:
        symbols.resolve(os.getpid(), [start])
        table = [f for f in symbols._files.values() if f and f.functions.path == "vdso"][0].functions
        function = [f for f in table.functions() if "clock_gettime" in f.name][0]
        assert symbols.resolve(os.getpid(), [start + function.address])[0].module == "vdso"
        assert symbols.resolve(os.getpid(), [start + function.address])[0].offset == 0
