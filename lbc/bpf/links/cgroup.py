"""Programs on a cgroup (v2): every attach type, by link (5.7) or by BPF_PROG_ATTACH (4.10).

Facts: kernel/bpf/cgroup.c; Documentation/bpf/prog_cgroup_sockopt.rst.  BPF_PROG_ATTACH outlives the process: it is
noted in the journal (residue) and undone at exit.
"""
from __future__ import absolute_import

import errno
import os
import struct

from ... import residue
from ...errors import InputError, KernelError, NotFoundError, NotSupported, errno_text
from ...uapi import bpf as _u
from .base import bpf_link, first_supported
from .net import LastingLink, prog_attach, program_id

__all__ = ["attach_cgroup", "open_folder"]

_FLAGS = {"multi": _u.BPF_F_ALLOW_MULTI, "override": _u.BPF_F_ALLOW_OVERRIDE, "none": 0}


def open_folder(path):
    """fd of a cgroup folder; the caller closes it.  NotFoundError, InputError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_CLOEXEC", 0o2000000))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError("cgroup folder", path)
        raise InputError("cgroup `%s`: %s" % (path, errno_text(error.errno)), cause=error)


def attach_cgroup(kernel, program, target=None, attach_type=None, flags=None, way=None):
    """Link of a program on a cgroup (folder path or fd).  ``attach_type``: where the section does not say it
    (cgroup/skb, cgroup/dev); ``flags``: "multi", "override", "none" (or the number) imply BPF_PROG_ATTACH; by default a
    link, which shares the place with others.
    ``way``: "link", "attach"."""
    if target is None:
        raise InputError("program `%s`: which cgroup? give its folder" % program.name)
    kind = program.spec.attach_type if attach_type is None else attach_type
    if attach_type is None and program.spec.section.lstrip("?") == "cgroup/skb":
        raise InputError(
            "program `%s`: attach_type: BPF_CGROUP_INET_INGRESS or _EGRESS? (section cgroup/skb does not say)"
            % program.name)
    if flags in _FLAGS:
        flags = _FLAGS[flags]
    fd = target if isinstance(target, int) else open_folder(target)
    ways = {None: [_by_link, _by_attach] if flags is None else [_by_attach], "link": [_by_link],
            "attach": [_by_attach]}[way]
    if program.spec.type == _u.BPF_PROG_TYPE_LSM:
        ways = [_by_link]
    keep = False
    try:
        link = first_supported(ways, kernel, program, target, fd, kind, flags)
        keep = not link.is_bpf_link and fd is not target
        if keep:
            link._undo.insert(0, lambda: os.close(fd))  # last of all: needed for detaching
        return link
    finally:
        if not keep and fd is not target:
            os.close(fd)


def _doing(program, target):
    return "attach `%s` to cgroup %s" % (program.name, target)


def _by_link(kernel, program, target, fd, kind, flags):
    lsm = program.spec.type == _u.BPF_PROG_TYPE_LSM
    try:
        return bpf_link(kernel, program, {"target_fd": fd, "attach_type": kind}, _doing(program, target),
                        "lsm_cgroup programs" if lsm else "BPF links of cgroups", "6.0" if lsm else "5.7",
                        detail="cgroup %s, link" % target)
    except NotSupported:
        raise
    except KernelError as error:
        raise _explain(kernel, program, target, error)


def _explain(kernel, program, target, error):
    if error.errno == errno.EBADF:
        return KernelError("%s: it is not a cgroup of version 2" % _doing(program, target), error.call, error.errno,
                           error,
                           "cgroup2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified (mount -t cgroup2)")
    if error.errno == errno.EPERM and not isinstance(error.__cause__, OSError):
        error.hint = "another program is there, or above, without the flag that lets it be shared (multi, override)"
    return error


def _by_attach(kernel, program, target, fd, kind, flags):
    tries = [flags] if flags is not None else [_u.BPF_F_ALLOW_MULTI, _u.BPF_F_ALLOW_OVERRIDE, 0]  # 4.15, 4.11, 4.10
    line = "cgroup %d %d %s" % (kind, program_id(kernel, program), os.path.abspath(target)
                                if not isinstance(target, int) else "-")
    residue.note(line)
    last = None
    for bits in tries:
        try:
            link = prog_attach(kernel, program, fd, kind, bits, _doing(program, target),
                               "cgroup %s, BPF_PROG_ATTACH%s" % (
                target, {_u.BPF_F_ALLOW_MULTI: " (multi)", _u.BPF_F_ALLOW_OVERRIDE: " (override)"}.get(bits, "")),
                "programs on this kind of cgroup hook", None)
            break
        except NotSupported as error:
            last = error
        except KernelError as error:
            residue.erase(line)
            raise _explain(kernel, program, target, error)
    else:
        residue.erase(line)
        raise last
    lasting = LastingLink(kernel, None, link.detail, undo=[lambda: residue.erase(line)] + link._undo, program=program)
    residue.keep(lasting)
    return lasting


def query(kernel, fd, kind):
    """Ids of the programs attached to a cgroup or name space fd for one attach type (BPF_PROG_QUERY, 4.15)."""
    from ..syscalls import Attr
    ids = bytearray(4 * 64)
    attr = Attr(_u.BPF_PROG_QUERY, {"query.target_fd": fd, "query.attach_type": kind, "query.prog_ids": ids,
                                    "query.prog_cnt": 64})
    kernel.run(attr)
    return struct.unpack_from("=%dI" % min(64, attr.get("query.prog_cnt")), ids)


def detach_id(kernel, fd, kind, number):
    """Detach the program with that id, if it is there."""
    if number and number in query(kernel, fd, kind):
        program = kernel.bpf(_u.BPF_PROG_GET_FD_BY_ID, {"prog_id": number})
        try:
            kernel.bpf(_u.BPF_PROG_DETACH, {"target_fd": fd, "attach_bpf_fd": program, "attach_type": kind})
        finally:
            kernel.close(program)


def _sweep(kernel, words):
    path = " ".join(words[2:])
    if path == "-" or not os.path.isdir(path):
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        detach_id(kernel, fd, int(words[0]), int(words[1]))
    finally:
        os.close(fd)


residue.SWEEPERS["cgroup"] = _sweep
