"""The verifier's "no", made readable: which instruction, which source line, why, and what to try.

Only errors come here, so nothing is fast and everything may be imported.  The log is kept whole in ``error.log``; the
excerpt holds the refused instruction with the lines around it.  Wordings differ by version: kernel/bpf/verifier.c and
log.c of 4.9 to 7.x were looked at, and real logs are in the tests.
"""
from __future__ import absolute_import

import errno
import re

from .._py23 import to_text
from ..errors import ENOTSUPP, NotSupported, PrivilegeError, VerifierError, errno_text
from ..uapi import bpf as U
from . import features

__all__ = ["explain", "explain_privilege", "excerpt", "reason", "effective_caps", "CORE_POISON", "KFUNC_POISON",
           "MAP_POISON"]

# 0xbad2310: helper number that CO-RE leaves where a relocation failed (libbpf relo_core.c)
CORE_POISON = 195896080
MAP_POISON = 2001000000        # use of a map that was left out (libbpf POISON_LDIMM64_MAP_BASE)
KFUNC_POISON = 2002000000      # call of a weak kernel function that is missing (libbpf POISON_CALL_KFUNC_BASE)

_INSN = re.compile(r"^(\d+): (?:\(([0-9a-f]{2})\)|<invalid)(.*)$")          # "12: (85) call bpf_probe_read#4"
_SOURCE = re.compile(r"^; (.*)$")
_STATE = re.compile(r"^(?:\d+: )?(?:frame\d+: )?(?: ?R\d+(?:_rw?|_w|_r)?[=(]| ?fp-\d+)|^from \d+ to \d+")
_NOISE = re.compile(r"^(processed \d+ insns|verification time|stack depth|peak_states|\d+: "
                    r"safe|mark_precise:|last_idx|regs=|parent |"
                    r"(?:cur|old) state:|\d+: R\d|frame\d+: R\d|arg#\d+ (?:reference type|type)|func#\d+ @\d+|live "
                    r"regs before insn|Live regs|.*_live_regs|propagating|"
                    r"\(\d+ line\(s\) omitted|Validating |insns processed)")


def _lines(log):
    """The log's lines; without the report that 7.x adds below the old one-line reason ("Verification failed: ..." up to
    the statistics), which says the same in more words.  It stays in ``error.log``."""
    text = to_text(log) if isinstance(log, bytes) else log
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("Verification failed: ") and any(row.strip() for row in lines):
            inside = True
        elif inside and line.startswith(("processed ", "verification time")):
            inside = False
        if not inside:
            lines.append(line.rstrip())
    return lines


def reason(log):
    """The one line that says why: the last that is neither an instruction, a register state nor statistics.  "" when
    there is none."""
    for line in reversed(_lines(log)):
        text = line.strip()
        if text and not any(pattern.match(text) for pattern in (_NOISE, _INSN, _STATE, _SOURCE)):
            return text
    text = to_text(log) if isinstance(log, bytes) else log
    report = re.search(r"^Reason:\n((?:[ \t]+\S.*\n)+)", text, re.M)  # 7.x
    return " ".join(report.group(1).split()) if report else ""


def refused_insn(log):
    """Index of the last instruction in the log, None when it got to none."""
    for line in reversed(_lines(log)):
        match = _INSN.match(line.strip())
        if match:
            return int(match.group(1))
    return None


def excerpt(log, before=6):
    """The lines that matter: the last source line and up to ``before`` instructions from it to the reason; then how
    much was left out."""
    lines = _lines(log)
    end = len(lines)
    while end and (not lines[end - 1].strip() or _NOISE.match(lines[end - 1].strip())):
        end -= 1
    start, insns, source = end, 0, None
    for i in range(end - 1, -1, -1):
        text = lines[i].strip()
        if _INSN.match(text):
            insns += 1
            if insns > before or (source is not None and insns > 2):
                break
        elif _SOURCE.match(text):
            if source is None:
                source = i
            elif insns >= 2:
                break
        start = i
    kept = []
    for line in lines[start:end]:
        text = line.strip()
        if text and not _NOISE.match(text):
            kept.append("  " + (text if len(text) <= 160 else text[:157] + "..."))
    left = len([line for line in lines if line.strip()]) - len(kept)
    if left > 0:
        kept.append("  (%d more lines in the whole log)" % left)
    return "\n".join(kept)


