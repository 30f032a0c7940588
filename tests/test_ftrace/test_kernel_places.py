"""lbc.ftrace.kernel_places and no_place over made-up kernels: what becomes of a symbol, and why it cannot be.

The refusals are those that kernels gave (errno and error_log of 5.10, 6.1, 6.12 and 7.3)."""
from __future__ import absolute_import

import errno

import pytest

from lbc.errors import (FtraceError, InputError, LbcError, NotFoundError, NotSupported, PrivilegeError)
from lbc.ftrace.kernel_places import explain, resolve
from tests.filesfake import TRACEFS, FakeFiles
from tests.test_ftrace.test_source_lines import build

KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 t __pfx_vfs_read
ffffffff81000110 T vfs_read
ffffffff81000200 T vfs_write
ffffffff81000300 t twin
ffffffff81000380 T in_a
ffffffff81000400 t twin
ffffffff81000480 T in_b
ffffffff81000500 t hidden
ffffffff81000540 T banned
ffffffff81000600 t shrunk.isra.0
ffffffff81000640 t shrunk.cold
ffffffff81000680 t only.part.0
ffffffff810006c0 t vfs_ready
ffffffff810006c0 t vfs_ready_alias
ffffffff81000700 T __fdget_pos
ffffffff81ffffff T _etext
ffffffff82000000 D jiffies
ffffffff82000040 T jiffies_64
ffffffff83000000 T _sinittext
ffffffff83000010 T start_kernel
ffffffff83001000 T _einittext
ffffffffc0000000 t ext4_sync\t[ext4]
ffffffffc0000040 t twin\t[ext4]
ffffffffc0000100 t ext4_read\t[ext4]
"""
TRACEABLE = b"""\
vfs_read
vfs_write
twin
in_a
in_b
banned
shrunk.isra.0
only.part.0
vfs_ready
__fdget_pos
ext4_sync [ext4]
ext4_read [ext4]
twin [ext4]
"""
ADDRESSES = b"""\
ffffffff81000114 vfs_read
ffffffff81000204 vfs_write
ffffffff81000404 twin
ffffffff81000384 in_a
ffffffff81000484 in_b
ffffffff81000544 banned
ffffffff81000604 shrunk.isra.0
ffffffff81000684 only.part.0
ffffffff810006c4 vfs_ready
ffffffff81000704 __fdget_pos
ffffffffc0000004 ext4_sync [ext4]
ffffffffc0000104 ext4_read [ext4]
ffffffffc0000044 twin [ext4]
"""


class Symbol(object):
    """As lbc.expr.nodes.Symbol."""

    def __init__(self, name, offset=0, module="", copy=None):
        self.name, self.offset, self.module, self.copy = name, offset, module, copy


class Types(object):
    """A resolver that knows some functions."""
    where = "info.db"

    class Function(object):
        def __init__(self, name, file):
            self.name, self.file, self.text = name, file, "int %s(int fd)" % name

    def __init__(self, **files):
        self.known = files

    def functions(self, name, module=None):
        return [self.Function(name, self.known[name])] if name in self.known else []


def kernel(**more):
    """A kernel of 6.5 or later; files are added or, as None, taken away."""
    files = {TRACEFS + "/kprobe_events": b"", TRACEFS + "/uprobe_events": b"", TRACEFS + "/events/header_page": b"",
             TRACEFS + "/README": b"", TRACEFS + "/available_filter_functions": TRACEABLE,
             TRACEFS + "/available_filter_functions_addrs": ADDRESSES, "/proc/kallsyms": KALLSYMS,
             "/sys/kernel/debug/kprobes/blacklist": b"0xffffffff81000540-0xffffffff81000600\tbanned\n",
             "/sys/module/ext4/initstate": b"live\n", "/sys/module/printk/parameters/time": b"Y\n",
             "/lib/modules/6.12.1/modules.dep": b"kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\n"
                                                b"kernel/fs/ext4/ext4.ko.xz:\n",
             "/lib/modules/6.12.1/modules.builtin": b"kernel/crypto/sha256_generic.ko\n",
             "/lib/modules/6.12.1/modules.symbols": b"alias symbol:xfs_open xfs\n"}
    files.update({name: value for name, value in more.items() if value is not None})
    for name in [name for name in more if more[name] is None]:
        files.pop(name)
    return FakeFiles(files)


def places(symbol, files=None, release="6.12.1", **more):
    return resolve(symbol, files or kernel(), TRACEFS, release=release, **more)


def refused(*args, **more):
    with pytest.raises(LbcError) as error:
        places(*args, **more)
    return error.value


OLD = {TRACEFS + "/available_filter_functions_addrs": None}


# -- places ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("release", ["4.19.0", "5.10.0-32-amd64", "6.1.0", "6.12.1", "7.3.4+deb13-amd64", "10.0"])
@pytest.mark.parametrize("symbol, text", [
    (Symbol("vfs_read"), "vfs_read"), (Symbol("vfs_read", 0x79), "vfs_read+0x79"),
    (Symbol("ext4_sync", module="ext4"), "ext4:ext4_sync"), (Symbol("vfs_read", module="vmlinux"), "vfs_read"),
    (Symbol("shrunk.isra.0"), "shrunk.isra.0"), (Symbol("vfs_write", copy=1), "vfs_write")])
def test_one_place(release, symbol, text):
    place, = places(symbol, release=release)
    assert (place.text, place.function, place.offset) == (text, symbol.name, symbol.offset)
    assert place.module == ("ext4" if symbol.module == "ext4" else "")


def test_a_plain_name_on_a_new_kernel_reads_nothing():
    files = kernel()
    places(Symbol("vfs_read"), files)
    assert files.asked == []
    places(Symbol("vfs_read"), files, release="6.6.9")
    assert files.asked == ["/proc/kallsyms"]


def test_a_changed_copy_is_noted():
    assert "scalar replacement" in places(Symbol("shrunk.isra.0"))[0].note
    assert "only a part" in places(Symbol("only.part.0"))[0].note
    assert places(Symbol("vfs_read"))[0].note == ""


def test_several_copies_on_an_old_kernel():
    error = refused(Symbol("twin"), kernel(**OLD), "5.10.0")
    assert isinstance(error, InputError) and "3 functions are called `twin`" in str(error)
    assert "twin#1 = _text+0x300 (beside in_a)" in str(error) and "twin#2 = _text+0x400" in str(error)
    assert "twin#3 = _text+0x3f000040 ([ext4]" in str(error)


@pytest.mark.parametrize("release", ["5.10.0", "6.12.1"])
def test_a_copy_by_number(release):
    assert [places(Symbol("twin", copy=n), release=release)[0].text for n in (1, 2, 3)] == \
        ["_text+0x300", "_text+0x400", "_text+0x3f000040"]
    assert places(Symbol("twin", 0x10, copy=2), release=release)[0].text == "_text+0x410"
    assert places(Symbol("twin", copy=1, module="ext4"), release=release)[0].text == "ext4:twin"
    assert places(Symbol("twin", module="ext4"), release=release)[0].text == "ext4:twin"
    assert "there is no `twin#4`" in str(refused(Symbol("twin", copy=4), release=release))


def test_a_module_below_the_kernel_by_its_address():
    """arm64: `_text-OFFSET` is refused by the kernel."""
    text = KALLSYMS.replace(b"ffffffffc0", b"ffff000000")
    assert places(Symbol("twin", copy=3), kernel(**{"/proc/kallsyms": text}))[0].text == "0xffff000000000040"


def test_a_copy_by_file_and_neighbours():
    types = Types(vfs_write="fs/a.c", in_a="fs/a.c", in_b="fs/b.c", __fdget_pos="fs/file.c", start_kernel="x.c")
    assert places(Symbol("twin", copy="a.c"), types=types)[0].text == "_text+0x300"
    error = refused(Symbol("twin", copy="c.c"), types=types)
    assert "twin#1 = _text+0x300 (in fs/a.c" in str(error)
    assert "nothing here tells" in str(refused(Symbol("twin", copy="a.c")))


def test_a_copy_by_file_and_vmlinux(tmpdir):
    """The symbols of a linked program stand for those of a vmlinux: gcc and ld put the file symbols in."""
    path, symbols = build(tmpdir, {"one.c": "static int __attribute__((noinline,used)) twin(int a) { return a + 1; }\n"
                                            "int _text(void) { return twin(1); }\nint main(void) { return 0; }\n",
                                   "two.c": "static int __attribute__((noinline,used)) twin(int a) { return a + 2; }\n"
                                            "int other(void) { return twin(1); }\n"})
    start = symbols["_text"][0] - 0x1000
    shifted = sorted((address - start + 0xffffffff81000000, name)
                     for name, found in symbols.items() for address in found if name in ("twin", "_text", "other"))
    text = "".join("%016x t %s\n" % row for row in shifted).encode()
    files = kernel(**{"/proc/kallsyms": text})
    base = symbols["_text"][0]
    got = {name: places(Symbol("twin", copy=name), files, vmlinux=path)[0].text for name in ("one.c", "two.c")}
    first = sorted(symbols["twin"])
    expected = ["_text+0x%x" % (address - base) if address >= base else
                "0x%x" % (address - start + 0xffffffff81000000) for address in first]
    assert sorted(got) == ["one.c", "two.c"] and [got["one.c"], got["two.c"]] == expected
    error = refused(Symbol("twin", copy="three.c"), files, vmlinux=path)
    assert isinstance(error, NotFoundError) and error.near == ["one.c", "two.c"]


def test_hidden_addresses():
    text = KALLSYMS.replace(b"ffffffff", b"00000000")
    text = b"".join(b"0" * 16 + line[16:] + b"\n" for line in text.splitlines())
    files = kernel(**{"/proc/kallsyms": text})
    assert isinstance(refused(Symbol("twin", copy=1), files), PrivilegeError)
    assert isinstance(refused(Symbol("twin"), files, release="5.10"), PrivilegeError)
    assert places(Symbol("vfs_read", 0x7000), files)[0].text == "vfs_read+0x7000"   # the kernel must judge


def test_unreadable_kallsyms_leaves_it_to_the_kernel():
    files = kernel(**{"/proc/kallsyms": None})
    assert places(Symbol("vfs_read"), files, release="5.10")[0].text == "vfs_read"


def test_offset_behind_the_end():
    """Kernels take it and probe the next function."""
    assert places(Symbol("vfs_read", 0xef))[0].text == "vfs_read+0xef"
    error = refused(Symbol("vfs_read", 0xf0))
    assert "only 240 (0xf0) bytes" in str(error) and "vfs_write+0x0" in str(error)
    assert "only 64" in str(refused(Symbol("ext4_sync", 0x1000, "ext4")))
    assert isinstance(refused(Symbol("vfs_read", 4), returns=True), InputError)


# -- modules -----------------------------------------------------------------------------------------------------------

def test_modules_that_are_not_loaded():
    error = refused(Symbol("xfs_open", module="xfs"))
    assert isinstance(error, NotFoundError) and "modprobe xfs" in error.hint
    assert "built into" in refused(Symbol("x", module="sha256-generic")).hint
    assert "ext4" in refused(Symbol("x", module="ext3")).near
    assert refused(Symbol("x", module="printk")).hint is None   # built in, yet with a folder in /sys/module


def test_function_of_another_module():
    assert "write `vfs_read`" in refused(Symbol("vfs_read", 4, "ext4")).hint
    assert "write `ext4:ext4_sync`" in refused(Symbol("ext4_sync", 4, "vmlinux")).hint


# -- wildcards ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("more", [{}, OLD])
def test_wildcards(more):
    files = kernel(**more)
    assert [p.text for p in places(Symbol("vfs_*"), files)] == ["vfs_read", "vfs_ready", "vfs_write"]
    assert [p.text for p in places(Symbol("*sync"), files)] == ["ext4:ext4_sync"]
    assert [p.text for p in places(Symbol("*", module="ext4"), files)] == ["ext4:ext4_read", "ext4:ext4_sync",
                                                                           "ext4:twin"]
    assert [p.text for p in places(Symbol("vfs_rea?"), files)] == ["vfs_read"]
    assert [p.text for p in places(Symbol("shrunk*"), files)] == ["shrunk.isra.0"]
    error = refused(Symbol("vfs_*"), files, max_probes=2)
    assert "matches 3 functions" in str(error) and "--max-probes 3" in error.hint
    for pattern in ("ban*", "hid*", "*.cold", "nothing*"):
        assert isinstance(refused(Symbol(pattern), files), NotFoundError), pattern
    assert "left out" in refused(Symbol("ban*"), files).hint
    assert isinstance(refused(Symbol("vfs_*", 4), files), InputError)


def test_wildcard_with_copies():
    assert [p.text for p in places(Symbol("twi*"))] == ["_text+0x400", "ext4:twin"]
    assert [p.text for p in places(Symbol("t?in"), kernel(**OLD))] == ["ext4:twin"]
    assert "left out" in places(Symbol("t?in"), kernel(**OLD))[0].note
    assert [p.text for p in places(Symbol("t?in", module="vmlinux"))] == ["_text+0x400"]


def test_wildcard_without_the_tracers_list():
    files = kernel(**dict(OLD, **{TRACEFS + "/available_filter_functions": None}))
    assert [p.text for p in places(Symbol("vfs_w*"), files)] == ["vfs_write"]


# -- why not -----------------------------------------------------------------------------------------------------------

def why(symbol, number=errno.EINVAL, words="", files=None, **more):
    return explain(symbol, files or kernel(), TRACEFS, number, words, release="6.12.1", **more)


@pytest.mark.parametrize("symbol, number, words, kind, said", [
    (Symbol("vfs_raed"), errno.ENOENT, "", NotFoundError, "did you mean `vfs_read`"),
    (Symbol("vfs_raed"), errno.EINVAL, "Invalid probed address or symbol", NotFoundError, "did you mean `vfs_read`"),
    (Symbol("shrunk"), errno.ENOENT, "", NotFoundError, "the compiler left only `shrunk.isra.0`: a copy whose arg"),
    (Symbol("only"), errno.EINVAL, "", NotFoundError, "`only.part.0`"),
    (Symbol("fdget_pos"), errno.ENOENT, "", NotFoundError, "__fdget_pos"),
    (Symbol("xfs_open"), errno.ENOENT, "", NotFoundError, "module xfs, which is not loaded, has it: modprobe xfs"),
    (Symbol("jiffies"), errno.EINVAL, "Failed to register probe event", InputError, "variable"),
    (Symbol("jiffies_64"), errno.EINVAL, "Failed to register probe event", InputError, "variable"),
    (Symbol("hidden"), errno.EINVAL, "Failed to register probe event", FtraceError, "notrace"),
    (Symbol("banned"), errno.EINVAL, "Failed to register probe event", FtraceError, "blacklist"),
    (Symbol("start_kernel"), errno.EINVAL, "Failed to register probe event", FtraceError, "__init"),
    (Symbol("twin"), errno.EADDRNOTAVAIL, "", InputError, "3 functions"),
    (Symbol("twin"), errno.EINVAL, "The symbol is not unique", InputError, "twin#2"),
    (Symbol("twin", copy=1), errno.EINVAL, "Failed to register probe event", FtraceError, "notrace"),
    (Symbol("vfs_read", 1), errno.EILSEQ, "Probe point is not an instruction boundary", FtraceError, "-F vfs_read"),
    (Symbol("vfs_read", 0x1000), errno.EINVAL, "", InputError, "only 240"),
    (Symbol("vfs_read"), errno.EPERM, "", PrivilegeError, "run as root"),
    (Symbol("vfs_read"), errno.E2BIG, "Argument expression is too long", FtraceError, "too long"),
    (Symbol("vfs_read"), errno.EINVAL, "Failed to register probe event", FtraceError, "dmesg"),
])
def test_refusals_are_explained(symbol, number, words, kind, said):
    error = why(symbol, number, words)
    assert isinstance(error, kind) and said in str(error)


def test_inlined_by_the_type_source():
    error = why(Symbol("fdget_pos"), errno.ENOENT, types=Types(fdget_pos="include/linux/file.h"))
    assert "inlined" in str(error) and "info.db knows it" in str(error) and "include/linux/file.h" in str(error)
    assert "__fdget_pos" in str(error)


@pytest.mark.parametrize("text, said", [("p:g/f0 banned a=%di", "`banned` cannot be probed: it is on kprobes"),
                                        ("p:g/f0 _text+0x300", "`twin` cannot be probed: it is notrace"),
                                        ("p:g/f0 ext4:ext4_sync", "`ext4_sync` cannot be probed"), ("", "cannot be")])
def test_one_of_a_pattern(text, said):
    """The text that was written tells which one it was."""
    error = why(Symbol("*"), errno.EINVAL, "Failed to register probe event", text=text)
    assert said in str(error)


def test_return_probe_inside():
    assert "start of a function" in str(why(Symbol("vfs_read", 4), errno.EINVAL,
                                            "Retprobe address must be an function entry", returns=True))


def test_lockdown_is_named():
    files = kernel(**{"/sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"})
    assert "lockdown" in why(Symbol("vfs_read"), errno.EPERM, files=files).hint


def test_nothing_to_tell_by():
    files = kernel(**dict(OLD, **{TRACEFS + "/available_filter_functions": None, "/proc/kallsyms": None,
                                  "/sys/kernel/debug/kprobes/blacklist": None}))
    assert isinstance(why(Symbol("vfs_raed"), errno.ENOENT, files=files), LbcError)


def test_no_kprobes():
    files = kernel(**{TRACEFS + "/kprobe_events": None, TRACEFS + "/README": b"\t\t  f[:[<group>/][<event>]] <func>\n",
                      TRACEFS + "/available_tracers": b"function nop\n"})
    error = refused(Symbol("vfs_read"), files)
    assert isinstance(error, NotSupported) and "CONFIG_KPROBE_EVENTS" in str(error)
    for way in ("`f:`", "events", "user probes", "function tracer"):
        assert way in error.hint
