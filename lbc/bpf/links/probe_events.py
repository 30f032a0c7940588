"""Links through probe events of tracefs: for kernels without the perf PMUs, for names those refuse, for maxactive."""
from __future__ import absolute_import

from ... import residue
from ...errors import KernelError
from ...tracefs import add_event, event_id
from ...uapi.perf import PERF_TYPE_TRACEPOINT
from .base import Link

__all__ = ["probe"]


class EventLink(Link):
    """Link of a probe event of our own making; the event goes when the link is closed or the process ends."""

    def close(self):
        residue.forget(self)
        Link.close(self)


def probe(kernel, program, attach_perf, user, definition, symbol, is_return, maxactive=0, pid=-1, cookie=0,
          ref_text=""):
    """Link through a probe event.  ``attach_perf``: perf.attach_event, handed in so that imports point one way."""
    event = add_event(kernel, user, definition + ref_text, symbol, is_return, maxactive)
    try:
        number = event_id(kernel, event.group, event.name)
        inner = attach_perf(kernel, program, PERF_TYPE_TRACEPOINT, number, pid=pid, cookie=cookie)
    except BaseException:
        try:
            event.close()
        except KernelError:     # the reason is what counts; swept at the next start
            pass
        raise
    fd, fds = inner.fd, inner._fds  # one owner for both: take them over
    link = EventLink(kernel, fd, "tracefs event %s/%s (%s)" % (event.group, event.name, inner.detail),
                     inner.is_bpf_link, [event.close], program, fds)
    residue.keep(link)
    residue.forget(event)
    return link
