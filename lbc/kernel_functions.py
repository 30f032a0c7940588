"""What the kernel's own lists say about its functions: /proc/kallsyms, available_filter_functions, kprobes/blacklist.

They are large (kallsyms: 4 to 10 MB), so each is read when first asked, kept as the bytes it came in and searched in
place: for patterns, for system calls, for symbols with several copies, and for saying why a function cannot be probed.
"""
from __future__ import absolute_import

from ._py23 import iteritems, near, to_bytes, to_text
from .errors import KernelError
from .tracefs import find_tracefs

__all__ = ["FunctionLists", "Row", "glob_bytes", "suffix_meaning"]

BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"    # since 4.18 with addresses and names; debugfs only
CODE = "tTwW"
# Symbols of available_filter_functions that stand for no function: kernel/trace/ftrace.c, FTRACE_INVALID_FUNCTION
INVALID = "__ftrace_invalid_address__"
# What GCC and Clang append to the copies that they make of a function
_SUFFIXES = (("isra", "a copy whose arguments the compiler changed (scalar replacement): %N may not be what the source "
              "says"),
             ("constprop", "a copy made for constant arguments, which are not passed any more: %N may be another one"),
             ("part", "only a part of the function: the rest is inlined into its callers, which may not call it"),
             ("cold", "only the unlikely part of the function, jumped to and never called"),
             ("llvm", "the function itself, renamed by link-time optimization"),
             ("lto_priv", "the function itself, renamed by link-time optimization"))


def suffix_meaning(name):
    """What the suffix of `foo.isra.0` means for who probes it, or ""."""
    parts = name.split(".")[1:]
    return "; ".join([text for word, text in _SUFFIXES if word in parts])


def glob_bytes(pattern):
    """Regular expression text (bytes) of a pattern with * and ?."""
    import re
    return re.escape(to_bytes(pattern)).replace(br"\*", b"[^ \t\n]*").replace(br"\?", b"[^ \t\n]")


class Row(object):
    """One symbol of kallsyms: ``address`` (0: hidden), ``kind`` (letter of nm(1)), ``name``, ``module`` ("": the
    kernel), ``copies``: how many the kernel finds by the name (set by ``matching``)."""
    __slots__ = ("address", "kind", "name", "module", "copies")

    def __init__(self, address, kind, name, module, copies=1):
        self.address, self.kind, self.name, self.module, self.copies = address, kind, name, module, copies

    def __repr__(self):
        return "Row(0x%x %s %s [%s])" % (self.address, self.kind, self.name, self.module)


def _rows(text, pattern, kinds):
    """[Row] of the lines of ``text`` whose name matches ``pattern`` (bytes of a regular expression)."""
    import re
    found = re.findall(br"^([0-9a-fA-F]+) (" + kinds + br") (" + pattern + br")(?:\t\[([^\]\n]+)\])?$", text, re.M)
    return [Row(int(address, 16), to_text(kind), to_text(name), to_text(module))
            for address, kind, name, module in found]


