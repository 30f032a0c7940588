"""A kernel function as instructions with source lines, and a source line as addresses: what `-F` and `-l` show.

gdb and objdump are developers' aids: they are run where they are installed (from argument lists, never by a shell), and
where they or the debug information are missing, the message says what to install.  Without a vmlinux the running
kernel's own code is shown, out of /proc/kcore, named by kallsyms but without source lines.
"""
from __future__ import absolute_import

import os
import struct

from .. import host
from .._py23 import to_text
from ..errors import FormatError, InputError, KernelError, LbcError, NotFoundError, PrivilegeError
from ..kernel_functions import FunctionLists

__all__ = ["disassemble", "locate_line", "find_vmlinux"]

# Where a vmlinux with symbols is: Debian/Ubuntu -dbg, Fedora/RHEL/openSUSE -debuginfo, a build's own tree
PLACES = ("/usr/lib/debug/boot/vmlinux-%s", "/usr/lib/debug/lib/modules/%s/vmlinux",
          "/usr/lib/debug/usr/lib/modules/%s/vmlinux", "/lib/modules/%s/build/vmlinux", "/lib/modules/%s/vmlinux",
          "/boot/vmlinux-%s", "/usr/lib/debug/boot/vmlinux-%s.debug")
LARGEST = 1 << 20       # bytes of one function that are read from /proc/kcore
BFD = {"x86_64": "i386:x86-64", "aarch64": "aarch64"}     # objdump -m


def find_vmlinux(release=None, exists=os.path.exists):
    """Path of the vmlinux with symbols of kernel ``release`` (None: the running one), None when none is installed."""
    for place in PLACES:
        path = place % (release or host.release())
        if exists(path):
            return path
    return None


def _tool(name):
    """Path of a program: ``name`` itself where it has a slash, else the one on PATH, else None."""
    folders = [""] if "/" in name else os.environ.get("PATH", "/usr/bin:/bin").split(":")
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _run(argv):
    """(exit status, stdout, stderr) of a program, as text; LbcError where it does not start."""
    import subprocess
    environment = dict(os.environ, LC_ALL="C", TERM="dumb")
    with open(os.devnull) as nothing:
        try:
            process = subprocess.Popen(argv, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=environment)
        except (OSError, IOError) as error:
            raise LbcError("cannot run %s: %s" % (argv[0], error.strerror or error), error)
        out, err = process.communicate()
    return process.returncode, to_text(out), to_text(err)


def _check_name(text, what):
    """gdb takes expressions, and `!command` too: only what can be a name goes in."""
    if not text or not all(c.isalnum() or c in "_.$" for c in text):
        raise InputError("`%s` is not %s" % (text, what))
    return text


# -- -F FUNC -----------------------------------------------------------------------------------------------------------

def disassemble(function, vmlinux=None, gdb=None, files=None):
    """Text: instructions of the kernel function ``function`` with source lines, as gdb's `disassemble /s` shows them.

    ``vmlinux``: path, None: the installed one of the running kernel; ``gdb``: program, None: the one on PATH;
    ``files``: a KernelFiles.  Without a vmlinux the running kernel's code is read.  Raises NotFoundError, InputError,
    LbcError."""
    _check_name(function, "the name of a function")
    path = vmlinux or find_vmlinux()
    if path is None:
        return _running_code(function, files)
    if not os.path.exists(path):
        raise NotFoundError("file", path)
    program = _tool(gdb or "gdb")
    if program is not None:
        return _by_gdb(program, path, function)
    if gdb:
        raise NotFoundError("program", gdb)
    program = _tool("objdump")
    if program is None:
        raise NotFoundError("program", "gdb", "PATH", hint="install gdb (or binutils for objdump): they disassemble")
    return _by_objdump(program, path, function)


