"""Programs that attach to a raw tracepoint, to a BTF function (fentry, fexit, fmod_ret, lsm, freplace) and iterators.

All of them are BPF links by nature: BPF_RAW_TRACEPOINT_OPEN (4.17; with no name for programs whose target was fixed
when they were loaded, 5.5) and BPF_LINK_CREATE.  Facts: kernel/bpf/syscall.c bpf_raw_tp_link_attach,
bpf_tracing_prog_attach.
"""
from __future__ import absolute_import

import errno
import os
import struct

from ..._py23 import near, to_bytes, to_text
from ...errors import ENOTSUPP, InputError, KernelError, NotFoundError, NotSupported
from ...tracefs import find_tracefs
from ...uapi import bpf as _u
from .base import LACKING, Link, is_root, link_create, program_fd, refused

__all__ = ["raw_tracepoint", "trace", "freplace", "iterator", "IterLink"]

_TRACE_NAMES = {_u.BPF_TRACE_RAW_TP: "tp_btf", _u.BPF_TRACE_FENTRY: "fentry", _u.BPF_TRACE_FEXIT: "fexit",
                _u.BPF_MODIFY_RETURN: "fmod_ret", _u.BPF_LSM_MAC: "lsm", 58: "fsession"}


def _open(kernel, program, name=None, cookie=0):
    fields = {"raw_tracepoint.prog_fd": program_fd(program)}
    if name is not None:
        fields["raw_tracepoint.name"] = to_bytes(name) + b"\0"
    if cookie:
        fields["raw_tracepoint.cookie"] = cookie
    return kernel.bpf(_u.BPF_RAW_TRACEPOINT_OPEN, fields)


def raw_tracepoint(kernel, program, name, cookie=0):
    """Link to the raw tracepoint ``name`` ("sched_switch", or "sched/sched_switch").  4.17; cookie 6.10."""
    if not name:
        raise InputError("program `%s`: which raw tracepoint? give its name" % program.name)
    name = name.rpartition("/")[2]
    try:
        fd = _open(kernel, program, name, cookie)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            names = _tracepoint_names(kernel)
            raise NotFoundError("raw tracepoint", name, "this kernel", near(name, names))
        if error.errno in LACKING:
            if cookie:
                raise NotSupported("cookies of raw tracepoints", "6.10", error.errno, error.call, error)
            raise NotSupported("raw tracepoints", "4.17", error.errno, error.call, error)
        raise refused(kernel, error, "attach `%s` to raw tracepoint `%s`" % (program.name, name))
    return Link(kernel, fd, "raw tracepoint %s" % name, True, program=program)


def _tracepoint_names(kernel):
    root = find_tracefs(kernel, mount=False)
    try:
        text = to_text(kernel.read(root + "/available_events")) if root else ""
    except KernelError:
        return []
    return sorted(set(line.rpartition(":")[2] for line in text.split()))


def trace(kernel, program, cookie=0):
    """Link of tp_btf, fentry, fexit, fmod_ret, lsm: the target was fixed at load.  5.5 (lsm, fmod_ret 5.7); cookie
    5.19.

    NotSupported where the kernel has no trampolines (EPERM for root, ENOTSUPP), so that callers may fall back.
    """
    attach_type = program.spec.attach_type
    kind = _TRACE_NAMES.get(attach_type, "tracing")
    what = "%s %s" % (kind, program.spec.attach_to)
    try:
        if cookie:
            fd = link_create(kernel, {"prog_fd": program_fd(program), "attach_type": attach_type,
                                      "tracing.cookie": cookie})
        else:
            try:
                fd = _open(kernel, program)
            except KernelError as error:
                if error.errno not in LACKING:
                    raise
                fd = link_create(kernel, {"prog_fd": program_fd(program), "attach_type": attach_type})
    except KernelError as error:
        raise _trace_error(kernel, program, what, kind, cookie, error)
    return Link(kernel, fd, what, True, program=program)


def _trace_error(kernel, program, what, kind, cookie, error):
    if error.errno in (ENOTSUPP, errno.EOPNOTSUPP, errno.ENOSYS) or (error.errno == errno.EPERM and is_root()):
        return NotSupported("%s programs" % kind, "5.5", error.errno, error.call, error)
    if error.errno in (errno.EINVAL, errno.E2BIG) and cookie:
        return NotSupported("cookies of %s programs" % kind, "5.19", error.errno, error.call, error)
    hint = None
    if error.errno == errno.EBUSY:
        hint = "another user of the same instruction (a live patch, a kprobe that changes the flow, " \
               "an older trampoline) is in the way"
    elif error.errno == errno.E2BIG:
        hint = "the kernel takes at most 38 programs on one function"
    elif error.errno == errno.ENOENT:
        hint = "the function has no ftrace call (notrace or inlined)"
    return refused(kernel, error, "attach `%s` to %s" % (program.name, what), hint)


