"""`python -m lbc doctor`: over made-up kernels, each with one thing amiss, and on this host."""
from __future__ import absolute_import

import errno
import json
import os
import time

import pytest

from lbc.tools import _doctor_checks as checks
from tests.oldkernel import TRACEFS, OldKernel
from tests.test_tools.test_load import run

CAPS = b"Name:\tpython\nCapEff:\t000001ffffffffff\n"
README = b"tracing mini-HOWTO\n\t  f[:[<group>/][<event>]] <func-name>[%return] [<args>]\n"


def kernel(version=(6, 12), **files):
    """A kernel that lacks nothing; files are added or, as None, taken away."""
    found = OldKernel(version)
    found.files.update({
        "/proc/self/status": CAPS, "/proc/sys/kernel/kptr_restrict": b"0\n", "/proc/filesystems": b"nodev\ttracefs\n",
        "/proc/sys/kernel/perf_event_paranoid": b"2\n", "/proc/sys/kernel/unprivileged_bpf_disabled": b"2\n",
        "/proc/sys/net/core/bpf_jit_enable": b"1\n", "/sys/kernel/debug/kprobes/enabled": b"1\n",
        "/sys/kernel/btf/nf_conntrack": b"", TRACEFS + "/README": README,
        TRACEFS + "/available_tracers": b"function_graph function nop\n", TRACEFS + "/synthetic_events": b"",
        TRACEFS + "/events/sched/sched_switch/hist": b"", TRACEFS + "/events/syscalls/enable": b"0\n"})
    found.files["/proc/self/mountinfo"] += (b"30 21 0:30 / /sys/fs/bpf rw - bpf bpf rw\n"
                                            b"31 21 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    for path, data in files.items():
        if data is None:
            found.files.pop(path)
        else:
            found.files[path] = data
    return found


def rows(made, environ=None, euid=0):
    found = {row.name: row for row in checks.run(made, dict({"PATH": "/none"}, **(environ or {})), euid)}
    assert not made.open_fds() and not made.writes and not made.attached
    return found


def test_nothing_is_amiss():
    found = rows(kernel())
    amiss = {name for name, row in found.items() if row.state != checks.OK}
    assert amiss <= {"BPF by BTF", "BTF", "clang", "source lines"}, [(n, found[n].detail) for n in amiss]
    assert "1 modules" in found["BTF"].detail or found["BTF"].state != checks.OK
    assert found["clang"].remedy.startswith("install clang") and "LBC_SERVER" in found["clang"].remedy


@pytest.mark.parametrize("files, name, state, said", [
    ({"/proc/self/status": b"CapEff:\t0000000000000000\n"}, "privileges", "missing", "neither"),
    ({"/proc/self/status": b"CapEff:\t000000c000000000\n"}, "privileges", "limited", "without CAP_NET_ADMIN"),
    ({"/sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"}, "lockdown", "limited", "no kprobes"),
    ({"/sys/kernel/security/lockdown": b"none [integrity] confidentiality\n"}, "lockdown", "limited", "integrity"),
    ({"/proc/kallsyms": b"0000000000000000 T _text\n" * 9, "/proc/sys/kernel/kptr_restrict": b"2\n"}, "addresses",
     "limited", "kptr_restrict 2"),
    ({"/proc/sys/kernel/perf_event_paranoid": None}, "perf events", "missing", "CONFIG_PERF_EVENTS"),
    ({TRACEFS + "/kprobe_events": None}, "kprobes", "missing", "CONFIG_KPROBES"),
    ({"/sys/kernel/debug/kprobes/enabled": b"0\n"}, "kprobes", "limited", "switched off"),
    ({"/sys/kernel/debug/kprobes/enabled": None}, "kprobes", "ok", "debugfs"),
    ({TRACEFS + "/available_filter_functions": None}, "kprobes", "limited", "no list"),
    ({TRACEFS + "/uprobe_events": None}, "uprobes", "missing", "CONFIG_UPROBE_EVENTS"),
    ({TRACEFS + "/README": b"old\n"}, "fprobes", "limited", "6.5"),
    ({TRACEFS + "/README": None}, "probes", "limited", "cannot be read"),
    ({TRACEFS + "/available_tracers": b"function nop\n"}, "tracers", "limited", "no function_graph"),
    ({TRACEFS + "/available_tracers": b"nop\n"}, "tracers", "missing", "no function tracer"),
    ({"/proc/sys/kernel/ftrace_enabled": b"0\n"}, "tracers", "limited", "switched off"),
    ({TRACEFS + "/synthetic_events": None}, "histograms", "limited", "no synthetic"),
    ({TRACEFS + "/events/sched/sched_switch/hist": None}, "histograms", "missing", "no hist triggers"),
    ({TRACEFS + "/events/syscalls/enable": None}, "events", "limited", "CONFIG_FTRACE_SYSCALLS"),
    ({"/proc/sys/net/core/bpf_jit_enable": b"0\n"}, "JIT", "limited", "off"),
    ({"/proc/sys/net/core/bpf_jit_enable": None}, "JIT", "limited", "CONFIG_BPF_JIT"),
])
def test_one_thing_is_amiss(files, name, state, said):
    row = rows(kernel(**files))[name]
    assert row.state == state and said in row.detail + row.remedy, row.detail


def test_tracefs():
    def without(**files):
        made = OldKernel((6, 1), tracefs=False)
        made.files.update({"/proc/self/status": CAPS}, **files)
        return rows(made)
    assert without()["tracefs"].state == "missing"
    row = without(**{"/proc/filesystems": b"nodev\tsysfs\nnodev\ttracefs\n"})["tracefs"]
    assert row.state == "limited" and row.remedy.startswith("mount -t tracefs")
    row = without(**{"/proc/filesystems": b"nodev\ttracefs\n", "/sys/kernel/tracing/x": b""})["tracefs"]
    assert row.remedy == "mount -t tracefs tracefs /sys/kernel/tracing"


def test_mounts():
    made = kernel()
    made.files["/proc/self/mountinfo"] = b"".join(line + b"\n" for line in made.files["/proc/self/mountinfo"].split(
        b"\n") if b"tracefs" in line)
    found = rows(made)
    assert found["bpffs"].remedy.startswith("mount -t bpf") and found["cgroup2"].state == "limited"


def test_no_bpf():
    for number, said in ((errno.ENOSYS, "CONFIG_BPF_SYSCALL"), (errno.EPERM, "CAP_BPF")):
        made = kernel()
        made.refuse.append(("BPF_PROG_LOAD", number, lambda attr: True))
        row = rows(made)["bpf()"]
        assert row.state == "missing" and said in row.detail + row.remedy


def test_old_kernels_are_told_what_they_lack():
    found = rows(kernel((4, 9)))
    assert found["BPF features"].state == "limited" and "ringbuf (5.8)" in found["BPF features"].detail
    assert "not raw_tracepoint" in found["BPF tracing"].detail
    found = rows(kernel((5, 10)), euid=0)
    assert "tcx (6.6)" in found["BPF features"].detail and found["BPF tracing"].state == "ok"


def test_memory():
    made = kernel((5, 4), **{"/proc/self/status": b"CapEff:\t0000008000000000\n"})
    assert "RLIMIT_MEMLOCK" in rows(made, euid=1000)["memory"].detail
    assert "memory cgroup" in rows(kernel((6, 1)))["memory"].detail


def test_environment(tmpdir):
    there = tmpdir.join("x.db")
    there.write("")
    found = rows(kernel(), {"LBC_SERVER": "pylcc.example", "LBC_PREVDB": str(there), "LBC_BTF": str(tmpdir.join("no"))})
    assert "pylcc.example" in found["server"].detail and found["prev.db"].state == "ok"
    assert found["BTF"].state == "missing" and "unset" in found["BTF"].remedy
    assert rows(kernel(), {"LBC_PREVDB": str(tmpdir.join("no"))})["prev.db"].state == "missing"


def test_a_check_that_breaks_is_one_row(monkeypatch):
    def check_broken(h):
        raise OSError(5, "broken")
    monkeypatch.setattr(checks, "CHECKS", (check_broken, checks.check_kernel))
    found = rows(kernel())
    assert found["broken"].state == "limited" and found["kernel"].state == "ok"


def test_as_a_command():
    """On this host, whatever it has, and quickly: no more than twice the hard goal of 300 ms on a busy machine."""
    before = os.times()
    status, out, err = run("doctor")
    after = os.times()
    assert status == 0 and err == "", err
    lines = out.splitlines()
    assert lines[0].startswith("lbc ") and 12 <= len(lines) <= 50 and max(map(len, lines)) < 160
    assert all(line.split()[0] in ("ok", "limited", "missing", "->") for line in lines[1:])
    assert after[2] + after[3] - before[2] - before[3] < 2
    status, out, err = run("doctor", "--json")
    report = json.loads(out)
    assert status == 0 and {row["state"] for row in report["checks"]} <= {"ok", "limited", "missing"}
    assert report["kernel"] == os.uname()[2] and report["checks"][0]["name"] == "kernel"
    assert run("doctor", "--wrong")[0] == 2 and run("doctor", "word")[0] == 2


def test_nothing_is_left_or_changed():
    def world():
        with open("/proc/self/mountinfo") as f:
            return sorted(line.split(" - ")[0].split()[4] for line in f)
    before, start = world(), time.time()
    run("doctor")
    assert world() == before and time.time() >= start