class FunctionLists(object):
    """The lists as one moment shows them.  ``files``: a KernelFiles; ``root``: of tracefs, None: looked for when
    needed, never mounted."""

    def __init__(self, files, root=None):
        self.files, self._root = files, root
        self._texts, self._starts = {}, None

    def _read(self, path):
        """Bytes of a file, b"" where it cannot be read."""
        if path not in self._texts:
            try:
                self._texts[path] = self.files.read(path) if path else b""
            except KernelError:
                self._texts[path] = b""
        return self._texts[path]

    @property
    def root(self):
        """Folder of tracefs, "" when it is not mounted."""
        if self._root is None:
            self._root = find_tracefs(self.files, mount=False) or ""
        return self._root

    @property
    def kallsyms(self):
        """Text of /proc/kallsyms, b"" where it cannot be read."""
        return self._read("/proc/kallsyms")

    @property
    def traceable_text(self):
        """Text of available_filter_functions: b"" when it is not there (no function tracer), which says nothing."""
        return self._read(self.root and self.root + "/available_filter_functions")

    @property
    def addresses_text(self):
        """The same with addresses (6.5), or b""."""
        text = self._read(self.root and self.root + "/available_filter_functions_addrs")
        first = text[:text.find(b" ")]
        return text if first.strip(b"0123456789abcdef") == b"" and first.strip(b"0") else b""  # 0: they are hidden

    # -- symbols -------------------------------------------------------------------------------------------------------

    def rows(self, name, module=None, data=False):
        """[Row] of the code symbols called exactly ``name``; of every symbol with ``data``.  ``module``: only there, ""
        for the kernel proper."""
        text, needle, position, found = self.kallsyms, b" " + to_bytes(name), -1, []
        while True:  # bytes.find: a regular expression takes ten times as long
            position = text.find(needle, position + 1)
            if position < 0:
                return found
            end = position + len(needle)
            if text[end:end + 1] not in (b"\n", b"\t", b""):
                continue
            for row in _rows(text[text.rfind(b"\n", 0, position) + 1:text.find(b"\n", end) + 1 or None],
                             br"[^\t\n]+", b"[A-Za-z]"):
                if row.name == name and (data or row.kind in CODE) and (module is None or row.module == module):
                    found.append(row)

    def starting(self, prefix):
        """Sorted names of the code symbols that begin with ``prefix``."""
        import re
        if b" " + to_bytes(prefix) not in self.kallsyms:
            return []
        return sorted({row.name for row in _rows(self.kallsyms, re.escape(to_bytes(prefix)) + br"[^\t\n]*",
                                                 b"[tTwW]")})

    def variants(self, name):
        """Names of the copies that the compiler made: `foo.isra.0`, `foo.constprop.0` (cold parts left out)."""
        return [other for other in self.starting(name + ".") if ".cold" not in other]

    def near(self, name):
        """Up to three similar names, variants first; few candidates are compared, since difflib over 200,000 names
        takes seconds."""
        variants, candidates = self.variants(name), set()
        for size in (len(name) - 2, len(name) * 2 // 3, 4, 3):
            if size > 2:
                candidates.update([n for n in self.starting(name[:size])[:3000] if ".cold" not in n])
            if len(candidates) > 200:
                break
        return (variants + [n for n in near(name, candidates) if n not in variants])[:3]

    def hidden(self):
        """Does kallsyms show every address as 0 (kptr_restrict, or not root)?"""
        end = self.kallsyms.find(b"\n")
        last = self.kallsyms.rfind(b"\n", 0, max(len(self.kallsyms) - 1, 0)) + 1
        return all(line.startswith(b"0" * 8) and not line.split(b" ")[0].strip(b"0")
                   for line in (self.kallsyms[:end], self.kallsyms[last:]))

    def _addresses(self):
        """Sorted addresses of all code symbols (made once: some 50 ms)."""
        if self._starts is None:
            import re
            self._starts = sorted({int(text, 16) for text in re.findall(br"^([0-9a-fA-F]+) [tTwW] ", self.kallsyms,
                                                                        re.M)})
        return self._starts

    def size(self, address):
        """Bytes from ``address`` to the next code symbol, None behind the last one or where addresses are hidden."""
        if not address:
            return None
        text, at = self.kallsyms, self.kallsyms.find(b"%016x " % address)
        while at >= 0:      # the kernel's own symbols stand in order: the next code symbol is a few lines on
            at = text.find(b"\n", at) + 1
            line = text[at:at + 19].split(b" ")
            if not at or len(line) < 2 or text.find(b"\t[", at, text.find(b"\n", at)) > 0 or int(line[0], 16) < address:
                break
            if line[1] in (b"t", b"T", b"w", b"W") and int(line[0], 16) > address:
                return int(line[0], 16) - address
        from bisect import bisect_right
        starts = self._addresses()
        at = bisect_right(starts, address)
        return starts[at] - address if at < len(starts) else None

    def place_of(self, address):
        """`name+0x10` of the code symbol at or before ``address``, "" where there is none."""
        from bisect import bisect_right
        starts = self._addresses()
        at = bisect_right(starts, address) - 1
        if at < 0 or not address:
            return ""
        where = self.kallsyms.find(b"%016x " % starts[at])
        name = to_text(self.kallsyms[where + 19:self.kallsyms.find(b"\n", where)].split(b"\t")[0])
        return "%s+0x%x" % (name, address - starts[at]) if where >= 0 else ""

    def beside(self, address, count=2):
        """Names of the global functions nearest to ``address``: functions of one source file stand together."""
        import re
        found = [(abs(int(text, 16) - address), to_text(name)) for text, name in
                 re.findall(br"^(" + (b"%016x" % address)[:11] + br"[0-9a-fA-F]*) T ([^\t\n]+)", self.kallsyms, re.M)]
        return [name for distance, name in sorted(found)
                if distance and not name.startswith("__pfx_") and "." not in name][:count]

    # -- what can be probed --------------------------------------------------------------------------------------------

    def traceable(self, name, address=0):
        """Is the function in the function tracer's list?  kprobes refuse what is not (CONFIG_KPROBE_EVENTS_ON_NOTRACE
        is off).  None where there is no list.  ``address``: of this copy, where the list has addresses."""
        import re
        if not self.traceable_text:
            return None
        if address and self.addresses_text:
            # the list names the place of the call to the tracer: up to an endbr64 and a few nops into the function
            spots = re.findall(br"^([0-9a-f]+) " + re.escape(to_bytes(name)) + br"(?: \[|$)", self.addresses_text, re.M)
            return any(0 <= int(spot, 16) - address < 16 for spot in spots)
        return re.search(br"^" + re.escape(to_bytes(name)) + br"(?: \[|$)", self.traceable_text, re.M) is not None

    def some_traceable(self, names):
        """Those of ``names`` that the list has, in their order."""
        if not self.traceable_text:
            return list(names)
        return [name for name in names if self.traceable(name)]

    def blacklist(self):
        """[(first address, address behind the last, name)] of kprobes' blacklist; [] where debugfs is not mounted."""
        found = []
        for line in self._read(BLACKLIST).split(b"\n"):
            span, _, name = line.partition(b"\t")
            first, _, last = span.partition(b"-")
            try:
                found.append((int(first, 16), int(last, 16), to_text(name.strip())))
            except ValueError:
                pass
        return found

    def blacklisted(self, name, address=0):
        """Is the function, or the code at ``address``, on kprobes' blacklist?"""
        return any(other == name or address and first <= address < last for first, last, other in self.blacklist())

    def between(self, first, last, address):
        """Does ``address`` lie between two symbols of the kernel proper?  None where it does not have both."""
        ends = [self.rows(name, "", data=True) for name in (first, last)]
        return ends[0][0].address <= address < ends[1][0].address if all(ends) else None

    def in_init(self, address):
        """Is the code at ``address`` start-up code, whose memory was given back when the kernel was up?"""
        return bool(self.between("_sinittext", "_einittext", address))

    def matching(self, pattern):
        """[Row] of the traceable functions that match ("vfs_*", "module:func*"), in order of their names; a copy's
        address is 0 where the list does not tell which copies it means."""
        import re
        module, colon, name = pattern.rpartition(":")
        glob = glob_bytes(name)
        own = br" \[(" + glob_bytes(module) + br")\]$" if colon else br"(?: \[([^\]\n]+)\])?$"
        kall, count = {}, {}
        for row in _rows(self.kallsyms, glob, b"[tTwW]"):
            kall.setdefault((row.name, row.module), []).append(row)
            count[row.name] = count.get(row.name, 0) + 1
        if self.addresses_text:
            found = [Row(int(spot, 16), "t", to_text(func), to_text(mod)) for spot, func, mod in
                     re.findall(br"^([0-9a-f]+) (" + glob + br")" + own, self.addresses_text, re.M)]
            for row in found:  # from the tracer's call back to the start of the function
                row.address = max([r.address for r in kall.get((row.name, row.module), ())
                                   if 0 <= row.address - r.address < 16] or [row.address])
        elif self.traceable_text:
            listed = {}
            for func, mod in re.findall(br"^(" + glob + br")" + own, self.traceable_text, re.M):
                key = to_text(func), to_text(mod)
                listed[key] = listed.get(key, 0) + 1
            found = []
            for key, times in iteritems(listed):
                copies = kall.get(key, [])
                if len(copies) == times:
                    found += copies
                else:  # some copies are traceable, others not: which ones this list does not say
                    found += [Row(0, "t", key[0], key[1]) for _ in range(times)]
        else:
            wanted = re.compile(glob_bytes(module) + b"$" if colon else b"")
            found = [row for key in sorted(kall) for row in kall[key] if wanted.match(to_bytes(key[1]))]
        for row in found:  # `module:name` is looked for in the module, a bare name everywhere
            row.copies = len(kall.get((row.name, row.module), ())) if row.module else count.get(row.name, 0)
        return sorted(self._without_banned(found), key=lambda row: (row.name, row.module, row.address))

    def _without_banned(self, rows):
        """Those of ``rows`` that are functions of their own and not on kprobes' blacklist."""
        from bisect import bisect_right
        banned = sorted(self.blacklist())
        names, starts = {name for _, _, name in banned}, [first for first, _, _ in banned]
        for row in rows:
            if row.name in names or ".cold" in row.name or row.name.startswith((INVALID, "__pfx_", "__cfi_")):
                continue
            at = bisect_right(starts, row.address) - 1
            if at < 0 or row.address >= banned[at][1]:
                yield row
