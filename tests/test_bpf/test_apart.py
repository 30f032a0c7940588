"""Loading in a child: what comes over, errors included, and that no process or file descriptor stays behind."""
from __future__ import absolute_import

import os

import pytest

from lbc import errors
from lbc.bpf import apart
from lbc import residue
from lbc.btf.parse import Btf
from lbc.btf.encode import Builder
from lbc.btf.kinds import Member


class Table(object):
    def __init__(self, fd):
        self.fd, self.type, self.key_size, self.value_size, self.max_entries, self.flags = fd, 4, 4, 4, 2, 0


class Spec(object):
    pass


class Made(object):
    """What load_apart uses of a BpfObject."""

    def __init__(self, fds, plain=True):
        builder = Builder()
        number = builder.add_int("unsigned int", 4, 0)
        char = builder.add_int("char", 1, 1)
        text = builder.add_array(char, number, 8)
        members = [Member("pid", number, 0, 0), Member("comm", text, 32, 0)]
        if not plain:
            inner = builder.add_struct("inner", 4, [Member("x", number, 0, 0)])
            members.append(Member("inner", inner, 96, 0))
        builder.add_struct("event", 16, members)
        self.spec = Spec()
        self.spec.btf = Btf(builder.bytes())
        self.maps = {"events": Table(fds[0])}
        self.fds, self.closed = fds, False

    def poll(self, timeout_ms=-1):
        return 0

    def close(self):
        self.closed = True
        while self.fds:
            os.close(self.fds.pop())


def pipe_holding(text):
    """Both ends of a pipe with ``text`` in it: whoever gets the reading end can tell."""
    ends = list(os.pipe())
    os.write(ends[1], text)
    return ends


def no_child_left():
    with pytest.raises(OSError):
        os.waitpid(-1, os.WNOHANG)


def test_descriptors_layouts_and_extra_come_over():
    def make():
        return Made(pipe_holding(b"from the child")), {"events": "event"}, ("fentry", os.getpid())
    with apart.load_apart(make) as running:
        way, pid = running.extra
        assert way == "fentry" and pid != os.getpid()
        shell = running.maps["events"]
        assert (shell.type, shell.key_size, shell.max_entries) == (4, 4, 2)
        assert os.read(shell.fd, 100) == b"from the child"
        decode = apart_decoder(running)
        record = decode(b"\x07\0\0\0bash\0xx\0pad!")
        assert (record.pid, record.comm) == (7, "bash")
        with pytest.raises(errors.FormatError):
            decode(b"\x07\0\0\0bash")
    with pytest.raises(OSError):
        os.fstat(shell.fd)
    no_child_left()


def apart_decoder(running):
    from lbc.btf.flat import decoder
    return decoder(running._layouts["events"])


@pytest.mark.parametrize("error", [
    errors.PrivilegeError("BPF_MAP_CREATE: EPERM", need="root", errno=1, hint="run as root"),
    errors.NotFoundError("function", "vfs_x", "kallsyms", ["vfs_y"]),
    errors.VerifierError("prog", "invalid mem access", "log", "excerpt", errno=13),
])
def test_errors_come_back_as_what_they_were(error):
    def make():
        raise error
    with pytest.raises(type(error)) as caught:
        apart.load_apart(make)
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "errno", None) == getattr(error, "errno", None)
    no_child_left()


def test_a_child_that_dies_is_an_error():
    with pytest.raises(errors.LbcError) as caught:
        apart.load_apart(lambda: os.kill(os.getpid(), 9))
    assert "without an answer" in str(caught.value)
    no_child_left()


@pytest.mark.parametrize("reason", ["leftovers", "layout", "switched off"])
def test_what_cannot_be_handed_on_is_made_here(reason, monkeypatch):
    if reason == "leftovers":
        monkeypatch.setattr(residue, "has_leftovers", lambda: True)
    if reason == "switched off":
        monkeypatch.setenv("LBC_APART", "0")

    def make():
        return Made(pipe_holding(b"x"), plain=reason != "layout"), {"events": "event"}, os.getpid()
    with apart.load_apart(make) as running:
        assert running.extra == os.getpid()
    assert running.object.closed
    no_child_left()
