"""Kernel addresses to names and back, out of /proc/kallsyms.

The text is kept as it is (some 42 bytes a symbol: 5 MB for 122,000) and searched in place by bisection, since the
kernel prints its own symbols in address order; nothing is turned into objects.  Looking up names alone keeps nothing.
"""
from __future__ import absolute_import

import os
from bisect import bisect_left, bisect_right

from ._py23 import iteritems, monotonic, near, range, to_bytes, to_text
from .errors import InputError, LbcError, NotFoundError, PrivilegeError

__all__ = ["Frame", "KernelSymbols", "kernel_symbols"]

KALLSYMS = "/proc/kallsyms"
REFRESH_SECONDS = 5.0      # an unknown address makes kallsyms read again (module, BPF program), no more often than this
FURTHEST = 1 << 18         # no function of a module reaches further than this behind its symbol
ZERO = b"0" * 16


class Frame(object):
    """One address of a stack: ``name`` or None, ``offset`` in the function (nameless: in the module), ``module``."""
    __slots__ = ("address", "name", "offset", "module")

    def __init__(self, address, name=None, offset=0, module=""):
        self.address, self.name, self.offset, self.module = address, name, offset, module

    def __str__(self):
        if self.name:
            return "%s+0x%x%s" % (self.name, self.offset, " [%s]" % self.module if self.module else "")
        if self.module:
            return "[%s]+0x%x" % (self.module, self.offset)
        return "0x%x" % self.address

    __repr__ = __str__


