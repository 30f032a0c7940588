"""Types of BTF: the table of conformance.py, the running kernel's against bpftool and pahole, modules, damage."""
from __future__ import absolute_import

import os
import random
import re
import subprocess
import time

import pytest

from lbc.btf import encode, kinds, parse
from lbc.errors import FormatError, InputError, LbcError, NotFoundError, NotSupported
from lbc.resolvers import btf as subject
from lbc.resolvers import model
from lbc.resolvers.base import FuncQuery
from lbc.resolvers.btf import BtfResolver
from tests.btfwriter import Words
from tests.test_btf.truth import bpftool_types

from . import conformance

THINGS = os.path.join(conformance.DATA, "things.btf")
VMLINUX = "/sys/kernel/btf/vmlinux"
INT32 = 0x01000020
needs_kernel = pytest.mark.skipif(not os.access(VMLINUX, os.R_OK), reason="this kernel has no BTF")


@pytest.fixture
def things():
    with BtfResolver(THINGS) as resolver:
        yield resolver


@pytest.fixture
def kernel():
    with BtfResolver() as resolver:
        yield resolver


@pytest.mark.parametrize("name", ["things.btf", "things_be.btf"])
def test_conformance(name):
    with BtfResolver(os.path.join(conformance.DATA, name)) as resolver:
        conformance.check(resolver)
        assert resolver.enumerator("GREEN") == 5 and resolver.enumerator("BLUE") == -1
        assert resolver.enumerator("flags") is None and resolver.enumerator("") is None
        color = resolver.enum("color")
        assert (color.text, color.size, color.signed, color.values) == ("enum color", 4, True, {0: "RED", 5: "GREEN",
                                                                                              -1: "BLUE"})
        assert resolver.type("enum color *").text == "enum color *"
        assert resolver.variable("counter").text == "int" and resolver.variable("nothing") is None
        assert resolver.variable("first_thing").find("cookie").bit_offset == 1600
        assert resolver.functions("thing_open")[0].text == "int thing_open(struct thing *thing, char *name, u64 flags)"
        user = resolver.record("struct", "thing").find("ubuf").type
        assert user.user and not resolver.record("struct", "thing").find("label").type.user
        assert resolver.type("struct thing __user *").user and not resolver.type("struct thing *").user
        assert resolver.type("char").signed is True


def test_the_numbers_are_paholes(tmpdir):
    """gcc and pahole about the same file: where every member of conformance.MEMBERS lies."""
    compiled = str(tmpdir.join("things.o"))
    try:
        subprocess.check_call(["gcc", "-g", "-c", os.path.join(conformance.DATA, "things.c"), "-o", compiled])
        out = subprocess.check_output(["pahole", "-C", "thing", compiled]).decode()
    except (EnvironmentError, subprocess.CalledProcessError) as error:
        pytest.skip("no gcc or pahole: %s" % error)
    ours = {path.split(".")[-1]: (offset * 8 + (bits or (0, 0))[0], (bits or (0, 0))[1], size)
            for path, _type, offset, bits, size in conformance.MEMBERS}
    theirs = pahole_members(out)
    assert len(theirs) > 20
    for name in set(theirs) & set(ours):
        offset, width, size = ours[name]
        assert theirs[name] == (offset, width, size), name
    assert not set(theirs) - set(ours) - {"in", "word"}


