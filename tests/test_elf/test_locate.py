"""lbc.elf.locate against ldconfig, ldd and /proc."""
from __future__ import absolute_import

import os
import re
import struct

import pytest

from lbc.elf.locate import find_binary, find_library, parse_ldcache, parse_maps, process_path
from lbc.errors import NotFoundError
from tests.test_elf.test_reader import tool


def test_cache_as_ldconfig_prints_it():
    if not os.path.exists("/etc/ld.so.cache") or not os.path.exists("/sbin/ldconfig"):
        pytest.skip("no ldconfig")
    with open("/etc/ld.so.cache", "rb") as source:
        ours = [(soname, path) for soname, _, path in parse_ldcache(source.read())]
    assert ours == re.findall(r"^\t(\S+) \(.*\) => (\S+)$", tool("/sbin/ldconfig", "-p"), re.M) and ours


def test_old_and_combined_cache_formats():
    strings = b"libz.so.1\0/lib/libz.so.1\0"
    old = b"ld.so-1.7.0\0" + struct.pack("=I", 1) + struct.pack("=iII", 3, 0, 10)
    assert parse_ldcache(old + strings) == [("libz.so.1", 3, "/lib/libz.so.1")]
    old += b"\0" * (-len(old) % 8)
    new = b"glibc-ld.so.cache1.1" + struct.pack("=II20x", 1, len(strings)) + struct.pack("=iIIIQ", 0x303, 72, 82, 0,
                                                                                         0) + strings
    assert parse_ldcache(old + new) == [("libz.so.1", 0x303, "/lib/libz.so.1")]


def test_library_is_the_one_the_loader_takes():
    match = re.search(r"libc\.so\.6 => (\S+)", tool("ldd", "/bin/sh"))
    if not match:
        pytest.skip("no glibc")
    for name in ("c", "libc", "libc.so", "libc.so.6"):
        assert os.path.samefile(find_library(name), match.group(1))
        assert os.path.samefile(find_binary(name, os.getpid()), match.group(1))
    assert find_library("libc.so.7") is None and find_library("nothing-like-it") is None


def test_commands_and_paths(tmpdir, monkeypatch):
    command = tmpdir.join("mytool")
    command.write("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmpdir))
    assert find_binary("mytool") == str(command) == find_binary(str(command))
    assert os.path.samefile(find_binary("exe", os.getpid()), "/proc/self/exe")
    with pytest.raises(NotFoundError):
        find_binary("/no/such/file")
    with pytest.raises(NotFoundError):
        find_binary("mytoo")
    with pytest.raises(NotFoundError):
        find_binary("c", 1 << 30)


def test_links_are_followed_inside_the_root_of_the_process(tmpdir):
    """Our own root is "/", so the answer must equal realpath's; an absolute link must not lose the prefix."""
    tmpdir.join("file").write("x")
    os.symlink(str(tmpdir.join("file")), str(tmpdir.join("absolute")))
    os.symlink("../%s/absolute" % tmpdir.basename, str(tmpdir.join("relative")))
    os.symlink("loop", str(tmpdir.join("loop")))
    pid = os.getpid()
    for name in ("absolute", "relative", "./file"):
        expected = "/proc/%d/root%s" % (pid, os.path.realpath(str(tmpdir.join("file"))))
        assert process_path(pid, "%s/%s" % (tmpdir, name)) == expected
    assert not os.path.exists(process_path(pid, str(tmpdir.join("loop"))))
    assert process_path(pid, "/../../etc") == "/proc/%d/root%s" % (pid, os.path.realpath("/etc"))


def test_maps_lines():
    rows = parse_maps(b"5500-5600 r-xp 00001000 fd:01 99                  /opt/a b/x (deleted)\n"
                      b"7000-7100 rw-p 00000000 00:00 0 \nnonsense\nzz-yy r-xp 0 0:0 0\n"
                      b"ffff0000-ffff1000 r-xp 00000000 00:00 0    [vdso]\n", executable=True)
    assert [(m.start, m.end, m.offset, m.device, m.inode, m.path, m.deleted) for m in rows] == [
        (0x5500, 0x5600, 0x1000, "fd:01", 99, "/opt/a b/x", True),
        (0xffff0000, 0xffff1000, 0, "00:00", 0, "[vdso]", False)]
