"""The checks of doctor.py: each looks at one thing of this host and says what is there, what is missing and what helps.

Nothing is changed: what BPF can do is found by loading programs and making maps that are closed at once; nothing is
attached, mounted or written, and no program is run.
"""
from __future__ import absolute_import

import os

from .._py23 import to_text
from ..bpf import features
from ..errors import KernelError, LbcError
from ..ftrace.source_lines import find_vmlinux
from ..tracefs import find_tracefs
from ..uapi import arch, bpf as U

__all__ = ["Row", "run", "OK", "LIMITED", "MISSING"]

OK, LIMITED, MISSING = "ok", "limited", "missing"
# include/uapi/linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SYSLOG": 34, "CAP_PERFMON": 38,
                "CAP_BPF": 39}
TRACING_TYPES = ("KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT")
NET_TYPES = ("SOCKET_FILTER", "SCHED_CLS", "XDP", "CGROUP_SKB", "CGROUP_SOCK_ADDR", "SOCK_OPS", "SK_MSG")
FIRST_PID_NAMESPACE = "pid:[4026531836]"   # include/linux/proc_ns.h, PROC_PID_INIT_INO


class Row(object):
    """``name`` of the thing, ``state`` (ok, limited, missing), ``detail`` what was seen, ``remedy`` what helps, or
    ""."""
    __slots__ = ("name", "state", "detail", "remedy")

    def __init__(self, name, state, detail, remedy=""):
        self.name, self.state, self.detail, self.remedy = name, state, detail, remedy


class Host(object):
    """What the checks share.  ``kernel``: a lbc.bpf.syscalls.Kernel, which may be another than the running one."""

    def __init__(self, kernel, environ=None, euid=None):
        self.kernel = kernel
        self.environ = os.environ if environ is None else environ
        self.euid = os.geteuid() if euid is None else euid
        self.tracefs = find_tracefs(kernel, mount=False)
        self.mounts = self.lines("/proc/self/mountinfo")
        mask = [line.split()[1] for line in self.lines("/proc/self/status") if line.startswith("CapEff:")]
        bits = int(mask[0], 16) if mask else -1 if self.euid == 0 else 0
        self.capabilities = {name for name, bit in CAPABILITIES.items() if bits >> bit & 1}

    def text(self, path):
        """Text of a file without the white space around it; None where it cannot be read."""
        try:
            return to_text(self.kernel.read(path)).strip()
        except KernelError:
            return None

    def lines(self, path):
        return (self.text(path) or "").splitlines()

    def shows_addresses(self):
        """Has one of the last symbols of /proc/kallsyms an address?"""
        try:
            text = self.kernel.read("/proc/kallsyms")
        except KernelError:
            return False
        return any(line.split(b" ")[0].strip(b"0") for line in text[-4096:].split(b"\n")[1:])

    def can(self, *names):
        """Has this process one of the capabilities (or all, as CAP_SYS_ADMIN)?"""
        return bool(self.capabilities & set(names + ("CAP_SYS_ADMIN",)))

    def mounted(self, kind):
        """First mount point of a file system type, or None."""
        for line in self.mounts:
            left, _, right = line.partition(" - ")
            if right.split(" ")[0] == kind and len(left.split(" ")) > 4:
                return left.split(" ")[4]
        return None

    def on_path(self, name):
        """Path of a program, or None."""
        for folder in self.environ.get("PATH", "/usr/bin:/bin").split(":"):
            if os.access(os.path.join(folder or ".", name), os.X_OK):
                return os.path.join(folder or ".", name)
        return None


# -- the machine -------------------------------------------------------------------------------------------------------

def check_kernel(h):
    machine = h.kernel.machine()
    if machine not in arch.ARCHES:
        return Row("kernel", LIMITED, "%s on %s" % (h.kernel.release(), machine),
                   "lbc knows %s" % " and ".join(sorted(arch.ARCHES)))
    detail = "%s on %s, %d CPUs" % (h.kernel.release(), machine, len(h.kernel.online_cpus()))
    try:
        if os.readlink("/proc/self/ns/pid") != FIRST_PID_NAMESPACE:
            detail += "; in a container: the kernel shows process numbers of the host"
    except OSError:
        pass
    return Row("kernel", OK, detail)


