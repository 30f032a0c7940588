"""lbc.ftrace's places on a real kernel: what resolves is taken, what is not taken is explained, user places as readelf.

Every reason is provoked with functions found here, by other means than lbc's: kallsyms and the kernel's lists read as
text."""
from __future__ import absolute_import

import errno
import os
import re
import subprocess
import sys

import pytest

from lbc import host
from lbc.errors import FtraceError, InputError, KernelError, LbcError, NotFoundError, NotSupported
from lbc.ftrace import kernel_places, source_lines, user_places
from lbc.kernel_files import KernelFiles
from tests.test_elf.test_reader import tool
from tests.test_ftrace.test_kernel_places import Symbol
from tests.test_ftrace.test_user_places import Symbol as UserSymbol

from . import LAB, need_kprobes, skip, tracefs

pytestmark = pytest.mark.live


class Files(KernelFiles):
    """Large lists are read once: in the lab's guests each costs a second."""

    def __init__(self):
        self.kept, self.asked = {}, []

    def read(self, path):
        self.asked.append(path)
        if not path.endswith(("kallsyms", "functions", "_addrs", "blacklist", "modules.symbols")):
            return KernelFiles.read(self, path)
        if path not in self.kept:
            self.kept[path] = KernelFiles.read(self, path)
        return self.kept[path]


FILES = Files()
CODE = re.compile(r"^([0-9a-f]+) [tT] (\S+)$", re.M)


@pytest.fixture(scope="module")
def kernel():
    """(root of tracefs, {name: [addresses]} of the kernel's own code, [traceable names])."""
    need_kprobes()
    root, code = tracefs(), {}
    for address, name in CODE.findall(FILES.read("/proc/kallsyms").decode()):
        code.setdefault(name, []).append(int(address, 16))
    able = re.findall(r"^(\S+)$", FILES.read(root + "/available_filter_functions").decode(), re.M)
    if not os.path.exists("/sys/kernel/debug/kprobes"):
        os.system("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null")
    return root, code, able


def write(root, text, kind="kprobe"):
    """None when the kernel takes the probe (and it is gone again), else (errno, words of error_log)."""
    path = "%s/%s_events" % (root, kind)
    try:
        FILES.write(path, ("%s\n" % text).encode(), append=True)
    except KernelError as error:
        try:
            lines = FILES.read(root + "/error_log").decode().rstrip("\n").split("\n")
            return error.errno, lines[-3].partition("] ")[2]
        except (KernelError, IndexError):
            return error.errno, ""
    FILES.write(path, b"-:lbcplaces/t\n", append=True)
    return None


def take(root, place, letter="p", kind="kprobe"):
    said = write(root, "%s:lbcplaces/t %s" % (letter, place.text), kind)
    assert said is None, (place, said)


def why(root, symbol, letter="p", **more):
    """The error for a probe that resolves, yet is not taken; or that does not resolve."""
    returns = letter == "r"
    try:
        place, = kernel_places.resolve(symbol, FILES, root, returns)
    except LbcError as error:
        return error
    said = write(root, "%s:lbcplaces/t %s" % (letter, place.text))
    assert said is not None, place
    return kernel_places.explain(symbol, FILES, root, said[0], said[1], returns=returns, **more)


def test_what_resolves_is_taken(kernel):
    root, code, able = kernel
    for symbol in (Symbol("vfs_read"), Symbol("vfs_read", module="vmlinux"), Symbol("schedule")):
        place, = kernel_places.resolve(symbol, FILES, root)
        take(root, place)
        take(root, place, "r")
    single = [name for name in able if "." in name and len(code.get(name, ())) == 1]
    place, = kernel_places.resolve(Symbol(single[0]), FILES, root)
    take(root, place)
    assert place.note


def test_no_kprobes():
    root = tracefs()
    if os.path.exists(root + "/kprobe_events"):
        skip("has kprobes")
    with pytest.raises(NotSupported) as error:
        kernel_places.resolve(Symbol("vfs_read"), FILES, root)
    assert "user probes" in error.value.hint


def test_missing_and_changed(kernel):
    root, code, able = kernel
    error = why(root, Symbol("vfs_raed"))
    assert isinstance(error, NotFoundError) and "vfs_read" in error.near, error
    for suffix, said in ((".isra.0", "scalar"), (".constprop.0", "constant"), (".part.0", "part")):
        names = [name[:-len(suffix)] for name in able if name.endswith(suffix) and name.count(".") == 2]
        name = [name for name in names if name not in code and name + suffix in code][0]
        error = why(root, Symbol(name))
        assert isinstance(error, NotFoundError) and name + suffix in error.hint and said in error.hint, error
    assert "variable" in str(why(root, Symbol("jiffies")))
    assert "modprobe" in why(root, Symbol(_exported_elsewhere(code))).hint


