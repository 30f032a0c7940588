"""lbc.ftrace.user_places against nm and readelf, over programs that gcc makes here and the C library."""
from __future__ import absolute_import

import os
import random
import re
import subprocess
import sys

import pytest

from lbc.errors import FormatError, InputError, LbcError, NotFoundError
from lbc.ftrace import user_places
from tests.elfwriter import ElfWriter
from tests.test_elf.test_reader import tool
from tests.test_elf.test_symbols import LIBC, nm
from tests.test_ftrace.test_source_lines import build

SOURCES = {"one.c": """
static int __attribute__((noinline)) twin(volatile int *a) { return *a + 1; }
int __attribute__((noinline)) middle(volatile int *a) { return twin(a) * 2; }
int other(volatile int *a);
static int fast(void) { return 1; }
static int (*resolve(void))(void) { return fast; }
int pick(void) __attribute__((ifunc("resolve")));
int main(int argc, char **argv) { volatile int a = argc; return middle(&a) + other(&a) + pick(); }
""", "two.c": """
static int __attribute__((noinline)) twin(volatile int *a) { return *a + 2; }
int __attribute__((noinline)) other(volatile int *a) { return twin(a) * 3; }
int __attribute__((noinline,used)) other_way(volatile int *a) { return *a; }
"""}


class Symbol(object):
    """As lbc.expr.nodes.Symbol."""

    def __init__(self, binary, name, offset=0):
        self.object, self.name, self.offset, self.module, self.copy = binary, name, offset, "", None


def place(binary, name, offset=0, **more):
    found, = user_places.resolve(Symbol(binary, name, offset), **more)
    return found


def refused(*args, **more):
    with pytest.raises(LbcError) as error:
        place(*args, **more)
    return error.value


def file_offset(path, address):
    """By readelf's program headers."""
    rows = re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x\w+ R E", tool("readelf", "-lW", path))
    for offset, virtual, size in rows:
        if int(virtual, 16) <= address < int(virtual, 16) + int(size, 16):
            return address - int(virtual, 16) + int(offset, 16)
    raise AssertionError("0x%x is in no executable segment" % address)


@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-no-pie",), ("-static",),
                                   ("-no-pie", "-Wl,-Ttext-segment=0x10000000"),
                                   ("-pie", "-fPIE", "-Wl,-z,separate-code")])
def test_offsets_are_what_readelf_says(tmpdir, flags):
    path, symbols = build(tmpdir, SOURCES, *flags)
    for name in ("main", "middle", "other"):
        found, address = place(path, name), symbols[name][0]
        assert (found.address, found.offset) == (address, file_offset(path, address)), name
        assert found.text == "%s:0x%x" % (path, found.offset) and found.function == name and not found.note
        inside = place(path, name, 1)
        assert inside.offset == found.offset + 1 and "not checked" in inside.note
        assert place(path, "0x%x" % address).offset == place(path, str(address)).offset == found.offset
        assert place(path, "0x%x" % (address + 1)).note == "at %s+0x1" % name


def test_errors_of_a_program(tmpdir):
    path, symbols = build(tmpdir, SOURCES)
    size = int(re.search(r"^\w+ (\w+) T middle$", tool("nm", "-S", path), re.M).group(1), 16)
    assert place(path, "middle", size - 1).size == size
    assert "only %d" % size in str(refused(path, "middle", size))
    error = refused(path, "twin")
    assert "2 functions" in str(error) and "in one.c" in str(error) and "in two.c" in str(error)
    for address in symbols["twin"]:
        assert "0x%x" % address in str(error)
    assert "indirect" in str(refused(path, "pick"))
    assert refused(path, "midle").near == ["middle"]
    assert isinstance(refused(path, "middle", 4, returns=True), InputError)
    assert isinstance(refused(path, "0xffffff"), InputError)
    assert "data" in refused(path, "0x1").hint
    assert refused(path, "").what.startswith("no function")


def test_offset_given_for_address(tmpdir):
    path, symbols = build(tmpdir, SOURCES, "-no-pie")
    address = symbols["main"][0]
    assert "0x%x" % address in refused(path, "0x%x" % file_offset(path, address)).hint


def test_patterns(tmpdir):
    path, symbols = build(tmpdir, SOURCES)
    found = user_places.resolve(Symbol(path, "oth*"))
    assert [(p.function, p.address) for p in found] == [(n, symbols[n][0]) for n in ("other", "other_way")]
    both = user_places.resolve(Symbol(path, "twi?"))
    assert [p.address for p in both] == sorted(symbols["twin"])
    assert "pick" in user_places.resolve(Symbol(path, "*i*"))[0].note
    for name, kind in (("nothing*", NotFoundError), ("pic*", NotFoundError)):
        with pytest.raises(kind):
            user_places.resolve(Symbol(path, name))
    with pytest.raises(InputError) as error:
        user_places.resolve(Symbol(path, "*"), max_probes=3)
    assert "--max-probes" in error.value.hint
    with pytest.raises(InputError):
        user_places.resolve(Symbol(path, "mid*", 4))


