"""Printed lines and whose they are."""
from __future__ import absolute_import

import struct

import pytest

from lbc import printk

LINES = [   # as kernels print them: 6.18, 6.1, 5.10, 4.19, 4.9; tasks with odd names
    ("         python3-8379    [001] ...21  3138.487134: bpf_trace_printk: four 1 2 3 4",
     ("python3", 8379, 1, 3138.487134, "four 1 2 3 4")),
    ("           <...>-71237   [002] d..31 14841309.908057: bpf_trace_printk: java function probe. arg1 :99",
     ("<...>", 71237, 2, 14841309.908057, "java function probe. arg1 :99")),
    ("           <...>-1091294 [005] d... 17658161.425644: : hello lcc, parent: 106880",
     ("<...>", 1091294, 5, 17658161.425644, "hello lcc, parent: 106880")),
    ("           <...>-114811 [000] .... 14635188.986989: 0: catch uprobe.",
     ("<...>", 114811, 0, 14635188.986989, "catch uprobe.")),
    ("     a [1] b-1-2-77      [000] .....     1.000001: bpf_trace_printk: x: 0: y",
     ("a [1] b-1-2", 77, 0, 1.000001, "x: 0: y")),
    ("   t: 0: u-5       [003] .....     1.500000: bpf_trace_printk: [7] 1: ", ("t: 0: u", 5, 3, 1.5, "[7] 1: ")),
]


@pytest.mark.parametrize("raw, wanted", LINES)
def test_lines(raw, wanted):
    line = printk.parse_line(raw)
    assert (line.task, line.pid, line.cpu, line.time, line.text) == wanted


@pytest.mark.parametrize("raw", ["", "more of a text", "# tracer: nop", " => vfs_read", "a: 0: b",
                                 "bash-1 [000] ..... 1.5: sched_switch: prev_comm=x", "CPU:1 [LOST 12 EVENTS]"])
def test_other_lines(raw):
    assert printk.parse_line(raw) is None


@pytest.mark.parametrize("text, yes, no", [
    ("hello %d\n", ["hello 1", "hello -12"], ["hell 1", "xhello 1"]),
    ("100%% of %s", ["100% of x y", "100% of "], ["100%% of x", "100 of x"]),
    ("%pI4 -> %llx [%-5.3d]", ["1.2.3.4 -> ff [  012]"], ["1.2.3.4 -> ff"]),
    ("plain", ["plain", "plain "], ["plain!", "a plain"]),
    ("a.b(c)*\n", ["a.b(c)*"], ["axb(c)*"]),
    ("one %d\ntwo %d", ["one 5"], ["two 5"]),
])
def test_formats_match_what_they_print(text, yes, no):
    fits = printk.matcher(["nothing of that", text])
    assert [line for line in yes if not fits(line)] == []
    assert [line for line in no if fits(line)] == []


def test_no_format_matches_nothing():
    assert not printk.matcher([])("") and not printk.matcher([])("x")


def insns(*rows):
    return b"".join([struct.pack("=BBhi", *row) for row in rows])


def test_formats_in_instructions():
    data = b"first %d\n\0second\0cut"
    rows = [(0x18, 0x21, 0, 0), (0, 0, 0, 0), (0xb7, 2, 0, 10), (0x85, 0, 0, 6),      # r1 = data, r2 = 10, call 6
            (0x18, 0x26, 0, 0), (0, 0, 0, 10), (0xbf, 0x61, 0, 0), (0xb7, 2, 0, 7), (0x85, 0, 0, 177),   # through r6
            (0x18, 0x21, 0, 0), (0, 0, 0, 0), (0xb7, 2, 0, 10), (0x85, 0, 0, 1),      # another helper
            (0x18, 0x21, 0, 0), (0, 0, 0, 17), (0xb7, 2, 0, 4), (0x85, 0, 0, 6),      # not terminated
            (0xbf, 0xa1, 0, 0), (0xb7, 2, 0, 10), (0x85, 0, 0, 6)]                     # on the stack
    offsets = {0: 0, 4: 10, 9: 0, 13: 17}
    found = printk._formats(insns(*rows), lambda index, source: (data, offsets[index]),
                            lambda number: number in (6, 177))
    assert found == ["first %d\n", "second"]


class NoTracefs(object):
    """A kernel without tracefs."""
    facts = {}

    def exists(self, path):
        return False

    def read(self, path):
        from lbc.errors import KernelError
        raise KernelError("no", "read", 2)

    def listdir(self, path):
        return []


def test_without_tracefs():
    from lbc.errors import NotSupported
    with pytest.raises(NotSupported):
        printk.Printk(NoTracefs())


class Fed(printk.Printk):
    """Printk over given lines."""

    def __init__(self, lines, formats=None):
        self.lost, self._unread, self._match = 0, [], printk.matcher(formats) if formats else None
        self._given = [self._lines(lines)]

    def _read(self):
        return self._given.pop() if self._given else []

    def _wait(self, timeout_ms):
        pass


def test_show_keeps_what_was_not_asked_for(capsys):
    source = Fed([raw for raw, _ in LINES] + ["CPU:1 [LOST 12 EVENTS]"])
    assert source.lost == 12
    texts = []
    printk.show(source, texts.append, count=2)
    assert texts == ["four 1 2 3 4", "java function probe. arg1 :99"]
    printk.show(source, None, count=1)
    assert capsys.readouterr().out == LINES[2][0] + "\n"
    assert len(source.poll(0)) == 3
    assert [line.text for line in Fed([raw for raw, _ in LINES], ["four %d %d %d %d"]).poll(0)] == ["four 1 2 3 4"]
    assert sorted(printk.parse_line(LINES[0][0]).as_dict()) == ["cpu", "pid", "task", "text", "time"]
