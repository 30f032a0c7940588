"""Types of BTF: the running kernel's with its modules, or a file's.

Types are read by id when they are asked for: a member costs what it takes to read that member (docs/architecture.md).
The model has no qualifiers; `const struct file *` is a Pointer to `struct file` (Documentation/bpf/btf.rst).
"""
from __future__ import absolute_import

import os
from struct import pack

from .. import host
from ..btf.kinds import MODIFIERS
from ..btf.parse import Btf, kernel_btf_paths, open_btf
from ..errors import FormatError, LbcError, NotSupported
from ..uapi import btf as U
from . import ctext
from .base import Resolver
from .model import (Array, Function, FuncType, LazyRecord, Member, Param, Pointer, Record, Scalar, Typedef)

__all__ = ["BtfResolver", "kernel_btf", "SYSFS"]

SYSFS = "/sys/kernel/btf"
_MOST_TYPES = 8192      # kept of one BTF
_DEEPEST = 64           # pointers to pointers: more are damage
_DEEPEST_PROTO = 3      # function types within parameters of function types
_MOST_PARAMS = 255
_RECORDS = {"struct": U.BTF_KIND_STRUCT, "union": U.BTF_KIND_UNION}
_KEYWORDS = {U.BTF_KIND_STRUCT: "struct", U.BTF_KIND_UNION: "union"}
_ENUMS = (U.BTF_KIND_ENUM, U.BTF_KIND_ENUM64)
_NEAR_KINDS = {"function": (U.BTF_KIND_FUNC,), "struct": (U.BTF_KIND_STRUCT,), "union": (U.BTF_KIND_UNION,),
               "enum": _ENUMS, "type": (U.BTF_KIND_TYPEDEF, U.BTF_KIND_INT)}


class BtfRecord(Record):
    """A record whose members are found in the bytes, without reading those before them."""
    __slots__ = ("_view", "_id")

    def __init__(self, view, type_id, keyword, name, size):
        Record.__init__(self, keyword, name, size, self._read)
        self._view, self._id = view, type_id

    def _read(self):
        return self._view.members(self._id)

    def find(self, name):
        """Member ``name`` or None, its offset counted through anonymous members."""
        if not name or "." in name:     # a path is not a name
            return None
        found = self._view.btf.member_at(self._id, name)
        return None if found is None else self._view.member(found)


