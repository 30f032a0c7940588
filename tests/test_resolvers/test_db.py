"""Databases of the reference's tables, written by hand: the table of conformance.py, and files that are none."""
from __future__ import absolute_import

import os
import random
import sqlite3

import pytest

from lbc.errors import FormatError, InputError, LbcError, NotFoundError
from lbc.resolvers import model
from lbc.resolvers.db import DbResolver

from . import conformance


@pytest.fixture
def path(tmpdir):
    return conformance.write_db(str(tmpdir.join("info-5.10.0.db")))


@pytest.mark.parametrize("thing", [conformance.OURS, conformance.REFERENCE], ids=["ours", "reference"])
def test_conformance(tmpdir, thing):
    path = conformance.write_db(str(tmpdir.join("info.db")), thing)
    before = sorted(os.listdir(str(tmpdir))), os.stat(path).st_mtime
    with open(path, "rb") as stream:
        content = stream.read()
    with DbResolver(path) as resolver:
        conformance.check(resolver, param_names=False)
        function, = resolver.functions("thing_sum")
        assert (function.file, function.line) == ("things.c", 84)
    with open(path, "rb") as stream:
        assert stream.read() == content
    assert (sorted(os.listdir(str(tmpdir))), os.stat(path).st_mtime) == before


def test_enums_that_typedefs_name(path):
    with DbResolver(path) as resolver:
        assert resolver.enumerator("LIGHT") == 7 and resolver.enumerator("GLARING") == 8
        assert resolver.enumerator("BLUE") == -1 and resolver.enumerator("IGHT") is None
        assert resolver.enumerator("") is None and resolver.enumerator("*") is None
        assert model.strip(resolver.named("tone_t")).values == {0: "RED", 5: "GREEN", -1: "BLUE"}
        assert resolver.type("shade_t").size == 4


def test_near_names(path):
    with DbResolver(path) as resolver:
        assert resolver.near("function", "thing_opne")[0] == "thing_open"
        assert resolver.near("struct", "thimg") == ["thing"]
        with pytest.raises(NotFoundError) as caught:
            resolver.type("struct thimg *")
        assert "did you mean `thing`" in str(caught.value) and path in str(caught.value)
        with pytest.raises(NotFoundError) as caught:
            resolver.get_functions("thing_fimd")
        assert caught.value.near[0] == "thing_find"


@pytest.mark.parametrize("name", ["thing' OR '1'='1", "x'; DROP TABLE funs; --", "\"", "%", "_____", "thing\0", "*",
    "[a-z]*",
                                  "\xc3\xa9", "x" * 100000])
def test_names_are_parameters(path, name):
    with DbResolver(path) as resolver:
        assert resolver.functions(name) == [] and resolver.record("struct", name) is None
        assert resolver.named(name) is None and resolver.enumerator(name) is None
        assert resolver.near("function", name) == [] or name.startswith("thing")
        conformance.check_functions(resolver, False)


def test_an_older_database(tmpdir):
    """Without `module` (the first ones had none), without `files`, without text in `line`."""
    tables = conformance.TABLES
    path = conformance.write_db(str(tmpdir.join("old.db")))
    connection = sqlite3.connect(path)
    connection.executescript("""ALTER TABLE funs RENAME TO old;
        CREATE TABLE funs (id INTEGER, func TEXT, args TEXT, ret TEXT,
        line INTEGER, fid INTEGER); INSERT INTO funs SELECT id, func, args, ret, NULL, fid FROM old; DROP TABLE old;
        DROP TABLE files;""")
    connection.close()
    assert "module" in tables
    with DbResolver(path) as resolver:
        function, = resolver.functions("thing_open", "any")  # which module it is of is not known
        assert (function.module, function.file, function.line) == ("", "", 0)


def test_modules(tmpdir):
    path = conformance.write_db(str(tmpdir.join("prev.db")), module="my-driver")
    with DbResolver(path) as resolver:
        assert resolver.functions("thing_open")[0].module == "my_driver"
        assert resolver.functions("thing_open", "my-driver") and not resolver.functions("thing_open", "")


def test_32_bit(tmpdir):
    path = conformance.write_db(str(tmpdir.join("arm.db")))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE types SET bytes = 4 WHERE alias = 'void *'")
    connection.commit()
    connection.close()
    with DbResolver(path) as resolver:
        assert resolver.type("struct thing *").size == 4 and resolver.type("unsigned long").size == 4
        assert resolver.type("size_t").size == 4 and resolver.type("u64").size == 8


def test_files_that_are_none(tmpdir, path):
    missing = str(tmpdir.join("missing.db"))
    with pytest.raises(InputError) as caught:
        DbResolver(missing).functions("x")
    assert "No such file" in str(caught.value)
    assert not os.path.exists(missing)      # SQLite makes files that it is to open
    for name, data in (("empty", b""), ("text", b"hello\n" * 100), ("magic", b"SQLite format 3\0"),
            ("elf", b"\x7fELF" + b"\0" * 99)):
        tmpdir.join(name).write_binary(data)
        with pytest.raises(FormatError) as caught:
            DbResolver(str(tmpdir.join(name))).record("struct", "x")
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError):
        DbResolver(str(tmpdir)).record("struct", "x")
    other = sqlite3.connect(str(tmpdir.join("other.db")))
    other.execute("CREATE TABLE bookmarks (id INTEGER)")
    other.close()
    with pytest.raises(FormatError) as caught:
        DbResolver(str(tmpdir.join("other.db"))).functions("x")
    assert "no table `funs`" in str(caught.value)


