"""Type texts: what C means by them (gcc is asked where it is installed), spellings, patterns, and texts that are none.
"""
from __future__ import absolute_import

import os
import random
import subprocess

import pytest

from lbc.errors import ExprError, InputError, LbcError, NotFoundError
from lbc.resolvers import ctext, model
from lbc.resolvers.base import Resolver


class Some(Resolver):
    """Knows struct x (24 bytes), union u, enum e and typedef t."""
    where = "a test"

    def record(self, keyword, name):
        known = {("struct", "x"): 24, ("struct", "iphdr"): 20, ("union", "u"): 4}
        return model.Record(keyword, name, known[keyword, name]) if (keyword, name) in known else None

    def enum(self, name):
        return model.Scalar("enum e", 4, False, "enum", {}) if name == "e" else None

    def named(self, name):
        return model.Typedef("t", self.type("struct x *")) if name == "t" else None

    def near(self, kind, name):
        return ["near_" + kind]


TEXTS = [   # text, as the model spells it, bytes
    ("int", "int", 4), ("unsigned", "unsigned int", 4), ("unsigned int", "unsigned int", 4),
    ("int unsigned", "unsigned int", 4),
    ("long", "long", 8), ("long int", "long", 8), ("unsigned long", "unsigned long", 8), ("signed", "int", 4),
    ("long unsigned int", "unsigned long", 8), ("long long", "long long", 8),
    ("long long unsigned int", "unsigned long long", 8),
    ("unsigned long long int", "unsigned long long", 8), ("short", "short", 2), ("short int", "short", 2),
    ("short unsigned int", "unsigned short", 2), ("char", "char", 1), ("signed char", "signed char", 1),
    ("unsigned char", "unsigned char", 1),
    ("_Bool", "_Bool", 1), ("float", "float", 4), ("double", "double", 8), ("long double", "long double", 16),
    ("__int128", "__int128", 16), ("unsigned __int128", "unsigned __int128", 16), ("__signed__ char", "signed char", 1),
    ("const char *", "char *", 8), ("char const *", "char *", 8), ("const char **", "char **", 8),
    ("char * const *", "char **", 8),
    ("void *", "void *", 8), ("void*", "void *", 8), ("struct iphdr*", "struct iphdr *", 8),
    ("struct x", "struct x", 24),
    ("  struct\tx  *  ", "struct x *", 8), ("union u", "union u", 4), ("enum e", "enum e", 4),
    ("enum e *", "enum e *", 8),
    ("volatile struct x *restrict", "struct x *", 8), ("t", "t", 8), ("t *", "t *", 8),
    ("char [16]", "char [16]", 16), ("char[16]", "char [16]", 16), ("int [4][2]", "int [4][2]", 32),
    ("int [0x10]", "int [16]", 64),
    ("struct x [3]", "struct x [3]", 72), ("char *[4]", "char *[4]", 32), ("char (*)[4]", "char (*)[4]", 8),
    ("int []", "int [0]", 0),
    ("int (*)(int)", "int (*)(int)", 8), ("int (*)(void)", "int (*)(void)", 8), ("int (*)()", "int (*)(void)", 8),
    ("void (*)(struct x *, const char *, ...)", "void (*)(struct x *, char *, ...)", 8),
    ("int (*)(int fd, char *buf)", "int (*)(int, char *)", 8), ("int (**)(int)", "int (**)(int)", 8),
    ("void (*[3])(int)", "void (*[3])(int)", 24), ("int (*(*)(int))(char)", "int (*(*)(int))(char)", 8),
    ("char *(*)(void)", "char *(*)(void)", 8), ("int (*(*)[2])(char)", "int (*(*)[2])(char)", 8),
    ("int (*)(int (*)(int))", "int (*)(int (*)(int))", 8), ("int ((*))(int)", "int (*)(int)", 8),
    ("u8", "u8", 1), ("s16", "s16", 2), ("__u32", "__u32", 4), ("u64", "u64", 8), ("__be16", "__be16", 2),
    ("uint64_t", "uint64_t", 8),
    ("size_t", "size_t", 8), ("bool", "bool", 1), ("loff_t", "loff_t", 8), ("pid_t", "pid_t", 4),
    ("gfp_t *", "gfp_t *", 8),
]


