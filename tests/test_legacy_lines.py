"""The reference's helpers around lines and numbers, on lines of the mission document and on those that broke them."""
from __future__ import absolute_import

import random

import pytest

from lbc import legacy


@pytest.mark.parametrize("line, wanted", [
    (" surftrace-2421  [000] ....  2368.261019: f0: (wake_up_new_task+0x0/0x280) comm=\"surftrace\"",
     {"task": "surftrace", "pid": 2421, "cpu": 0, "flag": "....", "time": "2368.261019", "name": "f0",
      "func": "wake_up_new_task", "pos": 0, "size": 0x280, "args": {"comm": "surftrace"}}),
    (" surftrace-2336  [001] d...  1447.877670: f1: (_do_fork+0x153/0x3d0 <- wake_up_new_task)",
     {"task": "surftrace", "pid": 2336, "cpu": 1, "flag": "d...", "time": "1447.877670", "name": "f1",
      "func": "_do_fork", "pos": 0x153, "size": 0x3d0, "args": {}}),
    ("<idle>-0     [001] dN.. 11868700.419049: sched_stat_wait: comm=h2o pid=3046552 delay=87023763 [ns]",
     {"task": "<idle>", "pid": 0, "cpu": 1, "flag": "dN..", "time": "11868700.419049", "name": "sched_stat_wait",
      "args": "comm=h2o pid=3046552 delay=87023763 [ns]"}),
    (" <...>-114811 [000] d... 14629155.134831: r0: (0x41e66a <- 0x48a870) cmd=\"top\"",
     {"task": "<...>", "pid": 114811, "cpu": 0, "flag": "d...", "time": "14629155.134831", "name": "r0",
      "func": None, "pos": 0x41e66a, "size": 0, "args": {"cmd": "top"}}),
    # a name with spaces, a fault, a negative number: SPEC's list of what the reference's parser broke on
    ("  Web Content 1-2-77 [003] d..1. 5.000001: f0: (f+0x0/0x10) a=(fault) b16_n=-5 s=\"x y=1\" t={1,2}",
     {"task": "Web Content 1-2", "pid": 77, "cpu": 3, "flag": "d..1.", "time": "5.000001", "name": "f0", "func": "f",
      "pos": 0, "size": 16, "args": {"a": "(fault)", "b16_n": "-5", "s": "x y=1", "t": "{1,2}"}})])
def test_lines(line, wanted):
    assert legacy.transProbeLine(line) == wanted


def test_what_is_no_event():
    with pytest.raises(ValueError):
        legacy.transProbeLine("CPU:1 [LOST 12 EVENTS]")


@pytest.mark.parametrize("name, raw, shown", [("ip_src", "0x100007f", "127.0.0.1"), ("ip_src", "16777343", "127.0.0.1"),
                                              ("b16_port", "20480", "80"), ("b32_x", "16777216", "1"),
                                              ("B16_x", "0x3412", "0x1234"), ("x", "5", "5"), ("ipx", "1", "1")])
def test_conversion_and_back(name, raw, shown):
    assert legacy.headTrans(name, raw) == "%s=%s" % (name, shown)
    back = legacy.invHeadTrans(name, shown)
    assert back[0] == name and int(back[1], 0) == int(raw, 0)


def test_list(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    numbers = legacy.CsurfList(4)
    for number in (1, 5, 5, 700, 700):
        numbers.append(number)
    assert list(numbers) == [5, 5, 700, 700]
    numbers.hist2()
    assert capsys.readouterr()[0].splitlines()[0] == "[4,8)       2   |@@@@@@      |"
    numbers.hist10()
    assert capsys.readouterr()[0].splitlines() == ["[0,10)      2   |@@@@@@      |", "[10,100)    0   |            |",
                                                   "[100,1K)    2   |@@@@@@      |"]


def test_list_of_anything(capsys):
    seed = random.Random(3)
    numbers = legacy.CsurfList(2048)
    for _ in range(2048):
        numbers.append(seed.randint(-5, 1 << 40))
    numbers.hist2()
    numbers.hist10()
    assert len(capsys.readouterr()[0].splitlines()) > 10


def test_task_list():
    import os
    assert str(os.getpid()) in legacy.taskList(os.getpid()) and legacy.taskList(1 << 22) == []
