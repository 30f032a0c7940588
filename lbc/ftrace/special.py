"""Events that the kernel does not print by their `print fmt`: probes, system calls, stacks, trace_marker texts.

    probes       kernel/trace/trace_kprobe.c print_kprobe_event, trace_uprobe.c, trace_fprobe.c, trace_eprobe.c
    syscalls     kernel/trace/trace_syscalls.c print_syscall_enter, print_syscall_exit
    the rest     kernel/trace/trace_output.c; synthetic events: trace_events_synth.c print_synth_event

``compile_line`` is the one door: it gives the Printer (see ``printfmt``) of any event.
"""
from __future__ import absolute_import

import struct

from .._py23 import range
from ..errors import FormatError
from .cfmt import parse
from .formats import ARRAY, DYNAMIC
from .pointers import hex_bytes
from .cexpr import encode
from .cvalues import TYPE_NAMES
from .printfmt import Compiler, Printer, compile_event, escape, in_bytes, split_format

__all__ = ["compile_line", "is_probe", "probe_arguments", "stack_addresses", "FAULT"]

FAULT = b"(fault)"
ENTRY, RETURN = "(%lx)", "(%lx <- %lx)"
ULONG_MAX = (1 << 64) - 1
TRAMPOLINE = 0x7fffffff     # FTRACE_TRAMPOLINE_MARKER, since 6.10
_MARKS = {"__probe_ip": ENTRY, "__probe_func": RETURN}


def is_probe(format):
    """"(%lx)" for an entry probe (k, u, f), "(%lx <- %lx)" for a return probe, "" for what is no probe."""
    for field, text in _MARKS.items():
        if field in format.by_name and format.print_fmt.startswith('"' + text):
            return text
    return ""


def compile_line(format, names, converters=None, in_ns=True):
    """The printfmt.Printer that prints records of an event as the kernel does; FormatError where that is not known.

    ``names``: printfmt.Names; ``converters``: {variable: f(number, or list of an array) -> text}; ``in_ns``: the trace
    clock counts nanoseconds (else ``seconds`` is the raw time).
    """
    if is_probe(format):
        return _probe(format, names, converters, in_ns)
    if format.system == "ftrace":
        return _internal(format, names, in_ns)
    if format.system == "syscalls" and "__syscall_nr" in format.by_name:
        return _syscall(format, names, in_ns)
    if format.system == "synthetic":
        return _synthetic(format, names, converters, in_ns)
    if format.system in ("user_events", "user_events_multi"):
        raise FormatError("%s: events of user processes are printed in the kernel's own way" % format.name)
    if format.print_fmt == '""' or format.print_fmt.startswith('" '):
        attached = names.attached(format.system, format.name)
        if attached:
            return _probe(format, names, converters, in_ns, attached)
    return compile_event(format, names, converters, in_ns)


# -- probes ------------------------------------------------------------------------------------------------------------

