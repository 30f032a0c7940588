"""Programs: instructions patched with what only the live kernel knows (fds, ids, addresses), loaded, and handled as
``Program``.

The first try is made as a new kernel wants it; what an older one refuses is found out then (lbc.bpf.features), left
out or rewritten, and left out from the start for the next program.  The verifier is asked for its log only after a
refusal.
"""
from __future__ import absolute_import

import errno
import struct

from .._py23 import integer_types, to_bytes
from ..errors import KernelError, LbcError, NotFoundError, NotSupported
from ..uapi import bpf as U
from . import features, sections, spec as S

__all__ = ["Program", "Context", "load", "MAX_LOG"]

MAX_LOG = (1 << 24) - 1        # more is refused by kernels before 5.2 (kernel/bpf/verifier.c: UINT_MAX >> 8)
LOG_START = 1 << 16
_INSN = struct.Struct("=BBhi")
_U32 = struct.Struct("=I")
_PROBE_READ = {113: 4, 112: 4, 115: 45, 114: 45}  # probe_read_{kernel,user}[_str] -> probe_read[_str], as before 5.5


class Context(object):
    """What all programs of one object share: maps {name: Map}, symbols {name: externs.Symbol}, the object's BTF in the
    kernel (``btf_fd``, 0: none), ``kernel_btf`` and ``log_level`` (0: only on failure)."""

    def __init__(self, kernel, spec, maps, symbols=None, btf_fd=0, kernel_btf=None, log_level=0):
        self.kernel, self.spec, self.maps, self.symbols = kernel, spec, maps, symbols or {}
        self.btf_fd, self.kernel_btf, self.log_level = btf_fd, kernel_btf, log_level
        self.targets = {}  # {program name: (type id, BTF fd, attach type)} of struct_ops programs


