"""From expressions to a running session: what `lbc.FtraceSession` and the surftrace command are made of.

    with FtraceSession(["p wake_up_new_task comm=%0->comm"]) as session:
        session.start()
        for event in session.run(duration=5):
            print(event.task, event.args["comm"])
"""
from __future__ import absolute_import

from .. import host
from .._py23 import monotonic
from ..errors import FtraceError
from .planner import MAX_PROBES, make_plan, make_planner
from .session import Session, threads_of

__all__ = ["FtraceSession", "planned_session"]


class FtraceSession(Session):
    """A Session made of ``expressions``.

    ``resolver``: a resolvers.base.Resolver, or the name of a type source ("auto", "btf", "db" ...); ``stack``,
    ``ustack``: with stacks; ``pid``: only this process, its threads and what they start; ``comm``: only tasks of that
    name; ``buffer_kb``: kB per CPU; ``clock``: of trace_clock; ``max_probes``: limit of a wildcard; ``parsed``: events
    (lines.Event) rather than text lines; ``echo``: f(text) of the equivalent shell lines.  Needs root and tracefs.
    Raises ExprError with a caret, NotFoundError with near names, FtraceError with the kernel's words, PrivilegeError.
    """

    def __init__(self, expressions, resolver="auto", stack=False, ustack=False, pid=None, comm=None, buffer_kb=None,
                 clock=None, max_probes=MAX_PROBES, parsed=True, echo=None, files=None, planner=None, **options):
        if planner is None:
            planner = make_planner(as_resolver(resolver), "", pid, max_probes, files=files)
        plan = make_plan(planner, expressions, stack, ustack, comm, buffer_kb, clock)
        pids = threads_of(pid) if pid else options.pop("pids", ())
        Session.__init__(self, plan, echo=echo, pids=pids, parsed=parsed, user_symbols=ustack,
                         **dict(_of_planner(planner), **options))

    def run(self, duration=None, step_ms=200):
        """Yields what comes, for ``duration`` seconds (None: for ever); then what is left."""
        end = None if duration is None else monotonic() + duration
        while True:
            wait = step_ms
            if end is not None:
                left = end - monotonic()
                if left <= 0:
                    break
                wait = min(step_ms, max(1, int(left * 1000)))
            for one in self.poll(wait):
                yield one
        for one in self.drain():
            yield one


def planned_session(planner, plan, **options):
    """Session of a plan that ``planner`` made; ``options``: as of Session."""
    return Session(plan, **dict(_of_planner(planner), **options))


def _of_planner(planner):
    """What a Session takes from the planner: the kernel, its reasons for refusals, names of enumerators."""
    return {"files": planner.files, "explain": _explainer(planner), "enumerator": planner.types.enumerator}


def _explainer(planner):
    """f(Entry, FtraceError) -> LbcError: the reason behind the kernel's refusal of a kernel probe; others as they
    are."""
    def explain(entry, error):
        probe = entry.compiled.probe
        if probe.kind not in "pr" or not isinstance(error, FtraceError) or not error.path.endswith("kprobe_events"):
            return error
        from . import kernel_places
        return kernel_places.explain(probe.symbol, planner.files, planner.root, error.errno, error.kernel_says,
                                     error.path, error.text, probe.is_return, planner.types, planner.vmlinux,
                                     planner.release)
    return explain


def as_resolver(resolver):
    """A resolver, or the one that a mode's name stands for."""
    if isinstance(resolver, str):
        from ..resolvers import open_resolver
        return open_resolver(resolver, host.release())
    return resolver
