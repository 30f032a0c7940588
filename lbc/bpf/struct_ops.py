"""struct_ops: a kernel struct of function pointers whose functions are BPF programs (5.6; links 6.4; modules 6.9).

The variable in the object is laid out as the compiler saw the struct; the kernel has its own layout, so the value is
rebuilt member by member, by name.  Facts: libbpf ``bpf_map__init_kern_struct_ops``; kernel/bpf/bpf_struct_ops.c.
"""
from __future__ import absolute_import

import errno
import struct

from ..errors import InputError, KernelError, LbcError, NotFoundError, NotSupported
from ..uapi import bpf as U
from ..uapi.btf import (BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FUNC_PROTO, BTF_KIND_PTR,
                        BTF_KIND_STRUCT)

__all__ = ["Plan", "plan", "attach"]

_FD = struct.Struct("=Q")


class Plan(object):
    """What came of one struct_ops map: ``spec`` to create it with, ``fields`` of bpf_attr, ``value`` (bytearray in the
    kernel's layout), ``functions`` {program name: (type id, BTF fd, member index)}, ``slots`` [(byte offset in value,
    program name)]."""

    def __init__(self, spec):
        self.original = self.spec = spec
        self.fields, self.value, self.functions, self.slots, self.unused = {}, bytearray(), {}, [], []


def plan(table, spec, kernel_btf):
    """Plan of MapSpec ``table``.  NotFoundError, InputError where the kernel's struct is another."""
    local = spec.btf
    from ..btf.parse import essential_name
    name = essential_name(table.struct_ops_type)
    found = kernel_btf.find(name, BTF_KIND_STRUCT)
    wrapper = kernel_btf.find("bpf_struct_ops_" + name, BTF_KIND_STRUCT)
    if found is None or wrapper is None:
        raise NotFoundError("struct_ops type", name, "the kernel's BTF",
                            hint="struct_ops came with 5.6; is the module that has it loaded?")
    kernel_id, fd = found
    btf = kernel_btf.ids()
    for module in kernel_btf.modules() if fd or wrapper[1] else ():
        if module.fd in (fd, wrapper[1]):
            btf = module.btf
    wrapper_id, wrapper_fd = wrapper
    outer = btf.type(wrapper_id)
    data = next((member for member in outer.members if member.type == kernel_id), None)
    if data is None:
        raise LbcError("struct bpf_struct_ops_%s does not hold struct %s" % (name, name))
    made, offset = Plan(table), data.bit_offset // 8
    made.value = bytearray(outer.size)
    local_id = local.find_one(table.struct_ops_type, BTF_KIND_STRUCT)
    _members(made, table, local, local.type(local_id), btf, btf.type(kernel_id), offset, kernel_id, fd)
    flags = table.flags
    made.fields = {"btf_vmlinux_value_type_id": wrapper_id}
    if wrapper_fd:
        flags |= U.BPF_F_VTYPE_BTF_OBJ_FD
        made.fields["value_type_btf_obj_fd"] = wrapper_fd
    made.spec = table.copy(value_size=outer.size, key_size=4, max_entries=1, flags=flags, data=None,
                           type=U.BPF_MAP_TYPE_STRUCT_OPS)
    return made


def _members(made, table, local, mine, btf, theirs, base, kernel_id, fd):
    by_name = {}
    for index, member in enumerate(theirs.members):
        by_name.setdefault(member.name, (index, member))
    from ..btf.parse import essential_name
    for member in mine.members:
        start = member.bit_offset // 8
        size = local.size_of(member.type)
        program = table.struct_ops_funcs.get(member.name)
        index, other = by_name.get(essential_name(member.name) if member.name else "", (0, None))
        content = bytes(table.data[start:start + size])
        if other is None:
            if program is None and content.strip(b"\0"):
                raise InputError("struct_ops map `%s`: this kernel's struct %s has no member `%s`, which is set"
                                 % (table.name, theirs.name, member.name))
            if program is not None:  # libbpf: the program is not loaded either, as nothing can call it
                made.unused.append(program)
            continue
        if member.bit_size or other.bit_size:
            raise InputError("struct_ops map `%s`: member `%s` is a bit-field" % (table.name, member.name))
        mine_id, other_id = local.resolve(member.type), btf.resolve(other.type)
        mine_kind, other_kind = local.type(mine_id), btf.type(other_id)
        if mine_kind.kind != other_kind.kind and {mine_kind.kind, other_kind.kind} != {BTF_KIND_ENUM, BTF_KIND_ENUM64}:
            raise InputError("struct_ops map `%s`: member `%s` is of another kind in this kernel" % (table.name,
                                                                                                     member.name))
        at = base + other.bit_offset // 8
        if mine_kind.kind == BTF_KIND_PTR:
            if btf.type(btf.resolve(other_kind.type)).kind != BTF_KIND_FUNC_PROTO:
                if content.strip(b"\0"):
                    raise InputError("struct_ops map `%s`: pointer `%s` cannot be set from an object" % (table.name,
                                                                                                         member.name))
                continue
            if program is not None:
                made.functions[program] = (kernel_id, fd, index)
                made.slots.append((at, program))
            continue
        if mine_kind.kind == BTF_KIND_ARRAY or size:
            theirs_size = btf.size_of(other.type)
            if theirs_size != size:
                raise InputError("struct_ops map `%s`: member `%s` has %d bytes here and %d in this kernel"
                                 % (table.name, member.name, size, theirs_size))
        made.value[at:at + size] = content


class StructOpsLink(object):
    """An attached struct_ops map: by BPF link (6.4) or, for maps of section .struct_ops, by its value being set."""

    def __init__(self, kernel, table, fd, detail):
        self.kernel, self.map, self.fd, self.detail = kernel, table, fd, detail
        self._open = True

    def close(self):
        """Detach (idempotent)."""
        if not self._open:
            return
        self._open = False
        fd, self.fd = self.fd, None
        if fd is not None:
            self.kernel.close(fd)
        else:
            try:
                self.map.raw.delete(b"\0\0\0\0")
            except LbcError:
                pass  # the map's last reference ends the registration too

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


def attach(kernel, table, made, programs):
    """Give the kernel the value with the programs' fds in it and switch it on.  ``made``: the map's Plan."""
    value = bytearray(made.value)
    for at, name in made.slots:
        if name in programs:
            _FD.pack_into(value, at, programs[name].fd)
    try:
        table.raw.update(b"\0\0\0\0", bytes(value))
        if not table.flags & U.BPF_F_LINK:
            return StructOpsLink(kernel, table, None, "struct_ops %s, by value" % made.original.struct_ops_type)
        fd = kernel.bpf(U.BPF_LINK_CREATE, {"link_create.map_fd": table.fd,
                                            "link_create.attach_type": U.BPF_STRUCT_OPS})
    except KernelError as error:
        if error.errno == errno.EINVAL and table.flags & U.BPF_F_LINK:
            raise NotSupported("links of struct_ops maps", "6.4", error.errno, error.call, error,
                               "put the variable into SEC(\".struct_ops\")")
        raise KernelError("attach struct_ops map `%s`: %s" % (table.name, error.what), error.call, error.errno, error,
                          hint="a name that is taken is EEXIST; EINVAL: a required function is missing")
    return StructOpsLink(kernel, table, fd, "struct_ops %s, link" % made.original.struct_ops_type)