class Program(object):
    """A loaded program: owns ``fd``.  ``spec`` is its ProgramSpec; ``log`` the verifier's log when one was asked
    for; ``object`` the BpfObject that it belongs to, or None."""

    def __init__(self, kernel, spec, fd, log=""):
        self.kernel, self.spec, self.fd, self.log = kernel, spec, fd, log
        self.name, self.type, self.attach_type = spec.name, spec.type, spec.attach_type
        self.object = None

    def __repr__(self):
        return "Program(%s, %s, fd %s)" % (self.name, U.PROG_TYPE_NAMES.get(self.type, self.type), self.fd)

    def close(self):
        """Close the fd (idempotent); the program lives on while a link or a pin holds it."""
        fd, self.fd = self.fd, None
        if fd is not None:
            self.kernel.close(fd)

    def fileno(self):
        return self.fd

    def attach(self, target=None, **options):
        """Link of this program: see links.attach for targets and options.  It is closed with the object, if not
        before."""
        from . import links
        link = links.attach(self.kernel, self, target, **options)
        if self.object is not None:
            self.object.own(link)
        return link

    def pin(self, path):
        """Pin to a file of a bpf file system (4.4); see pinning.pin."""
        from . import pinning
        pinning.pin(self.kernel, self.fd, path, "program `%s`" % self.name)

    def info(self):
        """ProgramInfo: id, lengths in bytes, run time statistics (4.13; members that the kernel lacks are 0)."""
        return ProgramInfo(self.kernel.info(self.fd, U.BPF_PROG_INFO, U.BPF_PROG_INFO_SIZE))

    def xlated(self):
        """Bytes of the instructions as the verifier rewrote them (4.13; needs CAP_SYS_ADMIN or CAP_PERFMON)."""
        length = self.info().xlated_len
        buf = bytearray(length)
        from .syscalls import Attr
        answer = Attr(None, layout=U.BPF_PROG_INFO, total=U.BPF_PROG_INFO_SIZE)
        answer.size = U.BPF_PROG_INFO_SIZE
        answer.set("xlated_prog_len", length)
        answer.set("xlated_prog_insns", buf)
        self.kernel.bpf(U.BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": self.fd, "info.info_len": answer.size,
                                                   "info.info": answer.buf})
        return bytes(buf)

    def test_run(self, data=b"", ctx=None, repeat=1, flags=0, cpu=0, out_size=None):
        """Run once (or ``repeat`` times) in the kernel without attaching (4.12).  -> TestRun.  NotSupported where the
        type cannot."""
        from .syscalls import Attr
        fields = {"test.prog_fd": self.fd, "test.flags": flags, "test.cpu": cpu}
        if repeat != 1:
            fields["test.repeat"] = repeat
        out = bytearray((len(data) + 256 if data else 0) if out_size is None else out_size)
        if data:
            fields.update({"test.data_in": bytearray(data), "test.data_size_in": len(data)})
        if out:
            fields.update({"test.data_out": out, "test.data_size_out": len(out)})
        ctx_out = None
        if ctx is not None:
            ctx_out = bytearray(len(ctx))
            fields.update({"test.ctx_in": bytearray(ctx), "test.ctx_size_in": len(ctx)})
            if self.type not in (U.BPF_PROG_TYPE_RAW_TRACEPOINT, U.BPF_PROG_TYPE_TRACING):
                if self.type == U.BPF_PROG_TYPE_SYSCALL:  # writes back to ctx_in
                    ctx_out = fields["test.ctx_in"]
                else:
                    fields.update({"test.ctx_out": ctx_out, "test.ctx_size_out": len(ctx)})
        attr = Attr(U.BPF_PROG_TEST_RUN, fields)
        try:
            self.kernel.run(attr)
        except KernelError as error:
            if error.errno in (524, errno.EOPNOTSUPP) or (error.errno == errno.EINVAL
                                                          and not features.have(self.kernel, "test_run")):
                raise NotSupported("test runs of %s programs" % U.PROG_TYPE_NAMES.get(self.type, self.type),
                                   "4.12 for network programs",
                                   error.errno, error.call, error)
            raise
        size = min(attr.get("test.data_size_out"), len(out))
        return TestRun(attr.get("test.retval"), bytes(out[:size]), bytes(ctx_out) if ctx_out is not None else None,
                       attr.get("test.duration"))


class TestRun(object):
    """``retval`` (unsigned 32 bits), ``data`` and ``ctx`` after the run, ``duration`` in ns per run."""
    __slots__ = ("retval", "data", "ctx", "duration")
    __test__ = False  # not a test case, whatever its name looks like

    def __init__(self, retval, data, ctx, duration):
        self.retval, self.data, self.ctx, self.duration = retval, data, ctx, duration


class ProgramInfo(object):
    """id, type, name, tag, xlated_len, jited_len (bytes), run_time_ns, run_count, recursion_misses, verified_insns,
    btf_id."""
    __slots__ = ("id", "type", "name", "tag", "xlated_len", "jited_len", "run_time_ns", "run_count", "recursion_misses",
                 "verified_insns", "btf_id")

    def __init__(self, answer):
        from .._py23 import to_text
        get = answer.get
        self.id, self.type = get("id"), get("type")
        self.name = to_text(bytes(answer.buf[64:80]).split(b"\0")[0])
        self.tag = "".join("%02x" % byte for byte in bytearray(answer.buf[8:16]))
        self.xlated_len, self.jited_len = get("xlated_prog_len"), get("jited_prog_len")
        self.run_time_ns, self.run_count = get("run_time_ns"), get("run_cnt")
        self.recursion_misses, self.verified_insns = get("recursion_misses"), get("verified_insns")
        self.btf_id = get("btf_id")


def enable_stats(kernel):
    """fd that keeps run time statistics on while it is open (5.8)."""
    try:
        return kernel.bpf(U.BPF_ENABLE_STATS, {"enable_stats.type": U.BPF_STATS_RUN_TIME})
    except KernelError as error:
        if error.errno == errno.EINVAL:
            raise NotSupported("run time statistics by fd", "5.8", error.errno, error.call, error,
                               hint="sysctl kernel.bpf_stats_enabled=1 (5.1)")
        raise


