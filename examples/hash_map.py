"""hash_map: the kernel counts in a hash map, Python reads it: how many tasks each process began.

    $ python examples/hash_map.py           (Ctrl-C ends it)
    {2392: 12, 1: 3}
"""
from __future__ import absolute_import

import signal
import sys

import lbc

SOURCE = r"""
#include "lbc.h"
LBC_HASH(pid_cnt, u32, u32, 1024);

SEC("kprobe/wake_up_new_task")
int on_new_task(struct pt_regs *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u32 *pcnt = bpf_map_lookup_elem(&pid_cnt, &pid);
    u32 cnt = pcnt ? *pcnt + 1 : 1;

    bpf_map_update_elem(&pid_cnt, &pid, &cnt, BPF_ANY);
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
            print(dict(obj.maps.pid_cnt.items()))
    except lbc.LbcError as error:
        sys.exit("hash_map: %s" % error)