class View(object):
    """Types of one Btf as model values.  ``module``: "" for the kernel itself."""

    def __init__(self, btf, module, owner, base=None):
        self.btf, self.module, self.owner, self.base = btf, module, owner, base
        self._known = {}
        self._scan = None
        self.offsets = {}   # btf_search's: what it found last in the strings

    # -- types -------------------------------------------------------------------------------------------------------
    def type(self, type_id, depth=0, protos=0):
        """The model's type of ``type_id``."""
        found = self._known.get(type_id)
        if found is None:
            if type_id and type_id < self.btf.start_id:
                return self.base.type(type_id, depth, protos)   # the kernel's types are the same for all modules
            found, keep = self._make(type_id, depth, protos)
            if keep:
                if len(self._known) >= _MOST_TYPES:
                    self._known.clear()
                self._known[type_id] = found
        return found

    def _make(self, type_id, depth, protos):
        """(type, may it be kept): what goes on from its depth is not."""
        if depth > _DEEPEST:
            raise FormatError("pointers to pointers without end", self.btf.path, "BTF types")
        btf = self.btf
        type_id = btf.skip_mods(type_id)
        kind, name, value = btf.head(type_id)
        if kind == U.BTF_KIND_PTR:
            return self._pointer(value, depth, protos), False
        if kind in _KEYWORDS:
            return BtfRecord(self, type_id, _KEYWORDS[kind], name, value), True
        if kind == U.BTF_KIND_TYPEDEF:
            btf.resolve(type_id)    # FormatError when it leads back to itself
            return Typedef(name, lambda: self.type(value)), True
        if not kind:
            return ctext.VOID, True
        found = btf.type(type_id)
        if kind == U.BTF_KIND_INT:
            return self._int(found), True
        if kind in _ENUMS:
            return self._enum(found), True
        if kind == U.BTF_KIND_ARRAY:
            return Array(self.type(found.type, depth + 1, protos), found.count), False
        if kind == U.BTF_KIND_FUNC_PROTO:
            return self._proto(found, depth, protos), False
        if kind == U.BTF_KIND_FWD:
            keyword = "union" if found.is_union else "struct"
            return LazyRecord(keyword, found.name, lambda: self._defined(keyword, found.name)), True
        if kind == U.BTF_KIND_FLOAT:
            return Scalar(ctext.base_of(found.name) or found.name, found.size, True, "float"), True
        raise FormatError("type %d is of kind %d, which no value can have" % (type_id, kind), btf.path, "BTF types")

    def _pointer(self, target, depth, protos):
        """Pointer; a type tag `user` (5.17, "compiler_types: define __user as type tag") stands before the target."""
        btf, user, inner = self.btf, False, target
        for _ in range(_DEEPEST):
            kind, name, value = btf.head(inner)
            if kind not in MODIFIERS:
                break
            user = user or kind == U.BTF_KIND_TYPE_TAG and name == "user"
            inner = value
        return Pointer(lambda: self.type(target, depth + 1, protos), btf.pointer_size, user)

    @staticmethod
    def _int(found):
        name = ctext.base_of(found.name) or found.name
        kind = "int"
        if found.encoding & U.BTF_INT_BOOL or name == "_Bool":
            kind = "bool"
        elif name == "char" and found.size == 1:    # unsigned char and u8 are numbers
            kind = "char"
        return Scalar(name, found.size, found.signed, kind)

    @staticmethod
    def _enum(found):
        values = {}
        for name, number in found.values:
            values.setdefault(number, name)
        return Scalar("enum %s" % (found.name or "(anonymous)"), found.size, found.signed, "enum", values)

    def _proto(self, found, depth, protos):
        if protos >= _DEEPEST_PROTO:
            raise FormatError("function types nest too deep", self.btf.path, "BTF types")
        return FuncType(self.type(found.ret, depth + 1, protos + 1), self.params(found, depth + 1, protos + 1))

    def params(self, proto, depth=0, protos=1):
        """[Param] of a FuncProto."""
        if len(proto.params) > _MOST_PARAMS:
            raise FormatError("a function of %d parameters" % len(proto.params), self.btf.path, "BTF types")
        found = [Param(name, self.type(type_id, depth, protos)) for name, type_id in proto.params]
        if proto.params and proto.params[-1] == ("", 0):
            found[-1] = ctext.VARIADIC
        return found

    def _defined(self, keyword, name):
        """What a forward declaration stands for: this BTF's own record or that of another one, None when nobody has it.
        """
        found = (self.owner.outer or self.owner).record(keyword, name)
        return found if found is not None and not isinstance(found, LazyRecord) else None

    # -- members -----------------------------------------------------------------------------------------------------
    def member(self, found):
        """model.Member of a kinds.Member."""
        offset, bits = found.bit_offset, found.bit_size
        if not bits and self.btf.kind_of(found.type) == U.BTF_KIND_INT:
            number = self.btf.type(found.type)  # without kind_flag a bit-field is an int of its own (btf.rst)
            if number.bits != 8 * number.size or number.offset:
                offset, bits = offset + number.offset, number.bits
        return Member(found.name, self.type(found.type), offset, bits)

    def members(self, type_id):
        """[model.Member] of a struct or union."""
        return [self.member(found) for found in self.btf.type(type_id).members]

    def function(self, type_id):
        """model.Function of a FUNC."""
        found = self.btf.type(type_id)
        proto = self.btf.type(self.btf.skip_mods(found.type))
        if proto.kind != U.BTF_KIND_FUNC_PROTO:
            raise FormatError("function %s has no prototype" % found.name, self.btf.path, "BTF types")
        return Function(found.name, self.params(proto), self.type(proto.ret), self.module, "", 0)

    # -- names -------------------------------------------------------------------------------------------------------
    def ids(self, name, kinds):
        """Own ids of ``name``."""
        start = self.btf.start_id
        return [type_id for type_id in self.btf.find(name, kinds) if type_id >= start]

    def first(self, name, kinds):
        """[lowest own id of ``name``], of the first of ``kinds`` that has one, or []: cheaper, as it looks no further.
        """
        if self.btf.is_split:
            return self.ids(name, kinds)[:1]
        for kind in kinds:
            type_id = self.btf.find_one(name, kind)
            if type_id:
                return [type_id]
        return []

    def scan(self):
        """btf.scan.Scan, made once."""
        if self._scan is None:
            from ..btf.scan import Scan
            self._scan = Scan(self.btf)
        return self._scan


