"""User-side attachments: uprobes on libc and on a small program, USDT with <bpf/usdt.bpf.h>."""
from __future__ import absolute_import

import ctypes
import errno
import os
import shutil
import subprocess
import time

import pytest

from lbc.bpf.links import attach, usdt
from lbc.bpf.syscalls import kernel
from lbc.errors import NotFoundError, NotSupported
from lbc.uapi import bpf as U
from tests.oldkernel import OldKernel
from . import kernel_version, need, need_version, skip
from .test_links import bpf, counted  # noqa: F401  (fixture)

pytestmark = pytest.mark.live

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#define NOTE(args) __asm__ volatile("990: nop\\n .pushsection .note.stapsdt,\\"\\",\\"note\\"\\n" \\
 " .balign 4\\n .4byte 992f-991f,994f-993f,3\\n" \\
 "991: .asciz \\"stapsdt\\"\\n992: .balign 4\\n993: .8byte 990b\\n .8byte _.stapsdt.base\\n .8byte tst_sem\\n" \\
 " .asciz \\"tst\\"\\n .asciz \\"args\\"\\n" \\
 " .asciz \\"" args "\\"\\n994: .balign 4\\n .popsection\\n" \\
 ".ifndef _.stapsdt.base\\n .pushsection .stapsdt.base,\\"aG\\",\\"progbits\\",.stapsdt.base,comdat\\n" \\
 " .weak _.stapsdt.base\\n .hidden _.stapsdt.base\\n" \\
 "_.stapsdt.base: .space 1\\n .size _.stapsdt.base,1\\n .popsection\\n.endif\\n" : : "D"(a), "S"(b), "d"(c), "c"(1L))
__attribute__((section(".probes"), used)) unsigned short tst_sem;
__attribute__((noinline)) int work_one(int x) { __asm__ volatile(""); return x + 1; }
__attribute__((noinline)) int work_two(int x) { __asm__ volatile(""); return x + 2; }
#define ARGS "-4@%%edi -8@%%rsi -2@(%%rdx) -4@$77 2@2(%%rdx) 8f@%%xmm0"
__attribute__((noinline)) void fire(int a, long b, short *c) { NOTE(ARGS); }
__attribute__((noinline)) void fire2(int a, long b, short *c) { NOTE(ARGS); }
int main(int argc, char **argv) {
  int i, n = atoi(argv[1]); short arr[4] = {-5, 6, 7, 8};
  if (argc > 2) getchar();
  for (i = 0; i < n; i++) { work_one(i); work_two(i); work_two(i);
                            fire(-3, 1234567890123L, arr); fire2(-3, 1234567890123L, arr); }
  printf("%d\\n", *(volatile unsigned short *)&tst_sem); fflush(stdout);
  if (argc > 2) getchar();
  return 0;
}
"""

BPF_SOURCE = """
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, int); __type(value, long); }
    out SEC(".maps");
