"""One BPF object file from open to close: the sequence of the other modules, and who closes what when a step fails.

    with BpfObject("tool.bpf.o") as obj:      # read, nothing asked of the kernel yet
        obj.globals.min_ns = 1000             # edit: globals, obj.maps.x.max_entries, obj.programs.y.autoload
        obj.load()                            # link, relocate, maps, programs
        obj.attach()
        obj.events("events", print)
        while obj.poll(100) >= 0: ...

``maps`` and ``programs`` hold MapSpec and ProgramSpec until ``load``, live Map and Program after it.
Programs, maps and links close with the process too; what would outlive it (pins, tracefs events, qdiscs) is the links'
and the caller's to undo, which ``close`` does.
"""
from __future__ import absolute_import

import sys

from .._py23 import text_type, to_text
from ..errors import InputError, LbcError, NotFoundError
from . import features, programs as _programs, reader
from .syscalls import kernel as _running

__all__ = ["BpfObject", "Named"]

_DATA_KINDS = ("rodata", "data", "bss", "kconfig")


class NoSuch(NotFoundError, AttributeError):
    """Asked for as an attribute: getattr() with a default and hasattr() work as everywhere."""


class Named(object):
    """Things by name: as attribute, by key, in order; a wrong name says the near ones."""

    def __init__(self, what, items, where):
        self.__dict__.update(_what=what, _items=items, _where=where)

    def __getitem__(self, name):
        try:
            return self._items[name]
        except KeyError:
            from .._py23 import near
            raise NoSuch(self._what, name, self._where, near(name, self._items),
                         hint="has: %s" % (", ".join(list(self._items)[:20]) or "none"))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def get(self, name, default=None):
        return self._items.get(name, default)

    def __contains__(self, name):
        return name in self._items

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)

    def names(self):
        return list(self._items)

    def values(self):
        return list(self._items.values())

    def items(self):
        return list(self._items.items())

    def __dir__(self):
        return list(self._items)

    def __repr__(self):
        return "<%ss of %s: %s>" % (self._what, self._where, ", ".join(self._items))


