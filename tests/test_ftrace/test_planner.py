"""Expressions to plans on a tracefs made of files: which events, which names, which filters, and what is refused."""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError, InputError, KernelError, NotFoundError
from lbc.ftrace import features
from lbc.ftrace.planner import Planner, make_plan, split_lines
from lbc.resolvers.base import Resolver

README = """tracing mini-HOWTO:
\t     type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,
\t           b<bit-width>@<bit-offset>/<container-size>, ustring,
\t           <type>\\[<array-size>\\]
\t           +|-[u]<offset>(<fetcharg>)
"""
SWITCH = """name: sched_switch
ID: 316
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:1;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;

print fmt: "prev_comm=%s prev_pid=%d", REC->prev_comm, REC->prev_pid
"""


class Files(object):
    """A tracefs with three events."""
    events = {"sched": {"sched_switch": SWITCH, "sched_wakeup": SWITCH.replace("switch", "wakeup")},
              "irq": {"softirq_entry": SWITCH.replace("sched_switch", "softirq_entry")}, "lbc_1_2_3": {"f0": SWITCH}}

    def read(self, path):
        parts = path.split("/")
        if parts[-1] == "README":
            return README.encode()
        try:
            return self.events[parts[-3]][parts[-2]].encode()
        except (KeyError, IndexError):
            raise KernelError("read %s: ENOENT" % path, "read", 2)

    def exists(self, path):
        return path == "/t/events"

    def listdir(self, path):
        if path == "/t/events":
            return sorted(self.events) + ["enable", "header_page"]
        return sorted(self.events.get(path.split("/")[-1], {})) + ["enable", "filter"]


def planner(**options):
    return Planner(Files(), "/t", Resolver(), "x86_64", **options)


def test_event():
    entry, = planner().entries(['e sched/sched_switch f:prev_comm=="a b"&&prev_pid>3'])
    assert (entry.system, entry.name, entry.control) == ("sched", "sched_switch", "")
    assert entry.condition == 'prev_comm=="a b"&&prev_pid>3'


def test_events_by_wildcard():
    found = planner().entries(["e sched/*", "e *irq/soft*"])
    assert [(entry.system, entry.name) for entry in found] == [("sched", "sched_switch"), ("sched", "sched_wakeup"),
                                                               ("irq", "softirq_entry")]
    # sessions' own groups are no events of the kernel
    assert not [entry for entry in planner().entries(["e */*"]) if entry.system.startswith("lbc_")]
    with pytest.raises(InputError) as error:
        planner(max_probes=1).entries(["e sched/*"])
    assert "matches 2 events" in str(error.value) and "--max-probes 2" in str(error.value)
    with pytest.raises(NotFoundError):
        planner().entries(["e net/*"])


@pytest.mark.parametrize("text, words", [("e sched/sched_swich", "did you mean `sched/sched_switch`"),
                                         ("e shed/foo", "`sched/...`"), ("e net/sched_wakeup", "`sched/sched_wakeup`")])
def test_events_that_are_not_there(text, words):
    with pytest.raises(NotFoundError) as error:
        planner().entries([text])
    assert words in str(error.value)


def test_filters_are_checked():
    with pytest.raises(ExprError) as error:
        planner().entries(["e sched/sched_switch f:prev_com==1"])
    assert "prev_comm" in str(error.value)


def test_only_one_name():
    plan = make_plan(planner(), ["e sched/sched_switch f:prev_pid==1||prev_pid==2", "e sched/sched_wakeup"], comm="a b")
    assert [entry.condition for entry in plan.entries] == ['(prev_pid==1||prev_pid==2)&&COMM=="a b"', 'COMM=="a b"']
    assert make_plan(planner(), ["e sched/sched_wakeup"], comm='q"').entries[0].condition == "COMM=='q\"'"
    for comm in ("0123456789abcdef", "'\""):
        with pytest.raises(InputError):
            make_plan(planner(), ["e sched/sched_wakeup"], comm=comm)


def test_settings():
    plan = make_plan(planner(), ["e sched/sched_wakeup"], buffer_kb=64, clock="mono")
    assert plan.settings == [("buffer_size_kb", "64"), ("trace_clock", "mono")]


def test_without_a_tracefs():
    """Another machine's expressions are only shown: the place is as it is written."""
    entry, = Planner(Files(), None, Resolver(), "aarch64").entries(["p mod:f+0x10 a=%x0"])
    assert entry.compiled.definition(entry.place) == "p:f0 mod:f+0x10 a=%x0:u64"
    with pytest.raises(InputError):
        Planner(Files(), None, Resolver()).entries(["e sched/sched_switch"])
    with pytest.raises(NotFoundError):
        Planner(Files(), None, Resolver(), "sparc")


def test_nothing():
    with pytest.raises(InputError):
        planner().entries([])


def test_lines_of_a_file():
    assert split_lines("# a\n\n p f \n#p g\ne x/y f:a=='#'\n") == ["p f", "e x/y f:a=='#'"]


def test_features():
    found, limits = features.read_features(Files(), "/t")
    assert {"x-types", "arrays", "ustring", "user-read", "symbol-type"} <= found and "ret-args" not in found
    assert (limits.arg_length, limits.depth) == (63, 14)
