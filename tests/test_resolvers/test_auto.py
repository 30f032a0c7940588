"""Which source `open_resolver` takes, prev.db before all, and whose files are trusted."""
from __future__ import absolute_import

import os

import pytest

from lbc.errors import FormatError, InputError, LbcError, NotSupported
from lbc.resolvers import MODES, auto, open_resolver
from lbc.resolvers import btf as btf_module

from . import conformance

THINGS = os.path.join(conformance.DATA, "things.btf")
OVERLAY = [("thing_open", ["long"], "long", 1)]


@pytest.fixture(autouse=True)
def empty(tmpdir, monkeypatch):
    """A working folder, a home and an environment with nothing in them, and a kernel without BTF."""
    for name in ("LBC_BTF", "LBC_PREVDB", "LBC_SERVER", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmpdir.mkdir("home")))
    monkeypatch.chdir(str(tmpdir.mkdir("here")))
    monkeypatch.setattr(btf_module, "kernel_btf_paths", lambda release: [str(tmpdir.join("btf-" + release))])


def have_btf(tmpdir, release):
    with open(THINGS, "rb") as stream:
        tmpdir.join("btf-" + release).write_binary(stream.read())


def test_modes_can_all_be_opened(tmpdir):
    """Each row of the table leads to a function that is there."""
    path = conformance.write_db("x.db")
    for mode in MODES:
        with open_resolver(mode, release="5.10.0", vmlinux=THINGS, db=path, server="127.0.0.1:1") as resolver:
            if mode != "remote":
                assert resolver.record("struct", "thing").size == 208


def test_unknown_modes_and_missing_arguments():
    with pytest.raises(InputError) as caught:
        open_resolver("locla")
    assert "did you mean `local`" in str(caught.value) and "remote" in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_resolver("gdb")
    assert "-v FILE" in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_resolver("db", release="5.10.0")
    assert "info-5.10.0.db" in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_resolver("remote")
    assert "no server is configured" in str(caught.value)


def test_gdb_reads_the_files_btf(tmpdir):
    with open_resolver("gdb", vmlinux=THINGS) as resolver:
        assert resolver.functions("thing_open")[0].params[0].name == "thing"
    with pytest.raises(InputError) as caught:
        open_resolver("gdb", vmlinux="/proc/self/exe").record("struct", "thing")
    assert "has no BTF" in str(caught.value) and "pahole -J" in str(caught.value)
    tmpdir.join("text").write("hello, this is no file of types")
    with pytest.raises(FormatError):
        open_resolver("gdb", vmlinux=str(tmpdir.join("text"))).record("struct", "thing")


def test_nothing_is_there():
    resolver = open_resolver(release="5.10.0")
    with pytest.raises(NotSupported) as caught:
        resolver.record("struct", "thing")
    for word in ("5.10.0", "info-5.10.0.db", "LBC_BTF=FILE", "-r HOST"):
        assert word in str(caught.value)
    resolver.close()


def test_order(tmpdir, monkeypatch):
    """BTF before a database before a server; what an argument names before all."""
    monkeypatch.setenv("LBC_SERVER", "127.0.0.1:1")
    assert open_resolver(release="5.10.0").where == "the server http://127.0.0.1:1/lbc"
    cache = tmpdir.join("home").mkdir(".cache").mkdir("lbc")
    cached = conformance.write_db(str(cache.join("info-5.10.0.db")))
    assert open_resolver(release="5.10.0").where == cached
    conformance.write_db("info-5.10.0.db")
    assert open_resolver(release="5.10.0").where == "info-5.10.0.db"
    assert open_resolver(release="5.10.0", server="127.0.0.1:2").where == "the server http://127.0.0.1:2/lbc"
    have_btf(tmpdir, "5.10.0")
    assert open_resolver(release="5.10.0").where == "the kernel's BTF"
    assert open_resolver(release="5.10.0", db=cached).where == cached
    assert open_resolver(release="5.10.0", vmlinux=THINGS).where == "the BTF of " + THINGS
    assert open_resolver(release="5.10.0", machine="other").where == "info-5.10.0.db"   # this machine's BTF is not its
    os.remove("info-5.10.0.db")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmpdir))
    assert open_resolver(release="6.1.0").where == "the server http://127.0.0.1:1/lbc"
    tmpdir.mkdir("lbc")
    conformance.write_db(str(tmpdir.join("lbc", "info-6.1.0.db")))
    assert open_resolver(release="6.1.0").where == str(tmpdir.join("lbc", "info-6.1.0.db"))


