"""Types -> raw BTF: building from nothing, and rewriting some types of an existing one.

Format: include/uapi/linux/btf.h.  Ids never change in a rewrite: what the program and the relocations name stays true.
"""
from __future__ import absolute_import

import struct

from .._py23 import range, to_bytes
from ..errors import InputError
from ..uapi import btf as _u
from . import kinds as _k

__all__ = ["Builder", "encode"]


def _info(kind, vlen=0, flag=False):
    if vlen > _u.BTF_MAX_VLEN:
        raise InputError("%d members, at most %d fit into BTF" % (vlen, _u.BTF_MAX_VLEN))
    return kind << 24 | vlen | (1 << 31 if flag else 0)


def _members(members):
    """(kind_flag, words): with bit-fields the offset word also holds the width, and has only 24 bits for the offset."""
    flag, words = any(member.bit_size for member in members), []
    for member in members:
        if flag and member.bit_offset >> 24:
            raise InputError("member `%s` at bit %d of a struct with bit-fields: at most %d fit into BTF"
                             % (member.name, member.bit_offset, (1 << 24) - 1))
        words.append((member.name, member.type, member.bit_size << 24 | member.bit_offset))
    return flag, words


def encode_type(order, found, string):
    """Bytes of one ``lbc.btf.kinds`` value; ``string``: f(text) -> offset in the string section."""
    kind, rest = found.kind, ()
    if kind == _u.BTF_KIND_INT:
        head = (_info(kind), found.size)
        rest = (found.encoding << 24 | found.offset << 16 | found.bits,)
    elif kind == _u.BTF_KIND_ARRAY:
        head, rest = (_info(kind), 0), (found.type, found.index_type, found.count)
    elif kind in _k.COMPOSITE:
        flag, rows = _members(found.members)
        head = (_info(kind, len(rows), flag), found.size)
        rest = [word for name, type_id, bits in rows for word in (string(name), type_id, bits)]
    elif kind == _u.BTF_KIND_ENUM:
        head = (_info(kind, len(found.values), found.signed), found.size)
        rest = [word for name, value in found.values for word in (string(name), value & 0xffffffff)]
    elif kind == _u.BTF_KIND_ENUM64:
        head = (_info(kind, len(found.values), found.signed), found.size)
        rest = [word for name, value in found.values
                for word in (string(name), value & 0xffffffff, value >> 32 & 0xffffffff)]
    elif kind == _u.BTF_KIND_FUNC_PROTO:
        head = (_info(kind, len(found.params)), found.ret)
        rest = [word for name, type_id in found.params for word in (string(name), type_id)]
    elif kind == _u.BTF_KIND_FWD:
        head = (_info(kind, 0, found.is_union), 0)
    elif kind == _u.BTF_KIND_FUNC:
        head = (_info(kind, found.linkage), found.type)
    elif kind == _u.BTF_KIND_VAR:
        head, rest = (_info(kind), found.type), (found.linkage,)
    elif kind == _u.BTF_KIND_DATASEC:
        head = (_info(kind, len(found.vars)), found.size)
        rest = [word for row in found.vars for word in row]
    elif kind == _u.BTF_KIND_FLOAT:
        head = (_info(kind), found.size)
    elif kind == _u.BTF_KIND_DECL_TAG:
        head, rest = (_info(kind, 0, found.attribute), found.type), (found.component & 0xffffffff,)
    elif kind == _u.BTF_KIND_TYPE_TAG:
        head = (_info(kind, 0, found.attribute), found.type)
    elif isinstance(found, _k.Unknown):
        head = (_info(kind, found.vlen, found.flag), found.size_or_type)
        return struct.pack(order + "III", string(found.name), *head) + found.extra
    else:
        head = (_info(kind), found.type)
    try:
        return struct.pack("%s%dI" % (order, 3 + len(rest)), string(found.name), *(head + tuple(rest)))
    except struct.error as error:
        raise InputError("%r cannot be written as BTF: %s" % (found, error), error)


def header(order, types_size, strings_size):
    """``struct btf_header`` of 24 bytes: types, then strings."""
    return struct.pack(order + "HBBIIIII", _u.BTF_MAGIC, _u.BTF_VERSION, 0, 24, 0, types_size, types_size, strings_size)


