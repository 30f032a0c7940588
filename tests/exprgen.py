"""Random trace expressions over real prototypes and types, for trying them on real kernels and for fuzzing.

Most look right and use what the types offer: nested members, arrays, bit-fields, casts, formats, container_of, packets,
return values, conversions, filters; some are wrong in one place, as a person's would be.
"""
from __future__ import absolute_import

import random

from lbc.resolvers import model

__all__ = ["expressions"]

WRONG = 0.08
PREFIXES = {1: [], 2: ["b16_", "B16_"], 4: ["ip_", "b32_", "B32_"], 8: ["b64_", "B64_"], 16: ["ip6_"]}
HEADERS = (("iphdr", "l3", "protocol saddr daddr tot_len ihl version ttl"), ("iphdr", "l2", "saddr id check"),
           ("tcphdr", "l3", "source dest syn ack seq doff window"), ("tcphdr", "l4", "source fin"),
           ("udphdr", "l3", "source dest len"), ("icmphdr", "l3", "type code un.echo.id"), ("ethhdr", "l2", "h_proto"),
           ("iphdr", "", "saddr"), ("udphdr", "l2", "dest"), ("ipv6hdr", "l3", "saddr daddr nexthdr"))
CASTS = ("u8", "u16", "s32", "u32", "u64", "long", "unsigned int", "void *", "char *", "u32 *", "unsigned char *",
         "char [16]", "struct file *", "struct task_struct *", "struct page *", "struct sk_buff *", "char __user *",
         "struct inode*", "const struct dentry *", "char **", "pid_t", "bool", "u8 [4]", "struct list_head *")
GLOBALS = ("jiffies", "init_task", "nr_threads", "linux_banner", "total_forks", "system_state", "jiffies_64")
REGISTERS = {"x86_64": "di si dx cx r8 r9 ax bx sp ip r12".split(), "aarch64": "x0 x1 x2 x7 x19 sp pc".split()}


def expressions(resolver, functions, count, seed, machine="x86_64", args=5, wrong=WRONG):
    """``count`` texts.  ``functions``: [model.Function]; ``args``: at most so many variables in each; ``wrong``: which
    part gets an error on purpose."""
    rng = random.Random(seed)
    maker = _Maker(rng, resolver, machine)
    for _ in range(count):
        text = maker.expression(rng.choice(functions), args)
        yield _spoil(rng, text) if rng.random() < wrong else text


def _spoil(rng, text):
    """One mistake."""
    at = rng.randrange(len(text))
    how = rng.randrange(6)
    if how == 0:
        return text[:at] + text[at + 1:]
    if how == 1:
        return text[:at] + rng.choice("()[]->.%$@!*&X0:f= \"'") + text[at:]
    if how == 2:
        return text.replace("->", ".", 1) if "->" in text else text.replace(".", "->", 1)
    if how == 3:
        return text[:at]
    if how == 4:
        return text + " " + rng.choice(["x=%99", "common_pid=%0", "y=$retval->x", "z=@(struct iphdr *)l7%0",
            "f:nosuch==1",
                                        "a=%0 a=%0", "q=%%0", "w=!(struct nosuch *)%0->x"])
    words = text.split()
    word = rng.randrange(len(words))
    words[word] = words[word][:-1] + rng.choice("xyz_0")
    return " ".join(words)


