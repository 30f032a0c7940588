"""How filelife finds births for deaths where it sees system calls only."""
from __future__ import absolute_import

import os

import pytest

from lbc.tools import filelife

BIRTH, DEATH = filelife.KIND_OPEN, filelife.KIND_OPEN + 1
HERE = filelife.AT_FDCWD


class Call(object):
    def __init__(self, kind, path, when_ns, pid=0, exclusive=1, dir_fd=HERE):
        self.kind, self.path, self.when_ns, self.exclusive, self.dir_fd = kind, path, when_ns, exclusive, dir_fd
        self.pid, self.comm = pid or os.getpid(), "task"


class Rings(object):
    """Stands for the object's rings: each look finds the calls of one row of ``looks``."""

    def __init__(self, *looks):
        self.looks, self.shown = list(looks), []
        self.lives = filelife.Lives(0, lambda when, pid, comm, age, name: self.shown.append((name, age)))

    def __call__(self, timeout_ms):
        if timeout_ms:
            return 0
        for call in self.looks.pop(0) if self.looks else ():
            self.lives.on_call(0, call)

    def run(self):
        while self.looks or self.lives.held:
            self.lives.poll(self, 100)
        return self.shown


def test_one_file():
    assert Rings([Call(BIRTH, "/t/a", 5), Call(DEATH, "/t/a", 25)]).run() == [("/t/a", 20)]
    assert Rings([Call(DEATH, "/t/a", 25)]).run() == []


@pytest.mark.parametrize("looks", [
    ([Call(DEATH, "/t/a", 25), Call(BIRTH, "/t/a", 5)],),           # the ring of the death was read first
    ([Call(DEATH, "/t/a", 25)], [Call(BIRTH, "/t/a", 5)]),          # ... and that of the birth only by the next look
    ([Call(BIRTH, "/t/a", 5)], [Call(DEATH, "/t/a", 25)]),
    ([Call(DEATH, "/t/a", 25)], [Call(DEATH, "/t/b", 99), Call(BIRTH, "/t/a", 5)], [])])
def test_order_is_by_time_not_by_ring(looks):
    assert Rings(*looks).run() == [("/t/a", 20)]


def test_made_again():
    """Twice the same name, the rings read in the wrong order: two lives, each with its own age."""
    first = [Call(BIRTH, "/t/a", 1), Call(BIRTH, "/t/a", 30)]
    second = [Call(DEATH, "/t/a", 11), Call(DEATH, "/t/a", 60)]
    assert Rings(second + first).run() == [("/t/a", 10), ("/t/a", 30)]
    assert Rings(second[:1], first + second[1:]).run() == [("/t/a", 10), ("/t/a", 30)]


def test_what_is_left_at_the_end():
    rings = Rings([Call(DEATH, "/t/a", 25), Call(BIRTH, "/t/a", 5)])
    rings.lives.poll(rings, 100)
    assert rings.shown == [] and rings.lives.settle() == 2 and rings.shown == [("/t/a", 20)]
    assert rings.lives.settle() == 0


def test_relative_paths_are_made_whole(tmpdir):
    folder = os.path.realpath(str(tmpdir))
    fd = os.open(folder, os.O_RDONLY)
    try:
        rings = Rings([Call(BIRTH, "x/../a", 1, dir_fd=fd), Call(DEATH, folder + "/a", 4)])
        assert rings.run() == [(folder + "/a", 3)]
    finally:
        os.close(fd)
    here = os.getcwd()
    assert Rings([Call(BIRTH, here + "/b", 1), Call(DEATH, "b", 4)]).run() == [("b", 3)]


def test_folders_of_processes_that_are_gone():
    gone = 1 << 22      # no such process
    assert Rings([Call(BIRTH, "d/a", 1, pid=gone), Call(DEATH, "/t/d/a", 4)]).run() == [("/t/d/a", 3)]
    looks = [Call(BIRTH, "/t/a", 1), Call(BIRTH, "/u/a", 2), Call(BIRTH, "/u/ba", 3), Call(DEATH, "a", 9, pid=gone)]
    assert Rings(looks).run() == [("a", 7)]


def test_files_that_were_there(tmpdir):
    """open(O_CREAT) of an existing file is no birth; of one that is gone again it was."""
    old = tmpdir.join("old")
    old.write("x")
    if filelife.host.file_birth(str(old)) is None:
        pytest.skip("the file system does not tell births")
    later = int((filelife.host.file_birth(str(old)) - filelife.host.wall_clock_offset() + 5) * 1e9)
    looks = [Call(BIRTH, str(old), later, exclusive=0), Call(DEATH, str(old), later + 1),
             Call(BIRTH, str(tmpdir.join("gone")), 5, exclusive=0), Call(DEATH, str(tmpdir.join("gone")), 6)]
    assert Rings(looks).run() == [(str(tmpdir.join("gone")), 1)]


def test_births_are_bounded(monkeypatch):
    monkeypatch.setattr(filelife, "MAX_BIRTHS", 3)
    rings = Rings([Call(BIRTH, "/t/%d" % i, i) for i in range(5)] + [Call(DEATH, "/t/%d" % i, 9) for i in range(5)])
    assert [name for name, _ in rings.run()] == ["/t/2", "/t/3", "/t/4"]


def test_only_one_process_s_deletions():
    shown = []
    lives = filelife.Lives(77, lambda *row: shown.append(row[1]))
    for call in (Call(BIRTH, "/t/a", 1), Call(BIRTH, "/t/b", 2), Call(DEATH, "/t/a", 3, pid=77),
                 Call(DEATH, "/t/b", 4, pid=78)):
        lives.on_call(0, call)
    lives.settle()
    assert shown == [77]


@pytest.mark.parametrize("only, tried", [(None, ["fentry", "kprobe", "syscalls"]), ("fentry", ["fentry"]),
                                         ("kprobe", ["kprobe"]), ("syscalls", ["syscalls"])])
def test_ways_in_turn(monkeypatch, only, tried):
    """Each way is tried once, in order; a forced one alone."""
    from lbc.errors import NotSupported
    seen = []

    def refuse(way):
        seen.append(way)
        raise NotSupported(way)
    monkeypatch.setattr(filelife, "by_functions", lambda way, pid: refuse(way))
    monkeypatch.setattr(filelife, "by_syscalls", lambda pid: refuse("syscalls"))
    with pytest.raises(NotSupported):
        filelife.start(0, only)
    assert seen == tried
