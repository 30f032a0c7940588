"""Random and damaged trace expressions: Compiled or LbcError, in bounded time, and nothing over the kernel's limits."""
from __future__ import absolute_import

import os
import random
import time

from lbc.errors import ExprError, LbcError
from lbc.expr import probe, values
from lbc.resolvers import model
from tests import exprgen
from tests.test_expr.test_checker import OTHERS, TYPES, VALUES, rows
from tests.test_expr.test_filters import VARIABLES
from tests.test_expr.test_parser import ERRORS
from tests.test_expr.world import ARM, X86, Table, target

ROUNDS = 2000 if os.environ.get("LBC_TEST_LESS") else 20000
TABLE = Table(TYPES + "struct file 256\n    0x68 long f_pos\nstruct task_struct 4096\n    0xae0 char [16] comm\n"
              "struct inode 64\n    0x0 unsigned short i_mode\n    0x8 struct node i_list\n")
FUNCTIONS = [TABLE.functions(name)[0] for name in sorted(TABLE.prototypes)]
ALPHABET = "%$@!*&()[]->.=+,:#'\"|<>~ 0123456789abcdefxlpSUXrRPef\t"
PIECES = ["->", "%0", "$retval", "$comm", "@x", "!(struct task *)", "(u64)", "f:", "common_pid==1", "container_of(",
    "&&", "||",
          "struct ", " x=", "ip_a=", "[0]", "0xffffffffffffffff", "*", "&", "-1", "''", "\"", "\\", "\xff", "\0",
          "l3", "@(struct iphdr *)"]


def seeds():
    """Valid expressions, and those with errors that are known."""
    texts = ["p f a=%s b=%s" % (text, text) for text, _ in rows(VALUES)]
    for text, _ in rows(OTHERS):
        function, kind, value = text.split(None, 2)
        texts.append("%s %s v=%s f:v==1 && !(common_pid != 0)" % (kind, function, value))
    texts += [row[0] for row in ERRORS if len(row[0]) < 200]
    texts.append("p f " + VARIABLES.replace("=t->", "=%0->") + " f:comm==bash&&(n==1||ip_a==1.2.3.4)")
    texts += ["P bash:readline f:common_pid==1", "e sched/sched_switch f:prev_pid!=0 && prev_comm~\"a*\"",
              "R libc:malloc@GLIBC_2.2.5 p=X$retval", "p ext4:ext4_sync_fs+0x10 w=%1"]
    return texts


def mutate(rng, text, others):
    """One to four edits."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(7)
        if how == 0:
            text = text[:at] + text[at + rng.randint(1, 4):]
        elif how == 1:
            text = text[:at] + rng.choice(ALPHABET) + text[at:]
        elif how == 2:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif how == 3:
            other = rng.choice(others)
            text = text[:at] + other[rng.randrange(len(other) + 1):]
        elif how == 4:
            end = min(len(text), at + rng.randint(1, 12))
            text = text[:at] + text[at:end] * rng.choice([2, 2, 3, 40]) + text[end:]
        elif how == 5 and at < len(text):
            text = text[:at] + chr(rng.randrange(1, 127)) + text[at + 1:]
        else:
            text = text[:at]
    return text[:5000]


class Field(object):
    """A field of an event."""

    def __init__(self, name, text, size, signed=False, is_string=False):
        self.name, self.type, self.size, self.signed, self.is_string = name, text, size, signed, is_string


FIELDS = {field.name: field for field in [Field("prev_pid", "pid_t", 4, True), Field("prev_comm", "char[16]", 16,
    False, True),
                                          Field("mask", "__data_loc cpumask_t", 4)]}


def check(text, machine=X86, limits=None):
    """Compile it; what comes out has to fit into the kernel's limits.  True when it compiles."""
    try:
        parsed = probe.parse(text)
        found = TABLE.functions(parsed.symbol.name)
        aim = target(machine, parsed.user, FIELDS, **(limits or {}))
        compiled = probe.compile_probe(parsed, "f0", found[0] if found else None, TABLE, aim)
        line = compiled.definition("vfs_read") if parsed.kind != "e" else ""
    except LbcError as error:
        if isinstance(error, ExprError):
            assert 0 <= error.column <= len(error.text)
            str(error)
        return False
    assert len(line) <= 4094 and len(compiled.filter) < 4095
    names = [name for name, _ in compiled.fetch]
    assert len(set(names)) == len(names) <= 128
    for name, spelled in compiled.fetch:
        assert len(name) <= 32 and 0 < len(spelled) <= aim.limits.arg_length, spelled
        assert spelled.count("(") == spelled.count(")") <= aim.limits.depth
        assert not set(spelled) - set("+-%$@():[]/_.,") - set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), spelled
    assert sum(one.stored for one in compiled.fetches) <= 3072
    for converter in compiled.converters.values():
        for number in (0, 1, -1, 1 << 63, (1 << 64) - 1):
            assert values.convert_text(converter, "%d" % number)
            assert values.convert_text(converter, "{%s}" % ",".join(["%d" % number] * 16))
    return True