# -- patching ---------------------------------------------------------------------------------------------------------
def patch(context, spec):
    """(instructions, fd_array or None): a copy of ``spec.insns`` with every relocation filled in."""
    try:
        return _patch(context, spec)
    except _Retry:
        return _patch(context, spec)


class _Retry(Exception):
    """Only now it turned out that the kernel has no global data."""


def _patch(context, spec):
    insns, fd_array, unpack, pack = bytearray(spec.insns), None, _INSN.unpack_from, _INSN.pack_into
    symbols = context.symbols
    for reloc in spec.relocs:
        at, kind = reloc.insn * 8, reloc.kind
        code, regs, offset, imm = unpack(insns, at)
        if kind == S.MAP or kind == S.MAP_VALUE:
            table = context.maps.get(reloc.name)
            if kind == S.MAP_VALUE and context.kernel.facts.get("global_data") is False:
                _without_global_data(context, spec, insns, reloc)
                continue
            if table is None:
                if not _is_off(context, reloc.name):
                    raise _no_map(context, spec, reloc)
                from .verifier import MAP_POISON
                poison = MAP_POISON + list(context.spec.maps).index(reloc.name)
                for half in (at, at + 8):
                    pack(insns, half, 0x85, 0, 0, poison)
                continue
            fd = table.fd
            if kind == S.MAP:
                pack(insns, at, code, regs & 15 | U.BPF_PSEUDO_MAP_FD << 4, 0, fd)
                pack(insns, at + 8, 0, 0, 0, 0)
            else:
                pack(insns, at, code, regs & 15 | U.BPF_PSEUDO_MAP_VALUE << 4, 0, fd)
                pack(insns, at + 8, 0, 0, 0, _signed(reloc.offset & 0xffffffff))
        elif kind == S.FUNC_ADDR:
            continue  # the linker made it relative
        elif kind == S.KSYM or (kind == S.KFUNC and code == 0x18):
            symbol = symbols[reloc.name]
            if symbol.btf_id:
                pack(insns, at, code, regs & 15 | U.BPF_PSEUDO_BTF_ID << 4, offset, symbol.btf_id)
                pack(insns, at + 8, 0, 0, 0, symbol.fd)
            else:
                value = symbol.address + reloc.offset & 0xffffffffffffffff if symbol.found else 0
                pack(insns, at, code, regs & 15, offset, _signed(value & 0xffffffff))
                pack(insns, at + 8, 0, 0, 0, _signed(value >> 32))
        elif kind == S.KFUNC:
            symbol = symbols[reloc.name]
            if symbol.btf_id:
                index = 0
                if symbol.fd:
                    fd_array = fd_array if fd_array is not None else [0]  # 0 stands for vmlinux
                    if symbol.fd not in fd_array[1:]:
                        fd_array.append(symbol.fd)
                    index = fd_array.index(symbol.fd, 1)
                pack(insns, at, code, U.BPF_PSEUDO_KFUNC_CALL << 4, index, symbol.btf_id)
            else:  # weak and missing: only an error where the call is reached
                from .verifier import KFUNC_POISON
                pack(insns, at, code, 0, 0, KFUNC_POISON + list(context.spec.externs).index(reloc.name))
        elif kind == S.KCONFIG:
            raise LbcError("program `%s`, instruction %d: extern `%s` was not linked to the .kconfig map"
                           % (spec.name, reloc.insn, reloc.name))
    return insns, fd_array


def _without_global_data(context, spec, insns, reloc):
    """Before 5.2: constants become immediates, variables cannot be."""
    table = context.spec.maps[reloc.name]
    if table.kind in ("rodata", "kconfig"):
        from . import const_data
        if const_data.inline(insns, reloc.insn, table.data, reloc.offset):
            return
    raise NotSupported("global variables in BPF programs, and program `%s` needs one of `%s`" % (spec.name, reloc.name),
                       "5.2",
                       hint="constants that are only read (const volatile) work on older kernels, variables and texts "
                       "do not")