class KernelSymbols(object):
    """/proc/kallsyms (or the file ``path``), read when first asked."""

    def __init__(self, path=KALLSYMS):
        self.path = path
        self._core = self._modules = None  # text by address: the kernel's own; modules, BPF programs, trampolines
        self._core_start = self._core_end = b""
        self._sorted_modules = False
        self._read_at, self._cache, self.restricted = 0.0, {}, False

    # -- reading -------------------------------------------------------------------------------------------------------

    def _chunks(self):
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            text = "cannot read %s: %s" % (self.path, error.strerror)
            raise PrivilegeError(text, "read access to it", "open", error.errno, error)
        try:
            while True:
                chunk = os.read(fd, 1 << 14)  # the kernel hands out a page at a time
                if not chunk:
                    return
                yield chunk
        except OSError as error:
            raise LbcError("reading %s failed: %s" % (self.path, error.strerror), error)
        finally:
            os.close(fd)

    def _load(self):
        text = bytearray()
        for chunk in self._chunks():
            text += chunk
        self._read_at, self._cache = monotonic(), {}
        bracket = text.find(b"\t[")
        split = len(text) if bracket < 0 else text.rfind(b"\n", 0, bracket) + 1
        self._modules = text[split:]
        del text[split:]
        self._core, self._sorted_modules = text, False
        last = text.rfind(b"\n", 0, max(len(text) - 1, 0)) + 1
        self._core_start, self._core_end = bytes(text[:16]), bytes(text[last:last + 16])
        self.restricted = bool(text) and self._core_end == ZERO
        if not self.restricted and not self._is_sorted(text):  # no known kernel does this; a saved file may
            self._core = _sorted_lines(text)
            last = self._core.rfind(b"\n", 0, len(self._core) - 1) + 1
            self._core_start, self._core_end = bytes(self._core[:16]), bytes(self._core[last:last + 16])

    @staticmethod
    def _is_sorted(text):
        """Whether 1024 samples of the text stand in order."""
        before, step = b"", max(len(text) // 1024, 1)
        for position in range(0, len(text), step):
            start = text.rfind(b"\n", 0, position) + 1
            here = bytes(text[start:start + 16])
            if here < before:
                return False
            before = here
        return True

    def _why_restricted(self):
        try:
            with open("/proc/sys/kernel/kptr_restrict") as source:
                level = source.read().strip()
        except (OSError, IOError):
            level = "?"
        hint = "run as root (CAP_SYSLOG)" if level in ("0", "1", "?") else "as root: sysctl kernel.kptr_restrict=1"
        return PrivilegeError("%s shows every address as 0 (kernel.kptr_restrict is %s)" % (self.path, level),
                              "CAP_SYSLOG and kptr_restrict below 2", hint=hint)

    # -- address -> name -----------------------------------------------------------------------------------------------

    def lookup(self, address):
        """Frame of a kernel address; its ``name`` is None when unknown or hidden (``restricted``)."""
        if self._core is None:
            self._load()
        frame = self._cache.get(address)
        if frame is None:
            frame = self._find(address)
            if frame is None and not self.restricted and monotonic() - self._read_at > REFRESH_SECONDS:
                self._load()
                frame = self._find(address)
            if frame is None:
                return Frame(address)
            if len(self._cache) > 8192:
                self._cache.clear()
            self._cache[address] = frame
        return frame

    def stack(self, addresses):
        """[Frame] of a kernel stack (bpf_get_stack: ends at the first 0)."""
        frames = []
        for address in addresses:
            if not address:
                break
            frames.append(self.lookup(address))
        return frames

    def _find(self, address):
        if self.restricted:
            return None
        key = ("%016x" % address).encode()
        if self._core_start <= key <= self._core_end:
            return _search(self._core, key, address, 1 << 26)
        if not self._sorted_modules:
            self._modules, self._sorted_modules = _sorted_lines(self._modules), True
        return _search(self._modules, key, address, FURTHEST)

    def spans(self, addresses):
        """{address: (start, size, name, module)} of those ``addresses`` that lie in a symbol, as the kernel's own
        sprint_symbol() has them: the size reaches to the next symbol.

        Where the text is not there already (``lookup``), one pass over the file that keeps nothing.
        """
        wanted, found = sorted(set(addresses)), {}
        if self._core is not None and not self._modules_stale():
            _spans_in(self._core, wanted, found, True)
            modules = self._modules
        else:
            modules, carry, in_core = bytearray(), bytearray(), True
            for chunk in _larger(self._chunks()):
                text = carry + chunk
                if in_core:
                    bracket = text.find(b"\t[")
                    if bracket >= 0:
                        split, in_core = text.rfind(b"\n", 0, bracket) + 1, False
                        modules = text[split:]
                        _spans_in(text[:split], wanted, found, True)
                        carry = bytearray()
                    else:
                        # the last symbol's end stands in the next piece
                        carry = text[_spans_in(text, wanted, found, False):]
                else:
                    modules += text
            if in_core:
                _spans_in(carry, wanted, found, True)
        rest = [address for address in wanted if address not in found]
        if rest and modules:
            _module_spans(modules, rest, found)
        return found

    # -- name -> addresses ---------------------------------------------------------------------------------------------

    def addresses(self, name, module=None):
        """[address] of every symbol called ``name`` ([] when none); ``module``: only there, "" for the kernel proper.
        Raises PrivilegeError when addresses are hidden."""
        found = self.find_all([name])[name]
        result = [row[0] for row in found if module is None or row[2] == module]
        if result and not any(result):
            raise self._why_restricted()
        return result

    def find_all(self, names):
        """{name: [(address, type letter, module or "")]} for many names in one pass over the file; hidden addresses are
        0.  Keeps no text."""
        wanted = {to_bytes(name): [] for name in names}
        if self._core is not None and not self._modules_stale():
            for text in (self._core, self._modules):
                _scan(text, wanted)
        else:
            rest = b""
            for chunk in _larger(self._chunks()):
                chunk = rest + chunk
                cut = chunk.rfind(b"\n") + 1
                _scan(chunk[:cut], wanted)
                rest = chunk[cut:]
        return {to_text(name): rows for name, rows in iteritems(wanted)}

    def _modules_stale(self):
        return monotonic() - self._read_at > REFRESH_SECONDS

    def address(self, name, module=None):
        """The one address of ``name``.  Raises NotFoundError (with near names), InputError when there are several,
        PrivilegeError."""
        found = sorted(set(self.addresses(name, module)))
        if not found:
            raise NotFoundError("kernel symbol", name, self.path, self._near(name))
        if len(found) > 1:
            rows = ", ".join("0x%x" % address for address in found[:8])
            raise InputError("%d kernel symbols are called `%s`: %s" % (len(found), name, rows),
                             hint="give the module or the address")
        return found[0]

    def has(self, name):
        """Whether a symbol of this name exists; works with hidden addresses too."""
        return bool(self.find_all([name])[name])

    def _near(self, name):
        part, names = name.lower()[:3].encode(), set()
        for chunk in _larger(self._chunks()):
            for line in chunk.split(b"\n"):
                fields = line.split(None, 3)
                if len(fields) > 2 and fields[1] in b"tTwW" and fields[2].lower().startswith(part):
                    names.add(to_text(fields[2]))
        return near(name, names)

    def drop(self):
        """Give the text back (some MB); the next look-up reads again."""
        self._core, self._modules, self._cache = None, None, {}


def _larger(chunks, size=1 << 17):
    """The same bytes in fewer pieces."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= size:
            yield bytes(held)
            held = bytearray()
    yield bytes(held)


def _scan(text, wanted):
    """Appends (address, type, module) to ``wanted[name]`` for the lines of ``text``: "ADDR TYPE name[\\t[module]]"."""
    for name, rows in iteritems(wanted):
        needle, position = b" " + name, -1
        while True:
            position = text.find(needle, position + 1)
            if position < 0:
                break
            end = position + len(needle)
            if text[end:end + 1] not in (b"\n", b"\t"):
                continue
            start, stop = text.rfind(b"\n", 0, position) + 1, text.find(b"\n", end)
            fields = bytes(text[start:stop]).split()
            if len(fields) < 3 or fields[2] != name:
                continue
            try:
                module = to_text(fields[3][1:-1]) if len(fields) > 3 else ""
                rows.append((int(fields[0], 16), to_text(fields[1]), module))
            except ValueError:
                pass


def _sorted_lines(text):
    """The lines in address order, those at one address in their old order; mapping symbols and labels left out."""
    lines = [line for line in bytes(text).split(b"\n") if line[19:20] not in (b"$", b".", b"")]
    lines.sort(key=lambda line: line[:16])
    lines.append(b"")
    return bytearray(b"\n".join(lines))


def _search(text, key, address, furthest):
    """Frame of the last line whose address is <= ``key``; of several at one address the first, as the kernel's %pS."""
    low = _locate(text, key)
    if low < 0:
        return None
    fields = bytes(text[low:text.find(b"\n", low)]).split()
    try:
        offset = address - int(fields[0], 16)
    except (ValueError, IndexError):  # not a kallsyms file
        return None
    if len(fields) < 3 or not 0 <= offset <= furthest:
        return None
    return Frame(address, to_text(fields[2]), offset, to_text(fields[3][1:-1]) if len(fields) > 3 else "")


def _locate(text, key):
    """Position of that line, -1 when all are beyond ``key``."""
    low, high = 0, len(text)  # line starts: text[low] is <= key, text[high] is beyond it
    if not text or bytes(text[:16]) > key:
        return -1
    while True:
        start = text.rfind(b"\n", 0, (low + high) // 2) + 1
        if start <= low:  # the middle falls into low's own line: step to the next one
            start = text.find(b"\n", low) + 1
            if start >= high or not start:
                break
        if bytes(text[start:start + 16]) <= key:
            low = start
        else:
            high = start
    found = bytes(text[low:low + 16])
    while low:
        before = text.rfind(b"\n", 0, low - 1) + 1
        if bytes(text[before:before + 16]) != found:
            break
        low = before
    return low


def _spans_in(text, wanted, found, whole):
    """Adds to ``found`` the spans in ``text`` (lines in address order) of ``wanted`` addresses.  Where the text goes on
    (``whole`` is False) those of its last address are left out; answers the position at which that address begins."""
    end = text.rfind(b"\n") + 1
    if not end:
        return 0
    if end < len(text):
        text = text[:end]
    last = text.rfind(b"\n", 0, end - 1) + 1
    key = bytes(text[last:last + 16])
    start = last
    while start:
        before = text.rfind(b"\n", 0, start - 1) + 1
        if bytes(text[before:before + 16]) != key:
            break
        start = before
    try:
        low, high = int(bytes(text[:16]), 16), int(key, 16)
    except ValueError:  # not a kallsyms file
        return start
    for address in wanted:
        if low <= address < high:
            row = _span(text, address)
            if row:
                found[address] = row
    return end if whole else start


def _span(text, address):
    """(start, size, name, module) by bisection in lines that go beyond ``address``, or None."""
    position = _locate(text, ("%016x" % address).encode())
    if position < 0:
        return None
    fields = bytes(text[position:text.find(b"\n", position)]).split()
    try:
        start = int(fields[0], 16)
        while len(fields) > 2:
            position = text.find(b"\n", position) + 1
            following = int(bytes(text[position:position + 16]), 16)
            if following > start:
                return start, following - start, to_text(fields[2]), ""
    except (ValueError, IndexError):
        pass
    return None


def _module_spans(text, wanted, found):
    """The same for the modules' lines, which stand in no order and whose regions lie between each other (since 6.4 code
    and data of a module are apart).  A function ends at the module's next symbol; the last one, behind which data or
    nothing comes, with its page (layout_sections: the end of the code is rounded up to pages)."""
    rows = []
    for line in bytes(text).split(b"\n"):
        name, bracket, module = line[19:].partition(b"\t[")
        if bracket and name and name[:1] != b"$" and name[:2] != b".L":
            rows.append((line[:16], line[17:18], name, module[:-1]))
    rows.sort(key=lambda row: row[0])  # as text: all have 16 digits
    keys = [row[0] for row in rows]
    for address in wanted:
        key = ("%016x" % address).encode()
        at = bisect_right(keys, key) - 1
        if address in found or at < 0:
            continue
        at = bisect_left(keys, keys[at])  # of several at one address the first
        try:
            start = int(keys[at], 16)
            after = (address | 4095) + 1
            for row in range(bisect_right(keys, key), len(rows)):
                if rows[row][3] == rows[at][3]:
                    following = int(keys[row], 16)
                    after = following if rows[row][1] in b"tTwW" else min(after, following)
                    break
        except ValueError:  # not a kallsyms file
            continue
        if address - start <= FURTHEST:
            found[address] = start, after - start, to_text(rows[at][2]), to_text(rows[at][3])


_kernel = []


def kernel_symbols():
    """The KernelSymbols of this machine, shared."""
    if not _kernel:
        _kernel.append(KernelSymbols())
    return _kernel[0]
