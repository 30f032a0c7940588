"""java_probe: each call of a compiled Java method, and its first argument (a method that is not static: its second).

    $ jcmd 71236 Compiler.perfmap           (JDK 17: writes the names of what is compiled)
    $ python examples/java_probe.py 71236 "Ltest;::square_test"
                java-71237   [002] d....  2375.809655: bpf_trace_printk: java function probe. arg1: 99
"""
from __future__ import absolute_import

import sys

import lbc
from lbc import java

SOURCE = r"""
#include "lbc.h"

SEC("perf_event")
int on_call(struct bpf_perf_event_data *ctx)
{
    bpf_printk("java function probe. arg1: %d", ctx->regs.si);
    return 0;
}
char _license[] SEC("license") = "GPL";
"""

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.printk()
            java.attach(obj.programs.on_call, int(sys.argv[1]), sys.argv[2])
            obj.trace_print()
    except lbc.LbcError as error:
        sys.exit("java_probe: %s" % error)