def check_privileges(h):
    lacks = sorted(set(CAPABILITIES) - h.capabilities)
    who = "root" if h.euid == 0 else "user %d" % h.euid
    if not lacks:
        return Row("privileges", OK, who)
    if not h.capabilities:
        return Row("privileges", MISSING, "%s without capabilities: neither tracing nor BPF" % who, "run as root: sudo")
    return Row("privileges", LIMITED, "%s without %s" % (who, ", ".join(lacks)), "run as root: sudo" if h.euid else
               "what started this (container, service) withholds it: --cap-add, CapabilityBoundingSet=")


def check_policy(h):
    """Lockdown, kptr_restrict, perf_event_paranoid, unprivileged_bpf_disabled."""
    rows = []
    lockdown = h.text("/sys/kernel/security/lockdown")
    mode = lockdown[lockdown.find("[") + 1:lockdown.find("]")] if lockdown and "[" in lockdown else ""
    if mode in ("integrity", "confidentiality"):
        hard = mode == "confidentiality"
        rows.append(Row("lockdown", LIMITED, "%s: %s" % (mode, "no kprobes, BPF and perf read no kernel memory" if hard
                                                         else "BPF may not write user memory"),
                        "lockdown=none on the kernel's command line, or Secure Boot off"))
    restrict = h.text("/proc/sys/kernel/kptr_restrict")
    if h.shows_addresses():
        rows.append(Row("addresses", OK, "/proc/kallsyms shows them (kptr_restrict %s)" % restrict))
    else:
        rows.append(Row("addresses", LIMITED, "/proc/kallsyms hides them (kptr_restrict %s): no names in stacks, no "
                        "copies" % restrict, "run as root" if restrict in ("0", "1") else
                        "sysctl kernel.kptr_restrict=1"))
    paranoid = h.text("/proc/sys/kernel/perf_event_paranoid")
    if paranoid is None:
        rows.append(Row("perf events", MISSING, "no perf in this kernel (CONFIG_PERF_EVENTS): BPF has no kprobes and "
                        "tracepoints"))
    elif not h.can("CAP_PERFMON"):
        rows.append(Row("perf events", LIMITED, "perf_event_paranoid %s, and no CAP_PERFMON" % paranoid, "run as root"))
    else:
        rows.append(Row("perf events", OK, "perf_event_paranoid %s, which does not bind you" % paranoid))
    if not h.can("CAP_BPF"):
        value = h.text("/proc/sys/kernel/unprivileged_bpf_disabled")
        rows.append(Row("users' BPF", LIMITED if value == "0" else MISSING, "unprivileged_bpf_disabled %s%s" % (
            value, ": socket filters at most" if value == "0" else ""), "run as root"))
    return rows


# -- tracefs -----------------------------------------------------------------------------------------------------------

def check_tracefs(h):
    if h.tracefs:
        if h.kernel.listdir(h.tracefs + "/events"):
            return Row("tracefs", OK, "at %s" % h.tracefs)
        return Row("tracefs", LIMITED, "at %s, but not readable" % h.tracefs, "run as root")
    known = [line.split()[-1] for line in h.lines("/proc/filesystems") if line]
    if "tracefs" not in known:
        return Row("tracefs", MISSING, "not in this kernel (CONFIG_FTRACE)", "use BPF, or another kernel")
    if not h.kernel.exists("/sys/kernel/tracing"):
        return Row("tracefs", LIMITED, "not mounted", "mount -t tracefs tracefs FOLDER")
    return Row("tracefs", LIMITED, "not mounted; surftrace mounts it itself when root",
               "mount -t tracefs tracefs /sys/kernel/tracing")


