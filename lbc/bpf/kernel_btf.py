"""The BTF of the kernel that programs are loaded into, and of its modules: opened when first asked for, dropped after
loading.

Two uses, kept apart: the *layout* of types, for CO-RE relocations, may come from a file ($LBC_BTF or an argument), so a
kernel without BTF is served too; type *ids* that BPF_PROG_LOAD is told (attach targets, kfuncs, typed ksyms) must be
those of the running kernel, which only /sys/kernel/btf/vmlinux (5.4) and the BTF objects in the kernel (5.11) know.
"""
from __future__ import absolute_import

import errno
import os

from ..errors import KernelError, LbcError, NotFoundError, NotSupported
from ..uapi import bpf as U
from ..uapi.btf import BTF_KIND_FUNC, BTF_KIND_TYPEDEF

__all__ = ["KernelBtf", "loaded_btf", "SYSFS"]

SYSFS = "/sys/kernel/btf/vmlinux"


class Module(object):
    """BTF of one module: ``name``, ``btf`` (split over vmlinux), ``fd`` of the BTF object in the kernel, its ``id``."""
    __slots__ = ("name", "btf", "fd", "id")

    def __init__(self, name, btf, fd, id):
        self.name, self.btf, self.fd, self.id = name, btf, fd, id


class KernelBtf(object):
    """``layout()`` for CO-RE, ``ids()`` for ids, ``modules()`` on demand; ``close()`` gives the memory back.

    ``path``: file with the layout, else $LBC_BTF, else the running kernel's own (libbpf's search order).
    ``expected``: f() -> names that will be looked for, which then are found together."""

    def __init__(self, kernel, path=None, expected=None):
        self.kernel, self._expected, self._walker = kernel, expected, None
        self.path = path if path is not None else os.environ.get("LBC_BTF") or None
        self._from_environment = path is None
        self._layout = self._ids = self._modules = None
        self._given = path is not None and not isinstance(path, str) and hasattr(path, "type")
        self.source = None

    # -- opening ----------------------------------------------------------------------------------------------------
    def _open(self, path):
        from ..btf import parse
        return parse.open_btf(path)

    def layout(self):
        """Btf for CO-RE relocations.  LbcError where there is none: says where was looked and what to give."""
        if self._layout is None:
            if self._given:
                self._layout, self.source = self.path, "argument"
            elif self.path is not None:
                try:
                    self._layout, self.source = self._open(self.path), self.path
                except LbcError as error:
                    if self._from_environment and not error.hint:
                        error.hint = "the environment variable LBC_BTF names this file"
                    raise
            else:
                self._layout = self.ids(False) or self._search()
        return self._layout

    def _search(self):
        from ..btf import parse
        looked = []
        for path in parse.kernel_btf_paths(self.kernel.release()):
            looked.append(path)
            if path == SYSFS or not self.kernel.exists(path):
                continue
            try:
                found = self._open(path)
            except LbcError:  # an ELF vmlinux without .BTF, or no permission: the next may do
                continue
            self.source = path
            return found
        raise NotSupported("its own BTF, and no file has it (looked at: %s)" % ", ".join(looked), "5.4",
                           hint="give the BTF of this kernel: --btf FILE or LBC_BTF=FILE (raw, or an ELF vmlinux with "
                           ".BTF)")

    def ids(self, required=True):
        """Btf with the running kernel's ids; None, or NotSupported when ``required``, where the kernel shows none."""
        if self._ids is None:
            try:
                if self.kernel.exists(SYSFS):
                    self._ids = self._open_sysfs()
                    self.source = self.source or SYSFS
            except KernelError:
                pass
            if self._ids is not None and self._expected is not None:
                self._find_all()
            if self._ids is None and required:
                raise NotSupported("its own BTF (CONFIG_DEBUG_INFO_BTF)", "5.4",
                                   hint="BTF from a file serves CO-RE, kprobes and "
                                   "tracepoints, but programs attached by BTF id (fentry, fexit, tp_btf, lsm, iter, "
                                   "struct_ops), kfuncs "
                                   "and typed ksyms need the running kernel's own")
        return self._ids

    def _find_all(self):
        from . import btf_walk
        if not btf_walk.usable(self._ids.order) or getattr(self.kernel, "files", None) is not None:
            return
        self._walker = btf_walk.Walker(self.kernel)
        self._ids.walker = self._walker.walk
        self._ids.expect(self._expected())

    def _open_sysfs(self):
        from ..btf import parse
        files = getattr(self.kernel, "files", None)  # a kernel of the tests keeps its BTF in memory
        if files is not None and SYSFS in files:
            return parse.Btf(files[SYSFS], path=SYSFS)
        return parse.open_btf(SYSFS)

    def modules(self):
        """[Module] of all modules with BTF, by BPF_BTF_GET_NEXT_ID (5.4; names since 5.11); [] where the kernel has no
        such thing."""
        if self._modules is None:
            self._modules = []
            base = self.ids(False)
            if base is not None:
                self._load_modules(base)
        return self._modules

    def _load_modules(self, base):
        from ..btf import parse
        kernel, ident = self.kernel, 0
        while True:
            attr = _attr(U.BPF_BTF_GET_NEXT_ID, start_id=ident)
            try:
                kernel.run(attr)
            except KernelError:
                return  # ENOENT: that was the last; EINVAL: before 5.4; EPERM: not for us
            ident = attr.get("next_id")
            try:
                fd = kernel.bpf(U.BPF_BTF_GET_FD_BY_ID, {"btf_id": ident})
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    continue  # went away between the two calls
                return
            keep = False
            try:
                name = self._module_name(fd)
                if name and name != "vmlinux":
                    data = self._module_data(fd, name)
                    if data is not None:
                        self._modules.append(Module(name, parse.Btf(data, base, "btf of module %s" % name), fd, ident))
                        keep = True
            except LbcError:
                pass  # a damaged or vanishing module must not stop the rest
            finally:
                if not keep:
                    kernel.close(fd)

    def _module_name(self, fd):
        """Name of a kernel's own BTF object, None for those that programs loaded (struct bpf_btf_info.kernel_btf)."""
        name = bytearray(64)
        answer = _info(U.BPF_BTF_INFO, U.BPF_BTF_INFO_SIZE)
        answer.set("name", name)
        answer.set("name_len", 64)
        self.kernel.bpf(U.BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": fd, "info.info_len": U.BPF_BTF_INFO_SIZE,
                                                   "info.info": answer.buf})
        if not answer.get("kernel_btf"):
            return None
        from .._py23 import to_text
        return to_text(bytes(name).split(b"\0")[0])

    def _module_data(self, fd, name):
        path = "/sys/kernel/btf/" + name
        try:
            return self.kernel.read(path)
        except KernelError:
            pass
        return loaded_btf(self.kernel, fd)

    def module_btfs(self):
        """[Btf] of the modules: what CO-RE asks for when vmlinux has no candidate."""
        if self.path is not None:
            return []  # another kernel's layout has nothing to do with the modules of this one
        return [module.btf for module in self.modules()]

    def targets(self):
        """What ``core_relo.relocate`` takes: vmlinux first, then a callable for the modules."""
        return [self.layout(), self.module_btfs]

    # -- finding ids ------------------------------------------------------------------------------------------------
    def find(self, name, kind, module=None):
        """(type id, module fd or 0) of ``name`` in vmlinux, else in the modules; ``module``: only there.  None where
        nowhere."""
        if module in (None, "vmlinux"):
            found = self.ids().find_one(name, kind)
            if found:
                return found, 0
            if module:
                return None
        start = self.ids().count
        for row in self.modules():
            if module in (None, row.name):
                found = row.btf.find_one(name, kind)
                if found and found >= start:
                    return found, row.fd
        return None

    def attach_id(self, prefix, target, kind=BTF_KIND_FUNC, what="function"):
        """(type id, module fd or 0) of an attach target: "vfs_read" or "module:function".  NotFoundError with near
        names."""
        module, _, name = target.rpartition(":")
        found = self.find(prefix + name, kind, module or None)
        if found is None:
            raise NotFoundError(what, target, "the kernel's BTF", self.near(prefix, name, kind),
                                hint="is it inlined, or in a module that is not loaded?" if kind == BTF_KIND_FUNC
                                and not prefix else None)
        return found

    def near(self, prefix, name, kind):
        """Names of the kernel's BTF like ``name``: by the string section, as parsing all types is slow even for an
        error."""
        from .._py23 import near, to_text
        try:
            raw = bytes(self.ids().raw)
            header, str_off, str_len = _words(raw)
            names = raw[header + str_off:header + str_off + str_len].split(b"\0")
        except (LbcError, ValueError, TypeError):
            return []
        head = (prefix + name[:2]).encode()
        close = near(prefix + name, [to_text(n) for n in names if n.startswith(head)
                                     and abs(len(n) - len(prefix + name)) < 8], 12)
        return [n[len(prefix):] for n in close if self.ids().find_one(n, kind)][:3]

    def find_typedef(self, name):
        """Id of typedef ``name`` in vmlinux (tp_btf: btf_trace_NAME)."""
        return self.find(name, BTF_KIND_TYPEDEF)

    def close(self):
        """Free memory and the modules' fds (idempotent): programs and links keep what they need in the kernel."""
        walker, self._walker = self._walker, None
        if walker is not None:
            walker.close()
        modules, self._modules = self._modules or [], None
        for module in modules:
            module.btf.close()
            self.kernel.close(module.fd)
        for btf in {id(b): b for b in (self._ids, self._layout) if b is not None}.values():
            if not (self._given and btf is self.path):
                btf.close()
        self._ids = self._layout = None


def loaded_btf(kernel, fd):
    """Bytes of the BTF object ``fd`` in the kernel (4.18)."""
    data = bytearray(kernel.info(fd, U.BPF_BTF_INFO, U.BPF_BTF_INFO_SIZE).get("btf_size"))
    answer = _info(U.BPF_BTF_INFO, U.BPF_BTF_INFO_SIZE)
    answer.set("btf", data)
    answer.set("btf_size", len(data))
    kernel.bpf(U.BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": fd, "info.info_len": U.BPF_BTF_INFO_SIZE,
                                          "info.info": answer.buf})
    return bytes(data)


def _attr(cmd, **fields):
    from .syscalls import Attr
    return Attr(cmd, fields)


def _info(layout, total):
    from .syscalls import Attr
    answer = Attr(None, layout=layout, total=total)
    answer.size = total
    return answer


def _words(raw):
    """(header length, string offset, string length) of a little- or big-endian BTF header."""
    import struct
    order = "<" if raw[:2] == b"\x9f\xeb" else ">"
    header = struct.unpack_from(order + "I", raw, 4)[0]
    str_off, str_len = struct.unpack_from(order + "II", raw, 16)
    return header, str_off, str_len
