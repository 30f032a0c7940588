"""dynamic_var: a constant of the program is set from the command line; the verifier then drops what cannot happen.

    $ python examples/dynamic_var.py 2392
    pid 2392 begins 2401
"""
from __future__ import absolute_import, print_function

import sys

import lbc

SOURCE = r"""
#include "lbc.h"
const volatile u32 filter_pid;
struct data_t { u32 parent, child; };
LBC_PERF_OUTPUT(e_out, struct data_t, 128);

SEC("kprobe/wake_up_new_task")
int BPF_KPROBE(on_new_task, struct task_struct *task)
{
    struct data_t data = { .parent = bpf_get_current_pid_tgid() >> 32, .child = BPF_CORE_READ(task, pid) };
    if (filter_pid && data.parent != filter_pid)
        return 0;
    bpf_perf_event_output(ctx, &e_out, BPF_F_CURRENT_CPU, &data, sizeof(data));
    return 0;
}
char _license[] SEC("license") = "GPL";
"""

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)) as obj:
            obj.globals.filter_pid = int(sys.argv[1]) if len(sys.argv) > 1 else 0
            obj.load()
            obj.events("e_out", lambda cpu, e: print("pid %d begins %d" % (e.parent, e.child)))
            obj.attach()
            obj.run()
    except lbc.LbcError as error:
        sys.exit("dynamic_var: %s" % error)