def _exported_elsewhere(code):
    """A function that only a module which is not loaded exports, by depmod's list."""
    path = "/lib/modules/%s/modules.symbols" % host.release()
    if not os.path.exists(path):
        skip("no " + path)
    with open(path) as f:
        rows = re.findall(r"^alias symbol:(\w+) (\w+)$", f.read(), re.M)
    loaded = set(re.findall(r"^\S+ \S (\S+)", FILES.read("/proc/kallsyms").decode(), re.M))
    stems = loaded | set(name.partition(".")[0] for name in loaded)
    return [name for name, _ in rows if name not in stems][0]


def test_inlined(kernel):
    root, code, able = kernel
    name = [name for name in ("fdget_pos", "fsnotify_access", "kiocb_start_write") if name not in code][0]

    class Types(object):
        where = "a database"

        def functions(self, wanted, module=None):
            class Function(object):
                file, text = "include/linux/some.h", "int %s(int fd)" % name
            return [Function()] if wanted == name else []
    place, = kernel_places.resolve(Symbol(name), FILES, root, release="7.0")
    said = write(root, "p:lbcplaces/t " + place.text)
    error = kernel_places.explain(Symbol(name), FILES, root, said[0], said[1], types=Types())
    assert "inlined" in str(error) and "a database knows it" in str(error)
    close = sorted([other for other in able if name in other and "." not in other], key=len)
    assert all(other in str(error) for other in close[:1])


def test_forbidden(kernel):
    root, code, able = kernel
    banned = re.findall(r"\t(\w+)$", FILES.read("/sys/kernel/debug/kprobes/blacklist").decode(), re.M)
    name = [name for name in banned if len(code.get(name, ())) == 1][0]
    assert "blacklist" in str(why(root, Symbol(name)))
    place = [name for name in ("sched_clock", "native_sched_clock", "exc_page_fault", "__memcpy")
             if len(code.get(name, ())) == 1 and name not in able and name not in banned]
    assert place
    error = why(root, Symbol(place[0]))
    assert isinstance(error, FtraceError) and "notrace" in str(error), error
    assert "__init" in str(why(root, Symbol("start_kernel")))


def test_offsets(kernel):
    root, code, _ = kernel
    start = code["vfs_read"][0]
    size = min(address for found in code.values() for address in found if address > start) - start
    taken = [offset for offset in range(1, 7) if write(root, "p:lbcplaces/t vfs_read+%d" % offset) is None]
    assert taken, "no instruction in 7 bytes"
    for offset in (1, 2, 3, 4, 5, 6):
        place, = kernel_places.resolve(Symbol("vfs_read", offset), FILES, root)
        if offset in taken:
            take(root, place)
        else:
            error = why(root, Symbol("vfs_read", offset))
            assert error.errno == errno.EILSEQ and "start of an instruction" in str(error), error
    for offset in (size, size + 16, 100000):   # the kernel takes some of these, in another function
        assert "only %d" % size in str(why(root, Symbol("vfs_read", offset)))
    assert "return probe" in str(why(root, Symbol("vfs_read", taken[0]), "r"))


def test_copies(kernel):
    """Each copy that can be traced is taken, by number; the plain name is refused by us or the kernel, and listed."""
    root, code, able = kernel
    names = sorted(name for name, found in code.items() if len(found) == 2 and "." not in name
                   and able.count(name) == 2)
    assert names
    name, tried = names[0], 0
    error = why(root, Symbol(name))
    assert isinstance(error, InputError) and "%s#2" % name in str(error), error
    base = code["_text"][0]
    for number, address in enumerate(code[name], 1):
        place, = kernel_places.resolve(Symbol(name, copy=number), FILES, root)
        assert place.address == address and place.text == "_text+0x%x" % (address - base)
        assert "%s#%d = %s" % (name, number, place.text) in str(error)
        take(root, place)
        take(root, place, "r")
        tried += 1
    assert tried == 2


