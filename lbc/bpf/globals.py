"""Global variables of an object, by name: ``obj.globals.min_ns = 1000``.

Before loading they live in the file's copy (MapSpec.data), after it in the kernel's map: read and written in place where the
map can be mapped (5.5), else by system calls.  Types come from BTF; without it a variable is an int or bytes.
"""
from __future__ import absolute_import

from ..errors import InputError, KernelError, NotFoundError
from .map_codec import codec_for

__all__ = ["Globals"]


class Globals(object):
    """Attribute and key access to every global variable of ``obj``; a wrong name says the near ones."""

    def __init__(self, obj):
        found = {}
        for table in obj.spec.maps.values():
            for name, variable in (table.variables or {}).items():
                found.setdefault(name, (table, variable))
        self.__dict__.update(_obj=obj, _found=found, _codecs={})

    def _where(self, name):
        try:
            table, variable = self._found[name]
        except KeyError:
            from .._py23 import near
            raise NotFoundError("global variable", name, self._obj.spec.path or "the object", near(name, self._found),
                                hint="has: %s" % (", ".join(sorted(self._found)[:20]) or "none"))
        codec = self._codecs.get(name)
        if codec is None:
            codec = self._codecs[name] = codec_for(variable.size, self._obj.spec.btf, variable.type_id, name)
        return table, variable, codec

    def __getitem__(self, name):
        table, variable, codec = self._where(name)
        live = self._live(table)
        if live is None or (table.kind == "rodata" and not self._obj.loaded):
            return codec.decode(bytes(table.data[variable.offset:variable.offset + variable.size]))
        memory = live.memory
        if memory is None:
            memory = live.raw.lookup(b"\0\0\0\0")
        return codec.decode(bytes(memory[variable.offset:variable.offset + variable.size]))

    def _live(self, table):
        if not self._obj.loaded:
            return None
        live = self._obj.maps.get(table.name)
        if live is None or live.fd is None:
            raise InputError("%s is closed" % (self._obj.spec.path or "the object"))
        return live

    def __setitem__(self, name, value):
        table, variable, codec = self._where(name)
        data = codec.encode(value)
        live = self._live(table)
        if live is None:
            if table.data is None:
                table.data = bytearray(table.value_size)
            table.data[variable.offset:variable.offset + variable.size] = data
            return
        if table.kind in ("rodata", "kconfig"):
            raise InputError("global variable `%s` is constant once the programs are loaded" % name, hint="set it before obj.load()")
        memory = live.memory
        if memory is not None:
            memory[variable.offset:variable.offset + variable.size] = data
            return
        whole = bytearray(live.raw.lookup(b"\0\0\0\0"))  # before 5.5: another CPU's writes in between are lost
        whole[variable.offset:variable.offset + variable.size] = data
        try:
            live.raw.update(b"\0\0\0\0", bytes(whole))
        except KernelError as error:
            raise KernelError("set global variable `%s`: %s" % (name, error.what), error.call, error.errno, error)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name, value):
        self[name] = value

    def __contains__(self, name):
        return name in self._found

    def __iter__(self):
        return iter(self._found)

    def __len__(self):
        return len(self._found)

    def __dir__(self):
        return list(self._found)

    def __repr__(self):
        return "<globals: %s>" % ", ".join(sorted(self._found))
