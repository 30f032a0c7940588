"""Programs on perf events: kprobes, uprobes, tracepoints, counters, breakpoints.

Order for probes: the kernel's kprobe and uprobe PMU (4.17) with a BPF link (5.15, can carry a cookie), the same with
PERF_EVENT_IOC_SET_BPF, then an event in tracefs.  Facts: include/uapi/linux/perf_event.h, kernel/events/core.c,
Documentation/ABI/testing/sysfs-bus-event_source-devices-format.
"""
from __future__ import absolute_import

import errno
import struct

from ... import tracefs
from ..._py23 import near, to_bytes
from ...errors import InputError, KernelError, NotFoundError, NotSupported
from ...uapi import bpf as _u
from ...uapi import perf as _p
from . import kfunc, probe_events
from .base import LACKING, Link, LinkGroup, close_all, first_supported, link_create, program_fd, refused

__all__ = ["open_event", "attach_event", "attach_fd", "kprobe", "ksyscall", "uprobe", "tracepoint", "perf_event"]

_PMU = "/sys/bus/event_source/devices/"
_U64 = struct.Struct("=Q")
ATTR_SIZE = 112     # PERF_ATTR_SIZE_VER5: known since 4.1; nothing newer is used here
# Bits of perf_event_attr behind read_format, in the order of the header.
_FLAG_BITS = {name: 1 << bit for bit, name in enumerate(
    "disabled inherit pinned exclusive exclude_user exclude_kernel exclude_hv exclude_idle mmap comm freq inherit_stat "
    "enable_on_exec task watermark".split())}
_FLAG_BITS.update(precise_ip=1 << 15, exclude_host=1 << 19, exclude_guest=1 << 20)


def perf_attr(fields):
    """(bytearray of struct perf_event_attr, what must stay alive).  ``fields``: members by name, bits as True; bytes
    are pointed to."""
    from ..syscalls import Attr
    attr = Attr(None, layout=_p.PERF_EVENT_ATTR, total=ATTR_SIZE)
    attr.set("size", ATTR_SIZE)
    bits = 0
    for name in fields:
        value = fields[name]
        if name in _FLAG_BITS:
            bits |= _FLAG_BITS[name] * int(value)
        elif name in attr.layout and attr.layout[name][0] < ATTR_SIZE:
            attr.set(name, value)
            if name == "sample_freq" and value:
                bits |= _FLAG_BITS["freq"]
        else:
            raise InputError("perf event: no attribute `%s`; known: %s" % (name, " ".join(sorted(list(_FLAG_BITS) + [
                n for n in attr.layout if attr.layout[n][0] < ATTR_SIZE and not n.startswith("__")]))))
    _U64.pack_into(attr.buf, 40, bits)
    return attr.buf, attr


def open_event(kernel, fields, pid=-1, cpu=None, group_fd=-1, flags=0):
    """fd of one perf event.  Raises the plain KernelError."""
    buf, alive = perf_attr(fields)
    if cpu is None:
        cpu = kernel.online_cpus()[0] if pid == -1 else -1
    fd = kernel.perf_event_open(buf, pid, cpu, group_fd, flags)
    del alive
    return fd


def attach_fd(kernel, program, perf_fd, cookie=0, what="perf event", undo=()):
    """Link of ``program`` on an open perf event, which the link owns from now on, even when this fails."""
    try:
        return first_supported([_by_link, _by_ioctl], kernel, program, perf_fd, cookie, what)
    except BaseException:
        kernel.close(perf_fd)
        raise


def _by_link(kernel, program, perf_fd, cookie, what):
    if kernel.facts.get("perf_link") is False:
        raise NotSupported("BPF links of perf events", "5.15")
    fields = {"prog_fd": program_fd(program), "target_fd": perf_fd, "attach_type": _u.BPF_PERF_EVENT}
    if cookie:
        fields["perf_event.bpf_cookie"] = cookie
    try:
        fd = link_create(kernel, fields)
    except KernelError as error:
        if error.errno in LACKING:  # may also be a fault of the program: then the ioctl says the same
            raise NotSupported("BPF links of perf events", "5.15", error.errno, error.call, error)
        raise refused(kernel, error, "attach `%s` to %s" % (_name(program), what), _exists_hint(error))
    try:
        kernel.ioctl(perf_fd, _p.PERF_EVENT_IOC_ENABLE)
    except KernelError as error:
        kernel.close(fd)
        raise refused(kernel, error, "enable %s" % what)
    return Link(kernel, fd, "%s, perf link" % what, True, program=program, fds=[perf_fd])


