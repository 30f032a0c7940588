"""Random expressions compiled for one kernel and packed into few probe events: what
tests/live/test_surftrace_generated.py
writes into that kernel's kprobe_events.  tests/lab/matrix.py prepares the 10,000 of each kernel where Python is quick.
"""
from __future__ import absolute_import

import json
import os

from lbc.errors import LbcError
from lbc.expr import probe as _probe
from lbc.ftrace.features import read_features
from lbc.resolvers.btf import BtfResolver
from lbc.uapi.arch import ARCHES

from . import exprgen

COUNT, SEED = 10000, 20
PACK = 60           # variables of one event
FILTERED = 60       # so many keep an event of their own, for their filters
# Of all kernels of the lab; none is so hot that a probe on it for a moment would matter.
FUNCTIONS = """wake_up_new_task do_exit vfs_read vfs_write vfs_fsync vfs_open vfs_create vfs_unlink vfs_mkdir vfs_rename
    vfs_getattr vfs_statx do_filp_open filp_close path_lookupat security_file_open security_inode_create ip_rcv
    tcp_v4_rcv
    tcp_sendmsg tcp_recvmsg udp_sendmsg udp_recvmsg tcp_connect tcp_close ip_output kfree_skb_partial __alloc_skb
    dev_queue_xmit
    sock_sendmsg sk_alloc submit_bio blk_mq_submit_bio generic_file_read_iter generic_file_write_iter filemap_fault
    handle_mm_fault do_mmap __do_munmap copy_process kernel_clone proc_pid_status seq_read icmp_rcv
    tcp_set_state inet_csk_accept unix_stream_sendmsg pipe_write pipe_read do_wait kill_pid_info""".split()


class Readme(object):
    """Stands where KernelFiles does: gives one text as tracefs's README."""

    def __init__(self, path):
        self.path = path

    def read(self, path):
        assert path.endswith("/README")
        with open(self.path, "rb") as f:
            return f.read()


def compile_all(resolver, features, count=COUNT, seed=SEED, known=None):
    """{"events": [definition behind the name], "filters": [(definition, filter)], "refused": n, "taken": n}.

    ``known``: functions that can be probed; each definition is "p FUNCTION v0=... v1=..." """
    functions = [found for name in FUNCTIONS if known is None or name in known for found in resolver.functions(name)[
                                                                                                               :1]]
    target = _probe.Target(ARCHES["x86_64"], False, None, features[1], features[0])
    packs, events, filters, refused, taken = {}, [], [], 0, 0
    for text in exprgen.expressions(resolver, functions, count, seed):
        try:
            probe = _probe.parse(text)
            if probe.user or probe.kind == "e":
                continue
            found = resolver.functions(probe.symbol.name)
            if not found or probe.symbol.name not in FUNCTIONS or probe.symbol.offset or probe.symbol.module:
                refused += 1
                continue
            compiled = _probe.compile_probe(probe, "f0", found[0], resolver, target)
            definition = compiled.definition(probe.symbol.name)
        except LbcError:
            refused += 1
            continue
        taken += 1
        if compiled.filter and len(filters) < FILTERED:
            filters.append((definition.partition(":f0 ")[2], compiled.filter, probe.kind, text))
            continue
        pack = packs.setdefault((probe.kind, probe.symbol.name), [[], 0, 0])
        stored = sum(one.stored for one in compiled.fetches)
        length = sum(len(spelled) + 8 for _, spelled in compiled.fetch)
        if len(pack[0]) + len(compiled.fetch) > PACK or pack[1] + stored > 2500 or pack[2] + length > 3500:
            events.append(_event(probe.kind, probe.symbol.name, pack[0]))
            pack[:] = [[], 0, 0]
        pack[0] += [(spelled, text) for _, spelled in compiled.fetch]
        pack[1] += stored
        pack[2] += length
    events += [_event(kind, name, pack[0]) for (kind, name), pack in sorted(packs.items()) if pack[0]]
    return {"events": events, "filters": filters, "refused": refused, "taken": taken}


def _event(kind, name, rows):
    return [kind, "%s %s" % (name, " ".join("v%d=%s" % (n, row[0]) for n, row in enumerate(rows))),
            [row[1] for row in rows]]


def prepare(btf, readme, path, count=COUNT):
    """Writes the JSON file ``path`` for the kernel whose BTF and README are given."""
    with BtfResolver(btf) as resolver:
        found = compile_all(resolver, read_features(Readme(readme), ""), count)
    with open(path, "w") as f:
        json.dump(found, f)
    return found


def read(path):
    """What prepare wrote, or None."""
    if not path or not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)
