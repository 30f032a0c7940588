"""What this kernel has, found by trying once: one table, a row per feature, asked only when the answer matters.

The fast path never asks: it tries the real thing and comes here when that is refused, so a modern kernel pays for no
probe.  Answers are kept in ``kernel.facts`` only when conclusive; a probe that fails for another reason (no privilege,
no memory) is not an answer, is not kept and is never fatal.  Version numbers are for messages only: distributions
backport, so nothing here decides by version.
"""
from __future__ import absolute_import

import errno
import struct

from ..errors import ENOTSUPP, KernelError, NotSupported
from ..uapi import bpf as U

__all__ = ["Feature", "FEATURES", "have", "require", "learn", "known", "helper_version", "HELPER_VERSIONS",
           "PROG_TYPE_VERSIONS",
           "MAP_TYPE_VERSIONS", "insn", "try_program", "have_map_type", "have_prog_type", "have_helper",
           "loses_memlock"]

_INSN = struct.Struct("=BBhi")
EXIT = _INSN.pack(0x95, 0, 0, 0)
RETURN_0 = _INSN.pack(0xb7, 0, 0, 0) + EXIT  # r0 = 0; exit


def insn(code, dst=0, src=0, offset=0, imm=0):
    """8 bytes of one BPF instruction (include/uapi/linux/bpf.h struct bpf_insn, little-endian register nibbles)."""
    return _INSN.pack(code, dst | src << 4, offset, imm)


class Feature(object):
    """``name``, ``text`` (reads well behind "this kernel does not have"), ``version`` (upstream, "5.8"), ``probe``:
    f(kernel) -> True, False, or None where it cannot be told."""
    __slots__ = ("name", "text", "version", "probe")

    def __init__(self, name, text, version, probe):
        self.name, self.text, self.version, self.probe = name, text, version, probe


# -- probing --------------------------------------------------------------------------------------------------------
_UNKNOWN = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EINTR)


def loses_memlock(kernel, error):
    """True when ``error`` is EPERM and RLIMIT_MEMLOCK could be raised just now: try again (kernels before 5.11)."""
    if error.errno != errno.EPERM or kernel.facts.get("memlock_raised"):
        return False
    kernel.facts["memlock_raised"] = True
    return kernel.raise_memlock()


def _try(kernel, cmd, fields):
    """(True, 0) and its fd closed, (False, errno) where refused, (None, errno) where the refusal says nothing."""
    for again in (True, False):
        try:
            result = kernel.bpf(cmd, fields)
        except KernelError as error:
            if again and loses_memlock(kernel, error):
                continue
            return (None if error.errno in _UNKNOWN else False), error.errno
        if result > 0:
            kernel.close(result)
        return True, 0
    return None, errno.EPERM


