#!/usr/bin/env python3
"""ns for a 64-byte record of a ring buffer: drained raw, handed to a callback raw, as record objects, as batches.
Needs root, 5.10.

    PYTHONPATH=. python bench/ring_buffer.py [perf]
"""
from __future__ import absolute_import, print_function

import os
import struct
import sys
import time

from lbc import _native
from lbc.bpf import maps
from lbc.bpf.events import PerfBuffer, RingBuffer
from lbc.bpf.map_codec import BtfCodec
from lbc.bpf.spec import MapSpec
from lbc.bpf.syscalls import kernel
from lbc.uapi import bpf as U

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tests.live import emitter  # noqa: E402

CLOCK = getattr(time, "process_time", getattr(time, "clock", None))


def struct_btf(members):
    """Btf with u64 as type 1 and a struct of ``members`` of them as type 2, by hand (Documentation/bpf/btf.rst)."""
    from lbc.btf.parse import Btf
    names = b"\0u64\0event\0" + b"".join(("f%d\0" % i).encode() for i in range(members))
    types = struct.pack("=IIII", 1, 1 << 24, 8, 64) + struct.pack("=III", 5, 4 << 24 | members, 8 * members)
    for i in range(members):
        types += struct.pack("=III", 11 + 3 * i, 1, 64 * i)
    head = struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(names))
    return Btf(head + types + names)


def measure(kind, mixed, codec, batches):
    """Lowest CPU ns for a record over several fillings."""
    seen = [0]

    def one(cpu, record):
        seen[0] += 1

    def many(cpu, records):
        seen[0] += len(records)
    callback = many if batches else one
    with maps.create(kernel, MapSpec("bench", U.BPF_MAP_TYPE_RINGBUF, 0, 0, 1 << 22) if kind == "ring" else
                     MapSpec("bench", U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4)) as m:
        buf = RingBuffer(kernel, m, callback, codec=codec, batches=batches) if kind == "ring" else \
            PerfBuffer(kernel, m, callback, codec=codec, pages=1024, batches=batches, cpus=[0])
        fd = emitter.prog_load(kernel, emitter.emit_code((kind, m.fd), step=8 if mixed else 0))
        best = None
        for _ in range(7):
            for _ in range(40):
                emitter.run(kernel, fd, [1000, 0, 56], 0)
            before = seen[0]
            start = CLOCK()
            while buf.consume():
                pass
            took = (CLOCK() - start) / (seen[0] - before) * 1e9
            best = took if best is None else min(best, took)
        assert seen[0] == 7 * 40000, seen
        kernel.close(fd)
        buf.close()
    return best


def main(kind="ring"):
    print("%s, backend %s, Python %s" % (kind, _native.backend.__name__.rpartition("_")[2], sys.version.split()[0]))
    records = BtfCodec(struct_btf(8), 2, 64)
    for title, mixed, how, batches in (("raw, batches", False, None, True), ("raw, a callback each", False, None,
    False),
                                       ("record objects, batches", False, records, True),
                                       ("record objects, a callback each", False, records, False),
                                       ("mixed sizes raw, a callback each", True, None, False)):
        print("%-34s %6.0f" % (title, measure(kind, mixed, how, batches)))


if __name__ == "__main__":
    main(*sys.argv[1:])
