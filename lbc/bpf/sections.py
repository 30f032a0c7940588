"""ELF section name -> program type, attach type and how to attach: the table of libbpf 1.5 and newer, and its rules.

A program's section is either exactly a name of the table ("xdp", "tc/ingress") or, for names marked ``+``, the name
alone or the name, a slash and the target ("kprobe/vfs_read").  A leading ``?`` means "not loaded unless asked for".
Facts: libbpf src/libbpf.c ``section_defs`` and ``sec_def_matches``; Documentation/bpf/libbpf/program_types.rst.
"""
from __future__ import absolute_import

from ..uapi import bpf as _u

__all__ = ["Section", "SECTIONS", "match", "ATTACH_OPT", "ATTACHABLE", "ATTACHABLE_OPT", "ATTACH_BTF", "SLEEPABLE",
           "XDP_FRAGS", "USDT"]

ATTACH_OPT = 1       # an old kernel may be told attach type 0 (expected_attach_type came in 4.17)
ATTACHABLE = 2       # has an attach type that BPF_PROG_ATTACH takes
ATTACHABLE_OPT = 3
ATTACH_BTF = 4       # the target is a BTF type: attach_btf_id must be filled in before loading
SLEEPABLE = 8        # BPF_F_SLEEPABLE (5.10)
XDP_FRAGS = 16       # BPF_F_XDP_HAS_FRAGS (5.18)
USDT = 32            # user probe found by USDT note


class Section(object):
    """One row.  ``name`` without ``+``; ``target``: a "/target" may follow; ``type``, ``attach_type``: numbers;
    ``flags``: the bits above; ``attach``: which way it is attached by itself ("kprobe", "uprobe", "ksyscall", "usdt",
    "tracepoint", "raw_tracepoint", "trace", "tracing_multi", "kprobe_multi", "kprobe_session", "uprobe_multi", "lsm",
    "iter") or "" where the caller must say where (xdp, tc, cgroup ...)."""

    __slots__ = ("name", "target", "type", "attach_type", "flags", "attach")

    def __init__(self, name, target, type, attach_type, flags, attach):
        self.name, self.target, self.type = name, target, type
        self.attach_type, self.flags, self.attach = attach_type, flags, attach

    @property
    def prog_flags(self):
        """BPF_F_* that this section asks BPF_PROG_LOAD for."""
        return (_u.BPF_F_SLEEPABLE if self.flags & SLEEPABLE else 0) | \
            (_u.BPF_F_XDP_HAS_FRAGS if self.flags & XDP_FRAGS else 0)

    def __repr__(self):
        return "Section(%s%s)" % (self.name, "+" if self.target else "")


