"""Kernel addresses as the kernel's printing shows them: symbols, and the texts that trace events point to.

Every address is looked up once.  The first few look-ups read /proc/kallsyms through and keep nothing of it (a probe has
one address); who needs more of them (stacks, callers) gets its text loaded: 5 MB.
"""
from __future__ import absolute_import

from .. import host
from .._py23 import monotonic, to_bytes
from ..errors import KernelError, LbcError
from ..kallsyms import KernelSymbols
from . import printfmt

__all__ = ["KernelNames"]

KERNEL = 1 << 63          # addresses from here on are the kernel's (x86_64, arm64)
PASSES = 2                # look-ups that keep nothing
MAX_NAMES = 1 << 16
REFRESH_SECONDS = 5.0
_TRAMPOLINES = ("kretprobe_trampoline", "__kretprobe_trampoline", "arch_rethook_trampoline")


class _Names(dict):
    """{address: bytes}, made by ``make(address)`` when first asked."""

    def __init__(self, owner, make):
        dict.__init__(self)
        self.owner, self.make = owner, make

    def __missing__(self, address):
        if len(self) >= MAX_NAMES:
            self.clear()
        text = self[address] = self.make(address)
        return text

    def prefetch(self, addresses):
        """Look up all of ``addresses`` that are new in one go."""
        self.owner.spans([address for address in addresses if address not in self])


class KernelNames(printfmt.Names):
    """printfmt.Names of the running kernel.  ``root``: the tracefs folder; ``options``: set of trace_options that are
    on;
    ``enumerator``: f(name) -> number or None; ``user_frames``: f(tgid, addresses) -> texts, for stacks of processes."""

    def __init__(self, files, root, options=(), enumerator=None, user_frames=None, symbols=None):
        printfmt.Names.__init__(self)
        self.files, self.root, self.kernel = files, root, symbols or KernelSymbols()
        self.enumerator = enumerator
        if user_frames is not None:
            self.user_frames = user_frames
        self._spans, self._passes, self._attached, self._syscall_args = {}, 0, None, None
        self._addresses = "sym-addr" in options
        self._strings_at = -REFRESH_SECONDS
        self.symbols = _Names(self, self._with_offset)
        self.plain = _Names(self, self._without_offset)
        self.ips = _Names(self, self._ip)
        self.functions = _Names(self, self._ip if "sym-offset" in options else self._function)
        self.callees = _Names(self, self._function)
        self.strings = _Names(self, self._string)

    # -- symbols -------------------------------------------------------------------------------------------------------

    def spans(self, addresses):
        """Look up many addresses at once; their names are then at hand."""
        new = [address for address in addresses if address >= KERNEL and address not in self._spans]
        if not new:
            return
        if len(self._spans) >= MAX_NAMES:
            self._spans.clear()
        self._passes += 1
        try:
            if self._passes > PASSES:
                self.kernel.lookup(KERNEL)  # loads the text; reads it again when it is old and something is unknown
            found = self.kernel.spans(new)
        except LbcError:  # no kallsyms: addresses then
            found = {}
        for address in new:
            self._spans[address] = found.get(address)

    def _span(self, address):
        if address < KERNEL:
            return None
        if address not in self._spans:
            self.spans([address])
        return self._spans.get(address)

    def _with_offset(self, address):
        """sprint_symbol()."""
        row = self._span(address)
        if row is None:
            return b"0x%x" % address
        start, size, name, module = row
        return b"%s+0x%x/0x%x%s" % (to_bytes(name), address - start, size,
                                    b" [%s]" % to_bytes(module) if module else b"")

    def _without_offset(self, address):
        """sprint_symbol_no_offset()."""
        row = self._span(address)
        if row is None:
            return b"0x%x" % address
        return to_bytes(row[2]) + (b" [%s]" % to_bytes(row[3]) if row[3] else b"")

    def _ip(self, address):
        """seq_print_ip_sym() with an offset; what a user probe prints for an address of a process."""
        if not address:
            return b"0"
        if address < KERNEL:
            return b"0x%x" % address
        row = self._span(address)
        text = (b"[unknown/kretprobe'd]" if row and row[2] in _TRAMPOLINES and row[0] == address
                else self._with_offset(address))
        return self._mark(text, address)

    def _function(self, address):
        """seq_print_ip_sym() without: no module either."""
        if not address:
            return b"0"
        if address < KERNEL:
            return b"0x%x" % address
        row = self._span(address)
        if row is None:
            text = b"0x%08x" % address
        else:
            text = b"[unknown/kretprobe'd]" if row[2] in _TRAMPOLINES and row[0] == address else to_bytes(row[2])
        return self._mark(text, address)

    def _mark(self, text, address):
        return text + b" <%016x>" % address if self._addresses else text

    # -- texts ---------------------------------------------------------------------------------------------------------

    def _string(self, address):
        """Text at a kernel address: what printk_formats lists; `(null)`, or the address where that does not know it."""
        if not address:
            return b"(null)"
        now = monotonic()
        if now - self._strings_at >= REFRESH_SECONDS:
            self._strings_at = now
            try:
                lines = self.files.read(self.root + "/printk_formats").split(b"\n")
            except KernelError:
                lines = []
            for line in lines:
                place, _, text = line.partition(b' : "')
                try:
                    self.strings[int(place, 16)] = _unquote(text[:-1])
                except ValueError:
                    pass
            if address in self.strings:
                return self.strings[address]
        return b"(0x%x)" % address

    # -- what a format leaves open -------------------------------------------------------------------------------------

    def constant(self, name):
        return self.enumerator(name) if self.enumerator else None

    def attached(self, group, event):
        if self._attached is None:
            self._attached = {}
            try:
                lines = self.files.read(self.root + "/dynamic_events").split(b"\n")
            except KernelError:
                lines = []
            for line in lines:
                words = line.split()
                if len(words) > 1 and words[0].startswith(b"e:"):
                    self._attached[words[0][2:]] = words[1]
        return self._attached.get(to_bytes("%s/%s" % (group, event)))

    @property
    def syscall_args(self):
        """How system calls' arguments are shown: 0 bare hexadecimal, 1 with 0x (6.18), 2 with what their pointers lead
        to as well (6.19; the formats then have a field for it)."""
        if self._syscall_args is None:
            try:
                text = self.files.read(self.root + "/events/syscalls/sys_enter_openat/format")
            except KernelError:
                text = b""
            # no file tells 0 from 1
            self._syscall_args = 2 if b" __filename_val;" in text else 1 if _version(host.release()) >= (6, 18) else 0
        return self._syscall_args


def _version(release):
    """(6, 12) of `6.12.1-amd64`."""
    found = []
    for part in release.split(".")[:2]:
        digits = part[:len(part) - len(part.lstrip("0123456789"))]
        found.append(int(digits or 0))
    return tuple(found)


def _unquote(text):
    """kernel/trace/trace_printk.c t_show(): new lines, tabs and quotes are escaped, backslashes are not."""
    return text.replace(b"\\n", b"\n").replace(b"\\t", b"\t").replace(b'\\"', b'"')
