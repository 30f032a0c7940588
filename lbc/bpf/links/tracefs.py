"""Probes by kprobe_events and uprobe_events of tracefs: for kernels without the perf PMUs, for names those refuse, for
maxactive.

Documentation/trace/kprobetrace.rst, uprobetracer.rst.  Every event is in a group named after this process
(``residue.tag``), so two runs never meet and a killed one is recognised; nothing outside such groups is touched.
"""
from __future__ import absolute_import

import errno
import time

from ..._py23 import to_bytes, to_text
from ...errors import FtraceError, KernelError, NotSupported, errno_text
from ...uapi.perf import PERF_TYPE_TRACEPOINT
from . import residue
from .base import Link

__all__ = ["find_tracefs", "event_id", "add_event", "remove_event", "probe", "sweep"]

_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
MAX_NAME = 63   # MAX_EVENT_NAME_LEN - 1, kernel/trace/trace.h
_counter = [0]


def find_tracefs(kernel, mount=True):
    """Folder of tracefs, or None.  Where it is not mounted and ``mount``, it is mounted at its own place (root)."""
    for place in _PLACES:
        if kernel.exists(place + "/events"):
            return place
    try:
        text = kernel.read("/proc/self/mountinfo").decode("utf-8", "replace")
    except KernelError:
        text = ""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("tracefs ") and len(left.split(" ")) > 4:
            return left.split(" ")[4].replace("\\040", " ")
    if mount and kernel.exists(_PLACES[0]):
        try:
            kernel.mount("tracefs", _PLACES[0], "tracefs")
        except KernelError:
            return None
        if kernel.exists(_PLACES[0] + "/events"):
            return _PLACES[0]
    return None


def need_tracefs(kernel):
    root = find_tracefs(kernel)
    if root is None:
        raise NotSupported("tracefs (not mounted at %s, and mounting it failed)" % _PLACES[0])
    return root


def event_id(kernel, group, name):
    """Number of an event for perf.  KernelError (ENOENT) where there is none."""
    return int(kernel.read("%s/events/%s/%s/id" % (need_tracefs(kernel), group, name)))


def error_tail(kernel, root):
    """What the kernel wrote last into error_log (5.2), without its time stamp, or ''."""
    try:
        text = to_text(kernel.read(root + "/error_log"))
    except KernelError:
        return ""
    lines = text.rstrip("\n").split("\n")
    return lines[-3].partition("] ")[2] if len(lines) >= 3 else ""


def _event_name(kind, symbol):
    _counter[0] += 1
    plain = "".join(c if c.isalnum() and ord(c) < 128 else "_" for c in symbol)
    return ("%s%d_%s" % (kind, _counter[0], plain))[:MAX_NAME]


def add_event(kernel, user, definition, symbol, is_return, maxactive=0):
    """A new event ``p:group/name definition``, to be closed; at exit at the latest it is.  FtraceError with what the
    kernel said."""
    root = need_tracefs(kernel)
    path = root + ("/uprobe_events" if user else "/kprobe_events")
    if not kernel.exists(path):
        raise NotSupported("uprobe events" if user else "kprobe events (CONFIG_KPROBE_EVENTS)",
                           "3.5" if user else "2.6.33")
    group, name = residue.tag(), _event_name("r" if is_return else "p", symbol)
    kind = ("r%d" % maxactive if maxactive else "r") if is_return else "p"
    text = "%s:%s/%s %s" % (kind, group, name, definition)
    event = _Event(kernel, path, group, name)
    residue.keep(event)     # before it is there: a signal in between must find it
    try:
        kernel.write(path, to_bytes(text) + b"\n", append=True)
    except KernelError as error:
        residue.forget(event)
        says = error_tail(kernel, root)
        raise FtraceError("tracefs refused `%s`: %s%s" % (text, errno_text(error.errno),
                                                          " (%s)" % says if says else ""),
                          path, text, says, error.errno, error)
    return event


class _Event(object):
    """A probe event without a link on it."""

    def __init__(self, kernel, path, group, name):
        self.kernel, self.path, self.group, self.name = kernel, path, group, name

    def close(self):
        residue.forget(self)
        remove_event(self.kernel, self.path, self.group, self.name)


def remove_event(kernel, path, group, name, patience=1.0):
    """Delete one event; it stays busy until the kernel has let go of the last perf event on it."""
    give_up = time.time() + patience
    while True:
        try:
            kernel.write(path, to_bytes("-:%s/%s\n" % (group, name)), append=True)
            return
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            if error.errno != errno.EBUSY or time.time() > give_up:
                raise
        time.sleep(0.01)


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


def sweep(kernel):
    """Delete probe events of dead processes of lbc.  Never raises, never mounts."""
    root = find_tracefs(kernel, mount=False)
    if root is None:
        return
    for name in ("kprobe_events", "uprobe_events"):
        path = "%s/%s" % (root, name)
        try:
            lines = to_text(kernel.read(path)).splitlines()
        except KernelError:
            continue
        for line in lines:
            group, slash, event = line.split(" ")[0].partition(":")[2].partition("/")
            if slash and group.startswith("lbc_") and residue.is_dead(group):
                try:
                    remove_event(kernel, path, group, event, 0)
                except KernelError:
                    pass