def _is_off(context, name):
    """Was the map left out on purpose?  Then, as with libbpf, a program may refer to it where it never comes by."""
    table = context.spec.maps.get(name)
    return table is not None and not table.autocreate


def _no_map(context, spec, reloc):
    table = context.spec.maps.get(reloc.name)
    if table is not None and table.data is not None and not features.have(context.kernel, "global_data"):
        return _Retry()
    return LbcError("program `%s` uses map `%s`, which was not created" % (spec.name, reloc.name),
                    hint="its own error says why")


def _signed(value):
    """The 32-bit ``value`` (unsigned) as an immediate holds it."""
    return value - (1 << 32) if value >> 31 else value


def _probe_read_before_55(insns):
    """Helper numbers of probe_read_{kernel,user}[_str] -> probe_read[_str], in place.  True when there was one."""
    changed, unpack = False, _INSN.unpack_from
    at, end = 0, len(insns)
    while at < end:
        code, regs, offset, imm = unpack(insns, at)
        if code == 0x18:
            at += 8
        elif code == 0x85 and not regs >> 4 and imm in _PROBE_READ:
            _INSN.pack_into(insns, at, code, regs, offset, _PROBE_READ[imm])
            changed = True
        at += 8
    return changed


# -- attach targets known by BTF ---------------------------------------------------------------------------------------
def attach_ids(context, spec):
    """(attach_btf_id, attach fd): what BPF_PROG_LOAD must know of the target of tracing, lsm, struct_ops and freplace
    programs."""
    kind, attach = spec.type, spec.attach_type
    if kind not in (U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM, U.BPF_PROG_TYPE_EXT, U.BPF_PROG_TYPE_STRUCT_OPS):
        return 0, 0
    target = spec.attach_to
    if kind == U.BPF_PROG_TYPE_EXT or isinstance(target, tuple):
        return _replaced(context, spec)
    row = spec.section_def
    if row is not None and not row.flags & sections.ATTACH_BTF and kind != U.BPF_PROG_TYPE_STRUCT_OPS:
        return 0, 0  # fentry.multi and its like: functions are named when it is attached
    if kind == U.BPF_PROG_TYPE_STRUCT_OPS:
        if spec.name not in context.targets:
            raise LbcError("program `%s`: no struct_ops map of the object refers to it" % spec.name)
        return context.targets[spec.name][:2]
    if not target:
        raise LbcError("program `%s`: section `%s` names no target" % (spec.name, spec.section),
                       hint="set it before loading: obj.programs.%s.attach_to = \"...\"" % spec.name)
    from ..uapi.btf import BTF_KIND_FUNC, BTF_KIND_TYPEDEF
    btf = context.kernel_btf
    if kind == U.BPF_PROG_TYPE_LSM:
        return btf.attach_id("bpf_lsm_", target, what="LSM hook")
    if attach == U.BPF_TRACE_RAW_TP:
        return btf.attach_id("btf_trace_", target, BTF_KIND_TYPEDEF, "tracepoint")
    if attach == U.BPF_TRACE_ITER:
        return btf.attach_id("bpf_iter_", target, what="iterator")
    return btf.attach_id("", target, BTF_KIND_FUNC)


