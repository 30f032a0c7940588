"""Mutated BTF: every answer is a value or a FormatError, in bounded time and memory.  The seed is fixed."""
from __future__ import absolute_import

import os
import random
import resource
import struct

from lbc.btf import dump, encode, ext, parse, values
from lbc.errors import FormatError, InputError
from tests.btfwriter import Words
from tests.test_btf import truth
from tests.test_btf.test_encode import every_kind

ROUNDS = 1000 if os.environ.get("LBC_TEST_LESS") else 10000
EDGES = (0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0xffffff, 0x1000000, 0x7fffffff, 0x80000000, 0xffffffff)


def mutate(rng, raw):
    """One to six edits of bytes or words; now and then cut short."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 5 and rng.random() < 0.2:
            del data[max(24, at):]
        else:
            at &= ~3
            word = rng.choice(EDGES) if how == 2 else rng.randrange(64) if how == 3 else rng.randrange(
                20) << 24 | rng.randrange(8)
            if at + 4 <= len(data):
                data[at:at + 4] = struct.pack("<I", word)
    return bytes(data)


def probe(raw, rng, base=None):
    """Ask three things of it; only FormatError and InputError may come."""
    try:
        btf = parse.Btf(raw, base)
    except FormatError:
        return 0
    answers = 0
    count = 64
    try:
        count = btf.count
    except FormatError:
        pass
    questions = [lambda: btf.find("s"), lambda: btf.find_essential("event"), lambda: btf.find_one("int", 1),
                 lambda: encode.encode(btf)]
    for _ in range(3):
        type_id = rng.randrange(1, max(2, min(count, 80)))
        questions += [
            lambda i=type_id: btf.type(i), lambda i=type_id: btf.size_of(i), lambda i=type_id: btf.align_of(i),
            lambda i=type_id: btf.resolve(i), lambda i=type_id: btf.member_at(i, "in.class"),
            lambda i=type_id: dump.type_text(btf, i), lambda i=type_id: dump.dump(btf, i),
            lambda i=type_id: repr(values.decoder(btf, i)(b"\x5a" * 256)),
            lambda i=type_id: btf.size_of(i) < 1 << 20 and values.encoder(btf, i)({})]
    for question in rng.sample(questions, 3):
        try:
            question()
            answers += 1
        except (FormatError, InputError):
            pass
    return answers


def cpu_seconds():
    """Of this process: wall time on a busy machine says nothing."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run(seeds, rounds, seed, base=None):
    rng = random.Random(seed)
    worst, answers = 0, 0
    for _ in range(rounds):
        started = cpu_seconds()
        answers += probe(mutate(rng, rng.choice(seeds)), rng, base)
        worst = max(worst, cpu_seconds() - started)
    assert answers > rounds  # the inputs are not so damaged that nothing is reached
    assert worst < 3, "an input took %.1f s of CPU" % worst


def small():
    maker = encode.Builder()
    every_kind(maker)
    return maker.bytes()


def test_btf():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run([truth.read("values_l.btf"), truth.read("values_b.btf")] + [small()] * 8, ROUNDS, 20261122)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, "%d kB more than before" % grown


def test_split_btf():
    base = parse.Btf(small())
    maker = encode.Builder(base)
    every_kind(maker)
    run([maker.bytes()], ROUNDS // 10, 7, base)


def test_ext():
    words = Words()
    name = words.string("kprobe/x")
    btf = parse.Btf(words.btf())
    rows = struct.pack("<III", 8, name, 3) + struct.pack("<6I", *range(6))
    lines = struct.pack("<III", 16, name, 2) + struct.pack("<8I", *range(8))
    raw = struct.pack("<HBBI6I", 0xeb9f, 1, 0, 32, 0, len(rows), len(rows), len(lines), len(rows) + len(lines),
                      len(lines))
    raw += rows + lines + lines
    rng, good = random.Random(3), 0
    for _ in range(ROUNDS):
        try:
            ext.BtfExt(mutate(rng, raw), btf)
            good += 1
        except FormatError:
            pass
    assert 0 < good < ROUNDS