@pytest.mark.parametrize("text, spelled, size", TEXTS)
def test_texts(text, spelled, size):
    found = Some().type(text)
    assert (found.text, found.size) == (spelled, size)
    again = Some().type(found.text)     # what the model spells is a text again
    assert (again.text, again.size) == (spelled, size)
    if "fd" not in text and "((*))" not in text and "[0x" not in text and text not in ("int []", "int (*)()",
            "int (*)(void)",
                                                                                     "char *(*)(void)"):
        assert ctext.normal(text) == spelled


def test_sizes_are_gccs(tmpdir):
    lines = ["typedef signed char s8; typedef unsigned char u8; typedef short s16;",
             "typedef unsigned short __be16, umode_t;",
             "typedef unsigned int __u32, gfp_t; typedef unsigned long long u64; typedef _Bool bool;",
             "#include <stddef.h>", "#include <stdint.h>", "#include <sys/types.h>",
             "struct x { long a[3]; }; struct iphdr { int a[5]; };",
             "union u { int a; }; enum e { A }; typedef struct x *t;", "int main(void) {"]
    for text, _spelled, size in TEXTS:
        if size and text not in ("int (*)()",):
            lines.append("_Static_assert(sizeof(%s) == %d, \"\");" % (text.replace("int fd", "int"), size))
    source = str(tmpdir.join("sizes.c"))
    with open(source, "w") as stream:
        stream.write("\n".join(lines) + "\nreturn 0; }\n")
    try:
        done = subprocess.Popen(["gcc", "-c", "-w", source, "-o", os.devnull], stderr=subprocess.PIPE)
    except EnvironmentError:
        pytest.skip("no gcc")
    said = done.communicate()[1].decode("utf-8", "replace")
    assert done.returncode == 0, said


def test_signs_and_kinds():
    some = Some()
    for text, signed, kind in (("char", True, "char"), ("unsigned char", False, "int"), ("signed char", True, "int"),
            ("int", True, "int"),
                               ("u8", False, "int"), ("s8", True, "int"), ("bool", False, "bool"),
                               ("double", True, "float"),
                               ("__be32", False, "int"), ("unsigned long", False, "int"), ("ssize_t", True, "int")):
        found = model.strip(some.type(text))
        assert (found.signed, found.kind) == (signed, kind), text
    assert isinstance(some.type("void"), model.Void) and isinstance(some.type("size_t"), model.Typedef)


def test_user_pointers():
    some = Some()
    assert some.type("struct x __user *").user and some.type("char __user *").user and not some.type("char *").user
    outer = some.type("char __user * *")
    assert not outer.user and outer.target.user
    outer = some.type("char * __user *")
    assert outer.user and not outer.target.user
    assert some.type("int (*)(char __user *)").target.params[0].type.user
    assert some.type("const char __user *const").user


def test_32_bit():
    some = Some()
    some.pointer_size = 4
    assert [some.type(text).size for text in ("long", "char *", "size_t", "long long", "int [2]")] == [4, 4, 4, 8, 8]


@pytest.mark.parametrize("text, words, column", [
    ("", "expected a type", 0), ("   ", "expected a type", 3), ("*", "expected a type, found `*`", 0),
    ("const", "expected a type", 5),
    ("int int", "`int int` is no type", 0), ("unsigned struct x", "unexpected `struct`", 9),
    ("long long long", "no type", 0),
    ("short long", "no type", 0),
    ("unsigned float", "no type", 0), ("signed unsigned", "no type", 0), ("char short *", "no type", 0),
    ("unsigned _Bool", "no type", 0),
    ("struct", "expected the name of a struct", 6), ("enum *", "expected the name of an enum", 5),
    ("struct 5", "expected the name", 7),
    ("int )", "unexpected `)`", 4), ("int (", "expected a type", 5), ("int (*", "`(` is not closed", 4),
    ("int (*)(int", "expected `)`", 11),
    ("int (*)(int,", "expected a type", 12), ("int [", "number of elements", 5), ("int [x]", "number of elements", 5),
    ("int [-1]", "`-` cannot be part", 5), ("int [3", "expected `]`", 6),
    ("int [99999999999999]", "number of elements", 5),
    ("void [3]", "no arrays of void", 5), ("int (*)(int)(int)", "cannot return", 7), ("int $", "`$` cannot be part", 4),
    ("int @x", "`@`", 4), ("int; drop", "`;`", 3), ("int * x y", "unexpected `y`", 8), ("int (*)(..., int)", "", None),
    (u"int \xe9", "cannot be part", 4), ("int\0", "cannot be part", 3),
])
def test_texts_that_are_none(text, words, column):
    if column is None:
        assert Some().type(text).text       # C forbids it, and it harms nobody
        return
    with pytest.raises(ExprError) as caught:
        Some().type(text)
    assert words in caught.value.what and caught.value.column == column
    assert str(caught.value).split("\n")[2].index("^") == 4 + column


