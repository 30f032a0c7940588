"""Lines of trace_pipe -> events, and the Event that both readers give.

            bash-2392  [001] d..1.  2375.809655: f0: (wake_up_new_task+0x0/0x280) comm="ba sh" n=-1 a={1,2}

The formats are those of kernel/trace/trace_output.c and trace_probe.c.  A task's name may hold anything (spaces,
brackets, `-1-2`), a string argument too, new lines included.
"""
from __future__ import absolute_import

from .._py23 import iteritems

__all__ = ["Event", "Joiner", "convert_line", "parse_line", "parse_arguments", "lost_line", "place_of"]

STACK, USER_STACK, FRAME = "<stack trace>", "<user stack trace>", " => "
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
MAX_LINES = 1 << 12     # that one event may go on for


class Event(object):
    """One event.  ``time``: seconds of the trace clock (raw units for a clock without); ``task``, ``pid``, ``cpu``,
    ``flags`` (as printed, "" without irq-info); ``name``: the probe or event; ``function``: the probed function (None
    for
    events and for addresses), ``offset``: of the probe in it, or the address; ``caller``: of a return probe, else None;
    ``args``: {name: number, text, list, None for (fault)}, converted values as shown; ``text``: the line (or f() ->
    line, asked once); ``stack``: [text] of the frames, innermost first."""
    __slots__ = ("time", "task", "pid", "cpu", "flags", "name", "function", "offset", "caller", "args", "_text",
                 "stack")

    def __init__(self, time, task, pid, cpu, flags, name, function=None, offset=None, caller=None, args=None, text="",
                 stack=None):
        self.time, self.task, self.pid, self.cpu, self.flags, self.name = time, task, pid, cpu, flags, name
        self.function, self.offset, self.caller = function, offset, caller
        self.args, self._text, self.stack = {} if args is None else args, text, stack or []

    @property
    def text(self):
        """The line as trace_pipe has it."""
        if not isinstance(self._text, str):
            self._text = self._text()
        return self._text

    def as_dict(self):
        """The same as a plain dict, for JSON."""
        return {name.lstrip("_"): getattr(self, name.lstrip("_")) for name in self.__slots__}

    def __repr__(self):
        return "Event(%s %s %r)" % (self.time, self.name, self.args)


# -- columns -----------------------------------------------------------------------------------------------------------

def _head_at(line, dash):
    """(pid, cpu, flags, time text, rest) when `-pid  [cpu] flags time: rest` stands at ``dash``, else None."""
    at, size = dash + 1, len(line)
    while at < size and line[at].isdigit():
        at += 1
    if at == dash + 1 or line[at:at + 1] != " ":
        return None
    pid = line[dash + 1:at]
    while line[at:at + 1] == " ":
        at += 1
    if line[at:at + 1] == "(":  # record-tgid
        at = line.find(")", at) + 1
        if not at:
            return None
        while line[at:at + 1] == " ":
            at += 1
    close = line.find("] ", at)
    if line[at:at + 1] != "[" or close < 0 or not line[at + 1:close].isdigit():
        return None
    cpu, flags = line[at + 1:close], ""
    at = close + 2
    colon = line.find(": ", at)
    if colon < 0:
        if line[-1:] != ":":
            return None
        colon = size - 1
    words = line[at:colon].split()
    if len(words) == 2:
        flags = words.pop(0)
    if len(words) != 1 or not words[0].replace(".", "", 1).isdigit():
        return None
    return int(pid), int(cpu), flags, words[0], line[colon + 2:]


def split_line(line):
    """(task, pid, cpu, flags, time, rest) of a line of text, or None when it does not begin like one."""
    dash = 16 if line[16:17] == "-" else line.find("-")  # the name has 16 columns, unless someone trimmed it
    head = None
    while dash >= 0:
        head = _head_at(line, dash)
        if head is not None:
            break
        dash = line.find("-", 0 if dash == 16 and line.find("-") < 16 else dash + 1)
        if dash == 16:
            dash = line.find("-", 17)
        if dash > 64:
            return None
    if head is None:
        return None
    pid, cpu, flags, time, rest = head
    return line[:dash].strip(" "), pid, cpu, flags, float(time), rest


def lost_line(line):
    """(cpu, count) of `CPU:1 [LOST 123 EVENTS]`, count -1 when it is not said; else None."""
    if not line.startswith("CPU:") or "[LOST " not in line:
        return None
    cpu, _, rest = line[4:].partition(" [LOST ")
    count = rest.partition(" ")[0]
    if not cpu.isdigit():
        return None
    return int(cpu), int(count) if count.isdigit() else -1


# -- arguments ---------------------------------------------------------------------------------------------------------