def kernel_btf(release=None):
    """Path of the BTF of kernel ``release`` (None: the running one), None where there is none; $LBC_BTF comes first."""
    path = os.environ.get("LBC_BTF")
    if path:
        return path
    running = release in (None, host.release())
    for path in kernel_btf_paths(release or host.release()):
        if (running or not path.startswith("/sys/")) and os.access(path, os.R_OK):
            return path
    return None


class BtfResolver(Resolver):
    """Types of the BTF at ``path`` (raw, or an ELF file with .BTF): None = the running kernel's with its modules.

    ``base``: path of the BTF that ``path`` is split from (a module's vmlinux).  Nothing is opened before the first
    question; then LbcError when it cannot be."""
    mode = "btf"

    def __init__(self, path=None, base=None, release=None):
        self.path, self.base_path, self.release = path, base, release
        self.where = "the BTF of %s" % path if path else "the kernel's BTF"
        self._views = None      # [View]: the kernel itself, then modules as they are opened
        self._modules = None    # {module: path} of those not opened yet
        self._base = None

    # -- opening -----------------------------------------------------------------------------------------------------
    @property
    def main(self):
        """View of the kernel itself, or of the file."""
        if self._views is None:
            self._open()
        return self._views[0]

    def _open(self):
        path, hint = self.path, None
        if path is None:
            if os.environ.get("LBC_BTF"):
                hint = "the environment variable LBC_BTF names this file"
            path = kernel_btf(self.release)
            if path is None:
                raise NotSupported("its own BTF, and no file has it (looked at: %s)"
                                   % ", ".join(kernel_btf_paths(self.release or host.release())), "5.4",
                                   hint="give types by a file (LBC_BTF=FILE: raw BTF, or a vmlinux with .BTF), a "
                                   "database (-d FILE) or a server (-r HOST)")
        try:
            base = None
            if self.base_path:
                base = self._base = open_btf(self.base_path)
            btf = open_btf(path, base)
        except LbcError as error:
            if hint and not error.hint:
                error.hint = hint
            raise
        self._modules = self._module_paths(path)
        if base is not None:
            kernel = View(base, "", self)
            self._views = [View(btf, os.path.basename(path).partition(".")[0], self, kernel), kernel]
        else:
            self._views = [View(btf, "", self)]

    @staticmethod
    def _module_paths(path):
        """Modules have BTF since 5.11, split from the kernel's: only that one has the ids they refer to."""
        if path != SYSFS + "/vmlinux":
            return {}
        try:
            names = sorted(os.listdir(SYSFS))
        except OSError:
            return {}
        return {name: SYSFS + "/" + name for name in names if name != "vmlinux"}

    def module(self, name):
        """View of a module, None when it is not loaded or has no BTF."""
        kernel, name = self.main, name.replace("-", "_")
        for view in self._views:
            if view.module == name:
                return view
        path = self._modules.pop(name, None)
        return self._open_module(kernel, name, path, None) if path is not None else None

    def _open_module(self, kernel, name, path, needles):
        """View of the module's BTF; None when it holds none of ``needles``, and nothing is kept of it."""
        try:
            data = host.read_file(path)
            if needles is not None and not [needle for needle in needles if needle in data]:
                return None
            if len(data) <= 24:
                return None     # a module without types of its own (cilium/ebpf#1902)
            view = View(Btf(data, kernel.btf, path), name, self, kernel)
        except (EnvironmentError, FormatError):
            return None         # unloaded a moment ago, or damaged: the others may do
        self._views.append(view)
        return view

    def _modules_with(self, name):
        """Views of modules that may know ``name``, opened as needed."""
        kernel = self.main
        for view in self._views[1:]:
            yield view
        needles = self._needles(name) if name else None
        for module in sorted(self._modules):
            view = self._open_module(kernel, module, self._modules[module], needles)
            if view is not None:
                self._modules.pop(module, None)
                yield view

    def _needles(self, name):
        """What a module's BTF holds if it has types called ``name``: the string, or its offset in the kernel's."""
        from .._py23 import to_bytes
        btf = self.main.btf
        offsets = btf.string_offsets(name)
        return [b"\0" + to_bytes(name) + b"\0"] + [pack(btf.order + "I", offset) for offset in offsets]

    def _find(self, name, kinds):
        """(View, id) of the kernel's, else of the first module's type called ``name``; (None, 0)."""
        if name:
            ids = self.main.first(name, kinds)
            if ids:
                return self.main, ids[0]
            for view in self._modules_with(name):
                ids = view.first(name, kinds)
                if ids:
                    return view, ids[0]
        return None, 0

    # -- answers -----------------------------------------------------------------------------------------------------
    def functions(self, name, module=None):
        kinds = (U.BTF_KIND_FUNC,)
        if not name:
            return []
        if module is not None:
            view = self.main if module in ("", "vmlinux") else self.module(module)
            return [view.function(type_id) for type_id in view.ids(name, kinds)] if view is not None else []
        view, _first = self._find(name, kinds)
        return [view.function(type_id) for type_id in view.ids(name, kinds)] if view is not None else []

    def record(self, keyword, name):
        view, type_id = self._find(name, (_RECORDS[keyword],))
        if view is not None:
            return view.type(type_id)
        if name and self.main.btf.find_one(name, U.BTF_KIND_FWD):
            return Record(keyword, name, None)
        return None

    def enum(self, name):
        view, type_id = self._find(name, _ENUMS)
        return view.type(type_id) if view is not None else None

    def named(self, name):
        base = ctext.base_of(name)
        if base == "void":
            return ctext.VOID
        for spelled in ctext.spellings(base) if base is not None else ():
            ids = self.main.first(spelled, (U.BTF_KIND_INT, U.BTF_KIND_FLOAT))
            if ids:
                return self.main.type(ids[0])
        view, type_id = self._find(name, (U.BTF_KIND_TYPEDEF, U.BTF_KIND_INT))
        return view.type(type_id) if view is not None else None

    def enumerator(self, name):
        found = self.main.scan().enumerator(name) if name else None
        if found is None and name:
            for view in self._modules_with(name):
                found = view.scan().enumerator(name)
                if found is not None:
                    break
        return found

    def variable(self, name):
        view, type_id = self._find(name, (U.BTF_KIND_VAR,))
        return view.type(view.btf.type(type_id).type) if view is not None else None

    def search_functions(self, query):
        from . import btf_search
        return btf_search.functions(self._all_views(), query)

    def search_records(self, pattern, limit=100):
        from . import btf_search
        return btf_search.records(self._all_views(), pattern, limit)

    def _all_views(self):
        yield self.main
        for view in self._modules_with(None):
            yield view

    def near(self, kind, name):
        from .._py23 import near
        from ..btf.scan import strings_like
        kinds = _NEAR_KINDS.get(kind)
        if not kinds or not name:
            return []
        try:
            btf = self.main.btf
            close = near(name, strings_like(btf, name), 12)
            return [other for other in close if btf.find(other, kinds)][:3]
        except LbcError:
            return []   # what is being said matters more

    def close(self):
        views, self._views, self._modules = self._views or [], None, None
        for view in reversed(views):
            view.btf.close()
