"""What this kernel's probe events take: read from the text that tracefs itself gives (`README`), as perf probe does.

Versions lie where distributions backport; kernel/trace/trace.c keeps the text beside the parser it describes.
"""
from __future__ import absolute_import

from ..expr.probe import Limits

__all__ = ["read_features"]

# feature of expr.probe.FEATURES -> what the README says where the kernel has it
_MARKS = (
    ("x-types", "x8/16/32/64"),
    ("arrays", "\\[<array-size>\\]"),
    ("string-array", "\\[<array-size>\\]"),
    ("ustring", "ustring"),
    ("user-read", "+|-[u]<offset>"),
    ("symbol-type", "string, symbol,"),
    ("ret-args", "kernel return probes support: $retval, $arg<N>"),
    ("filter-function", "f[:[<group>/]"),   # fprobe events (6.5) came two versions after it
)
_LONG_ARGS = "(structname[,field])"     # kernels with it take 255 characters, but no more than 8 loads in each other


def read_features(files, root):
    """(frozenset of features, expr.probe.Limits) of the kernel whose tracefs is at ``root``."""
    text = files.read(root + "/README").decode("utf-8", "replace")
    found = [name for name, mark in _MARKS if mark in text]
    found.append("filter-ustring")      # 5.18, and in the stable versions of all before that are still kept
    return frozenset(found), Limits(255, 8) if _LONG_ARGS in text else Limits()
