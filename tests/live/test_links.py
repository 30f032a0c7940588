"""Kernel-side attachments: known workloads give exact counts, through every way the kernel has; nothing is left
behind."""
from __future__ import absolute_import

import os
import signal
import subprocess
import sys
import time

import pytest

from lbc.bpf import features
from lbc import residue
from lbc.bpf.links import attach
from lbc.bpf.syscalls import kernel
from lbc.errors import KernelError, NotFoundError, NotSupported
from lbc.uapi import bpf as U
from tests import linkskit
from . import LAB, kernel_version, need, need_kprobes, need_version, skip, tracefs

pytestmark = pytest.mark.live
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUNCTION = "__x64_sys_unlink" if os.uname()[4] == "x86_64" else "__arm64_sys_unlinkat"


def unlink(times=10):
    """``times`` unlink system calls of this process."""
    for _ in range(times):
        try:
            os.unlink("/nowhere/at/all")
        except OSError:
            pass


class Setup(object):
    def __init__(self):
        self.things = []

    def load(self, section, **options):
        counter = linkskit.Counter()
        self.things.append(counter)
        options = dict(options)
        text = linkskit.counting(counter.fd, **{k: options.pop(k) for k in ("result", "pid", "store_cookie")
                                                if k in options})
        program = linkskit.Program(section, text, **options)
        self.things.append(program)
        return program, counter

    def close(self):
        for thing in self.things:
            thing.close()


@pytest.fixture
def bpf():
    setup = Setup()
    yield setup
    setup.close()


def btf_id(name, kind=12):
    """(12: BTF_KIND_FUNC)"""
    from lbc.btf.parse import open_btf
    btf = open_btf("/sys/kernel/btf/vmlinux")
    try:
        return btf.find_one(name, kind)
    finally:
        btf.close()


def counted(bpf, section, expected, work=unlink, times=10, target=None, load=None, **options):
    """Attach, work, compare; after close nothing more is counted.  Returns the detail."""
    program, counter = bpf.load(section, **dict({"pid": os.getpid()}, **(load or {})))
    with attach(kernel, program, target, **options) as link:
        work(times)
        assert counter.value == expected
        detail = link.detail
    work(times)
    assert counter.value == expected
    return detail


@pytest.mark.parametrize("way", ["link", "perf", "tracefs", None])
@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_kprobe(bpf, kind, way):
    need_kprobes()
    if way == "link":
        need("perf_link")
    detail = counted(bpf, "%s/%s" % (kind, FUNCTION), 10, way=way)
    assert ("tracefs event" in detail) == (way == "tracefs")
    if way != "tracefs":
        assert ("perf link" in detail) == (way in ("link", None) and kernel_version() >= (5, 15))


def test_kretprobe_maxactive(bpf):
    need_kprobes()
    program, counter = bpf.load("kretprobe/" + FUNCTION, pid=os.getpid())
    with attach(kernel, program, maxactive=16) as link:
        with open(tracefs() + "/kprobe_events") as f:
            assert "r16:%s/" % residue.tag() in f.read()
        unlink()
        assert counter.value == 10 and "tracefs" in link.detail


@pytest.mark.parametrize("section", ["ksyscall/unlink", "kretsyscall/unlink"])
def test_ksyscall(bpf, section):
    need_kprobes()
    counted(bpf, section, 10)


def test_kprobe_cookie(bpf):
    need_kprobes()
    need("bpf_cookie", "perf_link")
    counted(bpf, "kprobe/" + FUNCTION, 10 * 7, load={"store_cookie": True}, cookie=7)


def test_kprobe_address_and_module_form(bpf):
    need_kprobes()
    with open("/proc/kallsyms") as f:
        address = next(int(line.split()[0], 16) for line in f if line.split()[2] == FUNCTION)
    counted(bpf, "kprobe", 10, target=address)


