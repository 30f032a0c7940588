"""What the live tests of surftrace share: a session around a piece of work, and who did the work."""
from __future__ import absolute_import

import os
import time

from lbc._py23 import monotonic
from lbc.errors import FtraceError, NotFoundError
from lbc.ftrace.tracing import FtraceSession
from lbc.kernel_files import KernelFiles
from lbc.resolvers import open_resolver

from . import need_kprobes, skip

FILES = KernelFiles()
_types = []


def types():
    """One resolver for all tests: opening the kernel's BTF is slow under emulation.  To be called in setup_module, so
    that the file it keeps open is not taken for one that a test left."""
    if not _types:
        _types.append(open_resolver("btf"))
        _types[0].functions("wake_up_new_task")
    return _types[0]


def traced(expressions, work, wanted=1, seconds=8.0, **options):
    """[Event] of ``expressions`` while ``work()`` ran: at least ``wanted`` of our own process and its children, waited
    for up to ``seconds``; all that came is returned."""
    found = []
    with FtraceSession(expressions, types(), **options) as session:
        session.start()
        work()
        end = monotonic() + seconds
        while len(found) < wanted and monotonic() < end:
            found += session.poll(100)
        found += session.drain()
        session.count()
    return found


def mine(events, pid=None):
    """Those of this thread, or of ``pid``."""
    return [event for event in events if event.pid == (os.getpid() if pid is None else pid)]


def one(events, name="f0"):
    """The only event of that name that this thread caused."""
    found = [event for event in mine(events) if event.name == name]
    assert len(found) == 1, [event.text for event in events]
    return found[0]


def fork():
    """A child that ends at once; its pid."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def comm():
    """Name of this task, as the kernel has it."""
    with open("/proc/self/comm") as f:
        return f.read().rstrip("\n")


def need_function(name, *others):
    """The first of these functions that this kernel can probe; skips, with what lbc says, when there is none."""
    need_kprobes()
    for candidate in (name,) + others:
        try:
            with FtraceSession(["p " + candidate], types()) as session:
                session.start()
            return candidate
        except (NotFoundError, FtraceError) as error:
            reason = str(error).split("\n")[0]
    return skip(reason)


def wait_until(condition, seconds=10.0):
    """Whether ``condition()`` came true in time."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        time.sleep(0.02)
    return True