def pahole_members(text):
    """{name: (bit offset, bits, bytes)} of pahole's listing, whatever is nested."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\t.*?(\w+)\)?(?:\(.*\))?(?:\[\w*\])*(?::(\d+))?;\s*/\*\s+(\d+)(?::\s*(\d+))?\s+(\d+)", line)
        if match and not line.strip().startswith("}"):
            name, width, offset, bit, size = match.groups()
            found[name] = (8 * int(offset) + int(bit or 0), int(width or 0), int(size))
    return found


def test_the_fixture_is_what_clang_makes_of_its_source(tmpdir):
    for target, name in (("bpf", "things.btf"), ("bpfeb", "things_be.btf")):
        made = str(tmpdir.join(name))
        try:
            subprocess.check_call(["clang-16", "-g", "-O1", "-fno-ident", "-fdebug-compilation-dir=/", "-target",
                target, "-c", "things.c", "-o", made + ".o"],
                                  cwd=conformance.DATA)
            subprocess.check_call(["llvm-objcopy-16", "--dump-section", ".BTF=" + made, made + ".o", made + ".out"])
        except (EnvironmentError, subprocess.CalledProcessError) as error:
            pytest.skip("no clang 16: %s" % error)
        with open(made, "rb") as new, open(os.path.join(conformance.DATA, name), "rb") as old:
            assert new.read() == old.read(), name


# -- the running kernel ----------------------------------------------------------------------------------------------
class Truth(object):
    """bpftool's dump of a BTF, read without lbc."""

    def __init__(self, rows):
        self.rows = {row["id"]: row for row in rows}

    def text(self, type_id):
        """C text of a type of pointers, arrays and names; None for others."""
        if not type_id:
            return "void"
        row = self.rows[type_id]
        kind = row["kind"]
        if kind in ("CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"):
            return self.text(row["type_id"])
        if kind == "PTR":
            inner = self.text(row["type_id"])
            return None if inner is None or inner.endswith("]") else inner + ("*" if inner.endswith("*") else " *")
        if kind == "ARRAY":
            inner = self.text(row["type_id"])
            if inner is None:
                return None
            base, bracket, dimensions = inner.partition("[")
            space = "" if base.endswith(("*", " ")) else " "
            return "%s%s[%d]%s" % (base, space, row["nr_elems"], bracket + dimensions)
        if kind in ("STRUCT", "UNION", "ENUM", "ENUM64", "FWD"):
            keyword = row.get("fwd_kind") or kind.lower().replace("64", "")
            return "%s %s" % (keyword, "(anonymous)" if row["name"] == "(anon)" else row["name"])
        if kind == "INT":
            words = sorted(row["name"].split())
            if "int" in words and len(words) > 1 and words != ["int", "unsigned"]:
                words.remove("int")
            return " ".join(sorted(words, key=["unsigned", "signed", "__int128", "long", "short", "int", "char",
                "_Bool"].index))
        return row["name"] if kind in ("TYPEDEF", "FLOAT") else None

    def members(self, type_id):
        return [("" if m["name"] == "(anon)" else m["name"], m["type_id"], m["bits_offset"], m.get("bitfield_size", 0))
                for m in self.rows[type_id]["members"]]


@pytest.fixture(scope="module")
def rows():
    """The kernel's types as bpftool dumps them."""
    found = bpftool_types(VMLINUX)
    if found is None:
        pytest.skip("no bpftool")
    return found


@needs_kernel
def test_members_of_50_kernel_structs(kernel, rows):
    truth, rng = Truth(rows), random.Random(20)
    first, members = {}, 0
    for row in rows:
        if row["kind"] in ("STRUCT", "UNION") and row["name"] != "(anon)":
            first.setdefault((row["kind"].lower(), row["name"]), row["id"])
    wanted = [("struct", name) for name in ("task_struct", "sk_buff", "file", "inode", "sock", "mm_struct", "tcp_sock",
                                            "iphdr", "page", "net_device")]
    wanted += rng.sample(sorted(key for key in first if len(truth.rows[first[key]]["members"]) > 4), 40)
    for keyword, name in wanted:
        record = kernel.record(keyword, name)
        assert record.size == truth.rows[first[keyword, name]]["size"]
        members += compare_members(truth, first[keyword, name], record)
    assert members > 1000


def compare_members(truth, type_id, record, depth=0):
    """Every member of a record as bpftool has it, anonymous ones to the bottom; how many."""
    theirs, count = truth.members(type_id), 0
    assert len(theirs) == len(record.members)
    for (name, inner, offset, width), ours in zip(theirs, record.members):
        count += 1
        assert (ours.name, ours.bit_offset, ours.bit_size) == (name, offset, width), (record.text, name)
        text = truth.text(inner)
        if text is not None:
            assert ours.type.text == text, (record.text, name)
        if name:
            found = record.find(name)
            assert (found.bit_offset, found.bit_size, found.type.text) == (offset, width, ours.type.text)
        elif truth.rows[inner]["kind"] in ("STRUCT", "UNION"):
            count += compare_members(truth, inner, ours.type, depth + 1)
            for deep in model.member_names(ours.type)[:3]:
                assert record.find(deep).bit_offset == offset + ours.type.find(deep).bit_offset
    return count


