"""The type model: C declarations (gcc is asked where it is installed), look-ups of members, laziness, ends."""
from __future__ import absolute_import

import pickle
import subprocess

import pytest

from lbc.errors import FormatError, NotFoundError
from lbc.resolvers import model
from lbc.resolvers.model import Array, FuncType, Member, Param, Pointer, Record, Scalar, Typedef

INT, CHAR, VOID = Scalar("int", 4, True), Scalar("char", 1, True, "char"), model.Void()
X = Record("struct", "x", 8)
CALL = FuncType(INT, [Param("a", INT), Param("", Pointer(CHAR))])
DECLARATIONS = [
    (INT, "int name"), (Pointer(CHAR), "char *name"), (Pointer(Pointer(X)), "struct x **name"),
    (Array(INT, 4), "int name[4]"),
    (Array(Array(INT, 2), 4), "int name[4][2]"), (Array(Pointer(CHAR), 3), "char *name[3]"),
    (Pointer(Array(CHAR, 3)), "char (*name)[3]"), (Pointer(CALL), "int (*name)(int, char *)"),
    (Pointer(Pointer(CALL)), "int (**name)(int, char *)"), (Array(Pointer(CALL), 2), "int (*name[2])(int, char *)"),
    (Pointer(FuncType(Pointer(CALL), [])), "int (*(*name)(void))(int, char *)"),
    (Pointer(FuncType(Pointer(X), [Param("", Pointer(CALL))])), "struct x *(*name)(int (*)(int, char *))"),
    (Pointer(FuncType(VOID, [Param("", INT), Param("", model.Variadic())])), "void (*name)(int, ...)"),
    (Pointer(Array(Pointer(CALL), 2)), "int (*(*name)[2])(int, char *)"), (Typedef("name_t", INT), "name_t name"),
    (CALL, "int name(int, char *)"),
]


@pytest.mark.parametrize("found, text", DECLARATIONS, ids=[text for _found, text in DECLARATIONS])
def test_declarations(found, text):
    assert model.declare(found, "name") == text
    plain = text.replace("name_t name", "name_t").replace(" name[", " [").replace("name(int", "(int")
    if text == "int name":
        plain = "int"
    assert found.text == plain.replace("*name", "*") == model.declare(found, "")


def test_declarations_are_cs(tmpdir):
    """gcc finds the variable declared to be of the type that the bare text names."""
    lines = ["typedef int name_t; struct x { int a, b; };"]
    for number, (found, _text) in enumerate(DECLARATIONS):
        name = "v%d" % number
        lines.append("extern %s;\n_Static_assert(__builtin_types_compatible_p(__typeof__(%s), %s), \"\");" % (
            model.declare(found, name), name, found.text))
    source = str(tmpdir.join("d.c"))
    with open(source, "w") as stream:
        stream.write("\n".join(lines) + "\n")
    try:
        process = subprocess.Popen(["gcc", "-fsyntax-only", source], stderr=subprocess.PIPE)
    except EnvironmentError:
        pytest.skip("no gcc")
    said = process.communicate()[1].decode("utf-8", "replace")
    assert process.returncode == 0, said


def test_prototypes():
    text = "int vfs_read(struct file *file, char *buf)"
    file = Pointer(Record("struct", "file", 8))
    assert model.Function("vfs_read", [Param("file", file), Param("buf", Pointer(CHAR))], INT, "", "", 0).text == text
    assert model.Function("f", [], VOID, "", "", 0).text == "void f(void)"
    assert model.Function("f", [Param("", INT)], Pointer(X), "", "", 0).text == "struct x *f(int)"
    assert model.Function("f", [Param("g", Pointer(CALL))], Pointer(CALL), "m", "x.c", 3).text == (
        "int (*f(int (*g)(int, char *)))(int, char *)")
    found = model.Function("f", [Param("a", INT), Param("b", INT)], VOID, "", "", 0)
    assert model.parameter_number(found, "b") == 1 and model.parameter_number(found, "c") is None


def test_sizes():
    assert Array(Array(INT, 2), 4).size == 32 and Array(X, 0).size == 0 and Array(Record("struct", "y", None),
        3).size == 0
    assert Typedef("t", Typedef("u", INT)).size == 4 and Pointer(VOID, 4).size == 4


def test_targets_are_read_once_and_late():
    read = []

    def load():
        read.append(1)
        return INT
    for one in (Pointer(load), Typedef("t", load)):
        del read[:]
        assert read == [] and one.target is INT and one.target is INT and read == [1]
    record = Record("struct", "r", 8, lambda: read.append(2) or [Member("a", INT, 0, 0)])
    assert record.text == "struct r" and 2 not in read
    assert len(record.members) == 1 == len(record.members) and read.count(2) == 1


def nested():
    deep = Record("union", "", 8, [Member("deep", INT, 0, 0), Member("bits", INT, 3, 5)])
    middle = Record("struct", "", 12, [Member("first", INT, 0, 0), Member("", Typedef("t", deep), 32, 0)])
    return Record("struct", "outer", 24, [Member("head", INT, 0, 0), Member("", middle, 64, 0),
        Member("named", middle, 160, 0)])


def test_members_of_anonymous_members():
    outer = nested()
    assert [model.find_member(outer, name).bit_offset for name in ("head", "first", "deep", "bits", "named")] == [
        0, 64, 96, 99, 160]
    assert model.find_member(outer, "bits").bit_size == 5
    assert model.member_names(outer) == ["head", "first", "deep", "bits", "named"]
    with pytest.raises(NotFoundError) as caught:
        model.find_member(outer, "deap")
    assert str(caught.value) == "no member `deap` in struct outer; did you mean `deep`?"


def test_what_is_only_declared():
    with pytest.raises(NotFoundError) as caught:
        model.find_member(Record("struct", "y", None), "a")
    assert "only declared" in caught.value.hint
    lazy = model.LazyRecord("struct", "y", lambda: None)
    assert (lazy.text, lazy.size, list(lazy.members), lazy.find("a"), lazy.known) == ("struct y", None, [], None, False)
    lazy = model.LazyRecord("struct", "outer", nested)
    assert lazy.find("deep").bit_offset == 96 and lazy.size == 24 and lazy.known and len(lazy.members) == 3
    assert model.LazyRecord("struct", "y", lambda: pytest.fail("its size was known"), 16).size == 16


def test_circles_end():
    itself = Record("struct", "", 8, lambda: [Member("", itself, 0, 0), Member("", itself, 0, 0)])
    for question in (lambda: model.find_member(itself, "a"), lambda: model.member_names(itself)):
        with pytest.raises(FormatError):
            question()
    one = Typedef("one", lambda: two)
    two = Typedef("two", one)
    for question in (lambda: model.strip(one), lambda: two.size):
        with pytest.raises(FormatError):
            question()


def test_rows_are_tuples():
    member = Member("a", INT, 8, 3)
    name, kind, offset, bits = member
    assert (name, kind, offset, bits) == ("a", INT, 8, 3) == member and member._asdict()["bit_size"] == 3
    assert member._replace(name="b", bit_offset=0) == ("b", INT, 0, 3) and isinstance(member._replace(), Member)
    with pytest.raises(ValueError):
        member._replace(offset=1)
    assert Member(name="a", type=INT, bit_offset=8, bit_size=3) == member and member != Member("a", INT, 8, 4)
    assert repr(Param("x", None)) == "Param(name='x', type=None)" and len({member, member}) == 1
    assert pickle.loads(pickle.dumps(Param("x", 3), 2)) == Param("x", 3)
    with pytest.raises(AttributeError):
        member.name = "b"
