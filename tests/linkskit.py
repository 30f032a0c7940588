"""Small BPF programs for the attachment tests, assembled by hand: count a call in slot 0 of an array, return a
value."""
from __future__ import absolute_import

import os
import struct

from lbc.bpf import sections
from lbc.bpf.spec import ProgramSpec
from lbc.bpf.syscalls import kernel as running
from lbc.uapi import bpf as U


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def counting(map_fd, result=0, pid=None, store_cookie=False, r9=None):
    """Program text: with ``pid``, only for that process; adds 1 to the u64 at slot 0 (or the cookie); returns
    ``result``."""
    body = b""
    body += insn(0xbf, 6, 1)                                    # r6 = ctx
    skip = []
    if pid is not None:
        body += insn(0x85, 0, 0, 0, 14) + insn(0x77, 0, 0, 0, 32)   # r0 = get_current_pid_tgid() >> 32
        skip.append(len(body) // 8)
        body += insn(0x55, 0, 0, 0, pid)                        # if r0 != pid goto end
    body += insn(0xb7, 7, 0, 0, 1)                              # r7 = 1
    if store_cookie:
        body += insn(0xbf, 1, 6) + insn(0x85, 0, 0, 0, 174) + insn(0xbf, 7, 0)   # r7 = get_attach_cookie(ctx)
    body += insn(0x62, 10, 0, -4, 0)                            # key = 0
    body += insn(0xbf, 2, 10) + insn(0x07, 2, 0, 0, -4)
    body += insn(0x18, 1, 1, 0, map_fd) + insn(0)
    body += insn(0x85, 0, 0, 0, 1)                              # map_lookup_elem
    skip.append(len(body) // 8)
    body += insn(0x15, 0, 0, 0, 0)                              # if r0 == 0 goto end
    body += insn(0xdb, 0, 7, 0, 0)                              # lock *(u64 *)r0 += r7
    end = len(body) // 8
    body = bytearray(body)
    for at in skip:
        struct.pack_into("=h", body, at * 8 + 2, end - at - 1)
    return bytes(body) + insn(0xb7, 0, 0, 0, result) + insn(0x95)


class Counter(object):
    """An array map of one u64."""

    def __init__(self, kernel=running):
        self.kernel = kernel
        self.fd = kernel.bpf(U.BPF_MAP_CREATE, {"map_type": U.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 8,
                                                "max_entries": 1})

    @property
    def value(self):
        buf = bytearray(8)
        self.kernel.bpf(U.BPF_MAP_LOOKUP_ELEM, {"map_fd": self.fd, "key": b"\0\0\0\0", "value": buf})
        return struct.unpack("=Q", bytes(buf))[0]

    def reset(self):
        self.kernel.bpf(U.BPF_MAP_UPDATE_ELEM, {"map_fd": self.fd, "key": b"\0\0\0\0", "value": b"\0" * 8})

    def close(self):
        self.kernel.close(self.fd)


class Program(object):
    """What attach() is handed: fd, name, spec, kernel, object."""

    def __init__(self, section, text, kernel=running, name="prog", log=False, spec=None, obj=None, **fields):
        row, target = sections.match(section)
        self.spec = spec or ProgramSpec(name, section, row.type, row.attach_type, target, row)
        self.name, self.kernel, self.object = name, kernel, obj
        attr = {"prog_type": self.spec.type, "insns": text, "insn_cnt": len(text) // 8, "license": b"GPL\0",
                "expected_attach_type": self.spec.attach_type}
        attr.update(fields)
        if os.environ.get("LBC_TEST_LOG") or log:
            buf = bytearray(1 << 16)
            attr.update(log_level=1, log_size=len(buf), log_buf=buf)
        try:
            self.fd = kernel.bpf(U.BPF_PROG_LOAD, attr)
        except Exception:
            if "log_buf" in attr:
                print(bytes(buf).rstrip(b"\0").decode())
            raise

    def close(self):
        self.kernel.close(self.fd)
