"""tracefs: where it is, probe events of our own in it, what the kernel says of a refusal, and what killed runs left.

Documentation/trace/ftrace.rst, kprobetrace.rst, uprobetracer.rst.  Every event is in a group, and every instance has a
name, made of this process's ``residue.tag``, so two runs never meet and a killed one is recognised; nothing outside
such groups and instances is touched.  ``kernel`` is a ``kernel_files.KernelFiles``.
"""
from __future__ import absolute_import

import errno
import os
import time

from . import residue
from ._py23 import range, to_bytes, to_text
from .errors import FtraceError, KernelError, NotSupported, PrivilegeError, errno_text

__all__ = ["find_tracefs", "need_tracefs", "event_id", "last_error", "add_event", "define_event", "refusal",
           "ProbeEvent", "remove_event", "Instance", "remove_instance", "sweep"]

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
    """Folder of tracefs.  NotSupported where there is none."""
    root = find_tracefs(kernel)
    if root is None:
        raise NotSupported("tracefs (not mounted at %s, and mounting it failed)" % _PLACES[0])
    return root


def event_id(kernel, group, name):
    """Number of an event for perf.  KernelError (ENOENT) where there is none."""
    return int(kernel.read("%s/events/%s/%s/id" % (need_tracefs(kernel), group, name)))


def last_error(kernel, root):
    """(message, command, column or None) that the kernel wrote last into error_log (5.2); ("", "", None) without it.

    kernel/trace/trace.c, tracing_err_log_show_loc: `[time] loc: error: message`, `  Command: text`, the caret.
    """
    try:
        lines = to_text(kernel.read(root + "/error_log")).rstrip("\n").split("\n")
    except KernelError:
        return "", "", None
    head = "  Command: "
    for number in range(len(lines) - 1, 0, -1):
        if lines[number].startswith(head):
            caret = lines[number + 1].find("^") if number + 1 < len(lines) else -1
            return (lines[number - 1].partition("] ")[2], lines[number][len(head):],
                    caret - len(head) if caret >= len(head) else None)
    return "", "", None


def _event_name(kind, symbol):
    _counter[0] += 1
    plain = "".join(c if c.isalnum() and ord(c) < 128 else "_" for c in symbol)
    return ("%s%d_%s" % (kind, _counter[0], plain))[:MAX_NAME]


def add_event(kernel, user, definition, symbol, is_return, maxactive=0):
    """A new event ``p:group/name definition`` with a name made for ``symbol``: see define_event."""
    kind = ("r%d" % maxactive if maxactive else "r") if is_return else "p"
    return define_event(kernel, user, kind, _event_name(kind[0], symbol), definition)


def define_event(kernel, user, kind, name, definition):
    """A ProbeEvent ``kind:group/name definition`` in our own group, to be closed; at exit at the latest it is.

    FtraceError with what the kernel said where it is refused.
    """
    root = need_tracefs(kernel)
    path = root + ("/uprobe_events" if user else "/kprobe_events")
    if not kernel.exists(path):
        raise NotSupported("uprobe events (CONFIG_UPROBE_EVENTS)" if user else "kprobe events (CONFIG_KPROBE_EVENTS)",
                           "3.5" if user else "2.6.33")
    text = "%s:%s/%s %s" % (kind, residue.tag(), name, definition)
    event = ProbeEvent(kernel, path, residue.tag(), name)
    residue.keep(event)     # before it is there: a signal in between must find it
    try:
        kernel.write(path, to_bytes(text) + b"\n", append=True)
    except KernelError as error:
        residue.forget(event)
        raise refusal(kernel, root, path, text, error)
    return event


def refusal(kernel, root, path, text, error):
    """FtraceError of a refused write, with the kernel's own words and caret where it has an error_log."""
    says, command, column = last_error(kernel, root)
    if text not in command and command not in text:
        says, column = "", None     # an older one, of another write
    if says and column is not None:
        says += "\n    %s\n    %s^" % (command, " " * column)
    if not os.access(path, os.W_OK):
        return PrivilegeError("tracefs refused `%s`: %s" % (text, errno_text(error.errno)), "root", error.call,
                              error.errno, error)
    return FtraceError("tracefs refused `%s`: %s%s" % (text, errno_text(error.errno), ": " + says if says else ""),
                       path, text, says, error.errno, error)


class ProbeEvent(object):
    """A probe event of ours.  ``close()`` removes it; whoever enabled it disables it first."""

    def __init__(self, kernel, path, group, name):
        self.kernel, self.path, self.group, self.name = kernel, path, group, name

    def close(self):
        residue.forget(self)
        remove_event(self.kernel, self.path, self.group, self.name)


def remove_event(kernel, path, group, name, patience=1.0):
    """Delete one event; it stays busy until the kernel has let go of the last perf event on it."""
    _once_free(lambda: kernel.write(path, to_bytes("-:%s/%s\n" % (group, name)), append=True), patience)


def _once_free(remove, patience):
    """Call ``remove()`` until the thing is not busy any more, for ``patience`` seconds; one that is gone is fine."""
    give_up = time.time() + patience
    while True:
        try:
            remove()
            return
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            if error.errno != errno.EBUSY or time.time() > give_up:
                raise
        time.sleep(0.01)


class Instance(object):
    """A tracing instance of our own: its files are at ``path``.  ``close()`` removes it with all that is on in it."""

    def __init__(self, kernel, suffix=""):
        self.kernel, self.path = kernel, "%s/instances/%s%s" % (need_tracefs(kernel), residue.tag(), suffix)
        residue.keep(self)
        try:
            kernel.mkdir(self.path)
        except KernelError as error:
            residue.forget(self)
            raise FtraceError("cannot make the tracing instance %s: %s" % (self.path, errno_text(error.errno)),
                              self.path, "", "", error.errno, error)

    def read(self, name):
        """Bytes of one of its files."""
        return self.kernel.read("%s/%s" % (self.path, name))

    def write(self, name, text, append=False):
        """Write ``text`` into one of its files.  FtraceError with what the kernel said."""
        path = "%s/%s" % (self.path, name)
        try:
            self.kernel.write(path, to_bytes(text), append)
        except KernelError as error:
            raise refusal(self.kernel, need_tracefs(self.kernel), path, text, error)

    def close(self):
        residue.forget(self)
        remove_instance(self.kernel, self.path)


def remove_instance(kernel, path, patience=1.0):
    """Delete an instance; it stays busy while a reader has a file of it open (or is just closing it)."""
    _once_free(lambda: kernel.rmdir(path), patience)


def sweep(kernel):
    """Delete instances and probe events of dead processes of lbc.  Never raises, never mounts."""
    root = find_tracefs(kernel, mount=False)
    if root is None:
        return
    for name in kernel.listdir(root + "/instances"):    # first: an event that is on in one cannot be deleted
        if name.startswith("lbc_") and residue.is_dead("_".join(name.split("_")[:4])):
            try:
                remove_instance(kernel, "%s/instances/%s" % (root, name), 0)
            except KernelError:
                pass
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
