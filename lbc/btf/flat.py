"""Records of plain members without the machinery of ``values``: a layout as a value, and a decoder made of it.

``layout`` reads BTF where there is one; the tuple it returns can go to another process, where ``decoder`` needs neither
BTF nor the compiler of types.
"""
from __future__ import absolute_import

import struct

from ..errors import FormatError
from .records import item_getter, record_class, text_of

__all__ = ["layout", "decoder"]

_INTS = {(1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h", (4, False): "I", (4, True): "i",
         (8, False): "Q", (8, True): "q"}


def layout(btf, type_id):
    """(type name, struct format, [(member, "int" or "text")]) of a struct whose members are all ints, pointers and char
    arrays; None for any other type."""
    from . import kinds
    from .values import is_char
    found = btf.type(btf.resolve(type_id))
    if not isinstance(found, kinds.Struct):
        return None
    at, form, fields = 0, btf.order, []
    for member in found.members:
        offset = member.bit_offset // 8
        inner = btf.type(btf.resolve(member.type))
        if member.bit_size or member.bit_offset % 8 or not member.name or offset < at:
            return None
        if isinstance(inner, kinds.Array) and is_char(btf, inner.type) and inner.count:
            size, code, how = inner.count, "%ds" % inner.count, "text"
        elif isinstance(inner, (kinds.Int, kinds.Ptr)):
            size = btf.size_of(member.type)
            signed = isinstance(inner, kinds.Int) and bool(inner.encoding & 1)  # BTF_INT_SIGNED
            code, how = _INTS.get((size, signed)), "int"
            if code is None or inner.kind == kinds.Int.kind and inner.encoding & 4:  # 128 bits; BTF_INT_BOOL
                return None
        else:
            return None
        form += "%dx" % (offset - at) * (offset > at) + code
        fields.append((member.name, how))
        at = offset + size
    return found.name, form + "%dx" % (found.size - at) * (found.size > at), fields


def _text_getter(index):
    return lambda raw: text_of(raw[index])


def _no_pack(values):
    raise TypeError("records of another process are not written")


def decoder(made):
    """f(buffer, offset=0) -> record, of what ``layout`` returned; ``.size`` in bytes.  FormatError if the buffer is
    short."""
    name, form, fields = made
    whole = struct.Struct(form)
    getters = [(field, (item_getter if how == "int" else _text_getter)(index))
               for index, (field, how) in enumerate(fields)]
    record = record_class(name, getters, _no_pack)
    unpack, error = whole.unpack_from, struct.error

    def decode(buffer, offset=0):
        value = record()
        try:
            value._v = unpack(buffer, offset)
        except error:
            raise FormatError("%d bytes are too few for %s: it has %d"
                              % (max(0, len(buffer) - offset), name, whole.size))
        return value
    decode.size = whole.size
    return decode