@needs_kernel
def test_kernel_functions(kernel, rows):
    truth, rng = Truth(rows), random.Random(5)
    functions = [row for row in rows if row["kind"] == "FUNC"]
    by_name = {}
    for row in functions:
        by_name.setdefault(row["name"], []).append(row)
    for name in ["vfs_read", "wake_up_new_task"] + rng.sample(sorted(by_name), 60):
        found = kernel.functions(name)
        assert len(found) == len(by_name.get(name, ()))
        for row, function in zip(by_name[name], found):
            proto = truth.rows[row["type_id"]]
            assert len(function.params) == len(proto["params"])
            for ours, theirs in zip(function.params, proto["params"]):
                assert ours.name == ("" if theirs["name"] == "(anon)" else theirs["name"])
                text = truth.text(theirs["type_id"])
                if text is not None and not (theirs["name"] == "(anon)" and not theirs["type_id"]):
                    assert ours.type.text == text
            assert truth.text(proto["ret_type_id"]) in (function.ret.text, None)

    def takes(row, text):
        return text in [truth.text(p["type_id"]) for p in truth.rows[row["type_id"]]["params"]]
    for query, wanted in (
            (FuncQuery("tcp_v4_%", limit=9999), [r for r in functions if r["name"].startswith("tcp_v4_")]),
            (FuncQuery("%_sock%", arg="struct sock *", limit=9999),
             [r for r in functions if "_sock" in r["name"] and takes(r, "struct sock *")]),
            (FuncQuery(None, ret="struct file *", limit=9999),
             [r for r in functions if truth.text(truth.rows[r["type_id"]]["ret_type_id"]) == "struct file *"])):
        found = kernel.search_functions(query)
        assert wanted and [f.name for f in found] == [r["name"] for r in wanted]
    for row in rows:
        if row["kind"] in ("ENUM", "ENUM64") and row["name"] in ("pid_type", "bpf_map_type", "zone_type"):
            for value in row["values"]:
                assert kernel.enumerator(value["name"]) == value["val"]
    records = [row for row in rows if row["kind"] in ("STRUCT", "UNION") and row["name"].endswith("_struct")]
    assert kernel.search_records("%_struct", 9999) == [
        ("%s %s" % (row["kind"].lower(), row["name"]), row["size"], len(row["members"])) for row in records]


@needs_kernel
def test_kernel_near_names(kernel):
    with pytest.raises(NotFoundError) as caught:
        kernel.type("struct task_strukt *")
    assert caught.value.near[0] == "task_struct" and "the kernel's BTF" in str(caught.value)
    with pytest.raises(NotFoundError) as caught:
        kernel.get_functions("vfs_raed")
    assert caught.value.near[0] == "vfs_read"
    with pytest.raises(NotFoundError) as caught:
        kernel.type("task_struct *")
    assert "write `struct task_struct`" in str(caught.value)
    with pytest.raises(NotFoundError) as caught:
        model.find_member(kernel.record("struct", "task_struct"), "comn")
    assert caught.value.near[0] == "comm"


# -- what is read ----------------------------------------------------------------------------------------------------
def test_one_member_reads_one_member(things, monkeypatch):
    monkeypatch.setattr(subject.View, "members", lambda *words: pytest.fail("all members were read"))
    thing = things.type("struct thing *").target
    assert thing.size == 208 and model.find_member(thing, "second").bit_offset == 112
    assert thing.find("pos.x") is None and thing.find("") is None      # a path and nothing are no names


def test_nothing_is_opened_before_the_first_question(tmpdir):
    resolver = BtfResolver(str(tmpdir.join("missing")))
    with pytest.raises(InputError) as caught:
        resolver.record("struct", "thing")
    assert "missing" in str(caught.value) and "\n" not in str(caught.value)
    resolver.close()
    resolver.close()


def test_where_there_is_none(monkeypatch, tmpdir):
    monkeypatch.delenv("LBC_BTF", raising=False)
    monkeypatch.setattr(subject, "kernel_btf_paths", lambda release: [str(tmpdir.join("vmlinux-" + release))])
    with pytest.raises(NotSupported) as caught:
        BtfResolver(release="4.19.0").functions("x")
    assert "vmlinux-4.19.0" in str(caught.value) and "-d FILE" in str(caught.value)
    monkeypatch.setenv("LBC_BTF", str(tmpdir.join("nothing")))
    with pytest.raises(InputError) as caught:
        BtfResolver().functions("x")
    assert "LBC_BTF names this file" in str(caught.value)
    monkeypatch.setenv("LBC_BTF", THINGS)
    with BtfResolver() as resolver:
        assert resolver.record("struct", "thing").size == 208


