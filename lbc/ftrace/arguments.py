"""Records of the ring buffer -> the parts of a lines.Event, without making text of them first."""
from __future__ import absolute_import

from .._py23 import to_text
from .formats import ARRAY, NUMBER, STRING
from .lines import place_of
from .printfmt import Compiler
from .special import RETURN, is_probe, probe_arguments

__all__ = ["compile_arguments", "compile_place"]

_MOST = 1 << 12     # elements of an array


def compile_arguments(format, names, converters=None):
    """The function ``arguments(page, start, end) -> dict``: of a probe its variables, of an event its fields.

    Numbers; texts; lists of numbers; None for a string that could not be read; the converter's text for variables in
    ``converters``.
    """
    compiler = Compiler(format, names)
    compiler.space.update(text=to_text, listed=_listed)
    rows, converters = [], converters or {}
    if is_probe(format):
        for variable, _, letter, indexes in probe_arguments(format):
            field = compiler.field(variable)
            codes = [_argument(compiler, field, letter, index) for index in indexes]
            code = codes[0] if indexes == [None] else "[%s]" % ", ".join(codes)
            rows.append((variable, code, letter in "diux"))
    else:
        for field in format.own_fields:
            if field.name not in ("__syscall_nr",):
                rows.append((field.name, _field(compiler, field), field.kind == NUMBER))
    parts = []
    for variable, code, is_number in rows:
        if is_number and variable in converters:
            code = "%s(%s)" % (compiler.keep(converters[variable], "c"), code)
        parts.append("%s: %s" % (compiler.keep(variable), code))
    return compiler.build("arguments", "b, o, e", "{%s}" % ", ".join(parts))


def _argument(compiler, field, letter, index):
    """Code of one value of a probe's variable."""
    if letter == "s":
        place = compiler.place(field, index or 0)
        return "(text(%s) if %s else None)" % (compiler.text(place), place.length)
    number = compiler.number(field, (index or 0) * field.item if field.kind == ARRAY else 0)
    return {"S": "text(S[%s])", "c": "chr(%s & 255)"}.get(letter, "%s") % number


def _field(compiler, field):
    """Code of one field of an event."""
    if field.kind == NUMBER:
        return compiler.number(field)
    place = compiler.place(field)
    if field.kind == STRING or field.text:
        return "text(%s)" % compiler.text(place)
    return "listed(%s, %d)" % (compiler.raw(place, place.length), field.item)


def _listed(raw, item):
    from struct import unpack_from
    count = min(len(raw) // max(item, 1), _MOST)
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(item)
    return list(unpack_from("=%d%s" % (count, code), raw)) if code else to_text(raw)


def compile_place(format, names):
    """The function ``place(page, start, end) -> (function or None, offset or address or None, caller or None)``."""
    mark = is_probe(format)
    if not mark:
        return lambda page, start, end: (None, None, None)
    compiler = Compiler(format, names)
    if mark == RETURN:
        caller, function = [compiler.number(compiler.field(name)) for name in ("__probe_ret_ip", "__probe_func")]
        compiler.space["made"] = lambda caller, function: _returned(names, caller, function)
        return compiler.build("place", "b, o, e", "made(%s, %s)" % (caller, function))
    compiler.space["made"] = lambda ip: place_of(to_text(names.ips[ip])) + (None,)
    return compiler.build("place", "b, o, e", "made(%s)" % compiler.number(compiler.field("__probe_ip")))


def _returned(names, caller, function):
    name, offset = place_of(to_text(names.callees[function]))
    return name, 0 if name else offset, to_text(names.ips[caller])
