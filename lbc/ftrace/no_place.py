"""Why a kernel function cannot be probed, as far as the kernel's own lists and the type source tell.

Every function here gives or raises the error to show; slow things (kallsyms, similar names) are done here only:
something failed already.
"""
from __future__ import absolute_import

import errno

from .. import host
from .._py23 import integer_types, near, to_bytes, to_text
from ..errors import (FtraceError, InputError, KernelError, LbcError, NotFoundError, NotSupported,
                      PrivilegeError, errno_text)
from ..kernel_functions import CODE, FunctionLists, suffix_meaning
from .places import is_pattern

__all__ = ["check_kprobes", "check_module", "check_offset", "explain", "no_symbol", "several", "files_of", "same_file"]

STT_FILE = 4
# The kernel's words (kernel/trace/trace_probe.h, C(...) table; error_log since 5.2)
SAYS_COPIES, SAYS_ENTRY, SAYS_BOUNDARY = "not unique", "must be an function entry", "not an instruction boundary"
REFUSED = "Failed to register probe event"
SHOWN = 8           # copies in one message


# -- before anything is written ----------------------------------------------------------------------------------------

def check_kprobes(files, root):
    """Raises NotSupported where this kernel takes no kprobe events, saying what it takes instead."""
    if files.exists(root + "/kprobe_events"):
        return
    ways = []
    try:
        readme = files.read(root + "/README")
    except KernelError:
        readme = b""
    if b" f[:" in readme or b"\tf[:" in readme:
        ways.append("function probes (`f:` in dynamic_events)")
    if files.exists(root + "/events"):
        ways.append("events (`e system/event`)")
    if files.exists(root + "/uprobe_events"):
        ways.append("user probes (`P object:function`)")
    try:
        if b"function" in files.read(root + "/available_tracers").split():
            ways.append("the function tracer, which shows calls without arguments")
    except KernelError:
        pass
    raise NotSupported("kprobe events (CONFIG_KPROBE_EVENTS)", hint="what it has: %s" % ", ".join(ways) if ways else
                       None)


def check_module(files, module, function, release=None):
    """Raises NotFoundError unless ``module`` ("_" for "-") is loaded."""
    if files.exists("/sys/module/%s/initstate" % module):
        return
    folder = "/lib/modules/%s/" % (release or host.release())
    names = _module_names(files, folder + "modules.dep")
    hint = None
    if module in _module_names(files, folder + "modules.builtin"):
        raise NotFoundError("loaded kernel module", module, hint="it is built into this kernel: write `%s`" % function)
    if module in names:
        hint = "load it first: modprobe %s" % module
    loaded = [name for name in files.listdir("/sys/module") if files.exists("/sys/module/%s/initstate" % name)]
    raise NotFoundError("loaded kernel module", module, None, near(module, loaded), hint)


def _module_names(files, path):
    """Names in modules.dep or modules.builtin: each line begins with "kernel/fs/ext4/ext4.ko[.xz]"."""
    try:
        text = to_text(files.read(path))
    except KernelError:
        return set()
    return {line.partition(":")[0].rpartition("/")[2].partition(".ko")[0].replace("-", "_")
            for line in text.splitlines()}


def check_offset(lists, symbol, row):
    """Raises InputError for an offset behind the end of the function of ``row``."""
    size = lists.size(row.address)
    if size is not None and symbol.offset >= size:
        behind = lists.place_of(row.address + symbol.offset)
        raise InputError("`%s+0x%x`: the function is only %d (0x%x) bytes long, padding included"
                         % (symbol.name, symbol.offset, size, size),
                         hint="at that address is %s" % behind if behind else None)


# -- several functions of one name -------------------------------------------------------------------------------------

def same_file(path, wanted):
    """Does `fs/namei.c` mean ``path``?  Whole folders and names are compared, from the end."""
    ours, theirs = path.split("/")[::-1], wanted.strip("/").split("/")[::-1]
    return bool(path) and ours[:len(theirs)] == theirs[:len(ours)]


