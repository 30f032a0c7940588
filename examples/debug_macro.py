"""debug_macro: lbc_debug() prints only in an object that was built with -DLBC_DEBUG; so go other flags.

    $ python examples/debug_macro.py
                bash-2392    [001] d..1.  2375.809655: bpf_trace_printk: new task 2401
"""
from __future__ import absolute_import

import os
import sys

import lbc

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "independ.bpf.c")

if __name__ == "__main__":
    try:
        with lbc.BpfObject(lbc.build(SOURCE, flags="-DLBC_DEBUG")).load() as obj:
            obj.printk()
            obj.attach()
            obj.trace_print()
    except lbc.LbcError as error:
        sys.exit("debug_macro: %s" % error)