def _next_name(text, at):
    """(start, end) of the next ` name=` at or behind ``at`` (the space may be the beginning), or None."""
    while True:
        equals = text.find("=", at)
        if equals < 0:
            return None
        start = equals
        while start > 0 and text[start - 1] in _WORD:
            start -= 1
        if start < equals and not text[start].isdigit() and (start == 0 or text[start - 1] in " \t\n,("):
            if text[equals + 1:equals + 2] != "=":
                return start, equals
        at = equals + 1


def _closing(text, at, quote):
    """Position of the quote that ends the string which begins behind ``at``: the first one with an end, a space and a
    name, or a `,` or `}` of an array behind it; -1 where there is none."""
    position = text.find(quote, at + 1)
    while position >= 0:
        after = text[position + 1:position + 2]
        if not after:
            return position
        if after in ",}":
            return position
        if after in " \t\n":
            following = _next_name(text, position + 1)
            if following is None or not text[position + 1:following[0]].strip():
                return position
        position = text.find(quote, position + 1)
    return -1


def _number(text):
    """The number that ``text`` is (decimal, or hexadecimal with 0x), else ``text``."""
    digits = text[1:] if text[:1] == "-" else text
    if digits.isdigit() and (digits[0] != "0" or len(digits) == 1):
        return int(text)
    if digits[:2] == "0x":
        try:
            return int(text, 16)
        except ValueError:
            pass
    return text


def _plain(text):
    if text == "(fault)":
        return None
    if text.endswith(" ==>"):  # sched_switch
        text = text[:-4]
    number, space, unit = text.partition(" ")
    if space and unit[:1] == "[" and unit[-1:] == "]" and _number(number) is not number:  # delay=87 [ns]
        return _number(number)
    return _number(text)


def _array(text):
    """[values] of the inside of `{...}`."""
    values, at = [], 0
    while at < len(text):
        if text[at] == '"':
            end = text.find('",', at + 1)
            end = len(text) - 1 if end < 0 else end
            values.append(text[at + 1:end])
            at = end + 2
        elif text[at] == "'" and text[at + 2:at + 3] == "'":
            values.append(text[at + 1])
            at += 4
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            values.append(_plain(text[at:end]))
            at = end + 1
    return values


def spans(text, order=None):
    """[(name, start, end, kind)] of the values in ` name=value ...`; kind: '"' a string, "'" a character, "{" an array,
    "" anything else.  Quotes and braces are inside of the span.  ``order``: the names of a probe's variables, where
    they are known: a string that looks like other variables is then no riddle."""
    found = []
    if order:
        found = _known_spans(text, order)
        if found is not None:
            return found
        found = []
    place = _next_name(text, 0)
    while place is not None:
        name, start = text[place[0]:place[1]], place[1] + 1
        first, end = text[start:start + 1], -1
        if first == '"':
            end = _closing(text, start, '"') + 1
        elif first == "'" and text[start + 2:start + 3] == "'":
            end = start + 3
        elif first == "{":
            end = start + 1
            while text[end:end + 1] == '"':
                end = _closing(text, end, '"') + 1
                if not end or text[end:end + 1] != ",":
                    break
                end += 1
            end = text.find("}", end) + 1 if end else 0
        kind = first if end > start else ""
        if not kind:
            following = _next_name(text, start)
            end = following[0] if following else len(text)
            while end > start and text[end - 1] in " \t\n,(":
                end -= 1
        found.append((name, start, end, kind))
        place = _next_name(text, max(end, start))
    return found


def _known_spans(text, order):
    """spans() of exactly the variables ``order``; None where the text does not have them."""
    found, at = [], 0
    for number, name in enumerate(order):
        head = " %s=" % name
        if not text.startswith(head, at):
            return None
        start = at + len(head)
        if number + 1 < len(order):
            after = " %s=" % order[number + 1]
            first = text[start:start + 1]
            needle = (first if first in ("\"", "'") else "}" if first == "{" else "") + after
            end = text.find(needle, start + (first == '"'))
            if end < 0:
                return None
            end += len(needle) - len(after)
        else:
            end = len(text)
        first, last = text[start:start + 1], text[end - 1:end]
        kind = first if end - start > 1 and last == {"{": "}"}.get(first, first) and first in ("\"", "'", "{") else ""
        found.append((name, start, end, kind))
        at = end
    return found


def parse_arguments(text, order=None):
    """{name: value} of the part of a line behind the place: numbers, texts, lists, None for (fault)."""
    args = {}
    for name, start, end, kind in spans(text, order):
        if kind == "{":
            args[name] = _array(text[start + 1:end - 1])
        elif kind:
            args[name] = text[start + 1:end - 1]
        else:
            args[name] = _plain(text[start:end])
    return args


def place_of(text):
    """(function, offset) of `f+0x79/0xd0 [m]` or `0x4005bd`."""
    if text[:2] == "0x":
        number = _number(text)
        return (None, number) if number is not text else (text, None)
    name, plus, rest = text.partition("+0x")
    if not plus:
        return text.partition(" [")[0], None
    try:
        return name, int(rest.partition("/")[0].partition(" ")[0], 16)
    except ValueError:
        return text, None


