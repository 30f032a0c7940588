"""Arguments marked __arg_ctx: which are given the context's type, in clones that func_info then names."""
from __future__ import absolute_import

import pytest

from lbc.bpf import arg_ctx
from lbc.btf import encode, kinds
from lbc.btf.parse import Btf
from lbc.uapi import bpf as U


def types(target):
    """BTF of `int len(TARGET *ctx __arg_ctx, int n)`; -> (Btf, id of len)."""
    builder = encode.Builder()
    number = builder.add(kinds.Int("int", 4, 1))
    if target == "u64":
        to = builder.add(kinds.Typedef("u64", builder.add(kinds.Int("long", 8, 0))))
    elif target == "bpf_user_pt_regs_t":
        to = builder.add(kinds.Typedef(target, builder.add(kinds.Struct("pt_regs", 0, []))))
    else:
        to = builder.add(kinds.Const(builder.add(kinds.Struct(target, 0, [])))) if target else 0
    pointer = builder.add(kinds.Ptr(to))
    proto = builder.add(kinds.FuncProto(number, [("ctx", pointer), ("n", number)]))
    func = builder.add(kinds.Func("len", proto, 1))
    builder.add(kinds.DeclTag("arg:ctx", func, 0))
    builder.add(kinds.DeclTag("arg:ctx", func, 9))  # damaged: no such argument
    return Btf(builder.bytes()), func


# libbpf need_func_arg_type_fixup
@pytest.mark.parametrize("prog_type, target, context", [
    (U.BPF_PROG_TYPE_SCHED_CLS, None, "__sk_buff"), (U.BPF_PROG_TYPE_SCHED_CLS, "__sk_buff", None),
    (U.BPF_PROG_TYPE_SCHED_CLS, "other", None), (U.BPF_PROG_TYPE_XDP, None, "xdp_md"),
    (U.BPF_PROG_TYPE_KPROBE, "pt_regs", "bpf_user_pt_regs_t"), (U.BPF_PROG_TYPE_KPROBE, "bpf_user_pt_regs_t", None),
    (U.BPF_PROG_TYPE_PERF_EVENT, "pt_regs", "bpf_perf_event_data"),
    (U.BPF_PROG_TYPE_RAW_TRACEPOINT, "u64", "bpf_raw_tracepoint_args"), (U.BPF_PROG_TYPE_KPROBE, "u64", None),
    (U.BPF_PROG_TYPE_TRACING, None, None)])
def test_which_arguments(prog_type, target, context):
    btf, func = types(target)
    found = arg_ctx.rewrite(btf, prog_type, [(0, 77), (4, func)])
    if context is None:
        assert found is None
        return
    raw, rows = found
    new = Btf(raw)
    assert rows[0] == (0, 77) and rows[1][0] == 4 and rows[1][1] >= btf.count
    clone = new.type(rows[1][1])
    proto = new.type(clone.type)
    assert (clone.name, clone.linkage) == ("len", 1) and [name for name, _ in proto.params] == ["ctx", "n"]
    assert new.type(new.type(proto.params[0][1]).type) == kinds.Struct(context, 0, [])
    assert all(new.type(i) == btf.type(i) for i in range(1, btf.count)) and proto.params[1][1] == 1


def test_functions_of_other_programs_stay():
    btf, func = types(None)
    assert arg_ctx.rewrite(btf, U.BPF_PROG_TYPE_XDP, [(0, func + 50)]) is None
