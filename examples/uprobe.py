"""uprobe: each call of a function of a program or library, and its argument.

    $ python examples/uprobe.py libc:getpgid
                bash-2392    [001] ..... 2375.809655: bpf_trace_printk: called with 0
"""
from __future__ import absolute_import

import sys

import lbc

SOURCE = r"""
#include "lbc.h"

SEC("uprobe")
int BPF_KPROBE(on_call, long argument)
{
    bpf_printk("called with %ld", argument);
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
        sys.exit("uprobe: %s" % error)
