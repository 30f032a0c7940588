"""hello: a BPF program in a string; it prints the pid of each new task.

    $ python examples/hello.py
                bash-2392    [001] d..1.  2375.809655: bpf_trace_printk: hello lbc, new task: 2401
"""
from __future__ import absolute_import

import sys

import lbc

SOURCE = r"""
#include "lbc.h"

SEC("kprobe/wake_up_new_task")
int BPF_KPROBE(on_new_task, struct task_struct *task)
{
    bpf_printk("hello lbc, new task: %d\n", _(task->tgid));
    return 0;
}

char _license[] SEC("license") = "GPL";
"""


def main():
    with lbc.BpfObject(lbc.build(SOURCE)) as obj:
        obj.load()
        obj.printk()        # what is printed from now on is kept
        obj.attach()
        obj.trace_print()   # only what this program prints, until Ctrl-C


if __name__ == "__main__":
    try:
        main()
    except lbc.LbcError as error:
        sys.exit("hello: %s" % error)