def test_wildcards_are_taken_whole(kernel):
    """All of a pattern's places at once; what the kernel's list has is what comes, but for what cannot be."""
    root, code, able = kernel
    for pattern in ("tcp_v4_*", "vfs_*"):
        places = kernel_places.resolve(Symbol(pattern), FILES, root, max_probes=500)
        names = [name for name in able if name.startswith(pattern[:-1]) and ".cold" not in name]
        assert sorted(set(place.function for place in places)) == sorted(set(names)) and len(places) > 10
        for place in places[::len(places) // 3]:
            take(root, place)
    with pytest.raises(InputError) as error:
        kernel_places.resolve(Symbol("*"), FILES, root)
    assert "matches" in str(error.value)


def test_modules(kernel):
    root, _, _ = kernel
    loaded = [line.split()[0] for line in FILES.read("/proc/modules").decode().splitlines()]
    dep = "/lib/modules/%s/modules.dep" % host.release()
    if os.path.exists(dep):
        with open(dep) as f:
            names = [line.partition(":")[0].rpartition("/")[2].partition(".ko")[0].replace("-", "_") for line in f]
        other = [name for name in names if name not in loaded and not os.path.exists("/sys/module/" + name)][0]
        # the kernel itself would take this and wait for ever
        assert "modprobe %s" % other in why(root, Symbol("any_function", module=other)).hint
    assert isinstance(why(root, Symbol("any", module="no_such_module")), NotFoundError)
    if not loaded:
        skip("no modules are loaded")
    lines = FILES.read(root + "/available_filter_functions").decode().splitlines()
    rows = [line.split() for line in lines if line.endswith("[%s]" % loaded[0])]
    name = [row[0] for row in rows if "." not in row[0] and [other[0] for other in rows].count(row[0]) == 1][0]
    place, = kernel_places.resolve(Symbol(name, module=loaded[0]), FILES, root)
    assert place.text == "%s:%s" % (loaded[0], name)
    take(root, place)
    pattern = kernel_places.resolve(Symbol(name[:-1] + "*", module=loaded[0]), FILES, root)
    assert place.text in [found.text for found in pattern]


def test_cost_of_a_plain_name(kernel):
    root, _, _ = kernel
    version = tuple(int(n) for n in re.findall(r"\d+", host.release())[:2])
    FILES.asked[:] = []
    kernel_places.resolve(Symbol("vfs_read"), FILES, root)
    assert FILES.asked == ([] if version >= (6, 7) else ["/proc/kallsyms"])


def test_disassembly_of_the_running_kernel(kernel):
    root, code, _ = kernel
    if source_lines.find_vmlinux() or not os.path.exists("/proc/kcore") or source_lines._tool("objdump") is None:
        skip("needs /proc/kcore and objdump, and no vmlinux")
    text = source_lines.disassemble("vfs_read")
    rows = [(int(a, 16), int(o)) for a, o in re.findall(r"^   0x([0-9a-f]+) <\+(\d+)>:\t", text, re.M)]
    assert rows[0] == (code["vfs_read"][0], 0) and len(rows) > 30 and "no source lines" in text
    assert re.search(r"call +0x[0-9a-f]+ <\w+>", text)
    for _, offset in rows[1:12:5]:   # the kernel agrees that these are instructions
        take(root, kernel_places.resolve(Symbol("vfs_read", offset), FILES, root)[0])


# -- user places: everywhere, the development machine included ---------------------------------------------------------

@pytest.fixture
def uprobes():
    root = tracefs()
    if not os.path.exists(root + "/uprobe_events"):
        skip("built without uprobe events")
    return root


def test_user_places_are_taken(uprobes):
    python = os.path.realpath(sys.executable)
    for symbol in (UserSymbol("libc", "malloc"), UserSymbol("bash", "readline"), UserSymbol("libc", "malloc", 0)):
        try:
            place, = user_places.resolve(symbol)
        except NotFoundError:
            if symbol.object == "libc":
                raise
            continue
        rows = re.findall(r" ([0-9a-f]+) +\d+ +FUNC +\S+ +\S+ +\d+ %s(?:@\S+)?$" % symbol.name,
                          tool("readelf", "-W", "--dyn-syms", place.path), re.M)
        assert place.address in [int(address, 16) for address in rows]
        take(uprobes, place, "p", "uprobe")
        take(uprobes, place, "r", "uprobe")
    entry = int(re.search(r"Entry point address: +0x(\w+)", tool("readelf", "-h", python)).group(1), 16)
    place, = user_places.resolve(UserSymbol(sys.executable, "0x%x" % entry))
    take(uprobes, place, "p", "uprobe")


def test_user_wildcard_is_taken(uprobes):
    places = user_places.resolve(UserSymbol("libc", "strn*"))
    for place in places[:2]:
        take(uprobes, place, "p", "uprobe")


def test_binary_of_another_mount_namespace(uprobes, tmpdir):
    """A file that only the other process sees, by a path that here is nothing."""
    if LAB is None and os.system("unshare -m true 2>/dev/null"):
        skip("no new mount name spaces")
    script = ("mount -t tmpfs tmpfs %s && cp /bin/bash %s/hidden && echo ready && exec sleep 60" % (tmpdir, tmpdir))
    child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
    try:
        if child.stdout.readline() != b"ready\n":
            skip("no new mount name spaces")
        path = str(tmpdir.join("hidden"))
        with pytest.raises(NotFoundError):
            user_places.resolve(UserSymbol(path, "readline"))
        place, = user_places.resolve(UserSymbol(path, "readline"), pid=child.pid)
        assert place.path == "/proc/%d/root%s" % (child.pid, path)
        assert place.offset == user_places.resolve(UserSymbol("/bin/bash", "readline"))[0].offset
        take(uprobes, place, "p", "uprobe")
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
