"""code_separate: the BPF half stands in a file of its own, independ.bpf.c beside this one.

    $ python examples/code_separate.py
    current pid: 2392, comm: bash. new task pid: 2401, comm: bash
"""
from __future__ import absolute_import

import os
import sys

import lbc

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "independ.bpf.c")


def show(cpu, e):
    print("current pid: %d, comm: %s. new task pid: %d, comm: %s" % (e.c_pid, e.c_comm, e.p_pid, e.p_comm))


if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE)).load() as obj:
            obj.events("e_out", show)
            obj.attach()
            obj.run()
    except lbc.LbcError as error:
        sys.exit("code_separate: %s" % error)