def _replaced(context, spec):
    """freplace and fentry of a BPF program: ``attach_to`` is (Program or fd, function name)."""
    target = spec.attach_to
    if not isinstance(target, tuple):
        raise LbcError("program `%s`: what it replaces is not set" % spec.name,
                       hint="before loading: obj.programs.%s.attach_to = (program, \"function\")" % spec.name)
    program, name = target
    fd = program if isinstance(program, integer_types) else program.fd
    kernel = context.kernel
    info = kernel.info(fd, U.BPF_PROG_INFO, U.BPF_PROG_INFO_SIZE)
    btf_id = info.get("btf_id")
    if not btf_id:
        raise LbcError("program `%s`: its target has no BTF, so its functions have no names" % spec.name)
    btf_fd = kernel.bpf(U.BPF_BTF_GET_FD_BY_ID, {"btf_id": btf_id})
    try:
        from .kernel_btf import loaded_btf
        from ..btf import parse
        from ..uapi.btf import BTF_KIND_FUNC
        found = parse.Btf(loaded_btf(kernel, btf_fd)).find_one(name, BTF_KIND_FUNC)
    finally:
        kernel.close(btf_fd)
    if not found:
        raise NotFoundError("function", name, "the target program")
    return found, fd


# -- loading ---------------------------------------------------------------------------------------------------------
def clean_name(name):
    """At most 15 bytes that every kernel with names takes (bpf_obj_name_cpy: letters, digits, '_')."""
    return bytes(bytearray(char if chr(char).isalnum() and char < 128 or char == 0x5f else 0x5f
                           for char in bytearray(to_bytes(name))[:15]))


def _info_block(rows, width):
    block = struct.Struct("=%dI" % width)
    out = bytearray(block.size * len(rows))
    at = 0
    for row in rows:
        block.pack_into(out, at, *row)
        at += block.size
    return out


def load(context, spec):
    """Program.  VerifierError with the log, PrivilegeError, NotSupported or NotFoundError where it cannot be."""
    kernel, facts = context.kernel, context.kernel.facts
    if not spec.type:
        raise LbcError("program `%s`: section `%s` says no program type" % (spec.name, spec.section),
                       hint="set it before loading: obj.programs.%s.type = ..." % spec.name)
    insns, fd_array = patch(context, spec)
    btf_id, attach_fd = attach_ids(context, spec)
    if facts.get("probe_read_kernel") is False:
        _probe_read_before_55(insns)
    fields = {"prog_type": spec.type, "insn_cnt": len(insns) // 8, "insns": insns,
              "license": bytes(context.spec.license) + b"\0",
              "prog_flags": spec.flags, "attach_btf_id": btf_id, "attach_btf_obj_fd": attach_fd}
    fields["expected_attach_type"] = context.targets[spec.name][2] if spec.name in context.targets else spec.attach_type
    if spec.type == U.BPF_PROG_TYPE_KPROBE:
        fields["kern_version"] = features.version_code(kernel)  # the object's own "version" would only ever be wrong
    if facts.get("prog_name") is not False:
        fields["prog_name"] = clean_name(spec.name)
    if facts.get("exp_attach_type") is False and _optional_attach_type(spec):
        del fields["expected_attach_type"]
    if fd_array is not None:
        array = bytearray(4 * len(fd_array))
        for i, fd in enumerate(fd_array):
            _U32.pack_into(array, 4 * i, fd)
        fields["fd_array"] = array
    if context.btf_fd and facts.get("btf_func") is not False:
        fields["prog_btf_fd"] = context.btf_fd
        for name, rows, width in (("func_info", spec.func_info, 2), ("line_info", spec.line_info, 4)):
            if rows:
                fields.update({name: _info_block(rows, width), name + "_rec_size": 4 * width,
                               name + "_cnt": len(rows)})
    fds = []  # needed until the program is in the kernel
    try:
        fd, log = _attempt(context, spec, fields, fds)
    finally:
        for number in fds:
            kernel.close(number)
    _bind_maps(context, fd)
    return Program(kernel, spec, fd, log)


def _optional_attach_type(spec):
    """May the kernel be told no attach type (libbpf SEC_EXP_ATTACH_OPT)?"""
    row = spec.section_def
    return row is None or bool(row.flags & sections.ATTACH_OPT)


