"""One table of questions and answers over data/things.c; every resolver is held to it, each with its own source.

Where the numbers are from: `pahole -C thing` and gdb's `ptype /o` of the file compiled by gcc (test_btf asks pahole
again where it is installed).  The rows of the databases are what gdb 13 prints, by the reference's rules and by ours.
"""
from __future__ import absolute_import

import json
import os
import sqlite3

from lbc.errors import NotFoundError
from lbc.resolvers import model
from lbc.resolvers.base import FuncQuery

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
ANONYMOUS = "struct (anonymous)"

# path from struct thing, type, byte offset, (first bit, bits), bytes
MEMBERS = [
    ("flags", "unsigned long", 0, None, 8), ("low", "unsigned int", 8, (0, 3), 4),
    ("middle", "unsigned int", 8, (3, 7), 4),
    ("high", "unsigned int", 10, (0, 16), 4), ("first", "u16", 12, None, 2), ("second", "u16", 14, None, 2),
    ("both", "u32", 12, None, 4), ("pos", ANONYMOUS, 16, None, 12), ("pos.x", "int", 16, None, 4),
    ("pos.y", "int [2]", 20, None, 8), ("in.a", "int", 28, None, 4), ("in.b", "char [3]", 32, None, 3),
    ("list", "struct inner [3]", 36, None, 24), ("name", "char [16]", 60, None, 16), ("label", "char *", 80, None, 8),
    ("raw", "unsigned char [4]", 88, None, 4), ("color", "enum color", 92, None, 4), ("on", "bool", 96, None, 1),
    ("refs", "atomic_t", 100, None, 4), ("refs.counter", "int", 100, None, 4), ("call", "callback_t", 104, None, 8),
    ("direct", "int (*)(int, ...)", 112, None, 8), ("next", "struct thing *", 120, None, 8),
    ("opaque", "struct opaque *", 128, None, 8), ("ubuf", "char *", 136, None, 8),
    ("grid", "int [4][2]", 144, None, 32),
    ("word.all", "u32", 176, None, 4), ("word.bytes", "u8 [4]", 176, None, 4),
    ("table", "struct inner *[2]", 184, None, 16), ("cookie", "cookie_t", 200, None, 8),
    ("tail", "short [0]", 208, None, 0),
]
NAMES = ["flags", "low", "middle", "high", "first", "second", "both", "pos", "in", "list", "name", "label", "raw",
    "color",
         "on", "refs", "call", "direct", "next", "opaque", "ubuf", "grid", "word", "table", "cookie", "tail"]
# text, its spelling in the model, bytes, what it is behind typedefs
TYPES = [
    ("struct thing *", "struct thing *", 8, model.Pointer), ("struct thing", "struct thing", 208, model.Record),
    ("const struct thing*const*", "struct thing **", 8, model.Pointer), ("union word", "union word", 4, model.Record),
    ("unsigned", "unsigned int", 4, model.Scalar), ("long unsigned int", "unsigned long", 8, model.Scalar),
    ("short", "short", 2, model.Scalar), ("unsigned char", "unsigned char", 1, model.Scalar),
    ("u64", "u64", 8, model.Scalar), ("cookie_t", "cookie_t", 8, model.Scalar), ("bool", "bool", 1, model.Scalar),
    ("atomic_t", "atomic_t", 4, model.Record), ("callback_t", "callback_t", 8, model.Pointer),
    ("char [16]", "char [16]", 16, model.Array), ("struct inner [4][2]", "struct inner [4][2]", 64, model.Array),
    ("int (*)(struct inner *, ...)", "int (*)(struct inner *, ...)", 8, model.Pointer),
    ("void *", "void *", 8, model.Pointer),
]
FUNCTIONS = {    # name: parameter types, their names, result
    "thing_open": (["struct thing *", "char *", "u64"], ["thing", "name", "flags"], "int"),
    "thing_find": (["int"], ["number"], "struct thing *"),
    "thing_sum": (["struct inner *", "union word"], ["in", "word"], "unsigned long"),
    "other_reset": ([], [], "void"),
}
SEARCHES = [     # FuncQuery, names
    (FuncQuery("thing_%"), {"thing_open", "thing_find", "thing_sum"}),
    (FuncQuery("%o%e%"), {"thing_open", "other_reset"}),
    (FuncQuery("Thing_%"), set()), (FuncQuery("thing?open"), set()), (FuncQuery("thing_open"), {"thing_open"}),
    (FuncQuery(None, ret="struct thing*"), {"thing_find"}), (FuncQuery("%", ret="long unsigned int"), {"thing_sum"}),
    (FuncQuery(None, arg="struct inner *"), {"thing_sum"}), (FuncQuery("thing%", arg="struct %"),
    {"thing_open", "thing_sum"}),
    (FuncQuery(None, arg="const char *"), {"thing_open"}), (FuncQuery(None, ret="int", arg="u64"), {"thing_open"}),
    (FuncQuery(None, ret="struct inner *"), set()),
]


