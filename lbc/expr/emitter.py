"""storing.Fetch -> the kernel's fetch argument: "+0x58(+0x850(%di)):s32" (Documentation/trace/kprobetrace.rst).

The only module that knows how ftrace spells things, and what its parser takes (kernel/trace/trace_probe.c).
"""
from __future__ import absolute_import

from ..errors import ExprError

__all__ = ["spell"]

# FETCH_INSN_MAX is 16, the last is the end: that many operations fit
OPERATIONS = 15


def spell(fetch, target, text):
    """Text of one Fetch; ExprError when the kernel's limits do not allow it."""
    suffix = _suffix(fetch)
    limits = target.limits
    derefs = len(fetch.loads) - (1 if fetch.source.in_memory else 0)
    operations = 1 + derefs + {"global": 2, "address": 1, "file": 1}.get(fetch.source.kind, 0)
    if fetch.store in ("plain", "number", "symbol", "bits") and not fetch.loads:
        operations += 1  # a load is turned into the store, a register needs a store of its own
    operations += (fetch.store == "bits") + 2 * (fetch.store == "strings") + (fetch.store == "array")
    if derefs > limits.depth or operations > OPERATIONS:
        raise ExprError("%d pointers one behind the other" % derefs, text, fetch.column,
                        "the kernel follows at most %d here" % min(limits.depth, derefs - operations + OPERATIONS))
    by_user = "user-read" in target.features
    spelled = _body(fetch, by_user, _hex) + suffix
    if len(spelled) > limits.arg_length:
        spelled = _body(fetch, by_user, _shortest) + suffix
        if len(spelled) > limits.arg_length:
            raise ExprError("this path is too long for the kernel: %d characters (%s)" % (len(spelled), spelled), text,
                            fetch.column, "the kernel takes %d; begin the path with another argument or in another "
                            "function" % limits.arg_length)
    return spelled


def _body(fetch, by_user, number):
    source, loads = fetch.source, fetch.loads
    if source.in_memory:
        spelled = _memory(source, loads[0][0], number)
        loads = loads[1:]
    elif source.kind == "reg":
        spelled = "%" + source.name
    elif source.kind == "arg":
        spelled = "$arg%d" % source.number
    elif source.kind == "stack" and source.number is not None:
        spelled = "$stack%d" % source.number
    else:
        spelled = "$" + source.kind
    for offset, user in loads:
        sign = ("-" if offset < 0 else "+") + ("u" if user and by_user else "")
        spelled = "%s%s(%s)" % (sign, number(abs(offset)), spelled)
    return spelled


def _memory(source, offset, number):
    if source.kind == "file":
        return "@+%s%s" % ("-" if offset < 0 else "", number(abs(offset)))
    if source.kind == "address":
        return "@" + number(offset & 0xffffffffffffffff)
    if not offset:
        return "@" + source.name
    return "@%s%s%s" % (source.name, "-" if offset < 0 else "+", number(abs(offset)))


def _hex(number):
    return "0x%x" % number


def _shortest(number):
    return min("%d" % number, "0x%x" % number, key=len)


def _suffix(fetch):
    store, bits = fetch.store, 8 * fetch.size
    if store in ("plain", "comm"):
        return ""
    if store == "symbol":
        return ":symbol"
    if store == "string":
        return ":ustring" if fetch.user else ":string"
    if store == "strings":
        return ":%s[%d]" % ("ustring" if fetch.user else "string", fetch.count)
    if store == "bits":
        first, width = fetch.bits
        return ":b%d@%d/%d" % (width, first, bits)
    return ":%s%d%s" % ((fetch.letter or "U").lower(), bits, "[%d]" % fetch.count if store == "array" else "")