# name (with + as libbpf writes it), program type, attach type, flags, attach; order as in libbpf.
_ROWS = (
    ("socket", _u.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0, ""),
    ("sk_reuseport/migrate", _u.BPF_PROG_TYPE_SK_REUSEPORT, _u.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, ATTACHABLE, ""),
    ("sk_reuseport", _u.BPF_PROG_TYPE_SK_REUSEPORT, _u.BPF_SK_REUSEPORT_SELECT, ATTACHABLE, ""),
    ("kprobe+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "kprobe"),
    ("uprobe+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "uprobe"),
    ("uprobe.s+", _u.BPF_PROG_TYPE_KPROBE, 0, SLEEPABLE, "uprobe"),
    ("kretprobe+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "kprobe"),
    ("uretprobe+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "uprobe"),
    ("uretprobe.s+", _u.BPF_PROG_TYPE_KPROBE, 0, SLEEPABLE, "uprobe"),
    ("kprobe.multi+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_KPROBE_MULTI, 0, "kprobe_multi"),
    ("kretprobe.multi+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_KPROBE_MULTI, 0, "kprobe_multi"),
    ("kprobe.session+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_KPROBE_SESSION, 0, "kprobe_session"),
    ("uprobe.multi+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_MULTI, 0, "uprobe_multi"),
    ("uretprobe.multi+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_MULTI, 0, "uprobe_multi"),
    ("uprobe.session+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_SESSION, 0, "uprobe_multi"),
    ("uprobe.multi.s+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_MULTI, SLEEPABLE, "uprobe_multi"),
    ("uretprobe.multi.s+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_MULTI, SLEEPABLE, "uprobe_multi"),
    ("uprobe.session.s+", _u.BPF_PROG_TYPE_KPROBE, _u.BPF_TRACE_UPROBE_SESSION, SLEEPABLE, "uprobe_multi"),
    ("ksyscall+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "ksyscall"),
    ("kretsyscall+", _u.BPF_PROG_TYPE_KPROBE, 0, 0, "ksyscall"),
    ("usdt+", _u.BPF_PROG_TYPE_KPROBE, 0, USDT, "usdt"),
    ("usdt.s+", _u.BPF_PROG_TYPE_KPROBE, 0, USDT | SLEEPABLE, "usdt"),
    ("tc/ingress", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_TCX_INGRESS, 0, ""),
    ("tc/egress", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_TCX_EGRESS, 0, ""),
    ("tcx/ingress", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_TCX_INGRESS, 0, ""),
    ("tcx/egress", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_TCX_EGRESS, 0, ""),
    ("tc", _u.BPF_PROG_TYPE_SCHED_CLS, 0, 0, ""),
    ("classifier", _u.BPF_PROG_TYPE_SCHED_CLS, 0, 0, ""),
    ("action", _u.BPF_PROG_TYPE_SCHED_ACT, 0, 0, ""),
    ("netkit/primary", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_NETKIT_PRIMARY, 0, ""),
    ("netkit/peer", _u.BPF_PROG_TYPE_SCHED_CLS, _u.BPF_NETKIT_PEER, 0, ""),
    ("tracepoint+", _u.BPF_PROG_TYPE_TRACEPOINT, 0, 0, "tracepoint"),
    ("tp+", _u.BPF_PROG_TYPE_TRACEPOINT, 0, 0, "tracepoint"),
    ("tracepoint.s+", _u.BPF_PROG_TYPE_TRACEPOINT, 0, SLEEPABLE, "tracepoint"),
    ("tp.s+", _u.BPF_PROG_TYPE_TRACEPOINT, 0, SLEEPABLE, "tracepoint"),
    ("raw_tracepoint+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, "raw_tracepoint"),
    ("raw_tp+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, "raw_tracepoint"),
    ("raw_tracepoint.s+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, SLEEPABLE, "raw_tracepoint"),
    ("raw_tp.s+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, SLEEPABLE, "raw_tracepoint"),
    ("raw_tracepoint.w+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, 0, "raw_tracepoint"),
    ("raw_tp.w+", _u.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, 0, "raw_tracepoint"),
    ("tp_btf+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_RAW_TP, ATTACH_BTF, "trace"),
    ("tp_btf.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_RAW_TP, ATTACH_BTF | SLEEPABLE, "trace"),
    ("fentry+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FENTRY, ATTACH_BTF, "trace"),
    ("fmod_ret+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_MODIFY_RETURN, ATTACH_BTF, "trace"),
    ("fexit+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FEXIT, ATTACH_BTF, "trace"),
    ("fentry.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FENTRY, ATTACH_BTF | SLEEPABLE, "trace"),
    ("fmod_ret.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_MODIFY_RETURN, ATTACH_BTF | SLEEPABLE, "trace"),
    ("fexit.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FEXIT, ATTACH_BTF | SLEEPABLE, "trace"),
    ("fsession+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FSESSION, ATTACH_BTF, "trace"),
    ("fsession.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FSESSION, ATTACH_BTF | SLEEPABLE, "trace"),
    ("fsession.multi+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FSESSION_MULTI, 0, "tracing_multi"),
    ("fsession.multi.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FSESSION_MULTI, SLEEPABLE, "tracing_multi"),
    ("fentry.multi+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FENTRY_MULTI, 0, "tracing_multi"),
    ("fexit.multi+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FEXIT_MULTI, 0, "tracing_multi"),
    ("fentry.multi.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FENTRY_MULTI, SLEEPABLE, "tracing_multi"),
    ("fexit.multi.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_FEXIT_MULTI, SLEEPABLE, "tracing_multi"),
    ("freplace+", _u.BPF_PROG_TYPE_EXT, 0, ATTACH_BTF, "trace"),
    ("lsm+", _u.BPF_PROG_TYPE_LSM, _u.BPF_LSM_MAC, ATTACH_BTF, "lsm"),
    ("lsm.s+", _u.BPF_PROG_TYPE_LSM, _u.BPF_LSM_MAC, ATTACH_BTF | SLEEPABLE, "lsm"),
    ("lsm_cgroup+", _u.BPF_PROG_TYPE_LSM, _u.BPF_LSM_CGROUP, ATTACH_BTF, ""),
    ("iter+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_ITER, ATTACH_BTF, "iter"),
    ("iter.s+", _u.BPF_PROG_TYPE_TRACING, _u.BPF_TRACE_ITER, ATTACH_BTF | SLEEPABLE, "iter"),
    ("syscall", _u.BPF_PROG_TYPE_SYSCALL, 0, SLEEPABLE, ""),
    ("xdp.frags/devmap", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP_DEVMAP, XDP_FRAGS, ""),
    ("xdp/devmap", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP_DEVMAP, ATTACHABLE, ""),
    ("xdp.frags/cpumap", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP_CPUMAP, XDP_FRAGS, ""),
    ("xdp/cpumap", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP_CPUMAP, ATTACHABLE, ""),
    ("xdp.frags", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP, XDP_FRAGS, ""),
    ("xdp", _u.BPF_PROG_TYPE_XDP, _u.BPF_XDP, ATTACHABLE_OPT, ""),
    ("perf_event", _u.BPF_PROG_TYPE_PERF_EVENT, 0, 0, ""),
    ("lwt_in", _u.BPF_PROG_TYPE_LWT_IN, 0, 0, ""),
    ("lwt_out", _u.BPF_PROG_TYPE_LWT_OUT, 0, 0, ""),
    ("lwt_xmit", _u.BPF_PROG_TYPE_LWT_XMIT, 0, 0, ""),
    ("lwt_seg6local", _u.BPF_PROG_TYPE_LWT_SEG6LOCAL, 0, 0, ""),
    ("sockops", _u.BPF_PROG_TYPE_SOCK_OPS, _u.BPF_CGROUP_SOCK_OPS, ATTACHABLE_OPT, ""),
    ("sk_skb/stream_parser", _u.BPF_PROG_TYPE_SK_SKB, _u.BPF_SK_SKB_STREAM_PARSER, ATTACHABLE_OPT, ""),
    ("sk_skb/stream_verdict", _u.BPF_PROG_TYPE_SK_SKB, _u.BPF_SK_SKB_STREAM_VERDICT, ATTACHABLE_OPT, ""),
    ("sk_skb/verdict", _u.BPF_PROG_TYPE_SK_SKB, _u.BPF_SK_SKB_VERDICT, ATTACHABLE_OPT, ""),
    ("sk_skb", _u.BPF_PROG_TYPE_SK_SKB, 0, 0, ""),
    ("sk_msg", _u.BPF_PROG_TYPE_SK_MSG, _u.BPF_SK_MSG_VERDICT, ATTACHABLE_OPT, ""),
    ("lirc_mode2", _u.BPF_PROG_TYPE_LIRC_MODE2, _u.BPF_LIRC_MODE2, ATTACHABLE_OPT, ""),
    ("flow_dissector", _u.BPF_PROG_TYPE_FLOW_DISSECTOR, _u.BPF_FLOW_DISSECTOR, ATTACHABLE_OPT, ""),
    ("cgroup_skb/ingress", _u.BPF_PROG_TYPE_CGROUP_SKB, _u.BPF_CGROUP_INET_INGRESS, ATTACHABLE_OPT, ""),
    ("cgroup_skb/egress", _u.BPF_PROG_TYPE_CGROUP_SKB, _u.BPF_CGROUP_INET_EGRESS, ATTACHABLE_OPT, ""),
    ("cgroup/skb", _u.BPF_PROG_TYPE_CGROUP_SKB, 0, 0, ""),
    ("cgroup/sock_create", _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_CGROUP_INET_SOCK_CREATE, ATTACHABLE, ""),
    ("cgroup/sock_release", _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_CGROUP_INET_SOCK_RELEASE, ATTACHABLE, ""),
    ("cgroup/sock", _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_CGROUP_INET_SOCK_CREATE, ATTACHABLE_OPT, ""),
    ("cgroup/post_bind4", _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_CGROUP_INET4_POST_BIND, ATTACHABLE, ""),
    ("cgroup/post_bind6", _u.BPF_PROG_TYPE_CGROUP_SOCK, _u.BPF_CGROUP_INET6_POST_BIND, ATTACHABLE, ""),
    ("cgroup/bind4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET4_BIND, ATTACHABLE, ""),
    ("cgroup/bind6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET6_BIND, ATTACHABLE, ""),
    ("cgroup/connect4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET4_CONNECT, ATTACHABLE, ""),
    ("cgroup/connect6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET6_CONNECT, ATTACHABLE, ""),
    ("cgroup/connect_unix", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UNIX_CONNECT, ATTACHABLE, ""),
    ("cgroup/sendmsg4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UDP4_SENDMSG, ATTACHABLE, ""),
    ("cgroup/sendmsg6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UDP6_SENDMSG, ATTACHABLE, ""),
    ("cgroup/sendmsg_unix", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UNIX_SENDMSG, ATTACHABLE, ""),
    ("cgroup/recvmsg4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UDP4_RECVMSG, ATTACHABLE, ""),
    ("cgroup/recvmsg6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UDP6_RECVMSG, ATTACHABLE, ""),
    ("cgroup/recvmsg_unix", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UNIX_RECVMSG, ATTACHABLE, ""),
    ("cgroup/getpeername4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET4_GETPEERNAME, ATTACHABLE, ""),
    ("cgroup/getpeername6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET6_GETPEERNAME, ATTACHABLE, ""),
    ("cgroup/getpeername_unix", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UNIX_GETPEERNAME, ATTACHABLE, ""),
    ("cgroup/getsockname4", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET4_GETSOCKNAME, ATTACHABLE, ""),
    ("cgroup/getsockname6", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_INET6_GETSOCKNAME, ATTACHABLE, ""),
    ("cgroup/getsockname_unix", _u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, _u.BPF_CGROUP_UNIX_GETSOCKNAME, ATTACHABLE, ""),
    ("cgroup/sysctl", _u.BPF_PROG_TYPE_CGROUP_SYSCTL, _u.BPF_CGROUP_SYSCTL, ATTACHABLE, ""),
    ("cgroup/getsockopt", _u.BPF_PROG_TYPE_CGROUP_SOCKOPT, _u.BPF_CGROUP_GETSOCKOPT, ATTACHABLE, ""),
    ("cgroup/setsockopt", _u.BPF_PROG_TYPE_CGROUP_SOCKOPT, _u.BPF_CGROUP_SETSOCKOPT, ATTACHABLE, ""),
    ("cgroup/dev", _u.BPF_PROG_TYPE_CGROUP_DEVICE, _u.BPF_CGROUP_DEVICE, ATTACHABLE_OPT, ""),
    ("struct_ops+", _u.BPF_PROG_TYPE_STRUCT_OPS, 0, 0, ""),
    ("struct_ops.s+", _u.BPF_PROG_TYPE_STRUCT_OPS, 0, SLEEPABLE, ""),
    ("sk_lookup", _u.BPF_PROG_TYPE_SK_LOOKUP, _u.BPF_SK_LOOKUP, ATTACHABLE, ""),
    ("netfilter", _u.BPF_PROG_TYPE_NETFILTER, _u.BPF_NETFILTER, 0, ""),
)

SECTIONS = [Section(name.rstrip("+"), name[-1] == "+", type_, attach_type, flags, attach)
            for name, type_, attach_type, flags, attach in _ROWS]

_BY_NAME = {row.name: row for row in SECTIONS}


def match(name):
    """(Section, target text) of a section name, (None, "") where nothing matches; a leading '?' is skipped."""
    if name[:1] == "?":
        name = name[1:]
    row = _BY_NAME.get(name)
    if row is not None:
        return row, ""
    head, slash, target = name.partition("/")
    if slash:
        row = _BY_NAME.get(head)
        if row is not None and row.target:
            return row, target
    return None, ""
