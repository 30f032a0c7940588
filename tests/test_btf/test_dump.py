"""lbc.btf.dump: declarations by hand, definitions as a C compiler measures them."""
from __future__ import absolute_import

import subprocess

import pytest

from lbc.btf import dump, kinds, parse
from lbc.btf.encode import Builder
from lbc.errors import FormatError
from . import truth


def test_declarations():
    maker = Builder()
    integer, char = maker.add_int("int", 4, 1), maker.add_int("char", 1, 1)
    text = maker.add_ptr(maker.add_const(char))
    struct = maker.add_struct("task", 8, [kinds.Member("a", integer), kinds.Member("b", integer, 32)])
    proto = maker.add_func_proto(integer, [("t", maker.add_ptr(struct)), ("fmt", text), ("", 0)])
    handler = maker.add_ptr(proto)
    array = maker.add_array(maker.add_array(integer, integer, 3), integer, 2)
    returns = maker.add_func_proto(handler, [])
    ids = {
        maker.add_func("run", proto, 1): "int run(struct task *t, const char *fmt, ...)",
        array: "int[2][3]", maker.add_ptr(array): "int (*)[2][3]",
        maker.add_array(handler, integer, 4): "int (*[4])(struct task *t, const char *fmt, ...)",
        maker.add_var("v", maker.add_const(text)): "const char *const v",
        maker.add_func("pick", returns, 1): "int (*pick(void))(struct task *t, const char *fmt, ...)",
        maker.add_ptr(0): "void *", 0: "void", maker.add_typedef("x_t", integer): "x_t",
        maker.add_enum("e", 4, False, []): "enum e", maker.add_fwd("f", True): "union f",
        maker.add_ptr(maker.add_volatile(integer)): "volatile int *",
        maker.add_func("none", maker.add_func_proto(0, [])):
        "void none(void)"}
    btf = parse.Btf(maker.bytes())
    for type_id, expected in ids.items():
        assert dump.type_text(btf, type_id) == expected


@pytest.mark.parametrize("name", ["event", "tight", "bits", "everything"])
def test_sizes_as_the_compiler_has_them(name, tmpdir):
    btf = parse.Btf(truth.read("values_l.btf"))
    source = tmpdir.join("x.c")
    text = dump.dump(btf, btf.find(name, (4,))[0])
    checks = ["_Static_assert(sizeof(struct %s) == %d, \"size\");" % (name, btf.size_of(btf.find(name, (4,))[0]))]
    for member in btf.type(btf.find(name, (4,))[0]).members:
        if member.name and not member.bit_size:
            checks.append("_Static_assert(__builtin_offsetof(struct %s, %s) == %d, \"%s\");"
                          % (name, member.name, member.bit_offset // 8, member.name))
    source.write(text + "\n".join(checks) + "\n")
    try:
        process = subprocess.Popen(["cc", "-w", "-fsyntax-only", "-std=gnu11", str(source)], stderr=subprocess.PIPE)
    except EnvironmentError:
        pytest.skip("no C compiler here")
    errors = process.communicate()[1]
    assert process.returncode == 0, errors.decode("utf-8", "replace") + text


def test_order_and_forward_declarations():
    maker = Builder()
    integer = maker.add_int("int", 4, 1)
    node, other = maker.next_id + 1, maker.next_id + 3
    maker.add_ptr(node)
    maker.add_struct("node", 16, [kinds.Member("next", node - 1), kinds.Member("o", other - 1, 64)])
    maker.add_ptr(other)
    maker.add_struct("other", 16, [kinds.Member("inside", node)])
    btf = parse.Btf(maker.bytes())
    assert integer == 1
    assert dump.dump(btf, other) == (
        "struct node;\n\nstruct other;\n\nstruct node {\n\tstruct node *next;\n\tstruct other *o;\n};\n\n"
        "struct other {\n\tstruct node inside;\n};\n")


def test_hostile():
    maker = Builder()
    maker.add_ptr(1)
    maker.add_func_proto(3, [("x", 2)])
    maker.add_array(3, 3, 2)
    maker.add_struct("", 8, [kinds.Member("", 4)])
    btf = parse.Btf(maker.bytes())
    for type_id in (1, 2, 3):
        with pytest.raises(FormatError):
            dump.type_text(btf, type_id)
    with pytest.raises(FormatError):
        dump.definition(btf, 4)
