"""lbc.elf on 10,000 mutated files: a value or FormatError, no slow input, no large allocation."""
from __future__ import absolute_import

import os
import random
import struct
import time
import zlib

from lbc.elf.locate import parse_ldcache, parse_maps
from lbc.elf.reader import Elf
from lbc.elf.symbols import Functions
from lbc.elf.usdt import read_usdt
from lbc.errors import FormatError, InputError, NotFoundError
from lbc.uapi import elf as c
from tests.elfwriter import ElfWriter

INPUTS = 1000 if os.environ.get("LBC_TEST_LESS") else 10000
SLOWEST = 2.0    # CPU seconds for one input; the usual is below a millisecond
cpu_seconds = getattr(time, "process_time", None) or time.clock


def seeds():
    """Valid files of every layout the reader knows."""
    result = []
    for order in "<>":
        for bits in (64, 32):
            w = ElfWriter(order, bits, machine=62, type=3)
            text = w.section(".text", 1, b"\x90" * 64, flags=6, addr=0x1000)
            w.section(".rel.text", 9, w.rel([(8, 1, 1), (16, 2, 1)]), link=7, info=text,
                      entsize=16 if bits == 64 else 8)
            words = w.pack("QQQ" if bits == 64 else "III", 0x1004, 0x2000, 0)
            w.section(".note.stapsdt", 7, w.note(b"stapsdt\0", 3, words + b"prov\0name\0-4@%edi\0"), align=4)
            w.section(".stapsdt.base", 1, b"\0", addr=0x2000)
            w.section(".note.gnu.build-id", 7, w.note(b"GNU\0", 3, b"0123456789abcdefghij"), align=4)
            plain = b"debugging " * 50
            head = w.pack("IIQQ", 1, 0, len(plain), 1) if bits == 64 else w.pack("III", 1, len(plain), 1)
            w.section(".debug_info", 1, head + zlib.compress(plain), flags=0x800)
            w.section(".zdebug_str", 1, b"ZLIB" + struct.pack(">Q", len(plain)) + zlib.compress(plain))
            w.section(".gnu.version", c.SHT_GNU_versym, w.pack("3H", 0, 2, 0x8003), link=9)
            w.section(".gnu.version_d", c.SHT_GNU_verdef, w.pack("HHHHIIIII", 1, 0, 2, 1, 0, 20, 0, 1, 0), link=10)
            w.symbol("alpha", 0x1000, 16, 2, shndx=text)
            w.symbol("beta@@V2", 0x1010, 16, 2, bind=0, shndx=0xffff)
            w.segment(1, 0, 0x1000 - (64 + 2 * 56 if bits == 64 else 52 + 64), 4096)
            w.segment(4, 0x100, 0x5000, 64)
            result.append(bytearray(w.bytes()))
    return result


def mutate(rng, seeds_list):
    raw = bytearray(rng.choice(seeds_list))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        kind = rng.randrange(5)
        at = rng.randrange(len(raw)) if raw else 0
        if not raw:
            break
        if kind == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del raw[at:]
        elif kind == 2:  # a field of 2, 4 or 8 bytes becomes an edge value
            width = rng.choice((2, 4, 8))
            value = rng.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), len(raw), len(raw) - 1, 0xff00,
                                0xffff))
            field = struct.pack("<Q", value % (1 << 64))[:width]
            raw[at:at + width] = field if rng.randrange(2) else field[::-1]
        elif kind == 3:  # header fields are where it hurts: hit them more often
            raw[rng.randrange(min(64, len(raw)))] = rng.randrange(256)
        else:
            other = rng.randrange(len(raw))
            raw[at:at + 64] = raw[other:other + 64]
    return bytes(raw)


def use_everything(raw):
    elf = Elf(raw)
    calls = [elf.build_id, elf.notes, elf.symbols, lambda: elf.segments, lambda: read_usdt(elf),
             lambda: elf.offset_of(0x1008), lambda: elf.vaddr_of(0x100)]
    sections = elf.sections
    for section in sections:
        calls.append(lambda s=section: elf.data(s))
        if section.type in (c.SHT_REL, c.SHT_RELA):
            calls.append(lambda s=section: elf.relocations(s))
    functions = Functions(elf)
    calls += [lambda: functions.find("alpha"), lambda: functions.probe_offset("beta@V2"),
              lambda: functions.lookup(0x1008),
              lambda: list(functions.functions())]
    for call in calls:
        try:
            call()
        except (FormatError, NotFoundError):
            pass
        except InputError as error:
            assert type(error) is InputError


