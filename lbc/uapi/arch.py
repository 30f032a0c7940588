"""What differs from machine to machine: the one table of the kernel interface that is typed by hand.

System call numbers: include/uapi/asm-generic/unistd.h (aarch64) and arch/x86/entry/syscalls/syscall_64.tbl.
Argument registers: the names that the kprobe tracer takes (arch/*/kernel/ptrace.c), in calling order.
"""
from __future__ import absolute_import

import os

__all__ = ["Arch", "ARCHES", "current"]


class Arch(object):
    """name (uname -m), system call numbers (nr_bpf, ...), kprobe register names, prefix of system call functions,
    pt_regs of user probes.

    ``pt_regs``: {register: offset in bytes in struct pt_regs}: x86 arch/x86/include/asm/ptrace.h; aarch64
    struct user_pt_regs, which begins with x0..x30, sp, pc.  ``stack_args``: at a function's entry, word of the stack
    ($stackN of kprobe events) that holds the first argument without a register: x86-64's word 0 is the return address
    (System V ABI 3.2.2), aarch64 keeps that in x30 (AAPCS64 6.8.2).
    """

    def __init__(self, name, syscalls, arg_regs, ret_reg, syscall_prefix, bpf_target, pt_regs, stack_args):
        self.name = name
        for call in syscalls:
            setattr(self, "nr_" + call, syscalls[call])
        self.arg_regs, self.ret_reg, self.syscall_prefix = arg_regs, ret_reg, syscall_prefix
        self.bpf_target = bpf_target  # -D__TARGET_ARCH_<this>
        self.pt_regs = pt_regs
        self.stack_args = stack_args


_X86_REGS = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss".split()
_ARM_REGS = ["x%d" % n for n in range(31)] + ["sp", "pc", "pstate"]

ARCHES = {
    "x86_64": Arch("x86_64", {"bpf": 321, "perf_event_open": 298, "ioctl": 16, "mount": 165, "clock_gettime": 228,
                              "statx": 332, "socketpair": 53, "sendmsg": 46, "recvmsg": 47, "pivot_root": 155,
                              "prctl": 157, "umount2": 166, "unshare": 272},
                   "di si dx cx r8 r9".split(), "ax", "__x64_", "x86",
                   {name: 8 * i for i, name in enumerate(_X86_REGS)}, 1),
    "aarch64": Arch("aarch64", {"bpf": 280, "perf_event_open": 241, "ioctl": 29, "mount": 40, "clock_gettime": 113,
                                "statx": 291, "socketpair": 199, "sendmsg": 211, "recvmsg": 212, "pivot_root": 41,
                                "prctl": 167, "umount2": 39, "unshare": 97},
                    ["x%d" % n for n in range(8)], "x0", "__arm64_", "arm64",
                    {name: 8 * i for i, name in enumerate(_ARM_REGS)}, 0),
}


def current():
    """The Arch of this machine; LbcError where lbc has no row for it."""
    name = os.uname()[4]
    if name not in ARCHES:
        from ..errors import LbcError
        raise LbcError("machine `%s` is not supported by lbc (have: %s)" % (name, ", ".join(sorted(ARCHES))))
    return ARCHES[name]