def _by_ioctl(kernel, program, perf_fd, cookie, what):
    if cookie:
        raise NotSupported("attach cookies", "5.15")
    try:
        kernel.ioctl(perf_fd, _p.PERF_EVENT_IOC_SET_BPF, program_fd(program))
        kernel.ioctl(perf_fd, _p.PERF_EVENT_IOC_ENABLE)
    except KernelError as error:
        raise refused(kernel, error, "attach `%s` to %s" % (_name(program), what), _exists_hint(error))
    return Link(kernel, perf_fd, "%s, perf ioctl" % what, program=program)


def _exists_hint(error):
    if error.errno == errno.EEXIST:
        return "another program is on this event already: kernels before 4.15 take one only"
    if error.errno == errno.EINVAL:
        return "the program's type or version does not fit this event"
    return None


def _name(program):
    return getattr(program, "name", program)


def attach_event(kernel, program, type_, config, pid=-1, cpu=None, cookie=0, what=None, **fields):
    """Link on a new perf event of PERF_TYPE_* ``type_``."""
    fields.update(type=type_, config=config)
    fields.setdefault("sample_period", 1)
    return attach_fd(kernel, program, open_event(kernel, fields, pid, cpu), cookie,
                     what or "perf event %d:%d" % (type_, config))


# -- kprobes ---------------------------------------------------------------------------------------------------------
def _pmu(kernel, name):
    """(type number, config bit of return probes) of the kprobe or uprobe PMU.  NotSupported where there is none."""
    fact = "pmu_" + name
    if fact not in kernel.facts:
        try:
            number = int(kernel.read(_PMU + name + "/type"))
            bit = int(kernel.read(_PMU + name + "/format/retprobe").partition(b":")[2].split(b"-")[0])
            kernel.facts[fact] = (number, bit)
        except (KernelError, ValueError):
            kernel.facts[fact] = None
    if kernel.facts[fact] is None:
        raise NotSupported("the %s PMU" % name, "4.17")
    return kernel.facts[fact]


def kprobe(kernel, program, target, is_return=False, offset=0, cookie=0, maxactive=0, way=None):
    """Link to a kernel function: "vfs_read", "vfs_read+0x10", "module:function", or an address (int).

    ``maxactive`` (return probes; 4.12) needs tracefs.  ``way``: only "link", "perf" or "tracefs".
    NotFoundError with near names, KernelError saying why a function cannot be probed, NotSupported, PrivilegeError.
    """
    symbol, offset = kfunc.parse_target(target, offset)
    if is_return and offset:
        raise InputError("kretprobe %s: a return probe has no offset" % target)
    ways = {"link": [_kprobe_link], "perf": [_kprobe_perf], "tracefs": [_kprobe_tracefs],
            None: [_kprobe_tracefs] if maxactive else [_kprobe_pmu, _kprobe_tracefs]}[way]
    try:
        return first_supported(ways, kernel, program, symbol, offset, is_return, cookie, maxactive)
    except NotSupported:
        raise
    except (InputError, NotFoundError):
        raise
    except KernelError as error:
        raise kfunc.explain(kernel, error, symbol, offset, "kretprobe" if is_return else "kprobe")


def _kprobe_fd(kernel, symbol, offset, is_return):
    number, bit = _pmu(kernel, "kprobe")
    fields = {"type": number, "config": (1 << bit) if is_return else 0}
    if isinstance(symbol, str):
        fields["kprobe_func"] = to_bytes(symbol) + b"\0"
        fields["probe_offset"] = offset
    else:
        fields["kprobe_addr"] = symbol + offset
    try:
        return open_event(kernel, fields)
    except KernelError as error:
        # Older PMUs use the function's name as an event name and refuse what cannot be one.
        if error.errno == errno.EINVAL and isinstance(symbol, str) and (("." in symbol) or (":" in symbol)):
            raise NotSupported("perf kprobes on names like `%s`" % symbol, None, error.errno, error.call, error)
        raise


