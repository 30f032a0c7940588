"""Programs on interfaces and sockets: xdp, tc (tcx, clsact), netkit, socket filters, maps of sockets."""
from __future__ import absolute_import

import errno

from ... import residue
from ...errors import InputError, KernelError, NotSupported, errno_text
from ...uapi import bpf as _u
from . import netlink
from .base import Link, LACKING, bpf_link, first_supported, link_create, program_fd, refused

__all__ = ["attach_xdp", "attach_tc", "attach_socket", "attach_sockmap", "LastingLink"]


class LastingLink(Link):
    """What would outlive the process: closed at exit at the latest and noted in the journal until then."""

    def close(self):
        residue.forget(self)
        Link.close(self)


def _need(program, target, what):
    if target is None:
        raise InputError("program `%s`: which %s?" % (program.name, what))
    return target


def program_id(kernel, program):
    """The kernel's id of a program, 0 where it has none (before 4.13)."""
    try:
        return kernel.info(program_fd(program), _u.BPF_PROG_INFO, _u.BPF_PROG_INFO_SIZE).get("id")
    except KernelError:
        return 0


# -- xdp -------------------------------------------------------------------------------------------------------------
def attach_xdp(kernel, program, target=None, mode=None, replace=False, way=None):
    """Link of an XDP program on an interface (name or index).  ``mode``: "skb" "drv" "hw" or None, the kernel's choice;
    ``replace``: take the place of a program that was set through netlink.  Link 5.9, else netlink 4.8.  ``way``: "link"
    "netlink"."""
    if mode not in netlink.XDP_MODES:
        raise InputError("xdp mode `%s`: one of skb, drv, hw" % mode)
    index = netlink.interface(kernel, _need(program, target, "interface"))
    ways = {None: [_xdp_link, _xdp_netlink], "link": [_xdp_link], "netlink": [_xdp_netlink]}[way]
    return first_supported([_xdp_netlink] if replace and way is None else ways, kernel, program, target, index,
                           netlink.XDP_MODES[mode], replace)


def _xdp_link(kernel, program, target, index, flags, replace):
    try:
        fd = link_create(kernel, {"prog_fd": program_fd(program), "target_ifindex": index, "attach_type": _u.BPF_XDP,
                                  "flags": flags})
    except KernelError as error:
        if error.errno in LACKING:  # also where the driver refuses: netlink then says why
            raise NotSupported("BPF links of XDP", "5.9", error.errno, error.call, error)
        raise _xdp_error(kernel, program, target, error)
    return Link(kernel, fd, "xdp on %s, link" % target, True, program=program)


def _xdp_error(kernel, program, target, error):
    hint = error.hint
    if error.errno in (errno.EBUSY, errno.EEXIST):
        hint = "there is an XDP program on it already: `ip link show %s` names it; " \
               "replace=True takes its place" % target
    return refused(kernel, error, "attach `%s` to %s" % (program.name, target), hint)


def _xdp_netlink(kernel, program, target, index, flags, replace):
    number = program_id(kernel, program)
    line = "xdp %d %d %d %d" % (netlink.name_space(), index, number, flags)
    residue.note(line)
    try:
        netlink.set_xdp(kernel, index, program_fd(program), flags | (0 if replace else netlink.XDP_IF_NOEXIST))
    except KernelError as error:
        residue.erase(line)
        raise _xdp_error(kernel, program, target, error)

    def undo():
        try:
            if not number or number in netlink.xdp_ids(kernel, index):  # not somebody else's by now
                netlink.set_xdp(kernel, index, -1, flags)
        except KernelError as error:
            if error.errno != errno.ENODEV:  # the interface is gone, and the program with it
                raise
        finally:
            residue.erase(line)

    link = LastingLink(kernel, None, "xdp on %s, netlink" % target, undo=[undo], program=program)
    residue.keep(link)
    return link