def files_of(lists, rows, types=None, vmlinux=None, release=None):
    """[source file, "" = not known] of copies, by the symbols of a vmlinux, else by the type source and the functions
    around: those of one source file stand together."""
    found = _files_in_vmlinux(lists, rows, vmlinux, release)
    for number, row in enumerate(rows):
        if not found[number] and types is not None:
            said = [_file_of(types, name) for name in lists.beside(row.address)]
            if said and said[0] and len(set(said)) == 1:   # neighbours on both sides agree
                found[number] = said[0]
    return found


def _file_of(types, name):
    try:
        known = {function.file for function in types.functions(name)}
    except LbcError:
        return ""
    return known.pop() if len(known) == 1 else ""


def _files_in_vmlinux(lists, rows, vmlinux, release):
    """Local symbols stand behind the STT_FILE symbol of their source file (gABI, "Symbol Table")."""
    from ..elf.symbols import open_functions
    from .source_lines import find_vmlinux
    result = [""] * len(rows)
    base = lists.rows("_text", "", data=True)
    path = vmlinux or find_vmlinux(release, lists.files.exists)
    if not path or not base or not base[0].address:
        return result
    try:
        with open_functions(path) as functions:
            start = functions.find("_text")[0].address
            for table in functions.tables:
                for i in table.with_name_in(set(table.strings.offsets(rows[0].name))):
                    for number, row in enumerate(rows):
                        if not row.module and table.values[i] - start == row.address - base[0].address:
                            result[number] = _file_before(table, i)
    except LbcError:
        pass   # no vmlinux of this kernel: only less is said
    return result


def _file_before(table, i):
    if table.info[i] >> 4:   # global symbols stand behind all local ones
        return ""
    while i and table.info[i] & 15 != STT_FILE:
        i -= 1
    return table.strings.text(table.names[i])


def several(lists, symbol, rows, types=None, vmlinux=None, release=None, said=""):
    """InputError that lists the copies: `vfs#1 = _text+0x1234`, their file or neighbours, and which can be traced."""
    base = lists.rows("_text", "", data=True)
    text, able = [], []
    for number, (row, file) in enumerate(zip(rows, files_of(lists, rows, types, vmlinux, release)), 1):
        place = "_text+0x%x" % (row.address - base[0].address) if base and row.address else "address hidden"
        about = ["[%s]" % row.module] if row.module else []
        if file:
            about.append("in %s" % file)
        elif row.address and lists.beside(row.address, 1):
            about.append("beside %s" % lists.beside(row.address, 1)[0])
        if lists.traceable(row.name, row.address) is False:
            about.append("cannot be traced")
        elif lists.traceable(row.name, row.address) and lists.addresses_text:
            able.append(number)
        text.append("%s#%d = %s%s" % (row.name, number, place, " (%s)" % ", ".join(about) if about else ""))
    if len(text) > SHOWN:
        text[SHOWN:] = ["%d more" % (len(text) - SHOWN)]
    plain = "%s%d functions are called `%s`:\n    %s" % (said, len(rows), symbol.name, "\n    ".join(text))
    choice = able[0] if able else 1
    return InputError(plain, hint="say which one: `%s#%d` or `%s@FILE.c`" % (symbol.name, choice, symbol.name))


# -- no such symbol ----------------------------------------------------------------------------------------------------

def relatives(lists, name, count=4):
    """Traceable functions whose names hold ``name`` without its underscores, the closest first."""
    import re
    stem = name.strip("_")
    if len(stem) < 3:
        return []
    pattern = br"^([A-Za-z0-9_]*" + re.escape(to_bytes(stem)) + br"[A-Za-z0-9_]*)(?: |$)"
    found = {to_text(n) for n in re.findall(pattern, lists.traceable_text, re.M)}
    found.discard(name)
    return sorted(found, key=lambda other: (len(other), other))[:count]


def no_match(lists, symbol, pattern):
    """NotFoundError for a wildcard without a match."""
    if lists.starting(symbol.name.partition("*")[0].partition("?")[0]) and lists.matching(pattern) == []:
        return NotFoundError("traceable kernel function", pattern, "available_filter_functions" if lists.traceable_text
                             else "this kernel", hint="functions that are notrace, blacklisted or only cold parts of "
                             "others are left out")
    return NotFoundError("traceable kernel function", pattern, "this kernel")


