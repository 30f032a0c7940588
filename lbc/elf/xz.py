"""Unpacking of .xz data without a C library: for .gnu_debugdata on Python 2.7, and on a Python built without liblzma.

The .xz file format 1.0.4 (tukaani.org) and LZMA2 (lzma-specification of the LZMA SDK).  One filter, LZMA2, as `xz`
writes without options; checks CRC32 and CRC64 are verified, SHA-256 is not looked at.
Some 300 kB of output a second: a MiniDebugInfo section (50 to 500 kB) takes about a second where lzma takes 10 ms.
"""
from __future__ import absolute_import

import struct
from array import array

from .._py23 import range
from ..errors import FormatError

__all__ = ["decompress"]

MAGIC = b"\xfd7zXZ\0"
CHECK_SIZES = (0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64)
CRC32, CRC64 = 1, 4
HALF = 1024             # probabilities are 11 bits wide and begin in the middle
TOP = 1 << 24
# Where each kind of probability begins in the one array of them: 12 states, 16 position states at most
IS_MATCH, IS_REP, IS_REP0, IS_REP1, IS_REP2, IS_REP0_LONG = 0, 192, 204, 216, 228, 240
DISTANCE_SLOT, DISTANCE, ALIGN, LENGTH, REP_LENGTH, LITERAL = 432, 688, 816, 832, 1346, 1860


def decompress(data, limit):
    """Bytes of the .xz ``data`` (bytes), at most ``limit``.  Raises FormatError for what is damaged, too long or uses
    other filters than LZMA2."""
    try:
        return _streams(bytearray(data), limit)
    except (IndexError, struct.error):
        raise _damaged("cut short")


def _damaged(why):
    return FormatError("compressed data (.xz) damaged or unknown: %s" % why)


def _streams(data, limit):
    out, at = bytearray(), 0
    while at < len(data):
        if data[at:at + 4] == b"\0\0\0\0":      # stream padding
            at += 4
            continue
        if bytes(data[at:at + 6]) != MAGIC or data[at + 6]:
            raise _damaged("no stream header")
        check = data[at + 7] & 15
        if struct.unpack_from("<I", data, at + 8)[0] != _crc32(data[at + 6:at + 8]):
            raise _damaged("checksum of the stream header")
        at += 12
        while data[at]:
            at = _block(data, at, check, out, limit)
        at = _skip_index(data, at) + 12         # the stream's footer repeats what is known
    return bytes(out)


def _crc32(part):
    import binascii
    return binascii.crc32(bytes(part)) & 0xffffffff