def _attempt(context, spec, fields, fds):
    """(fd, log text): tries, adapts once to an older kernel, then asks for the log and raises."""
    kernel = context.kernel
    log = None
    if context.log_level:
        log = bytearray(LOG_START)
        fields.update(log_level=context.log_level, log_size=len(log), log_buf=log)
    adapted, tries, privileged = False, 5, False
    while True:
        try:
            fd = kernel.bpf(U.BPF_PROG_LOAD, fields)
            return fd, _text(log)
        except KernelError as error:
            number = error.errno
            if number == errno.EAGAIN and tries:  # the verifier was interrupted by a signal (libbpf tries 5 times too)
                tries -= 1
                continue
            if number == errno.EPERM and not privileged:
                privileged = True
                if features.loses_memlock(kernel, error):
                    continue
            if number == errno.ENOSPC and log is not None and len(log) < MAX_LOG:
                log = bytearray(min(len(log) * 4, MAX_LOG))
                fields.update(log_size=len(log), log_buf=log)
                continue
            if not adapted and number not in (errno.EPERM, errno.ENOMEM, errno.EMFILE):
                adapted = True
                if _adapt(context, spec, fields, fds):
                    continue
            if log is None:
                log = bytearray(LOG_START)
                fields.update(log_level=1, log_size=len(log), log_buf=log)
                continue
            from .verifier import explain
            raise explain(kernel, spec, error, _text(log), context.spec.btf, context.spec.externs)


def _text(log):
    if log is None:
        return ""
    from .._py23 import to_text
    return to_text(bytes(log).split(b"\0")[0])


def _adapt(context, spec, fields, fds):
    """Leave out what this kernel turns out not to know.  True when something changed, so another try is worth it.
    ``fds`` gets what must be closed afterwards."""
    kernel, changed = context.kernel, False
    if fields.get("prog_name") and not features.have(kernel, "prog_name"):
        del fields["prog_name"]
        changed = True
    if fields.get("expected_attach_type") and _optional_attach_type(spec) and not features.have(kernel,
                                                                                                "exp_attach_type"):
        del fields["expected_attach_type"]
        changed = True
    if fields.get("prog_btf_fd") and not features.have(kernel, "btf_func"):
        changed = True
        for name in list(fields):
            if name == "prog_btf_fd" or name.startswith(("func_info", "line_info")):
                del fields[name]
    elif fields.get("prog_btf_fd") and spec.func_info:
        changed = _name_contexts(context, spec, fields, fds) or changed
    if any(reloc.kind == S.MAP_VALUE for reloc in spec.relocs) and not features.have(kernel, "global_data"):
        fields["insns"] = patch(context, spec)[0]
        changed = True
    insns = fields["insns"]
    if _uses_probe_read(insns) and not features.have(kernel, "probe_read_kernel"):
        changed = _probe_read_before_55(insns) or changed
    return changed


def _name_contexts(context, spec, fields, fds):
    """Types of __arg_ctx arguments as kernels before 6.8 want them.  True when there are such."""
    from . import arg_ctx
    found = arg_ctx.rewrite(context.spec.btf, spec.type, spec.func_info) if context.spec.btf is not None else None
    if found is None:
        return False
    from . import prog_btf
    from ..btf.parse import Btf
    fd = prog_btf.load(context.kernel, Btf(found[0]))
    if not fd:
        return False
    fds.append(fd)
    fields.update(prog_btf_fd=fd, func_info=_info_block(found[1], 2))
    return True


def _uses_probe_read(insns):
    return _probe_read_before_55(bytearray(insns))


def _bind_maps(context, fd):
    """Read-only data lives as long as the program even where no instruction refers to it (5.10; libbpf does the
    same)."""
    kernel = context.kernel
    if kernel.facts.get("prog_bind_map") is False:
        return
    for table in context.spec.maps.values():
        if table.kind == "rodata" and table.name in context.maps:
            try:
                kernel.bpf(U.BPF_PROG_BIND_MAP, {"prog_bind_map.prog_fd": fd,
                                                 "prog_bind_map.map_fd": context.maps[table.name].fd})
            except KernelError as error:
                if error.errno == errno.EINVAL:
                    features.learn(kernel, "prog_bind_map", False)
                return
