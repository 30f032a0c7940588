"""BTF type -> compiled decoders (bytes -> Python value) and encoders (Python value -> bytes).

Each type is compiled once into one ``struct.Struct`` and a record class (lbc.btf.records); members that share bytes
(unions, bit-fields) become one item of it with several views.  Bit-field numbering: Documentation/bpf/btf.rst,
"BTF_KIND_STRUCT"; on big-endian targets bit 0 is the most significant one.
"""
from __future__ import absolute_import

import operator
import struct

from .._py23 import integer_types, iteritems, near, range, to_bytes, to_text
from ..errors import FormatError, InputError
from ..uapi import btf as _u
from .records import Record, bytes_of, enum_class, int_of, item_getter, record_class, text_of

__all__ = ["decoder", "encoder", "record_stream", "codec"]

_MAX_BYTES = 1 << 26  # a larger single value is damage, not data: no record and no sensible map value is
_MAX_MEMBERS = 1 << 16
_MAX_DEPTH = 64
_SIZES = {1: "bB", 2: "hH", 4: "iI", 8: "qQ"}
_BULK = 1024  # array elements per Struct: 2.7 keeps 24 bytes for each
_COMPOSITE = (_u.BTF_KIND_STRUCT, _u.BTF_KIND_UNION)


class Codec(object):
    """One type as one struct item: ``size`` bytes, ``format`` (without order), ``load(item)``/``store(value)`` or None.

    ``None`` for ``load``: the item is the value.  ``tail``: Codec of a flexible array at the end, at ``tail_at``.
    """

    __slots__ = ("order", "size", "format", "load", "store", "zero", "bits", "signed", "record", "unpack", "pack",
                 "name",
                 "tail", "tail_at")

    def __init__(self, order, size, format, load=None, store=None, zero=0, name=""):
        if size > _MAX_BYTES:
            raise FormatError("a value of %d bytes of type %s is more than can be" % (size, name or "?"))
        self.order, self.size, self.format, self.load, self.store, self.zero = order, size, format, load, store, zero
        self.bits, self.signed, self.record, self.name, self.tail, self.tail_at = 8 * size, False, None, name, None, 0
        single = struct.Struct(order + format)
        self.unpack, self.pack = single.unpack_from, single.pack

    def decode(self, raw, offset=0):
        """The value in ``raw`` at byte ``offset``; ``raw`` is known to be long enough."""
        item, = self.unpack(raw, offset)
        return item if self.load is None else self.load(item)

    def encode(self, value):
        """Bytes of ``value``.  InputError when it does not fit."""
        try:
            return self.pack(value if self.store is None else self.store(value))
        except (struct.error, TypeError, OverflowError) as error:
            raise InputError("%r is no value of %s: %s" % (value, self.name or "this type", error), error)


