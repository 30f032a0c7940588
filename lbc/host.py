"""Facts of this machine that never change while lbc runs: release, architecture, CPUs, page size, where things are
mounted.

Pure reading of /proc and /sys; nothing here needs root, nothing is cached that can change.
"""
from __future__ import absolute_import

import os
import struct
import time

from ._py23 import range

__all__ = ["release", "machine", "page_size", "parse_cpu_list", "possible_cpus", "online_cpus", "read_file", "mounts",
           "wall_clock_offset", "file_birth"]


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
    """How many values a per-CPU map entry has: the highest possible CPU + 1 (kernel: num_possible_cpus as bpf sees
    it)."""
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


def wall_clock_offset():
    """Seconds to add to CLOCK_MONOTONIC (bpf_ktime_get_ns) for the time of day, as of now."""
    from ._native import backend
    from .uapi import arch
    now = bytearray(16)
    # CLOCK_MONOTONIC, include/uapi/linux/time.h
    backend.syscall(arch.current().nr_clock_gettime, 1, backend.address_of(now))
    seconds, nanoseconds = struct.unpack("=qq", bytes(now))
    return time.time() - seconds - nanoseconds / 1e9


def file_birth(path):
    """Time of day (seconds) at which the file was created; None where it is gone, or its file system or kernel (< 4.11)
    does not know.  struct statx: include/uapi/linux/stat.h."""
    from ._native import backend
    from ._py23 import to_bytes
    from .uapi import arch
    name, answer = bytearray(to_bytes(path) + b"\0"), bytearray(256)
    at_fdcwd, at_symlink_nofollow, statx_btime = -100, 0x100, 0x800
    try:
        backend.syscall(arch.current().nr_statx, at_fdcwd, backend.address_of(name), at_symlink_nofollow, statx_btime,
                        backend.address_of(answer))
    except OSError:
        return None
    if not struct.unpack_from("=I", answer)[0] & statx_btime:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", answer, 80)
    return seconds + nanoseconds / 1e9
