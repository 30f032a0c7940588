"""Syntax: what texts mean, and where the caret stands when they mean nothing."""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError
from lbc.expr import nodes, parser


def show(node):
    """A value in a notation with all its parentheses."""
    kind = type(node).__name__
    if kind == "Path":
        text = show(node.source)
        for step in node.steps:
            if step.kind == "[":
                text = "(%s[%d])" % (text, step.what)
            else:
                text = "(%s%s%s%s)" % (text, step.kind, "<%s>" % step.cast.text if step.cast else "", step.what)
        return text
    if kind == "Cast":
        return "<%s>%s" % (node.type.text, show(node.operand))
    if kind == "Packet":
        return "packet<%s,%s>%s" % (node.type.text, node.layer, show(node.operand))
    if kind == "Deref":
        return "*" + show(node.operand)
    if kind == "AddressOf":
        return "&" + show(node.operand)
    if kind == "ContainerOf":
        return "container(%s,%s,%s)" % (show(node.operand), node.type.text, "".join(
            "[%d]" % step.what if step.kind == "[" else "." + step.what for step in node.steps))
    if kind == "Variable":
        return "$" + node.name + ("" if node.number is None else str(node.number))
    if kind == "Global":
        return "@%s%+d" % (node.name, node.offset)
    if kind == "Address":
        return "@%s0x%x" % ("+" if node.file else "", node.number)
    return {"Argument": "arg%s", "Register": "%%%s", "Param": "%s"}[kind] % getattr(node, node.__slots__[0])


def args(text):
    return [(arg.name, arg.letter, show(arg.value)) for arg in parser.parse("p f " + text).args]


VALUES = {
    "%0": "arg0", "%12": "arg12", "%di": "%di", "%x0": "%x0", "$retval": "$retval", "$comm": "$comm",
    "$stack": "$stack",
    "$stack12": "$stack12", "$arg1": "arg0", "@jiffies": "@jiffies+0", "@key.12": "@key.12+0", "@t+8": "@t+8",
    "@t-0x8": "@t-8", "@0xffffffff81000000": "@0xffffffff81000000", "@+0x40": "@+0x40", "file": "file",
    "%0->a.b[2]->c": "((((arg0->a).b)[2])->c)", "p[-1]": "(p[-1])", "%0->a[1][2]": "(((arg0->a)[1])[2])",
    "!(struct file*)%ax->f_pos": "(<struct file*>%ax->f_pos)",          # `!` takes what directly follows it
    "(struct file *)%0->f": "<struct file *>(arg0->f)",                 # C
    "((struct file *)%0->f)->g": "(<struct file *>(arg0->f)->g)",
    "(u64)%ax": "<u64>%ax", "(a)->b": "(a->b)", "(a).b": "(a.b)", "(foo *)*p": "<foo *>*p", "(file)": "file",
    "(unsigned long)p": "<unsigned long>p", "(u8)(p)": "<u8>p", "(u8 *)&x": "<u8 *>&x",
    "%0->!(struct x *)private->y": "((arg0-><struct x *>private)->y)", "p.!(u8)a": "(p.<u8>a)",
    "*p": "*p", "**p->m": "**(p->m)", "(*p)->m": "(*p->m)", "*(p->m)": "*(p->m)", "&p->m": "&(p->m)", "&*p": "&*p",
    "(&p->m)->n": "(&(p->m)->n)", "!(int (*)(int, char *))%0": "<int (*)(int, char *)>arg0",
    "!(char [16])@x": "<char [16]>@x+0", "!(u32)!(u64)%ax": "<u32><u64>%ax",
    "@(struct iphdr *)l3%0->saddr": "(packet<struct iphdr *,3>arg0->saddr)",
    "@(struct iphdr*)%0->saddr": "(packet<struct iphdr*,None>arg0->saddr)",
    "@(struct tcphdr *)l4 skb->source": "(packet<struct tcphdr *,4>skb->source)",
    "@(struct iphdr *)l2(%0->skb)->sdata[1]": "((packet<struct iphdr *,2>(arg0->skb)->sdata)[1])",
    "container_of(%0, struct x, list)": "container(arg0,struct x,.list)",
    "container_of(p->next, struct x, a.b[2].c)->d": "(container((p->next),struct x,.a.b[2].c)->d)",
    "p -> a": "(p->a)",
}


@pytest.mark.parametrize("text", sorted(VALUES))
def test_values(text):
    assert args("v=" + text) == [("v", "", VALUES[text])]
    assert args("a=%%1 v = %s z=%%2 f:x==1" % text) == [("a", "", "arg1"), ("v", "", VALUES[text]), ("z", "", "arg2")]


