"""What every test gets: markers, the leak check, and the list of skip reasons at the end.

live    needs root and a kernel: skipped when not root; LBC_LIVE=1 forces them
lab     boots virtual machines: skipped unless LBC_LAB=1 or CI=true

A test that leaves a file descriptor open fails.  A live test also fails when it leaves a kprobe or uprobe event in
tracefs or a pin in bpffs, and, inside the lab where nobody else loads anything, a BPF program, map or link.
LBC_TEST_TIMEOUT=SECONDS ends a test that takes longer as a failure.
"""
from __future__ import absolute_import

import fcntl
import gc
import os
import signal
import struct
import tempfile
import time

import pytest

LAB = os.environ.get("LBC_LAB_KERNEL")
TRACEFS = "/sys/kernel/tracing", "/sys/kernel/debug/tracing"
BPFFS = "/sys/fs/bpf"


def pytest_configure(config):
    config.addinivalue_line("markers", "live: needs root and a kernel (LBC_LIVE=1 forces)")
    config.addinivalue_line("markers", "lab: boots virtual machines (LBC_LAB=1)")
    config.addinivalue_line("markers", "timeout_s(seconds): this test may take longer than LBC_TEST_TIMEOUT")


def pytest_collection_modifyitems(items):
    root = os.geteuid() == 0
    for item in items:
        if item.get_closest_marker("live") and not root and os.environ.get("LBC_LIVE") != "1":
            item.add_marker(pytest.mark.skip(reason="live test: needs root (LBC_LIVE=1 forces it)"))
        if item.get_closest_marker("lab") and os.environ.get("LBC_LAB") != "1" and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason="boots virtual machines (LBC_LAB=1 forces it)"))


# -- what a test may leave behind --------------------------------------------------------------------------------------

def open_fds():
    """{fd: what it is}; the descriptor used for listing is not in it."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if target != "/dev/urandom":  # Python 2.7 keeps it open from the first os.urandom on
            fds[int(name)] = target
    return fds


def probe_events():
    """Lines of kprobe_events and uprobe_events."""
    lines = set()
    for root in TRACEFS:
        if os.path.exists(root + "/events"):
            for name in ("kprobe_events", "uprobe_events"):
                if os.path.exists(root + "/" + name):
                    with open(root + "/" + name) as f:
                        lines.update("%s: %s" % (name, line.strip()) for line in f)
            break
    return lines


def pins():
    """Paths in the BPF file system, folders included, but not the kernel's own maps.debug and progs.debug."""
    found = set()
    for folder, folders, files in os.walk(BPFFS):
        found.update(os.path.join(folder, name) for name in folders + files if not name.endswith(".debug"))
    return found


def bpf_ids():
    """{("prog", 7), ...}: everything loaded, whoever did it (BPF_*_GET_NEXT_ID of bpf(2))."""
    from lbc import _native
    from lbc.uapi import arch, bpf
    found = set()
    for kind, command in (("prog", bpf.BPF_PROG_GET_NEXT_ID), ("map", bpf.BPF_MAP_GET_NEXT_ID),
                          ("link", bpf.BPF_LINK_GET_NEXT_ID)):
        attr = bytearray(16)  # union bpf_attr: start_id, next_id, open_flags
        try:
            while True:
                _native.backend.syscall(arch.current().nr_bpf, command, _native.backend.address_of(attr), 12)
                attr[0:4] = attr[4:8]
                found.add((kind, struct.unpack_from("=I", attr)[0]))
        except OSError:
            pass  # ENOENT after the last one, EINVAL where the kernel has no such command
    return found


class Footprint(object):
    """What the process (and, for a live test, the kernel) holds at one moment."""

    def __init__(self, live):
        self.fds = open_fds()
        self.events = probe_events() if live else set()
        self.pins = pins() if live else set()
        self.ids = bpf_ids() if live and LAB else set()

    def left_since(self, before):
        """Texts: one for each thing that was not there ``before``."""
        left = ["fd %d (%s)" % (fd, what) for fd, what in sorted(self.fds.items()) if before.fds.get(fd) != what]
        left += ["event %s" % line for line in sorted(self.events - before.events)]
        left += ["pin %s" % path for path in sorted(self.pins - before.pins)]
        left += ["bpf %s id %d" % row for row in sorted(self.ids - before.ids)]
        return left


def wait_for_turn(seconds=60):
    """A file that is locked while one live test runs: another process's test must not be blamed for what ours makes.

    None after ``seconds``: better a false alarm than a queue behind a test that hangs."""
    turn = open(os.path.join(tempfile.gettempdir(), "lbc-live-%d.lock" % os.geteuid()), "w")
    fcntl.fcntl(turn, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # 2.7 hands files on: a child left behind would keep the lock
    until = time.time() + seconds
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return turn
        except (IOError, OSError):
            if time.time() > until:
                turn.close()
                return None
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def leaves_nothing(request):
    """Fails the test that leaves something behind; the kernel frees late, and others may be at work: look again for 2
    s."""
    live = request.node.get_closest_marker("live") is not None and os.geteuid() == 0
    __tracebackhide__ = True
    turn = wait_for_turn() if live and not LAB else None
    before = Footprint(live)
    yield
    left = Footprint(live).left_since(before)
    if left:
        gc.collect()
    patience = time.time() + (6 if LAB else 2)
    while left and time.time() < patience:
        left = Footprint(live).left_since(before)
        if not left or not live:
            break
        time.sleep(0.1)
    if turn:
        turn.close()
    if left:
        pytest.fail("left behind: %s" % "; ".join(left))


# -- a test that hangs -----------------------------------------------------------------------------------------------

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    seconds = int(os.environ.get("LBC_TEST_TIMEOUT") or 0)
    mark = item.get_closest_marker("timeout_s")
    if seconds and mark:
        seconds = max(seconds, mark.args[0])
    if seconds:
        def stop(number, frame):
            __tracebackhide__ = True
            pytest.fail("still running after %d s" % seconds)
        former = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
    yield
    if seconds:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


# -- skips are part of the result --------------------------------------------------------------------------------------

def pytest_terminal_summary(terminalreporter):
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        longrepr = report.longrepr
        text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        text = text[len("Skipped: "):] if text.startswith("Skipped: ") else text
        reasons[text] = reasons.get(text, 0) + 1
    if reasons:
        terminalreporter.write_sep("-", "skipped, and why")
        for text, count in sorted(reasons.items(), key=lambda row: (-row[1], row[0])):
            terminalreporter.write_line("%4d  %s" % (count, text))


@pytest.fixture(params=["ctypes", "cffi"])
def native(request):
    """Each backend of lbc._native in turn."""
    from lbc import _native
    try:
        return _native.load(request.param)
    except ImportError as error:
        pytest.skip("backend %s: %s" % (request.param, error))