# -- tc --------------------------------------------------------------------------------------------------------------
_SIDES = {"ingress": (_u.BPF_TCX_INGRESS, netlink.INGRESS), "egress": (_u.BPF_TCX_EGRESS, netlink.EGRESS)}


def attach_tc(kernel, program, target=None, direction=None, handle=0, priority=0, way=None, flags=0, relative_fd=None):
    """Link of a classifier on an interface (name or index), ``direction`` "ingress" or "egress" (default: by the
    section).

    tcx link 6.6 (``flags`` BPF_F_BEFORE/AFTER with ``relative_fd``), else a direct-action filter on clsact (4.5) with
    ``handle`` and ``priority`` (0: the kernel chooses); clsact goes again when we made it and nobody else is on it.
    Sections netkit/primary and netkit/peer: netkit link (6.7).  ``way``: "tcx", "clsact".
    """
    index = netlink.interface(kernel, _need(program, target, "interface"))
    kind = program.spec.attach_type
    if kind in (_u.BPF_NETKIT_PRIMARY, _u.BPF_NETKIT_PEER) or direction in ("primary", "peer"):
        kind = kind or {"primary": _u.BPF_NETKIT_PRIMARY, "peer": _u.BPF_NETKIT_PEER}[direction]
        try:
            return bpf_link(kernel, program, {"target_ifindex": index, "attach_type": kind, "flags": flags,
                                              "netkit.relative_fd": relative_fd},
                            "attach `%s` to netkit device %s" % (program.name, target), "netkit links", "6.7")
        except NotSupported as error:
            error.hint = "is %s a netkit device?" % target
            raise
    if direction is None:
        direction = {_u.BPF_TCX_INGRESS: "ingress", _u.BPF_TCX_EGRESS: "egress"}.get(kind)
    if direction not in _SIDES:
        raise InputError("program `%s`: direction: \"ingress\" or \"egress\"?" % program.name)
    ways = [_tcx, _clsact]
    if way is not None:
        ways = {"tcx": [_tcx], "clsact": [_clsact]}[way]
    elif handle or priority:  # these exist on clsact only
        ways = [_clsact]
    return first_supported(ways, kernel, program, target, index, direction, handle, priority, flags, relative_fd)


def _tcx(kernel, program, target, index, direction, handle, priority, flags, relative_fd):
    return bpf_link(kernel, program, {"target_ifindex": index, "attach_type": _SIDES[direction][0], "flags": flags,
                                      "tcx.relative_fd": relative_fd},
                    "attach `%s` to %s %s" % (program.name, target, direction), "tcx links", "6.6",
                    detail="tcx %s on %s, link" % (direction, target))


def _clsact(kernel, program, target, index, direction, handle, priority, flags, relative_fd):
    parent, name = _SIDES[direction][1], "%s:%s" % (residue.tag(), program.name)
    doing = "attach `%s` to %s %s" % (program.name, target, direction)
    space = netlink.name_space()
    qdisc_line, line = "clsact %d %d" % (space, index), "tc %d %d %d %s" % (space, index, parent, name)
    residue.note(qdisc_line)
    made = False
    try:
        made = netlink.add_clsact(kernel, index)
        if not made:
            residue.erase(qdisc_line)
        residue.note(line)
        handle, priority = netlink.add_filter(kernel, index, parent, program_fd(program), name, handle, priority)
    except KernelError as error:
        if made:
            netlink.delete_clsact(kernel, index)
        residue.erase(line)
        residue.erase(qdisc_line)
        if error.errno == errno.ENOENT and not made:
            raise NotSupported("clsact (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)", "4.5", error.errno, error.call,
                               error)
        hint = "that handle and priority are taken" if error.errno == errno.EEXIST else error.hint
        raise refused(kernel, error, doing, hint)

    def undo():
        try:
            netlink.delete_filter(kernel, index, parent, handle, priority)
        except KernelError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):  # gone, with its qdisc or its interface
                raise
        finally:
            residue.erase(line)

    def undo_qdisc():
        try:
            netlink.delete_clsact(kernel, index)
        except KernelError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise
        finally:
            residue.erase(qdisc_line)

    link = LastingLink(kernel, None, "clsact %s on %s, handle 0x%x, priority %d"
                       % (direction, target, handle, priority),
                       undo=([undo_qdisc] if made else []) + [undo], program=program)
    link.handle, link.priority = handle, priority
    residue.keep(link)
    return link