@pytest.mark.parametrize("letter", ["S", "U", "X"])
def test_letters(letter):
    for value in ("%0", "!(u64)%ax", "$retval", "@x", "*p", "&p->m", "(u8)p", "@(struct iphdr *)l3%0->id",
                  "container_of(p, struct x, m)"):
        assert args("v=" + letter + value) == [("v", letter, args("v=" + value)[0][2])]
    # before a name it may belong to the name: the prototype tells
    assert args("v=%sfd->x" % letter) == [("v", "", "(%sfd->x)" % letter)]


def test_columns():
    text = "p f aa=X%0->b  c=!(u8)@x+8 f: a==1 "
    probe = parser.parse(text)
    first, second = probe.args
    assert (first.column, first.value_column) == (text.index("aa"), text.index("X"))
    assert [first.value.source.column, first.value.steps[0].column, first.value.steps[0].what_column] == [
        text.index("%"), text.index("->"), text.index("b")]
    assert second.value.type.column == text.index("u8") and second.value.operand.column == text.index("@")
    assert (probe.filter, probe.filter_column) == ("a==1", text.index("a==1"))


SYMBOLS = {
    "p vfs_read": ("", "", "vfs_read", 0, None), "p vfs_read+0x79": ("", "", "vfs_read", 0x79, None),
    "p do_filp_open+121": ("", "", "do_filp_open", 121, None), "p ext4:ext4_sync_fs": ("", "ext4", "ext4_sync_fs", 0,
    None),
    "p show@fs/proc/stat.c": ("", "", "show", 0, "fs/proc/stat.c"), "p show#2": ("", "", "show", 0, 2),
    "p snd_hda:show#2+8": ("", "snd_hda", "show", 8, 2), "p tcp_*": ("", "", "tcp_*", 0, None),
    "p a.isra.0": ("", "", "a.isra.0", 0, None), "r vfs_read": ("", "", "vfs_read", 0, None),
    "P bash:readline": ("bash", "", "readline", 0, None), "P /usr/bin/bash:readline+0x10": (
        "/usr/bin/bash", "", "readline", 16, None), "R ./a.out:main": ("./a.out", "", "main", 0, None),
    "P libc:memcpy@GLIBC_2.14": ("libc", "", "memcpy@GLIBC_2.14", 0, None), "P libc:memcpy@@GLIBC_2.14+4": (
        "libc", "", "memcpy@@GLIBC_2.14", 4, None), "P x:std::vec::push": ("x", "", "std::vec::push", 0, None),
    "P bash:0x8a870": ("bash", "", "0x8a870", 0, None), "e sched/sched_switch": ("", "sched", "sched_switch", 0, None),
    "e sched:sched_switch": ("", "sched", "sched_switch", 0, None), "P libc:str*": ("libc", "", "str*", 0, None),
}


@pytest.mark.parametrize("text", sorted(SYMBOLS))
def test_symbols(text):
    probe = parser.parse(text)
    symbol = probe.symbol
    assert (symbol.object, symbol.module, symbol.name, symbol.offset, symbol.copy) == SYMBOLS[text]
    assert probe.kind == text[0] and symbol.column == 2 and probe.text == text and probe.filter is None
    assert probe.user == (text[0] in "PR") and probe.is_return == (text[0] in "rR")
    assert symbol.is_pattern == ("*" in text)
    if text[0] != "e":
        again = parser.parse(text[:2] + symbol.text).symbol
        assert (again.name, again.offset, again.copy) == (symbol.name, symbol.offset, symbol.copy)


