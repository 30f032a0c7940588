"""attach: a program goes where Python says, not where its section says.

    $ python examples/attach.py wake_up_new_task
                bash-2392    [001] d..1.  2375.809655: bpf_trace_printk: called, pid 2392
"""
from __future__ import absolute_import

import sys

import lbc

SOURCE = r"""
#include "lbc.h"

SEC("kprobe")
int on_call(struct pt_regs *ctx)
{
    bpf_printk("called, pid %d", bpf_get_current_pid_tgid() >> 32);
    return 0;
}
char _license[] SEC("license") = "GPL";
"""

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.printk()
            obj.programs.on_call.attach(sys.argv[1])
            obj.trace_print()
    except lbc.LbcError as error:
        sys.exit("attach: %s" % error)