def member(record, path):
    """(model.Member, byte offset of it from the outermost start) of "pos.x"."""
    base = 0
    for name in path.split("."):
        found = model.find_member(record, name)
        base, record = base + found.bit_offset, model.strip(found.type)
    return found._replace(bit_offset=base)


def check(resolver, param_names=True, modules=True):
    """The whole table.  ``param_names``: does the source know the names of parameters?  ``modules``: and what module a
    function is of?"""
    check_members(resolver)
    for text, spelled, size, kind in TYPES:
        found = resolver.type(text)
        assert (found.text, found.size) == (spelled, size), text
        assert isinstance(model.strip(found), kind), text
    check_functions(resolver, param_names, modules)
    assert resolver.record("struct", "nothing") is None and resolver.record("union", "thing") is None
    assert resolver.enum("nothing") is None and resolver.named("nothing") is None
    assert resolver.functions("nothing") == []
    assert resolver.record("struct", "") is None and resolver.functions("") == [] and resolver.named("thing") is None
    assert sorted(resolver.search_records("%in%")) == [("struct inner", 8, 2), ("struct thing", 208, 24)]
    assert [row[0] for row in resolver.search_records("union %")] == ["union word"]
    assert len(resolver.search_records("%", 1)) == 1


def check_members(resolver):
    thing = resolver.record("struct", "thing")
    assert (thing.text, thing.size) == ("struct thing", 208)
    for path, text, offset, bits, size in MEMBERS:
        found = member(thing, path)
        first, width = bits or (0, 0)
        assert (found.type.text, found.bit_offset, found.bit_size) == (text, 8 * offset + first, width), path
        assert found.type.size == size, path
        assert found.name == path.split(".")[-1]
    assert model.member_names(thing) == NAMES
    for name in NAMES:      # a look-up of one and a reading of all agree
        one = model.find_member(thing, name)
        for each in thing.members:
            if each.name == name:
                assert (each.type.text, each.bit_offset, each.bit_size) == (one.type.text, one.bit_offset, one.bit_size)
    assert model.strip(model.find_member(thing, "label").type.target).kind == "char"
    assert model.strip(model.find_member(thing, "raw").type.element).kind == "int"
    assert model.strip(model.find_member(thing, "on").type).kind == "bool"
    assert model.strip(model.find_member(thing, "color").type).kind == "enum"
    assert model.strip(model.find_member(thing, "flags").type).signed is False
    assert model.strip(model.find_member(thing, "tail").type.element).signed is True
    again = model.find_member(thing, "next").type.target
    assert model.find_member(again, "cookie").bit_offset == 1600
    assert model.find_member(model.find_member(thing, "list").type.element, "b").bit_offset == 32
    opaque = model.find_member(thing, "opaque").type.target
    assert (opaque.text, opaque.size, list(opaque.members)) == ("struct opaque", None, [])
    try:
        model.find_member(thing, "labe")
    except NotFoundError as error:
        assert error.near[0] == "label"
    else:
        raise AssertionError("there is no labe")


def check_functions(resolver, param_names, modules=True):
    for name, (types, names, ret) in FUNCTIONS.items():
        found = resolver.functions(name)
        assert len(found) == 1, name
        found = found[0]
        assert (found.name, [p.type.text for p in found.params], found.ret.text) == (name, types, ret)
        assert [p.name for p in found.params] == (names if param_names else [""] * len(names))
        assert found.module == ""
    assert resolver.functions("thing_open", "")
    assert bool(resolver.functions("thing_open", "nf_nat")) is not modules
    for query, names in SEARCHES:
        assert set([f.name for f in resolver.search_functions(query)]) == names, query
    assert len(resolver.search_functions(FuncQuery("%", limit=2))) == 2