# -- sockets ---------------------------------------------------------------------------------------------------------
_SO_ATTACH_BPF, _SO_DETACH_BPF, _SO_ATTACH_REUSEPORT, _SO_DETACH_REUSEPORT = 50, 27, 52, 68  # asm-generic/socket.h


def attach_socket(kernel, program, target=None, reuseport=False):
    """Link of a socket filter on a socket object (SO_ATTACH_BPF, 3.19), or with ``reuseport`` (implied by sk_reuseport
    programs) on its group (4.5).  The socket must stay open; the filter also dies with it."""
    sock = _need(program, target, "socket (the object)")
    if not hasattr(sock, "setsockopt"):
        raise InputError("program `%s`: a socket object is needed, not %r" % (program.name, sock))
    reuseport = reuseport or program.spec.type == _u.BPF_PROG_TYPE_SK_REUSEPORT
    put, drop = (_SO_ATTACH_REUSEPORT, _SO_DETACH_REUSEPORT) if reuseport else (_SO_ATTACH_BPF, _SO_DETACH_BPF)
    try:
        sock.setsockopt(1, put, program_fd(program))  # SOL_SOCKET
    except (OSError, IOError) as error:
        raise refused(kernel, KernelError("setsockopt: %s" % errno_text(error.errno), "setsockopt", error.errno, error),
                      "attach `%s` to the socket" % program.name)

    def undo():
        try:
            sock.setsockopt(1, drop, 0)
        except (OSError, IOError):  # closed meanwhile, or SO_DETACH_REUSEPORT_BPF before 5.3
            pass

    return Link(kernel, None, "socket option", undo=[undo], program=program)


def attach_sockmap(kernel, program, target=None, attach_type=None, way=None):
    """Link of a sk_skb or sk_msg program on a Map of sockets (or its fd): link 6.10, else BPF_PROG_ATTACH (4.14; sk_msg
    4.17)."""
    map_fd = program_fd(_need(program, target, "map of sockets"))
    kind = attach_type if attach_type is not None else program.spec.attach_type
    if not kind:
        raise InputError("program `%s`: attach_type (BPF_SK_SKB_STREAM_VERDICT ...) is needed for section `%s`"
                         % (program.name, program.spec.section))
    doing = "attach `%s` to the map of sockets" % program.name

    def by_link():
        return bpf_link(kernel, program, {"target_fd": map_fd, "attach_type": kind}, doing, "BPF links of socket maps",
                        "6.10",
                        detail="socket map, link")

    def by_command():
        return prog_attach(kernel, program, map_fd, kind, 0, doing, "socket map, BPF_PROG_ATTACH",
                           "socket map programs", "4.14")

    return first_supported({None: [by_link, by_command], "link": [by_link], "attach": [by_command]}[way])


def prog_attach(kernel, program, target_fd, kind, flags, doing, detail, feature, version, undo=()):
    """Link by BPF_PROG_ATTACH; close is BPF_PROG_DETACH of this very program."""
    fields = {"target_fd": target_fd, "attach_bpf_fd": program_fd(program), "attach_type": kind}
    try:
        kernel.bpf(_u.BPF_PROG_ATTACH, dict(fields, attach_flags=flags))
    except KernelError as error:
        if error.errno in LACKING:
            raise NotSupported(feature, version, error.errno, error.call, error)
        raise refused(kernel, error, doing)

    def detach():
        try:
            kernel.bpf(_u.BPF_PROG_DETACH, fields)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise

    return Link(kernel, None, detail, undo=list(undo) + [detach], program=program)
