"""lbc: kernel tracing and eBPF in pure Python.

    from lbc import BpfObject, FtraceSession     the names below are imported when first used: ``import lbc`` itself
                                                 costs nothing
"""
from __future__ import absolute_import

from . import _py23

__version__ = "0.1.0"

# name -> module that defines it
_PUBLIC = {"BpfObject": "lbc.bpf.object", "Kernel": "lbc.bpf.syscalls", "Btf": "lbc.btf.parse",
           "open_btf": "lbc.btf.parse",
           "Elf": "lbc.elf.reader", "open_elf": "lbc.elf.reader", "Poller": "lbc.bpf.events",
           "PerfBuffer": "lbc.bpf.events",
           "RingBuffer": "lbc.bpf.events",
           "build": "lbc.compiler", "FtraceSession": "lbc.ftrace.tracing",
           "open_resolver": "lbc.resolvers", "Chain": "lbc.resolvers.base"}
_ERRORS = ("LbcError InputError ExprError FormatError CompileError NotFoundError KernelError NotSupported "
           "PrivilegeError VerifierError "
           "FtraceError RelocError RemoteError").split()
for _name in _ERRORS:
    _PUBLIC[_name] = "lbc.errors"
del _name

__all__ = sorted(_PUBLIC) + ["__version__"]


def _look_up(name):
    if name not in _PUBLIC:
        raise AttributeError("module 'lbc' has no attribute %r" % name)
    import sys
    __import__(_PUBLIC[name])
    value = getattr(sys.modules[_PUBLIC[name]], name)
    setattr(sys.modules[__name__], name, value)
    return value


_py23.lazy_module(__name__, _look_up)
