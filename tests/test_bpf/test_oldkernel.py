"""The stand-in kernel answers as the kernel's history says (cases looked up in kernel/bpf/syscall.c of each
release)."""
from __future__ import absolute_import

import errno
import struct

import pytest

from lbc.errors import KernelError
from lbc.uapi import bpf as U
from tests.oldkernel import OldKernel

ARRAY = {"map_type": U.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 8, "max_entries": 2}
HASH = {"map_type": U.BPF_MAP_TYPE_HASH, "key_size": 4, "value_size": 8, "max_entries": 2}
RETURN_0 = struct.pack("=BBhiBBhi", 0xb7, 0, 0, 0, 0x95, 0, 0, 0)


def answer(kernel, cmd, fields):
    """0 or the errno."""
    try:
        kernel.close(kernel.bpf(cmd, fields))
        return 0
    except KernelError as error:
        return error.errno


def program(**fields):
    made = {"prog_type": U.BPF_PROG_TYPE_SOCKET_FILTER, "insn_cnt": 2, "insns": bytearray(RETURN_0),
            "license": b"GPL\0"}
    made.update(fields)
    return made


@pytest.mark.parametrize("version, cmd, fields, expected", [
    ((4, 9), U.BPF_MAP_CREATE, ARRAY, 0),
    ((4, 14), U.BPF_MAP_CREATE, dict(ARRAY, map_name=b"x"), errno.EINVAL),     # inside the union, behind the last field
    ((4, 15), U.BPF_MAP_CREATE, dict(ARRAY, map_name=b"x"), 0),
    ((5, 1), U.BPF_MAP_CREATE, dict(ARRAY, map_name=b"x.y"), errno.EINVAL),
    ((5, 2), U.BPF_MAP_CREATE, dict(ARRAY, map_name=b"x.y"), 0),
    ((4, 14), U.BPF_MAP_CREATE, dict(ARRAY, map_extra=1), errno.E2BIG),        # behind the union
    ((4, 9), U.BPF_MAP_CREATE, dict(ARRAY, map_type=U.BPF_MAP_TYPE_RINGBUF, key_size=0, value_size=0, max_entries=4096),
     errno.EINVAL),
    ((5, 8), U.BPF_MAP_CREATE, dict(ARRAY, map_type=U.BPF_MAP_TYPE_RINGBUF, key_size=0, value_size=0, max_entries=4096),
     0),
    ((5, 4), U.BPF_MAP_CREATE, dict(ARRAY, map_flags=U.BPF_F_MMAPABLE), errno.EINVAL),
    ((5, 5), U.BPF_MAP_CREATE, dict(ARRAY, map_flags=U.BPF_F_MMAPABLE), 0),
    ((4, 9), U.BPF_PROG_LOAD, program(), 0),
    ((4, 14), U.BPF_PROG_LOAD, program(prog_name=b"x"), errno.E2BIG),
    ((4, 15), U.BPF_PROG_LOAD, program(prog_name=b"x"), 0),
    ((4, 16), U.BPF_PROG_LOAD, program(expected_attach_type=1), errno.EINVAL),
    ((4, 20), U.BPF_PROG_LOAD, program(prog_type=U.BPF_PROG_TYPE_KPROBE), errno.EINVAL),
    ((4, 20), U.BPF_PROG_LOAD, program(prog_type=U.BPF_PROG_TYPE_KPROBE, kern_version=4 << 16 | 20 << 8), 0),
    ((5, 0), U.BPF_PROG_LOAD, program(prog_type=U.BPF_PROG_TYPE_KPROBE), 0),
    ((4, 16), U.BPF_PROG_LOAD, program(prog_type=U.BPF_PROG_TYPE_RAW_TRACEPOINT), errno.EINVAL),
    ((5, 1), U.BPF_PROG_LOAD, program(insn_cnt=4097, insns=bytearray(RETURN_0[:8] * 4096 + RETURN_0[8:])), errno.E2BIG),
    ((4, 17), U.BPF_BTF_LOAD, {"btf": bytearray(24), "btf_size": 24}, errno.EINVAL),
    ((5, 6), U.BPF_LINK_CREATE, {"link_create.prog_fd": 9}, errno.EINVAL),
    ((5, 3), U.BPF_BTF_GET_NEXT_ID, {}, errno.EINVAL),
    ((5, 4), U.BPF_BTF_GET_NEXT_ID, {}, errno.ENOENT),
])
def test_answers(version, cmd, fields, expected):
    kernel = OldKernel(version)
    assert answer(kernel, cmd, dict(fields)) == expected
    assert not kernel.open_fds()


def test_elements_and_first_key():
    for version, first in (((4, 9), errno.EFAULT), ((4, 12), 0)):
        kernel = OldKernel(version)
        fd = kernel.bpf(U.BPF_MAP_CREATE, HASH)
        kernel.bpf(U.BPF_MAP_UPDATE_ELEM, {"map_fd": fd, "key": b"abcd", "value": b"12345678"})
        value, key = bytearray(8), bytearray(4)
        kernel.bpf(U.BPF_MAP_LOOKUP_ELEM, {"map_fd": fd, "key": b"abcd", "value": value})
        assert bytes(value) == b"12345678"
        assert answer(kernel, U.BPF_MAP_GET_NEXT_KEY, {"map_fd": fd, "next_key": key}) == first
        assert answer(kernel, U.BPF_MAP_LOOKUP_ELEM, {"map_fd": fd, "key": b"none", "value": value}) == errno.ENOENT
        kernel.close(fd)


def test_memlock_is_charged_until_raised():
    kernel = OldKernel((4, 9))
    big = dict(HASH, max_entries=100000)
    assert answer(kernel, U.BPF_MAP_CREATE, big) == errno.EPERM
    assert kernel.raise_memlock()
    assert answer(kernel, U.BPF_MAP_CREATE, big) == 0
    assert answer(OldKernel((5, 11)), U.BPF_MAP_CREATE, big) == 0


def test_no_root():
    assert answer(OldKernel((5, 4), root=False), U.BPF_MAP_CREATE, ARRAY) == errno.EPERM


def test_probe_events():
    kernel = OldKernel((4, 9))
    assert not kernel.exists("/sys/bus/event_source/devices/kprobe/type")
    assert OldKernel((4, 17)).read("/sys/bus/event_source/devices/kprobe/type") == b"6\n"
    path = "/sys/kernel/tracing/kprobe_events"
    kernel.write(path, b"p:lbc/one vfs_read\n", True)
    assert kernel.events == {"lbc/one": "p:lbc/one vfs_read"}
    assert int(kernel.read("/sys/kernel/tracing/events/lbc/one/id")) > 0
    for text, number in ((b"p:lbc/one vfs_read\n", errno.EEXIST), (b"p:lbc/two no_such\n", errno.ENOENT),
                         (b"r5:lbc/two vfs_read", errno.EINVAL)):
        with pytest.raises(KernelError) as caught:
            kernel.write(path, text, True)
        assert caught.value.errno == number
    kernel.write(path, b"-:lbc/one\n", True)
    assert kernel.events == {}


def test_leaks_show():
    kernel = OldKernel((5, 4))
    fd = kernel.bpf(U.BPF_MAP_CREATE, ARRAY)
    assert list(kernel.open_fds()) == [fd]
    kernel.close(fd)
    kernel.close(fd)
    assert kernel.bad_closes == [fd] and not kernel.open_fds()
