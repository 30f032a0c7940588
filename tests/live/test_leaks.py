"""The leak check of tests/conftest.py: each thing that is left behind is named, and nothing else is."""
from __future__ import absolute_import

import os

import pytest

from lbc.bpf.syscalls import kernel
from lbc.uapi import bpf as U
from tests import conftest, linkskit
from . import tracefs

pytestmark = pytest.mark.live


def left(before):
    return conftest.Footprint(True).left_since(before)


def test_a_descriptor_a_map_and_a_program():
    before, ids = conftest.Footprint(True), conftest.bpf_ids()
    assert left(before) == []
    fd = kernel.bpf(U.BPF_MAP_CREATE, {"map_type": U.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 4,
                                       "max_entries": 1})
    program = linkskit.Program("socket", linkskit.insn(0xb7) + linkskit.insn(0x95))
    try:
        number = kernel.info(fd, U.BPF_MAP_INFO, U.BPF_MAP_INFO_SIZE).get("id")
        other = kernel.info(program.fd, U.BPF_PROG_INFO, U.BPF_PROG_INFO_SIZE).get("id")
        found = [line for line in left(before) if line.startswith("fd ")]
        assert found == ["fd %d (anon_inode:bpf-map)" % fd, "fd %d (anon_inode:bpf-prog)" % program.fd]
        assert conftest.bpf_ids() - ids >= set([("map", number), ("prog", other)])
    finally:
        kernel.close(fd)
        program.close()
    assert [line for line in left(before) if line.startswith("fd ")] == []


def test_a_pin(pin_root):
    before = conftest.Footprint(True)
    path = os.path.join(pin_root, "left")
    program = linkskit.Program("socket", linkskit.insn(0xb7) + linkskit.insn(0x95))
    try:
        kernel.bpf(U.BPF_OBJ_PIN, {"pathname": path.encode("ascii") + b"\0", "bpf_fd": program.fd})
        assert "pin " + path in left(before)
    finally:
        program.close()
    os.unlink(path)
    assert [line for line in left(before) if line.startswith("pin ")] == []


def command(events, text):
    fd = os.open(events, os.O_WRONLY | os.O_APPEND)  # open(.., "a") seeks, which tracefs refuses
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def test_an_event_in_tracefs():
    before = conftest.Footprint(True)
    events = tracefs() + "/uprobe_events"
    command(events, "p:lbc_test/left %s:0x1000\n" % os.path.realpath("/bin/sh"))
    try:
        assert [line.split()[1] for line in left(before) if line.startswith("event ")] == ["uprobe_events:"]
    finally:
        command(events, "-:lbc_test/left\n")
    assert [line for line in left(before) if line.startswith("event ")] == []