def _by_gdb(program, path, function):
    status, out, err = _run([program, "-batch", "-nx", "-iex", "set auto-load off", "-ex", "set width 0", "-ex",
                             "disassemble /s '%s'" % function, "--", path])
    lines = out.splitlines()
    if status == 0 and lines and lines[0].startswith("Dump of assembler"):
        return "\n".join([line for line in lines[1:] if not line.startswith("End of assembler")]).strip("\n") + "\n"
    raise _no_such(function, path, err or out)


def _by_objdump(program, path, function):
    status, out, err = _run([program, "-d", "-l", "--no-show-raw-insn", "--disassemble=" + function, "--", path])
    start = out.find("<%s>:\n" % function)
    if status or start < 0:
        raise _no_such(function, path, err)
    return "\n".join(_as_gdb(out[start:].splitlines()[1:], function)) + "\n"


def _as_gdb(lines, function):
    """objdump's lines in gdb's form: "   0xffff <+12>:\tmov ..."; "/path/file.c:123" -> "123\tin /path/file.c"."""
    start = None
    for line in lines:
        address, colon, code = line.partition(":\t")
        if colon:
            try:
                number = int(address, 16)
            except ValueError:
                continue
            start = number if start is None else start
            yield "   0x%016x <+%d>:\t%s" % (number, number - start, code.strip())
        elif line.startswith("Disassembly of"):
            return
        elif ":" in line and line.partition(" (")[0].rpartition(":")[2].isdigit():
            file, _, number = line.partition(" (")[0].rpartition(":")
            yield "%s%s\tin %s" % ("" if start is None else "\n", number, file)


def _no_such(function, path, said):
    from ..elf.symbols import open_functions
    try:
        with open_functions(path) as functions:
            functions.find(function)   # NotFoundError with near names
    except FormatError as error:
        return error
    except NotFoundError as error:
        return error
    reason = said.strip().splitlines()
    return LbcError("cannot disassemble `%s` of %s%s" % (function, path, ": " + reason[-1] if reason else ""))


def _running_code(function, files=None):
    """Instructions of the running kernel, out of /proc/kcore."""
    lists = FunctionLists(files or _kernel_files())
    rows = lists.rows(function)
    install = "install the kernel's debug symbols, or name a vmlinux with -v"
    if not rows:
        raise NotFoundError("kernel function", function, "this kernel", lists.near(function), install)
    if not rows[0].address:
        raise PrivilegeError("no vmlinux of %s, and addresses of the running kernel are hidden" % host.release(),
                             "CAP_SYSLOG and kptr_restrict below 2", hint="run as root; or " + install)
    program = _tool("objdump")
    if program is None:
        raise NotFoundError("program", "objdump", "PATH", hint="install binutils: its objdump disassembles")
    machine = BFD.get(host.machine())
    if machine is None:
        raise LbcError("no vmlinux of %s, and code of %s cannot be shown without one"
                       % (host.release(), host.machine()), hint=install)
    size = min(lists.size(rows[0].address) or 4096, LARGEST)
    code = _kcore(rows[0].address, size, install)
    import tempfile
    with tempfile.NamedTemporaryFile(prefix="lbc-", suffix=".bin") as copy:
        copy.write(code)
        copy.flush()
        status, out, err = _run([program, "-D", "-b", "binary", "-m", machine, "--no-show-raw-insn",
                                 "--adjust-vma=0x%x" % rows[0].address, "--", copy.name])
    if status:
        raise LbcError("objdump failed: %s" % err.strip())
    lines = list(_as_gdb([line for line in out.splitlines() if ":\t" in line], function))
    return "\n".join(["no source lines: there is no vmlinux of %s here (%s)" % (host.release(), install)]
                     + [_with_targets(line, rows[0].address, size, function, lists) for line in _without_padding(lines)]
                     ) + "\n"


def _without_padding(lines):
    """Without the filling behind the last instruction (int3 and nops up to the next function)."""
    lines = list(lines)
    while lines and lines[-1].partition(":\t")[2].split(" ")[0] in ("int3", "nop", "nopw", "nopl", "cs", "data16",
                                                                   "xchg", "udf"):
        lines.pop()
    return lines