def edited(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.executescript(statement)
    connection.commit()
    connection.close()
    return DbResolver(path)


@pytest.mark.parametrize("statement", [
    "UPDATE funs SET args = 'no json'", "UPDATE funs SET args = '{}'", "UPDATE funs SET args = '[1]'",
    "UPDATE funs SET args = 5",
    "UPDATE funs SET args = NULL", "UPDATE funs SET args = '%s'" % ("[" * 100000), "UPDATE funs SET ret = 'int $'",
    "UPDATE funs SET line = 'x'", "UPDATE funs SET line = -1", "UPDATE funs SET line = 1e300",
    "UPDATE funs SET args = x'ff00'",
    "UPDATE funs SET ret = x'00'", "UPDATE files SET file = x'07'", "UPDATE funs SET module = x'00'",
])
def test_wrong_functions(path, statement):
    with edited(path, statement) as resolver:
        with pytest.raises(FormatError) as caught:
            resolver.functions("thing_open")
        assert "\n" not in str(caught.value) and path in str(caught.value)


@pytest.mark.parametrize("statement", [
    "UPDATE members SET types = 'int ('", "UPDATE members SET types = NULL", "UPDATE members SET types = ''",
    "UPDATE members SET name = NULL", "UPDATE members SET name = x'01'",
    "UPDATE members SET name = 'name[x]' WHERE name = 'name[16]'",
    "UPDATE members SET name = 'name[99999999999]' WHERE name = 'name[16]'", "UPDATE members SET offset = -8",
    "UPDATE members SET offset = 'far'", "UPDATE members SET offset = 1e30", "UPDATE members SET bytes = -1",
    "UPDATE members SET bits = '3'", "UPDATE members SET bits = 'a:b'", "UPDATE members SET bits = '0:999'",
    "UPDATE members SET bits = 4", "UPDATE structs SET bytes = 'big'", "UPDATE structs SET bytes = -4",
    "UPDATE members SET types = '%s'" % ("int (*)(" * 60),
])
def test_wrong_members(path, statement):
    with edited(path, statement) as resolver:
        with pytest.raises(FormatError) as caught:
            record = resolver.record("struct", "thing")
            assert record.members
        assert "\n" not in str(caught.value) and path in str(caught.value)


def test_a_view_is_no_table(path):
    """It could be any program, one that never ends for example."""
    with edited(path, "DROP TABLE funs",
            """CREATE VIEW funs AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
            SELECT x AS id, 'f' AS func, '[]' AS args, 'int' AS ret, 1 AS line, 1 AS fid, '' AS module
            FROM n""") as resolver:
        with pytest.raises(FormatError) as caught:
            resolver.functions("f")
        assert "no table `funs`" in str(caught.value)


def test_a_query_that_takes_too_long_is_ended(path, monkeypatch):
    from lbc.resolvers import db
    monkeypatch.setattr(db, "_SECONDS", -1)
    monkeypatch.setattr(db, "_STEPS", 1)
    with DbResolver(path) as resolver:
        with pytest.raises(FormatError) as caught:
            resolver.functions("thing_open")
        assert "gave up" in str(caught.value)


def test_members_that_contain_each_other(path):
    """A typedef of itself, a struct by value in itself: asked for, they end."""
    with edited(path, "UPDATE types SET alias = 'cookie_t' WHERE name = 'cookie_t'",
                "UPDATE members SET types = 'struct inner' WHERE name = 'a'") as resolver:
        with pytest.raises(LbcError):
            model.strip(resolver.type("cookie_t")).size
        inner = resolver.record("struct", "inner")
        assert model.find_member(inner, "a").type.text == "struct inner"


def test_damage(path, tmpdir):
    """Bytes turned anywhere: the answer or a FormatError."""
    rng = random.Random(7)
    with open(path, "rb") as stream:
        good = stream.read()
    target, outcomes = str(tmpdir.join("bad.db")), set()
    for _ in range(150):
        data = bytearray(good)
        for _turn in range(rng.choice((1, 4, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(100, len(data)):]
        with open(target, "wb") as stream:
            stream.write(bytes(data))
        try:
            with DbResolver(target) as resolver:
                outcomes.add(conformance.explore(resolver) > 0)
        except LbcError:
            outcomes.add("refused")
    assert outcomes == {True, "refused"}


def test_a_journal_is_not_written_back(path):
    """An unfinished change beside the file: refused or ignored, never written back."""
    with open(path + "-journal", "wb") as stream:
        stream.write(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 600)
    with open(path, "rb") as stream:
        before = stream.read()
    try:
        with DbResolver(path) as resolver:
            assert resolver.functions("thing_open")
    except FormatError as error:
        assert "journal" in str(error)
    with open(path, "rb") as stream:
        assert stream.read() == before
    assert os.path.exists(path + "-journal")
