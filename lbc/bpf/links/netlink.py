"""The little of rtnetlink that attachment needs: interfaces, XDP programs, the clsact qdisc and its BPF filters.

Messages and attributes: include/uapi/linux/{netlink,rtnetlink,if_link,pkt_sched,pkt_cls}.h.
"""
from __future__ import absolute_import

import errno
import os
import struct

from ... import residue
from ..._py23 import near, to_bytes, to_text
from ...errors import KernelError, NotFoundError, errno_text
from ...uapi import bpf as _u

__all__ = ["request", "interface", "interfaces", "set_xdp", "xdp_ids", "add_clsact", "delete_clsact", "add_filter",
           "delete_filter",
           "filters", "INGRESS", "EGRESS"]

_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_ECHO, _NLM_F_EXCL, _NLM_F_CREATE, _NLM_F_DUMP = 1, 4, 8, 0x200, 0x400, 0x300
_RTM_GETLINK, _RTM_SETLINK = 18, 19
_RTM_NEWQDISC, _RTM_DELQDISC = 36, 37
_RTM_NEWTFILTER, _RTM_DELTFILTER, _RTM_GETTFILTER = 44, 45, 46
_IFLA_IFNAME, _IFLA_XDP = 3, 43
_IFLA_XDP_FD, _IFLA_XDP_FLAGS, _IFLA_XDP_EXPECTED_FD = 1, 3, 8
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS, _TCA_BPF_ID = 6, 7, 8, 11
_CLSACT_HANDLE, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3     # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS / _EGRESS)
_ALL_PROTOCOLS = struct.unpack("=H", struct.pack(">H", 3))[0]  # htons(ETH_P_ALL)
XDP_MODES = {None: 0, "skb": 2, "drv": 4, "hw": 8}    # XDP_FLAGS_*_MODE of linux/if_link.h
XDP_IF_NOEXIST, XDP_REPLACE = 1, 16
_NESTED = 0x8000


def _attribute(kind, payload):
    size = 4 + len(payload)
    return struct.pack("=HH", size, kind) + payload + b"\0" * (-size % 4)


def attributes(data, offset):
    """{type: payload bytes} from ``offset`` on; damaged ones end the walk."""
    found = {}
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, offset)
        if size < 4 or offset + size > len(data):
            break
        found[kind & 0x3fff] = data[offset + 4:offset + size]
        offset += (size + 3) & ~3
    return found


def request(kernel, kind, flags, body):
    """[(type, payload)] of the answers.  KernelError with the kernel's own words where it gives them (extended ack,
    4.12)."""
    message = struct.pack("=IHHII", 16 + len(body), kind, flags | _NLM_F_REQUEST, 1, 0) + body
    answer, at, found = kernel.netlink(message), 0, []
    while at + 16 <= len(answer):
        size, what, bits = struct.unpack_from("=IHH", answer, at)
        if size < 16 or at + size > len(answer):
            break
        payload = answer[at + 16:at + size]
        if what == 2 and len(payload) >= 4:
            number = -struct.unpack_from("=i", payload)[0]
            if number:
                says = ""
                # NLM_F_ACK_TLVS: error, header of the request (its body too unless NLM_F_CAPPED), attributes
                if bits & 0x200:
                    start = 20 if bits & 0x100 else 4 + struct.unpack_from("=I", payload, 4)[0]
                    says = to_text(attributes(payload, start).get(1, b"").rstrip(b"\0"))
                raise KernelError("netlink: %s%s" % (errno_text(number), " (%s)" % says if says else ""), "netlink",
                                  number,
                                  hint="the kernel says: %s" % says if says else None)
        elif what == 3:
            break
        else:
            found.append((what, payload))
        at += (size + 3) & ~3
    return found


def _ifinfo(index=0):
    return struct.pack("=BxHiII", 0, 0, index, 0, 0)


def interfaces(kernel):
    """{name: index} of all interfaces of this network name space."""
    rows = {}
    for _, payload in request(kernel, _RTM_GETLINK, _NLM_F_DUMP, _ifinfo()):
        name = to_text(attributes(payload, 16).get(_IFLA_IFNAME, b"").rstrip(b"\0"))
        rows[name] = struct.unpack_from("=i", payload, 4)[0]
    return rows


def interface(kernel, which):
    """Index of an interface given by name or index.  NotFoundError with near names."""
    if isinstance(which, int):
        return which
    rows = interfaces(kernel)
    if which in rows:
        return rows[which]
    raise NotFoundError("network interface", which, "this network name space", near(which, rows) or sorted(rows)[:3])


def set_xdp(kernel, index, fd, flags=0, expected_fd=None):
    """Set (or with fd -1 remove) the XDP program of an interface (4.8); ``expected_fd``: only in place of that one
    (5.7)."""
    nested = _attribute(_IFLA_XDP_FD, struct.pack("=i", fd))
    if expected_fd is not None:
        flags |= XDP_REPLACE
        nested += _attribute(_IFLA_XDP_EXPECTED_FD, struct.pack("=i", expected_fd))
    if flags:
        nested += _attribute(_IFLA_XDP_FLAGS, struct.pack("=I", flags))
    request(kernel, _RTM_SETLINK, _NLM_F_ACK, _ifinfo(index) + _attribute(_IFLA_XDP | _NESTED, nested))


