"""Where arguments lie, against what a compiler makes of the same prototypes."""
from __future__ import absolute_import

import os
import re
import subprocess

import pytest

from lbc.expr import calling
from lbc.resolvers import model
from .world import ARM, X86, Table

TYPES = """
struct one 8
    0x0 long a
struct two 16
    0x0 long a
    0x8 long b
struct odd 12
    0x0 int a
    0x4 int b
    0x8 int c
struct three 24
    0x0 long a
    0x8 long b
    0x10 long c
struct mixed 16
    0x0 long a
    0x8 double b
struct point 16
    0x0 double x
    0x8 double y
struct none 0
struct small 3
    0x0 char [3] a
"""
C = """
struct one { long a; }; struct two { long a, b; }; struct odd { int a, b, c; }; struct three { long a, b, c; };
struct mixed { long a; double b; }; struct point { double x, y; }; struct none {}; struct small { char a[3]; };
"""
SIGNATURES = [
    "long %s" % " long ".join(["x,"] * 9).rstrip(","),
    "int x, short y, char z, unsigned char u, bool v, void * w, int s, long t, char q",
    "struct two s, long a, struct two t, long b, struct two u, long c, long d",
    "struct one s, struct odd o, struct small p, long a, long b, long c, long d",
    "struct three s, long a, struct three t, long b",
    "long a, long b, long c, long d, long e, struct two s, long f, long g",
    "long a, long b, long c, long d, long e, long f, long g, struct two s, long h, long i",
    "double x, long a, float y, long b, double z, int c",
    "double a, double b, double c, double d, double e, double f, double g, double h, double i, long j, double k, "
    "long l",
    "__int128 a, long b, __int128 c, long d, __int128 e, long f",
    "long a, __int128 b, long c, __int128 d, long e, __int128 f, long g, long h",
    "struct mixed m, long a, struct point p, long b, struct mixed n, long c",
    "struct none n, long a, struct none o, long b",
    "long a, struct none n, struct two s, double d, long b",
    "long double x, long a, long double y, long b, long c, long d, long e, long f, long g, long h, long double z, "
    "long i",
]


def function(signature):
    table = Table(TYPES)
    params = []
    for param in signature.split(","):
        text, _, name = param.strip().rpartition(" ")
        params.append(model.Param(name, table.type(text)))
    return model.Function("f", params, table.type("long"), "", "", 0)


def compiler(machine):
    """Command of a compiler for this machine."""
    for command in (["gcc"] if machine == os.uname()[4] else [machine + "-linux-gnu-gcc"],
                    ["clang", "--target=%s-linux-gnu" % machine]):
        if any(os.access(folder + "/" + command[0], os.X_OK) for folder in os.environ["PATH"].split(":")):
            return command
    pytest.skip("no compiler for %s is installed" % machine)


def compiled(machine, signature):
    """{number of a parameter that is a number: what a function that returns it is compiled to}"""
    names = ["p%d" % number for number in range(signature.count(",") + 1)]
    params = ", ".join("%s %s" % (param.strip().rpartition(" ")[0], name)
                       for param, name in zip(signature.split(","), names)).replace("bool", "_Bool")
    text = C + "".join("long f%d(%s) { return (long)%s; }\n" % (number, params, name)
                       for number, name in enumerate(names)
                       if not re.match(r" *(struct|float|double|long double|__int128)", signature.split(",")[number]))
    process = subprocess.Popen(compiler(machine) + ["-O2", "-S", "-w", "-x", "c", "-o", "-", "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out = process.communicate(text.encode())[0].decode()
    assert process.returncode == 0
    found = {}
    for number, body in re.findall(r"^f(\d+):(.*?)^\t\.size", out, re.S | re.M):
        found[int(number)] = body
    return found


X86_NAMES = {"di": "rdi edi dil di", "si": "rsi esi sil si", "dx": "rdx edx dl dx", "cx": "rcx ecx cl cx",
    "r8": "r8 r8d r8b r8w",
             "r9": "r9 r9d r9b r9w"}


@pytest.mark.parametrize("arch", [X86, ARM], ids=["x86_64", "aarch64"])
@pytest.mark.parametrize("signature", SIGNATURES, ids=[str(number) for number, _ in enumerate(SIGNATURES)])
def test_as_the_compiler_does(arch, signature):
    bodies = compiled(arch.name, signature)
    found = function(signature)
    assert len(bodies) >= 2
    for number, body in bodies.items():
        place = calling.argument_place(arch, found, number)
        if arch is X86:
            where = re.search(r"(\d+)?\(%rsp\)", body)
            stack = int(where.group(1)) // 8 if where else None
            used = [name for name in X86_NAMES if re.search(r"%%(%s)\b" % X86_NAMES[name].replace(" ", "|"), body)]
        else:
            where = re.search(r"\[sp(?:, #?(\d+))?\]", body)
            stack = int(where.group(1) or 0) // 8 if where else None
            used = re.findall(r"\b[wx](\d)\b", body) if not where else []
            used = ["x" + used[-1]] if used else ["x0"]
        if stack is not None:
            assert (place.kind, place.word) == ("stack", stack), (number, body)
        else:
            assert (place.kind, list(place.regs)) == ("regs", used), (number, body)


def places(arch, signature):
    found = function(signature)
    result = []
    for number, _ in enumerate(found.params):
        place = calling.argument_place(arch, found, number)
        result.append((place.kind, " ".join(place.regs) or place.word))
    return result


def test_structs():
    """System V ABI 3.2.3 and AAPCS64 6.8.2, by hand."""
    assert places(X86, "struct two s, struct one o, struct three t, struct mixed m, struct none n, struct odd d, "
                  "long l") == [
        ("regs", "di si"), ("regs", "dx"), ("stack", 1), ("float", None), ("nothing", None), ("regs", "r8 r9"),
        ("stack", 4)]
    assert places(ARM, "struct two s, struct one o, struct three t, struct point p, struct none n, struct odd d, "
                  "struct two u, long l") == [
        ("regs", "x0 x1"), ("regs", "x2"), ("pointer", "x3"), ("float", None), ("nothing", None), ("regs", "x4 x5"),
        ("regs", "x6 x7"), ("stack", 0)]


def test_packed_structs_go_to_memory():
    table = Table("struct packed 9\n    0x0 char a\n    0x1 long b\n")
    found = model.Function("f", [model.Param("s", table.type("struct packed")), model.Param("a", table.type("long"))],
                           table.type("int"), "", "", 0)
    assert calling.argument_place(X86, found, 0).kind == "stack"
    assert calling.argument_place(X86, found, 1).regs == ("di",)


def test_numbers_of_ftrace():
    """$argN counts registers, then stack words: regs_get_kernel_argument(), arch/x86/include/asm/ptrace.h."""
    found = function("long a, struct two s, long b, long c, long d, long e")
    assert [calling.argument_place(X86, found, number).slot for number in range(6)] == [0, 1, 3, 4, 5, 6]