# -- modules -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def system(tmpdir, monkeypatch):
    """A kernel (things.btf) with modules: `driver` defines opaque and functions, `broken` and `empty` are in the way.
    """
    with open(THINGS, "rb") as stream:
        data = stream.read()
    tmpdir.join("vmlinux").write_binary(data)
    base = parse.Btf(data)
    module = encode.Builder(base)
    number = base.find_one("int", 1)
    opaque = module.add(kinds.Struct("opaque", 8, [kinds.Member("inside", number, 32)]))
    pointer = module.add(kinds.Ptr(opaque))
    module.add(kinds.Func("driver_start", module.add(kinds.FuncProto(number,
        [("thing", base.find_one("thing", 4)), ("op", pointer)])), 1))
    module.add(kinds.Func("thing_find", module.add(kinds.FuncProto(0, [("op", pointer)])), 1))
    module.add(kinds.Enum("state", 4, False, [("DRIVER_ON", 3)]))
    module.add(kinds.Typedef("driver_id", number))
    tmpdir.join("driver").write_binary(module.bytes())
    tmpdir.join("broken").write_binary(b"\x9f\xeb\x01\0" + b"\0driver_start\0DRIVER_ON\0opaque\0" * 4)
    tmpdir.join("empty").write_binary(data[:24])
    monkeypatch.setattr(subject, "SYSFS", str(tmpdir))
    monkeypatch.setattr(subject, "kernel_btf", lambda release: str(tmpdir.join("vmlinux")))
    with BtfResolver() as resolver:
        yield resolver


def test_modules_are_asked_for_what_the_kernel_does_not_know(system):
    function, = system.functions("driver_start")
    assert function.text == "int driver_start(struct thing thing, struct opaque *op)" and function.module == "driver"
    assert system.functions("driver_start", "driver") and not system.functions("driver_start", "")
    assert system.functions("driver_start", "vmlinux") == [] == system.functions("driver_start", "empty")
    assert [f.module for f in system.functions("thing_find")] == [""]   # the kernel's own comes first
    assert [f.module for f in system.functions("thing_find", "driver")] == ["driver"]
    assert system.functions("thing_open", "driver") == [] == system.functions("thing_open", "no_such")
    assert system.record("struct", "opaque").find("inside").bit_offset == 32
    assert system.enumerator("DRIVER_ON") == 3 and system.enumerator("GREEN") == 5
    assert system.named("driver_id").size == 4 and system.enum("state").values == {3: "DRIVER_ON"}
    assert [f.name for f in system.search_functions(FuncQuery(None, arg="struct opaque *"))] == ["driver_start",
        "thing_find"]
    assert [f.name for f in system.search_functions(FuncQuery("driver%", arg="struct thing"))] == ["driver_start"]
    assert ("struct opaque", 8, 1) in system.search_records("%")
    assert system.record("struct", "thing") is system.record("struct", "thing")


def test_a_declaration_is_looked_up_when_its_members_are_wanted(system):
    """vmlinux only declares opaque; the module defines it."""
    opaque = system.record("struct", "thing").find("opaque").type.target
    assert opaque.text == "struct opaque" and "driver" in system._modules     # the text needs no module
    assert opaque.size == 8 and model.find_member(opaque, "inside").bit_offset == 32 and opaque.known
    assert system.type("struct opaque *").target.size == 8


# -- kinds that C of today's kernel hardly has -----------------------------------------------------------------------
def resolver_of(data, tmpdir):
    path = tmpdir.join("some.btf")
    path.write_binary(data)
    return BtfResolver(str(path))


def test_bit_fields_as_ints(tmpdir):
    """Before kind_flag: an int whose width is not its size (Documentation/bpf/btf.rst, BTF_KIND_INT)."""
    words = Words().type("unsigned int", 1, 4, extra=[32]).type("unsigned int", 1, 4, extra=[3])
    words.type("unsigned int", 1, 4, extra=[2 << 16 | 5])
    words.type("old", 4, 8, vlen=3, extra=["all", 1, 0, "low", 2, 32, "high", 3, 40])
    with resolver_of(words.btf(), tmpdir) as resolver:
        old = resolver.record("struct", "old")
        rows = [(m.name, m.bit_offset, m.bit_size) for m in old.members]
        assert rows == [("all", 0, 0), ("low", 32, 3), ("high", 42, 5)]
        assert [(old.find(name).bit_offset, old.find(name).bit_size) for name in ("low", "high")] == [(32, 3), (42, 5)]


def test_wide_enums(tmpdir):
    words = Words().type("wide", 19, 8, vlen=2, extra=["SMALL", 1, 0, "HUGE", 0x89abcdef, 0x01234567])
    words.type("negative", 19, 8, vlen=1, flag=1, extra=["LESS", 0xffffffff, 0xffffffff])
    with resolver_of(words.btf(), tmpdir) as resolver:
        assert resolver.enumerator("HUGE") == 0x0123456789abcdef and resolver.enumerator("LESS") == -1
        assert resolver.enum("wide").values == {1: "SMALL",
            0x0123456789abcdef: "HUGE"} and resolver.enum("wide").size == 8
        assert resolver.type("enum negative").signed