class _Strings(object):
    """String section under construction over ``base`` (Btf or None), starting from ``raw`` bytes already there."""

    def __init__(self, base, raw=None):
        self.base = base
        self.start = base.string_end if base is not None else 0
        self.parts = [raw if raw is not None else b"" if base is not None else b"\0"]
        self.size = len(self.parts[0])
        self.known = {}
        if raw is not None:
            at = 0
            for piece in raw.split(b"\0")[:-1]:
                self.known.setdefault(piece, self.start + at)
                at += len(piece) + 1

    def offset(self, text):
        """Offset of ``text``, added when it is new."""
        raw = to_bytes(text)
        if not raw:
            return 0
        if b"\0" in raw:
            raise InputError("name %r has a zero byte" % (text,))
        found = self.known.get(raw)
        if found is None and self.base is not None:
            for found in self.base._string_offsets(raw):
                break
        if found is None:
            found = self.start + self.size
            self.parts.append(raw + b"\0")
            self.size += len(raw) + 1
        self.known[raw] = found
        return found

    def bytes(self):
        return b"".join(self.parts)


class Builder(object):
    """Raw BTF from nothing, or over ``base`` (Btf).  ``add(kinds value) -> id``, or ``add_int(...)`` and so on.

    ``add_KIND`` takes what the class in ``lbc.btf.kinds`` takes; ids may be named before they are added.
    """

    def __init__(self, base=None, order="<"):
        self.base, self.order = base, base.order if base is not None else order
        self._strings = _Strings(base)
        self._types = []
        self.next_id = self.start_id = base.count if base is not None else 1

    def add(self, found):
        """Append a type; its id."""
        self._types.append(encode_type(self.order, found, self._strings.offset))
        self.next_id += 1
        return self.next_id - 1

    def string(self, text):
        """Offset of ``text`` in the string section (.BTF.ext names its strings so)."""
        return self._strings.offset(text)

    def bytes(self):
        """The whole .BTF."""
        types, strings = b"".join(self._types), self._strings.bytes()
        return header(self.order, len(types), len(strings)) + types + strings


def _adder(make):
    def add(self, *args, **named):
        return self.add(make(*args, **named))
    add.__doc__ = "Append %s(...); its id." % make.__name__
    return add


for _name, _make in (("int", _k.Int), ("ptr", _k.Ptr), ("array", _k.Array), ("struct", _k.Struct), ("union", _k.Union),
                     ("enum", _k.Enum), ("enum64", _k.Enum64), ("fwd", _k.Fwd), ("typedef", _k.Typedef),
                     ("volatile", _k.Volatile), ("const", _k.Const), ("restrict", _k.Restrict), ("func", _k.Func),
                     ("func_proto", _k.FuncProto), ("var", _k.Var), ("datasec", _k.Datasec), ("float", _k.Float),
                     ("decl_tag", _k.DeclTag), ("type_tag", _k.TypeTag)):
    setattr(Builder, "add_" + _name, _adder(_make))


def encode(btf, replace=None, append=()):
    """Raw BTF of ``btf`` (own types only, if split) with types ``replace`` {id: kinds value} replaced, ``append``
    added.

    Old strings keep their offsets; a replaced type's names are added when they are new.  InputError for foreign ids.
    """
    replace = replace or {}
    strings = _Strings(btf.base, btf.strings_bytes())
    own = range(btf.start_id, btf.count)
    for type_id in replace:
        if not btf.start_id <= type_id < btf.count:
            raise InputError("type %d is not one of %d..%d" % (type_id, btf.start_id, btf.count - 1))
    pieces, kept = [], btf.start_id
    for type_id in sorted(replace):
        if kept < type_id:
            pieces.append(btf.types_bytes(kept, type_id))
        pieces.append(encode_type(btf.order, replace[type_id], strings.offset))
        kept = type_id + 1
    if kept < btf.start_id + len(own):
        pieces.append(btf.types_bytes(kept, btf.start_id + len(own)))
    pieces.extend([encode_type(btf.order, found, strings.offset) for found in append])
    types, raw = b"".join(pieces), strings.bytes()
    return header(btf.order, len(types), len(raw)) + types + raw