def probe_arguments(format):
    """[(variable, prefix "" or "0x", conversion letter, [index or None, ...])] of a probe event, in its own order.

    The letter is that of the print fmt: d u x c s, S for a symbol; more than one index: an array.
    """
    text, nodes = parse(format.print_fmt)
    mark = is_probe(format)
    pieces = split_format(text[len(mark):])
    found, nodes = [], nodes[mark.count("%"):]
    for at in range(0, len(pieces) - 1, 2):
        literal, spec = pieces[at], pieces[at + 1]
        letter = "S" if spec[4][:2] == "pS" else spec[4][:1]
        if len(nodes) <= at // 2 or letter not in tuple("diuxcsSp"):
            raise FormatError("%s: a print fmt of an unknown kind" % format.name)
        node = nodes[at // 2]
        if node[0] == "call":
            node = node[2][0] if node[2] else node
        index = None
        if node[0] == "index" and node[2][0] == "int":
            node, index = node[1], node[2][1]
        if node[0] not in ("field", "name") or node[1] not in format.by_name:
            raise FormatError("%s: a print fmt of an unknown kind" % format.name)
        prefix = "0x" if literal.endswith("0x") else ""
        if index:
            if not found or found[-1][0] != node[1]:
                raise FormatError("%s: a print fmt of an unknown kind" % format.name)
            found[-1][3].append(index)
        else:
            found.append((node[1], prefix, letter, [index]))
    return found


def _probe(format, names, converters, in_ns, attached=None):
    compiler = Compiler(format, names)
    compiler.space["FAULT"] = FAULT
    where, codes = "(%s)", []
    if attached:
        codes.append(compiler.keep(attached))
    elif is_probe(format) == RETURN:
        where = "(%s <- %s)"
        codes = ["W[%s]" % compiler.number(compiler.field("__probe_ret_ip")),
                 "V[%s]" % compiler.number(compiler.field("__probe_func"))]
    else:
        codes = ["W[%s]" % compiler.number(compiler.field("__probe_ip"))]
    shown = escape(format.name) + ": " + where
    for variable, prefix, letter, indexes in probe_arguments(format):
        field = compiler.field(variable)
        convert = (converters or {}).get(variable) if letter in "diux" else None
        values = []
        for index in indexes:
            if letter == "s":
                place = compiler.place(field, index or 0)
                values.append("(b'\"' + %s + b'\"' if %s else FAULT)" % (compiler.text(place), place.length))
                continue
            # the field's own type says how wide it is: the conversions print it whole
            number = compiler.number(field, (index or 0) * field.item if field.kind == ARRAY else 0)
            values.append("S[%s]" % number if letter == "S" else number)
        one = {"s": "%s", "S": "%s", "c": "'%c'", "x": prefix + "%x"}.get(letter, "%d")
        shown += " %s=" % escape(variable)
        if convert:
            name = compiler.keep(in_bytes(convert), "c")
            shown += "%s"
            codes.append("%s(%s)" % (name, values[0] if indexes == [None] else "[%s]" % ", ".join(values)))
        else:
            shown += one if indexes == [None] else "{" + ",".join([one] * len(values)) + "}"
            codes += values
    return compiler.printer(shown + "\n", codes, in_ns)


def _encode_utf8(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def _synthetic(format, names, converters, in_ns):
    """Fields with one space between them; the print fmt of kernels before 5.15 has a comma too."""
    if any(field.type == "gfp_t" for field in format.fields):
        raise FormatError("%s: flags of an allocation are printed in the kernel's own way" % format.name)
    compiler = Compiler(format, names)
    text, arguments = parse(format.print_fmt, TYPE_NAMES)
    shown, codes = compiler.body(text.replace(", ", " "), arguments, converters)
    return compiler.printer(escape(format.name) + ": " + shown + "\n", codes, in_ns)


# -- system calls ------------------------------------------------------------------------------------------------------

def _syscall(format, names, in_ns):
    compiler = Compiler(format, names)
    kind, _, call = format.name[4:].partition("_")
    if kind == "exit":
        code = compiler.number(compiler.field("ret"))
        return compiler.printer("sys_%s -> 0x%%x\n" % call, ["%s & %d" % (code, ULONG_MAX)], in_ns)
    fields = [field for field in format.own_fields if field.name != "__syscall_nr" and field.kind != DYNAMIC]
    shown, codes = "sys_%s(" % call, []
    if not names.syscall_args:
        for field in fields:
            codes.append(compiler.number(field) + (" & %d" % ULONG_MAX if field.signed else ""))
        shown += ", ".join("%s: %%x" % field.name for field in fields)
        return compiler.printer(shown + ")\n", codes, in_ns)
    if call == "openat" and names.syscall_args > 1 and len(fields) == 4:
        return _openat(compiler, fields, in_ns)
    compiler.space.update(user_bytes=_user_bytes, lossy=_until_zero, X=_Arguments())
    for position, field in enumerate(fields):
        shown += "%s%s: %%s" % (", " if position else "", field.name)
        codes.append("X[%s]" % compiler.number(field))
        extra = format.by_name.get("__%s_val" % field.name)
        if extra is None:
            continue
        place = compiler.place(extra)
        raw = compiler.raw(place, place.length)
        if "__print_dynamic_array(%s" % extra.name in format.print_fmt and position + 1 < len(fields):
            shown += " %s"
            codes.append("user_bytes(%s, %s)" % (raw, compiler.number(fields[position + 1])))
        else:
            shown += ' "%s"'
            codes.append("lossy(%s)" % raw)
    return compiler.printer(shown + ")\n", codes, in_ns)


class _Arguments(dict):
    """{argument of a system call: its text}; most come again and again."""

    def __missing__(self, value):
        if len(self) > 4096:
            self.clear()
        text = self[value] = b"%d" % value if 0 <= value < 10 else b"0x%x" % (value & ULONG_MAX)
        return text


def _until_zero(raw):
    return raw.partition(b"\0")[0]


def _user_bytes(raw, size):
    """What write() was given: `(68:69) "hi"`, with dots where it is longer or not printable."""
    size = (size & 0xffffffff) - ((size & 0x80000000) << 1)
    more = len(raw) < size
    shown = bytearray(byte if 32 <= byte < 127 else 46 for byte in bytearray(raw))
    text = b"(" + hex_bytes(raw, b":") + (b", ..." if more else b"") + b")"
    if any(32 <= byte < 127 for byte in bytearray(raw)):
        text += b' "' + bytes(shown) + (b'"...' if more else b'"')
    return text


def _openat(compiler, fields, in_ns):
    """6.19: flags by name, the mode only where a file may be made."""
    pieces = compiler.format.print_fmt.partition("__print_flags(")[2].partition('"|",')[2].partition(")")[0]
    rows = [(node[1][0][1], encode(node[1][1][1])) for node in parse('"", ' + pieces)[1]]
    values = dict((name, mask) for mask, name in rows)
    tmpfile = 0x400000 | values.get(b"O_DIRECTORY", 0x10000)  # include/uapi/asm-generic/fcntl.h __O_TMPFILE
    rows.insert(0, (tmpfile, b"O_TMPFILE"))
    creating = values.get(b"O_CREAT", 0x40) | tmpfile

    from .pointers import print_flags

    def flags(bits, mode):
        bits &= 0xffffffff
        wide = bits | (ULONG_MAX ^ 0xffffffff) if bits >> 31 else bits
        text = b"O_RDONLY" if not bits else (b"" if bits & 3 else b"O_RDONLY|") + print_flags(wide, b"|", rows)
        return text + (b", mode: 0%03o" % (mode & 0xffffffff) if bits & creating else b"")

    compiler.space.update(flags=flags, lossy=_until_zero)
    dfd, name, bits, mode = ["%s & %d" % (compiler.number(field), ULONG_MAX) for field in fields]
    shown, codes = "sys_openat(dfd: %d, filename: %d", [dfd, name]
    extra = compiler.format.by_name.get("__filename_val")
    if extra is not None:
        place = compiler.place(extra)
        shown += ' "%s"'
        codes.append("lossy(%s)" % compiler.raw(place, place.length))
    return compiler.printer(shown + ", flags: %s)\n", codes + ["flags(%s, %s)" % (bits, mode)], in_ns)


# -- the kernel's own --------------------------------------------------------------------------------------------------

def stack_addresses(format):
    """f(page, start, end) -> addresses of a kernel_stack or user_stack record, innermost first; 0x7fffffff stands for
    a trampoline of ftrace (6.10)."""
    field = format.by_name.get("caller")
    if field is None or field.offset % 4:
        raise FormatError("%s has no field `caller`" % format.name)
    offset, most = field.offset, 8 if format.name == "user_stack" else 1 << 13
    ends = (0,) if format.name == "user_stack" else (ULONG_MAX,)

    def addresses(page, start, end):
        count = min(max(end - start - offset, 0) // 8, most)
        found = struct.unpack_from("=%dQ" % count, page, start + offset)
        for at, address in enumerate(found):
            if address in ends:
                return found[:at]
        return found
    return addresses


def _internal(format, names, in_ns):
    head = b"%s %5d.%06d: %s" if in_ns else b"%s %12d: %s"
    maker = {"kernel_stack": _kernel_stack, "user_stack": _user_stack, "print": _print, "bputs": _bputs,
             "raw_data": _raw_data}.get(format.name)
    if maker is None:
        raise FormatError("%s: the kernel's own event, printed in its own way" % format.name)
    body = maker(format, names)
    if in_ns:
        return Printer(lambda H, s, u, b, o, e: head % (H, s, u, body(b, o, e)))
    return Printer(lambda H, s, u, b, o, e: head % (H, s, body(b, o, e)))


def _kernel_stack(format, names):
    addresses, shown = stack_addresses(format), names.functions

    def body(page, start, end):
        lines = [b"<stack trace>"]
        stack = addresses(page, start, end)
        prefetch = getattr(shown, "prefetch", None)
        if prefetch:
            prefetch(stack)
        lines += [b" => " + (b"[FTRACE TRAMPOLINE]" if address == TRAMPOLINE else shown[address]) for address in stack]
        return b"\n".join(lines) + b"\n"
    return body


def _user_stack(format, names):
    addresses, name_of = stack_addresses(format), getattr(names, "user_frames", None)
    tgid = format.by_name.get("tgid")

    def body(page, start, end):
        lines, stack = [b"<user stack trace>"], addresses(page, start, end)
        if name_of is not None and tgid is not None:
            lines += [b" => " + _encode_utf8(text)
                      for text in name_of(struct.unpack_from("=I", page, start + tgid.offset)[0], stack)]
        else:
            lines += [b" =>  <%016x>" % address for address in stack]
        return b"\n".join(lines) + b"\n"
    return body


def _need(format, *fields):
    for name in fields:
        if name not in format.by_name:
            raise FormatError("%s has no field `%s`" % (format.name, name))
    return [format.by_name[name].offset for name in fields]


def _print(format, names):
    ip, buf = _need(format, "ip", "buf")
    take, shown = struct.Struct("=Q").unpack_from, names.functions

    def body(page, start, end):
        return shown[take(page, start + ip)[0]] + b": " + page[start + buf:end].partition(b"\0")[0]
    return body


def _bputs(format, names):
    ip, text = _need(format, "ip", "str")
    take, shown, strings = struct.Struct("=Q").unpack_from, names.functions, names.strings

    def body(page, start, end):
        return shown[take(page, start + ip)[0]] + b": " + strings[take(page, start + text)[0]]
    return body


def _raw_data(format, names):
    number, buf = _need(format, "id", "buf")
    take = struct.Struct("=I").unpack_from

    def body(page, start, end):
        raw = page[start + buf:end]
        return b"# %x buf:" % take(page, start + number)[0] + (b" " + hex_bytes(raw) if raw else b"") + b"\n"
    return body