def xdp_ids(kernel, index):
    """Set of the ids of the XDP programs on an interface."""
    for _, payload in request(kernel, _RTM_GETLINK, _NLM_F_ACK, _ifinfo(index)):
        nested = attributes(attributes(payload, 16).get(_IFLA_XDP, b""), 0)
        return set(struct.unpack_from("=I", nested[kind])[0] for kind in (4, 5, 6, 7)
                   if len(nested.get(kind, b"")) == 4)
    return set()


def _tcmsg(index, handle, parent, info):
    return struct.pack("=BxHiIII", 0, 0, index, handle, parent, info)


def add_clsact(kernel, index):
    """Add the clsact qdisc (4.5); False where there is one (or an ingress qdisc) already."""
    try:
        request(kernel, _RTM_NEWQDISC, _NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL,
                _tcmsg(index, _CLSACT_HANDLE, _CLSACT_PARENT, 0) + _attribute(_TCA_KIND, b"clsact\0"))
        return True
    except KernelError as error:
        if error.errno == errno.EEXIST:
            return False
        raise


def delete_clsact(kernel, index):
    """Remove the clsact qdisc if no filter is left on it."""
    if filters(kernel, index, INGRESS) or filters(kernel, index, EGRESS):
        return
    request(kernel, _RTM_DELQDISC, _NLM_F_ACK, _tcmsg(index, _CLSACT_HANDLE, _CLSACT_PARENT, 0))


def add_filter(kernel, index, parent, fd, name, handle=0, priority=0):
    """(handle, priority) of a new direct-action BPF filter; 0: the kernel chooses.  KernelError EEXIST where it is
    taken."""
    options = (_attribute(_TCA_BPF_FD, struct.pack("=I", fd)) + _attribute(_TCA_BPF_NAME, to_bytes(name) + b"\0")
               + _attribute(_TCA_BPF_FLAGS, struct.pack("=I", 1)))  # TCA_BPF_FLAG_ACT_DIRECT
    body = (_tcmsg(index, handle, parent, priority << 16 | _ALL_PROTOCOLS) + _attribute(_TCA_KIND, b"bpf\0")
            + _attribute(_TCA_OPTIONS | _NESTED, options))
    for kind, payload in request(kernel, _RTM_NEWTFILTER, _NLM_F_ACK | _NLM_F_ECHO | _NLM_F_CREATE | _NLM_F_EXCL, body):
        if kind == _RTM_NEWTFILTER and len(payload) >= 20:
            _, handle, _, info = struct.unpack_from("=iIII", payload, 4)
            return handle, info >> 16
    return handle, priority


def delete_filter(kernel, index, parent, handle, priority):
    """Take one filter away.  KernelError ENOENT where there is none."""
    request(kernel, _RTM_DELTFILTER, _NLM_F_ACK, _tcmsg(index, handle, parent, priority << 16 | _ALL_PROTOCOLS)
            + _attribute(_TCA_KIND, b"bpf\0"))


def filters(kernel, index, parent):
    """[(handle, priority, kind, name, program id)] of the filters on one side."""
    rows = []
    for kind, payload in request(kernel, _RTM_GETTFILTER, _NLM_F_DUMP, _tcmsg(index, 0, parent, 0)):
        if kind == _RTM_NEWTFILTER and len(payload) >= 20:
            _, handle, _, info = struct.unpack_from("=iIII", payload, 4)
            top = attributes(payload, 20)
            options = attributes(top.get(_TCA_OPTIONS, b""), 0)
            if handle:  # a row without one stands for the whole priority
                number = options.get(_TCA_BPF_ID, b"\0\0\0\0")
                rows.append((handle, info >> 16, to_text(top.get(_TCA_KIND, b"").rstrip(b"\0")),
                             to_text(options.get(_TCA_BPF_NAME, b"").rstrip(b"\0")),
                             struct.unpack_from("=I", number)[0]))
    return rows


def name_space():
    """Inode of this thread's network name space: journal lines of another one are left alone."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return 0


def _sweep_xdp(kernel, words):
    space, index, program_id, flags = (int(word) for word in words)
    if space == name_space() and program_id in xdp_ids(kernel, index):
        fd = kernel.bpf(_u.BPF_PROG_GET_FD_BY_ID, {"prog_id": program_id})
        try:
            try:
                set_xdp(kernel, index, -1, flags, fd)
            except KernelError:
                set_xdp(kernel, index, -1, flags)
        finally:
            kernel.close(fd)


def _sweep_tc(kernel, words):
    space, index, parent = (int(word) for word in words[:3])
    if space == name_space():
        for handle, priority, kind, name, _ in filters(kernel, index, parent):
            if kind == "bpf" and name == words[3]:
                delete_filter(kernel, index, parent, handle, priority)


def _sweep_clsact(kernel, words):
    space, index = (int(word) for word in words)
    if space == name_space():
        delete_clsact(kernel, index)


residue.SWEEPERS.update(xdp=_sweep_xdp, tc=_sweep_tc, clsact=_sweep_clsact)