def test_kprobe_errors(bpf):
    need_kprobes()
    for target, kind, word in (("vfs_reed", NotFoundError, "vfs_read"),
                               ("kprobe_ftrace_handler", KernelError, "cannot be probed"),
                               ("type_show", KernelError, "functions of that name")):
        if target == "type_show" and kernel_version() < (6, 0):
            continue  # accepted: which copy is not said
        program, _ = bpf.load("kprobe/" + target)
        with pytest.raises(kind) as caught:
            attach(kernel, program)
        assert word in str(caught.value)


def test_kprobes_missing_is_not_supported(bpf):
    if os.path.exists(tracefs() + "/kprobe_events"):
        skip("has kprobes")
    program, _ = bpf.load("kprobe/vfs_read")
    with pytest.raises(NotSupported):
        attach(kernel, program)


def test_kprobe_multi(bpf):
    need_kprobes()
    names = [FUNCTION, FUNCTION.replace("unlink", "rmdir") if "x64" in FUNCTION else "__arm64_sys_mkdirat"]

    def work(times):
        unlink(times)
        for _ in range(times):
            try:
                os.rmdir("/nowhere/at/all")
            except OSError:
                pass
    multi = features.have(kernel, "kprobe_multi")  # not in Debian's 6.1, which is built without CONFIG_FPROBE
    assert multi == (kernel_version() >= (5, 18)) or not LAB or kernel_version() == (6, 1)
    detail = counted(bpf, "kprobe.multi", 20, work, functions=names)
    assert ("kprobe.multi" in detail) == multi
    counted(bpf, "kretprobe.multi/" + FUNCTION[:-2] + "?" + FUNCTION[-1], 10)
    if multi:
        counted(bpf, "kprobe.multi", 10 * 3 + 10 * 5, work, load={"store_cookie": True}, functions=names,
                cookies=[3, 5])
        program, _ = bpf.load("kprobe.multi/vfs_reed")
        with pytest.raises(NotFoundError) as caught:
            attach(kernel, program)
        assert "vfs_read" in caught.value.near
        detail = counted(bpf, "kprobe.multi/*_sys_unlink", 10)  # many names match; ours is one of them


def test_kprobe_session(bpf):
    need_kprobes()
    need_version(6, 10, "kprobe.session")
    counted(bpf, "kprobe.session/" + FUNCTION, 20)


def test_tracepoint(bpf):
    counted(bpf, "tracepoint/syscalls/sys_enter_unlink", 10)
    program, _ = bpf.load("tracepoint/syscalls/sys_enter_unlnk")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, program)
    assert "syscalls/sys_enter_unlink" in caught.value.near


def test_tracepoint_cookie(bpf):
    need("bpf_cookie", "perf_link")
    counted(bpf, "tracepoint/syscalls/sys_enter_unlink", 10 * 9, load={"store_cookie": True}, cookie=9)


def test_raw_tracepoint(bpf):
    program, counter = bpf.load("raw_tp/sys_enter", pid=os.getpid())
    with attach(kernel, program):
        unlink()
        seen = counter.value
    assert seen >= 10
    unlink()
    assert counter.value - seen < 10  # detached: at most what ran between the reading and the close
    program, _ = bpf.load("raw_tp/sys_entr")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, program)
    assert "sys_enter" in caught.value.near


def test_tp_btf(bpf):
    need("tracing") if "tracing" in __import__("lbc.bpf.features").bpf.features.FEATURES else None
    number = btf_id("btf_trace_sys_enter", 8)  # BTF_KIND_TYPEDEF
    program, counter = bpf.load("tp_btf/sys_enter", pid=os.getpid(), attach_btf_id=number)
    with attach(kernel, program):
        unlink()
        assert counter.value >= 10


@pytest.mark.parametrize("kind", ["fentry", "fexit"])
def test_fentry(bpf, kind):
    try:
        program, _ = bpf.load("%s/%s" % (kind, FUNCTION), attach_btf_id=btf_id(FUNCTION))
    except KernelError as error:
        skip("%s refused at load: %s" % (kind, error.what))
    try:
        attach(kernel, program).close()
    except NotSupported as error:
        assert not os.environ.get("LBC_LAB_KERNEL"), error
        skip("no trampolines: the attachment says %s" % error.what)
    counted(bpf, "%s/%s" % (kind, FUNCTION), 10, load={"attach_btf_id": btf_id(FUNCTION)})
    if kernel_version() >= (6, 0):
        counted(bpf, "%s/%s" % (kind, FUNCTION), 10 * 4, load={"attach_btf_id": btf_id(FUNCTION), "store_cookie": True},
                cookie=4)