static void put(int k, long v) { long *p = bpf_map_lookup_elem(&out, &k); if (p) *p = v; }
static void add(int k, long v) { long *p = bpf_map_lookup_elem(&out, &k); if (p) __sync_fetch_and_add(p, v); }
SEC("usdt") int args(struct pt_regs *ctx)
{
  long v = 0;
  add(0, 1);
  bpf_usdt_arg(ctx, 0, &v); put(1, v); bpf_usdt_arg(ctx, 1, &v); put(2, v); bpf_usdt_arg(ctx, 2, &v); put(3, v);
  bpf_usdt_arg(ctx, 3, &v); put(4, v); bpf_usdt_arg(ctx, 4, &v); put(5, v); put(6, bpf_usdt_arg(ctx, 5, &v));
  put(7, bpf_usdt_cookie(ctx)); put(8, bpf_usdt_arg_cnt(ctx));
  return 0;
}
char _license[] SEC("license") = "GPL";
"""


def build(folder, name, flags=()):
    compiler = shutil.which("cc") if hasattr(shutil, "which") else "/usr/bin/cc"
    if not compiler or not os.path.exists(compiler) or os.uname()[4] != "x86_64":
        pytest.skip("no C compiler to build the target program with (or not x86_64)")
    source = os.path.join(folder, "t.c")
    with open(source, "w") as f:
        f.write(SOURCE)
    out = os.path.join(folder, name)
    subprocess.check_call([compiler, "-O2", "-o", out, source] + list(flags))
    return out


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return build(str(tmp_path_factory.mktemp("target")), "pie")


def run(path, times=5):
    return subprocess.check_output([path, str(times)]).decode().strip()


@pytest.mark.parametrize("way", ["link", "perf", "tracefs", None])
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_uprobe(bpf, target, kind, way):  # noqa: F811
    if way == "link":
        need("perf_link")
    load = {"pid": None}
    assert counted(bpf, "%s/%s:work_one" % (kind, target), 5, lambda n: run(target, n), 5, load=load, way=way)
    assert counted(bpf, "%s/%s:work_two" % (kind, target), 10, lambda n: run(target, n), 5, load=load, way=way)


def getppid(times):
    for _ in range(times):
        os.getppid()


def test_uprobe_by_library_name_and_pid(bpf):  # noqa: F811
    counted(bpf, "uprobe/libc.so.6:getppid", 12, getppid, 12, load={"pid": None}, pid=0)
    counted(bpf, "uprobe/c:getppid", 12, getppid, 12, load={"pid": None}, pid=os.getpid())
    program, counter = bpf.load("uprobe/libc.so.6:getppid")
    other = subprocess.Popen(["sleep", "20"])
    try:
        with attach(kernel, program, pid=other.pid):
            getppid(10)
            assert counter.value == 0  # another process's
    finally:
        other.kill()
        other.wait()
    with pytest.raises(NotFoundError):
        attach(kernel, program, pid=other.pid)
    program, _ = bpf.load("uprobe/libc.so.6:getpppid")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, program)
    assert "getppid" in caught.value.near


def test_uprobe_offset_and_cookie(bpf, target):  # noqa: F811
    from lbc.elf.symbols import open_functions
    with open_functions(target) as functions:
        offset = functions.probe_offset("work_one")
    nm = subprocess.check_output(["nm", target]).decode() if os.path.exists("/usr/bin/nm") else ""
    if nm:  # .text of a small program lies at the same place in the file and in memory
        assert "%016x T work_one" % offset in nm
    counted(bpf, "uprobe/%s:0x%x" % (target, offset), 5, lambda n: run(target, n), 5, load={"pid": None})
    if kernel_version() >= (5, 15):
        counted(bpf, "uprobe/%s:work_one" % target, 5 * 11, lambda n: run(target, n), 5,
                load={"pid": None, "store_cookie": True}, cookie=11)


@pytest.mark.parametrize("way", [None, "multi", "single"])
def test_uprobe_multi(bpf, target, way):  # noqa: F811
    if way == "multi":
        need_version(6, 6, "uprobe.multi")
    detail = counted(bpf, "uprobe.multi/%s:work_*" % target, 15, lambda n: run(target, n), 5, load={"pid": None},
                     way=way)
    assert ("single" in detail) == (way == "single" or kernel_version() < (6, 6))
    counted(bpf, "uretprobe.multi/%s:work_*" % target, 15, lambda n: run(target, n), 5, load={"pid": None}, way=way)


def test_uprobe_session(bpf, target):  # noqa: F811
    need_version(6, 13, "uprobe.session")
    counted(bpf, "uprobe.session/%s:work_*" % target, 30, lambda n: run(target, n), 5, load={"pid": None})


def test_uprobe_in_the_mount_name_space_of_a_process(bpf, target, tmp_path):  # noqa: F811
    """The path means the file that the process sees, not the one of the same name here."""
    inner = str(tmp_path / "only-there")
    os.mkdir(inner)
    script = "mount -t tmpfs t %s && cp %s %s/prog && exec %s/prog 7 wait" % (inner, target, inner, inner)
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for _ in range(200):
            if "prog" in os.readlink("/proc/%d/exe" % process.pid):
                break
            time.sleep(0.05)
        else:
            pytest.skip("cannot unshare the mount name space")
        assert not os.path.exists(inner + "/prog")
        program, counter = bpf.load("uprobe/%s/prog:work_one" % inner)
        with attach(kernel, program, pid=process.pid):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            assert counter.value == 7
    finally:
        process.kill()
        process.communicate()


# -- USDT ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def usdt_object(tmp_path_factory):
    clang = next((p for p in ("/usr/bin/clang-16", "/usr/bin/clang") if os.path.exists(p)), None)
    if clang is None or not os.path.exists("/usr/include/bpf/usdt.bpf.h"):
        pytest.skip("no clang or no <bpf/usdt.bpf.h> to compile the BPF program with")
    folder = str(tmp_path_factory.mktemp("bpf"))
    with open(folder + "/u.bpf.c", "w") as f:
        f.write(BPF_SOURCE)
    subprocess.check_call([clang, "-target", "bpf", "-D__TARGET_ARCH_x86",
                           "-I/usr/include/%s-linux-gnu" % os.uname()[4], "-g", "-O2",
                           "-c", folder + "/u.bpf.c", "-o", folder + "/u.bpf.o"])
    return folder + "/u.bpf.o"


def values(obj):
    import struct
    found = []
    for slot in range(9):
        buf = bytearray(8)
        kernel.bpf(U.BPF_MAP_LOOKUP_ELEM, {"map_fd": obj.maps["out"].fd, "key": struct.pack("=i", slot), "value": buf})
        found.append(struct.unpack("=q", bytes(buf))[0])
    return found


def test_usdt(target, usdt_object):
    need("bpf_cookie")  # without it a position independent program needs a pid
    from lbc.bpf.object import BpfObject
    with BpfObject(usdt_object) as obj:
        obj.load()
        link = attach(kernel, obj.programs["args"], "%s:tst:args" % target, maps=obj.maps, cookie=0x123456789)
        seen = run(target, 5)
        link.close()
        # two places, five times; -22: xmm0 cannot be had
        assert values(obj) == [10, -3, 1234567890123, -5, 77, 6, -22, 0x123456789, 6]
        assert len(link.notes) == 1 and "xmm0" in link.notes[0]
        assert "2 places, 1 spec" in link.detail  # the same argument text: one spec
        assert seen == "2"  # the semaphore, as the program saw it: raised once by each place
        assert run(target, 1) == "0"  # and lowered again
        assert values(obj)[0] == 10


def test_usdt_of_one_process_and_errors(target, usdt_object):
    from lbc.bpf.object import BpfObject
    with BpfObject(usdt_object) as obj:
        obj.load()
        process = subprocess.Popen([target, "3", "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with attach(kernel, obj.programs["args"], "%s:tst:args" % target, maps=obj.maps, pid=process.pid):
                run(target, 4)
                process.stdin.write(b"\n")
                process.stdin.flush()
                process.stdout.readline()
                assert values(obj)[0] == 6
        finally:
            process.kill()
            process.communicate()
        with pytest.raises(NotFoundError) as caught:
            attach(kernel, obj.programs["args"], "%s:tst:argz" % target, maps=obj.maps)
        assert "tst:args" in caught.value.near


def test_usdt_without_cookies(target, usdt_object, tmp_path):
    """The way of kernels before 5.15, through the address map; such a kernel is played by oldkernel on top of this
    one."""
    from lbc.bpf.object import BpfObject
    old = OldKernel((5, 10), through=True)
    number = "/sys/bus/event_source/devices/uprobe/type"  # oldkernel's own is a made-up one
    old.files[number] = kernel.read(number)
    old.refuse.append(("BPF_LINK_CREATE", errno.EINVAL, lambda attr: True))
    old.facts["bpf_cookie"] = False  # so LINUX_HAS_BPF_COOKIE in the program is no as well
    with BpfObject(usdt_object, kernel=old) as obj:
        try:
            obj.load()
        except Exception as error:  # the seam cannot be played through on this kernel
            skip("no load through oldkernel: %s" % error)
        fixed = build(str(tmp_path), "fixed", ["-no-pie", "-fno-pie"])
        link = attach(old, obj.programs["args"], "%s:tst:args" % fixed, maps=obj.maps)
        assert "by address" in link.detail and "perf ioctl" in link.detail
        run(fixed, 5)
        link.close()
        assert values(obj)[:6] == [10, -3, 1234567890123, -5, 77, 6]
        with pytest.raises(NotSupported):
            # position independent: needs a pid
            attach(old, obj.programs["args"], "%s:tst:args" % target, maps=obj.maps)
        process = subprocess.Popen([target, "3", "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(100):  # Popen comes back before the new program is mapped
            with open("/proc/%d/maps" % process.pid) as f:
                if target in f.read():
                    break
            time.sleep(0.01)
        try:
            with attach(old, obj.programs["args"], "%s:tst:args" % target, maps=obj.maps, pid=process.pid):
                process.stdin.write(b"\n")
                process.stdin.flush()
                process.stdout.readline()
                assert values(obj)[0] == 16
        finally:
            process.kill()
            process.communicate()


def test_usdt_of_libc(usdt_object):
    """glibc has probes of its own: mallopt(M_MXFAST=1, 48) passes memory_mallopt with those numbers."""
    from lbc.bpf.object import BpfObject
    from lbc.elf.locate import find_binary
    from lbc.elf.reader import open_elf
    from lbc.elf.usdt import read_usdt
    with open_elf(find_binary("libc.so.6")) as elf:
        if not any(p.name == "memory_mallopt" for p in read_usdt(elf)):
            skip("this libc has no USDT probes")
    with BpfObject(usdt_object) as obj:
        obj.load()
        with attach(kernel, obj.programs["args"], "libc.so.6:libc:memory_mallopt", maps=obj.maps, pid=0):
            libc = ctypes.CDLL("libc.so.6")
            for _ in range(3):
                libc.mallopt(1, 48)
            assert values(obj)[0] == 3 and values(obj)[8] == 2
            assert values(obj)[1:3] == [1, 48]


def test_usdt_of_a_program_alone(usdt_object, target, monkeypatch):
    """Without being told the maps: the kernel knows them."""
    need("bpf_cookie")  # without it a position independent program needs a pid
    from lbc.bpf.object import BpfObject
    with BpfObject(usdt_object) as obj:
        obj.load()
        program = obj.programs["args"]
        alone = type("Alone", (object,), {"fd": program.fd, "name": program.name, "spec": program.spec,
                                          "kernel": kernel})()
        first = attach(kernel, alone, "%s:tst:args" % target, cookie=1)
        second = attach(kernel, alone, "%s:tst:args" % target, cookie=2)
        first.close()
        run(target, 5)
        second.close()
        assert values(obj)[:5] == [10, -3, 1234567890123, -5, 77] and values(obj)[7] == 2
        assert usdt._shared == {}


def test_spec_ids_are_given_back(usdt_object, target):
    need("bpf_cookie")  # without it a position independent program needs a pid
    from lbc.bpf.object import BpfObject
    with BpfObject(usdt_object) as obj:
        obj.load()
        manager = usdt.Manager(kernel, obj.maps["__bpf_usdt_specs"], obj.maps["__bpf_usdt_ip_to_spec_id"])
        obj.programs["args"].object = obj
        obj.usdt_manager = manager
        for _ in range(4):
            with attach(kernel, obj.programs["args"], "%s:tst:args" % target):
                assert manager.next == 1 and manager.free == []
            assert manager.free == [0]
