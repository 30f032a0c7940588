"""Global variables of an object as Python attributes:
before load they are edited in the MapSpec, afterwards in the kernel.

.rodata and .kconfig are constants once loaded; .data and .bss are shared memory where the kernel maps arrays (5.5),
else one system call a read and two a write (which then may undo what a program wrote meanwhile beside the variable).
"""
from __future__ import absolute_import

from .._py23 import near
from ..errors import InputError, LbcError, NotFoundError
from ..uapi import btf as _b
from .map_codec import codec_for

__all__ = ["Globals"]

_KEY = b"\0\0\0\0"


class NoVariable(NotFoundError, AttributeError):
    """No global variable of that name."""


class Globals(object):
    """``g.name`` reads, ``g.name = value`` writes; ``g["name"]`` likewise; iterates over names.

    specs: MapSpecs of global data (others are passed over); btf: the object's, or None (ints and bytes then).
    Typed by BTF as everywhere: text for char[], records for structs; assigning bytes of the exact size always works.
    """
    __slots__ = ("_btf", "_where", "_maps", "_codecs")

    def __init__(self, specs, btf=None):
        where = {}
        for spec in specs:
            if spec.data is not None:
                for name in spec.variables:
                    where[name] = spec, spec.variables[name]
        for slot, value in (("_btf", btf), ("_where", where), ("_maps", {}), ("_codecs", {})):
            object.__setattr__(self, slot, value)

    def attach(self, maps):
        """From now on read and write the live maps: {map name: Map}."""
        object.__setattr__(self, "_maps", dict(maps))

    def _find(self, name):
        try:
            spec, variable = self._where[name]
        except KeyError:
            raise NoVariable("global variable", name, near=near(name, self._where))
        codec = self._codecs.get(name)
        if codec is None:
            type_id = variable.type_id
            if type_id and self._btf is not None:
                kind = self._btf.type(type_id)
                if kind.kind == _b.BTF_KIND_VAR:
                    type_id = kind.type
            codec = self._codecs[name] = codec_for(variable.size, self._btf, type_id, "variable `%s`" % name)
        return spec, variable, codec

    def __getitem__(self, name):
        spec, variable, codec = self._find(name)
        live = self._maps.get(spec.name)
        if live is None:
            data = bytes(spec.data[variable.offset:variable.offset + variable.size])
            return codec.decode(data + b"\0" * (variable.size - len(data)))
        memory = live.memory
        if memory is not None:
            return codec.decode(memory[variable.offset:variable.offset + variable.size])
        return codec.decode(live.raw.lookup(_KEY)[variable.offset:variable.offset + variable.size])

    def __setitem__(self, name, value):
        spec, variable, codec = self._find(name)
        data = codec.encode(value)
        start, end = variable.offset, variable.offset + variable.size
        live = self._maps.get(spec.name)
        if live is None:
            if not isinstance(spec.data, bytearray):
                spec.data = bytearray(spec.data)
            if len(spec.data) < end:
                spec.data.extend(b"\0" * (end - len(spec.data)))
            spec.data[start:end] = data
            return
        if spec.kind in ("rodata", "kconfig"):
            raise InputError("variable `%s` is constant (.%s) and the object is loaded" % (name, spec.kind),
                             hint="set it before load()")
        memory = live.memory
        if memory is not None:
            memory[start:end] = data
            return
        whole = live.raw.lookup(_KEY)
        live.raw.update(_KEY, whole[:start] + data + whole[end:])

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name, value):
        self[name] = value

    def __contains__(self, name):
        return name in self._where

    def __iter__(self):
        return iter(sorted(self._where))

    def __len__(self):
        return len(self._where)

    def __dir__(self):
        return sorted(self._where)

    def _asdict(self):
        """{name: value} of all."""
        return {name: self[name] for name in self._where}

    def __repr__(self):
        parts = []
        for name in self:
            try:
                parts.append("%s=%r" % (name, self[name]))
            except LbcError as error:
                parts.append("%s: %s" % (name, error.what))
        return "Globals(%s)" % ", ".join(parts)
