"""call_stack: where in the kernel a new task is woken: `bash:` and lines of `wake_up_new_task+0x0`, innermost first."""
from __future__ import absolute_import, print_function

import sys

import lbc

SOURCE = r"""
#include "lbc.h"
struct data_t { char comm[16]; s64 stack_id; };
LBC_PERF_OUTPUT(e_out, struct data_t, 128);
LBC_STACK(call_stack, 32);

SEC("kprobe/wake_up_new_task")
int on_new_task(struct pt_regs *ctx)
{
    struct data_t data = { .stack_id = bpf_get_stackid(ctx, &call_stack, KERN_STACKID_FLAGS) };
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    bpf_perf_event_output(ctx, &e_out, BPF_F_CURRENT_CPU, &data, sizeof(data));
    return 0;
}
char _license[] SEC("license") = "GPL";
"""


def show(cpu, e):
    print("\n    ".join([e.comm + ":"] + [str(frame) for frame in obj.maps.call_stack.frames(e.stack_id)]))


if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.events("e_out", show)
            obj.attach()
            obj.run()
    except lbc.LbcError as error:
        sys.exit("call_stack: %s" % error)