def _number(data, at):
    """(value, next position) of a multibyte integer."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 56:
            raise _damaged("a number is too long")


def _skip_index(data, start):
    count, at = _number(data, start + 1)
    if count > len(data):
        raise _damaged("index")
    for _ in range(2 * count):
        _, at = _number(data, at)
    at += -(at - start) % 4
    if _crc32(data[start:at]) != struct.unpack_from("<I", data, at)[0]:
        raise _damaged("checksum of the index")
    return at + 4


def _block(data, start, check, out, limit):
    size = (data[start] + 1) * 4
    if struct.unpack_from("<I", data, start + size - 4)[0] != _crc32(data[start:start + size - 4]):
        raise _damaged("checksum of a block header")
    flags, at = data[start + 1], start + 2
    if flags & 0x3f:
        raise _damaged("a block with %d filters" % ((flags & 3) + 1))
    for bit in (0x40, 0x80):                    # compressed and uncompressed size, when given
        if flags & bit:
            _, at = _number(data, at)
    kind, at = _number(data, at)
    if kind != 0x21:
        raise _damaged("filter 0x%x" % kind)
    began, body = len(out), start + size
    at = Lzma2(data, out, limit).run(body)
    padding = -(at - body) % 4
    if any(data[at:at + padding]):
        raise _damaged("padding of a block")
    at += padding
    _verify(data, at, check, out, began)
    return at + CHECK_SIZES[check]


def _verify(data, at, check, out, began):
    if check == CRC32 and struct.unpack_from("<I", data, at)[0] != _crc32(out[began:]):
        raise _damaged("CRC32 of a block")
    if check == CRC64 and struct.unpack_from("<Q", data, at)[0] != _crc64(out[began:]):
        raise _damaged("CRC64 of a block")


def _crc64(part):
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xc96c5795d7870f42 if value & 1 else 0)   # ECMA-182
        table.append(value)
    crc = 0xffffffffffffffff
    for byte in part:
        crc = table[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffffffffffff


class Lzma2(object):
    """One LZMA2 stream of ``data``, appended to ``out``."""

    def __init__(self, data, out, limit):
        self.data, self.out, self.limit = data, out, limit
        self.code = self.range = self.at = 0
        self.start = len(out)                   # the dictionary begins here
        self.properties = None

    def run(self, at):
        """Decodes from ``at``; the position behind the end."""
        data = self.data
        while True:
            control = data[at]
            if control == 0:
                return at + 1
            if control < 0x80:
                if control > 2:
                    raise _damaged("chunk of kind %d" % control)
                size = struct.unpack_from(">H", data, at + 1)[0] + 1
                if control == 1:
                    self.start = len(self.out)
                if len(data) < at + 3 + size or len(self.out) + size > self.limit:
                    raise _damaged("too long, or cut short")
                self.out += data[at + 3:at + 3 + size]
                at += 3 + size
                continue
            size = ((control & 0x1f) << 16) + struct.unpack_from(">H", data, at + 1)[0] + 1
            packed, reset = struct.unpack_from(">H", data, at + 3)[0] + 1, control >> 5 & 3
            at += 5
            if reset == 3:
                self.start = len(self.out)
            if reset >= 2:
                self._set_properties(data[at])
                at += 1
            if self.properties is None:
                raise _damaged("no properties before the first chunk")
            if reset:
                self._reset()
            if len(data) < at + packed or len(self.out) + size > self.limit:
                raise _damaged("too long, or cut short")
            if data[at]:                        # the first byte of a range coder is always 0
                raise _damaged("start of a chunk")
            self.range, self.code, self.at = 0xffffffff, struct.unpack_from(">I", data, at + 1)[0], at + 5
            self._chunk(len(self.out) + size)
            at += packed
            if self.at != at:
                raise _damaged("a chunk does not end where it should")

    def _set_properties(self, byte):
        if byte > 4 * 45 + 4 * 9 + 8:
            raise _damaged("properties")
        lc, lp, pb = byte % 9, byte // 9 % 5, byte // 45
        if lc + lp > 4:
            raise _damaged("properties")
        self.properties = lc, lp, pb

    def _reset(self):
        lc, lp, _ = self.properties
        self.state, self.reps = 0, [0, 0, 0, 0]
        self.probs = array("H", [HALF]) * (LITERAL + (0x300 << lc + lp))

    # The range decoder is written out where it is hot: a call per bit would double the time.

    def _tree(self, base, bits):
        """A number of ``bits`` bits, the highest first."""
        symbol, probs, limit = 1, self.probs, 1 << bits
        data, at, width, code = self.data, self.at, self.range, self.code
        while symbol < limit:
            index = base + symbol
            p = probs[index]
            bound = (width >> 11) * p
            if code < bound:
                width = bound
                probs[index] = p + (2048 - p >> 5)
                symbol <<= 1
            else:
                width -= bound
                code -= bound
                probs[index] = p - (p >> 5)
                symbol = symbol << 1 | 1
            if width < TOP:
                width <<= 8
                code = code << 8 | data[at]
                at += 1
        self.at, self.range, self.code = at, width, code
        return symbol - limit

    def _bit(self, index):
        p = self.probs[index]
        bound = (self.range >> 11) * p
        if self.code < bound:
            self.range, bit = bound, 0
            self.probs[index] = p + (2048 - p >> 5)
        else:
            self.range -= bound
            self.code -= bound
            self.probs[index], bit = p - (p >> 5), 1
        if self.range < TOP:
            self.range <<= 8
            self.code = self.code << 8 | self.data[self.at]
            self.at += 1
        return bit

    def _reverse(self, base, bits):
        """The same as _tree, the lowest bit first."""
        symbol, value = 1, 0
        for i in range(bits):
            bit = self._bit(base + symbol)
            symbol = symbol << 1 | bit
            value |= bit << i
        return value

    def _direct(self, bits):
        value = 0
        for _ in range(bits):
            self.range >>= 1
            if self.code >= self.range:
                self.code -= self.range
                value = value << 1 | 1
            else:
                value <<= 1
            if self.range < TOP:
                self.range <<= 8
                self.code = self.code << 8 | self.data[self.at]
                self.at += 1
        return value

    def _length(self, base, position):
        if not self._bit(base):
            return 2 + self._tree(base + 2 + (position << 3), 3)
        if not self._bit(base + 1):
            return 10 + self._tree(base + 130 + (position << 3), 3)
        return 18 + self._tree(base + 258, 8)

    def _distance(self, length):
        slot = self._tree(DISTANCE_SLOT + (min(length - 2, 3) << 6), 6)
        if slot < 4:
            return slot
        bits = (slot >> 1) - 1
        base = (2 | slot & 1) << bits
        if slot < 14:
            return base + self._reverse(DISTANCE + base - slot, bits)
        return base + (self._direct(bits - 4) << 4) + self._reverse(ALIGN, 4)

    def _literal(self, position):
        lc, lp, _ = self.properties
        out, probs = self.out, self.probs
        before = out[-1] if len(out) > self.start else 0
        base = LITERAL + 0x300 * (((position & (1 << lp) - 1) << lc) + (before >> 8 - lc))
        if self.state < 7:
            out.append(self._tree(base, 8))
            return
        match, symbol, offset = self._byte_back(self.reps[0]), 1, 0x100
        data, at, width, code = self.data, self.at, self.range, self.code
        while symbol < 0x100:                   # led by the byte at the last distance until they differ
            match <<= 1
            index = base + offset + (match & offset) + symbol
            p = probs[index]
            bound = (width >> 11) * p
            if code < bound:
                width = bound
                probs[index] = p + (2048 - p >> 5)
                symbol <<= 1
                offset &= ~match
            else:
                width -= bound
                code -= bound
                probs[index] = p - (p >> 5)
                symbol = symbol << 1 | 1
                offset &= match
            if width < TOP:
                width <<= 8
                code = code << 8 | data[at]
                at += 1
        self.at, self.range, self.code = at, width, code
        out.append(symbol & 0xff)

    def _byte_back(self, distance):
        if distance >= len(self.out) - self.start:
            raise _damaged("refers to before the beginning")
        return self.out[-1 - distance]

    def _chunk(self, end):
        out, bit, reps = self.out, self._bit, self.reps
        mask = (1 << self.properties[2]) - 1
        while len(out) < end:
            position = len(out) - self.start
            spot, state = position & mask, self.state
            if not bit(IS_MATCH + (state << 4) + spot):
                self._literal(position)
                self.state = 0 if state < 4 else state - 3 if state < 10 else state - 6
                continue
            if not bit(IS_REP + state):
                reps[1:] = reps[:3]
                length = self._length(LENGTH, spot)
                reps[0] = self._distance(length)
                self.state = 7 if state < 7 else 10
            else:
                if bit(IS_REP0 + state):
                    which = 1 if not bit(IS_REP1 + state) else 2 + bit(IS_REP2 + state)
                    reps.insert(0, reps.pop(which))
                elif not bit(IS_REP0_LONG + (state << 4) + spot):
                    self.state = 9 if state < 7 else 11
                    out.append(self._byte_back(reps[0]))
                    continue
                length = self._length(REP_LENGTH, spot)
                self.state = 8 if state < 7 else 11
            distance = reps[0] + 1
            if distance > len(out) - self.start:
                raise _damaged("refers to before the beginning")
            if len(out) + length > end:
                raise _damaged("a match crosses the end of its chunk")
            if distance >= length:
                at = len(out) - distance
                out += out[at:at + length]
            else:
                out += (out[-distance:] * (length // distance + 1))[:length]
        if self.code:
            raise _damaged("a chunk ends too early")
