"""Kernel modules (.ko files) -> a SQLite database of their functions and types: command `ko`.

Modules have BTF since 5.11, split from their kernel's: what they refer to is in the BTF of exactly that kernel, or,
since 6.11 ("btf: Add support for .BTF.base"), in a distilled copy of it in their own section .BTF.base.
"""
from __future__ import absolute_import

import os

from .._py23 import string_types, to_bytes, to_text, to_unicode
from ..errors import FormatError, InputError, LbcError
from .answers import function_row, record_row, type_row

__all__ = ["database"]

MOST_FILES, MOST_BYTES = 32, 16 << 20
_MOST_ROWS = 1 << 16
# The reference's tables (SPEC: type resolvers), with indexes.
_TABLES = (
    "CREATE TABLE files (id INTEGER PRIMARY KEY, file TEXT)",
    "CREATE TABLE funs (id INTEGER PRIMARY KEY, func TEXT, args JSON, ret TEXT, line INTEGER, fid INTEGER, "
    "module TEXT)",
    "CREATE TABLE structs (id INTEGER PRIMARY KEY, name TEXT, members INTEGER, bytes INTEGER)",
    "CREATE TABLE members (id INTEGER PRIMARY KEY, fid INTEGER, types TEXT, name TEXT, offset INTEGER, bytes INTEGER, "
    "bits TEXT)",
    "CREATE TABLE types (id INTEGER PRIMARY KEY, name TEXT, alias TEXT, bytes INTEGER)",
    "CREATE INDEX funs_func ON funs (func)",
    "CREATE INDEX structs_name ON structs (name)",
    "CREATE INDEX members_fid ON members (fid)",
    "CREATE INDEX types_name ON types (name)",
)


def _files(kos):
    """[(module name, bytes)] of {file name: base64}."""
    if not isinstance(kos, dict) or not kos:
        raise InputError("`kos` is no object of file names and base64")
    if len(kos) > MOST_FILES:
        raise InputError("%d modules at once, %d are allowed" % (len(kos), MOST_FILES))
    from binascii import Error, a2b_base64
    found, total = [], 0
    for name in sorted(kos):
        text = kos[name]
        if not isinstance(text, string_types):
            raise InputError("`kos`: %s is no base64" % to_text(name)[:60])
        try:
            data = a2b_base64(to_bytes(text))
        except (Error, ValueError) as error:
            raise InputError("`kos`: %s is no base64: %s" % (to_text(name)[:60], error))
        total += len(data)
        if total > MOST_BYTES:
            raise InputError("the modules have more than %d bytes together" % MOST_BYTES)
        base = os.path.basename(to_text(name))
        found.append((base.partition(".ko")[0].replace("-", "_"), data))
    return found


def _view(module, data, base_path, owner):
    """(resolvers.btf.View of the module's own types, [Btf to close])."""
    from ..btf.parse import Btf, open_btf
    from ..elf.reader import Elf
    from ..resolvers.btf import View
    elf = Elf(data, module + ".ko")
    try:
        section, own_base = elf.section(".BTF"), elf.section(".BTF.base")
        if section is None:
            raise InputError(
                "%s.ko has no BTF, and its DWARF is not read yet: build it with CONFIG_DEBUG_INFO_BTF_MODULES" % module
            )
        raw = bytes(elf.data(section))
        if own_base is not None:
            base = Btf(bytes(elf.data(own_base)), None, module + ".ko .BTF.base")
        elif base_path is not None:
            base = open_btf(base_path)
        else:
            raise InputError("%s.ko: the BTF of its kernel, which its types refer to, is not here" % module)
    finally:
        elf.close()
    btf = Btf(raw, base, module + ".ko")
    return View(btf, module, owner, View(base, "", owner)), [btf, base]


def database(kernel, kos, settings):
    """SQLite bytes of modules.  ``kernel``: hive.Kernel that they were built for.  InputError, FormatError."""
    import sqlite3
    from shutil import rmtree
    from tempfile import mkdtemp
    files = _files(kos)
    folder = mkdtemp()
    path = os.path.join(folder, "prev.db")
    try:
        connection = sqlite3.connect(path)
        try:
            for statement in _TABLES:
                connection.execute(statement)
            for module, data in files:
                _module(connection, module, data, kernel)
            connection.commit()
        finally:
            connection.close()
        with open(path, "rb") as stream:
            whole = stream.read()
    except sqlite3.Error as error:
        raise LbcError("the database cannot be written: %s" % error, error)
    finally:
        rmtree(folder, True)
    if len(whole) > settings.most_answer * 3 // 4:
        raise InputError("the database has %d bytes, more than an answer may have" % len(whole))
    return whole


def _module(connection, module, data, kernel):
    from json import dumps

    from ..resolvers.base import FuncQuery
    from ..resolvers.btf import BtfResolver
    from ..resolvers.btf_search import functions
    from ..uapi import btf as U
    owner = BtfResolver(kernel.btf)
    view, opened = _view(module, data, kernel.btf, owner)
    run = connection.execute
    try:
        for found in functions([view], FuncQuery(None, limit=_MOST_ROWS)):
            row = function_row(found)
            run("INSERT INTO funs (func, args, ret, line, fid, module) VALUES (?, ?, ?, 0, 0, ?)",
                [to_unicode(row["func"]), to_unicode(dumps(row["args"])), to_unicode(row["ret"]), to_unicode(module)])
        scan = view.scan()
        for at in scan.of_kind((U.BTF_KIND_STRUCT, U.BTF_KIND_UNION)):
            found = view.type(scan.id_at(at))
            if found.name:
                _record(run, record_row("%s %s" % (found.keyword, found.name), found))
        for at in scan.of_kind((U.BTF_KIND_TYPEDEF, U.BTF_KIND_ENUM, U.BTF_KIND_ENUM64)):
            found = view.type(scan.id_at(at))
            if "(anonymous)" not in found.text:
                row = type_row(found.text, found)
                run("INSERT INTO types (name, alias, bytes) VALUES (?, ?, ?)",
                    [to_unicode(row["name"]), to_unicode(row["type"]), row["size"]])
        run("INSERT INTO types (name, alias, bytes) SELECT '_', 'void *', ? WHERE NOT EXISTS "
            "(SELECT 1 FROM types WHERE name = '_')", [view.btf.pointer_size])
    except RuntimeError as error:   # nested deeper than Python goes
        raise FormatError("types without end: %s" % error, module + ".ko")
    finally:
        for btf in opened:
            btf.close()
        owner.close()


def _record(run, row):
    ident = run("INSERT INTO structs (name, members, bytes) VALUES (?, ?, ?)",
                [to_unicode(row["name"]), row["members"], row["size"]]).lastrowid
    for cell in row["cell"]:
        run("INSERT INTO members (fid, types, name, offset, bytes, bits) VALUES (?, ?, ?, ?, ?, ?)",
            [ident, to_unicode(cell["type"]), to_unicode(cell["name"]), cell["offset"], cell["size"],
             to_unicode(cell["bits"])])