def source_line(log):
    """The source text nearest before the reason ("; x = p->a; @ file.c:12"), None where the log has none."""
    for line in reversed(_lines(log)):
        match = _SOURCE.match(line.strip())
        if match:
            return match.group(1).strip().lstrip("@ ")
    return None


def _line_of(spec, btf, insn):
    """"file.c:12: text" by the program's line_info for instruction ``insn``; None without."""
    if btf is None or insn is None:
        return None
    best = None
    for row in spec.line_info:
        if row[0] <= insn:
            best = row
    if best is None:
        return None
    try:
        name, text = btf.name_at(best[1]), btf.name_at(best[2])
    except Exception:  # noqa: B902  a damaged string offset must not hide the verifier's reason
        return None
    return "%s:%d: %s" % (to_text(name).rsplit("/", 1)[-1], best[3] >> 10, to_text(text).strip())


def explain(kernel, spec, error, log, btf=None, externs=()):
    """The exception for a program that was refused with ``error`` (KernelError) and ``log`` (bytes or text)."""
    log = to_text(log) if isinstance(log, bytes) else log
    number = error.errno
    if number in (errno.EPERM, errno.EACCES) and not reason(log):
        return explain_privilege(kernel, "program `%s`" % spec.name, error, spec)
    if not reason(log) and features.have_prog_type(kernel, spec.type) is False:
        return NotSupported("programs of type %s, which `%s` is" % (U.PROG_TYPE_NAMES.get(spec.type, spec.type),
                                                                    spec.name),
                            features.PROG_TYPE_VERSIONS.get(spec.type), number, error.call, error)
    why, hint = _rewrite(kernel, spec, log, number, externs)
    if not why:
        why = errno_text(number)
    insn = refused_insn(log)
    part = excerpt(log)
    where = source_line(log) or _line_of(spec, btf, insn)
    text = why
    if insn is not None:
        text += " (instruction %d%s)" % (insn, ", at: " + where if where else "")
    result = VerifierError(spec.name, text, log, part, number, error, hint)
    return result


def _rewrite(kernel, spec, log, number, externs):
    """(reason, hint) in terms of the object: CO-RE relocation, helper, kernel function, attach type."""
    last = reason(log)
    match = re.search(r"invalid func unknown#(\d+)|unknown func [\w#]*?#?(\d+)|call unknown#(\d+)", last) or \
        re.search(r"invalid func unknown#(\d+)", log)
    if match:
        func = int(next(g for g in match.groups() if g))
        if func == CORE_POISON:
            return _core(spec, log)
        if func >= KFUNC_POISON and func < KFUNC_POISON + 65536:
            names = list(externs)
            name = names[func - KFUNC_POISON] if func - KFUNC_POISON < len(names) else "?"
            return ("calls kernel function `%s`, which this kernel does not have" % name,
                    "it is declared __weak: guard the call with bpf_ksym_exists(%s)" % name)
        if MAP_POISON <= func < MAP_POISON + 65536:
            return ("uses a map that was not to be created (autocreate is off, or a '?' section)",
                    "create it, or keep the program from getting there")
        return _helper(kernel, func, None)
    if str(CORE_POISON) in log or "0xbad2310" in log:
        return _core(spec, log)
    match = re.search(r"(?:program of this type )?cannot use helper (?:bpf_)?(\w+)#(\d+)|unknown func "
                      r"(?:bpf_)?(\w+)#(\d+)", last)
    if match:
        func = int(match.group(2) or match.group(4))
        return _helper(kernel, func, spec.type)
    if number == errno.E2BIG and not last:
        count = len(spec.insns) // 8
        if count > U.BPF_MAXINSNS:
            return ("%d instructions, and this kernel takes 4096" % count, "1 million are allowed as root since 5.2")
        if spec.attach_type and not features.have(kernel, "exp_attach_type"):
            return ("this kernel knows no attach types (upstream since 4.17), and section `%s` needs one"
                    % spec.section, None)
        return "too large, or it asks for something that is newer than this kernel", None
    if number == errno.EINVAL and not last:
        return _silent(kernel, spec)
    if number in (ENOTSUPP, errno.EOPNOTSUPP) and not last:
        return _silent(kernel, spec)
    hint = None
    for pattern, text in _HINTS:
        if re.search(pattern, last) or (number == errno.EACCES and re.search(pattern, log[-400:])):
            hint = text
            break
    return last, hint


