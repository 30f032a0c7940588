"""Programs on a network name space: flow dissector, sk_lookup; and netfilter hooks."""
from __future__ import absolute_import

import errno
import os

from ... import residue
from ...errors import InputError, KernelError, NotFoundError, NotSupported, errno_text
from ...uapi import bpf as _u
from .base import bpf_link, first_supported
from .cgroup import detach_id
from .net import LastingLink, prog_attach, program_id
from .netlink import name_space

__all__ = ["attach_netns", "attach_netfilter"]


def _open(path):
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0o2000000))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError("network name space", path)
        raise InputError("network name space `%s`: %s" % (path, errno_text(error.errno)), cause=error)


def attach_netns(kernel, program, target=None, way=None):
    """Link of a flow_dissector (5.8, else BPF_PROG_ATTACH to this name space, 4.20) or sk_lookup (5.9) program on a
    network name space: path ("/proc/PID/ns/net", "/run/netns/x"), fd, or None for this one.  ``way``: "link",
    "attach"."""
    path = "/proc/self/ns/net" if target is None else target
    fd = path if isinstance(path, int) else _open(path)
    dissector = program.spec.type == _u.BPF_PROG_TYPE_FLOW_DISSECTOR
    kind = _u.BPF_FLOW_DISSECTOR if dissector else _u.BPF_SK_LOOKUP
    name = "flow dissector" if dissector else "sk_lookup"
    doing = "attach `%s` to network name space %s" % (program.name, path)

    def by_link():
        try:
            return bpf_link(kernel, program, {"target_fd": fd, "attach_type": kind}, doing, "BPF links of %s" % name,
                            "5.8" if dissector else "5.9", detail="%s, link" % name)
        except NotSupported:
            raise
        except KernelError as error:
            raise _taken(error)

    def by_attach():
        if not dissector or target is not None:
            raise NotSupported("%s programs" % name if target is None else "%s programs on another name space" % name,
                               "5.8" if dissector else "5.9")
        number = program_id(kernel, program)
        line = "netns %d %d %d" % (name_space(), kind, number)
        residue.note(line)
        try:
            link = prog_attach(kernel, program, 0, kind, 0, doing, "%s, BPF_PROG_ATTACH" % name, "%s programs" % name,
                               "4.20")
        except KernelError as error:
            residue.erase(line)
            raise _taken(error)
        lasting = LastingLink(kernel, None, link.detail, undo=[lambda: residue.erase(line)] + link._undo,
                              program=program)
        residue.keep(lasting)
        return lasting

    try:
        return first_supported({None: [by_link, by_attach], "link": [by_link], "attach": [by_attach]}[way])
    finally:
        if not isinstance(path, int):
            os.close(fd)


def _taken(error):
    if error.errno in (errno.EEXIST, errno.EBUSY):
        error.hint = "there is a flow dissector already, here or in the first name space: only one can be"
    return error


def _sweep(kernel, words):
    space, kind, number = (int(word) for word in words)
    if space == name_space():
        fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            detach_id(kernel, fd, kind, number)
        finally:
            os.close(fd)


residue.SWEEPERS["netns"] = _sweep

_FAMILIES = {"ipv4": 2, "ipv6": 10}                                                     # NFPROTO_*
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}     # enum nf_inet_hooks


def attach_netfilter(kernel, program, family="ipv4", hook="input", priority=0, defrag=False):
    """Link of a netfilter program (6.4).  ``family`` "ipv4" "ipv6" or number, ``hook`` "prerouting" "input" "forward"
    "output" "postrouting" or number; ``priority``: not -2^31 nor 2^31-1; ``defrag``: packets whole (6.6)."""
    if family not in _FAMILIES and not isinstance(family, int) or hook not in _HOOKS and not isinstance(hook, int):
        raise InputError("netfilter %s/%s: family one of %s, hook one of %s" % (family, hook,
                                                                                ", ".join(sorted(_FAMILIES)),
                                                                                ", ".join(sorted(_HOOKS))))
    fields = {"attach_type": _u.BPF_NETFILTER, "netfilter.pf": _FAMILIES.get(family, family),
              "netfilter.hooknum": _HOOKS.get(hook, hook),
              "netfilter.priority": priority & 0xffffffff, "netfilter.flags": _u.BPF_F_NETFILTER_IP_DEFRAG if defrag
              else 0}
    try:
        return bpf_link(kernel, program, fields, "attach `%s` to netfilter %s/%s" % (program.name, family, hook),
                        "netfilter links",
                        "6.4", detail="netfilter %s/%s, priority %d, link" % (family, hook, priority))
    except NotSupported:
        raise
    except KernelError as error:
        if error.errno == errno.EBUSY:
            error.hint = "another program has that priority on this hook"
        raise
