"""What the verifier says, cut down to what matters.  The logs are from real kernels (5.10 and 6.18), some lines
shortened."""
from __future__ import absolute_import

import errno

import pytest

from lbc.bpf import spec as S, verifier
from lbc.errors import KernelError, NotSupported, PrivilegeError, VerifierError
from lbc.uapi import bpf as U
from tests.oldkernel import OldKernel

CORE_618 = """0: R1=ctx() R10=fp0
; struct task_struct *t = (void *)bpf_get_current_task(); @ a.bpf.c:9
0: (85) call bpf_get_current_task#35          ; R0=scalar()
; return BPF_CORE_READ(t, lbc_no_such_field); @ a.bpf.c:10
1: (85) call unknown#195896080
invalid func unknown#195896080
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
CORE_510 = """Unrecognized arg#0 type PTR
; return BPF_CORE_READ(t, lbc_no_such_field);
0: (85) call unknown#195896080
invalid func unknown#195896080
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
NULL_618 = """0: R1=ctx() R10=fp0
; int key = 0; @ null.bpf.c:15
0: (b7) r1 = 0                        ; R1=0
1: (63) *(u32 *)(r10 -4) = r1         ; R1=0 R10=fp0 fp-8=0000????
2: (bf) r2 = r10                      ; R2=fp0 R10=fp0
3: (07) r2 += -4                      ; R2=fp-4
; value = bpf_map_lookup_elem(&table, &key); @ null.bpf.c:17
4: (18) r1 = 0xffff888104e8c400       ; R1=map_ptr(map=table,ks=4,vs=8)
6: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=table,ks=4,vs=8)
; return *value; @ null.bpf.c:18
7: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
LOOP_618 = """4: (7b) *(u64 *)(r1 +0) = r2          ; R1=map_value(map=code_inf.bss,ks=4,vs=8) R2=scalar()
;  @ code_infinite_loop.bpf.c:9
5: (05) goto pc-4
;  @ code_infinite_loop.bpf.c:10
infinite loop detected at insn 2
cur state: R1=map_value(map=code_inf.bss,ks=4,vs=8) R2=scalar() R10=fp0
old state: R1=map_value(map=code_inf.bss,ks=4,vs=8) R2=scalar() R10=fp0
verification time 86 usec
stack depth 0
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
"""
HELPER_510 = """0: (b7) r1 = 3
1: (85) call unknown#174
invalid func unknown#174
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
TYPE_618 = """0: (b7) r1 = 1                        ; R1=1
2: (85) call bpf_redirect#23
program of this type cannot use helper bpf_redirect#23
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def refused(log, number=errno.EINVAL, version=(5, 10), externs=(), **spec):
    program = S.ProgramSpec("use", "raw_tp/x", U.BPF_PROG_TYPE_RAW_TRACEPOINT, **spec)
    kernel = spec.pop("kernel", None) or OldKernel(version)
    return verifier.explain(kernel, program, KernelError("BPF_PROG_LOAD", "BPF_PROG_LOAD", number), log, None, externs)


@pytest.mark.parametrize("log, insn", [(CORE_618, 1), (CORE_510, 0)])
def test_poison_becomes_the_relocation(log, insn):
    error = refused(log, poisoned={insn: "<byte_off> [6] struct task_struct.lbc_no_such_field (0:1 @ offset 4)"})
    assert isinstance(error, VerifierError)
    assert "CO-RE relocation failed: <byte_off> [6] struct task_struct.lbc_no_such_field" in str(error)
    assert "195896080" not in error.what and "bpf_core_field_exists" in error.hint
    assert error.log == log


def test_missing_null_check():
    error = refused(NULL_618, errno.EACCES)
    assert "R0 invalid mem access 'map_value_or_null' (instruction 7, at: return *value; @ null.bpf.c:18)" in error.what
    assert "NULL" in error.hint
    lines = error.excerpt.splitlines()
    assert lines[-2].strip() == "R0 invalid mem access 'map_value_or_null'"
    assert "7: (79) r0 = *(u64 *)(r0 +0)" in error.excerpt and "; return *value;" in error.excerpt
    assert "int key = 0" not in error.excerpt and "more lines" in lines[-1]


def test_infinite_loop():
    error = refused(LOOP_618)
    assert "infinite loop detected at insn 2" in error.what and "old state" not in error.excerpt


def test_helpers():
    error = refused(HELPER_510)
    assert "bpf_get_attach_cookie (#174), upstream since 5.15" in error.what and "5.10.0-old" in error.what
    error = refused(TYPE_618, version=(6, 12))
    assert "bpf_redirect (#23) is not for programs of type raw_tracepoint" in error.what
    assert "no known kernel has" in refused(HELPER_510.replace("174", "9999")).what


def test_a_weak_function_that_is_missing():
    error = refused(HELPER_510.replace("174", "2002000001"), externs=["one", "two"])
    assert "`two`" in error.what and "bpf_ksym_exists" in error.hint


@pytest.mark.parametrize("log, number, words", [
    ("", errno.E2BIG, "newer than this kernel"), ("", errno.EINVAL, "not taken as a program of type raw_tracepoint"),
    ("\n", errno.ENOENT, "ENOENT"), (b"\xff\xfe bad bytes\n".decode("latin-1"), errno.EINVAL, "bad bytes")])
def test_little_to_go_by(log, number, words):
    error = refused(log, number)
    assert words in error.what


def test_too_many_instructions():
    error = refused("", errno.E2BIG, (5, 1), insns=bytearray(8 * 5000))
    assert "5000 instructions, and this kernel takes 4096" in error.what


def test_a_type_the_kernel_lacks():
    error = refused("", errno.EINVAL, (4, 14))
    assert isinstance(error, NotSupported) and error.min_version == "4.17" and "`use`" in str(error)


@pytest.mark.parametrize("files, is_root, words", [
    ({"/proc/self/status": b"CapEff:\t0000000000000000\n", "/proc/sys/kernel/unprivileged_bpf_disabled": b"2\n"}, False,
     ["not root", "unprivileged_bpf_disabled is 2"]),
    ({"/proc/self/status": b"CapEff:\t00000000a80425fb\n"}, True, ["root without CAP_BPF", "container"]),
    ({"/proc/self/status": b"CapEff:\t000001ffffffffff\n", "/sys/kernel/security/lockdown": b"none integrity "
      b"[confidentiality]\n"}, True,
     ["lockdown is [confidentiality]"]),
    ({"/proc/self/status": b"CapEff:\t000001ffffffffff\n"}, True, ["all capabilities are there", "security module"]),
])
def test_eperm_is_explained(files, is_root, words):
    kernel = OldKernel((5, 10), files=files)
    error = verifier.explain_privilege(kernel, "program `use`", KernelError("x", "BPF_PROG_LOAD", errno.EPERM),
                                       is_root=is_root)
    assert isinstance(error, PrivilegeError) and error.errno == errno.EPERM
    for word in words:
        assert word in str(error)


def test_trampolines_refused():
    program = S.ProgramSpec("use", "fentry/x", U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_FENTRY)
    kernel = OldKernel((6, 1), files={"/proc/self/status": b"CapEff:\t000001ffffffffff\n"})
    error = verifier.explain(kernel, program, KernelError("x", "BPF_PROG_LOAD", errno.EPERM), "")
    assert isinstance(error, PrivilegeError) and "kprobes" in error.hint


def test_the_report_below_the_reason():
    """A log of 7.3: the same reason in many words under it, which must not hide it."""
    head = ("3: (b7) r2 = 8                        ; R2=8\n4: (85) call bpf_probe_read_kernel#113\n")
    line = "cannot call GPL-restricted function from non-GPL compatible program\n"
    report = ("\nVerification failed: Policy: Operation is not allowed\n\nReason:\n"
              "  The helper bpf_probe_read_kernel#113 is not allowed: this helper is restricted to GPL-compatible\n"
              "  programs.\n\nAt:\n  use @ code_gpl_only.bpf.c:9:9\n  Instruction context:\n"
              "  >>> 4 | (85) call bpf_probe_read_kernel#113\n      5 | (95) exit\n\nSuggestion:\n"
              "  Use a GPL-compatible license, or replace the helper with one that is available to non-GPL\n"
              "  programs.\n\nprocessed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0\n")
    assert verifier.reason(head + line + report) == line.strip()
    assert verifier.refused_insn(head + line + report) == 4
    assert "Suggestion" not in verifier.excerpt(head + line + report)
    assert verifier.reason(head + report).endswith("restricted to GPL-compatible programs.")
