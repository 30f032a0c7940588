"""The type model -> rows of the protocol: members as cells with flat names, as the reference's databases have them.

The members of an anonymous record belong to the one around it, under `u.a` where it has a name; arrays are `name[4]`;
a bit-field is `bits` "FIRST:WIDTH", FIRST counted from the byte `offset` (as gdb's `ptype /o` prints it).
lbc.resolvers.rows reads them back.
"""
from __future__ import absolute_import

from ..errors import FormatError
from ..resolvers.model import Array, Pointer, Record, Scalar, Typedef, strip

__all__ = ["function_row", "record_row", "type_row"]

_MOST_CELLS = 1 << 16
_DEEPEST = 16


def function_row(found):
    """{func, args, ret, line, file, module} of a model.Function."""
    return {"func": found.name, "args": [param.type.text for param in found.params], "ret": found.ret.text,
            "line": found.line or 0, "file": found.file or "", "module": found.module}


def record_row(name, record):
    """{name, members, size, cell: [{type, name, offset, size, bits}]} of a model.Record; ``name``: as it was asked."""
    cells = []
    _flatten(record, 0, "", cells, 0)
    return {"name": name, "members": len(record.members), "size": record.size or 0, "cell": cells}


def _flatten(record, base, prefix, cells, depth):
    members = record.members
    if depth > _DEEPEST or len(cells) + len(members) > _MOST_CELLS:
        raise FormatError("%s has no end of members" % record.text)
    for member in members:
        at, element, sizes = base + member.bit_offset, member.type, ""
        while isinstance(element, Array):
            element, sizes = element.element, "%s[%d]" % (sizes, element.count)
        if isinstance(element, Record) and not element.name:
            _flatten(element, at, prefix + member.name + sizes + "." if member.name else prefix, cells, depth + 1)
        elif member.name:
            bits = "%d:%d" % (at % 8, member.bit_size) if member.bit_size else ""
            cells.append({"type": element.text, "name": prefix + member.name + sizes, "offset": at // 8,
                          "size": member.type.size or 0, "bits": bits})


def type_row(name, found):
    """{name, type, size}: what gdb's `ptype` says, its first line."""
    inner = strip(found)
    if isinstance(inner, Record):
        text = "%s %s{" % (inner.keyword, inner.name + " " if inner.name else "")
    elif isinstance(inner, Scalar) and inner.kind == "enum":
        text = inner.text.replace(" (anonymous)", "")
        if inner.values:
            text += " {%s}" % ", ".join(["%s = %d" % (inner.values[number], number) for number in sorted(inner.values)])
    elif isinstance(found, (Typedef, Pointer, Scalar)):
        text = inner.text
    else:
        text = found.text
    return {"name": name, "type": text, "size": found.size or 0}