_HINTS = (
    (r"R\d+ invalid mem access '(?:map_value_or_null|ptr_or_null_|mem_or_null|rdonly_mem_or_null|sock_or_null)",
     "check the pointer against NULL before use"),
    (r"R\d+ invalid mem access '(?:inv|scalar)'", "read kernel memory with bpf_probe_read_kernel() or BPF_CORE_READ()"),
    (r"invalid (?:access to map value|access to packet)|unbounded|min value is (?:negative|outside)|max value is "
     r"outside",
     "check the offset and the length against the bounds just before the access"),
    (r"back-edge", "this kernel has no loops in BPF (upstream since 5.3): unroll with #pragma unroll"),
    (r"(?:BPF program is too large|sequence of \d+ jumps is too complex)",
     "split the program by tail calls, or use bpf_loop (5.17)"),
    (r"unrecognized bpf_ld_imm64 insn", "global variables came with 5.2, callbacks with 5.13, typed kernel symbols "
     "with 5.10"),
    (r"BPF_JMP uses unknown opcode|unknown opcode", "compiled for a newer instruction set: jumps on less-than came "
     "with 4.14 (-mcpu=v2), "
     "32-bit jumps with 5.1 (v3); recompile with -mcpu=v1"),
    (r"BPF_CALL uses reserved fields", "calls between functions came with 4.16, of kernel functions with 5.13: mark "
     "functions __always_inline"),
    (r"cannot call GPL", "add: char LICENSE[] SEC(\"license\") = \"GPL\";"),
    (r"combined stack size|stack depth|invalid (?:indirect )?(?:read|write|access).* stack",
     "the stack holds 512 bytes, all initialised before they are read: put more into a per-CPU array"),
    (r"Unreleased reference", "release what was acquired on every path"),
    (r"is not allowed to attach|denylist|not attachable|function .* is not traceable",
     "this function cannot be traced: try its caller"),
    (r"is not a kernel function|missing BTF func|btf_id .* is not",
     "see `bpftool btf dump file /sys/kernel/btf/vmlinux`"),
    (r"calling kernel function (\w+) is not allowed", "this kernel does not let this program type call it"),
    (r"R0 (?:!read_ok|has unknown scalar value|has value|is not a known value)|At program exit",
     "return a value this program type allows"),
)


def _core(spec, log):
    insn = refused_insn(log)
    text = spec.poisoned.get(insn)
    if text is None and insn is not None:
        for index in sorted(spec.poisoned):  # ld_imm64 and helper sequences: the nearest one before
            if index <= insn:
                text = spec.poisoned[index]
    if text is None:
        text = "; ".join(sorted(set(spec.poisoned.values()))) or "a CO-RE relocation that failed"
    return ("CO-RE relocation failed: %s" % text,
            "this kernel's types lack it: guard the access with bpf_core_field_exists() or bpf_core_type_exists()")


def _helper(kernel, number, prog_type):
    if number >= len(U.HELPERS):
        return ("calls helper number %d, which no known kernel has" % number,
                "newer than this lbc, or not a helper of this machine")
    name, version = U.HELPERS[number], features.helper_version(number)
    if prog_type is not None or _has_elsewhere(kernel, number):
        kind = U.PROG_TYPE_NAMES.get(prog_type, "this type") if prog_type is not None else "this type"
        return ("helper bpf_%s (#%d) is not for programs of type %s" % (name, number, kind),
                "it came with %s; for some program types later, or it needs the GPL licence" % version)
    return ("this kernel (%s) does not have helper bpf_%s (#%d), upstream since %s" % (kernel.release(), name, number,
                                                                                       version), None)


