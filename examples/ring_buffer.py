"""ring_buffer: as event_out through a BPF ring buffer (kernel 5.8): one for all CPUs, records in order.

    $ python examples/ring_buffer.py
    bash begins 2401
"""
from __future__ import absolute_import, print_function

import sys

import lbc

SOURCE = r"""
#include "lbc.h"
struct data_t { u32 pid; char comm[16]; };
LBC_RINGBUF_OUTPUT(e_out, struct data_t, 256 * 1024);

SEC("tracepoint/sched/sched_process_fork")
int on_fork(struct trace_event_raw_sched_process_fork *ctx)
{
    struct data_t *data = bpf_ringbuf_reserve(&e_out, sizeof(*data), 0);
    if (!data)
        return 0;
    data->pid = ctx->child_pid;
    bpf_get_current_comm(&data->comm, sizeof(data->comm));
    bpf_ringbuf_submit(data, 0);
    return 0;
}
char _license[] SEC("license") = "GPL";
"""

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.events("e_out", lambda cpu, e: print("%s begins %d" % (e.comm, e.pid)))
            obj.attach()
            obj.run()
    except lbc.LbcError as error:
        sys.exit("ring_buffer: %s" % error)
