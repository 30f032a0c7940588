#!/usr/bin/env python3
"""ns for an entry of a hash map of 100,000 x (16 B -> 64 B): stream of raw pairs, stream and dict of decoded records.
Needs root.

    PYTHONPATH=. python bench/map_dump.py [ENTRIES]
"""
from __future__ import absolute_import, print_function

import os
import struct
import sys
import time

from lbc import _native
from lbc.bpf import maps
from lbc.bpf.map_codec import BtfCodec
from lbc.bpf.spec import MapSpec
from lbc.bpf.syscalls import kernel
from lbc.uapi import bpf as U

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ring_buffer  # noqa: E402


def best(work, count, times=7):
    """Lowest CPU ns for an entry of several runs."""
    clock = getattr(time, "process_time", time.clock if hasattr(time, "clock") else None)
    found = []
    for _ in range(times):
        start = clock()
        work()
        found.append((clock() - start) / count * 1e9)
    return min(found)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    with maps.create(kernel, MapSpec("bench", U.BPF_MAP_TYPE_HASH, 16, 64, count)) as m:
        keys = [struct.pack("=QQ", i * 2654435761 % (1 << 64), i) for i in range(count)]
        m.raw.update_many(keys, [struct.pack("=8Q", *range(i, i + 8)) for i in range(count)])

        def stream():
            n = 0
            for pair in m.raw.items():
                n += 1
            assert n == count, n

        def windows():
            assert sum(n for _, _, n in m.raw.windows()) == count

        def raw_dict():
            assert len(dict(m.raw.items())) == count
        print("backend %s, Python %s" % (_native.backend.__name__.rpartition("_")[2], sys.version.split()[0]))
        print("windows (kernel alone) %6.0f" % best(windows, count))
        print("stream of raw pairs    %6.0f" % best(stream, count))
        print("dict of raw pairs      %6.0f" % best(raw_dict, count))
        m.key_codec = BtfCodec(ring_buffer.struct_btf(2), 2, 16)
        m.value_codec = BtfCodec(ring_buffer.struct_btf(8), 2, 64)

        def decoded():
            n = 0
            for pair in m.items():
                n += 1
            assert n == count
        print("stream of decoded      %6.0f" % best(decoded, count))
        print("dict bytes -> records  %6.0f" % best(lambda: m.as_dict(raw_keys=True), count))
        print("dict of decoded        %6.0f" % best(m.as_dict, count))


if __name__ == "__main__":
    main()
