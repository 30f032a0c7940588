"""Mutated BPF objects through reader, linker and CO-RE: a value, FormatError or RelocError, in bounded time and
memory."""
from __future__ import absolute_import

import os
import random
import struct
import time

import pytest

from lbc.bpf import core_relo, linker, reader
from lbc.btf.parse import Btf
from lbc.elf.reader import Elf
from lbc.errors import FormatError, RelocError

from .. import corpus

COUNT, SLOWEST_S = 1000 if os.environ.get("LBC_TEST_LESS") else 10000, 2.0
cpu_seconds = getattr(time, "process_time", None) or time.clock


def seeds():
    """Small fixtures: [(name, bytes, [(start, end) of what is worth damaging], Btf)]."""
    found = []
    for name in corpus.names():
        if os.path.getsize(corpus.path(name)) > 7000:
            continue
        with open(corpus.path(name), "rb") as f:
            data = f.read()
        elf = Elf(data)
        section = elf.section(".BTF")
        if section is not None:
            ranges = [(part.offset, part.offset + part.size) for part in elf.sections
                      if part.size and part.type not in (0, 8) and not part.name.startswith(".debug")]
            headers = struct.unpack_from("<Q" if elf.byteorder == "little" else ">Q", data, 40)[0]
            ranges.append((headers, len(data)))
            found.append((name, data, ranges, Btf(elf.data(section))))
    return found


def damage(data, ranges, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        start, end = rng.choice(ranges)
        at = rng.randrange(start, max(start + 1, min(end, len(data))))
        how = rng.randrange(6)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
        elif how == 2:
            data[at & ~3:(at & ~3) + 4] = struct.pack("<I", rng.choice((0, 1, 7, 8, 0xffff, 0x7fffffff, 0xffffffff,
                                                                        len(data))))
        elif how == 3:
            data[at & ~7:(at & ~7) + 8] = struct.pack("<Q",
                                                      rng.choice((0, 8, 1 << 31, 1 << 40, (1 << 64) - 1, len(data))))
        elif how == 4:
            other = rng.randrange(start, max(start + 1, end))
            data[at & ~3:(at & ~3) + 4] = data[other & ~3:(other & ~3) + 4]
        else:
            del data[at:at + rng.choice((1, 4, 8, 64))]
    return bytes(data)


def run(data, target):
    """Total instructions of the programs, or the error."""
    spec = core_relo.relocate(linker.link(reader.read_object(data, "fuzz.bpf.o")), [target])
    return sum(len(program.insns) for program in spec.programs.values())


def test_mutated_objects():
    rng, files = random.Random(20260), seeds()
    assert len(files) > 40
    refused = values = 0
    for number in range(COUNT):
        name, data, ranges, target = files[number % len(files)]
        damaged = damage(data, ranges, rng)
        started = cpu_seconds()
        try:
            assert run(damaged, target) < 1 << 24
            values += 1
        except (FormatError, RelocError) as error:
            refused += 1
            assert str(error)
        except Exception as error:  # what must not be: name the input
            pytest.fail("%s, input %d: %r" % (name, number, error))
        assert cpu_seconds() - started < SLOWEST_S, (name, number)
    assert refused > COUNT // 20 and values > COUNT // 20, (refused, values)


def test_every_truncation():
    name, data, _, target = seeds()[0]
    for size in range(0, len(data), 7):
        try:
            run(data[:size], target)
        except (FormatError, RelocError):
            pass