def test_user_pointers_keep_it_behind_modifiers(tmpdir):
    words = Words().type("char", 1, 1, extra=[0x01000008]).type("user", 18, 1).type("", 10, 2).type("", 2, 3)
    words.type("rcu", 18, 1).type("", 2, 5).type("s", 4, 16, vlen=2, extra=["u", 4, 0, "k", 6, 64])
    with resolver_of(words.btf(), tmpdir) as resolver:
        record = resolver.record("struct", "s")
        assert [(m.type.text, m.type.user) for m in record.members] == [("char *", True), ("char *", False)]


# -- damage ------------------------------------------------------------------------------------------------------------
HOSTILE = {
    "typedefs in a circle": Words().type("a", 8, 2).type("b", 8, 1).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "pointers in a circle": Words().type("", 2, 2).type("", 2, 1).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "a pointer to itself": Words().type("", 2, 1).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "const in a circle": Words().type("", 10, 2).type("", 9, 1).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "an array of itself": Words().type("", 3, 0, extra=[1, 1, 2]).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "a struct in itself": Words().type("s", 4, 8, vlen=2, extra=["m", 1, 0, "", 1, 0]),
    "a struct in itself, twice": Words().type("s", 4, 8, vlen=3, extra=["", 1, 0, "", 1, 0, "m", 1, 0]),
    "two in each other, twice": Words().type("s", 4, 8, vlen=2, extra=["", 2, 0, "", 2, 0]).type(
        "", 4, 8, vlen=2, extra=["", 1, 0, "", 1, 0]),
    "a member of no type": Words().type("s", 4, 8, vlen=1, extra=["m", 99, 0]),
    "a member that is a function": Words().type("f", 12, 2).type("", 13, 0).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "a function that takes itself": Words().type("", 2, 2).type("", 13, 1, vlen=2, extra=["", 1, "", 1]).type(
        "f", 12, 2).type("s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "a function without prototype": Words().type("i", 1, 4, extra=[INT32]).type("f", 12, 1).type(
        "s", 4, 8, vlen=1, extra=["m", 1, 0]),
    "a name outside": Words().type("s", 4, 8, vlen=1, extra=[1 << 20, 1, 0]),
    "a struct that is cut off": Words().type("s", 4, 8, vlen=1000, extra=["m", 1, 0]),
    "an unknown kind": Words().type("k", 31, 0).type("s", 4, 8, vlen=1, extra=["m", 2, 0]),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_hostile(what, tmpdir):
    """A value or a FormatError, soon."""
    started = time.time()
    with resolver_of(HOSTILE[what].btf(), tmpdir) as resolver:

        def record():
            return resolver.record("struct", "s") or model.Record("struct", "s", 0)

        def type_of_m():
            return (record().find("m") or model.Member("m", model.Void(), 0, 0)).type
        for question in (
                lambda: [m.type.text for m in record().members], lambda: [m.type.size for m in record().members],
                lambda: type_of_m().text, lambda: type_of_m().size, lambda: record().find("missing"),
                lambda: model.member_names(record()), lambda: model.find_member(record(), "n"),
                lambda: model.strip(resolver.named("a")), lambda: [f.text for f in resolver.functions("f")],
                lambda: [f.text for f in resolver.search_functions(FuncQuery("%", arg="int"))],
                lambda: resolver.enumerator("m"), lambda: resolver.search_records("%"), lambda: resolver.variable("m"),
                lambda: resolver.type("struct s *").target.size):
            try:
                question()
            except (FormatError, NotFoundError):
                pass
    assert time.time() - started < 20


def test_damage(tmpdir):
    """Bytes and words of things.btf turned anywhere."""
    rng, outcomes = random.Random(3), {"fine": 0, "refused": 0}
    with open(THINGS, "rb") as stream:
        good = stream.read()
    for number in range(250):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(data))
            data[at] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
        if number % 10 == 0:
            del data[rng.randrange(len(data)):]
        with resolver_of(bytes(data), tmpdir) as resolver:
            try:
                conformance.explore(resolver)
                outcomes["fine"] += 1
            except LbcError:
                outcomes["refused"] += 1
    assert outcomes["fine"] > 20 and outcomes["refused"] > 20
