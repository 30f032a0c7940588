"""What a session writes, as the mission document prints it, and the script of it."""
from __future__ import absolute_import

import os
import subprocess

import pytest

from lbc.expr import probe
from lbc.ftrace.plan import Entry, Names, Plan, echo_line, quote
from lbc.ftrace.script import bash_script
from lbc.uapi.arch import ARCHES

TRACING = "/sys/kernel/debug/tracing"
SHOWN = Names(TRACING, TRACING + "/instances/surftrace")


def entry(text, name, place="", system=""):
    parsed = probe.parse(text)
    fields = {"delay": Field()} if parsed.kind == "e" else None
    compiled = probe.compile_probe(parsed, name, None, None, probe.Target(ARCHES["x86_64"], parsed.user, fields))
    return Entry(compiled, place, system, compiled.filter)


class Field(object):
    name, type, size, signed, is_string = "delay", "u64", 8, False, False


def lines(plan, names=SHOWN):
    return [echo_line(*write) for write in plan.setup(names)], [echo_line(*write) for write in plan.undo(names)]


def test_kernel_probes_as_printed():
    """Chapter 2.2.1 of the mission document."""
    plan = Plan([entry("p wake_up_new_task", "f0", "wake_up_new_task"),
                 entry("r wake_up_new_task", "f1", "wake_up_new_task")])
    assert lines(plan)[0] == [
        "echo 'p:f0 wake_up_new_task' >> /sys/kernel/debug/tracing/kprobe_events",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/events/kprobes/f0/enable",
        "echo 'r:f1 wake_up_new_task' >> /sys/kernel/debug/tracing/kprobe_events",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/events/kprobes/f1/enable",
        "echo 0 > /sys/kernel/debug/tracing/instances/surftrace/options/stacktrace",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/tracing_on"]


def test_user_probe_as_printed():
    """Chapter 2.9.1, with its filter, and what it prints at the end (white space folded)."""
    plan = Plan([entry("P bash:readline f:common_pid==114811", "p0", "/usr/bin/bash:0x8a870")])
    assert lines(plan) == ([
        "echo 'p:p0 /usr/bin/bash:0x8a870' >> /sys/kernel/debug/tracing/uprobe_events",
        "echo 'common_pid==114811' > /sys/kernel/debug/tracing/instances/surftrace/events/uprobes/p0/filter",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/events/uprobes/p0/enable",
        "echo 0 > /sys/kernel/debug/tracing/instances/surftrace/options/stacktrace",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/tracing_on"], [
        "echo 0 > /sys/kernel/debug/tracing/instances/surftrace/events/uprobes/p0/enable",
        "echo -:p0 >> /sys/kernel/debug/tracing/uprobe_events",
        "echo 0 > /sys/kernel/debug/tracing/instances/surftrace/tracing_on"])


def test_event_as_printed():
    """Chapter 2.5."""
    plan = Plan([entry("e sched/sched_stat_wait f:delay>1000000", "sched_stat_wait", system="sched")], stack=True)
    assert lines(plan)[0] == [
        "echo 'delay>1000000' > /sys/kernel/debug/tracing/instances/surftrace/events/sched/sched_stat_wait/filter",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/events/sched/sched_stat_wait/enable",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/options/stacktrace",
        "echo 1 > /sys/kernel/debug/tracing/instances/surftrace/tracing_on"]
    assert lines(plan)[1][0].startswith("echo 0 > ") and len(lines(plan)[1]) == 2   # nobody deletes an event


def test_own_group_and_settings():
    plan = Plan([entry("p f a=%di", "f0", "f")], [("buffer_size_kb", "64")], ustack=True)
    names = Names("/t", "/t/instances/lbc_1", "lbc_1")
    assert plan.setup(names) == [
        ("/t/instances/lbc_1/buffer_size_kb", "64", False), ("/t/kprobe_events", "p:lbc_1/f0 f a=%di:u64", True),
        ("/t/instances/lbc_1/events/lbc_1/f0/enable", "1", False),
        ("/t/instances/lbc_1/options/stacktrace", "0", False),
        ("/t/instances/lbc_1/options/userstacktrace", "1", False), ("/t/instances/lbc_1/tracing_on", "1", False)]
    assert ("/t/kprobe_events", "-:lbc_1/f0", True) in plan.undo(names)


@pytest.mark.parametrize("text", ["plain", "a b", "it's", "'", "''", "$(reboot)", "`x`", "a\\b", "!x", "*", "", "a\tb",
                                  "x\"y", "~root", "#1", "{a,b}"])
def test_quote(text):
    """A shell gives the same text back."""
    out = subprocess.check_output(["bash", "-c", "printf %%s %s" % quote(text)])
    assert out == text.encode()


def test_script(tmp_path):
    """bash runs it against a folder that looks like tracefs: the writes arrive, and all is undone at its end."""
    hostile = "p f a=%di f:common_comm=='$(touch /tmp/lbc-was-run)'"
    plan = Plan([entry("p f a=%di", "f0", "f"), entry(
        "e sched/sched_stat_wait f:delay>3", "sched_stat_wait", "", "sched")])
    text = bash_script(plan, ["p f a=%di", "e x\n$(exit)", hostile], "6.1.0'x", "x86_64")
    root = tmp_path / "t"
    (root / "events").mkdir(parents=True)
    (root / "instances").mkdir()
    # stand-ins: no mount, an instance with the files that the kernel would make, a reader that ends
    text = text.replace("T=/sys/kernel/tracing\n", "T=%s\n" % root).replace("mkdir $I ||", "make || ")
    text = text.replace("\nput() {", """
make() { mkdir -p $I/events/$G/f0 $I/events/sched/sched_stat_wait $I/options; : > $I/trace_pipe; }
rmdir() { cp -r $I $T/kept; rm -r $I; }
put() {""", 1)
    script = tmp_path / "s.sh"
    script.write_text(u"%s" % text)
    process = subprocess.Popen(["bash", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 0 and out == b"" and b"made for kernel 6.1.0'x" in err, err
    group = "surftrace_%d" % process.pid
    assert (root / "kprobe_events").read_text() == "p:%s/f0 f a=%%di:u64\n-:%s/f0\n" % (group, group)
    kept = root / "kept"
    assert (kept / "events" / group / "f0" / "enable").read_text() == "0\n"
    assert (kept / "events" / "sched" / "sched_stat_wait" / "filter").read_text() == "delay>3\n"
    assert (kept / "tracing_on").read_text() == "0\n"
    assert os.listdir(str(root / "instances")) == []


def test_script_stops_where_the_kernel_refuses(tmp_path):
    text = bash_script(Plan([entry("p f", "f0", "f")]), ["p f"], os.uname()[2], "x86_64")
    root = tmp_path / "t"
    for name in ("events", "instances", "kprobe_events"):   # a folder cannot be written into
        (root / name).mkdir(parents=True)
    script = tmp_path / "s.sh"
    script.write_text(u"%s" % text.replace("T=/sys/kernel/tracing\n", "T=%s\n" % root))
    process = subprocess.Popen(["bash", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"refused: p:surftrace_" in process.communicate()[1] and process.returncode == 1
