"""ftrace's spelling and the limits of its parser.

The limits were tried on kernels 5.10, 6.1, 6.12 and 7.x: one fetch argument has 63 (7.x: 255) characters, 15 operations
(FETCH_INSN_MAX) and, in 7.x, 8 loads; an event 128 arguments and 3072 bytes; a line 4094 characters.
"""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError, InputError
from lbc.expr import probe
from .world import Table, compile_text

TYPES = """
struct n 4096
    0x0 struct n * a
    0x8 struct n * next
    0x678 struct n * far
    0x10 u8 byte
    0x11:1+4 u8 bits
    0x18 u32 [4] four
    0x28 char * text
    0x30 char [16] name
    0x40 char * [2] texts
    0x80 u64 [64] many
    0x1000 u32 end
int f(struct n * p, char * s)
"""
TABLE = Table(TYPES)


def fetch(text, kind="p", **limits):
    return compile_text("%s f v=%s" % (kind, text), TABLE, **limits).fetch[0][1]


def test_hex_until_it_is_too_long():
    assert fetch("p->far->far->far->far->byte") == "+0x10(+0x678(+0x678(+0x678(+0x678(%di))))):u8"
    assert fetch("p" + "->far" * 6 + "->byte") == "+0x10(" + "+0x678(" * 6 + "%di" + ")" * 7 + ":u8"    # 61 characters
    assert fetch("p" + "->far" * 7 + "->byte") == "+16(" + "+1656(" * 7 + "%di" + ")" * 8 + ":u8"       # 69 in hex
    with pytest.raises(ExprError) as caught:
        fetch("p" + "->far" * 8 + "->byte")
    assert "too long for the kernel: 67 characters" in caught.value.what and "takes 63" in caught.value.hint
    assert fetch("p" + "->far" * 8 + "->byte", arg_length=255).startswith("+0x10(+0x678(")


@pytest.mark.parametrize("length", [30, 40, 50, 63, 255])
def test_no_argument_is_longer_than_the_limit(length):
    longest = 0
    for depth in range(1, 14):
        try:
            longest = max(longest, len(fetch("p" + "->next" * depth + "->byte", arg_length=length)))
        except ExprError as error:
            assert "too long" in error.what
    assert length - 9 < longest <= length or length == 255


OPERATIONS = [  # path to repeat, end, loads that fit: what the kernels accepted with the shortest arguments
    ("p", "->byte", 14), ("p", "->bits", 13), ("p", "->four", 13), ("p", "->name", 14), ("p", "->texts", 12),
    ("p", "", 14),
    ("!(struct n *)@x", "->byte", 12), ("!(struct n *)@x", "->bits", 11), ("!(struct n *)@x", "->four", 11),
    ("!(struct n *)@x", "->texts", 10), ("!(struct n *)@0xffffffff81000000", "->byte", 13)]


@pytest.mark.parametrize("source,end,most", OPERATIONS, ids=["%s%s" % row[:2] for row in OPERATIONS])
def test_operations(source, end, most):
    """The length is not in the way here; FETCH_INSN_MAX is."""
    steps = most - (1 if end else 0)
    assert fetch(source + "->a" * steps + end, arg_length=255).count("(") == most
    with pytest.raises(ExprError) as caught:
        fetch(source + "->a" * (steps + 1) + end, arg_length=255)
    assert "%d pointers one behind the other" % (most + 1) in caught.value.what
    assert "at most %d" % most in caught.value.hint


def test_depth():
    assert fetch("p" + "->a" * 7 + "->byte", depth=8).count("(") == 8
    assert fetch("!(struct n *)@x" + "->a" * 7 + "->byte", depth=8).count("(") == 8
    with pytest.raises(ExprError) as caught:
        fetch("p" + "->a" * 8 + "->byte", depth=8)
    assert "at most 8" in caught.value.hint and caught.value.column == 6


def test_signs_and_memory():
    assert fetch("p[-1].byte") == "-0xff0(%di):u8"
    assert fetch("!(struct n)@x.byte") == "@x+0x10:u8" and fetch("!(struct n)@x-16.byte") == "@x:u8"
    assert fetch("!(struct n)@x-32.byte") == "@x-0x10:u8"
    assert fetch("!(struct n)@0xffffffffffffffff.byte") == "@0xf:u8"
    assert compile_text("P x:f v=!(struct n)@+0x4010.byte", TABLE).fetch == [("v", "@+0x4020:u8")]


def test_user_memory_where_the_kernel_cannot_tell_it():
    text = "v=!(struct n __user *)%0->byte w=!(char __user *)%0"
    assert compile_text("p f " + text, TABLE).fetch == [("v", "+u0x10(%di):u8"), ("w", "+0x0(%di):ustring")]
    assert compile_text("p f " + text, TABLE, features=()).fetch == [("v", "+0x10(%di):u8"), ("w", "+0x0(%di):string")]


def test_arguments():
    text = "p f " + " ".join("v%d=%%0" % number for number in range(129))
    with pytest.raises(ExprError) as caught:
        compile_text(text, TABLE)
    assert "more than 128 variables" in caught.value.what and caught.value.column == text.index("v128=")
    assert len(compile_text(text.rpartition(" ")[0], TABLE).fetch) == 128


def test_bytes_of_an_event():
    text = "p f " + " ".join("v%d=p->many" % number for number in range(6))
    assert sum(one.stored for one in compile_text(text, TABLE).fetches) == 3072
    text += " w=p->byte"
    with pytest.raises(ExprError) as caught:
        compile_text(text, TABLE)
    assert "more than 3072 bytes" in caught.value.what and caught.value.column == text.index("p->byte")


def test_a_line():
    # 128 variables of 31 and more characters are more than a line
    text = "p f " + " ".join("a_name_of_one_variable_%03d=p->a" % number for number in range(128))
    with pytest.raises(ExprError) as caught:
        compile_text(text, TABLE)
    assert "a line of more than" in caught.value.what
    compiled = compile_text("p f " + " ".join("a_name_of_one_%03d=p->a" % number for number in range(120)), TABLE)
    line = compiled.definition("f")
    room = 4094 - len(line)
    assert len(compiled.definition("f" * (1 + room))) == 4094
    with pytest.raises(ExprError) as caught:
        compiled.definition("f" * (2 + room))
    assert "a line of 4095 bytes" in caught.value.what


def test_the_name_of_an_event():
    parsed = probe.parse("p f")
    from .world import target
    assert probe.compile_probe(parsed, "x" * 63, None, TABLE, target()).definition("f") == "p:%s f" % ("x" * 63)
    with pytest.raises(InputError):
        probe.compile_probe(parsed, "x" * 64, None, TABLE, target())
