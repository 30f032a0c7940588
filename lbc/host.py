"""Facts of this machine that never change while lbc runs: release, architecture, CPUs, page size, where things are mounted.

Pure reading of /proc and /sys; nothing here needs root, nothing is cached that can change.
"""
from __future__ import absolute_import

import os

from ._py23 import range

__all__ = ["release", "machine", "page_size", "parse_cpu_list", "possible_cpus", "online_cpus", "read_file", "mounts"]


def read_file(path):
    """Whole content as bytes; /sys and /proc files say no size, so read until the end.  Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        chunks = []
        while True:
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    finally:
        os.close(fd)


def release():
    """'6.12.1-amd64': uname -r."""
    return os.uname()[2]


def machine():
    """'x86_64': uname -m."""
    return os.uname()[4]


def page_size():
    """Bytes in a page."""
    return os.sysconf("SC_PAGE_SIZE")


def parse_cpu_list(text):
    """[0, 1, 2, 5] of '0-2,5' (Documentation/core-api/cpu_hotplug.rst)."""
    cpus = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def possible_cpus():
    """How many values a per-CPU map entry has: the highest possible CPU + 1 (kernel: num_possible_cpus as bpf sees it)."""
    return len(parse_cpu_list(read_file("/sys/devices/system/cpu/possible").decode()))


def online_cpus():
    """CPU numbers that are on now; they may change at any time (hot-plug)."""
    return parse_cpu_list(read_file("/sys/devices/system/cpu/online").decode())


def mounts():
    """[(mount point, file system type, source)] of this mount namespace, in mount order (proc(5), mountinfo)."""
    rows = []
    for line in read_file("/proc/self/mountinfo").decode("utf-8", "replace").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) > 4 and len(tail) > 1:
            point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            rows.append((point, tail[0], tail[1]))
    return rows