def explore(resolver):
    """Asks for all of the table and expects nothing but values: the number of answers.  For damaged sources."""
    count = 0
    for keyword, name in (("struct", "thing"), ("struct", "inner"), ("union", "word")):
        record = resolver.record(keyword, name)
        if record is None:
            continue
        assert isinstance(record, model.Record)
        for each in record.members:
            assert isinstance(each.type.text, str) and each.bit_offset >= 0 and each.bit_size >= 0
            inner = model.strip(each.type)
            count += 1 + (inner.size or 0 > 0)
            if isinstance(inner, model.Record):
                count += len(model.member_names(inner))
        count += len(model.member_names(record)) + sum([record.find(name) is not None for name in NAMES])
    for text, _spelled, _size, _kind in TYPES:
        count += len(resolver.type(text).text)
    for name in FUNCTIONS:
        for function in resolver.functions(name):
            count += len(function.text) + len(function.file) + function.line
    for query, _names in SEARCHES[:7]:
        count += len([function.text for function in resolver.search_functions(query)])
    count += sum([len(row[0]) + row[1] + row[2] for row in resolver.search_records("%")])
    for name in ("GREEN", "LIGHT", "nothing"):
        assert resolver.enumerator(name) is None or int(resolver.enumerator(name)) is not None
    return count


# -- the same in rows ------------------------------------------------------------------------------------------------
TABLES = """
CREATE TABLE files (id INTEGER PRIMARY KEY autoincrement, file TEXT);
CREATE TABLE funs (id INTEGER PRIMARY KEY autoincrement, func VARCHAR (128), args JSON, ret VARCHAR (64), line INTEGER,
                   fid INTEGER, module VARCHAR (64));
CREATE TABLE structs (id INTEGER PRIMARY KEY autoincrement, name VARCHAR (64), members INTEGER, bytes INTEGER);
CREATE TABLE members (id INTEGER PRIMARY KEY autoincrement, fid INTEGER, types VARCHAR (128), name VARCHAR (64),
                      offset INTEGER, bytes INTEGER, bits VARCHAR (16) DEFAULT "");
CREATE TABLE types (id INTEGER PRIMARY KEY autoincrement, name VARCHAR (64), alias VARCHAR (64), bytes INTEGER);
"""
FUNS = [("other_reset", ["void"], "void", 89), ("thing_find", ["int"], "struct thing *", 79),
        ("thing_open", ["struct thing *", "const char *", "u64"], "int", 73),
        ("thing_sum", ["const struct inner *", "union word"], "static unsigned long", 84)]
INNER = [("int", "a", 0, 4, ""), ("char", "b[3]", 4, 3, "")]
WORD = [("u32", "all", 0, 4, ""), ("u8", "bytes[4]", 0, 4, "")]
BEFORE = [("unsigned long", "flags", 0, 8, ""), ("unsigned int", "low", 8, 4, "0:3"),
          ("unsigned int", "middle", 8, 4, "3:7"), ("unsigned int", "high", 10, 4, "0:16"), ("u16", "first", 12, 2, ""),
          ("u16", "second", 14, 2, ""), ("u32", "both", 12, 4, ""), ("int", "pos.x", 16, 4, ""),
          ("int", "pos.y[2]", 20, 8, "")]
MIDDLE = [("struct inner", "list[3]", 36, 24, ""), ("char", "name[16]", 60, 16, ""),
    ("const char *", "label", 80, 8, ""),
          ("unsigned char", "raw[4]", 88, 4, ""), ("enum color", "color", 92, 4, ""), ("bool", "on", 96, 1, ""),
          ("atomic_t", "refs", 100, 4, ""), ("callback_t", "call", 104, 8, ""),
          ("int (*)(int, ...);", "direct", 112, 8, ""), ("struct thing *", "next", 120, 8, ""),
          ("struct opaque *", "opaque", 128, 8, ""), ("char *", "ubuf", 136, 8, ""), ("int", "grid[4][2]", 144, 32, "")]
AFTER = [("const volatile struct inner *", "const table[2]", 184, 16, ""), ("cookie_t", "cookie", 200, 8, ""),
         ("short", "tail[]", 208, 0, "")]
