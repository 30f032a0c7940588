"""What killed processes left behind is undone at the next start: in tracefs, and what their journals name."""
from __future__ import absolute_import

from ... import residue, tracefs

__all__ = ["sweep"]

_swept = [None]


def sweep(kernel, again=False):
    """Undo what dead processes of lbc left behind; once per process and kernel.  Never raises."""
    if _swept[0] is kernel and not again:
        return
    _swept[0] = kernel
    tracefs.sweep(kernel)
    if residue.has_journals():
        from . import cgroup, netlink, netns  # noqa: F401  they fill residue.SWEEPERS
        residue.undo_journals(kernel)
