"""Tests that need root and a kernel, and the small helpers they share.

A module here starts with ``pytestmark = pytest.mark.live``.  Ask for what the kernel must have with `need`; it skips
with
the reason where the kernel is too old, and fails where a stock kernel of that version ought to have it.
"""
from __future__ import absolute_import

import os
import re

import pytest

from lbc import host

# set inside the virtual machines of tests/lab: a stock kernel, nobody else on it
LAB = os.environ.get("LBC_LAB_KERNEL")


def kernel_version():
    """(6, 12) of uname -r."""
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", host.release()).groups())


def skip(reason):
    """Skips the running test with ``reason``."""
    pytest.skip("kernel %s: %s" % (host.release(), reason))


def need(*names):
    """Skips unless lbc.bpf.features knows that this kernel has every one of ``names``.

    In the lab a kernel as new as the feature's first version that lacks it is a failure, not a skip.
    """
    from lbc.bpf import features, syscalls
    kernel = syscalls.Kernel()
    for name in names:
        if features.have(kernel, name):
            continue
        row = _row(features.FEATURES, name)
        since = getattr(row, "min_version", None) or getattr(row, "since", None) or getattr(row, "version", None)
        if isinstance(since, str):
            since = tuple(int(part) for part in since.split("."))
        if LAB and since and kernel_version() >= tuple(since):
            pytest.fail("kernel %s must have %s (since %s), yet the probe says no" % (host.release(), name, since))
        skip("has no %s" % name)


def _row(table, name):
    """The feature's row, whether the table is a dict or a list of rows."""
    if hasattr(table, "get"):
        return table.get(name)
    return next((row for row in table if getattr(row, "name", None) == name), None)


def need_version(major, minor, why):
    """Skips below kernel major.minor: for what can only be told by version, say ``why``."""
    if kernel_version() < (major, minor):
        skip("%s needs %d.%d" % (why, major, minor))


def tracefs():
    """Where tracefs is, mounting it if need be; skips when it cannot be had."""
    for path in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.path.exists(path + "/events"):
            return path
    os.system("mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null")
    if os.path.exists("/sys/kernel/tracing/events"):
        return "/sys/kernel/tracing"
    return skip("tracefs is not there")


def need_kprobes():
    """Skips where the kernel was built without kprobes (the development machine is one such)."""
    if not os.path.exists(tracefs() + "/kprobe_events"):
        skip("built without kprobes")


def bpffs():
    """/sys/fs/bpf, mounted if need be; skips when it cannot be had."""
    path = "/sys/fs/bpf"
    if not any(point == path and kind == "bpf" for point, kind, _ in host.mounts()):
        os.system("mount -t bpf bpf %s 2>/dev/null" % path)
    if not any(point == path and kind == "bpf" for point, kind, _ in host.mounts()):
        skip("no bpf file system at %s" % path)
    return path


def cgroup2():
    """Where the cgroup2 hierarchy is mounted; skips when it is not."""
    for point, kind, _ in host.mounts():
        if kind == "cgroup2":
            return point
    return skip("no cgroup2 mounted")