def test_mutated_files_give_values_or_format_errors():
    rng, files, refused = random.Random(20240611), seeds(), 0
    for raw in files:
        use_everything(bytes(raw))
    for number in range(INPUTS):
        raw, start = mutate(rng, files), cpu_seconds()
        try:
            use_everything(raw)
        except FormatError:
            refused += 1
        assert cpu_seconds() - start < SLOWEST, "input %d is slow" % number
    assert 500 < refused < INPUTS  # mutations that never hurt, or always, would test nothing


def test_names_that_overlap_cannot_make_quadratic_text():
    names = b"\0" + b"a" * 200000 + b"\0"
    count = 20000
    w = ElfWriter()
    symbols = b"".join(struct.pack("<IBBHQQ", 1 + i, 2, 0, 1, 0, 0) for i in range(count))
    w.section(".symtab", 2, symbols, link=2, entsize=24)
    w.section(".strtab", 3, names)
    start = cpu_seconds()
    try:
        Elf(w.bytes(with_symtab=False)).symbols()
        raise AssertionError("accepted")
    except FormatError as error:
        assert "overlap" in str(error)
    assert cpu_seconds() - start < SLOWEST


def test_headers_that_share_bytes_cannot_multiply_the_work():
    """20,000 headers of 200 kB each that all name the same bytes: 4 GB of work if each were followed."""
    for kind in (c.SHT_NOTE, c.SHT_SYMTAB, c.SHT_GNU_versym, c.SHT_GNU_verdef):
        w = ElfWriter()
        w.section(".x", kind, w.note(b"GNU\0", 1, b"12345678") * 8000, link=3)
        w.symbol("f", 0x1000, 8, 2, shndx=1)
        raw = bytearray(w.bytes())
        shoff, = struct.unpack_from("<Q", raw, 40)
        row = bytes(raw[shoff + 64:shoff + 128])
        count = struct.unpack_from("<H", raw, 60)[0]
        raw += row * 20000
        struct.pack_into("<H", raw, 60, count + 20000)
        start = cpu_seconds()
        try:
            use_everything_but_data(bytes(raw))
        except FormatError:
            pass
        assert cpu_seconds() - start < SLOWEST, "section type %d" % kind


def use_everything_but_data(raw):
    elf = Elf(raw)
    functions = Functions(elf)
    for call in (elf.notes, elf.symbols, elf.build_id, lambda: functions.find("f"), lambda: functions.lookup(0x1000)):
        try:
            call()
        except (FormatError, NotFoundError):
            pass


def test_compressed_section_cannot_claim_more_than_it_holds():
    bomb = zlib.compress(b"\0" * (1 << 20))
    for claim in (1 << 62, 1 << 40, len(bomb) * 1032 + 64, 10):
        w = ElfWriter()
        w.section(".debug_x", 1, struct.pack("<IIQQ", 1, 0, claim, 1) + bomb, flags=0x800)
        elf = Elf(w.bytes())
        try:
            elf.data(elf.section(".debug_x"))
            raise AssertionError("accepted %d" % claim)
        except FormatError:
            pass


def test_mutated_caches_and_maps_give_values():
    rng = random.Random(7)
    entry = struct.pack("=iIIIQ", 0x303, 72, 82, 0, 0)
    cache = bytearray(b"glibc-ld.so.cache1.1" + struct.pack("=II20x", 1, 30) + entry + b"libc.so.6\0/lib/libc.so.6\0")
    assert parse_ldcache(bytes(cache)) == [("libc.so.6", 0x303, "/lib/libc.so.6")]
    maps = bytearray(b"00400000-00401000 r-xp 00000000 08:01 1234   /bin/x y (deleted)\n7ff0-7fff rw-p 0 00:00 0 \n")
    assert len(parse_maps(bytes(maps))) == 2
    for _ in range(2000):
        assert isinstance(parse_ldcache(mutate(rng, [cache])), list)
        assert isinstance(parse_maps(mutate(rng, [maps])), list)