ERRORS = [  # text, what is under the caret ("" : the end), a part of the message, a part of the hint
    ("", "", "an empty expression", "p: a kernel function"),
    ("   ", "", "an empty expression", None),
    ("q vfs_read", "q", "`q` is no kind of probe", "e: a trace event"),
    ("vfs_read", "vfs_read", "`vfs_read` is no kind of probe", None),
    ("p:x vfs_read", ":x", "probes are named by lbc itself", "p FUNCTION"),
    ("p", "", "nothing to probe", "p vfs_read"),
    ("e sched_switch", "sched_switch", "an event is SYSTEM/EVENT", "e sched/sched_switch"),
    ("e a/b/c", "b/c", "with one `/`", None),
    ("e a/b x=%0", "x=", "an event has fields of its own", "f:FIELD==VALUE"),
    ("P readline", "readline", "a user probe wants OBJECT:FUNCTION", "P bash:readline"),
    ("P :readline", ":readline", "the binary or library is missing", "libc:readline"),
    ("P bash:", "", "the function is missing", None),
    ("r vfs_read+8", "+8", "a return probe has no offset", "r vfs_read"),
    ("R bash:x+8", "+8", "a return probe has no offset", "R bash:x"),
    ("p vfs_read+", "", "an offset is a number of bytes", None),
    ("p vfs_read+x", "x", "an offset is a number of bytes", "vfs_read+0x10"),
    ("p +8", "+8", "the name of a function is missing", None),
    ("p f#0", "#0", "the number of a copy", None),
    ("p f@", "@", "the file of a copy", None),
    ("p f/g", "/g", "`/` does not belong into a function's name", None),
    ("p f x", "", "`=` is missing behind the variable `x`", "a filter begins with f:"),
    ("p f comm==1", "==1", "`==` compares", "f:comm==..."),
    ("p f x=", "", "the value of `x` is missing", None),
    ("p f x= y=%0", "y=%0", "the value of `x` is missing", None),
    ("p f %0", "%0", "a variable is wanted here", None),
    ("p f x=%", "%", "a number or a register is wanted", "%0 is the first argument"),
    ("p f x=%0->", "", "the name of a member is wanted behind `->`", None),
    ("p f x=%0->3", "3", "the name of a member is wanted", None),
    ("p f x=%0[i]", "i]", "an index is a number", None),
    ("p f x=%0[1", "", "`]` is missing", None),
    ("p f x=(%0->a", "(%0", "`)` is missing", None),
    ("p f x=(%0->a y=%1", "y=%1", "`)` is missing", None),
    ("p f x=%0->a)", ")", "unexpected `)`", "no parenthesis is open"),
    ("p f x=!(struct file *", "(struct", "`)` of this cast is missing", None),
    ("p f x=!(struct file *%0)", "%0)", "does not belong into a C type", None),
    ("p f x=!()%0", ")%0", "a C type is wanted", None),
    ("p f x=!%0", "%0", "`(` is missing behind `!`", None),
    ("p f x=@(struct iphdr *)l5%0->x", "l5", "`l5` is no layer", "l3: IP"),
    ("p f x=$args", "$args", "`$args` is not known", "$retval"),
    ("p f x=$arg0", "$arg0", "`$arg0` is not known", None),
    ("p f x=@", "@", "a symbol or an address is wanted", None),
    ("p f x=5", "5", "a number is no value", "%5 is an argument"),
    ("p f x=+0xae0(%di):string", "+0xae0", "unexpected `:`", None),
    ("p f x=+0xae0(%di)", "+0xae0", "`+` cannot begin a value", "offsets follow"),
    ("p f x=%0 + 1", "+ 1", "unexpected `+`", "values are not calculated"),
    ("p f x=%0:u8", ":u8", "unexpected `:`", "follows from the C type"),
    ("p f x=%0 f:", "", "an empty filter", None),
    ("p f x=%0 common_pid==1", "==1", "`==` compares", "f:common_pid"),
    ("p f x=container_of(%0, struct x)", ")", "wants a member too", None),
    ("p f x=container_of(%0", "", "`,` is missing", None),
    ("p f x=container_of(%0, struct x", "(%0", "is not complete", None),
    ("p f x=%0%1", "%1", "unexpected `%`", None),
    ("p f x=" + "(" * 200 + "%0", None, "levels within each other", None),
    ("p f x=" + "*" * 200 + "%0", None, "levels within each other", None),
    ("p f " + "x" * 70000, None, "an expression of 70004 characters", None),
]


@pytest.mark.parametrize("text,under,what,hint", ERRORS, ids=[str(number) for number, _ in enumerate(ERRORS)])
def test_errors(text, under, what, hint):
    with pytest.raises(ExprError) as caught:
        parser.parse(text)
    error = caught.value
    assert what in error.what
    assert hint is None or hint in error.hint
    if under == "":
        assert not text[error.column:].strip()
    elif under is not None and what != "unexpected `:`":
        assert text[error.column:].startswith(under)
    assert str(error).splitlines()[2].index("^") == error.column + 4


def test_the_example_of_the_error():
    with pytest.raises(ExprError) as caught:
        parser.parse("p f x=%0:u8")
    assert str(caught.value) == (
        "unexpected `:`\n    p f x=%0:u8\n            ^\n  hint: no `:type` is needed, it follows from the C type; "
        "S, U or X before the value choose the format")


def test_long_paths_do_not_nest():
    text = "p f x=%0" + "->a" * 5000
    assert len(parser.parse(text).args[0].value.steps) == 5000


def test_nodes_compare_by_value():
    assert nodes.Argument(0, 1) == nodes.Argument(0, 1) != nodes.Argument(1, 1)
    assert repr(nodes.Register("di", 3)) == "Register('di', 3)"
    with pytest.raises(TypeError):
        nodes.Register("di")