class _Compiler(object):
    def __init__(self, btf):
        self.btf, self.order = btf, btf.order
        self.done = {}

    def codec(self, type_id, depth=0):
        if depth > _MAX_DEPTH:
            raise FormatError("type %d contains itself or is nested too deep" % type_id, self.btf.path, "BTF types")
        type_id = self.btf.resolve(type_id)
        found = self.done.get(type_id)
        if found is None:
            found = self.done[type_id] = self._make(type_id, depth)
        return found

    def _make(self, type_id, depth):
        btf, order = self.btf, self.order
        kind = btf.kind_of(type_id)
        if kind in _COMPOSITE or kind == _u.BTF_KIND_DATASEC:
            return _StructMaker(self, type_id, depth).codec
        found = btf.type(type_id)
        if kind == _u.BTF_KIND_INT:
            return self._int(found)
        if kind == _u.BTF_KIND_PTR:
            size = btf.pointer_size
            return Codec(order, size, _SIZES[size][1], store=operator.index, name="a pointer")
        if kind in (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64):
            return self._enum(found)
        if kind == _u.BTF_KIND_ARRAY:
            return self._array(found, depth)
        if kind == _u.BTF_KIND_FLOAT and found.size in (4, 8):
            return Codec(order, found.size, "f" if found.size == 4 else "d", store=float, zero=0.0, name=found.name)
        if kind == _u.BTF_KIND_FLOAT:
            return self._raw(found.size, found.name)
        if kind == _u.BTF_KIND_VAR:
            return self.codec(found.type, depth + 1)
        raise FormatError("type %d (%s %s) has no values" % (
            type_id, _u.KIND_NAMES.get(kind, "kind %d" % kind), found.name), btf.path, "BTF types")

    def _raw(self, size, name):
        def store(value):
            if not isinstance(value, bytes) or len(value) != size:
                raise InputError("%s takes %d bytes, not %r" % (name, size, value))
            return value
        return Codec(self.order, size, "%ds" % size, None, store, b"", name)

    def _int(self, found):
        order, size = self.order, found.size
        if size > 16:  # the kernel's own limit is 128 bits
            raise FormatError("an integer %s of %d bytes" % (found.name, size), self.btf.path, "BTF types")
        if size == 1 and found.encoding & _u.BTF_INT_BOOL:
            return Codec(order, 1, "?", None, bool, False, found.name)
        signed = found.signed
        if size in _SIZES:
            made = Codec(order, size, _SIZES[size][not signed], store=operator.index, name=found.name)
        else:
            top = 1 << (8 * size - 1) if size else 0

            def load(raw):
                number = int_of(raw, order)
                return number - 2 * top if signed and number & top else number

            def store(value):
                number = operator.index(value)
                if signed and -top <= number < 0:
                    number += 2 * top
                elif signed and number >= top:
                    raise InputError("%d does not fit into %s" % (number, found.name))
                return bytes_of(number, size, order)
            made = Codec(order, size, "%ds" % size, load, store, b"", found.name)
        made.signed = signed
        return made

    def _enum(self, found):
        if found.size not in _SIZES:
            raise FormatError("enum %s of %d bytes" % (found.name, found.size), self.btf.path, "BTF types")
        # clang before 15 sets no sign: a negative value could not be told from a large one there
        load, store = enum_class(found.name, found.values)
        made = Codec(self.order, found.size, _SIZES[found.size][not found.signed], load, store, 0, "enum " + found.name)
        made.signed = found.signed
        return made

    def _array(self, found, depth):
        btf, order, count = self.btf, self.order, found.count
        element = self.codec(found.type, depth + 1)
        size = element.size * count
        if size > _MAX_BYTES:
            raise FormatError("an array of %d x %d bytes is more than can be" % (count, element.size), btf.path)
        name = "%s[%d]" % (element.name, count)
        if is_char(btf, found.type):
            def store_text(value):
                raw = to_bytes(value) if hasattr(value, "encode") else bytes(bytearray(value))
                if len(raw) > size:
                    raise InputError("%r is longer than the %d bytes of a %s" % (value, size, name))
                return raw
            return Codec(order, size, "%ds" % size, text_of, store_text, b"", name)
        load, dump = many(element, count)

        def store(values):
            if isinstance(values, (bytes, bytearray)) and len(values) == size:
                return bytes(values)
            values = list(values)
            if len(values) > count:
                raise InputError("%d values for %s" % (len(values), name))
            return dump(values).ljust(size, b"\0")
        return Codec(order, size, "%ds" % size, load, store, b"", name)


def is_char(btf, type_id):
    """Is it C's ``char`` (not u8: those are numbers)?"""
    found = btf.type(btf.resolve(type_id))
    return found.kind == _u.BTF_KIND_INT and found.size == 1 and (found.name == "char" or bool(
        found.encoding & _u.BTF_INT_CHAR and not found.name.startswith("unsigned")))