class BpfObject(object):
    """An object file, ``source``: path, its bytes, or what lbc.build() made.

    btf        BTF of the kernel for CO-RE: path or Btf (default: $LBC_BTF, else the running kernel's)
    pin_root   folder of maps that pin by name
    kconfig    text of kernel options that go before the kernel's own ("CONFIG_HZ=250")
    log_level  1, 2 or 4: keep the verifier's log of every program in program.log
    """

    def __init__(self, source, btf=None, kernel=None, pin_root="/sys/fs/bpf", kconfig=None, log_level=0, name=""):
        self.kernel = kernel if kernel is not None else _running
        path = name
        made, source = source, getattr(source, "object", source)
        if not isinstance(source, (bytes, bytearray, memoryview)) or (str is bytes and b"\0" not in source
                                                                      and len(source) < 4096):
            path = to_text(source) if isinstance(source, (bytes, text_type)) else str(source)  # str(): pathlib
            source = _read(path)
        self.spec = reader.read_object(bytes(source), path)
        self.pin_root, self.kconfig, self.log_level = pin_root, kconfig, log_level
        self._btf = btf if btf is not None else getattr(made, "btf", None)
        self.failures = {}         # {("map" or "program", name): LbcError}, filled by load(keep_going=True)
        self.links = []
        self._fds = []             # things to close, in the order made
        self._new_pins = []        # Maps that load() pinned
        self._poller = self._printk = None
        self._kernel_btf = None
        self._plans = {}           # {map name: struct_ops.Plan}
        self.loaded = False
        where = self.spec.path or self.spec.name or "the object"
        self.maps = Named("map", self.spec.maps, where)
        self.programs = Named("program", self.spec.programs, where)
        self._where = where
        self._globals = None

    def kernel_btf(self):
        """KernelBtf of the target kernel; opened once, its memory given back by load() or close()."""
        if self._kernel_btf is None:
            from .kernel_btf import KernelBtf
            self._kernel_btf = KernelBtf(self.kernel, self._btf, self._names)
        return self._kernel_btf

    def _names(self):
        """Names that will be looked for in the kernel's BTF: attach targets, and types that CO-RE relocations start
        from."""
        from ..btf.parse import essential_name
        programs, types, names = [one for one in self.spec.programs.values() if one.autoload], set(), set()
        for program in programs + list(self.spec.subprograms.values()):
            types.update([row[1] for row in program.core_relos])
        for program in programs:
            if isinstance(program.attach_to, str):
                names.add(program.attach_to.partition("+")[0])
        names.update([essential_name(self.spec.btf.type(number).name) for number in types])
        return sorted(names - set([""]))

    def _drop_kernel_btf(self):
        dropped, self._kernel_btf = self._kernel_btf, None
        if dropped is not None:
            dropped.close()

    def function_args(self, name):
        """Names of the arguments of kernel function ``name``, in order, by the kernel's BTF; None where it has no such
        function.

        For programs that take an argument whose place changed from kernel to kernel.  LbcError where there is no
        BTF."""
        from ..uapi.btf import BTF_KIND_FUNC
        btf = self.kernel_btf().layout()
        found = btf.find_one(name, BTF_KIND_FUNC)
        return [param[0] for param in btf.type(btf.type(found).type).params] if found else None

    # -- loading ----------------------------------------------------------------------------------------------------
    def load(self, keep_going=False):
        """Link, relocate, create the maps, load the programs; returns self.  Everything is closed again when a step
        fails.

        ``keep_going``: a program or map that fails is noted in ``failures`` and the rest goes on."""
        if self.loaded:
            raise InputError("%s is loaded already" % self._where)
        if self.spec.byteorder != sys.byteorder:
            raise InputError("%s is %s-endian, this machine is not" % (self._where, self.spec.byteorder),
                             hint="compile with -target bpf%s" % ("el" if sys.byteorder == "little" else "eb"))
        try:
            self._load(self.kernel_btf(), keep_going)
        except BaseException:
            self.unpin_new()
            self.close()
            raise
        finally:
            self._drop_kernel_btf()
        self.loaded = True
        return self

    def _load(self, kernel_btf, keep_going):
        spec = self._relocated(kernel_btf)
        symbols = {}
        if spec.externs:
            from . import externs
            symbols = externs.resolve(self.kernel, spec, kernel_btf, self.kconfig)
        btf_fd = self._load_btf(spec)
        try:
            live = type(spec.maps)()
            self._create_maps(spec, live, btf_fd, keep_going)
            context = _programs.Context(self.kernel, spec, live, symbols, btf_fd, kernel_btf, self.log_level)
            for plan in self._plans.values():
                context.targets.update(plan.functions)
            loaded = self._load_programs(context, keep_going)
            self._fill_program_arrays(spec, live, loaded)
        finally:
            if btf_fd:
                self.kernel.close(btf_fd)
        self.maps = Named("map", live, self._where)
        self.programs = Named("program", loaded, self._where)
        if self._globals is not None:
            self._globals.attach(live)

    def unpin_new(self):
        """Undo the pins (LIBBPF_PIN_BY_NAME) that load() made; those found there stay.  Call before close()."""
        while self._new_pins:
            try:
                self._new_pins.pop().unpin()
            except LbcError:
                pass  # gone already, or the file system became read-only: nothing is left to do about it

    def _relocated(self, kernel_btf):
        """The spec as it will be loaded: only programs that load, linked, CO-RE applied."""
        from . import linker
        spec = self.spec
        self._struct_ops_autoload()
        chosen = type(spec.programs)((name, program) for name, program in spec.programs.items() if program.autoload)
        for name, table in spec.maps.items():
            if table.kind == "struct_ops" and table.autocreate:
                from . import struct_ops
                plan = self._plans[name] = struct_ops.plan(table, spec, kernel_btf)
                for program in plan.unused:
                    chosen.pop(program, None)
        spec = linker.link(spec.copy(programs=chosen))
        if any(program.core_relos for program in spec.programs.values()):
            from . import core_relo
            spec = core_relo.relocate(spec, kernel_btf.targets())
        return spec

    def _struct_ops_autoload(self):
        """Functions of struct_ops maps load when one of their maps is to be created, and only then (as libbpf)."""
        users = {}
        for table in self.spec.maps.values():
            for name in (table.struct_ops_funcs or {}).values():
                users[name] = users.get(name, False) or table.autocreate
        for name, wanted in users.items():
            self.spec.programs[name].autoload = wanted

    def _load_btf(self, spec):
        if spec.btf is None:
            return 0
        from . import prog_btf
        return prog_btf.load(self.kernel, spec.btf)

    def _create_maps(self, spec, live, btf_fd, keep_going):
        from . import maps
        for name, table in spec.maps.items():
            if not table.autocreate:
                continue
            fields = None
            if table.kind in _DATA_KINDS and self.kernel.facts.get("global_data") is False:
                continue  # before 5.2: an object may hold data that no program uses; programs.patch says so if one does
            try:
                if name in self._plans:
                    table, fields = self._plans[name].spec, self._plans[name].fields
                made = maps.create(self.kernel, table, spec.btf, btf_fd, pin_root=self.pin_root, fields=fields)
            except LbcError as error:
                if table.kind in _DATA_KINDS and not features.have(self.kernel, "global_data"):
                    continue
                if not keep_going:
                    raise
                self.failures["map", name] = error
                continue
            self._fds.append(made)
            if made.pinned and not made.reused:
                self._new_pins.append(made)
            live[name] = made
        for name, table in spec.maps.items():
            if table.inner is not None and name in live and not live[name].reused:
                for index, inner in table.slots:
                    if inner in live:
                        live[name].put(index, live[inner])

    def _load_programs(self, context, keep_going):
        loaded = type(context.spec.programs)()
        for name, program_spec in context.spec.programs.items():
            try:
                program = _programs.load(context, program_spec)
            except LbcError as error:
                if not keep_going:
                    raise
                self.failures["program", name] = error
                continue
            program.object = self
            self._fds.append(program)
            loaded[name] = program
        return loaded

    def _fill_program_arrays(self, spec, live, loaded):
        """Tail calls: the slots of prog arrays that the source filled, once the programs are there."""
        for name, table in spec.maps.items():
            if table.inner is None and table.slots and name in live:
                for index, program in table.slots:
                    if program in loaded:
                        live[name].put(index, loaded[program])

    # -- using ------------------------------------------------------------------------------------------------------
    @property
    def globals(self):
        """Global variables by name, typed by BTF: read and written before loading in the file's copy, after it in the
        kernel."""
        if self._globals is None:
            from .global_data import Globals
            self._globals = Globals(self.spec.maps.values(), self.spec.btf)
            if self.loaded:
                self._globals.attach(dict(self.maps.items()))
        return self._globals

    def attachable(self):
        """Names of the loaded programs whose section says where they belong, and of struct_ops maps."""
        from . import links
        return [name for name, program in self.programs.items()
                if program.spec.autoattach and links.can_attach(program)] + \
            [name for name in self._plans if name in self.maps]

    def attach(self, only=None):
        """Attach everything that is ``attachable()`` (``only``: those names); returns the new Links.  All or none."""
        from . import links
        made = []
        try:
            for name in self.attachable() if only is None else only:
                if name in self._plans:
                    from . import struct_ops
                    made.append(struct_ops.attach(self.kernel, self.maps[name], self._plans[name], self.programs))
                else:
                    made.append(links.attach(self.kernel, self.programs[name]))
        except BaseException:
            links.close_all(made)
            raise
        self.links.extend(made)
        self._fds.extend(made)
        return made

    def own(self, link):
        """``link`` is closed with the object."""
        self.links.append(link)
        self._fds.append(link)

    def events(self, name, callback, lost=None, type=None, **settings):
        """Call ``callback(cpu, record)`` for what programs put into perf or ring buffer ``name``; ``lost(cpu, count)``
        for what a perf buffer had no room for.  Records are decoded as ``type`` (a struct's name or id in the object's
        BTF; False: bytes), else as the value type that the map's source gives.  ``settings``: of events.PerfBuffer,
        events.RingBuffer."""
        from . import events
        from ..uapi.bpf import BPF_MAP_TYPE_RINGBUF
        table = self.maps[name]
        if not self.loaded:
            raise InputError("buffer `%s`: load the object first" % name)
        if "codec" not in settings and "decode" not in settings and type is not False:
            codec = self.record_codec(table, type)
            if codec is not None:
                settings["codec"] = codec
        if table.type == BPF_MAP_TYPE_RINGBUF:
            if "dropped" not in settings and "dropped" in self.globals:
                settings["dropped"] = lambda: self.globals.dropped
            made = events.RingBuffer(self.kernel, table, callback, **settings)
        else:
            made = events.PerfBuffer(self.kernel, table, callback, lost=lost, **settings)
        self._fds.append(made)
        if self._poller is None:
            self._poller = events.Poller(self.kernel)
            self._fds.append(self._poller)
        return self._poller.add(made)

    def record_codec(self, table, type=None):
        """Codec of a buffer's records: the type asked for, else the map's value type; None for bytes."""
        btf = self.spec.btf
        spec = self.spec.maps.get(table.name)
        type_id = spec.value_type_id if spec is not None else 0
        if type is not None:
            from .._py23 import integer_types
            from ..uapi.btf import BTF_KIND_STRUCT, BTF_KIND_UNION
            if isinstance(type, integer_types):
                type_id = type
            else:
                type_id = btf and (btf.find_one(type, BTF_KIND_STRUCT) or btf.find_one(type, BTF_KIND_UNION))
                if not type_id:
                    raise NotFoundError("struct", type, "the BTF of %s" % self._where)
        if btf is None or not type_id:
            return None
        from .map_codec import BtfCodec
        return BtfCodec(btf, type_id, btf.size_of(type_id), "record")

    @property
    def poller(self):
        """The events.Poller behind poll(), None before events(); ``stop()`` it from a signal handler."""
        return self._poller

    def poll(self, timeout_ms=-1):
        """Wait for records up to ``timeout_ms`` and hand them out; how many there were."""
        if self._poller is None:
            raise InputError("nothing to poll: bind a buffer with obj.events(name, callback) first")
        return self._poller.poll(timeout_ms)

    def printk(self):
        """printk.Printk: what this object's programs print with bpf_printk() from now on; closed with the object."""
        if self._printk is None:
            from ..printk import Printk, formats_of
            self._printk = Printk(self.kernel, formats_of(self.spec))
            self._fds.append(self._printk)
        return self._printk

    def trace_print(self, write=None, duration_s=None, count=None):
        """Hand what this object's programs print to ``write(text)`` (default: a line on stdout), until Ctrl-C, for
        ``duration_s`` seconds, or ``count`` lines.  Lines printed before printk() or trace_print() was first called are
        not seen."""
        from ..printk import show
        show(self.printk(), write, duration_s, count)

    def run(self, duration_s=None):
        """Hand out records until Ctrl-C, or for ``duration_s`` seconds."""
        if self._poller is None:
            self.poll(0)    # says what is missing
        try:
            self._poller.run(duration_s)
        except KeyboardInterrupt:
            pass

    # -- the end ----------------------------------------------------------------------------------------------------
    def close(self):
        """Detach and close everything, last made first (idempotent)."""
        self._drop_kernel_btf()
        self.links, self._poller, self._printk = [], None, None
        while self._fds:
            thing = self._fds.pop()
            try:
                thing.close()
            except LbcError:
                pass  # the rest is to be closed all the same, and the kernel forgets with the fd

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()

    def __repr__(self):
        return "BpfObject(%s, %d maps, %d programs, %s)" % (self._where, len(self.maps), len(self.programs),
                                                            "loaded" if self.loaded else "not loaded")


def _read(path):
    import os
    import stat
    from .. import host
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise InputError("%s is a device, not an object file" % path)  # /dev/zero never ends
        return host.read_file(path)
    except (OSError, IOError) as error:
        raise InputError("cannot read %s: %s" % (path, error.strerror or error), error)