def check_probes(h):
    """Rows for kprobes, uprobes, function probes, events, tracers and histograms."""
    if not h.tracefs:
        return []
    root, readme = h.tracefs, h.text(h.tracefs + "/README")
    if readme is None:
        return [Row("probes", LIMITED, "%s cannot be read" % root, "run as root")]
    rows = [_kprobes(h, root)]
    if h.kernel.exists(root + "/uprobe_events"):
        rows.append(Row("uprobes", OK, "surftrace P, R"))
    else:
        rows.append(Row("uprobes", MISSING, "no uprobe_events (CONFIG_UPROBE_EVENTS)", "another kernel"))
    fprobe = " f[:" in readme or "\tf[:" in readme
    rows.append(Row("fprobes", OK if fprobe else LIMITED, "f: and t: probes, by BTF names" if fprobe else
                    "none (6.5, CONFIG_FPROBE_EVENTS)", "" if fprobe or rows[0].state == MISSING else
                    "kprobes do the same at more cost"))
    systems = [name for name in h.kernel.listdir(root + "/events")
               if h.kernel.exists("%s/events/%s/enable" % (root, name))]
    calls = "syscalls" in systems
    rows.append(Row("events", OK if calls else LIMITED, "%d systems%s" % (
        len(systems), ", system calls among them" if calls else ", system calls not among them "
        "(CONFIG_FTRACE_SYSCALLS)"), "" if calls else "raw_syscalls/sys_enter"))
    rows.append(_tracers(h, root))
    hist = h.kernel.exists(root + "/events/sched/sched_switch/hist")
    synthetic = h.kernel.exists(root + "/synthetic_events")
    rows.append(Row("histograms", OK if hist and synthetic else LIMITED if hist else MISSING,
                    "%s, %s" % ("hist triggers" if hist else "no hist triggers (CONFIG_HIST_TRIGGERS)",
                                "synthetic events" if synthetic else "no synthetic events (CONFIG_SYNTH_EVENTS)"),
                    "" if hist and synthetic else "BPF maps, or histograms in user space"))
    return rows


def _kprobes(h, root):
    if not h.kernel.exists(root + "/kprobe_events"):
        return Row("kprobes", MISSING, "not in this kernel (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS): no p, r",
                   "events (surftrace e), user probes (P, R), BPF tp_btf and raw_tp")
    enabled = h.text("/sys/kernel/debug/kprobes/enabled")
    if enabled == "0":
        return Row("kprobes", LIMITED, "switched off", "echo 1 > /sys/kernel/debug/kprobes/enabled")
    functions = h.kernel.exists(root + "/available_filter_functions")
    detail = "surftrace p, r"
    if enabled is None:
        detail += "; blacklist not readable (debugfs not mounted)"
    return Row("kprobes", OK if functions else LIMITED, detail if functions else detail + "; no list of functions: "
               "patterns are slow and less exact")


def _tracers(h, root):
    tracers = (h.text(root + "/available_tracers") or "").split()
    have = [name for name in ("function", "function_graph") if name in tracers]
    if h.text("/proc/sys/kernel/ftrace_enabled") == "0":
        return Row("tracers", LIMITED, "switched off", "sysctl kernel.ftrace_enabled=1")
    if len(have) == 2:
        return Row("tracers", OK, "function, function_graph")
    return Row("tracers", LIMITED if have else MISSING, "%s; no %s" % (
        ", ".join(have) or "none", "function_graph (CONFIG_FUNCTION_GRAPH_TRACER)" if have else
        "function tracer (CONFIG_FUNCTION_TRACER)"), "surfGraph cannot work here")


# -- BTF and BPF -------------------------------------------------------------------------------------------------------

def check_btf(h):
    names = h.kernel.listdir("/sys/kernel/btf")
    given = h.environ.get("LBC_BTF")
    if given and not os.path.exists(given):
        return Row("BTF", MISSING, "LBC_BTF names %s, which is not there" % given, "unset LBC_BTF")
    if "vmlinux" in names:
        modules = len(names) - 1
        return Row("BTF", OK, "vmlinux%s%s" % (" and %d modules" % modules if modules else ", no module has it",
                                               "; LBC_BTF: %s" % given if given else ""))
    if given:
        return Row("BTF", LIMITED, "of the file LBC_BTF: %s; the kernel's own is missing: no fentry" % given)
    from ..btf.parse import kernel_btf_paths
    there = [path for path in kernel_btf_paths(h.kernel.release()) if h.kernel.exists(path)]
    if there:
        return Row("BTF", LIMITED, "%s; the kernel's own is missing: no fentry" % there[0])
    return Row("BTF", MISSING, "not in this kernel (5.4, CONFIG_DEBUG_INFO_BTF): no types",
               "LBC_BTF=FILE, a database (info-%s.db) or a server (LBC_SERVER)" % h.kernel.release())