def no_symbol(lists, symbol, module="", types=None, release=None):
    """Why the kernel has no code symbol of that name: a variable, a changed copy, inlined, in a module, misspelt."""
    name = symbol.name
    other = lists.rows(name, data=True)
    places = [row.module for row in other if row.module != module and row.kind in CODE]
    if symbol.module and places:
        place = places[0]
        return NotFoundError("function", name, "module %s" % module,
                             hint="it is in %s" % ("module %s: write `%s:%s`" % (place, place, name) if place else
                                                   "the kernel itself: write `%s`" % name))
    if [row for row in other if row.kind not in CODE]:
        return _variable(name)
    variants = lists.variants(name)
    if variants:
        able = lists.some_traceable(variants) or variants
        return NotFoundError("kernel function", name, "this kernel", hint="the compiler left only `%s`: %s" % (
            "`, `".join(able[:3]), suffix_meaning(able[0])))
    close = relatives(lists, name)
    known = _known(types, name, module)
    if known:
        where = "; with a similar name can be traced: %s" % ", ".join(close) if close else ""
        return NotFoundError("kernel function", name, "this kernel's symbols", hint="%s knows it%s: it was inlined "
                             "into its callers; probe one of them%s"
                             % (types.where or "the type source", known, where))
    owner = _module_with(lists.files, name, release)
    if owner:
        return NotFoundError("kernel function", name, "this kernel", hint="module %s, which is not loaded, has it: "
                             "modprobe %s" % (owner, owner))
    similar = lists.near(name)
    hint = "it may be inlined into its callers, or in a module that is not loaded"
    more = [other for other in close if other not in similar]
    if more:
        hint += "; with its name in theirs can be traced: %s" % ", ".join(more)
    return NotFoundError("kernel function", name, "this kernel", similar, hint)


def _variable(name):
    return InputError("`%s` is a variable of the kernel, not a function" % name,
                      hint="`@%s` reads it, in the arguments of a probe" % name)


def _known(types, name, module):
    """" (static ..., fs/namei.c)" or " " when the type source has the function, else ""."""
    if types is None:
        return ""
    try:
        found = types.functions(name, module or None)
    except LbcError:
        return ""
    if not found:
        return ""
    return " (%s%s)" % (found[0].text, ", " + found[0].file if found[0].file else "")


def _module_with(files, name, release=None):
    """The module that exports ``name``: modules.symbols has lines "alias symbol:NAME MODULE" (depmod(8))."""
    try:
        text = files.read("/lib/modules/%s/modules.symbols" % (release or host.release()))
    except KernelError:
        return ""
    at = text.find(b"alias symbol:" + to_bytes(name) + b" ")
    return to_text(text[at:text.find(b"\n", at)].split()[-1]) if at >= 0 else ""


# -- the kernel said no ------------------------------------------------------------------------------------------------

