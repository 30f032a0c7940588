"""Where a user probe goes: `bash:readline`, `libc:malloc+0x10`, `./a.out:0x401136`, `libc:str*` as text for
uprobe_events.

uprobe_events wants a file and an offset in it (Documentation/trace/uprobetracer.rst); symbols give virtual addresses,
which the program headers turn into offsets.  Nothing is run: ELF files, ld.so.cache and /proc are read here.
"""
from __future__ import absolute_import

import os

from .._py23 import to_text
from ..elf.locate import find_binary
from ..elf.reader import open_elf
from ..elf.symbols import Functions
from ..errors import InputError, LbcError, NotFoundError
from ..uapi import elf as c
from .places import MAX_PROBES, is_pattern

__all__ = ["Place", "resolve", "probe_path"]

SHOWN = 8
MACHINES = {"x86_64": (c.EM_X86_64, c.EM_386), "aarch64": (c.EM_AARCH64, c.EM_ARM)}   # what the kernel runs


class Place(object):
    """One spot for a user probe.  ``text``: "path:0xOFFSET" for uprobe_events; ``path``: opens here; ``offset``: in the
    file; ``function``: name without offset, "" when only an address was given; ``address``: virtual, as nm(1) shows it;
    ``size``: bytes of the function, 0 = not known; ``note``: what the user ought to know, or ""."""
    __slots__ = ("path", "offset", "function", "address", "size", "note")

    def __init__(self, path, offset, function, address, size=0, note=""):
        self.path, self.offset, self.function = path, offset, function
        self.address, self.size, self.note = address, size, note

    @property
    def text(self):
        return "%s:0x%x" % (self.path, self.offset)

    def __repr__(self):
        return "Place(%s)" % self.text


def resolve(symbol, pid=None, returns=False, max_probes=MAX_PROBES, debug=None):
    """[Place] of ``symbol``: one, or one for each function that a wildcard matches.

    ``symbol``: has ``object`` (path, command, library), ``name`` (function, `name@VERSION`, `ns::name`, a pattern, or
    an address "0x401136" as nm and objdump print it) and ``offset`` (bytes); ``pid``: the file as that process sees it;
    ``returns``: for a return probe; ``debug``: path of the file's debug symbols, or None.
    Raises NotFoundError, InputError, FormatError."""
    path = probe_path(find_binary(symbol.object, pid), pid)
    elf = _open(path)
    try:
        functions = Functions(elf, open_elf(debug) if debug else None)
    except LbcError:
        elf.close()
        raise
    try:
        if is_pattern(symbol.name):
            return _matches(functions, symbol, max_probes)
        if returns and symbol.offset:
            raise InputError("a return probe sits on the whole function: `%s+0x%x` has an offset"
                             % (symbol.name, symbol.offset), hint="write `%s`" % symbol.name)
        address = _number(symbol.name)
        if address is not None:
            return [_at_address(functions, address + symbol.offset)]
        return [_in_function(functions, symbol)]
    finally:
        functions.close()


def probe_path(path, pid=None):
    """``path`` as uprobe_events can take it.  InputError: it splits at white space and ends at `#`, and has no way to
    quote (kernel/trace/trace.c, trace_parse_run_command)."""
    root = "/proc/%d/root" % pid if pid else ""
    if root and path.startswith(root + "/") and _same_root(pid):
        path = path[len(root):]     # the plain path outlives the process
    if pid and path == "/proc/%d/exe" % pid and _same_root(pid):
        target = os.readlink(path)
        path = target if os.path.exists(target) else path   # "(deleted)": the kernel still has it behind exe
    for character in path:
        if character.isspace() or character == "#":
            raise InputError("%s: the kernel's uprobe_events cannot take a path with `%s` in it" % (path, character),
                             hint="make a symbolic link without such characters and name that")
    return path