def test_names_that_are_not_there():
    for text, kind, hint in (("struct y *", "struct", None), ("union x", "union", None), ("enum x", "enum", None),
            ("tt", "type", None),
                             ("x *", "type", "write `struct x`"), ("u", "type", "write `union u`"),
                             ("e", "type", "write `enum e`")):
        with pytest.raises(NotFoundError) as caught:
            Some().type(text)
        assert (caught.value.kind, caught.value.hint, caught.value.searched) == (kind, hint, "a test")
        assert caught.value.near == ([] if hint else ["near_" + kind])


def test_depth_and_length_are_limited():
    for text in ("int " + "*" * 5000, "int (" * 3000, "int (*)(" * 200, "int " + "(*" * 200 + ")" * 200, "x" * 100000,
                 "int" + "[2]" * 1000):
        try:
            Some().type(text)
        except (InputError, NotFoundError):
            pass


def test_random_texts():
    """A type or an LbcError, for anything."""
    words = ("int unsigned char long struct x iphdr union u enum e t const __user * ** ( ) [ ] [4] , ... (*) (*)(int) "
             "void u8 5 0x _ { } {...} ; $ % \" \\ \0").split(" ")
    rng, outcomes = random.Random(1), set()
    for _ in range(3000):
        text = "".join([rng.choice(words) + rng.choice(("", " ")) for _number in range(rng.randrange(1, 12))])
        try:
            found = Some().type(text)
            assert Some().type(found.text).text == found.text or "(anonymous)" in found.text
            outcomes.add("type")
        except LbcError:
            outcomes.add("error")
        try:
            ctext.Pattern(text, True).matches("int")
        except ExprError:
            pass
    assert outcomes == {"type", "error"}


def test_spellings_mean_the_same():
    for name in ctext._BASES:
        for spelled in ctext.spellings(name):
            assert ctext.base_of(spelled) == name or spelled.startswith("__"), (name, spelled)
    # what DWARF and BTF of gcc call them
    for text, name in (("long unsigned int", "unsigned long"), ("long long int", "long long"), ("short int", "short"),
                       ("short unsigned int", "unsigned short"), ("long long unsigned int", "unsigned long long"),
                       ("__int128 unsigned", "unsigned __int128"), ("unsigned int", "unsigned int"),
                       ("long int", "long")):
        assert ctext.base_of(text) == name and text in ctext.spellings(name)
    assert ctext.base_of("struct x") is None and ctext.base_of("") is None


@pytest.mark.parametrize("pattern, yes, no", [
    ("tcp_%", "tcp_ tcp_v4", "xtcp_ tc TCP_v4"), ("%_read", "vfs_read _read", "read vfs_reads"),
    ("%a%b%", "ab xaxbx aabb", "ba b a"),
    ("a%a", "aa aba", "a ab"), ("%", "x", ""), ("vfs_read", "vfs_read", "vfs_reads vfsxread"), ("a_c", "a_c", "abc"),
    ("*", "*", "x"),
    ("%%", "a", ""), ("a%b%c", "abc axbyc", "acb ab"),
])
def test_patterns(pattern, yes, no):
    found = ctext.Pattern(pattern)
    assert all(found.matches(text) for text in yes.split()) and not any(found.matches(text) for text in no.split())


def test_patterns_of_types():
    for pattern, text in (("struct file*", "struct file *"), ("const struct file *", "struct file *"),
            ("struct % *", "struct sock *"),
                          ("long unsigned int", "unsigned long"), ("%sock *", "struct sock *"),
                          ("unsigned %", "unsigned long"),
                          ("int (*)(%", "int (*)(int, char *)"), ("char[%]", "char [16]")):
        assert ctext.Pattern(pattern, True).matches(text), pattern
    assert not ctext.Pattern("struct file", True).matches("struct file *") and ctext.Pattern(None).matches("x")
    assert ctext.Pattern("%sock%wait").literal == "sock"
