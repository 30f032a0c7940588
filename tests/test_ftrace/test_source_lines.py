"""lbc.ftrace.source_lines over programs of our own making that stand for a vmlinux."""
from __future__ import absolute_import

import os
import re
import subprocess

import pytest

from lbc.errors import InputError, LbcError, NotFoundError
from lbc.ftrace import source_lines
from tests.test_elf.test_reader import tool

SOURCE = """\
static __attribute__((noinline)) int half(volatile int *a) { return *a / 2; }
int __attribute__((noinline)) middle(volatile int *a)
{
\tint b = half(a);
\tif (b > 3)
\t\t*a = b * 7;
\treturn half(a);
}
int main(int argc, char **argv) { volatile int a = argc; return middle(&a); }
"""


def build(tmpdir, sources, *flags):
    """(path, {name: [addresses]}) of a program of {file name: text}, with debug information."""
    names = []
    for name in sorted(sources):
        tmpdir.join(name).write(sources[name])
        names.append(name)
    path = str(tmpdir.join("program"))
    try:
        subprocess.check_call(["gcc", "-g", "-O1", "-o", path] + list(flags) + names, cwd=str(tmpdir))
    except OSError:
        pytest.skip("no gcc")
    symbols = {}
    for address, name in re.findall(r"^([0-9a-f]+) \w (\S+)$", tool("nm", path), re.M):
        symbols.setdefault(name, []).append(int(address, 16))
    return path, symbols


def need(name):
    if source_lines._tool(name) is None:
        pytest.skip("no " + name)


def check(text, start):
    """Lines of the form that the mission document shows, from the start of the function on."""
    rows = re.findall(r"^   0x([0-9a-f]{16}) <\+(\d+)>:\t(\S+)", text, re.M)
    assert rows and rows[0][1] == "0"
    assert all(int(address, 16) == start + int(offset) for address, offset, _ in rows)
    assert rows[-1][2].startswith("ret") or "ret" in [row[2] for row in rows]
    assert re.search(r"^\d+\t", text, re.M), "no source lines"


def test_by_gdb(tmpdir):
    need("gdb")
    path, symbols = build(tmpdir, {"a.c": SOURCE})
    text = source_lines.disassemble("middle", path)
    check(text, symbols["middle"][0])
    assert "\t\t*a = b * 7;" in text     # the source is there: its text is shown
    os.remove(str(tmpdir.join("a.c")))
    assert re.search(r"^6\tin .*a\.c$", source_lines.disassemble("middle", path), re.M)


def test_by_objdump(tmpdir, monkeypatch):
    need("objdump")
    path, symbols = build(tmpdir, {"a.c": SOURCE})
    real = source_lines._tool
    monkeypatch.setattr(source_lines, "_tool", lambda name: None if name == "gdb" else real(name))
    text = source_lines.disassemble("middle", path)
    check(text, symbols["middle"][0])
    assert re.search(r"^4\tin .*a\.c$", text, re.M)


def test_line_to_place(tmpdir):
    need("gdb")
    path, _ = build(tmpdir, {"a.c": SOURCE})
    text = source_lines.locate_line("a.c:7", path)
    offset = int(re.search(r"^probe: p middle\+0x([0-9a-f]+)$", text, re.M).group(1), 16)
    assert "<+%d>" % offset in source_lines.disassemble("middle", path)
    for where in ("a.c:700", "b.c:7"):
        with pytest.raises(NotFoundError):
            source_lines.locate_line(where, path)


@pytest.mark.parametrize("where", ["a.c", "a.c:", ":7", "a.c:x", "a;b:7", "$(x):7", "`x`:1"])
def test_what_is_no_line(where):
    with pytest.raises(InputError):
        source_lines.locate_line(where, "/bin/sh")


@pytest.mark.parametrize("name", ["", "a b", "a;!touch x", "'a'", "a\nb", "$(x)", "!id"])
def test_what_is_no_function(name):
    with pytest.raises(InputError):
        source_lines.disassemble(name, "/bin/sh")


def test_what_is_missing_is_said(tmpdir, monkeypatch):
    path, _ = build(tmpdir, {"a.c": SOURCE})
    with pytest.raises(NotFoundError) as error:
        source_lines.disassemble("midle", path)
    assert "middle" in error.value.near
    with pytest.raises(NotFoundError):
        source_lines.disassemble("middle", str(tmpdir.join("none")))
    with pytest.raises(NotFoundError) as error:
        source_lines.disassemble("middle", path, gdb="/no/such/gdb")
    assert "/no/such/gdb" in str(error.value)
    monkeypatch.setattr(source_lines, "_tool", lambda name: None)
    with pytest.raises(NotFoundError) as error:
        source_lines.disassemble("middle", path)
    assert "install" in error.value.hint
    with pytest.raises(NotFoundError) as error:
        source_lines.locate_line("a.c:4", path)
    assert "install gdb" in error.value.hint
    monkeypatch.setattr(source_lines, "find_vmlinux", lambda: None)
    with pytest.raises(NotFoundError) as error:
        source_lines.locate_line("a.c:4")
    assert "debug symbols" in error.value.hint
    with pytest.raises(LbcError):
        source_lines.disassemble("no_such_function_at_all")


def test_where_a_vmlinux_is_looked_for():
    there = "/usr/lib/debug/boot/vmlinux-6.1.0-amd64"
    assert source_lines.find_vmlinux("6.1.0-amd64", lambda path: path == there) == there
    assert source_lines.find_vmlinux("6.1.0-amd64", lambda path: False) is None