def test_a_btf_of_the_environment(monkeypatch):
    monkeypatch.setenv("LBC_BTF", THINGS)
    with open_resolver() as resolver:
        conformance.check(resolver)


def test_prev_db_is_asked_first(tmpdir):
    have_btf(tmpdir, "5.10.0")
    conformance.write_db("prev.db", funs=OVERLAY, module="driver")
    with open_resolver(release="5.10.0") as resolver:
        function, = resolver.functions("thing_open")
        assert (function.text, function.module) == ("long thing_open(long)", "driver")
        assert resolver.functions("thing_find")[0].params[0].name == "number"   # only the BTF knows names
        assert resolver.record("struct", "thing").find("in").type.size == 8
        assert resolver.enumerator("GREEN") == 5 and resolver.enumerator("LIGHT") == 7
        assert "prev.db" in resolver.where and "BTF" in resolver.where


def test_types_of_prev_db_are_completed_by_the_others(tmpdir):
    """A row that names a struct which only the kernel has."""
    have_btf(tmpdir, "5.10.0")
    connection = conformance.sqlite3.connect(conformance.write_db("prev.db", funs=OVERLAY))
    connection.execute("DELETE FROM structs WHERE name = 'struct inner'")
    connection.execute("INSERT INTO structs VALUES (9, 'struct mine', 1, 8)")
    connection.execute("INSERT INTO members (fid, types, name, offset, bytes) VALUES (9, 'struct inner *', 'in', 0, 8)")
    connection.commit()
    connection.close()
    with open_resolver(release="5.10.0") as resolver:
        inner = resolver.record("struct", "mine").find("in").type.target
        assert inner.size == 8 and inner.find("b").bit_offset == 32


def test_prev_db_of_the_environment(tmpdir, monkeypatch):
    have_btf(tmpdir, "5.10.0")
    conformance.write_db("prev.db", funs=[])
    path = conformance.write_db(str(tmpdir.join("mine.db")), funs=OVERLAY)
    os.chmod(path, 0o666)   # whoever names a file trusts it
    monkeypatch.setenv("LBC_PREVDB", path)
    for mode in ("auto", "btf"):
        with open_resolver(mode, release="5.10.0") as resolver:
            assert resolver.functions("thing_open")[0].text == "long thing_open(long)"
    monkeypatch.setenv("LBC_PREVDB", str(tmpdir.join("nothing.db")))
    with pytest.raises(InputError) as caught:
        open_resolver()
    assert "nothing.db" in str(caught.value) and "LBC_PREVDB" in str(caught.value)


def test_a_prev_db_that_others_may_write_is_left_alone(tmpdir):
    have_btf(tmpdir, "5.10.0")
    conformance.write_db("prev.db", funs=OVERLAY)
    os.chmod("prev.db", 0o666)
    with open_resolver(release="5.10.0") as resolver:
        assert resolver.functions("thing_open")[0].params[0].name == "thing"
        note, = resolver.notes
        assert "prev.db is left alone" in note and "LBC_PREVDB" in note


def test_trust(tmpdir):
    path = str(tmpdir.join("file"))
    assert not auto.trusted(path) and not auto.trusted(str(tmpdir))
    tmpdir.join("file").write("x")
    for mode, wanted in ((0o600, True), (0o644, True), (0o664, True), (0o646, False), (0o602, False)):
        os.chmod(path, mode)
        assert auto.trusted(path) is wanted
    os.chmod(path, 0o600)
    os.mkfifo(str(tmpdir.join("fifo")))
    assert not auto.trusted(str(tmpdir.join("fifo")))
    link = str(tmpdir.join("link"))
    os.symlink(path, link)
    assert auto.trusted(link)
    if os.geteuid() == 0:
        os.chown(path, 12345, 0)
        assert not auto.trusted(path) and not auto.trusted(link)


def test_names_of_releases_are_no_paths():
    assert auto.database_of("../../etc/x") is None


def test_a_damaged_overlay_is_an_error(tmpdir):
    have_btf(tmpdir, "5.10.0")
    with open("prev.db", "w") as stream:
        stream.write("not a database at all")
    os.chmod("prev.db", 0o600)
    with pytest.raises(LbcError) as caught:
        open_resolver(release="5.10.0").record("struct", "thing")
    assert "prev.db" in str(caught.value) and "\n" not in str(caught.value)


def test_everything_that_auto_passes_on_is_there(tmpdir):
    have_btf(tmpdir, "5.10.0")
    resolver = open_resolver(release="5.10.0")
    with resolver:
        conformance.check(resolver)
        assert resolver.variable("counter").text == "int" and resolver.near("struct", "thng") == ["thing"]
        assert resolver.pointer_size == 8