def try_program(kernel, insns=RETURN_0, prog_type=U.BPF_PROG_TYPE_SOCKET_FILTER, **fields):
    """(answer, errno) of loading a program of ``insns``; see _try."""
    fields.update(prog_type=prog_type, insn_cnt=len(insns) // 8, insns=bytearray(insns), license=b"GPL\0")
    return _try(kernel, U.BPF_PROG_LOAD, fields)


def _program(**fields):
    return lambda kernel: try_program(kernel, **fields)[0]


def _map(map_type=U.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1, **fields):
    fields.update(map_type=map_type, key_size=key_size, value_size=value_size, max_entries=max_entries)
    return lambda kernel: _try(kernel, U.BPF_MAP_CREATE, fields)[0]


def _btf(*types, **more):
    """A probe loading the BTF of ``types`` (bytes of the type section, ids from 1) over ``strings``."""
    def probe(kernel):
        body, strings = b"".join(types), more.get("strings", b"\0a\0b\0")
        data = struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings
        return _try(kernel, U.BPF_BTF_LOAD, {"btf": bytearray(data), "btf_size": len(data)})[0]
    return probe


def _type(kind, name=0, vlen=0, size=0, more=(), flag=0):
    return struct.pack("=III", name, flag << 31 | kind << 24 | vlen, size) + struct.pack("=%dI" % len(more), *more)


_INT = _type(1, 1, 0, 4, (1 << 24 | 32,))  # int a, signed, 32 bits


def _command(cmd, **fields):
    """A command that is refused as unknown is EINVAL; one that exists looks at the bad fd first (EBADF) or ENOENT."""
    def probe(kernel):
        answer, number = _try(kernel, cmd, fields)
        if answer is False:
            return None if number in (errno.ENOSYS,) else number not in (errno.EINVAL, errno.E2BIG)
        return answer
    return probe


def _helper(number, prog_type):
    return lambda kernel: have_helper(kernel, number, prog_type)


def _with_map(test, **fields):
    """A probe that makes a map and asks ``test(kernel, fd)``."""
    def probe(kernel):
        spec = dict(map_type=U.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=32, max_entries=1)
        spec.update(fields)
        for again in (True, False):
            try:
                fd = kernel.bpf(U.BPF_MAP_CREATE, spec)
                break
            except KernelError as error:
                if not (again and loses_memlock(kernel, error)):
                    return None if error.errno in _UNKNOWN else False
        try:
            return test(kernel, fd)
        finally:
            kernel.close(fd)
    return probe


def _global_data(kernel, fd):
    body = insn(0x18, 1, U.BPF_PSEUDO_MAP_VALUE, 0, fd) + insn(0, imm=16) + insn(0x7a, 1, 0, 0, 42) + RETURN_0
    return try_program(kernel, body)[0]


def _load(kernel, prog_type, attach_type=0):
    """fd of a program that returns 0.  Raises KernelError."""
    fields = {"prog_type": prog_type, "insn_cnt": 2, "insns": bytearray(RETURN_0), "license": b"GPL\0",
              "expected_attach_type": attach_type}
    if prog_type == U.BPF_PROG_TYPE_KPROBE:
        fields["kern_version"] = version_code(kernel)
    try:
        return kernel.bpf(U.BPF_PROG_LOAD, fields)
    except KernelError as error:
        if not loses_memlock(kernel, error):
            raise
    return kernel.bpf(U.BPF_PROG_LOAD, fields)


def _bind_map(kernel, fd):
    try:
        prog = _load(kernel, U.BPF_PROG_TYPE_SOCKET_FILTER)
    except KernelError:
        return None
    try:
        return _try(kernel, U.BPF_PROG_BIND_MAP, {"prog_bind_map.prog_fd": prog, "prog_bind_map.map_fd": fd})[0]
    finally:
        kernel.close(prog)


def _batch(kernel, fd):
    del fd
    return _command(U.BPF_MAP_LOOKUP_BATCH, **{"batch.map_fd": 0x7fffffff, "batch.count": 1})(kernel)


def _link(attach_type, prog_type, expected=0, **fields):
    """A link of a real program to a target that cannot be: EINVAL says that the kernel does not know the attach
    type."""
    def probe(kernel):
        try:
            prog = _load(kernel, prog_type, expected)
        except KernelError as error:
            return None if error.errno in _UNKNOWN else False
        try:
            what = {"link_create.prog_fd": prog, "link_create.target_fd": 0x7fffffff,
                    "link_create.attach_type": attach_type}
            what.update(fields)
            answer, number = _try(kernel, U.BPF_LINK_CREATE, what)
            if answer is False:
                return number in (errno.EBADF, errno.ENODEV, errno.ENOENT, errno.EFAULT)
            return answer
        finally:
            kernel.close(prog)
    return probe


def _exists(path):
    return lambda kernel: kernel.exists(path)


def _memcg(kernel):
    """Kernels that charge maps to the memory cgroup came with bpf_ktime_get_coarse_ns (5.11), as libbpf also
    assumes."""
    return have_helper(kernel, 160, U.BPF_PROG_TYPE_SOCKET_FILTER)


def _syscall_wrapper(kernel):
    """Is a system call function called __x64_sys_*: by kallsyms, as no call tells."""
    from ..uapi import arch
    prefix = arch.ARCHES[kernel.machine()].syscall_prefix if kernel.machine() in arch.ARCHES else "__x64_"
    try:
        return (" %ssys_bpf\n" % prefix).encode() in kernel.read("/proc/kallsyms") or \
            (" %ssys_openat\n" % prefix).encode() in kernel.read("/proc/kallsyms")
    except KernelError:
        return None


def _large(kernel):
    return try_program(kernel, insn(0xb7) * 4097 + EXIT)[0]


def _loops(kernel):
    # r0 = 10; do r0 -= 1 while (r0 != 0); exit
    return try_program(kernel, insn(0xb7, imm=10) + insn(0x07, imm=-1) + insn(0x55, offset=-2) + EXIT)[0]


def _calls(kernel):
    # call +1; exit; r0 = 0; exit
    answer, number = try_program(kernel, insn(0x85, src=1, imm=1) + EXIT + RETURN_0)
    return answer if answer or number != errno.EPERM else None


_S, _K, _T = U.BPF_PROG_TYPE_SOCKET_FILTER, U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_TRACEPOINT
_ROWS = [
    ("prog_name", "names of programs", "4.15", _program(prog_name=b"lbc")),
    ("map_name", "names of maps", "4.15", _map(map_name=b"lbc")),
    ("dot_name", "dots in names", "5.2", _map(map_name=b"l.c")),
    ("exp_attach_type", "expected attach types", "4.17",
     _program(prog_type=U.BPF_PROG_TYPE_CGROUP_SOCK, expected_attach_type=U.BPF_CGROUP_INET_SOCK_CREATE + 8)),
    ("global_data", "global variables in BPF programs", "5.2", _with_map(_global_data)),
    ("map_freeze", "freezing of maps", "5.2", _with_map(lambda k, fd: _try(k, U.BPF_MAP_FREEZE, {"map_fd": fd})[0])),
    ("rdonly_prog", "read-only maps for programs", "5.2", _map(map_flags=U.BPF_F_RDONLY_PROG)),
    ("array_mmap", "mapping of array maps into memory", "5.5", _map(map_flags=U.BPF_F_MMAPABLE)),
    ("prog_bind_map", "binding of maps to programs", "5.10", _with_map(_bind_map)),
    ("probe_read_kernel", "bpf_probe_read_kernel and bpf_probe_read_user", "5.5", _helper(113, _T)),
    ("btf", "BTF of programs", "4.18", _btf(_INT)),
    ("btf_func", "BTF of functions (func_info, line_info)", "5.0",
     _btf(_INT, _type(13, vlen=1, more=(1, 1)), _type(12, 3, 0, 2))),
    ("btf_global_func", "BTF of global functions", "5.6", _btf(_INT, _type(13, vlen=1, more=(1, 1)),
                                                               _type(12, 3, 1, 2))),
    ("btf_datasec", "BTF of global variables", "5.2",
     _btf(_INT, _type(14, 3, 0, 1, (0,)), _type(15, 3, 1, 4, (2, 0, 4)))),
    ("btf_qmark_datasec", "'?' in names of BTF sections", "6.9",
     _btf(_INT, _type(14, 3, 0, 1, (0,)), _type(15, 5, 1, 4, (2, 0, 4)), strings=b"\0a\0b\0?.d\0")),
    ("btf_float", "floating point types in BTF", "5.13", _btf(_type(16, 1, 0, 4))),
    ("btf_decl_tag", "declaration tags in BTF", "5.16", _btf(_INT, _type(14, 3, 0, 1, (0,)),
                                                             _type(17, 1, 0, 2, (0xffffffff,)))),
    ("btf_type_tag", "type tags in BTF", "5.17", _btf(_INT, _type(18, 3, 0, 1), _type(2, 0, 0, 2))),
    ("btf_enum64", "64-bit enumerations in BTF", "6.0", _btf(_type(19, 1, 0, 8))),
    ("btf_kind_flag", "bit-fields in BTF", "5.0", _btf(_INT, _type(4, 3, 1, 4, (3, 1, 8 << 24), flag=1))),
    ("module_btf", "BTF of kernel modules", "5.11", _exists("/sys/module/btf_dummy_never")),
    ("vmlinux_btf", "its own BTF (CONFIG_DEBUG_INFO_BTF)", "5.4", _exists("/sys/kernel/btf/vmlinux")),
    ("memcg_account", "accounting of maps by memory cgroup", "5.11", _memcg),
    ("batch", "batch operations on maps", "5.6", _with_map(_batch)),
    ("bpf_link", "BPF links", "5.7", _command(U.BPF_LINK_CREATE, **{"link_create.prog_fd": 0x7fffffff,
                                                                    "link_create.target_fd": 1})),
    ("perf_link", "BPF links of perf events", "5.15", _link(U.BPF_PERF_EVENT, U.BPF_PROG_TYPE_TRACEPOINT)),
    ("bpf_cookie", "attach cookies", "5.15", _helper(174, _K)),
    ("kprobe_multi", "kprobe.multi links", "5.18",
     _link(U.BPF_TRACE_KPROBE_MULTI, _K, U.BPF_TRACE_KPROBE_MULTI, **{"link_create.kprobe_multi.cnt": 1,
                                                                      "link_create.kprobe_multi.syms": bytearray(8)})),
    ("uprobe_multi", "uprobe.multi links", "6.6",
     _link(U.BPF_TRACE_UPROBE_MULTI, _K, U.BPF_TRACE_UPROBE_MULTI, **{
         "link_create.uprobe_multi.cnt": 1, "link_create.uprobe_multi.path": b"/\0",
         "link_create.uprobe_multi.offsets": bytearray(8)})),
    ("tcx", "tcx links", "6.6", _link(U.BPF_TCX_INGRESS, U.BPF_PROG_TYPE_SCHED_CLS)),
    ("kprobe_pmu", "the kprobe PMU", "4.17", _exists("/sys/bus/event_source/devices/kprobe/type")),
    ("uprobe_pmu", "the uprobe PMU", "4.17", _exists("/sys/bus/event_source/devices/uprobe/type")),
    ("syscall_wrapper", "wrapped system call functions", "4.17", _syscall_wrapper),
    ("large_insns", "programs of more than 4096 instructions", "5.2", _large),
    ("bounded_loops", "loops in BPF programs", "5.3", _loops),
    ("bpf2bpf", "calls between BPF functions", "4.16", _calls),
    ("sleepable", "sleepable programs", "5.10", None),
    ("ringbuf", "ring buffers (use a perf buffer)", "5.8", _map(U.BPF_MAP_TYPE_RINGBUF, 0, 0, 65536)),
    ("raw_tracepoint", "raw tracepoint programs", "4.17", _program(prog_type=U.BPF_PROG_TYPE_RAW_TRACEPOINT)),
    ("test_run", "test runs of programs", "4.12", _command(U.BPF_PROG_TEST_RUN, **{"test.prog_fd": 0x7fffffff})),
    ("stats", "run time statistics", "5.8", _command(U.BPF_ENABLE_STATS)),
    ("lookup_and_delete", "BPF_MAP_LOOKUP_AND_DELETE_ELEM", "4.20",
     _command(U.BPF_MAP_LOOKUP_AND_DELETE_ELEM, map_fd=0x7fffffff)),
]
FEATURES = {row[0]: Feature(*row) for row in _ROWS}
del _ROWS


def _module_btf(kernel):
    """BPF_BTF_LOAD cannot tell; the kernel's own BTF objects have names since module BTF came (struct
    bpf_btf_info.name)."""
    try:
        return any(name != "vmlinux"
                   for name in kernel.listdir("/sys/kernel/btf")) or kernel.exists("/sys/kernel/btf/vmlinux") and None
    except KernelError:
        return None


def _exp_attach(kernel):
    """A cgroup/bind-like value on a cgroup_sock program: refused before 4.17 because the member is unknown."""
    return try_program(kernel, prog_type=U.BPF_PROG_TYPE_CGROUP_SOCK,
                       expected_attach_type=U.BPF_CGROUP_INET4_POST_BIND)[0]


FEATURES["module_btf"].probe = _module_btf
FEATURES["exp_attach_type"].probe = _exp_attach


def known(kernel, name):
    """True, False, or None where nobody asked yet: costs nothing."""
    return kernel.facts.get(name)


def learn(kernel, name, answer):
    """Keep what a real call has shown."""
    kernel.facts[name] = answer


def have(kernel, name, default=True):
    """Does the kernel have the feature?  ``default``: where it cannot be told.  Never raises but for a wrong name."""
    answer = kernel.facts.get(name)
    if answer is not None:
        return answer
    if name not in FEATURES:
        from .._py23 import near
        from ..errors import NotFoundError
        raise NotFoundError("feature", name, near=near(name, FEATURES))
    probe = FEATURES[name].probe
    answer = None
    if probe is not None:
        try:
            answer = probe(kernel)
        except KernelError:
            answer = None
    if answer is None:
        return default
    kernel.facts[name] = answer
    return answer


def require(kernel, name):
    """NotSupported with the feature's text and version where the kernel does not have it."""
    if not have(kernel, name):
        raise NotSupported(FEATURES[name].text, FEATURES[name].version)


def _type_probe(kernel, key, probe):
    answer = kernel.facts.get(key)
    if answer is None:
        answer = probe()
        if answer is not None:
            kernel.facts[key] = answer
    return answer


def have_map_type(kernel, number):
    """True, False, or None where it cannot be told (no privilege, or the type needs more than a probe can give)."""
    key_size, value_size, entries, flags, more = 4, 4, 1, 0, {}
    if number in (U.BPF_MAP_TYPE_RINGBUF, U.BPF_MAP_TYPE_USER_RINGBUF):
        key_size, value_size, entries = 0, 0, kernel.page_size()
    elif number in (U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK, U.BPF_MAP_TYPE_BLOOM_FILTER):
        key_size = 0
    elif number == U.BPF_MAP_TYPE_STACK_TRACE:
        value_size = 8
    elif number == U.BPF_MAP_TYPE_LPM_TRIE:
        key_size, flags = 8, U.BPF_F_NO_PREALLOC
    elif number in (19, 21):
        key_size, value_size, entries = 16, 8, 0
    elif number in (U.BPF_MAP_TYPE_SK_STORAGE, U.BPF_MAP_TYPE_INODE_STORAGE, U.BPF_MAP_TYPE_TASK_STORAGE,
                    U.BPF_MAP_TYPE_CGRP_STORAGE,
                    U.BPF_MAP_TYPE_ARRAY_OF_MAPS, U.BPF_MAP_TYPE_HASH_OF_MAPS, U.BPF_MAP_TYPE_STRUCT_OPS, 33, 34):
        return _type_probe(kernel, "map_type:%d" % number, lambda: _needs_more(kernel, number))
    fields = {"map_type": number, "key_size": key_size, "value_size": value_size, "max_entries": entries,
              "map_flags": flags}
    fields.update(more)
    return _type_probe(kernel, "map_type:%d" % number, lambda: _try(kernel, U.BPF_MAP_CREATE, fields)[0])


def _needs_more(kernel, number):
    """Types that need BTF or another map: an unknown type is EINVAL with an otherwise impossible request, a known one
    is too; so they are tried with what they need, or not told."""
    if number in (U.BPF_MAP_TYPE_ARRAY_OF_MAPS, U.BPF_MAP_TYPE_HASH_OF_MAPS):
        def of_maps(kernel, fd):
            return _try(kernel, U.BPF_MAP_CREATE, {"map_type": number, "key_size": 4, "value_size": 4, "max_entries": 1,
                                                   "inner_map_fd": fd})[0]
        return _with_map(of_maps)(kernel)
    if number == U.BPF_MAP_TYPE_ARENA:
        return _try(kernel, U.BPF_MAP_CREATE, {"map_type": number, "max_entries": 1, "map_flags": U.BPF_F_MMAPABLE})[0]
    return None


def have_prog_type(kernel, number):
    """True, False, or None where it cannot be told: types that need an attach target answer EINVAL whether known or
    not."""
    if number in (U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM, U.BPF_PROG_TYPE_EXT, U.BPF_PROG_TYPE_STRUCT_OPS):
        return None
    fields, body = {}, RETURN_0
    if number in (U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,):
        fields["expected_attach_type"] = U.BPF_CGROUP_INET4_BIND
        body = insn(0xb7, imm=1) + EXIT
    elif number == U.BPF_PROG_TYPE_CGROUP_SOCKOPT:
        fields["expected_attach_type"] = U.BPF_CGROUP_GETSOCKOPT
    elif number == U.BPF_PROG_TYPE_SK_LOOKUP:
        fields["expected_attach_type"] = U.BPF_SK_LOOKUP
        body = insn(0xb7, imm=1) + EXIT
    elif number == U.BPF_PROG_TYPE_SYSCALL:
        fields["prog_flags"] = U.BPF_F_SLEEPABLE
    elif number == U.BPF_PROG_TYPE_NETFILTER:
        fields["expected_attach_type"] = U.BPF_NETFILTER
    elif number == U.BPF_PROG_TYPE_KPROBE:
        fields["kern_version"] = version_code(kernel)
    elif number == U.BPF_PROG_TYPE_FLOW_DISSECTOR:
        body = insn(0xb7, imm=129) + EXIT

    def probe():
        answer, number_ = try_program(kernel, body, number, **fields)
        return answer if answer is not False else number_ in (errno.ENOTSUP, ENOTSUPP) and None
    return _type_probe(kernel, "prog_type:%d" % number, probe)


def have_helper(kernel, number, prog_type):
    """Does ``prog_type`` know helper ``number``?  By the verifier's words, as the call itself is refused for its
    arguments."""
    def probe():
        text = _helper_log(kernel, number, prog_type)
        if text is None:
            return None
        return not any(words in text for words in (
            b"invalid func ", b"unknown func ", b"program of this type cannot use helper "))
    return _type_probe(kernel, "helper:%d:%d" % (prog_type, number), probe)


def _helper_log(kernel, number, prog_type):
    log = bytearray(4096)
    body = insn(0x85, imm=number) + EXIT
    fields = {"prog_type": prog_type, "insn_cnt": 2, "insns": bytearray(body), "license": b"GPL\0", "log_level": 1,
              "log_size": 4096,
              "log_buf": log}
    if prog_type == U.BPF_PROG_TYPE_KPROBE:
        fields["kern_version"] = version_code(kernel)
    for again in (True, False):
        try:
            kernel.close(kernel.bpf(U.BPF_PROG_LOAD, fields))
            return b""
        except KernelError as error:
            if again and loses_memlock(kernel, error):
                continue
            text = bytes(log).split(b"\0")[0]
            return text or None
    return None


def version_code(kernel):
    """KERNEL_VERSION(a, b, c) as kprobe programs must say it before 5.0.

    Ubuntu's uname lies about the last number, /proc/version_signature does not; Debian's shows it in uname -v as
    "Debian 4.19.67-2": the same two places that libbpf looks at (probes of get_kernel_version)."""
    code = kernel.facts.get("version_code")
    if code is None:
        text = kernel.release()
        if int(text.split(".")[0]) < 5:
            try:
                text = kernel.read("/proc/version_signature").decode("ascii", "replace").split(" ")[2]
            except (KernelError, IndexError):
                try:
                    words = kernel.read("/proc/version").decode("ascii", "replace").split()
                    text = words[words.index("Debian", 4) + 1] if "Debian" in words[4:] else text
                except (KernelError, IndexError, ValueError):
                    pass
        numbers = []
        for part in text.replace("-", ".").replace("+", ".").split(".")[:3]:
            digits = ""
            for char in part:
                if not char.isdigit():
                    break
                digits += char
            numbers.append(int(digits or 0))
        numbers += [0, 0, 0]
        code = numbers[0] << 16 | numbers[1] << 8 | min(numbers[2], 255)
        kernel.facts["version_code"] = code
    return code


# -- versions for messages (include/uapi/linux/bpf.h of each release) --------------------------------------------------
# (last helper number, version)
HELPER_VERSIONS = ((3, "3.19"), (11, "4.1"), (16, "4.2"), (22, "4.3"), (25, "4.4"), (26, "4.5"), (30, "4.6"),
                   (36, "4.8"), (41, "4.9"),
                   (44, "4.10"), (45, "4.11"), (47, "4.12"), (50, "4.13"), (53, "4.14"), (57, "4.15"), (59, "4.16"),
                   (64, "4.17"),
                   (80, "4.18"), (83, "4.19"), (90, "4.20"), (92, "5.0"), (98, "5.1"), (108, "5.2"), (110, "5.3"),
                   (118, "5.5"),
                   (119, "5.6"), (124, "5.7"), (141, "5.8"), (155, "5.10"), (162, "5.11"), (163, "5.12"), (165, "5.13"),
                   (168, "5.14"),
                   (175, "5.15"), (179, "5.16"), (185, "5.17"), (191, "5.18"), (203, "5.19"), (207, "6.0"),
                   (209, "6.1"), (211, "6.2"))
PROG_TYPE_VERSIONS = dict(enumerate(
    "3.19 4.1 4.1 4.1 4.7 4.8 4.9 4.10 4.10 4.10 4.10 4.10 4.13 4.14 4.15 4.17 4.17 4.17 4.18 4.18 4.19 4.20 5.2 5.2 "
    "5.3 5.5 5.6 5.6 5.7 "
    "5.9 5.14 6.4".split(), 1))
MAP_TYPE_VERSIONS = dict(enumerate(
    "3.19 3.19 4.2 4.3 4.6 4.6 4.6 4.8 4.10 4.10 4.11 4.12 4.12 4.14 4.14 4.15 4.18 4.18 4.19 4.19 4.20 4.20 4.20 5.2 "
    "5.4 5.6 5.8 5.10 "
    "5.11 5.16 6.1 6.2 6.9".split(), 1))


def helper_version(number):
    """"5.8" for bpf_ringbuf_output; None for a number that no kernel has."""
    for last, version in HELPER_VERSIONS:
        if 0 < number <= last:
            return version
    return None