def _with_targets(line, start, size, function, lists):
    """`call 0xffff...` with the name of where it goes."""
    code = line.partition(":\t")[2].split()
    if code and code[-1].startswith("0x") and "," not in code[-1]:
        target = int(code[-1], 16)
        name = "%s+%d" % (function, target - start) if 0 < target - start < size else lists.place_of(target)
        if name and target >> 40:
            line += " <%s>" % name.replace("+0x0", "")
    return line


def _kernel_files():
    from ..kernel_files import KernelFiles
    return KernelFiles()


def _kcore(address, size, install):
    """``size`` bytes of kernel memory: /proc/kcore is an ELF core whose PT_LOAD segments name kernel addresses."""
    try:
        with open("/proc/kcore", "rb") as core:
            head = core.read(64)
            if head[:4] != b"\x7fELF" or len(head) < 64:
                raise FormatError("not an ELF file", "/proc/kcore")
            offset, step, count = struct.unpack_from("=Q", head, 32) + struct.unpack_from("=HH", head, 54)
            core.seek(offset)
            table = core.read(step * count)
            for at in range(0, len(table) - 55, step):
                kind, _, file_at, virtual, _, length = struct.unpack_from("=IIQQQQ", table, at)
                if kind == 1 and virtual <= address and address + size <= virtual + length:
                    core.seek(file_at + address - virtual)
                    return core.read(size)
    except (IOError, OSError) as error:
        raise KernelError("no vmlinux of %s, and the running kernel's code cannot be read: /proc/kcore: %s"
                          % (host.release(), error.strerror), "open", error.errno, error, install)
    raise LbcError("no vmlinux of %s, and /proc/kcore does not hold 0x%x" % (host.release(), address), hint=install)


# -- -l FILE:LINE ------------------------------------------------------------------------------------------------------

def locate_line(where, vmlinux=None, gdb=None):
    """Text: addresses of source line ``where`` ("fs/namei.c:3699") and the place as a probe takes it (`func+0x79`).

    Raises NotFoundError (gdb, vmlinux, the line), InputError."""
    name, colon, line = where.rpartition(":")
    if not colon or not line.isdigit() or not name or not all(c.isalnum() or c in "_./-+," for c in name):
        raise InputError("`%s` is not FILE:LINE" % where, hint="as in fs/namei.c:3699")
    path = vmlinux or find_vmlinux()
    if path is None:
        raise NotFoundError("vmlinux with debug information", "vmlinux-%s" % host.release(), hint="source lines need "
                            "it: install the kernel's debug symbols, or name one with -v")
    if not os.path.exists(path):
        raise NotFoundError("file", path)
    program = _tool(gdb or "gdb")
    if program is None:
        raise NotFoundError("program", gdb or "gdb", None if gdb else "PATH", hint="install gdb: it reads source lines")
    status, out, err = _run([program, "-batch", "-nx", "-iex", "set auto-load off", "-ex", "set width 0", "-ex",
                             "info line %s:%d" % (name, int(line)), "--", path])
    found = [row for row in out.splitlines() if row.startswith(("Line ", "   and ")) and "out of range" not in row]
    if status or not found:
        said = (err or out).strip().splitlines()
        raise NotFoundError("source line", where, path, hint="gdb: " + said[-1] if said else None)
    return "\n".join(found + _places(found)) + "\n"


def _places(lines):
    """`probe: p do_filp_open+0x79` of gdb's `... starts at address 0x1 <do_filp_open+121> and ends at ...`; a line that
    "contains no code" gets none: gdb then names the address of the next one that has."""
    import re
    places = []
    for match in re.finditer(r"starts at address 0x[0-9a-f]+ <([^>+]+)(?:\+(\d+))?>", "\n".join(lines)):
        name, offset = match.group(1), int(match.group(2) or 0)
        text = "probe: p %s%s" % (name, "+0x%x" % offset if offset else "")
        if text not in places:
            places.append(text)
    return places