def explain(symbol, files, root, number, words="", path=None, text=None, returns=False, types=None, vmlinux=None,
            release=None):
    """LbcError that says why kprobe_events refused a probe on ``symbol``.

    ``number``: errno of the write; ``words``: tail of error_log or ""; ``path``, ``text``: what was written where;
    ``returns``, ``types``, ``vmlinux``, ``release``: as for ``kernel_places.resolve``."""
    lists = FunctionLists(files, root)
    if is_pattern(symbol.name):
        if len((text or "").split()) < 2:
            return FtraceError("`%s` cannot be probed: %s" % (symbol.name, words or errno_text(number)),
                               path or root + "/kprobe_events", text, words, number)
        symbol = _Written(lists, text)      # one of the many that matched
    name = symbol.name
    what = "%s%s" % (name, "+0x%x" % symbol.offset if symbol.offset else "")

    def error(why, hint=None):
        return FtraceError("`%s` cannot be probed: %s" % (what, why), path or root + "/kprobe_events", text, words,
                           number, hint=hint)
    if number in (errno.EPERM, errno.EACCES):
        return _not_allowed(files, what, number)
    if number == errno.EILSEQ or SAYS_BOUNDARY in words:
        return error("the offset is not at the start of an instruction",
                     "surftrace -F %s shows where they start" % name)
    module = symbol.module.replace("-", "_")
    module = "" if module in ("vmlinux", "kernel") else module
    rows = lists.rows(name, module if symbol.module else None)
    if not rows and lists.kallsyms and number in (errno.ENOENT, errno.EINVAL):
        return no_symbol(lists, symbol, module, types, release)
    if len(rows) > 1 and symbol.copy is None and (number == errno.EADDRNOTAVAIL or SAYS_COPIES in words):
        return several(lists, symbol, rows, types, vmlinux, release)
    if returns and symbol.offset or SAYS_ENTRY in words:
        return error("a return probe must be at the start of a function", "write `%s`" % name)
    row = _meant(rows, symbol)
    if symbol.offset and row is not None and row.address:
        try:
            check_offset(lists, symbol, row)
        except InputError as wrong:
            return wrong
    if number not in (errno.EINVAL, errno.ENOENT, errno.EADDRNOTAVAIL) or row is None \
            or words and REFUSED not in words and "Invalid probed address" not in words:
        return error("%s%s" % (errno_text(number), " (%s)" % words if words else ""))
    if row.address and not row.module and not lists.in_init(row.address) \
            and lists.between("_stext", "_etext", row.address) is False:
        return _variable(name)      # kallsyms of 7.3 calls jiffies, a symbol of the linker script, code
    return error(*_forbidden(lists, row))


class _Written(object):
    """The symbol in the text of a probe: "p:group/name [module:]function[+offset] arguments"."""

    def __init__(self, lists, text):
        place = text.split()[1]
        self.module, _, name = place.rpartition(":")
        name, _, offset = name.partition("+")
        self.name, self.offset, self.copy = name, int(offset or "0", 0), None
        base = lists.rows("_text", "", data=True) if name == "_text" else []
        if base and base[0].address:    # one of several copies
            address = base[0].address + self.offset
            self.name, _, offset = lists.place_of(address).partition("+")
            self.offset = int(offset or "0", 16)
            self.copy = 1 + [row.address + self.offset for row in lists.rows(self.name)].index(address)


def _meant(rows, symbol):
    if isinstance(symbol.copy, integer_types) and 1 <= symbol.copy <= len(rows):
        return rows[symbol.copy - 1]
    return rows[0] if rows else None


def _forbidden(lists, row):
    """(why, hint) for an existing function that kprobes refuse."""
    close = relatives(lists, row.name)
    hint = "probe a caller or a relative%s" % (": %s" % ", ".join(close) if close else "")
    if row.address and lists.in_init(row.address):
        return "it is start-up code (__init), whose memory was given back when the kernel was up", None
    if lists.blacklisted(row.name, row.address):
        return "it is on kprobes' blacklist (NOKPROBE_SYMBOL): kprobes themselves need it", hint
    able = lists.traceable(row.name, row.address)
    if able is False:
        return "it is notrace: the compiler put no call to the tracer into it, and kprobes then refuse it", hint
    if able is None:
        return "it is notrace, blacklisted or start-up code; this kernel has no list that would tell", hint
    if not lists.blacklist():
        return "it may be on kprobes' blacklist, which is not readable here (debugfs at /sys/kernel/debug)", hint
    return "the kernel gives no reason; dmesg may say more", hint


def _not_allowed(files, what, number):
    hint = "run as root"
    try:
        level = to_text(files.read("/sys/kernel/security/lockdown"))
        if "[confidentiality]" in level:
            hint = "kernel lockdown (confidentiality) forbids probes: lockdown= on the kernel's command line"
    except KernelError:
        pass
    return PrivilegeError("`%s` cannot be probed: %s" % (what, errno_text(number)), "root", "write kprobe_events",
                          number, hint=hint)
