"""pylcc's lbcStack and surftrace's surfElf: names of addresses, over lbc.symbols and lbc.kallsyms.

The reference's CelfSym downloaded a shared object, later versions answer nothing; here it reads the file's own symbol
tables.  Nothing is downloaded and no external program is run.
"""
from __future__ import absolute_import

from .elf.symbols import open_functions
from .errors import LbcError, NotFoundError
from .kallsyms import kernel_symbols

__all__ = ["ClbcUstack", "getKStacks", "CelfSym", "CelfKsym", "CksymFast"]


class ClbcUstack(object):
    """A user stack: ``addrs`` (up to the first 0) of process ``pid``, which must still be there."""

    def __init__(self, pid, addrs):
        from .symbols import UserSymbols
        self._pid, self._addrs, self._symbols = pid, list(addrs or []), UserSymbols()

    def dumpStacks(self):
        """["function + 0x1f", ...], innermost first; file and offset where there is no name, else the address."""
        try:
            frames = self._symbols.resolve(self._pid, self._addrs)
        finally:
            self._symbols.close()
        return ["%s + 0x%x" % (frame.name, frame.offset) if frame.name else
                "%s + 0x%x" % (frame.module, frame.offset) if frame.module else "0x%x" % frame.address
                for frame in frames]


def getKStacks(maps, stack_id, elfSym, sLen=-1):
    """[function name, ...] of a stack of a stack map, innermost first; ``elfSym``: a CelfKsym; ``sLen``: at most so
    many."""
    names = []
    addresses = maps.getArr(stack_id) or []
    for address in addresses if sLen < 0 else addresses[:sLen]:
        if not address:
            break
        names.append(elfSym.ksymSearch(address)[0])
    return names


class CksymFast(object):
    """The kernel's symbols."""

    def addr2sym(self, addr):
        """{"addr", "syms", "mod", "t"} of the symbol at or below ``addr``; None where there is none."""
        frame = kernel_symbols().lookup(addr)
        if frame.name is None:
            return None
        return {"addr": addr - frame.offset, "syms": frame.name, "mod": "[%s]" % frame.module if frame.module else "",
                "t": b"t"}

    def sym2addr(self, sym):
        """The same by name, None when the kernel has no such symbol."""
        found = kernel_symbols().find_all([sym]).get(sym)
        if not found:
            return None
        address, kind, module = found[0]
        return {"addr": address, "syms": sym, "mod": "[%s]" % module if module else "", "t": kind}


class CelfKsym(CksymFast):
    """The kernel's symbols, under the names of older versions."""

    def ksymSearch(self, addr):
        """(name, address of its start) for ``addr``; ("", -1) where there is none."""
        found = self.addr2sym(addr) if addr > 0 else None
        return (found["syms"], found["addr"]) if found else ("", -1)

    def ksymAddr(self, sym):
        """Address of symbol ``sym``, -1 when the kernel has none of that name."""
        found = self.sym2addr(sym)
        return found["addr"] if found else -1


class CelfSym(object):
    """Functions of an ELF file; addresses are those of the file (as nm prints them)."""

    def __init__(self, path):
        self._path = path
        self._functions = open_functions(path)

    def symSearch(self, addr):
        """(name, offset in it) of a virtual address of the file; ("", -1) where there is none."""
        try:
            found = self._functions.lookup(addr)
        except LbcError:
            found = None
        return found or ("", -1)

    def symOffset(self):
        """Virtual address minus offset in the file, of the code."""
        elf = self._functions.elf
        for part in elf.segments:
            if part.type == 1 and part.flags & 1:   # PT_LOAD, PF_X
                return part.vaddr - part.offset
        return 0

    def addr2sym(self, addr):
        """(name, offset in it) of an offset in the file."""
        elf = self._functions.elf
        vaddr = elf.vaddr_of(addr)
        return ("", -1) if vaddr is None else self.symSearch(vaddr)

    def symAddr(self, sym):
        """Virtual address of function ``sym``, 0 when there is none."""
        try:
            return self._functions.find(sym)[0].address
        except NotFoundError:
            return 0

    def __del__(self):
        functions = getattr(self, "_functions", None)
        if functions is not None:
            functions.close()
