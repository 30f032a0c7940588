"""A command that waits until it is let go."""
from __future__ import absolute_import

import os
import time

import pytest

from lbc.errors import InputError
from lbc.ftrace.command import Held, split_command


def wait(child):
    child.wait()
    return child.status


def test_waits_then_runs(tmp_path):
    path = str(tmp_path / "made")
    child = Held(["touch", path])
    time.sleep(0.2)
    assert not os.path.exists(path) and not child.ended()
    child.go()
    assert wait(child) == 0 and os.path.exists(path)
    child.close()


def test_status():
    for code, status in (("exit 3", 3), ("kill -9 $$", 137)):
        child = Held(["sh", "-c", code])
        child.go()
        assert wait(child) == status
        child.close()


def test_what_cannot_be_run():
    child = Held(["/no/such/program"])
    with pytest.raises(InputError) as error:
        child.go()
    assert "/no/such/program" in str(error.value) and "ENOENT" in str(error.value)
    child.close()


def test_close_ends_it():
    for words in (["sleep", "60"], ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]):
        child = Held(words)
        child.go()
        time.sleep(0.2)     # the trap is set
        child.close()
        assert child.ended() and child.status in (143, 137)


def test_one_that_was_never_let_go_ends():
    child = Held(["sleep", "60"])
    child.close()
    assert child.ended() and child.status in (127, 143)     # it saw the closed gate, or SIGTERM first


def test_inherits_nothing(tmp_path):
    """Files of ours are not the command's; signals that Python ignores are its own again."""
    path = tmp_path / "out"
    mine = os.open("/dev/null", os.O_RDONLY)
    fd = os.dup(mine)
    child = Held(["sh", "-c", "exec 2>/dev/null; ls /proc/self/fd > %s; grep SigIgn /proc/self/status >> %s" % (
        path, path)])
    child.go()
    assert wait(child) == 0
    os.close(mine)
    os.close(fd)
    words = path.read_text().split()
    assert words[:4] == ["0", "1", "2", "3"] and words[4] == "SigIgn:"   # 3: ls's own folder
    assert int(words[5], 16) & (1 << 12) == 0   # bit of SIGPIPE, 13
    child.close()


@pytest.mark.parametrize("text, words", [("make -j4", ["make", "-j4"]), ("sh -c 'a b; c'", ["sh", "-c", "a b; c"]),
                                         ("a\\ b $HOME;x", ["a b", "$HOME;x"])])
def test_split(text, words):
    assert split_command(text) == words


@pytest.mark.parametrize("text", ["", "  ", "'open"])
def test_split_refuses(text):
    with pytest.raises(InputError):
        split_command(text)