def _same_root(pid):
    """Does the process see our files?  Its mount name space and root are ours."""
    try:
        return (os.readlink("/proc/%d/ns/mnt" % pid), os.readlink("/proc/%d/root" % pid)) == \
            (os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/root"))
    except OSError:
        return False


def _open(path):
    """Elf of ``path``; what is no program or library for this machine is refused with what it is."""
    try:
        with open(path, "rb") as source:
            head = source.read(256)
    except (OSError, IOError) as error:
        raise InputError("cannot read %s: %s" % (path, error.strerror), cause=error)
    if head[:2] == b"#!":
        words = to_text(head[2:].split(b"\n")[0]).split()
        words = words[1:] if words and words[0].endswith("/env") and len(words) > 1 else words
        interpreter = words[0] if words else "an interpreter"
        raise InputError("%s is a script: its code runs inside %s" % (path, interpreter),
                         hint="probe functions of %s" % interpreter)
    if head[:4] != b"\x7fELF":
        raise InputError("%s is no program: it is not an ELF file" % path)
    elf = open_elf(path)
    wanted = MACHINES.get(os.uname()[4])
    if elf.type not in (c.ET_EXEC, c.ET_DYN) or wanted and elf.machine not in wanted:
        elf.close()
        raise InputError("%s: %s" % (path, "an object file: link it first" if elf.type == c.ET_REL else
                                     "built for another machine (ELF machine %d)" % elf.machine
                                     if wanted and elf.machine not in wanted else "neither a program nor a library"))
    return elf


def _number(text):
    try:
        return int(text, 16) if text[:2] in ("0x", "0X") else int(text) if text.isdigit() else None
    except ValueError:
        return None


# -- one place ---------------------------------------------------------------------------------------------------------

def _at_address(functions, address):
    elf = functions.elf
    offset = elf.offset_of(address, executable=True)
    if offset is None:
        hint, virtual = None, elf.vaddr_of(address)
        if virtual is not None and elf.offset_of(virtual, executable=True) == address:
            hint = "as an offset in the file it would be the address 0x%x: write that" % virtual
        elif elf.offset_of(address) is not None:
            hint = "it is in data: no instruction can be there"
        raise InputError("%s: no code is at address 0x%x" % (functions.path, address), hint=hint)
    found = functions.lookup(address)
    return Place(functions.path, offset, found[0] if found else "", address,
                 note="at %s+0x%x" % found if found else "no function is known at this address")


def _in_function(functions, symbol):
    name, note = symbol.name, ""
    try:
        found = functions.find(name)
    except NotFoundError as error:
        mangled = _mangled(functions, name)
        if len(mangled) != 1:
            raise _not_found(error, mangled)
        note, found = "%s is `%s` in the file" % (name, mangled[0]), functions.find(mangled[0])
    found = [function for function in found if function.offset is not None] or found
    first = found[0]
    offset = functions.probe_offset(note and first.name or name) if _one_meaning(functions, found, symbol) else None
    if symbol.offset:
        if first.size and symbol.offset >= first.size:
            raise InputError("%s: `%s+0x%x`: the function is only %d (0x%x) bytes long"
                             % (functions.path, name, symbol.offset, first.size, first.size))
        address = first.address + symbol.offset
        offset = functions.offset_of(address)
        note = "; ".join([part for part in (note, "not checked: is +0x%x the start of an instruction? elsewhere the "
                                            "program is damaged" % symbol.offset) if part])
        if offset is None:
            raise InputError("%s: `%s+0x%x` is not in the file" % (functions.path, name, symbol.offset))
    return Place(functions.path, offset, first.name, first.address + symbol.offset, first.size, note)


def _one_meaning(functions, found, symbol):
    """True; InputError where the name has several equal meanings.  IFUNCs are refused by ``probe_offset``."""
    first = found[0]
    same = [f for f in found if (f.ifunc, f.default, f.bind) == (first.ifunc, first.default, first.bind)]
    if len({f.address for f in same}) == 1:
        return True
    rows = ["0x%x%s%s" % (f.address, " in %s" % _source_file(functions, f) if _source_file(functions, f) else "",
                          ", %d bytes" % f.size if f.size else "") for f in same[:SHOWN]]
    more = ["%d more" % (len(same) - SHOWN)] if len(same) > SHOWN else []
    raise InputError("%s: %d functions are called `%s`:\n    %s" % (functions.path, len(same), symbol.name,
                                                                  "\n    ".join(rows + more)),
                     hint="give the address: `%s:0x%x`" % (symbol.object, first.address))


def _source_file(functions, function):
    """The file symbol before a local one (gABI, "Symbol Table"), or ""."""
    for table in functions.tables:
        if table.section.type != c.SHT_SYMTAB:
            continue
        for i in table.with_name_in(set(table.strings.offsets(function.name))):
            if table.values[i] == function.address and table.info[i] >> 4 == c.STB_LOCAL:
                while i and table.info[i] & 15 != c.STT_FILE:
                    i -= 1
                return table.strings.text(table.names[i])
    return ""


def _mangled(functions, name):
    """Sorted mangled names whose nested names are those of `std::foo` (Itanium C++ ABI, "Mangling"; Rust is alike):
    "3std3foo" and no part more."""
    plain = name.partition("(")[0].partition("<")[0].partition("@")[0]
    parts = [part for part in plain.split("::") if part]
    if not parts or not all(part.replace("_", "").replace("~", "").isalnum() for part in parts):
        return []
    coded = "".join(_coded(part, parts[number - 1] if number else "") for number, part in enumerate(parts))
    heads = ("_ZN" + coded, "_ZNK" + coded) if len(parts) > 1 else ("_Z" + coded, "_ZL" + coded)
    if len(parts) > 1 and parts[0] == "std":    # St: the one name space with a code of its own
        rest = "St" + coded[len("3std"):]
        heads += ("_ZN" + rest, "_ZNK" + rest) if len(parts) > 2 else ("_Z" + rest,)
    found = {}      # one name for each address: constructors C1 and C2 mostly are one
    for table in functions.tables:
        text = table.strings.text
        for i in table.functions():
            raw = text(table.names[i])
            if raw.startswith(heads):
                tail = raw[max(len(head) for head in heads if raw.startswith(head)):]
                # the nested name ends here (E), or a plain one is followed by its parameters; a further number would
                # be a further name, but of Rust's hash (17h...); .cold parts are left out
                if ".cold" not in tail and (not tail[:1].isdigit() or tail.startswith("17h") or coded[-1:] in "CD"):
                    found.setdefault(table.values[i], raw)
    return sorted(found.values())


def _coded(part, before):
    if part == before:
        return "C"      # constructors: C1, C2
    if part.startswith("~"):
        return "D"
    return "%d%s" % (len(part), part)


def _not_found(error, mangled):
    if not mangled:
        return error
    text = "%d functions are called so in C++: `%s`" % (len(mangled), "`, `".join(mangled[:SHOWN]))
    return NotFoundError(error.kind, error.name, error.searched, (), text)


# -- patterns ----------------------------------------------------------------------------------------------------------

def _matches(functions, symbol, max_probes):
    import fnmatch
    import re
    if symbol.offset:
        raise InputError("`%s` is a pattern: it takes no offset" % symbol.name)
    matches = re.compile(fnmatch.translate(symbol.name.replace("[", "[[]"))).match
    found, indirect, every = {}, set(), 0
    for function in functions.functions():
        every += 1
        name = function.name.partition("@")[0]
        if matches(name) and ".cold" not in name:
            if function.ifunc:
                indirect.add(name)
            elif function.default or function.offset not in found:
                found.setdefault(function.offset, function)
    if not found:
        hint = None
        if indirect:
            hint = "only indirect functions match, which cannot be probed: %s" % ", ".join(sorted(indirect)[:SHOWN])
        elif not any(table.section.type == c.SHT_SYMTAB for table in functions.tables):
            hint = "the file is stripped: only exported functions have names; install its debug symbols"
        raise NotFoundError("function", symbol.name, "%s (%d functions)" % (functions.path, every), hint=hint)
    if len(found) > max_probes:
        raise InputError("`%s` matches %d functions of %s, more than %d: %s, ..." % (
            symbol.name, len(found), functions.path, max_probes,
            ", ".join(sorted(f.name for f in found.values())[:4])),
            hint="a narrower pattern, or --max-probes %d" % len(found))
    places = [Place(functions.path, offset, function.name.partition("@")[0], function.address, function.size)
              for offset, function in found.items()]
    places.sort(key=lambda place: (place.function, place.offset))
    if indirect:
        places[0].note = "left out, being indirect (IFUNC): %s" % ", ".join(sorted(indirect)[:SHOWN])
    return places
