"""CeventThread hands records on as objects; user stacks of this process have names."""
from __future__ import absolute_import

import os
import threading

from lbc import legacy_stack
from lbc.legacy_thread import CeventThread


class Table(object):
    def open_perf_buffer(self, cb, lost=None):
        self.cb, self.lost = cb, lost

    def perf_buffer_poll(self):
        self.cb(1, b"ab", 2)


class Lbc(object):
    def __init__(self):
        self.maps = {"e_out": Table()}

    def getMap(self, name, data, size):
        return name, data, size


def test_records_become_objects():
    lbc, seen, done = Lbc(), [], threading.Event()
    thread = CeventThread(lbc, "e_out", lambda cpu, record: (seen.append((cpu, record)), done.set()), lost="lost")
    assert done.wait(10)
    thread.join(10)
    assert seen == [(1, ("e_out", b"ab", 2))] and lbc.maps["e_out"].lost == "lost" and not thread.is_alive()


def test_a_callback_that_raises_is_reported_once(capsys):
    lbc, calls = Lbc(), []

    def poll():
        if len(calls) < 3:
            lbc.maps["e_out"].cb(0, b"", 0)
    lbc.maps["e_out"].perf_buffer_poll = poll

    def fail(cpu, record):
        calls.append(cpu)
        raise ZeroDivisionError("no")
    CeventThread(lbc, "e_out", fail).join(10)
    assert len(calls) == 3 and capsys.readouterr()[1].count("ZeroDivisionError: no") == 1


def test_user_stack():
    assert legacy_stack.ClbcUstack(os.getpid(), [0x10]).dumpStacks() == ["0x10"]