def check_bpf(h):
    """Rows for bpf(2): does it work at all, program types, newer features."""
    kernel = h.kernel
    loads, number = features.try_program(kernel)
    if not loads:
        import errno
        if number == errno.ENOSYS:
            return [Row("bpf()", MISSING, "not in this kernel (CONFIG_BPF_SYSCALL)", "tracefs: surftrace")]
        from ..errors import errno_text
        return [Row("bpf()", MISSING, "refused: %s" % errno_text(number), "run as root; in a container: CAP_BPF and "
                    "CAP_PERFMON, and a seccomp profile with bpf()")]
    rows = [Row("bpf()", OK, "programs load")]
    for title, names in (("BPF tracing", TRACING_TYPES), ("BPF net", NET_TYPES)):
        rows.append(_program_types(kernel, title, names))
    rows += _by_btf(h)
    wanted = ("ringbuf", "batch", "bpf_link", "perf_link", "bpf_cookie", "kprobe_multi", "uprobe_multi", "tcx")
    lacks = [name for name in wanted if not features.have(kernel, name)]
    if lacks:
        said = ["%s (%s)" % (name, features.FEATURES[name].version) for name in lacks]
        rows.append(Row("BPF features", LIMITED, "without %s" % ", ".join(said), "lbc falls back where it can"))
    else:
        rows.append(Row("BPF features", OK, ", ".join(wanted)))
    return rows


def _program_types(kernel, title, names):
    have, lack = [], []
    for name in names:
        answer = features.have_prog_type(kernel, getattr(U, "BPF_PROG_TYPE_" + name))
        (have if answer else lack).append(name.lower())
    if not lack:
        return Row(title, OK, ", ".join(have))
    return Row(title, LIMITED if have else MISSING, "%s; not %s" % (", ".join(have) or "none", ", ".join(lack)))


def _by_btf(h):
    """One row for the programs that attach by BTF id: fentry, tp_btf, iterators, LSM, each loaded for real."""
    from ..bpf.kernel_btf import KernelBtf
    from ..uapi.btf import BTF_KIND_FUNC, BTF_KIND_TYPEDEF
    tries = (("fentry", U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_FENTRY, "vfs_read", BTF_KIND_FUNC),
             ("tp_btf", U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_RAW_TP, "btf_trace_sched_switch", BTF_KIND_TYPEDEF),
             ("iter", U.BPF_PROG_TYPE_TRACING, U.BPF_TRACE_ITER, "bpf_iter_task", BTF_KIND_FUNC),
             ("lsm", U.BPF_PROG_TYPE_LSM, U.BPF_LSM_MAC, "bpf_lsm_file_open", BTF_KIND_FUNC))
    btf = KernelBtf(h.kernel)
    try:
        ids = btf.ids(False)
        if ids is None:
            return []
        have, lack, numbers = [], [], set()
        for name, kind, attach, target, btf_kind in tries:
            target_id = ids.find_one(target, btf_kind)
            answer, number = features.try_program(h.kernel, prog_type=kind, expected_attach_type=attach,
                                                  attach_btf_id=target_id) if target_id else (False, 0)
            (have if answer else lack).append(name)
            numbers.add(number)
    except LbcError as error:
        return [Row("BPF by BTF", LIMITED, error.what)]
    finally:
        btf.close()
    if not lack:
        return [Row("BPF by BTF", OK, "fentry, fexit, tp_btf, iter, lsm")]
    remedy = "kprobes instead of fentry" if h.tracefs and h.kernel.exists(h.tracefs + "/kprobe_events") else \
        "tp_btf and raw_tp instead of fentry" if "tp_btf" in have else ""
    return [Row("BPF by BTF", LIMITED if have else MISSING, "%s; refused%s: %s" % (
        ", ".join(have) or "none", " (EPERM: this kernel's policy)" if 1 in numbers and h.can("CAP_BPF") else "",
        ", ".join(lack)), remedy if "fentry" in lack else "")]