def test_damaged_expressions():
    rng = random.Random(7)
    texts, good, slowest = seeds(), 0, 0
    for text in texts:
        check(text)
    for _ in range(ROUNDS):
        text = mutate(rng, rng.choice(texts), texts)
        begin = time.time()
        good += check(text, rng.choice([X86, ARM]), rng.choice([None, {"arg_length": 255, "depth": 8}]))
        slowest = max(slowest, time.time() - begin)
    assert ROUNDS * 0.02 < good < ROUNDS * 0.9
    assert slowest < 2, "seconds for one expression"


def test_random_text():
    rng = random.Random(8)
    for _ in range(ROUNDS // 2):
        text = rng.choice(["p f ", "p f x=", "r f x=", "p f x=%0 f:", "e a/b f:", "", "P x:f x="]) + "".join(
            rng.choice([rng.choice(ALPHABET), rng.choice(PIECES)]) for _ in range(rng.randrange(30)))
        check(text)


def test_generated_expressions():
    good = 0
    count = ROUNDS // 4
    for number, text in enumerate(exprgen.expressions(TABLE, FUNCTIONS, count, 9)):
        good += check(text, [X86, ARM][number % 2])
    assert good > count * 0.5


def test_extremes():
    """Long, deep and repeated things end soon."""
    begin = time.time()
    for text in ["p f x=" + "(" * 30000, "p f x=" + "*" * 30000, "p f x=%0" + "->parent" * 8000,
    "p f x=%0" + "[0]" * 20000,
                 "p f x=" + "!(u64)" * 8000 + "%0", "p f f:" + "(" * 30000, "p f f:" + "!" * 30000 + "CPU==1",
                 "p f f:" + "CPU==1||" * 8000, "p f " + "x=%0 " * 8000, "p f x=" + "container_of(" * 4000,
                 "p f " + " " * 60000,
                 "p f x=!(" + "struct " * 8000 + ")%0", "p f x=!(u64" + "*" * 30000 + ")%0", "p f x=&" * 9000,
                 "p f x=" + "&*" * 15 + "%0->pid", "p f x=%" + "9" * 60000, "p f x=@" + "a" * 60000, "p " + "f" * 60000,
                 "p f " + "x" * 60000 + "=%0", "p f x=%0 f:COMM==\"" + "a" * 60000,
                 "p f f:CPU&CPUS{" + "1," * 20000 + "1}"]:
        check(text)
    assert time.time() - begin < 20


def test_types_that_never_end():
    """A struct whose only member is its own kind is refused, not followed for ever."""
    rows = []
    endless = model.Record("struct", "endless", 8, rows)
    rows.append(model.Member("again", endless, 0, 0))
    function = model.Function("f", [model.Param("p", model.Pointer(endless))], model.Void(), "", "", 0)
    parsed = probe.parse("p f x=%0->again")
    try:
        probe.compile_probe(parsed, "f0", function, TABLE, target())
        raise AssertionError("compiled")
    except LbcError:
        pass