def _system_call(event, rest):
    """System calls have no name of their event: `sys_close(fd: 3)`, `sys_close -> 0x0`."""
    call = rest.partition("(")[0].partition(" ")[0]
    if " -> " in rest:
        event.name, event.args = "sys_exit_" + call[4:], {"ret": _number(rest.partition(" -> ")[2])}
        return
    event.name = "sys_enter_" + call[4:]
    base = 10 if "flags: O_" in rest else 16  # openat since 6.19
    for part in rest.partition("(")[2].rstrip(")").split(", "):
        name, colon, value = part.partition(": ")
        if colon:
            try:
                event.args[name] = int(value.partition(" ")[0], base)
            except ValueError:
                event.args[name] = value


def parse_line(line, orders=None):
    """Event of one line of trace_pipe (native text, without its new line), None when it is none: a line of a stack, of
    lost events, or the second line of a string.  ``orders``: {event: [variables]} of probes, where known."""
    head = split_line(line)
    if head is None:
        return None
    task, pid, cpu, flags, time, rest = head
    event = Event(time, task, pid, cpu, flags, "", text=line)
    name, colon, body = rest.partition(": ")
    if not colon and rest[-1:] == ":":
        name, body = rest[:-1], ""
    if rest.startswith((STACK, USER_STACK)):
        event.name = "user_stack" if rest.startswith(USER_STACK) else "kernel_stack"
    elif rest.startswith("sys_") and ("(" in name or " -> " in rest and not colon):
        _system_call(event, rest)
    else:
        event.name = name
        if body[:1] == "(" and (")" in body):
            where, _, arguments = body[1:].partition(")")
            caller, arrow, function = where.partition(" <- ")
            event.function, event.offset = place_of(function if arrow else where)
            if arrow:
                event.caller = caller
                if event.function:
                    event.offset = 0
            event.args = parse_arguments(arguments, orders.get(name) if orders else None)
        else:
            event.args = parse_arguments(body)
    return event


def convert_line(line, converters, orders=None):
    """``line`` with the values of the variables in ``converters`` ({event name: {variable: f}}) converted."""
    head = split_line(line)
    if head is None:
        return line
    rest = head[5]
    name, colon, body = rest.partition(": ")
    mine = converters.get(name)
    if not mine or not colon:
        return line
    start = len(line) - len(body)
    if body[:1] == "(":
        start += body.find(")") + 1
        body = line[start:]
    out, done = [line[:start]], 0
    for variable, begin, end, kind in spans(body, orders.get(name) if orders else None):
        convert = mine.get(variable)
        if convert is None or kind not in ("", "{"):
            continue
        value = _array(body[begin + 1:end - 1]) if kind else _plain(body[begin:end])
        values = value if kind else [value]
        if any(value is None or isinstance(value, str) for value in values):
            continue
        out += [body[done:begin], convert(value)]
        done = end
    out.append(body[done:])
    return "".join(out)


class Joiner(object):
    """Puts together what stands in several lines: stacks, and strings with new lines.  Each CPU's last event is held
    until its next one comes, since its stack follows it."""

    def __init__(self, converters=None, orders=None):
        self.converters = {name: row for name, row in iteritems(converters or {}) if row}
        self.orders = orders or {}
        self.held, self.last, self.in_stack, self.lost, self.count = {}, None, False, [], 0

    def feed(self, line):
        """[Event] that are complete now that ``line`` has come."""
        if self.in_stack and line.startswith((" => ", " =>")):
            if self.last is not None:
                self.last.stack.append(line[3:].strip())
            return []
        lost = lost_line(line)
        if lost is not None:
            self.lost.append(lost)
            return []
        if self.converters:
            line = convert_line(line, self.converters, self.orders)
        event = parse_line(line, self.orders)
        if event is None:
            return self._more(line)
        self.count = 0
        self.in_stack = event.name in ("kernel_stack", "user_stack") and not event.args
        if self.in_stack:
            owner = self.held.get(event.cpu)
            self.last = owner if owner is not None and owner.pid == event.pid else None
            return []
        return self.add(event)

    def add(self, event):
        """The same for an event that is whole."""
        before = self.held.get(event.cpu)
        self.held[event.cpu] = self.last = event
        return [before] if before is not None else []

    def _more(self, line):
        """A line in a string: the event is parsed again with it."""
        event = self.last
        if event is None or self.in_stack or self.held.get(event.cpu) is not event or self.count >= MAX_LINES:
            return []
        self.count += 1
        whole = parse_line(event.text + "\n" + line, self.orders)
        if whole is not None:
            event._text, event.args = whole.text, whole.args
        return []

    def flush(self):
        """[Event] that are still held, in order of time."""
        events = sorted(self.held.values(), key=lambda event: event.time)
        self.held, self.last, self.in_stack = {}, None, False
        return events