# gdb writes nested structs out whatever their names, so in the reference's databases their cells are the outer one's
REFERENCE = BEFORE + [("int", "in.a", 28, 4, ""), ("char", "in.b[3]", 32, 3, "")] + MIDDLE + [
    ("u32", "word.all", 176, 4, ""), ("u8", "word.bytes[4]", 176, 4, "")] + AFTER
OURS = BEFORE + [("struct inner", "in", 28, 8, "")] + MIDDLE + [("union word", "word", 176, 4, "")] + AFTER
TYPE_ROWS = [("_", "void *", 8), ("_Bool", "_Bool", 1), ("atomic_t", "struct {", 4), ("bool", "_Bool", 1),
             ("callback_t", "int (*)(struct thing *, const char *)", 8), ("char", "char", 1),
             ("cookie_t", "unsigned long long", 8), ("int", "int", 4), ("short", "short", 2),
             ("u16", "unsigned short", 2), ("u32", "unsigned int", 4), ("u64", "unsigned long long", 8),
             ("u8", "unsigned char", 1), ("unsigned char", "unsigned char", 1), ("unsigned int", "unsigned int", 4),
             ("unsigned long", "unsigned long", 8), ("unsigned short", "unsigned short", 2),
             ("shade_t", "enum {DARK, LIGHT = 7, GLARING}", 4), ("tone_t", "enum color {RED, GREEN = 5, BLUE = -1}", 4)]


def struct_rows(thing=OURS):
    """[(name, bytes, members as the database counts them, cells)]"""
    return [("struct inner", 8, 2, INNER), ("union word", 4, 2, WORD), ("struct thing", 208, 24, thing),
            ("atomic_t", 4, 1, [("int", "counter", 0, 4, "")])]


def write_db(path, thing=OURS, funs=FUNS, module="vm", tables=TABLES):
    """A database as the reference writes it, by hand."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(tables)
    connection.execute("INSERT INTO files (file) VALUES ('things.c')")
    connection.executemany("INSERT INTO funs (func, args, ret, line, fid, module) VALUES (?, ?, ?, ?, 1, ?)",
                           [(name, json.dumps(args), ret, line, module) for name, args, ret, line in funs])
    for number, (name, size, members, cells) in enumerate(struct_rows(thing), 1):
        connection.execute("INSERT INTO structs VALUES (?, ?, ?, ?)", (number, name, members, size))
        connection.executemany("INSERT INTO members (fid, types, name, offset, bytes, bits) VALUES (?, ?, ?, ?, ?, ?)",
                               [(number,) + cell for cell in cells])
    connection.executemany("INSERT INTO types (name, alias, bytes) VALUES (?, ?, ?)", TYPE_ROWS)
    connection.commit()
    connection.close()
    return path


def _like(pattern, text):
    """SQL's LIKE, for the server below."""
    import re
    expression = "".join([{"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern])
    return re.match("(?i)" + expression + "$", text) is not None


def serve(request, thing=OURS):
    """What a server says to one request (protocol version 1), from the rows above and nothing of lbc."""
    assert request["ver"] and request["arch"]
    answer = {"log": "ok.", "res": None}
    if request["cmd"] == "func":
        want, rows = request["func"], []
        for name, args, ret, line in FUNS:
            if not (_like(want, name) if "%" in want else want == name):
                continue
            if "ret" in request and request["ret"].replace("*", " *").split() != ret.replace("static ", "").split():
                if "%" not in request["ret"] and "long" not in request["ret"]:
                    continue
            rows.append({"func": name, "args": args, "ret": ret, "line": line, "file": "things.c"})
        answer["res"] = rows
    elif request["cmd"] == "struct":
        rows = struct_rows(thing)
        if "%" in request["struct"]:
            answer["res"] = [{"name": name, "members": members, "size": size} for name, size, members, _cells in rows
                             if _like(request["struct"], name)]
        for name, size, members, cells in rows:
            if name == request["struct"]:
                answer["res"] = {"name": name, "members": members, "size": size, "cell": [
                    dict(zip(("type", "name", "offset", "size", "bits"), cell)) for cell in cells]}
    elif request["cmd"] == "type":
        for name, alias, size in TYPE_ROWS:
            if name == request["type"]:
                answer["res"] = {"name": name, "type": alias, "size": size}
    else:
        answer["log"] = "unknown command"
    return answer
