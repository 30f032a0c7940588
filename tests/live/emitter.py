"""Small BPF programs assembled by hand that send a known number of known records, run with BPF_PROG_TEST_RUN (raw_tp:
5.10).

Instruction encoding: Documentation/bpf/standardization/instruction-set.rst.  Nothing here comes from lbc's own loader.
"""
from __future__ import absolute_import

import struct

from lbc.bpf.syscalls import Attr
from lbc.errors import KernelError
from lbc.uapi import bpf as U

PERF_EVENT_OUTPUT, USER_RINGBUF_DRAIN = 25, 209
RINGBUF_OUTPUT, RINGBUF_RESERVE, RINGBUF_SUBMIT, RINGBUF_DISCARD = 130, 131, 132, 133
MAP_LOOKUP = 1


def insn(op, dst=0, src=0, off=0, imm=0):
    return struct.pack("=BBhi", op, dst | src << 4, off, imm if imm < 1 << 31 else imm - (1 << 32))


def mov(dst, imm):
    return insn(0xb7, dst, imm=imm)


def movr(dst, src):
    return insn(0xbf, dst, src)


def add(dst, imm):
    return insn(0x07, dst, imm=imm)


def load(dst, src, off):
    return insn(0x79, dst, src, off)


def store(dst, off, src):
    return insn(0x7b, dst, src, off)


def map_fd(dst, fd):
    return insn(0x18, dst, 1, imm=fd) + insn(0)


def call(helper):
    return insn(0x85, imm=helper)


EXIT = insn(0x95)


def prog_load(kernel, code, prog_type=U.BPF_PROG_TYPE_RAW_TRACEPOINT, name=b"lbc_test", flags=0):
    fields = {"prog_type": prog_type, "insns": code, "insn_cnt": len(code) // 8, "license": b"GPL\0", "prog_name": name,
              "prog_flags": flags}
    try:
        return kernel.bpf(U.BPF_PROG_LOAD, fields)
    except KernelError:
        log = bytearray(1 << 22)
        fields.update({"log_level": 1, "log_size": len(log), "log_buf": log})
        try:
            kernel.bpf(U.BPF_PROG_LOAD, fields)
        except KernelError:
            pass
        print(bytes(log).partition(b"\0")[0].decode()[-2000:])
        raise


def run(kernel, fd, args, cpu=None):
    """One raw_tp test run with up to 12 u64 arguments, on ``cpu``; the program's result."""
    context = bytearray(struct.pack("=%dQ" % len(args), *args))
    fields = {"test.prog_fd": fd, "test.ctx_in": context, "test.ctx_size_in": len(context)}
    if cpu is not None:
        fields["test.flags"] = U.BPF_F_TEST_RUN_ON_CPU
        fields["test.cpu"] = cpu
    attr = Attr(U.BPF_PROG_TEST_RUN, fields)
    kernel.run(attr)
    return attr.get("test.retval")


def emit_code(output, most=1000, step=0):
    """Sends args[0] (at most ``most``) records; record i holds args[1] + i in its first 8 bytes, zeros behind, and is
    8 + ((args[2] + i * step) & 0x38) bytes long.  Returns how many the helper refused."""
    body = (movr(6, 1) + load(7, 6, 0) + load(9, 6, 8) + mov(8, 0) + mov(2, 0))
    for off in range(8, 80, 8):
        body += store(10, -off, 2)
    body += load(2, 6, 16) + store(10, -72, 2) + mov(2, 0) + store(10, -80, 2)
    loop = store(10, -64, 9) + load(5, 10, -72) + insn(0x57, 5, imm=0x38) + add(5, 8)
    if output[0] == "perf":
        loop += movr(1, 6) + map_fd(2, output[1]) + insn(0x18, 3, 0, imm=0xffffffff) + \
                     insn(0) + movr(4, 10) + add(4, -64) + call(PERF_EVENT_OUTPUT)
    else:
        loop += map_fd(1, output[1]) + movr(2, 10) + add(2, -64) + movr(3, 5) + mov(4, 0) + call(RINGBUF_OUTPUT)
    # counted by the sign (r0 >>= 63): a branch would make 5.10's verifier walk every combination of refusals
    loop += insn(0x77, 0, imm=63) + load(2, 10, -80) + insn(0x0f, 2, 0) + store(10, -80, 2)
    loop += load(5, 10, -72) + add(5, step) + store(10, -72, 5) + add(9, 1) + add(8, 1)
    check = insn(0x3d, 8, 7, off=(len(loop) // 8) + 2) + insn(0x35, 8, off=(len(loop) // 8) + 1, imm=most)
    back = insn(0x05, off=-(len(loop) // 8 + 3))
    return body + check + loop + back + load(0, 10, -80) + EXIT