class _Maker(object):
    def __init__(self, rng, resolver, machine):
        self.rng, self.resolver, self.machine = rng, resolver, machine
        self.seen = []          # records that were met, for casts and container_of
        self.uses = {}          # text of a type -> [(record text, member)] that hold one

    def expression(self, function, most):
        rng = self.rng
        kind = "r" if rng.random() < 0.15 and not isinstance(model.strip(function.ret), model.Void) else "p"
        names, words = [], [kind, function.name]
        if kind == "p" and rng.random() < 0.03:
            words[1] += rng.choice(["+0x0", "+0", "+4"])
        for number in range(rng.randint(1, most)):
            text, found = self.value(kind, function)
            if not text:
                continue
            name = rng.choice(["v%d", "v%d_", "Var%d", "a_long_name_of_one_variable_%d"]) % number
            prefixes = PREFIXES.get(getattr(found, "size", None) or 0) if found is not None else None
            if prefixes and rng.random() < 0.2:
                name = rng.choice(prefixes) + name[:8]
            letter = rng.choice(["", "", "", "S", "U", "X", "X"])
            words.append("%s=%s%s" % (name, letter, text))
            names.append((name, found))
        if rng.random() < 0.3:
            words.append("f:" + self.condition(names))
        return " ".join(words)

    # -- values --------------------------------------------------------------------------------------------------------

    def value(self, kind, function):
        """(text, type or None)"""
        rng = self.rng
        chance = rng.random()
        if chance < 0.04:
            return rng.choice([("$comm", None), ("$stack%d" % rng.randrange(9), None), ("$stack", None)])
        if chance < 0.09:
            return "%" + rng.choice(REGISTERS[self.machine]), None
        if chance < 0.13:
            name = rng.choice(GLOBALS)
            return rng.choice(["@%s", "!(u32)@%s", "!(struct list_head)@%s.next", "!(struct task_struct)@%s.comm",
                               "@%s+8", "!(char [16])@%s"]) % name, None
        if chance < 0.18:
            register = rng.choice(REGISTERS[self.machine])
            found = self.resolver.record("struct", rng.choice(["file", "task_struct", "inode", "sock", "page"]))
            if found is not None:
                return self.walk("!(%s *)%%%s" % (found.text, register), model.Pointer(found))
        if kind == "r":
            return self.walk("$retval", function.ret)
        if not function.params:
            return "%di" if self.machine == "x86_64" else "%x0", None
        number = rng.randrange(len(function.params))
        param = function.params[number]
        text = param.name if param.name and rng.random() < 0.3 else "%%%d" % number
        target = model.strip(param.type)
        if isinstance(target, model.Pointer):
            record = model.strip(target.target)
            if isinstance(record, model.Record) and record.name == "sk_buff" and rng.random() < 0.5:
                return self.packet(text)
        return self.walk(text, param.type)

    def packet(self, text):
        rng = self.rng
        header, layer, members = rng.choice(HEADERS)
        member = rng.choice(members.split() + ["cdata[%d]", "sdata[%d]", "ldata[%d]", "qdata[%d]", "Sdata"])
        if "%d" in member:
            member %= rng.randrange(20)
        found = self.resolver.record("struct", header)
        kind = None
        if found is not None:
            kind = dict((one.name, one.type) for one in found.members).get(member)
        return "@(struct %s *)%s%s->%s" % (header, layer, text, member), kind

    def walk(self, text, found):
        """A path that begins at ``text`` of type ``found``."""
        rng = self.rng
        for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 5, 7, 9])):
            kind = model.strip(found)
            if isinstance(kind, model.Pointer):
                target = model.strip(kind.target)
                if isinstance(target, model.Record):
                    if rng.random() < 0.04:
                        text = "container_of(%s, %s, %s)" % ((text,) + self.container(target))
                        return self.end_of_container(text)
                    chosen = self.member(target)
                    if chosen is None:
                        break
                    cast = ""
                    if rng.random() < 0.04:
                        cast = rng.choice(CASTS)
                    text += "->%s%s" % ("!(%s)" % cast if cast else "", chosen.name)
                    found = chosen.type
                    if cast:
                        return text, None
                elif isinstance(target, (model.Void, model.FuncType)):
                    break
                elif rng.random() < 0.5:
                    text, found = "%s[%d]" % (text, rng.choice([0, 0, 1, 2, 15])), kind.target
                else:
                    text, found = "(*%s)" % text, kind.target
            elif isinstance(kind, model.Record):
                chosen = self.member(kind)
                if chosen is None:
                    break
                text, found = "%s.%s" % (text, chosen.name), chosen.type
            elif isinstance(kind, model.Array) and rng.random() < 0.7:
                text = "%s[%d]" % (text, rng.randrange(kind.count) if kind.count else rng.randrange(3))
                found = kind.element
            else:
                break
        chance = rng.random()
        if chance < 0.04 and text[-1] not in ")%":
            return "&" + text, None
        if chance < 0.06:
            return "(%s)%s" % (rng.choice(CASTS), text), None
        return text, found

    def member(self, record):
        """A random member of ``record``, None when it has none; remembers what it saw."""
        if record.size is None and record.name:
            record = self.resolver.record(record.keyword, record.name) or record
        names = model.member_names(record)
        if not names:
            return None
        found = model.find_member(record, self.rng.choice(names))
        if record.name and len(self.seen) < 500:
            self.seen.append((record, found))
        return found

    def container(self, target):
        """(type text, member) of some record, of the right member where one was seen."""
        right = [(record.text, member.name) for record, member in self.seen
                 if model.strip(member.type) is target and not member.bit_size]
        if right and self.rng.random() < 0.8:
            return self.rng.choice(right)
        record, member = self.rng.choice(self.seen) if self.seen else (target, self.member(target))
        return record.text, member.name if member else "nothing"

    def end_of_container(self, text):
        name = text[:text.rindex(",")].rpartition(", ")[2]
        keyword, _, name = name.partition(" ")
        record = self.resolver.record(keyword, name)
        if record is None or self.rng.random() < 0.2:
            return text, None
        return self.walk(text, model.Pointer(record))

    # -- filters -------------------------------------------------------------------------------------------------------

    def condition(self, names):
        rng = self.rng
        terms = [self.term(names) for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 5]))]
        text = terms[0]
        for term in terms[1:]:
            blank = rng.choice(["", " "])
            text += blank + rng.choice(["&&", "||"]) + blank + term
            if rng.random() < 0.3:
                text = rng.choice(["(%s)", "!(%s)", "( %s )"]) % text
        return text

    def term(self, names):
        rng = self.rng
        if not names or rng.random() < 0.25:
            return rng.choice(["common_pid==%d" % rng.randrange(40000), "common_pid != 1", "CPU==0", "cpu<2",
                "COMM==\"bash\"",
                               "COMM ~ \"*sh\"", "common_flags&0x1", "common_type>10", "common_preempt_count==0",
                               "!(common_pid<=0x10)", "COMM!='a b|c&(d)'", "comm==python3", "__probe_ip!=0"])
        name, found = rng.choice(names)
        kind = model.strip(found) if found is not None else None
        op = rng.choice(["==", "!=", "<", "<=", ">", ">=", "&"])
        is_text = isinstance(kind, model.Pointer) and model.strip(kind.target).text == "char" or \
            isinstance(kind, model.Array) and model.strip(kind.element).text == "char"
        if is_text:
            return "%s%s%s" % (name, rng.choice(["==", "!=", "~", " ~ "]),
                               rng.choice(['"bash"', "'a b'", "py*", '"*x?[a-c]"', '"|&()"', '"a"']))
        if name.startswith("ip_"):
            return "%s%s%s" % (name, rng.choice(["==", "!=", "&", "=="]), rng.choice(["127.0.0.1", "255.255.255.255",
                "0x1"]))
        values = getattr(kind, "values", None)
        if values and rng.random() < 0.7:
            return "%s%s%s" % (name, op, rng.choice(sorted(values.values())))
        return "%s%s%s" % (name, op, rng.choice(["0", "1", "-1", "0xff", "255", "256", "70000", "0x7fffffff",
            "4294967295",
                                                 "0xffff888000000000", "-2147483648", "18446744073709551615", "010"]))
