"""Arguments marked ``__arg_ctx`` (declaration tag "arg:ctx") of global functions, for kernels before 6.8.

They know the context of a program only by the name of the struct that the argument points to.  So functions whose
tagged argument points elsewhere are cloned with the right type, and func_info names the clone: what libbpf does
(bpf_program_fixup_func_info).  Only asked for once the kernel has refused a program.
"""
from __future__ import absolute_import

from .._py23 import range
from ..btf import encode, kinds
from ..uapi import bpf as U
from ..uapi import btf as B

__all__ = ["rewrite"]

TAG = "arg:ctx"
_SKB = ("SOCKET_FILTER SCHED_CLS SCHED_ACT CGROUP_SKB LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL SK_SKB FLOW_DISSECTOR")
_NAMES = (("__sk_buff", _SKB), ("bpf_user_pt_regs_t", "KPROBE"), ("bpf_perf_event_data", "PERF_EVENT"),
          ("bpf_raw_tracepoint_args", "RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE"), ("xdp_md", "XDP"),
          ("bpf_sock", "CGROUP_SOCK"), ("bpf_sock_addr", "CGROUP_SOCK_ADDR"), ("bpf_sock_ops", "SOCK_OPS"),
          ("bpf_cgroup_dev_ctx", "CGROUP_DEVICE"), ("bpf_sockopt", "CGROUP_SOCKOPT"), ("bpf_sysctl", "CGROUP_SYSCTL"),
          ("bpf_nf_ctx", "NETFILTER"), ("bpf_sk_lookup", "SK_LOOKUP"), ("sk_msg_md", "SK_MSG"),
          ("sk_reuseport_md", "SK_REUSEPORT"))
_CONTEXTS = {getattr(U, "BPF_PROG_TYPE_" + short): name for name, types in _NAMES for short in types.split()}


def rewrite(btf, prog_type, func_info):
    """(raw BTF with clones at its end, func_info with their ids), or None where there is nothing to change."""
    context = _CONTEXTS.get(prog_type)
    if context is None or (TAG + "\0").encode() not in bytes(btf.raw):
        return None
    used, wanted = set(row[1] for row in func_info), {}  # {function id: set of argument indexes}
    for number in range(1, btf.count):
        if btf.kind_of(number) != B.BTF_KIND_DECL_TAG:
            continue
        tag = btf.type(number)
        if tag.name == TAG and tag.component >= 0 and tag.type in used and _differs(btf, tag, prog_type, context):
            wanted.setdefault(tag.type, set()).add(tag.component)
    if not wanted:
        return None
    struct, pointer = btf.count, btf.count + 1
    append, clones = [kinds.Struct(context, 0, []), kinds.Ptr(struct)], {}
    for number, indexes in wanted.items():
        func = btf.type(number)
        proto = btf.type(func.type)
        params = [(name, pointer if index in indexes else type_id)
                  for index, (name, type_id) in enumerate(proto.params)]
        clones[number] = btf.count + len(append) + 1
        append += [kinds.FuncProto(proto.ret, params), kinds.Func(func.name, btf.count + len(append), func.linkage)]
    return encode.encode(btf, {}, append), [(row[0], clones.get(row[1], row[1])) + tuple(row[2:]) for row in func_info]


def _differs(btf, tag, prog_type, context):
    """Is the tagged argument one that the kernel would not take for the context, and libbpf for one it may be?"""
    func = btf.type(tag.type)
    proto = btf.type(func.type) if func.kind == B.BTF_KIND_FUNC else None
    if proto is None or proto.kind != B.BTF_KIND_FUNC_PROTO or tag.component >= len(proto.params):
        return False
    argument = btf.type(btf.resolve(proto.params[tag.component][1]))
    if argument.kind != B.BTF_KIND_PTR:
        return False
    if btf.type(btf.skip_mods(argument.type)).name == context:  # bpf_user_pt_regs_t is a typedef
        return False
    target = btf.type(btf.resolve(argument.type))
    if target.kind == B.BTF_KIND_UNKN:
        return True  # void *
    if prog_type in (U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_PERF_EVENT):
        return target.kind == B.BTF_KIND_STRUCT and target.name == "pt_regs"
    if prog_type in (U.BPF_PROG_TYPE_RAW_TRACEPOINT, U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE):
        return target.kind == B.BTF_KIND_INT and target.size == 8
    return False
