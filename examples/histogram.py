"""histogram: microseconds between two switches of a CPU, counted in the kernel by powers of two; Ctrl-C ends it.

    [64,128)    812 |@@@@@@@@@@@@@@@@@                      |
"""
from __future__ import absolute_import

import signal
import sys

import lbc
from lbc.render.hist import log2_lines

SOURCE = r"""
#include "lbc.h"
LBC_HIST2(us);
LBC_PERCPU_ARRAY(last, u32, u64, 1);

SEC("tracepoint/sched/sched_switch")
int on_switch(void *ctx)
{
    u64 *before, now = bpf_ktime_get_ns();
    u32 zero = 0;

    before = bpf_map_lookup_elem(&last, &zero);
    if (before) {
        hist2_push(&us, *before ? (now - *before) / 1000 : 0);
        *before = now;
    }
    return 0;
}
char _license[] SEC("license") = "GPL";
"""

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.attach()
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.pause()
            print("\n".join(log2_lines(list(obj.maps.us.values()))))
    except lbc.LbcError as error:
        sys.exit("histogram: %s" % error)
