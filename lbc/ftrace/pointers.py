"""Values as the kernel's printf extensions show them (Documentation/core-api/printk-formats.rst, lib/vsprintf.c), and
the helpers of trace events (__print_flags and so on).  Everything takes and gives bytes.
"""
from __future__ import absolute_import

import struct
from binascii import hexlify

from .._py23 import range

__all__ = ["hex_bytes", "mac", "ip4", "ip6", "ip6_short", "uuid", "socket_address", "bitmap", "bit_list", "print_flags",
           "print_array", "c_string", "divide", "remainder"]

_SIZES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def c_string(raw):
    """``raw`` up to its first zero byte."""
    return raw.partition(b"\0")[0]


def hex_bytes(raw, separator=b" "):
    """%*ph and its kin: `00 1f a0`."""
    text = hexlify(raw)
    if not separator:
        return text
    return separator.join([text[at:at + 2] for at in range(0, len(text), 2)])


def mac(raw, separator=b":", reverse=False):
    """%pM."""
    return hex_bytes(raw[5::-1] if reverse else raw[:6], separator)


def ip4(raw, zeros=False):
    """%pI4: `127.0.0.1`; ``zeros``: %pi4, `127.000.000.001`."""
    return (b"%03d.%03d.%03d.%03d" if zeros else b"%d.%d.%d.%d") % tuple(bytearray(raw[:4].ljust(4, b"\0")))


def ip6(raw, colons=True):
    """%pI6: all eight groups; %pi6 without colons."""
    text = hexlify(raw[:16].ljust(16, b"\0"))
    return b":".join([text[at:at + 4] for at in range(0, 32, 4)]) if colons else text


def ip6_short(raw):
    """%pI6c (ip6_compressed_string): the longest run of zero groups as `::`, an embedded IPv4 address in dots."""
    raw = raw[:16].ljust(16, b"\0")
    words = list(struct.unpack(">8H", raw))
    mapped = words[:5] == [0] * 5 and words[5] == 0xffff  # ipv6_addr_v4mapped
    isatap = words[4] | 0x0200 == 0x0200 and words[5] == 0x5EFE  # ipv6_addr_is_isatap
    dotted = mapped or isatap
    count = 6 if dotted else 8
    best, length, at = -1, 1, 0
    while at < count:
        end = at
        while end < count and not words[end]:
            end += 1
        if end - at > length:
            best, length = at, end - at
        at = end + 1
    out, colon, at = [], False, 0
    while at < count:
        if at == best:
            if colon or not at:
                out.append(b":")
            out.append(b":")
            colon, at = False, at + length
            continue
        out.append((b":" if colon else b"") + b"%x" % words[at])
        colon, at = True, at + 1
    if dotted:
        out.append((b":" if colon else b"") + ip4(raw[12:]))
    return b"".join(out)


def uuid(raw, form=b"b"):
    """%pU: ``form`` b B (big endian), l L (little endian); capitals print capitals."""
    raw = raw[:16].ljust(16, b"\0")
    if form in (b"l", b"L"):
        raw = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    text = hexlify(raw)
    text = b"-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])
    return text.upper() if form in (b"B", b"L") else text


def socket_address(raw, flags=b""):
    """%pIS, ``flags`` of c p f s: the address in a struct sockaddr."""
    family = struct.unpack_from("=H", raw.ljust(2, b"\0"))[0]
    raw = raw.ljust(28, b"\0")
    port = struct.unpack_from(">H", raw, 2)[0]
    if family == 2:    # AF_INET
        text = ip4(raw[4:8])
        return text + b":%d" % port if b"p" in flags else text
    if family == 10:   # AF_INET6: ip6_addr_string_sa
        text = ip6_short(raw[8:24]) if b"c" in flags else ip6(raw[8:24])
        flow, scope = struct.unpack_from(">I", raw, 4)[0] & 0x000fffff, struct.unpack_from("=I", raw, 24)[0]
        brackets = b"p" in flags or b"f" in flags or b"s" in flags
        out = b"[" + text + b"]" if brackets else text
        if b"p" in flags:
            out += b":%d" % port
        if b"f" in flags:
            out += b"/%d" % flow
        return out + b"%%%d" % scope if b"s" in flags else out
    return b"(einval)"


def _bits(raw, count):
    value = 0
    for at in range(len(raw) - 1, -1, -1):
        value = value << 8 | bytearray(raw[at:at + 1])[0]
    return value & ((1 << count) - 1)


def bitmap(raw, count):
    """%*pb of ``count`` bits: 32-bit words in hexadecimal with commas, the last word only as wide as it has bits."""
    value, out, at = _bits(raw, count), [], (count + 31) // 32 * 32 - 32
    width = (count & 31 or 32)
    while at >= 0 and count > 0:
        out.append(b"%0*x" % ((width + 3) // 4, (value >> at) & 0xffffffff))
        width, at = 32, at - 32
    return b",".join(out)


def bit_list(raw, count):
    """%*pbl: `0-3,7`."""
    value, out, at = _bits(raw, count), [], 0
    while value >> at:
        if value >> at & 1:
            end = at
            while value >> (end + 1) & 1:
                end += 1
            out.append(b"%d" % at if end == at else b"%d-%d" % (at, end))
            at = end
        at += 1
    return b",".join(out)


def print_flags(value, separator, rows):
    """__print_flags: names of the bits of ``value`` in the order of ``rows`` [(mask, name)], the rest in
    hexadecimal."""
    out = []
    for mask, name in rows:
        if not value:
            break
        if value & mask == mask:
            out.append(name)
            value &= ~mask
    if value:
        out.append(b"0x%x" % value)
    return separator.join(out)


def print_array(raw, item):
    """__print_array: `{0x1,0x2}`."""
    count = len(raw) // item
    return b"{" + b",".join([b"0x%x" % value for value in struct.unpack_from("=%d%s" %
                            (count, _SIZES[item]), raw)]) + b"}"


def divide(left, right):
    """C's division: towards zero; by zero 0."""
    if not right:
        return 0
    return left // right if (left < 0) == (right < 0) else -(-left // right)


def remainder(left, right):
    """C's remainder: has the sign of the left side."""
    return left - right * divide(left, right) if right else 0
