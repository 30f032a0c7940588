"""Bytes of a key or a value <-> Python values: by BTF where the map has it, else ints and bytes.

A codec has ``size`` (bytes), ``decode(buffer, offset=0)``, ``encode(value) -> bytes`` and ``stream(window, count)``:
an iterable over ``count`` values laid one behind the other.
"""
from __future__ import absolute_import

import struct

from .._py23 import integer_types, range
from ..errors import InputError
from .map_raw import split

__all__ = ["BytesCodec", "IntCodec", "BtfCodec", "PerCpuCodec", "codec_for"]


def _wrong(what, size, value):
    return InputError("%s: %r does not fit: %d bytes are wanted" % (what, value, size))


class BytesCodec(object):
    """Bytes as they are."""

    def __init__(self, size, what="value"):
        self.size, self.what = size, what

    def decode(self, buffer, offset=0):
        return bytes(bytearray(buffer[offset:offset + self.size]))     # bytearray: bytes(memoryview) is its repr in 2.7

    def encode(self, value):
        if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) != self.size:
            raise _wrong(self.what, self.size, value)
        return bytes(bytearray(value))

    def stream(self, window, count):
        return split(window, self.size, count)


class IntCodec(object):
    """An unsigned int of 1, 2, 4 or 8 bytes in the machine's order; negative ints are stored as two's complement."""
    CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}

    def __init__(self, size, what="value"):
        self.size, self.what = size, what
        self._struct = struct.Struct("=" + self.CODES[size])
        self._low, self._high = -(1 << (size * 8 - 1)), (1 << (size * 8)) - 1

    def decode(self, buffer, offset=0):
        return self._struct.unpack_from(buffer, offset)[0]

    def encode(self, value):
        if isinstance(value, integer_types) and self._low <= value <= self._high:
            return self._struct.pack(value & self._high)
        if isinstance(value, (bytes, bytearray)) and len(value) == self.size:
            return bytes(value)
        raise _wrong(self.what, self.size, value)

    def stream(self, window, count):
        return struct.unpack_from("=%d%s" % (count, self.CODES[self.size]), window)


class BtfCodec(object):
    """A BTF type through lbc.btf.values; compiled when first used."""

    def __init__(self, btf, type_id, size, what="value"):
        self.btf, self.type_id, self.size, self.what = btf, type_id, size, what
        self._encode = None
        self._streams = {}      # (bytes before, bytes after) -> f(window)

    def __getattr__(self, name):
        from ..btf import values
        if name == "decode":
            made = values.decoder(self.btf, self.type_id)
        elif name == "flexible":    # ends in an array without a length: a value is as long as its buffer
            made = values.codec(self.btf, self.type_id).tail is not None
        elif name == "is_record":
            made = values.codec(self.btf, self.type_id).record is not None
        else:
            raise AttributeError(name)
        setattr(self, name, made)
        return made

    def encode(self, value):
        if self._encode is None:
            from ..btf import values
            self._encode = values.encoder(self.btf, self.type_id)
        try:
            data = self._encode(value)
        except (InputError, ValueError, TypeError, struct.error, OverflowError) as error:
            if isinstance(value, (bytes, bytearray)) and len(value) == self.size:
                return bytes(value)
            if isinstance(error, InputError):
                raise
            raise InputError("%s: %r: %s" % (self.what, value, error), cause=error)
        return data + b"\0" * (self.size - len(data))

    def stream(self, window, count):
        return self.strided(window, 0, count, self.size, 0)

    def strided(self, window, at, count, stride, before):
        """List of the values in ``count`` slots of ``stride`` bytes from ``at`` on,
        each ``before`` bytes into its slot."""
        if self.flexible or not self.is_record:
            decode = self.decode
            first = at + before
            if self.flexible:
                rest = stride - before
                return [decode(window[place:place + rest]) for place in range(first, first + count * stride, stride)]
            return [decode(window, place) for place in range(first, first + count * stride, stride)]
        key = before, stride - before - self.size
        rows = self._streams.get(key)
        if rows is None:
            from ..btf import values
            if len(self._streams) > 64:
                self._streams.clear()
            rows = self._streams[key] = values.record_stream(self.btf, self.type_id, *key)
        end = at + count * stride
        return rows(window if not at and end == len(window) else memoryview(window)[at:end])


class PerCpuCodec(object):
    """A list with one value per possible CPU.  Encoding takes such a list, or one value for every CPU."""

    def __init__(self, one, cpus):
        self.one, self.cpus = one, cpus
        self.stride = (one.size + 7) // 8 * 8
        self.size = self.stride * cpus

    def decode(self, buffer, offset=0):
        decode = self.one.decode
        return [decode(buffer, at) for at in range(offset, offset + self.size, self.stride)]

    def encode(self, value):
        if not isinstance(value, (list, tuple)):
            value = [value] * self.cpus
        if len(value) != self.cpus:
            raise InputError("%s: %d values for %d possible CPUs" % (self.one.what, len(value), self.cpus))
        pad = b"\0" * (self.stride - self.one.size)
        return b"".join([self.one.encode(part) + pad for part in value])

    def stream(self, window, count):
        if self.stride == self.one.size:
            flat = list(self.one.stream(window, count * self.cpus))
        else:
            flat = [self.one.decode(window, at) for at in range(0, count * self.size, self.stride)]
        return [flat[at:at + self.cpus] for at in range(0, count * self.cpus, self.cpus)]


def codec_for(size, btf=None, type_id=0, what="value"):
    """The codec of a key or value of ``size`` bytes; a BTF type of another size is not believed."""
    if btf is not None and type_id:
        try:
            fits = btf.size_of(type_id) == size
        except (LookupError, ValueError):
            fits = False
        if fits:
            return BtfCodec(btf, type_id, size, what)
    if size in IntCodec.CODES:
        return IntCodec(size, what)
    return BytesCodec(size, what)
