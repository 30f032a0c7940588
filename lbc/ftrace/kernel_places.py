"""Where a kernel probe goes: `func`, `func+0x79`, `module:func`, `func#2`, `func@file.c`, `tcp_*` as text for
kprobe_events.

What kernels do (seen on 5.10, 6.1, 6.12 and 7.3) and what follows from it here:

* A probe on a module that is not loaded, on `vmlinux:func` too, is *accepted* and waits for ever: modules are checked.
* An offset behind the end of a function is accepted where it hits an instruction of the next one: offsets are checked.
* Kernels before 6.7 may take one of several functions of the same name without saying which (later ones, and stable
  branches, refuse: commit b022f0c7e404): there the name is counted first.

kallsyms (4 to 10 MB) is read for these only; a plain name on a new kernel costs nothing, the kernel checks it.
"""
from __future__ import absolute_import

from .. import host
from .._py23 import integer_types
from ..errors import InputError, NotFoundError, PrivilegeError
from ..kernel_functions import FunctionLists, suffix_meaning
from . import no_place
from .no_place import explain
from .places import MAX_PROBES, is_pattern

__all__ = ["Place", "resolve", "explain", "is_pattern", "MAX_PROBES"]

REFUSES_COPIES = 6, 7   # upstream version that refuses a name that several functions have
MAX_OFFSET = 0xffffffff  # kernel/trace/trace_kprobe.c, __trace_kprobe_create: offset > UINT_MAX is refused


class Place(object):
    """One spot for a kernel probe.  ``text``: for kprobe_events; ``function``: name without offset; ``module``: "" =
    the kernel or not said; ``offset``: bytes into the function; ``address``: of the spot, None where nothing needed it;
    ``note``: what the user ought to know, or ""."""
    __slots__ = ("text", "function", "module", "offset", "address", "note")

    def __init__(self, text, function, module="", offset=0, address=None, note=""):
        self.text, self.function, self.module, self.offset = text, function, module, offset
        self.address, self.note = address, note

    def __repr__(self):
        return "Place(%s)" % self.text


def resolve(symbol, files, root, returns=False, types=None, max_probes=MAX_PROBES, vmlinux=None, release=None):
    """[Place] of ``symbol``: one, or one for each function that a wildcard matches, in order of names.

    ``symbol``: has ``module``, ``name``, ``offset`` (bytes), ``copy`` (None, a number from 1, a source file's name);
    ``files``: KernelFiles; ``root``: folder of tracefs; ``returns``: for a return probe; ``types``: a resolver that
    may know the source files of functions, or None; ``vmlinux``: path of one with symbols, or None.
    Raises NotSupported (no kprobes), NotFoundError, InputError (several copies, a wrong offset, too many matches),
    PrivilegeError (addresses are hidden and needed).
    """
    no_place.check_kprobes(files, root)
    release = release or host.release()
    module = symbol.module.replace("-", "_")
    if module in ("vmlinux", "kernel"):   # what others call the kernel proper
        module = ""
    elif module:
        no_place.check_module(files, module, symbol.name, release)
    if returns and symbol.offset:
        raise InputError("a return probe sits on the whole function: `%s+0x%x` has an offset"
                         % (symbol.name, symbol.offset), hint="write `%s`" % symbol.name)
    lists = FunctionLists(files, root)
    if is_pattern(symbol.name):
        return _matches(symbol, module, lists, max_probes)
    if symbol.copy is None and not symbol.offset and _refuses_copies(release):
        return [_named(symbol, module)]
    rows = lists.rows(symbol.name, module if symbol.module else None)
    if not rows:
        if not lists.kallsyms:   # the kernel must judge alone
            return [_named(symbol, module)]
        raise no_place.no_symbol(lists, symbol, module, types, release)
    row = rows[0]
    if symbol.copy is not None or len(rows) > 1:
        row = _pick(symbol, rows, lists, types, vmlinux, release)
    if symbol.offset and row.address:
        no_place.check_offset(lists, symbol, row)
    if len(rows) == 1:
        return [_named(symbol, module, row.address + symbol.offset if row.address else None)]
    return [_at(lists, row, symbol.offset)]