def _where(symbol, offset):
    text = symbol if isinstance(symbol, str) else "0x%x" % symbol
    return "%s+0x%x" % (text, offset) if offset else text


def _kprobe_pmu(kernel, program, symbol, offset, is_return, cookie, maxactive, ways=(_by_link, _by_ioctl)):
    fd = _kprobe_fd(kernel, symbol, offset, is_return)
    try:
        return first_supported(ways, kernel, program, fd, cookie,
                               "%s %s" % ("kretprobe" if is_return else "kprobe", _where(symbol, offset)))
    except BaseException:
        kernel.close(fd)
        raise


def _kprobe_link(*args):
    return _kprobe_pmu(*(args + ((_by_link,),)))


def _kprobe_perf(*args):
    return _kprobe_pmu(*(args + ((_by_ioctl,),)))


def _kprobe_tracefs(kernel, program, symbol, offset, is_return, cookie, maxactive):
    where = _where(symbol, offset)
    return probe_events.probe(kernel, program, attach_event, False, where, where, is_return, maxactive, cookie=cookie)


def ksyscall(kernel, program, name, is_return=False, cookie=0):
    """Link to the kernel's function of system call ``name`` ("openat"): the architecture's wrapper (4.17) or
    sys_openat."""
    from ...uapi import arch
    prefix = arch.ARCHES[kernel.machine()].syscall_prefix
    tries = [prefix + "sys_" + name, "__se_sys_" + name, "sys_" + name]
    for function in tries:
        if kfunc.count(kernel, function) != 0:
            return kprobe(kernel, program, function, is_return, cookie=cookie)
    calls = [n[len(prefix) + 4:] for n in kfunc.names(kernel, prefix + "sys_")] or [
        n[4:] for n in kfunc.names(kernel, "sys_")]
    raise NotFoundError("system call", name, "this kernel", near(name, calls))


# -- uprobes ---------------------------------------------------------------------------------------------------------
def uprobe(kernel, program, path, offset, is_return=False, pid=-1, cookie=0, ref_ctr_offset=0, way=None, what=None):
    """Link to ``offset`` (bytes in the file) of the file ``path``; ``pid``: -1 all processes, 0 this one, else that
    one.

    ``ref_ctr_offset``: place of the USDT semaphore in the file (4.20).  ``way`` as for kprobe.
    """
    if pid == 0:
        import os
        pid = os.getpid()
    what = what or "%s %s+0x%x" % ("uretprobe" if is_return else "uprobe", path, offset)
    ways = {"link": [_uprobe_link], "perf": [_uprobe_perf], "tracefs": [_uprobe_tracefs],
            None: [_uprobe_pmu, _uprobe_tracefs]}[way]
    try:
        return first_supported(ways, kernel, program, path, offset, is_return, pid, cookie, ref_ctr_offset, what)
    except NotSupported:
        raise
    except KernelError as error:
        if error.errno == errno.ESRCH:
            raise NotFoundError("process", str(pid), hint="it may have ended")
        if error.errno in (errno.ENOENT, errno.EISDIR):
            raise NotFoundError("file", path)
        hint = {524: "there is a breakpoint or an instruction there that cannot be probed",
                errno.EIO: "the file cannot be mapped: a special file?",
                errno.EINVAL: "is the offset in the code of the file, and the file on a real file system?",
                errno.EILSEQ: "not the start of an instruction"}.get(error.errno)
        raise refused(kernel, error, "attach `%s` to %s" % (_name(program), what), hint)


def _uprobe_pmu(kernel, program, path, offset, is_return, pid, cookie, ref_ctr_offset, what,
                ways=(_by_link, _by_ioctl)):
    number, bit = _pmu(kernel, "uprobe")
    config = (1 << bit) if is_return else 0
    if ref_ctr_offset:
        if not kernel.exists(_PMU + "uprobe/format/ref_ctr_offset"):
            raise NotSupported("USDT semaphores through perf", "4.20")
        config |= ref_ctr_offset << 32
    fd = open_event(kernel, {"type": number, "config": config, "uprobe_path": to_bytes(path) + b"\0",
                             "probe_offset": offset}, pid)
    try:
        return first_supported(ways, kernel, program, fd, cookie, what)
    except BaseException:
        kernel.close(fd)
        raise


def _uprobe_link(*args):
    return _uprobe_pmu(*(args + ((_by_link,),)))


