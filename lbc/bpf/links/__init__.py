"""Attachment: one loaded program to one (or many) places.  ``attach()`` chooses by section and program type.

Modules import one way: base -> probe_events -> kfunc -> perf -> multi, usdt; tracing,
cgroup, netns, netlink -> net.  Only what an attachment needs is imported.
"""
from __future__ import absolute_import

from ...errors import InputError, NotSupported
from ...uapi import bpf as _u
from .base import Link, LinkGroup, close_all, first_supported

__all__ = ["attach", "can_attach", "Link", "LinkGroup", "close_all", "first_supported"]


def attach(kernel, program, target=None, **options):
    """Link of ``program``; what and where come from its section ("kprobe/vfs_read"), or from ``target`` and
    ``options``.

    kprobe, kretprobe   target "func", "func+0x10", "module:func", address; offset, maxactive, cookie, way
    ksyscall            target "openat"; cookie
    uprobe, uretprobe   target "BINARY:FUNC+off"; or path, func, offset; pid (-1 all, 0 self), ref_ctr_offset,
                        cookie, way
    kprobe.multi, kprobe.session, uprobe.multi (.session)   target "vfs_*" / "BINARY:pattern"; or functions=[...],
                        cookies
    usdt                target "BINARY:PROVIDER:NAME"; pid, cookie
    tracepoint          target "category/name"; cookie          raw_tp   target "name"; cookie
    tp_btf, fentry, fexit, fmod_ret, lsm   cookie               freplace   target Program, function_btf_id
    iter                map, pid, tid, cgroup, order: IterLink, ``link.read()``
    perf_event          target dict of perf_event_attr members; pid, cpus, cookie
    xdp                 target interface; mode "skb" "drv" "hw" None, replace
    tc, tcx, netkit     target interface; direction "ingress" "egress" (netkit "primary" "peer"), handle, priority, way
    socket, sk_reuseport   target socket           sk_skb, sk_msg   target Map of sockets
    cgroup*, sockops, lsm_cgroup   target cgroup folder; flags
    sk_lookup, flow_dissector   target name space (path, fd, None: this one)
    netfilter           target "inet/..." none; family, hook, priority, defrag
    NotSupported where the kernel has no way at all; InputError, NotFoundError, PrivilegeError, KernelError else.
    """
    from . import leftovers
    leftovers.sweep(kernel)
    return _choose(program)(kernel, program, target, options)


def can_attach(program):
    """True when the section alone says where: ``attach(kernel, program)`` needs no target."""
    row = program.spec.section_def
    if row is None or not row.attach:
        return False
    if row.attach == "iter":
        return True
    return bool(program.spec.attach_to)


def _choose(program):
    row, kind = program.spec.section_def, program.spec.type
    if row is not None and row.attach in _BY_SECTION:
        return _BY_SECTION[row.attach]
    if kind == _u.BPF_PROG_TYPE_TRACING and program.spec.attach_type == _u.BPF_TRACE_ITER:
        return _iter
    if kind == _u.BPF_PROG_TYPE_LSM and program.spec.attach_type == _u.BPF_LSM_CGROUP:
        return _cgroup
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if kind in _CGROUP_TYPES:
        return _cgroup
    name = _u.PROG_TYPE_NAMES.get(kind, "type %d" % kind)
    if kind == _u.BPF_PROG_TYPE_STRUCT_OPS:
        raise InputError("program `%s`: struct_ops programs are attached through their map" % program.name)
    called = "such programs run when called: test run, tail call or another program"
    raise InputError("program `%s`: no way to attach programs of type %s (section `%s`)"
                     % (program.name, name, program.spec.section), hint=called if name in ("syscall", "ext") else None)


def _is_return(program):
    return program.spec.section.lstrip("?").startswith(("kret", "uret"))


def _kprobe(kernel, program, target, options):
    from .perf import kprobe
    options.setdefault("is_return", _is_return(program))
    return kprobe(kernel, program, program.spec.attach_to if target is None else target, **options)


def _ksyscall(kernel, program, target, options):
    from .perf import ksyscall
    options.setdefault("is_return", _is_return(program))
    return ksyscall(kernel, program, target or program.spec.attach_to, **options)


def _uprobe(kernel, program, target, options):
    from .user import attach_uprobe
    options.setdefault("is_return", _is_return(program))
    return attach_uprobe(kernel, program, program.spec.attach_to if target is None else target, **options)


def _kprobe_multi(kernel, program, target, options):
    from .multi import kprobe_multi
    options.setdefault("is_return", _is_return(program))
    return kprobe_multi(kernel, program, target or program.spec.attach_to, **options)