def test_lsm(bpf):
    try:
        with open("/sys/kernel/security/lsm") as f:
            if "bpf" not in f.read().split(","):
                skip("bpf is not among the security modules")
    except IOError:
        skip("no securityfs")
    program, counter = bpf.load("lsm/file_open", pid=os.getpid(), attach_btf_id=btf_id("bpf_lsm_file_open"))
    with attach(kernel, program):
        for _ in range(5):
            open("/dev/null").close()
        assert counter.value >= 5


def iterator_text(body=b"ABC"):
    """bpf_seq_write(ctx->meta->seq, "ABC", 3) for each element."""
    i = linkskit.insn
    return (i(0xbf, 6, 1) + i(0x79, 1, 6, 0) + i(0x79, 1, 1, 0)            # r1 = ctx->meta->seq
            + i(0x62, 10, 0, -8, body[0] if isinstance(body[0], int) else ord(body[0])) + i(0xbf, 2, 10)
            + i(0x07, 2, 0, 0, -8)
            + i(0xb7, 3, 0, 0, 1) + i(0x85, 0, 0, 0, 127) + i(0xb7) + i(0x95))


def test_iterator(bpf):
    need_version(5, 8, "iterators")
    program = linkskit.Program("iter/task", iterator_text(), attach_btf_id=btf_id("bpf_iter_task"))
    bpf.things.append(program)
    with attach(kernel, program) as link:
        first = b"".join(link.read())
        threads = sum(len(os.listdir("/proc/%s/task" % pid)) for pid in os.listdir("/proc") if pid.isdigit())
        assert set(bytearray(first)) == {65}
        # one row a thread (tasks come and go, others' name spaces)
        assert abs(len(first) - threads) <= 1 + max(10, threads // 4)
        assert len(b"".join(link.read(size=7))) > 0 and link.text().startswith("A")


def test_iterator_of_one_task(bpf):
    need_version(6, 1, "iterators of one task")
    program = linkskit.Program("iter/task", iterator_text(), attach_btf_id=btf_id("bpf_iter_task"))
    bpf.things.append(program)
    with attach(kernel, program, tid=os.getpid()) as link:
        assert b"".join(link) in (b"A", b"AA")  # one row, and one for the end


def test_iterator_of_map(bpf):
    need_version(5, 9, "map iterators")
    import struct
    table = kernel.bpf(U.BPF_MAP_CREATE, {"map_type": U.BPF_MAP_TYPE_HASH, "key_size": 4, "value_size": 4,
                                          "max_entries": 10})
    try:
        for n in range(5):
            kernel.bpf(U.BPF_MAP_UPDATE_ELEM, {"map_fd": table, "key": struct.pack("=I", n), "value": b"abcd"})
        program = linkskit.Program("iter/bpf_map_elem", iterator_text(), attach_btf_id=btf_id("bpf_iter_bpf_map_elem"))
        bpf.things.append(program)
        with attach(kernel, program, map=table) as link:
            assert len(b"".join(link.read())) == 6  # 5 elements and the call at the end
        with pytest.raises(KernelError) as caught:
            attach(kernel, program)
        assert "map" in str(caught.value)
    finally:
        kernel.close(table)


def test_perf_event_software(bpf):
    def naps(times):
        for _ in range(times):
            time.sleep(0.002)
    program, counter = bpf.load("perf_event")
    with attach(kernel, program, {"type": 1, "config": 3, "sample_period": 1}, pid=0):  # PERF_COUNT_SW_CONTEXT_SWITCHES
        naps(20)
        assert 20 <= counter.value <= 60
    program, counter = bpf.load("perf_event")
    with attach(kernel, program, {"type": 1, "config": 0, "sample_freq": 100}) as link:
        end = time.time() + 0.5
        while time.time() < end:
            pass
        assert counter.value >= 10
        assert len(getattr(link, "links", [link])) == len(kernel.online_cpus())


def test_perf_event_breakpoint(bpf):
    import ctypes
    cell = ctypes.c_long(0)
    program, counter = bpf.load("perf_event")
    try:
        link = attach(kernel, program, {"type": 5, "bp_type": 2, "bp_addr": ctypes.addressof(cell), "bp_len": 8}, pid=0)
    except NotSupported as error:
        skip(error.what)
    with link:
        for n in range(6):
            cell.value = n
        assert counter.value == 6


def test_pin_update_info(bpf, pin_root):
    need("perf_link")
    program, counter = bpf.load("raw_tp/sys_enter", pid=os.getpid())
    link = attach(kernel, program)
    path = os.path.join(pin_root, "link")
    link.pin(path)
    assert link.info().get("prog_id") == kernel.info(program.fd, U.BPF_PROG_INFO, U.BPF_PROG_INFO_SIZE).get("id")
    link.close()
    before = counter.value
    unlink()
    assert counter.value >= before + 10  # the pin keeps it
    os.unlink(path)
    program, counter = bpf.load("tracepoint/syscalls/sys_enter_unlink")
    with attach(kernel, program) as link:
        with pytest.raises((NotSupported, KernelError)):
            link.update(program)


# -- what is left behind ---------------------------------------------------------------------------------------------
CHILD = """
import os, signal, sys, time
from lbc.bpf.links import attach
from lbc.bpf.syscalls import kernel
from tests import linkskit
program = linkskit.Program(%r, linkskit.insn(0xb7) + linkskit.insn(0x95))
link = attach(kernel, program, %s)
def wait():  # in short naps: a signal that comes just before a nap is handled after it (2.7 and 3 alike)
    for _ in range(600):
        time.sleep(0.1)
sys.stdout.write("up\\n"); sys.stdout.flush()
%s
"""


def child(section, arguments, end):
    process = subprocess.Popen([sys.executable, "-c", CHILD % (section, arguments, end)], cwd=ROOT,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n", process.stderr.read().decode()
    return process


def events():
    text = ""
    for name in ("kprobe_events", "uprobe_events"):
        path = "%s/%s" % (tracefs(), name)
        if os.path.exists(path):
            with open(path) as f:
                text += f.read()
    return [line for line in text.splitlines() if "lbc_" in line]


def one_event():
    """(section, arguments) of an attachment that makes an event in tracefs."""
    if os.path.exists(tracefs() + "/kprobe_events"):
        return "kprobe/" + FUNCTION, "way='tracefs'"
    return "uprobe/libc.so.6:getppid", "way='tracefs'"


@pytest.mark.parametrize("end, signal_number", [
    ("pass", None), ("raise ValueError", None), ("sys.exit(3)", None), ("wait()", signal.SIGTERM),
    ("wait()", signal.SIGINT), ("wait()", signal.SIGHUP)])
def test_event_goes_at_exit(end, signal_number):
    section, arguments = one_event()
    process = child(section, arguments, end)
    if signal_number:
        assert len(events()) == 1
        process.send_signal(signal_number)
    process.communicate()
    if signal_number in (signal.SIGTERM, signal.SIGHUP):
        assert process.returncode == -signal_number
    assert events() == []


def test_event_of_a_killed_run_goes_at_the_next_start():
    section, arguments = one_event()
    process = child(section, arguments, "wait()")
    process.kill()
    process.communicate()
    assert len(events()) == 1  # nobody could
    process = child("raw_tp/sys_enter", "", "wait()")
    assert events() == []
    process.kill()
    process.communicate()


def test_event_of_a_living_run_is_left_alone():
    section, arguments = one_event()
    process = child(section, arguments, "wait()")
    try:
        other = child("raw_tp/sys_enter", "", "pass")
        other.communicate()
        assert len(events()) == 1
    finally:
        process.terminate()
        process.communicate()
    assert events() == []