def _uprobe_perf(*args):
    return _uprobe_pmu(*(args + ((_by_ioctl,),)))


def _uprobe_tracefs(kernel, program, path, offset, is_return, pid, cookie, ref_ctr_offset, what):
    ref_text = ""
    if ref_ctr_offset:
        root = tracefs.need_tracefs(kernel)
        try:
            if b"ref_ctr_offset" not in kernel.read(root + "/README"):
                raise NotSupported("USDT semaphores", "4.20")
        except KernelError:
            raise NotSupported("USDT semaphores", "4.20")
        ref_text = "(0x%x)" % ref_ctr_offset
    if any(c in path for c in " \t\n:"):
        raise NotSupported("uprobe events on a path with spaces or colons (`%s`)" % path)
    return probe_events.probe(kernel, program, attach_event, True, "%s:0x%x" % (path, offset),
                         "%s_0x%x" % (path.rpartition("/")[2], offset), is_return, 0, pid, cookie, ref_text)


# -- tracepoints, counters -------------------------------------------------------------------------------------------
def tracepoint(kernel, program, category, name, cookie=0):
    """Link to the tracepoint category/name (4.7).  NotFoundError with near names."""
    root = tracefs.need_tracefs(kernel)
    try:
        number = int(kernel.read("%s/events/%s/%s/id" % (root, category, name)))
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise refused(kernel, error, "read the number of tracepoint %s/%s" % (category, name))
        names = kernel.listdir("%s/events/%s" % (root, category))
        if names:
            raise NotFoundError("tracepoint", "%s/%s" % (category, name), "this kernel",
                                ["%s/%s" % (category, n) for n in near(name, names)])
        groups = kernel.listdir(root + "/events")
        raise NotFoundError("tracepoint", "%s/%s" % (category, name), "this kernel",
                            ["%s/%s" % (g, name) for g in groups if kernel.exists("%s/events/%s/%s" % (root, g, name))]
                            or ["%s/..." % g for g in near(category, groups)])
    try:
        return attach_event(kernel, program, _p.PERF_TYPE_TRACEPOINT, number, cookie=cookie,
                            what="tracepoint %s/%s" % (category, name))
    except NotSupported:
        raise
    except KernelError as error:
        raise refused(kernel, error, "attach `%s` to tracepoint %s/%s" % (_name(program), category, name), error.hint)


def perf_event(kernel, program, attr, pid=-1, cpus=None, cookie=0, group_fd=-1, flags=0):
    """Link(s) to perf events: ``attr`` is a dict of perf_event_attr members ({"type": 1, "config": 0, "sample_freq":
    99}).

    One event on each of ``cpus`` (default: all online), or with ``pid`` one that follows that process; both: the
    process on those CPUs only.  4.9; software, hardware where present, breakpoints (bp_type, bp_addr, bp_len; 4.9).
    ``group_fd``, ``flags``: of perf_event_open(2).
    """
    fields = dict(attr)
    if "sample_period" not in fields and "sample_freq" not in fields:
        fields["sample_period"] = 1
    if pid == 0 and not flags & _p.PERF_FLAG_PID_CGROUP:
        import os
        pid = os.getpid()
    if cpus is None:
        cpus = [-1] if pid != -1 else kernel.online_cpus()
    what = "perf event %s:%s" % (fields.get("type", 0), fields.get("config", 0))
    links = []
    try:
        for cpu in cpus:
            try:
                fd = open_event(kernel, fields, pid, cpu, group_fd, flags)
            except KernelError as error:
                if error.errno == errno.ENODEV and len(cpus) > 1:  # went off line meanwhile
                    continue
                if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
                    raise NotSupported("%s (no such counter here: a virtual machine has no hardware counters?)" % what,
                                       None,
                                       error.errno, error.call, error)
                if error.errno == errno.ESRCH:
                    raise NotFoundError("process", str(pid), hint="it may have ended")
                raise refused(kernel, error, "open %s" % what)
            links.append(attach_fd(kernel, program, fd, cookie, what))
    except BaseException:
        close_all(links)
        raise
    if len(links) == 1:
        return links[0]
    return LinkGroup(kernel, links, "%s on %d CPUs, %s" % (what, len(links), links[0].detail.rpartition(", ")[2]
                                                           if links else "none"),
                     program)