def test_stripped(tmpdir):
    path, symbols = build(tmpdir, SOURCES, "-rdynamic")
    debug, bare, mini = str(tmpdir.join("debug")), str(tmpdir.join("bare")), str(tmpdir.join("mini"))
    tool("objcopy", "--only-keep-debug", path, debug)
    tool("strip", "-o", bare, path)
    assert place(bare, "middle").address == symbols["middle"][0]    # .dynsym
    assert "stripped" in refused(bare, "fast").hint
    assert place(bare, "fast", debug=debug).address == symbols["fast"][0]
    tool("objcopy", "-S", "--keep-symbol=fast", path, mini)
    tool("xz", mini)
    tool("objcopy", "--add-section", ".gnu_debugdata=%s.xz" % mini, bare)
    assert place(bare, "fast").address == symbols["fast"][0]
    assert place(bare, "fast").offset == file_offset(bare, symbols["fast"][0])


def test_the_c_library():
    if not os.path.exists(LIBC):
        pytest.skip("no " + LIBC)
    rows, checked = nm(LIBC, "-D", "--defined-only"), 0
    for name in random.Random(8).sample(sorted(rows), 40):
        plain, _, version = name.partition("@")
        address, letter = rows[name][0]
        if letter not in "TW":
            continue
        found = place("libc", "%s@%s" % (plain, version.strip("@")) if version else plain)
        assert (found.address, found.offset) == (address, file_offset(LIBC, address)), name
        checked += 1
    assert checked > 15
    assert os.path.samefile(place("libc", "malloc").path, LIBC)
    assert place("libc.so.6", "malloc").offset == place(LIBC, "malloc").offset
    if any(letter == "i" for found in rows.values() for _, letter in found):
        assert "memcpy" in rows or isinstance(refused("libc", "memcpy"), InputError)


@pytest.mark.parametrize("name, mangled", [("walk::Tree::visit", "_ZN4walk4Tree5visitEi"),
                                           ("walk::step", "_ZN4walk4stepEv"), ("plain", "_Z5plaini"),
                                           ("walk::Tree::visit(int)", "_ZN4walk4Tree5visitEi")])
def test_names_of_cpp(tmpdir, name, mangled):
    source = """
namespace walk { int step() { return 1; } int step_two() { return 2; }
struct Tree { int visit(int); int visitor(); }; int Tree::visit(int a) { return a; } int Tree::visitor() { return 3; } }
int plain(int a) { return a; }
int twice(int a) { return a; } int twice(long a) { return (int)a; }
int main() { return walk::step(); }
"""
    tmpdir.join("a.cc").write(source)
    path = str(tmpdir.join("a"))
    try:
        subprocess.check_call(["g++", "-O1", "-o", path, str(tmpdir.join("a.cc"))])
    except OSError:
        pytest.skip("no g++")
    found = place(path, name)
    assert found.function == mangled and found.address == nm(path)[mangled][0][0] and mangled in found.note
    error = refused(path, "twice")
    assert "_Z5twicei" in error.hint and "_Z5twicel" in error.hint


def test_what_is_no_program(tmpdir):
    script, text, obj = tmpdir.join("script"), tmpdir.join("text"), str(tmpdir.join("a.o"))
    script.write("#!/usr/bin/env python3\nprint()\n")
    error = refused(str(script), "main")
    assert "script" in str(error) and "python3" in error.hint
    script.write("#! /bin/sh -e\n")
    assert "/bin/sh" in refused(str(script), "main").hint
    script.write("#!")
    assert "script" in str(refused(str(script), "main"))
    text.write("plain\n")
    assert "ELF" in str(refused(str(text), "main"))
    text.write("")
    assert "ELF" in str(refused(str(text), "main"))
    assert isinstance(refused(str(tmpdir), "main"), InputError)
    with open(obj, "wb") as f:
        f.write(ElfWriter().bytes())
    assert "object file" in str(refused(obj, "main"))
    with open(obj, "wb") as f:
        f.write(ElfWriter(order=">", machine=21, type=3).bytes())   # powerpc
    assert "another machine" in str(refused(obj, "main"))
    with open(obj, "wb") as f:
        f.write(b"\x7fELF" + b"\xff" * 60)
    assert isinstance(refused(obj, "main"), FormatError)
    assert isinstance(refused("no-such-program-here", "main"), NotFoundError)
    assert isinstance(refused(str(tmpdir.join("none")), "main"), NotFoundError)


def test_paths_that_the_kernel_cannot_take(tmpdir):
    folder = tmpdir.mkdir("a b")
    path, _ = build(folder, SOURCES)
    assert "symbolic link" in refused(path, "main").hint
    link = str(tmpdir.join("link"))
    os.symlink(path, link)
    assert place(link, "main").path == link
    assert isinstance(refused(str(tmpdir.join("x#y")), "main"), LbcError)


def test_a_process_in_our_own_root():
    """The plain path is given, which outlives the process."""
    found = place("exe", "0x%x" % _entry(os.path.realpath(sys.executable)), pid=os.getpid())
    assert found.path == os.path.realpath(sys.executable)
    assert place("/bin/sh", "0x%x" % _entry("/bin/sh"), pid=os.getpid()).path.startswith("/")
    assert isinstance(refused("exe", "main", pid=4194303), NotFoundError)


def _entry(path):
    return int(re.search(r"Entry point address: +0x(\w+)", tool("readelf", "-h", path)).group(1), 16)


def test_a_path_from_here_and_a_command(tmpdir, monkeypatch):
    path, symbols = build(tmpdir, SOURCES)
    monkeypatch.chdir(tmpdir)
    assert place("./program", "main").path == path
    monkeypatch.setenv("PATH", str(tmpdir))
    assert place("program", "main").path == path