def _refuses_copies(release):
    numbers = release.replace("-", ".").split(".")
    try:
        return (int(numbers[0]), int(numbers[1])) >= REFUSES_COPIES
    except (ValueError, IndexError):
        return False


def _named(symbol, module, address=None):
    text = "%s:%s" % (module, symbol.name) if module else symbol.name
    if symbol.offset:
        text += "+0x%x" % symbol.offset
    return Place(text, symbol.name, module, symbol.offset, address, suffix_meaning(symbol.name))


def _pick(symbol, rows, lists, types, vmlinux, release):
    """The Row that ``symbol.copy`` means."""
    if lists.hidden():
        raise PrivilegeError("%d functions are called `%s`; to tell them apart their addresses are needed, which "
                             "/proc/kallsyms hides" % (len(rows), symbol.name), "CAP_SYSLOG and kptr_restrict below 2",
                             hint="as root: sysctl kernel.kptr_restrict=1")
    if symbol.copy is None:
        raise no_place.several(lists, symbol, rows, types, vmlinux, release)
    if isinstance(symbol.copy, integer_types):
        if not 1 <= symbol.copy <= len(rows):
            raise no_place.several(lists, symbol, rows, types, vmlinux, release, "there is no `%s#%d`: "
                                   % (symbol.name, symbol.copy))
        return rows[symbol.copy - 1]
    known = no_place.files_of(lists, rows, types, vmlinux, release)
    found = [row for row, file in zip(rows, known) if no_place.same_file(file, symbol.copy)]
    if len(rows) == 1 and not known[0]:
        return rows[0]   # nothing to choose from, and nothing that speaks against it
    if len(found) != 1:
        if not any(known):
            said = "nothing here tells which file they come from: "
        elif found:
            said = "%d of them are in `%s`: " % (len(found), symbol.copy)
        elif all(known):
            raise NotFoundError("function `%s` in" % symbol.name, symbol.copy, "this kernel", sorted(set(known)))
        else:
            said = "none is known to be in `%s`: " % symbol.copy
        raise no_place.several(lists, symbol, rows, types, vmlinux, release, said)
    return found[0]


def _at(lists, row, offset, note=""):
    """Place of one copy.  `_text+OFFSET` rather than an address: kprobe_events shows addresses hashed."""
    base = lists.rows("_text", "", data=True)
    distance = row.address + offset - base[0].address if base else -1
    text = "_text+0x%x" % distance if 0 <= distance <= MAX_OFFSET else "0x%x" % (row.address + offset)
    note = "; ".join([part for part in (note, suffix_meaning(row.name)) if part])
    return Place(text, row.name, row.module, offset, row.address + offset, note)


def _matches(symbol, module, lists, max_probes):
    if symbol.copy is not None or symbol.offset:
        raise InputError("`%s` is a pattern: it takes neither an offset nor a copy" % symbol.name)
    pattern = "%s:%s" % (module, symbol.name) if module else symbol.name
    found = lists.matching(pattern)
    if symbol.module and not module:
        found = [row for row in found if not row.module]
    if not found:
        raise no_place.no_match(lists, symbol, pattern)
    if len(found) > max_probes:
        raise InputError("`%s` matches %d functions, more than %d: %s, ..." % (
            pattern, len(found), max_probes, ", ".join([row.name for row in found[:4]])),
            hint="a narrower pattern, or --max-probes %d" % len(found))
    places, unclear = [], []
    for row in found:
        if row.copies <= 1:
            text = "%s:%s" % (row.module, row.name) if row.module else row.name
            places.append(Place(text, row.name, row.module, 0, row.address or None, suffix_meaning(row.name)))
        elif row.address:
            places.append(_at(lists, row, 0, "one of several functions of this name"))
        elif row.name not in unclear:
            unclear.append(row.name)
    if places and unclear:
        places[0].note += "; ".join([""] * bool(places[0].note) + [
            "left out, as several functions have the name and not all can be traced: %s" % ", ".join(unclear)])
    if not places:
        raise InputError("`%s` matches only names that several functions have: %s" % (pattern, ", ".join(unclear)),
                         hint="pick copies: `%s#1`" % unclear[0])
    return places