def check_jit(h):
    value = h.text("/proc/sys/net/core/bpf_jit_enable")
    if value in ("1", "2"):
        hard = h.text("/proc/sys/net/core/bpf_jit_harden")
        return Row("JIT", OK, "on%s" % (", hardened" if hard == "2" else ""))
    if value is None:
        if h.can("CAP_BPF"):
            return Row("JIT", LIMITED, "not in this kernel (CONFIG_BPF_JIT): programs are interpreted")
        return Row("JIT", LIMITED, "cannot be told", "run as root")
    return Row("JIT", LIMITED, "off: programs are interpreted, no fentry", "sysctl net.core.bpf_jit_enable=1")


def check_memory(h):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = soft == resource.RLIM_INFINITY
    size = "unlimited" if unlimited else "%d kB" % (soft >> 10)
    if features.have(h.kernel, "memcg_account", None):
        return Row("memory", OK, "BPF maps are charged to the memory cgroup, not to RLIMIT_MEMLOCK (%s)" % size)
    if unlimited or h.can("CAP_SYS_RESOURCE"):
        return Row("memory", OK, "RLIMIT_MEMLOCK %s%s" % (size, "" if unlimited else ", raised when needed"))
    return Row("memory", LIMITED, "RLIMIT_MEMLOCK %s (at most %s) for all BPF maps" % (
        size, "unlimited" if hard == resource.RLIM_INFINITY else "%d kB" % (hard >> 10)), "ulimit -l unlimited")


def check_mounts(h):
    rows = []
    for kind, title, use, place in (("bpf", "bpffs", "pins", "/sys/fs/bpf"),
                                    ("cgroup2", "cgroup2", "cgroup programs", "/sys/fs/cgroup")):
        where = h.mounted(kind)
        rows.append(Row(title, OK, "at %s" % where) if where else
                    Row(title, LIMITED, "not mounted: no %s" % use, "mount -t %s %s %s" % (kind, kind, place)))
    return rows


# -- what else is installed --------------------------------------------------------------------------------------------

def check_tools(h):
    clang, gdb = h.on_path("clang"), [name for name in ("gdb", "objdump") if h.on_path(name)]
    rows = [Row("clang", OK, clang) if clang else
            Row("clang", LIMITED, "not installed: BPF sources are not compiled here", "install clang%s" % (
                "" if h.environ.get("LBC_SERVER") else ", or name a server: LBC_SERVER"))]
    vmlinux = find_vmlinux(h.kernel.release(), h.kernel.exists)
    if vmlinux and gdb:
        rows.append(Row("source lines", OK, "%s, %s" % (vmlinux, ", ".join(gdb))))
    else:
        wants = ([] if vmlinux else ["the kernel's debug symbols"]) + ([] if gdb else ["gdb"])
        rows.append(Row("source lines", LIMITED, "%s, %s (surftrace -F, -l)" % (
            vmlinux or "no vmlinux with symbols", ", ".join(gdb) or "neither gdb nor objdump"),
            "install %s" % " and ".join(wants)))
    return rows


def check_lbc(h):
    """Rows for lbc's own environment."""
    server = h.environ.get("LBC_SERVER")
    rows = [Row("server", OK, "LBC_SERVER: %s (not asked)" % server if server else "none named, none needed")]
    overlay = h.environ.get("LBC_PREVDB")
    if overlay:
        there = os.path.exists(overlay)
        rows.append(Row("prev.db", OK if there else MISSING, "LBC_PREVDB: %s%s" % (
            overlay, "" if there else ", which is not there"), "" if there else "unset LBC_PREVDB"))
    return rows


CHECKS = (check_kernel, check_privileges, check_policy, check_tracefs, check_probes, check_btf, check_bpf, check_jit,
          check_memory, check_mounts, check_tools, check_lbc)


def run(kernel, environ=None, euid=None):
    """[Row] of every check, in the order of CHECKS; one that fails is a row of its own."""
    h, rows = Host(kernel, environ, euid), []
    for check in CHECKS:
        try:
            found = check(h)
        except (LbcError, OSError, ValueError, IndexError) as error:
            found = Row(check.__name__[len("check_"):], LIMITED, "cannot be told: %s" % error)
        rows += found if isinstance(found, list) else [found]
    return rows