def many(element, count):
    """(f(bytes) -> list, f(list) -> bytes) for ``count`` elements (None: as many as there are)."""
    order, size, load = element.order, element.size, element.load

    def dump(values):
        return b"".join([element.encode(value) for value in values])
    if not size:
        return (lambda raw: []), dump
    if len(element.format) == 1 and count is not None and count <= _BULK:
        unpack = struct.Struct("%s%d%s" % (order, count, element.format)).unpack
        if load is None:
            return (lambda raw: list(unpack(raw))), dump
        return (lambda raw: [load(item) for item in unpack(raw)]), dump
    decode = element.decode
    return (lambda raw: [decode(raw, at) for at in range(0, len(raw) - size + 1, size)]), dump


class _Leaf(object):
    """A named member after anonymous ones are flattened: bytes ``start``..``end``, bits when it is a bit-field."""

    __slots__ = ("name", "start", "end", "codec", "bit", "bits")

    def __init__(self, name, start, end, codec, bit=0, bits=0):
        self.name, self.start, self.end, self.codec, self.bit, self.bits = name, start, end, codec, bit, bits


class _StructMaker(object):
    """Compiles one struct, union or data section: ``.codec``."""

    def __init__(self, compiler, type_id, depth):
        self.compiler, self.btf, self.order, self.depth = compiler, compiler.btf, compiler.order, depth
        found = self.btf.type(type_id)
        self.size, self.type_name = found.size, found.name
        if self.size > _MAX_BYTES:
            raise FormatError("%s of %d bytes is more than can be" % (found.name, self.size), self.btf.path,
                              "BTF types")
        self.leaves, self.tail = [], None
        if found.kind == _u.BTF_KIND_DATASEC:
            for var_id, offset, _size in found.vars:
                self._add(self.btf.type(var_id).name, var_id, 8 * offset, 0)
        else:
            self._collect(found, 0, 0)
        self.parts, self.zeros, self.setters = ["%s" % self.order], [], {}
        self.fields = []
        self._group()
        self.codec = self._finish()

    def _collect(self, found, base, depth):
        if depth > _MAX_DEPTH:
            raise FormatError("struct %s contains itself" % found.name, self.btf.path, "BTF types")
        for member in found.members:
            if not member.name and not member.bit_size:
                inner_id = self.btf.resolve(member.type)
                if self.btf.kind_of(inner_id) in _COMPOSITE:
                    self._collect(self.btf.type(inner_id), base + member.bit_offset, depth + 1)
                continue
            if member.name:
                self._add(member.name, member.type, base + member.bit_offset, member.bit_size)

    def _add(self, name, type_id, bit, bits):
        if len(self.leaves) >= _MAX_MEMBERS:
            raise FormatError("struct %s has more than %d members" % (self.type_name, _MAX_MEMBERS), self.btf.path)
        codec = self.compiler.codec(type_id, self.depth + 1)
        if not bits:
            plain = self.btf.type(self.btf.resolve(type_id))
            if plain.kind == _u.BTF_KIND_INT and (plain.offset or 0 < plain.bits < 8 * plain.size) \
                    and not plain.encoding & _u.BTF_INT_BOOL:
                bit, bits = bit + plain.offset, plain.bits  # how bit-fields were written before kind_flag (4.20)
        if bits:
            leaf = _Leaf(name, bit // 8, (bit + bits + 7) // 8, codec, bit, bits)
        else:
            if bit & 7:
                raise FormatError("member %s of %s begins inside a byte" % (name, self.type_name), self.btf.path)
            leaf = _Leaf(name, bit // 8, bit // 8 + codec.size, codec)
        if leaf.end > self.size and not (leaf.start <= self.size and not codec.size):
            raise FormatError("member %s ends at byte %d of the %d of %s" % (name, leaf.end, self.size, self.type_name),
                              self.btf.path, "BTF types")
        self.leaves.append(leaf)
        self._flexible(leaf, type_id)

    def _flexible(self, leaf, type_id):
        found = self.btf.type(self.btf.resolve(type_id))
        self.tail = None  # only the last member can be one
        if found.kind == _u.BTF_KIND_ARRAY and not found.count and not leaf.bits:
            self.tail = (leaf, self.compiler.codec(found.type, self.depth + 1), is_char(self.btf, found.type))

    def _group(self):
        """Merge leaves that share bytes; one struct item per group."""
        at, index, places = 0, 0, {}
        order = sorted(range(len(self.leaves)), key=lambda number: (self.leaves[number].start, self.leaves[number].end))
        tail = self.tail and self.tail[0]
        groups = []
        for number in order:
            leaf = self.leaves[number]
            if leaf is tail:
                continue
            if groups and leaf.start < groups[-1][1]:
                groups[-1][1] = max(groups[-1][1], leaf.end)
                groups[-1][2].append(number)
            else:
                groups.append([leaf.start, leaf.end, [number]])
        for start, end, numbers in groups:
            if start > at:
                self.parts.append("%dx" % (start - at))
            at = end
            leaves = [self.leaves[number] for number in numbers]
            for number, made in zip(numbers, self._item(index, start, end, leaves)):
                places[number] = made
            index += 1
        if self.size > at:
            self.parts.append("%dx" % (self.size - at))
        if tail is not None:
            places[self.leaves.index(tail)] = self._tail_field(index)
        for number, leaf in enumerate(self.leaves):  # the order of the members, whatever that of their bytes
            get, put = places[number]
            self.fields.append((leaf.name, get))
            self.setters[leaf.name] = put

    def _item(self, index, start, end, leaves):
        """[(get, put)] of the leaves in item ``index``; appends its format."""
        size = end - start
        if len(leaves) == 1 and not leaves[0].bits:
            codec = leaves[0].codec
            self.parts.append(codec.format)
            self.zeros.append(codec.zero)
            return [(_item_get(index, codec.load), _item_put(index, codec.store))]
        if size in _SIZES and all(leaf.bits for leaf in leaves):
            self.parts.append(_SIZES[size][1])
            self.zeros.append(0)
            return [_bits_in_int(index, leaf, self._shift(leaf, start, size)) for leaf in leaves]
        self.parts.append("%ds" % size)
        self.zeros.append(b"")
        return [_bits_in_bytes(index, leaf, self._shift(leaf, start, size), size, self.order) if leaf.bits
                else _view(index, leaf.codec, leaf.start - start, size) for leaf in leaves]

    def _shift(self, leaf, start, size):
        first = leaf.bit - 8 * start
        return first if self.order == "<" else 8 * size - first - leaf.bits

    def _tail_field(self, index):
        _leaf, element, char = self.tail
        load, dump = many(element, None)
        self.zeros.append(b"")
        if char:
            return _item_get(index, text_of), _item_put(index, lambda value: to_bytes(value))
        return _item_get(index, load), _item_put(index, lambda values: dump(list(values)))

    def _finish(self):
        whole = struct.Struct("".join(self.parts))
        unpack, setters, zeros, name = whole.unpack_from, self.setters, self.zeros, self.type_name or "struct"
        names = [field for field, _get in self.fields]

        def items_of(values):
            items = list(zeros)
            for field, value in iteritems(values):
                put = setters.get(field)
                if put is None:
                    raise InputError("%s has no member `%s`" % (name, field), hint="perhaps %s" % " or ".join(
                        near(str(field), setters) or names[:3]) if setters else None)
                try:
                    put(items, value)
                except (TypeError, ValueError, OverflowError, struct.error) as error:
                    raise InputError("member `%s` of %s cannot be %r: %s" % (field, name, value, error), error)
            return tuple(items)
        record = record_class(self.type_name, self.fields, items_of)
        has_tail, plain_pack, size = self.tail is not None, whole.pack, self.size

        def pack(items):
            try:
                return plain_pack(*items[:-1]) + items[-1] if has_tail else plain_pack(*items)
            except (struct.error, OverflowError):
                raise _misfit(name, self.fields, items, whole)

        def load(raw):
            made = record()
            made._v = unpack(raw) + (b"",) if has_tail else unpack(raw)
            return made

        def store(value):
            if type(value) is record:
                return pack(value._v)
            if isinstance(value, (bytes, bytearray)):
                if len(value) < size or (len(value) > size and not has_tail):
                    raise InputError("%s has %d bytes, not %d" % (name, size, len(value)))
                return bytes(value)
            if isinstance(value, Record):
                value = value._asdict()
            elif isinstance(value, (tuple, list)):
                if len(value) != len(names):
                    raise InputError("%s has %d members, not %d" % (name, len(names), len(value)))
                value = dict(zip(names, value))
            elif not hasattr(value, "items"):
                raise InputError("%s takes a dict, tuple, record or bytes, not %r" % (name, value))
            return pack(items_of(value))
        made = Codec(self.order, self.size, "%ds" % self.size, load, store, b"", name)
        made.record = (record, whole, pack)
        if has_tail:
            made.tail, made.tail_at = self.tail[1], self.tail[0].start
        return made


def _misfit(name, fields, items, whole):
    """Which member of the struct cannot be packed; records are checked one by one only now."""
    try:
        whole.pack(*items)
    except (struct.error, OverflowError) as error:
        guilty = error
    for field, get in fields:
        index = getattr(get, "plain_index", None)
        if index is not None and isinstance(items[index], integer_types):
            trial = list(items)
            trial[index] = 0
            try:
                whole.pack(*trial)
            except (struct.error, OverflowError):
                continue
            return InputError("member `%s` of %s cannot hold %d: %s" % (field, name, items[index], guilty), guilty)
    return InputError("values do not fit into %s: %s" % (name, guilty), guilty)


def _item_get(index, load):
    if load is None:
        return item_getter(index)
    return lambda raw: load(raw[index])


def _item_put(index, store):
    def put(items, value):
        items[index] = value if store is None else store(value)
    return put


def _finish_bits(leaf):
    """(f(raw bits) -> value, f(value) -> raw bits) of a bit-field."""
    bits, codec = leaf.bits, leaf.codec
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    load = codec.load if codec.format in "bBhHiIqQ" else bool if codec.format == "?" else None

    def value_of(number):
        if codec.signed and number & top:
            number -= mask + 1
        return number if load is None else load(number)

    def bits_of(value):
        number = operator.index(codec.store(value) if codec.format in "bBhHiIqQ?" else value)
        low = -top if codec.signed else 0
        if not low <= number <= (top - 1 if codec.signed else mask):
            raise InputError("%d does not fit into the %d bits of `%s`" % (number, bits, leaf.name))
        return number & mask
    return value_of, bits_of


def _bits_in_int(index, leaf, shift):
    value_of, bits_of = _finish_bits(leaf)
    mask = (1 << leaf.bits) - 1

    def get(raw):
        return value_of(raw[index] >> shift & mask)

    def put(items, value):
        items[index] = items[index] & ~(mask << shift) | bits_of(value) << shift
    return get, put


def _bits_in_bytes(index, leaf, shift, size, order):
    value_of, bits_of = _finish_bits(leaf)
    mask = (1 << leaf.bits) - 1

    def get(raw):
        return value_of(int_of(raw[index], order) >> shift & mask)

    def put(items, value):
        whole = int_of(items[index].ljust(size, b"\0"), order)
        items[index] = bytes_of(whole & ~(mask << shift) | bits_of(value) << shift, size, order)
    return get, put


def _view(index, codec, offset, size):
    def get(raw):
        return codec.decode(raw[index], offset)

    def put(items, value):
        whole = items[index].ljust(size, b"\0")
        items[index] = whole[:offset] + codec.encode(value) + whole[offset + codec.size:]
    return get, put


def codec(btf, type_id):
    """The compiled Codec of a type; kept with the Btf.  FormatError when the type can have no values."""
    compiler = btf.codecs
    if compiler is None:
        compiler = btf.codecs = _Compiler(btf)
    return compiler.codec(type_id)


def _short(buffer, offset, made):
    return FormatError("%d bytes are too few for %s: it has %d" % (max(0, len(buffer) - offset), made.name, made.size))


def decoder(btf, type_id):
    """f(buffer, offset=0) -> value.  A flexible array at the end takes the rest.  FormatError if the buffer is
    short."""
    made = codec(btf, type_id)
    error = struct.error
    if made.record is None:
        unpack, load = made.unpack, made.load

        def decode_plain(buffer, offset=0):
            try:
                item, = unpack(buffer, offset)
            except error:
                raise _short(buffer, offset, made)
            return item if load is None else load(item)
        return decode_plain
    record, whole, _pack = made.record
    unpack = whole.unpack_from
    if made.tail is not None:
        return _tail_decoder(made, record, unpack)

    def decode(buffer, offset=0):
        value = record()
        try:
            value._v = unpack(buffer, offset)
        except error:
            raise _short(buffer, offset, made)
        return value
    return decode


def _tail_decoder(made, record, unpack):
    start, stride = made.tail_at, made.tail.size

    def decode(buffer, offset=0):
        value = record()
        try:
            fixed = unpack(buffer, offset)
        except struct.error:
            raise _short(buffer, offset, made)
        rest = buffer[offset + start:]
        rest = rest.tobytes() if isinstance(rest, memoryview) else bytes(rest)
        value._v = fixed + (rest[:len(rest) - len(rest) % stride] if stride else b"",)
        return value
    return decode


def encoder(btf, type_id):
    """f(value) -> bytes; value: int, text, list, dict, tuple, record or bytes of the right length.  InputError."""
    made = codec(btf, type_id)
    if made.record is None:
        return made.encode
    return made.store


def record_stream(btf, type_id, before=0, after=0):
    """f(window) -> list of records: the window holds equal records, each after ``before`` and followed by ``after``
    bytes.

    Twice as fast as one call of a decoder per record; a piece of a record at the window's end is left out.
    """
    made = codec(btf, type_id)
    if made.record is None:
        raise InputError("%s is no struct: a stream is made of records" % made.name)
    record, whole, _pack = made.record
    layout = whole.format if isinstance(whole.format, str) else to_text(whole.format)
    layout = "%s%dx%s%dx" % (layout[0], before, layout[1:], after)
    tail = (b"",) if made.tail is not None else None
    rows = _rows(layout)
    size = struct.calcsize(layout)
    if not size:
        raise InputError("%s has no bytes: a stream of it has no end" % made.name)

    def decode(window):
        count = len(window) // size
        if len(window) != count * size:
            window = window[:count * size]
        found = [record() for _ in range(count)]
        if tail is None:
            for value, value._v in zip(found, rows(window)):
                pass
        else:
            for value, row in zip(found, rows(window)):
                value._v = row + tail
        return found
    return decode


def _rows(layout):
    """f(window of whole records) -> tuples: iter_unpack, or on 2.7 one Struct of 64 records regrouped."""
    one = struct.Struct(layout)
    if hasattr(one, "iter_unpack"):
        return one.iter_unpack
    each = len(one.unpack(b"\0" * one.size))
    block = 64
    many_at_once = struct.Struct(layout[0] + layout[1:] * block)

    def rows(window):
        end, step = len(window), many_at_once.size
        at = 0
        while each and end - at >= step:
            for row in zip(*[iter(many_at_once.unpack_from(window, at))] * each):
                yield row
            at += step
        while at < end:
            yield one.unpack_from(window, at)
            at += one.size
    return rows