def freplace(kernel, program, target=None, function_btf_id=None, cookie=0):
    """Link that replaces a function of another program.  Without ``target`` the one fixed at load (5.6); another
    program of the same shape by its Program or fd and BTF id of the function (5.10)."""
    try:
        if target is None and not cookie:
            fd = _open(kernel, program)
        else:
            fd = link_create(kernel, {"prog_fd": program_fd(program), "target_fd": program_fd(target)
                                      if target is not None else 0,
                                      "target_btf_id": function_btf_id or 0})
    except KernelError as error:
        if error.errno in (ENOTSUPP, errno.EOPNOTSUPP, errno.ENOSYS) or (error.errno == errno.EPERM and is_root()):
            raise NotSupported("freplace programs", "5.6", error.errno, error.call, error)
        raise refused(kernel, error, "attach freplace program `%s`" % program.name)
    return Link(kernel, fd, "freplace %s" % program.spec.attach_to, True, program=program)


_MAP_ITERATORS = ("bpf_map_elem", "bpf_sk_storage_map", "sockmap")


class IterLink(Link):
    """Link of an iterator program; ``read()`` runs it."""

    def read(self, size=65536):
        """Generator of bytes chunks (at most ``size``) of what the program writes; each call runs the program anew."""
        fd = self.open()
        try:
            while True:
                try:
                    chunk = os.read(fd, size)
                except OSError as error:
                    if error.errno in (errno.EINTR, errno.EAGAIN):  # EAGAIN: the seq_file wants another call
                        continue
                    raise refused(self.kernel, KernelError("read: %s" % error, "read", error.errno, error),
                                  "read from the iterator (%s)" % self.detail)
                if not chunk:
                    return
                yield chunk
        finally:
            self.kernel.close(fd)

    def open(self):
        """A new fd to read(2) from; the caller closes it (5.8)."""
        try:
            return self.kernel.bpf(_u.BPF_ITER_CREATE, {"iter_create.link_fd": self.fd})
        except KernelError as error:
            raise refused(self.kernel, error, "start the iterator (%s)" % self.detail)

    def text(self):
        """All of one run as native text."""
        return to_text(b"".join(self.read()))

    def __iter__(self):
        return self.read()


def iterator(kernel, program, map=None, pid=None, tid=None, pid_fd=None, cgroup=None, order=None):
    """IterLink (5.8).  ``map``: Map or fd for element iterators; ``pid``/``tid``/``pid_fd``: only that task (6.1);
    ``cgroup``: path or fd with ``order`` "self", "pre", "post", "up", "children" (6.1)."""
    info, opened, wanted = None, None, "iterators"
    if map is not None:
        info = struct.pack("=I", program_fd(map))
        wanted = "map element iterators"
    elif pid or tid or pid_fd is not None:
        info = struct.pack("=III", tid or 0, 0 if tid else pid or 0, pid_fd or 0)  # one of them at most
        wanted = "iterators of one task"
    elif cgroup is not None:
        orders = {"self": _u.BPF_CGROUP_ITER_SELF_ONLY, "pre": _u.BPF_CGROUP_ITER_DESCENDANTS_PRE,
                  "post": _u.BPF_CGROUP_ITER_DESCENDANTS_POST, "up": _u.BPF_CGROUP_ITER_ANCESTORS_UP, "children": 5}
        if order is not None and order not in orders:
            raise InputError("iterator order `%s`: one of %s" % (order, ", ".join(sorted(orders))))
        if not isinstance(cgroup, int):
            from .cgroup import open_folder
            cgroup = opened = open_folder(cgroup)
        info = struct.pack("=IIQ", orders[order or "pre"], cgroup, 0)
        wanted = "cgroup iterators"
    try:
        # union bpf_iter_link_info is 16 bytes; an older, shorter kernel takes a longer one whose tail is zero
        fields = {"prog_fd": program_fd(program), "attach_type": _u.BPF_TRACE_ITER}
        if info is not None:
            fields["iter_info"], fields["iter_info_len"] = info, len(info)
        try:
            fd = link_create(kernel, fields)
        except KernelError as error:
            if error.errno in (errno.EINVAL, errno.EBADF) and program.spec.attach_to in _MAP_ITERATORS and map is None:
                raise refused(kernel, error, "attach iterator `%s`" % program.name,
                              "an iterator over map elements needs the map (map=)")
            if error.errno in LACKING:
                raise NotSupported(wanted, "6.1" if info is not None and map is None else "5.8", error.errno,
                                   error.call, error)
            raise refused(kernel, error, "attach iterator `%s`" % program.name)
    finally:
        if opened is not None:
            os.close(opened)
    return IterLink(kernel, fd, "iterator %s" % program.spec.attach_to, True, program=program)