def _kprobe_session(kernel, program, target, options):
    from .multi import kprobe_multi
    return kprobe_multi(kernel, program, target or program.spec.attach_to, session=True, **options)


def _uprobe_multi(kernel, program, target, options):
    from .multi import uprobe_multi
    options.setdefault("is_return", _is_return(program))
    session = program.spec.attach_type == _u.BPF_TRACE_UPROBE_SESSION
    return uprobe_multi(kernel, program, target or program.spec.attach_to, session=session, **options)


def _usdt(kernel, program, target, options):
    from .usdt import attach_usdt
    return attach_usdt(kernel, program, target or program.spec.attach_to, **options)


def _tracepoint(kernel, program, target, options):
    from .perf import tracepoint
    text = target or program.spec.attach_to
    category, slash, name = text.replace(":", "/").partition("/")
    if not slash or not name:
        raise InputError("program `%s`: tracepoint `%s`: expected CATEGORY/NAME, as in tracepoint/sched/sched_switch"
                         % (program.name, text))
    return tracepoint(kernel, program, category, name, **options)


def _raw_tracepoint(kernel, program, target, options):
    from .tracing import raw_tracepoint
    return raw_tracepoint(kernel, program, target or program.spec.attach_to, **options)


def _trace(kernel, program, target, options):
    from . import tracing
    if program.spec.type == _u.BPF_PROG_TYPE_EXT:
        return tracing.freplace(kernel, program, target, **options)
    return tracing.trace(kernel, program, **options)


def _tracing_multi(kernel, program, target, options):
    raise NotSupported("fentry.multi programs through lbc (use fentry, or kprobe.multi)")


def _iter(kernel, program, target, options):
    from .tracing import iterator
    return iterator(kernel, program, **options)


def _perf_event(kernel, program, target, options):
    from .perf import perf_event
    if target is None:
        raise InputError("program `%s`: which perf event? give a dictionary of perf_event_attr members" % program.name)
    return perf_event(kernel, program, target, **options)


def _net(function):
    def way(kernel, program, target, options):
        from . import net
        return getattr(net, function)(kernel, program, target, **options)
    return way


def _cgroup(kernel, program, target, options):
    from .cgroup import attach_cgroup
    return attach_cgroup(kernel, program, target, **options)


def _netns(kernel, program, target, options):
    from .netns import attach_netns
    return attach_netns(kernel, program, target, **options)


def _netfilter(kernel, program, target, options):
    from .netns import attach_netfilter
    return attach_netfilter(kernel, program, **options)


_BY_SECTION = {"kprobe": _kprobe, "uprobe": _uprobe, "ksyscall": _ksyscall, "usdt": _usdt, "tracepoint": _tracepoint,
               "raw_tracepoint": _raw_tracepoint, "trace": _trace, "lsm": _trace, "iter": _iter,
               "tracing_multi": _tracing_multi,
               "kprobe_multi": _kprobe_multi, "kprobe_session": _kprobe_session, "uprobe_multi": _uprobe_multi}
_BY_TYPE = {_u.BPF_PROG_TYPE_KPROBE: _kprobe, _u.BPF_PROG_TYPE_TRACEPOINT: _tracepoint,
            _u.BPF_PROG_TYPE_TRACING: _trace, _u.BPF_PROG_TYPE_LSM: _trace, _u.BPF_PROG_TYPE_EXT: _trace,
            _u.BPF_PROG_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
            _u.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: _raw_tracepoint, _u.BPF_PROG_TYPE_PERF_EVENT: _perf_event,
            _u.BPF_PROG_TYPE_XDP: _net("attach_xdp"), _u.BPF_PROG_TYPE_SCHED_CLS: _net("attach_tc"),
            _u.BPF_PROG_TYPE_SOCKET_FILTER: _net("attach_socket"), _u.BPF_PROG_TYPE_SK_REUSEPORT: _net("attach_socket"),
            _u.BPF_PROG_TYPE_SK_SKB: _net("attach_sockmap"), _u.BPF_PROG_TYPE_SK_MSG: _net("attach_sockmap"),
            _u.BPF_PROG_TYPE_FLOW_DISSECTOR: _netns, _u.BPF_PROG_TYPE_SK_LOOKUP: _netns,
            _u.BPF_PROG_TYPE_NETFILTER: _netfilter}
_CGROUP_TYPES = (_u.BPF_PROG_TYPE_CGROUP_SKB, _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                 _u.BPF_PROG_TYPE_CGROUP_SYSCTL, _u.BPF_PROG_TYPE_CGROUP_SOCKOPT, _u.BPF_PROG_TYPE_CGROUP_DEVICE,
                 _u.BPF_PROG_TYPE_SOCK_OPS)