def _has_elsewhere(kernel, number):
    """Does any of the widest program types know the helper: then it is the type, not the kernel."""
    for prog_type in (U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_SCHED_CLS):
        if features.have_helper(kernel, number, prog_type):
            return True
    return False


def _silent(kernel, spec):
    """EINVAL without a log: found by asking for the parts one by one."""
    if spec.flags & U.BPF_F_SLEEPABLE and not features.have(kernel, "prog_bind_map"):
        return "this kernel does not have sleepable programs, upstream since 5.10", None
    version = features.PROG_TYPE_VERSIONS.get(spec.type)
    return ("not taken as a program of type %s (attach type %d)" % (U.PROG_TYPE_NAMES.get(spec.type, spec.type),
                                                                    spec.attach_type),
            "the type came with %s, some attach types later" % version if version else None)


# -- privilege --------------------------------------------------------------------------------------------------------
# include/uapi/linux/capability.h; the last two since 5.8
CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 21, 38, 39


def effective_caps(kernel):
    """CapEff of this process as an int, None where /proc does not say."""
    try:
        for line in kernel.read("/proc/self/status").split(b"\n"):
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16)
    except Exception:  # noqa: B902  KernelError, ValueError: no /proc is no reason for a second error
        pass
    return None


_TRAMPOLINES = (U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_MODIFY_RETURN, U.BPF_LSM_MAC, U.BPF_LSM_CGROUP)


def explain_privilege(kernel, what, error, spec=None, is_root=None):
    """PrivilegeError that says which of the many reasons for EPERM it is: not root, a capability, lockdown, a sysctl,
    a limit."""
    import os
    caps = effective_caps(kernel)
    is_root = os.geteuid() == 0 if is_root is None else is_root
    text, need, hint = "%s: %s" % (what, errno_text(error.errno)), "root", None
    full = caps is not None and caps >> CAP_SYS_ADMIN & 1
    newer = caps is not None and caps >> CAP_BPF & 1 and caps >> CAP_PERFMON & 1
    lockdown = _file(kernel, "/sys/kernel/security/lockdown")
    if not (full or newer):
        if not is_root:
            missing = "not root"
        else:
            missing = "root without CAP_BPF and CAP_PERFMON, as in an unprivileged container"
        need = "root, or CAP_BPF and CAP_PERFMON (5.8; CAP_SYS_ADMIN before), and CAP_NET_ADMIN for network programs"
        hint = "run as root" if not is_root else "give the container --cap-add BPF,PERFMON (or SYS_ADMIN)"
        sysctl = _file(kernel, "/proc/sys/kernel/unprivileged_bpf_disabled")
        if sysctl and sysctl != "0":
            missing += "; kernel.unprivileged_bpf_disabled is %s" % sysctl
        text += " (%s)" % missing
    elif lockdown and "[confidentiality]" in lockdown:
        need = "a kernel that is not locked down"
        text += " (lockdown is [confidentiality]: BPF may not read kernel memory)"
        hint = "boot without lockdown=confidentiality, or switch Secure Boot off"
    elif lockdown and "[integrity]" in lockdown:
        need = "a kernel that is not locked down"
        text += " (lockdown is [integrity]: bpf_probe_write_user and kernel writes are refused)"
    else:
        need = None
        text += " (all capabilities are there)"
        if spec is not None and (spec.attach_type in _TRAMPOLINES or spec.type == U.BPF_PROG_TYPE_EXT):
            return PrivilegeError(text, need, error.call, error.errno, error,
                                  "this kernel lets nobody put programs at the entry or exit of "
                                  "its functions (fentry, fexit, fmod_ret, lsm, freplace): use kprobes or tracepoints")
        hint = ("a security module or a seccomp filter of the container refuses bpf(), or this kernel is built without "
                "this "
                "kind of program; before 5.11 also: RLIMIT_MEMLOCK is too low")
    return PrivilegeError(text, need, error.call, error.errno, error, hint)


def _file(kernel, path):
    try:
        return kernel.read(path).decode("ascii", "replace").strip()
    except Exception:  # noqa: B902
        return ""
