"""The surftrace command as a process: what it prints, what it leaves (nothing), many at once, cut off in every way."""
from __future__ import absolute_import

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from lbc import tracefs as _tracefs
from lbc._py23 import range
from lbc.ftrace.tracing import FtraceSession

from . import LAB, skip, tracefs
from .surf import FILES, comm, fork, mine, traced, types, wait_until

if LAB:
    pytest.skip("these have not been run to their end in the lab yet", allow_module_level=True)
pytestmark = pytest.mark.live


def setup_module():
    types()


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FORK = "e sched/sched_process_fork"
LIBC = ctypes.CDLL(None)


def command(*words):
    return [sys.executable, "-m", "lbc", "surftrace"] + list(words)


def start(*words):
    """The command, running: its echo lines have been read."""
    process = subprocess.Popen(command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while True:
        line = process.stdout.readline()
        assert line, process.communicate()
        if line.endswith(b"/tracing_on\n"):
            return process


def run(*words):
    """(status, stdout, stderr) of the command."""
    process = subprocess.Popen(command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


def is_others(text):
    """Of a running lbc that is none of ours (another test run on this machine)."""
    found = re.search(r"\blbc_[0-9a-f]+_([0-9a-f]+)_[0-9a-f]+", text)
    pid = int(found.group(1), 16) if found else os.getpid()
    return pid != os.getpid() and os.path.exists("/proc/%d" % pid)


def own(names):
    return [name for name in names if not is_others(name)]


def state():
    """Everything in tracefs that a session may make."""
    root = tracefs()
    files = [name for name in ("kprobe_events", "uprobe_events", "tracing_on", "current_tracer", "set_event_pid",
                               "events/sched/sched_process_fork/enable", "events/sched/sched_process_fork/filter",
                               "options/stacktrace", "trace_clock")
             if os.path.exists(root + "/" + name)]
    return [own(FILES.listdir(root + "/instances"))] + [
        own(FILES.read("%s/%s" % (root, name)).decode().splitlines()) for name in files]


@pytest.fixture(autouse=True)
def nothing_left():
    before = state()
    yield
    assert wait_until(lambda: state() == before), (before, state())


def open_file(name):
    """fopen(3) in this process; whether it gave a file."""
    LIBC.fopen.restype = ctypes.c_void_p
    handle = LIBC.fopen(name.encode(), b"r")
    if handle:
        LIBC.fclose(ctypes.c_void_p(handle))
    return bool(handle)


def need_uprobes():
    if not os.path.exists(tracefs() + "/uprobe_events"):
        skip("built without uprobes")


# -- user probes -------------------------------------------------------------------------------------------------------

def test_user_probes():
    """2.9.2 of the mission document: an argument of a library function, a filter on what it returns."""
    need_uprobes()
    events = mine(traced(["P libc:fopen name=!(char *)%0 mode=!(char *)%1 at=X%0",
                          "R libc:fopen file=$retval f:file==0", "R libc:fopen name=$retval f:name!=0"],
                         lambda: [open_file("/no/such lbc"), open_file("/proc/self/comm")], wanted=4))
    names = [event.args["name"] for event in events if event.name == "p0"]
    assert names == ["/no/such lbc", "/proc/self/comm"]
    assert all(event.args["mode"] == "r" and event.args["at"] > 4096 for event in events if event.name == "p0")
    assert [event.args["file"] for event in events if event.name == "r1"] == [0]
    assert len([event for event in events if event.name == "r2"]) == 1


def test_user_stack():
    need_uprobes()
    events = mine(traced(["P libc:fopen name=!(char *)%0"], lambda: open_file("/no/such lbc"), ustack=True))
    assert len(events) == 1 and len(events[0].stack) >= 1
    assert any("fopen" in frame for frame in events[0].stack), events[0].stack


# -- output ------------------------------------------------------------------------------------------------------------

def test_lines_and_echo():
    status, out, err = run("-c", "sh -c 'true; (true); true'", FORK)
    lines = out.splitlines()
    root = tracefs()
    shown = root + "/instances/surftrace"
    assert status == 0 and err == ""
    assert lines[:3] == ["echo 1 > %s/events/sched/sched_process_fork/enable" % shown,
                         "echo 0 > %s/options/stacktrace" % shown, "echo 1 > %s/tracing_on" % shown]
    assert lines[-2:] == ["echo 0 > %s/events/sched/sched_process_fork/enable" %
                          shown, "echo 0 > %s/tracing_on" % shown]
    events = lines[3:-2]
    assert events and all(re.match(r" *sh-\d+ +\[\d+\] \S+ +\d+\.\d{6}: sched_process_fork: comm=sh pid=", line)
                          for line in events), events


def test_json_count_and_times():
    status, out, err = run("-j", "-n", "2", "-c", "sh -c '(true); (true); (true)'", FORK)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(rows) == 2 and err == ""
    for row in rows:
        assert row["event"] == "sched_process_fork" and row["task"] == "sh" and row["args"]["child_pid"] > 0
        assert row["pid"] == row["args"].get("parent_pid", row["pid"]) and row["time"] > 0
    now = time.strftime("%H:")
    status, out, err = run("-q", "-t", "wall", "-n", "1", "-c", "sh -c '(true)'", FORK)
    assert status == 0 and re.match(r" *sh-\d+ .* (%s|%s)\d\d:\d\d\.\d{6}: sched_process_fork: " % (
        now, time.strftime("%H:")), out)


def test_duration_and_text_pipe():
    """Both ways to read give the same lines: those of one command, told apart by nothing but time and pid."""
    shapes = []
    for way in ((), ("--text",)):
        status, out, err = run(*(way + ("-q", "-D", "20", "-c", "sh -c '(true)'", FORK)))
        assert status == 0 and err == ""
        shapes.append(re.sub(r"[\d.]+", "N", re.sub(" +", " ", out)))
    assert shapes[0] == shapes[1] != ""


def test_expressions_of_a_file(tmp_path):
    path = tmp_path / "list"
    path.write_text(u"# forks\n\n%s\ne sched/sched_process_exit\n" % FORK)
    status, out, err = run("-q", "-f", str(path), "-c", "sh -c '(true)'")
    assert status == 0 and "sched_process_fork" in out and "sched_process_exit" in out
    status, out, err = run("-f", str(tmp_path / "none"))
    assert status == 1 and "No such file" in err and len(err.splitlines()) == 1


def test_script_does_the_same(tmp_path):
    path = str(tmp_path / "s.sh")
    status, out, err = run("-o", path, FORK + " f:parent_pid==%d" % os.getpid())
    assert status == 0 and os.access(path, os.X_OK)
    process = subprocess.Popen(["bash", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown = tracefs() + "/instances/surftrace_%d" % process.pid
    assert wait_until(lambda: os.path.exists(shown + "/tracing_on") and FILES.read(shown + "/tracing_on") == b"1\n")
    child = fork()
    line = process.stdout.readline().decode()
    assert "sched_process_fork" in line and "child_pid=%d" % child in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and err == b""


def test_lost_events_are_counted():
    """A buffer of a few pages under a flood: what is shown and what is counted as lost are all there were."""
    need_uprobes()
    with FtraceSession(["P libc:getppid"], types(), buffer_kb=8) as session:
        session.start()
        calls = 20000
        for _ in range(calls):
            LIBC.getppid()
        found = len(mine(session.drain()))
        assert 0 < found < calls
        assert found + session.lost == calls
    status, out, err = run("--strict", "-q", "--buffer", "8", "-c",
                           "%s -c 'import ctypes; f = ctypes.CDLL(None).getppid; [f() for _ in range(100000)]'"
                           % sys.executable, "P libc:getppid")
    lost = re.search(r"(\d+) events lost", err)
    assert (status, bool(lost)) in ((3, True), (0, False))      # a reader that is quick enough loses none
    shown = len([line for line in out.splitlines() if ": p0: (" in line])
    assert shown + (int(lost.group(1)) if lost else 0) == 100000


# -- ends --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(number):
    process = start(FORK)
    child = fork()
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 0 and err == b""
    assert ("child_pid=%d" % child).encode() in out and out.endswith(b"/tracing_on\n")


def test_closed_pipe():
    """`| head -1`"""
    need_uprobes()
    process = subprocess.Popen(command("-q", "e sched/sched_switch", "P libc:fopen"), cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0 and err == b""


def test_two_at_once_and_kill():
    """The same expressions twice; one is killed; the other misses nothing; the next start sweeps what was left."""
    need_uprobes()
    first, second = start(FORK, "P libc:fopen"), start(FORK, "P libc:fopen")
    children = [fork()]
    first.kill()
    first.communicate()
    children += [fork(), fork()]
    pids = ["_%x_" % process.pid for process in (first, second)]

    def left(names):
        return [[name for name in names if pid in name] for pid in pids]
    assert [len(found) for found in left(FILES.listdir(tracefs() + "/instances"))] == [1, 1]
    second.send_signal(signal.SIGINT)
    out, _ = second.communicate()
    for child in children:
        assert out.count(("child_pid=%d" % child).encode()) == 1
    assert [len(found) for found in left(FILES.listdir(tracefs() + "/instances"))] == [1, 0]
    events = FILES.read(tracefs() + "/uprobe_events").decode()
    assert pids[0] in events and pids[1] not in events
    _tracefs.sweep(FILES)
    assert pids[0] not in FILES.read(tracefs() + "/uprobe_events").decode()
    assert left(FILES.listdir(tracefs() + "/instances")) == [[], []]


def test_others_probes_are_left_alone():
    need_uprobes()
    path = tracefs() + "/uprobe_events"
    FILES.write(path, b"p:lbc_of_somebody/p0 /bin/sh:0x100\n", append=True)
    try:
        traced(["P libc:fopen"], lambda: open_file("/x"))
        assert b"lbc_of_somebody/p0" in FILES.read(path)
    finally:
        FILES.write(path, b"-:lbc_of_somebody/p0\n", append=True)


def test_failure_half_way():
    """The second expression is refused when the first is on already."""
    need_uprobes()
    status, out, err = run("P libc:fopen", "P libc:no_such_function")
    assert status == 1 and "no_such_function" in err
    session = FtraceSession(["P libc:fopen", "P libc:fclose"], types())
    session.plan.entries[1].place = "/no/such/file:0x10"
    with pytest.raises(Exception) as error:
        session.start()
    assert "/no/such/file" in str(error.value)


def test_exception_while_reading():
    with pytest.raises(ZeroDivisionError):
        traced([FORK], lambda: 1 // 0)


def test_command_that_cannot_run():
    status, out, err = run("-q", "-c", "/no/such/program", FORK)
    assert status == 1 and err.startswith("surftrace: cannot run `/no/such/program`") and len(err.splitlines()) == 1
    assert run("-c", "true", "-p", "1", FORK)[0] == 2


def test_no_such_process():
    status, out, err = run("-p", "4194303", FORK)
    assert status == 1 and "no process 4194303" in err


def test_legacy_module():
    """The reference's class: lines by callback from a thread, expressions shown."""
    from lbc.legacy import setupParser, surftrace, transProbeLine
    lines, shown = [], []
    surf = surftrace([FORK], setupParser(), echo=False, cb=lines.append)
    surf.start()
    child = fork()
    assert wait_until(lambda: any("child_pid=%d" % child in line for line in lines))
    surf.stop()
    row = transProbeLine([line for line in lines if "child_pid=%d" % child in line][0])
    assert row["task"] == comm() and row["pid"] == os.getpid() and row["name"] == "sched_process_fork"
    surf = surftrace([FORK + " f:child_pid==0"], setupParser(), show=True, cbShow=shown.append)
    surf.start()
    assert shown == [{"type": "e", "fxpr": "sched/sched_process_fork", "filter": "child_pid==0"}]
    again = surftrace({"fxpr": [dict(shown[0], filter="")]}, setupParser(), echo=False, cbOrig=lines.append)
    again.start()
    child = fork()
    assert wait_until(lambda: any("child_pid=%d" % child in line for line in lines))
    again.stop()
