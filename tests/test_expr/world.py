"""A type source from a table in a text, so that a test says itself at which offset a member lies.

    struct task_struct 9664
        0xae0 char [16] comm
        0x850 struct mm_struct * mm
        0x10:4+3 unsigned int flag          a bit-field: byte 0x10, first bit 4, 3 bits
        0x20 struct 8                       an anonymous struct of 8 bytes; its members follow, further in
            0x0 u32 inner
    typedef pid_t int
    enum pid_type 4 unsigned PIDTYPE_PID=0 PIDTYPE_TGID=1
    var jiffies unsigned long
    void wake_up_new_task(struct task_struct * p)
"""
from __future__ import absolute_import

from lbc.expr import probe
from lbc.resolvers import base, model
from lbc.uapi import arch

X86, ARM = arch.ARCHES["x86_64"], arch.ARCHES["aarch64"]
ALL = probe.FEATURES + ("filter-function",)


class Table(base.Resolver):
    """Resolver of one table."""
    where = "the table"

    def __init__(self, text):
        self.records, self.typedefs, self.enums, self.variables, self.prototypes = {}, {}, {}, {}, {}
        stack = []
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            depth = len(line) - len(line.lstrip())
            while stack and stack[-1][0] >= depth:
                stack.pop()
            if stack:
                self._member(stack, depth, words)
            elif "(" in line:
                self._prototype(line)
            elif words[0] in ("struct", "union"):
                rows = []
                size = int(words[2], 0) if len(words) > 2 else None
                self.records[words[0], words[1]] = model.Record(words[0], words[1], size, self._reader(rows))
                stack.append((depth, rows))
            elif words[0] == "typedef":
                self.typedefs[words[1]] = " ".join(words[2:])
            elif words[0] == "enum":
                pairs = [word.split("=") for word in words[4:]]
                self.enums[words[1]] = model.Scalar("enum " + words[1], int(words[2]), words[3] == "signed", "enum",
                                                    dict((int(number, 0), name) for name, number in pairs))
            elif words[0] == "var":
                self.variables[words[1]] = " ".join(words[2:])
            else:
                raise ValueError(line)

    def _prototype(self, line):
        depth, at = 1, len(line.rstrip()) - 2
        while depth:
            depth += {")": 1, "(": -1}.get(line[at], 0)
            at -= 1
        head = line[:at + 1]
        name = head.split()[-1].lstrip("*")
        self.prototypes[name] = (head[:head.rindex(name)], line[at + 2:].rstrip()[:-1])

    def _member(self, stack, depth, words):
        place, bits = words[0], 0
        if ":" in place:
            place, _, rest = place.partition(":")
            first, _, width = rest.partition("+")
            start, bits = 8 * int(place, 0) + int(first), int(width)
        else:
            start = 8 * int(place, 0)
        if words[1] in ("struct", "union") and len(words) in (3, 4) and words[2].isdigit():
            rows = []
            found = model.Record(words[1], "", int(words[2]), self._reader(rows))
            stack[-1][1].append((words[3] if len(words) > 3 else "", found, start, bits))
            stack.append((depth, rows))
        else:
            stack[-1][1].append((words[-1], " ".join(words[1:-1]), start, bits))

    def _reader(self, rows):
        """Types are read when the members are asked for."""
        return lambda: [model.Member(name, self.type(found) if isinstance(found, str) else found, start, bits)
                        for name, found, start, bits in rows]

    def record(self, keyword, name):
        return self.records.get((keyword, name))

    def enum(self, name):
        return self.enums.get(name)

    def named(self, name):
        text = self.typedefs.get(name)
        return model.Typedef(name, lambda: self.type(text)) if text else None

    def variable(self, name):
        return self.type(self.variables[name]) if name in self.variables else None

    def functions(self, name, module=None):
        if name not in self.prototypes:
            return []
        ret, params = self.prototypes[name]
        rows = []
        for param in params.split(", "):
            text, _, word = param.strip().rpartition(" ")
            if word == "...":
                rows.append(model.Param("", model.Variadic()))
            elif text:
                rows.append(model.Param(word, self.type(text)))
        return [model.Function(name, rows, self.type(ret), "", "", 0)]


def target(machine=X86, user=False, fields=None, features=ALL, **limits):
    """probe.Target"""
    return probe.Target(machine, user, fields, probe.Limits(**limits), features)


def compile_text(text, table, machine=X86, fields=None, features=ALL, name=None, **limits):
    """Compiled of an expression, over a Table; the prototype is the table's."""
    parsed = probe.parse(text)
    found = table.functions(parsed.symbol.name) if parsed.kind != "e" else []
    return probe.compile_probe(parsed, name or ("f0" if parsed.kind in "pr" else parsed.kind.lower() + "0"),
                               found[0] if found else None, table,
                               target(machine, parsed.user, fields, features, **limits))
