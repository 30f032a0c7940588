"""A kernel that answers as a given upstream version would, from 4.9 up: stands in for ``lbc.bpf.syscalls.Kernel``.

``OldKernel((4, 14))`` is wholly simulated: no root, no real fds; what was loaded is kept for the test to look at:

    k.maps / k.progs / k.btfs / k.links / k.perf     everything ever made, in order (FakeMap, FakeProg ...)
    k.open_fds()          fds that were not closed (the leak check: ``assert not k.open_fds()``)
    k.calls               [(command name, fields, errno or 0)]      k.count("BPF_MAP_CREATE")
    k.files               {path: bytes} of /sys, /proc and tracefs; add or delete what the test needs
    k.events              {"group/name": definition} of kprobe_events and uprobe_events
    k.refuse              [(command name, errno, f(attr) -> bool)]: one more refusal, for a distribution's oddities
    k.verdict             f(FakeProg) -> None or (errno, log text): play the verifier
    k.pins                {path: object}

``OldKernel((5, 4), through=True)`` applies the same refusals and then asks the running kernel (root needed).

What each version has is typed here from the kernel's history (include/uapi/linux/bpf.h, kernel/bpf/syscall.c
*_LAST_FIELD, kernel/bpf/btf.c, kernel/trace/bpf_trace.c) and shares nothing with lbc.bpf.features, which it tests.
"""
from __future__ import absolute_import

import ctypes
import errno
import mmap
import struct

from lbc._native import backend
from lbc.bpf.syscalls import Kernel, command_name
from lbc.errors import KernelError, errno_text
from lbc.uapi import bpf as U

ENOTSUPP = 524

# command -> [(first version, bytes of bpf_attr that the command reads)]: *_LAST_FIELD in kernel/bpf/syscall.c
COMMANDS = {
    "MAP_CREATE": [((4, 4), 20), ((4, 12), 24), ((4, 14), 28), ((4, 15), 44), ((4, 16), 48), ((4, 18), 60),
                   ((5, 6), 64), ((5, 16), 72),
                   ((6, 9), 80), ((6, 18), 92)],
    "MAP_LOOKUP_ELEM": [((3, 19), 24), ((5, 1), 32)], "MAP_UPDATE_ELEM": [((3, 19), 32)],
    "MAP_DELETE_ELEM": [((3, 19), 16)],
    "MAP_GET_NEXT_KEY": [((3, 19), 24)],
    "PROG_LOAD": [((4, 1), 44), ((4, 12), 48), ((4, 15), 68), ((4, 17), 72), ((5, 0), 108), ((5, 5), 116),
                  ((5, 14), 128), ((5, 17), 140),
                  ((6, 4), 144), ((6, 9), 148), ((6, 14), 152), ((6, 18), 168)],
    "OBJ_PIN": [((4, 4), 12), ((4, 15), 16), ((6, 5), 20)], "OBJ_GET": [((4, 4), 12), ((4, 15), 16), ((6, 5), 20)],
    "PROG_ATTACH": [((4, 10), 12), ((4, 11), 16), ((5, 6), 20), ((6, 6), 32)],
    "PROG_DETACH": [((4, 10), 12), ((6, 6), 32)],
    "PROG_TEST_RUN": [((4, 12), 40), ((5, 2), 64), ((5, 10), 72), ((5, 18), 76)],
    "PROG_GET_NEXT_ID": [((4, 13), 8)], "MAP_GET_NEXT_ID": [((4, 13), 8)], "PROG_GET_FD_BY_ID": [((4, 13), 4)],
    "MAP_GET_FD_BY_ID": [((4, 13), 4), ((4, 15), 12)], "OBJ_GET_INFO_BY_FD": [((4, 13), 16)],
    "PROG_QUERY": [((4, 15), 28), ((6, 6), 64)], "RAW_TRACEPOINT_OPEN": [((4, 17), 12), ((6, 10), 24)],
    "BTF_LOAD": [((4, 18), 28), ((6, 4), 32), ((6, 9), 40)], "BTF_GET_FD_BY_ID": [((4, 18), 4), ((6, 17), 16)],
    "TASK_FD_QUERY": [((4, 18), 48)], "MAP_LOOKUP_AND_DELETE_ELEM": [((4, 20), 24), ((5, 14), 32)],
    "MAP_FREEZE": [((5, 2), 4)],
    "BTF_GET_NEXT_ID": [((5, 4), 8)], "MAP_LOOKUP_BATCH": [((5, 6), 56)], "MAP_LOOKUP_AND_DELETE_BATCH": [((5, 6), 56)],
    "MAP_UPDATE_BATCH": [((5, 6), 56)], "MAP_DELETE_BATCH": [((5, 6), 56)],
    "LINK_CREATE": [((5, 7), 16), ((5, 9), 28), ((5, 18), 48), ((6, 6), 64)], "LINK_UPDATE": [((5, 7), 16)],
    "LINK_GET_FD_BY_ID": [((5, 8), 4)], "LINK_GET_NEXT_ID": [((5, 8), 8)], "ENABLE_STATS": [((5, 8), 4)],
    "ITER_CREATE": [((5, 8), 8)],
    "LINK_DETACH": [((5, 9), 4)], "PROG_BIND_MAP": [((5, 10), 12)], "TOKEN_CREATE": [((6, 9), 8)],
}
NUMBERS = {getattr(U, "BPF_" + name): name for name in COMMANDS}
# sizeof(union bpf_attr): non-zero bytes behind it are E2BIG (bpf_check_uarg_tail_zero), inside it EINVAL (CHECK_ATTR)
UNION = [((4, 4), 48), ((4, 15), 72), ((5, 0), 112), ((5, 5), 120), ((5, 14), 128), ((5, 17), 144), ((6, 9), 152),
         ((6, 18), 168)]

MAP_TYPES = dict(zip(range(1, 34), [
    (3, 19), (3, 19), (4, 2), (4, 3), (4, 6), (4, 6), (4, 6), (4, 8), (4, 10), (4, 10), (4, 11), (4, 12), (4, 12),
    (4, 14), (4, 14), (4, 15),
    (4, 18), (4, 18), (4, 19), (4, 19), (4, 20), (4, 20), (4, 20), (5, 2), (5, 4), (5, 6), (5, 8), (5, 10), (5, 11),
    (5, 16), (6, 1), (6, 2),
    (6, 9)]))
MAP_FLAGS = [(1, (4, 6)), (2, (4, 10)), (4, (4, 14)), (8, (4, 15)), (16, (4, 15)), (32, (4, 17)), (64, (5, 0)),
             (128, (5, 2)), (256, (5, 2)),
             (512, (5, 4)), (1024, (5, 5)), (2048, (5, 8)), (4096, (5, 10)), (1 << 13, (6, 1)), (1 << 14, (6, 4)),
             (1 << 15, (6, 9)),
             (1 << 16, (6, 9)), (1 << 17, (6, 9)), (1 << 18, (6, 9))]
PROG_TYPES = dict(zip(range(1, 33), [
    (3, 19), (4, 1), (4, 1), (4, 1), (4, 7), (4, 8), (4, 9), (4, 10), (4, 10), (4, 10), (4, 10), (4, 10), (4, 13),
    (4, 14), (4, 15), (4, 17),
    (4, 17), (4, 17), (4, 18), (4, 18), (4, 19), (4, 20), (5, 2), (5, 2), (5, 3), (5, 5), (5, 6), (5, 6), (5, 7),
    (5, 9), (5, 14), (6, 4)]))
PROG_FLAGS = [(1, (4, 12)), (2, (5, 0)), (4, (5, 3)), (8, (5, 3)), (16, (5, 10)), (32, (5, 18)), (64, (6, 3)),
              (128, (6, 8))]
# last helper number of each version
HELPERS = [((3, 19), 3), ((4, 1), 11), ((4, 2), 16), ((4, 3), 22), ((4, 4), 25), ((4, 5), 26), ((4, 6), 30),
           ((4, 8), 36), ((4, 9), 41),
           ((4, 10), 44), ((4, 11), 45), ((4, 12), 47), ((4, 13), 50), ((4, 14), 53), ((4, 15), 57), ((4, 16), 59),
           ((4, 17), 64),
           ((4, 18), 80), ((4, 19), 83), ((4, 20), 90), ((5, 0), 92), ((5, 1), 98), ((5, 2), 108), ((5, 3), 110),
           ((5, 5), 118),
           ((5, 6), 119), ((5, 7), 124), ((5, 8), 141), ((5, 9), 141), ((5, 10), 155), ((5, 11), 162), ((5, 12), 163),
           ((5, 13), 165),
           ((5, 14), 168), ((5, 15), 175), ((5, 16), 179), ((5, 17), 185), ((5, 18), 191), ((5, 19), 203),
           ((6, 0), 207), ((6, 1), 209),
           ((6, 2), 211)]
BTF_KINDS = [((4, 18), 11), ((5, 0), 13), ((5, 2), 15), ((5, 13), 16), ((5, 16), 17), ((5, 17), 18), ((6, 0), 19)]
LINK_ATTACH = {U.BPF_TRACE_ITER: (5, 8), U.BPF_FLOW_DISSECTOR: (5, 8), U.BPF_SK_LOOKUP: (5, 9), U.BPF_XDP: (5, 9),
               U.BPF_PERF_EVENT: (5, 15),
               U.BPF_TRACE_KPROBE_MULTI: (5, 18), U.BPF_TRACE_RAW_TP: (5, 12), U.BPF_TRACE_FENTRY: (5, 10),
               U.BPF_TRACE_FEXIT: (5, 10),
               U.BPF_MODIFY_RETURN: (5, 10), U.BPF_LSM_MAC: (5, 12), U.BPF_LSM_CGROUP: (6, 0), U.BPF_NETFILTER: (6, 4),
               U.BPF_STRUCT_OPS: (6, 4), U.BPF_TCX_INGRESS: (6, 6), U.BPF_TCX_EGRESS: (6, 6),
               U.BPF_TRACE_UPROBE_MULTI: (6, 6),
               U.BPF_NETKIT_PRIMARY: (6, 7), U.BPF_NETKIT_PEER: (6, 7), U.BPF_TRACE_KPROBE_SESSION: (6, 10),
               U.BPF_SK_SKB_STREAM_PARSER: (6, 10), U.BPF_SK_SKB_STREAM_VERDICT: (6, 10), U.BPF_SK_MSG_VERDICT: (6, 10),
               U.BPF_SK_SKB_VERDICT: (6, 10), U.BPF_TRACE_UPROBE_SESSION: (6, 13)}
CGROUP_ATTACH = {0: (4, 10), 1: (4, 10), 2: (4, 10), 3: (4, 13), 6: (4, 15), 8: (4, 17), 9: (4, 17), 10: (4, 17),
                 11: (4, 17), 12: (4, 17),
                 13: (4, 17), 14: (4, 18), 15: (4, 18), 18: (5, 2), 19: (5, 2), 20: (5, 2), 21: (5, 3), 22: (5, 3),
                 29: (5, 8), 30: (5, 8),
                 31: (5, 8), 32: (5, 8), 34: (5, 9)}
PERCPU = (U.BPF_MAP_TYPE_PERCPU_HASH, U.BPF_MAP_TYPE_PERCPU_ARRAY, U.BPF_MAP_TYPE_LRU_PERCPU_HASH)
ARRAYS = (U.BPF_MAP_TYPE_ARRAY, U.BPF_MAP_TYPE_PERCPU_ARRAY, U.BPF_MAP_TYPE_PROG_ARRAY, U.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
          U.BPF_MAP_TYPE_ARRAY_OF_MAPS, U.BPF_MAP_TYPE_CGROUP_ARRAY)
KPROBE_PMU, UPROBE_PMU = 6, 7
TRACEFS = "/sys/kernel/tracing"


def latest(rows, version, default=None):
    """The last row's value whose version is not above ``version``."""
    found = default
    for since, value in rows:
        if version >= since:
            found = value
    return found


class Fake(object):
    """One object behind fds: ``fds`` those open, ``fields`` the members it was made with."""

    def __init__(self, fields=None):
        self.fields = dict(fields or {})
        self.fds = set()
        self.id = self.charge = 0

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, self.fields)


class FakeMap(Fake):
    """type key_size value_size max_entries flags name; ``data``: {key bytes: value bytes} in insertion order."""

    def __init__(self, attr, cpus):
        Fake.__init__(self, attr.fields)
        self.type, self.key_size, self.value_size = attr.get("map_type"), attr.get("key_size"), attr.get("value_size")
        self.max_entries, self.flags = attr.get("max_entries"), attr.get("map_flags")
        self.name = bytes(attr.buf[28:44]).rstrip(b"\0")
        self.frozen, self.bound = False, []
        self.window = (self.value_size + 7) // 8 * 8 * cpus if self.type in PERCPU else self.value_size
        self.order, self.data = [], {}
        if self.type in ARRAYS and self.type in (U.BPF_MAP_TYPE_ARRAY, U.BPF_MAP_TYPE_PERCPU_ARRAY):
            for i in range(min(self.max_entries, 1 << 16)):
                self.put(struct.pack("=I", i), b"\0" * self.window)
        self.memory = None

    def put(self, key, value):
        if key not in self.data:
            self.order.append(key)
        self.data[key] = value

    def drop(self, key):
        del self.data[key]
        self.order.remove(key)


class FakeProg(Fake):
    """type insns (bytes) name license expected_attach_type attach_btf_id flags btf ..."""


class FakeBtf(Fake):
    """data: the bytes given to BTF_LOAD."""


class FakeLink(Fake):
    """prog, attach_type, target, and ``how``: the command that made it."""


class FakePerf(Fake):
    """attr: bytes of perf_event_attr; pid, cpu, group, flags; ``ioctls``: [(request, arg)]; ``prog``: what was set."""


class OldKernel(Kernel):
    """See the module's docstring.  ``cpus``: possible CPUs; ``memlock``: bytes before 5.11, None for no limit;
    ``root``: False refuses everything with EPERM; ``btf``: bytes of /sys/kernel/btf/vmlinux (5.4 and later)."""

    def __init__(self, version, through=False, cpus=4, memlock=65536, root=True, btf=None, pmu=True, tracefs=True,
                 files=None):
        Kernel.__init__(self)
        self.version = tuple(version[:2])
        self.through, self.cpus, self.root = through, cpus, root
        self.memlock = memlock if self.version < (5, 11) else None
        self.locked = self._charged = 0
        self.fds, self.next_fd, self.next_id = {}, 5000, 1
        self.maps, self.progs, self.btfs, self.links, self.perf = [], [], [], [], []
        self.calls, self.refuse, self.pins, self.bad_closes = [], [], {}, []
        self.verdict = None
        self.attached = []  # [(prog, target fd, attach type)] by BPF_PROG_ATTACH
        self.events, self.writes, self._event_id = {}, [], 2000
        self.files = {}
        self._fill(btf, pmu, tracefs)
        self.files.update(files or {})

    # -- the world around -------------------------------------------------------------------------------------------
    def _fill(self, btf, pmu, tracefs):
        files, version = self.files, self.version
        if version >= (4, 17) and pmu:
            for name, number in (("kprobe", KPROBE_PMU), ("uprobe", UPROBE_PMU)):
                files["/sys/bus/event_source/devices/%s/type" % name] = b"%d\n" % number
                files["/sys/bus/event_source/devices/%s/format/retprobe" % name] = b"config:0\n"
                if name == "uprobe" and version >= (4, 20):
                    files["/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset"] = b"config:32-63\n"
        files["/sys/bus/event_source/devices/software/type"] = b"1\n"
        files["/sys/bus/event_source/devices/tracepoint/type"] = b"2\n"
        mounts = b"21 1 0:20 / /sys rw - sysfs sysfs rw\n"
        if tracefs:
            mounts += b"22 21 0:21 / %s rw - tracefs tracefs rw\n" % TRACEFS.encode()
            files[TRACEFS + "/kprobe_events"] = files[TRACEFS + "/uprobe_events"] = b""
            files[TRACEFS + "/available_filter_functions"] = b"vfs_read\nvfs_write\nvfs_open\ndo_sys_open\n"
            for number, name in enumerate(("sched/sched_switch", "sched/sched_process_exec",
                                           "syscalls/sys_enter_openat",
                                           "syscalls/sys_exit_openat", "raw_syscalls/sys_enter"), 300):
                files["%s/events/%s/id" % (TRACEFS, name)] = b"%d\n" % number
        files["/proc/self/mountinfo"] = mounts
        files["/proc/kallsyms"] = (b"ffffffff81000000 T _text\nffffffff81200000 T vfs_read\nffffffff81200100 T "
                                   b"vfs_write\n"
                                   b"ffffffff81200200 T vfs_open\nffffffff82000000 D jiffies\nffffffff82000040 B "
                                   b"bpf_prog_active\n"
                                   + (b"ffffffff81300000 T __x64_sys_openat\n" if version >= (4, 17)
                                      else b"ffffffff81300000 T sys_openat\n"))
        if btf is not None and version >= (5, 4):
            files["/sys/kernel/btf/vmlinux"] = bytes(btf)

    def release(self):
        return "%d.%d.0-old" % self.version if not self.through else Kernel.release(self)

    def machine(self):
        return "x86_64"

    def possible_cpus(self):
        return self.cpus if not self.through else Kernel.possible_cpus(self)

    def online_cpus(self):
        return list(range(self.cpus)) if not self.through else Kernel.online_cpus(self)

    def page_size(self):
        return 4096 if not self.through else Kernel.page_size(self)

    def raise_memlock(self):
        grew, self.memlock = self.memlock is not None, None
        if self.through:
            return Kernel.raise_memlock(self)
        return grew

    def _fail(self, name, number):
        raise KernelError("%s: %s" % (name, errno_text(number)), name, number)

    def read(self, path):
        if path in self.files:
            return self.files[path]
        if self.through and not path.startswith(("/sys/bus/event_source", "/sys/kernel/btf")):
            return Kernel.read(self, path)
        self._fail("read %s" % path, errno.ENOENT)

    def exists(self, path):
        if path in self.files or any(name.startswith(path.rstrip("/") + "/") for name in self.files):
            return True
        return Kernel.exists(self, path) if self.through else False

    def listdir(self, path):
        head = path.rstrip("/") + "/"
        names = {name[len(head):].split("/")[0] for name in self.files if name.startswith(head)}
        return sorted(names) or (Kernel.listdir(self, path) if self.through else [])

    def write(self, path, data, append=False):
        if path not in self.files:
            if self.through:
                return Kernel.write(self, path, data, append)
            self._fail("write %s" % path, errno.ENOENT)
        self.writes.append((path, bytes(data)))
        if path.endswith("probe_events"):
            for line in bytes(data).decode().splitlines():
                self._probe_event(path, line.strip())

    def _probe_event(self, path, line):
        """One line of kprobe_events/uprobe_events (Documentation/trace/kprobetrace.rst)."""
        if not line:
            return
        head, _, rest = line.partition(" ")
        kind, _, name = head.partition(":")
        if kind == "-":
            if name not in self.events:
                self._fail("write %s" % path, errno.ENOENT)
            ident = self.files.pop("%s/events/%s/id" % (TRACEFS, name), None)
            if any(p.fds and ident and struct.unpack_from("=Q", p.attr, 8)[0] == int(ident) for p in self.perf):
                self.files["%s/events/%s/id" % (TRACEFS, name)] = ident
                self._fail("write %s" % path, errno.EBUSY)
            del self.events[name]
            return
        if kind[:1] not in ("p", "r") or "/" not in name:
            self._fail("write %s" % path, errno.EINVAL)
        if len(kind) > 1 and self.version < (4, 12):  # maxactive
            self._fail("write %s" % path, errno.EINVAL)
        if any(len(part) > 63 for part in name.split("/")):
            self._fail("write %s" % path, errno.EINVAL)
        if name in self.events:
            self._fail("write %s" % path, errno.EEXIST)
        if path.endswith("kprobe_events"):
            symbol = rest.split(" ")[0].split("+")[0].split(":")[-1]
            if (" %s\n" % symbol).encode() not in self.files.get("/proc/kallsyms", b"") and not symbol.startswith("0x"):
                self._fail("write %s" % path, errno.ENOENT if self.version < (6, 7) else errno.EINVAL)
        self.events[name] = line
        self._event_id += 1
        self.files["%s/events/%s/id" % (TRACEFS, name)] = b"%d\n" % self._event_id

    # -- fds --------------------------------------------------------------------------------------------------------
    def _new(self, thing, where):
        if not thing.id:
            thing.id = self.next_id
            self.next_id += 1
            where.append(thing)
            thing.charge, self._charged = self._charged, 0
            self.locked += thing.charge
        self.next_fd += 1
        self.fds[self.next_fd] = thing
        thing.fds.add(self.next_fd)
        return self.next_fd

    def open_fds(self):
        """{fd: thing} of what is open now."""
        return dict(self.fds)

    def close(self, fd):
        if fd in self.fds:
            thing = self.fds.pop(fd)
            thing.fds.discard(fd)
            if not thing.fds:
                self.locked -= thing.charge
                thing.charge = 0
        elif self.through:
            Kernel.close(self, fd)
        else:
            self.bad_closes.append(fd)

    def count(self, name, failed=None):
        """How often a command was given; failed=True or False: only those."""
        return sum(1 for call, _, number in self.calls if call == name and failed in (None, bool(number)))

    # -- bpf(2) -----------------------------------------------------------------------------------------------------
    def run(self, attr):
        name = command_name(attr.cmd)
        try:
            self._filter(attr, name)
            if self.through:
                result = Kernel.run(self, attr)
                if attr.cmd == U.BPF_PROG_LOAD:
                    prog = self._prog_of(attr)
                    prog.id = -1
                    self.progs.append(prog)
                elif attr.cmd == U.BPF_MAP_CREATE:
                    self.maps.append(FakeMap(attr, self.cpus))
            else:
                handler = getattr(self, "_do_" + NUMBERS[attr.cmd].lower(), None)
                if handler is None:
                    self._fail(name, errno.EINVAL)
                result = handler(attr) or 0
        except KernelError as error:
            self.calls.append((name, dict(attr.fields), error.errno))
            raise KernelError("%s: %s" % (name, errno_text(error.errno)), name, error.errno)
        self.calls.append((name, dict(attr.fields), 0))
        return result

    def _filter(self, attr, name):
        if not self.root:
            self._fail(name, errno.EPERM)
        rows = COMMANDS.get(NUMBERS.get(attr.cmd))
        if rows is None or self.version < rows[0][0]:
            self._fail(name, errno.EINVAL)
        used = len(bytes(attr.buf[:attr.size]).rstrip(b"\0"))
        if used > latest(UNION, self.version):
            self._fail(name, errno.E2BIG)
        if used > latest(rows, self.version):
            self._fail(name, errno.EINVAL)
        for refused, number, test in self.refuse:
            if refused == name and test(attr):
                self._fail(name, number)
        check = getattr(self, "_check_" + NUMBERS[attr.cmd].lower(), None)
        if check:
            check(attr, name)

    def _name(self, raw, call):
        """bpf_obj_name_cpy: zero-terminated inside 16 bytes, [A-Za-z0-9_] and, since 5.2, '.'."""
        text = bytes(raw)
        if text and not text.rstrip(b"\0") == text.split(b"\0")[0] or len(text.split(b"\0")[0]) > 15:
            self._fail(call, errno.EINVAL)
        for char in bytearray(text.split(b"\0")[0]):
            if not (chr(char).isalnum() or chr(char) == "_" or (chr(char) == "." and self.version >= (5, 2))):
                self._fail(call, errno.EINVAL)

    def _charge(self, amount, call):
        if self.memlock is not None:
            if self.locked + amount > self.memlock:
                self._fail(call, errno.EPERM)
            self._charged = amount

    # -- maps -------------------------------------------------------------------------------------------------------
    def _check_map_create(self, attr, call):
        kind = attr.get("map_type")
        if self.version < MAP_TYPES.get(kind, (99, 0)):
            self._fail(call, errno.EINVAL)
        flags = attr.get("map_flags")
        for bit, since in MAP_FLAGS:
            if flags & bit:
                flags &= ~bit
                if self.version < since:
                    self._fail(call, errno.EINVAL)
        if flags or (attr.get("map_flags") & U.BPF_F_MMAPABLE and kind not in (U.BPF_MAP_TYPE_ARRAY, 33)):
            self._fail(call, errno.EINVAL)
        self._name(attr.buf[28:44], call)
        if kind == U.BPF_MAP_TYPE_RINGBUF:
            size = attr.get("max_entries")
            if attr.get("key_size") or attr.get("value_size") or size & (size - 1) or size < 4096:
                self._fail(call, errno.EINVAL)
        elif kind in ARRAYS and (attr.get("key_size") != 4 or not attr.get("max_entries")):
            self._fail(call, errno.EINVAL)
        elif kind in (1, 5, 9, 10) and not (attr.get("key_size") and attr.get("value_size")
                                            and attr.get("max_entries")):
            self._fail(call, errno.EINVAL)
        if kind in (U.BPF_MAP_TYPE_ARRAY_OF_MAPS, U.BPF_MAP_TYPE_HASH_OF_MAPS) and not self.through:
            if not isinstance(self.fds.get(attr.get("inner_map_fd")), FakeMap):
                self._fail(call, errno.EBADF)
        if attr.get("btf_fd") and not self.through and not isinstance(self.fds.get(attr.get("btf_fd")), FakeBtf):
            self._fail(call, errno.EBADF)
        entries = attr.get("max_entries")
        each = attr.get("key_size") + attr.get("value_size") * (self.cpus
                                                                if kind in PERCPU else 1) + (48 if kind in (1, 5, 9,
                                                                                                            10) else 0)
        self._charge((entries * each if kind != U.BPF_MAP_TYPE_RINGBUF else entries) + 4095 & ~4095, call)

    def _do_map_create(self, attr):
        return self._new(FakeMap(attr, self.cpus), self.maps)

    def _map(self, fd):
        thing = self.fds.get(fd)
        if not isinstance(thing, FakeMap):
            self._fail("bpf", errno.EBADF)
        return thing

    def _key(self, attr, table):
        address = attr.get("key")
        if not address:
            if table.key_size:
                self._fail("bpf", errno.EFAULT)
            return b""
        return backend.bytes_at(address, table.key_size)

    def _do_map_lookup_elem(self, attr, delete=False):
        table = self._map(attr.get("map_fd"))
        if table.type in (U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK):
            if not table.order:
                self._fail("bpf", errno.ENOENT)
            key = table.order[0 if table.type == U.BPF_MAP_TYPE_QUEUE else -1]
        else:
            key = self._key(attr, table)
        if table.type in (U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, U.BPF_MAP_TYPE_RINGBUF, U.BPF_MAP_TYPE_PROG_ARRAY) and \
                (table.type != U.BPF_MAP_TYPE_PROG_ARRAY or self.version < (4, 17)):
            self._fail("bpf", ENOTSUPP)
        if key not in table.data:
            self._fail("bpf", errno.ENOENT)
        value = table.data[key]
        ctypes.memmove(attr.get("value"), value, len(value))
        if delete:
            table.drop(key)

    def _do_map_lookup_and_delete_elem(self, attr):
        table = self._map(attr.get("map_fd"))
        hashes = (1, 5, 9, 10)
        if table.type not in (22, 23) and not (table.type in hashes and self.version >= (5, 14)):
            self._fail("bpf", ENOTSUPP)
        self._do_map_lookup_elem(attr, True)

    def _do_map_update_elem(self, attr):
        table = self._map(attr.get("map_fd"))
        flags = attr.get("flags")
        if table.frozen:
            self._fail("bpf", errno.EPERM)
        if table.type in (22, 23, 30):
            key = struct.pack("=Q", self.next_id)
            self.next_id += 1
        else:
            key = self._key(attr, table)
        value = backend.bytes_at(attr.get("value"), table.window if table.value_size else 4)
        if table.type in (U.BPF_MAP_TYPE_PROG_ARRAY, 12, 13, U.BPF_MAP_TYPE_PERF_EVENT_ARRAY):
            thing = self.fds.get(struct.unpack("=I", value[:4])[0])
            wanted = {3: FakeProg, 4: FakePerf}.get(table.type, FakeMap)
            if not isinstance(thing, wanted):
                self._fail("bpf", errno.EBADF)
            value = struct.pack("=I", thing.id)
        if table.type in ARRAYS:
            if struct.unpack("=I", key)[0] >= table.max_entries:
                self._fail("bpf", errno.E2BIG)
            if flags == 1:
                self._fail("bpf", errno.EEXIST)
        elif flags == 1 and key in table.data:
            self._fail("bpf", errno.EEXIST)
        elif flags == 2 and key not in table.data:
            self._fail("bpf", errno.ENOENT)
        elif key not in table.data and len(table.data) >= table.max_entries and table.type not in (24, 28, 29, 32):
            if table.type in (9, 10):
                table.drop(table.order[0])
            else:
                self._fail("bpf", errno.E2BIG)
        table.put(key, value)

    def _do_map_delete_elem(self, attr):
        table = self._map(attr.get("map_fd"))
        key = self._key(attr, table)
        if table.type in (2, 6):
            self._fail("bpf", errno.EINVAL)
        if key not in table.data:
            self._fail("bpf", errno.ENOENT)
        table.drop(key)

    def _do_map_get_next_key(self, attr):
        table = self._map(attr.get("map_fd"))
        address = attr.get("key")
        if not address and self.version < (4, 12):
            self._fail("bpf", errno.EFAULT)
        at = 0
        if address:
            key = backend.bytes_at(address, table.key_size)
            if key in table.data:
                at = table.order.index(key) + 1
        if at >= len(table.order):
            self._fail("bpf", errno.ENOENT)
        ctypes.memmove(attr.get("next_key"), table.order[at], table.key_size)

    def _do_map_freeze(self, attr):
        self._map(attr.get("map_fd")).frozen = True

    def _batch(self, attr, delete):
        table = self._map(attr.get("batch.map_fd"))
        if table.type not in (1, 2, 5, 9, 10, 11) and not (table.type == 6 and self.version >= (5, 13)):
            self._fail("bpf", ENOTSUPP)
        at = attr.get("batch.in_batch")
        start = struct.unpack("=I", backend.bytes_at(at, 4))[0] if at and not delete else 0
        keys = table.order[start:start + attr.get("batch.count")]
        for i, key in enumerate(keys):
            ctypes.memmove(attr.get("batch.keys") + i * table.key_size, key, table.key_size)
            ctypes.memmove(attr.get("batch.values") + i * table.window, table.data[key], table.window)
        struct.pack_into("=I", attr.buf, 32, len(keys))
        if attr.get("batch.out_batch"):
            ctypes.memmove(attr.get("batch.out_batch"), struct.pack("=I", start + len(keys)), 4)
        done = start + len(keys) >= len(table.order)
        if delete:
            for key in keys:
                table.drop(key)
        if done:
            self._fail("bpf", errno.ENOENT)

    def _do_map_lookup_batch(self, attr):
        self._batch(attr, False)

    def _do_map_lookup_and_delete_batch(self, attr):
        self._batch(attr, True)

    def _do_map_update_batch(self, attr):
        table = self._map(attr.get("batch.map_fd"))
        for i in range(attr.get("batch.count")):
            table.put(backend.bytes_at(attr.get("batch.keys") + i * table.key_size, table.key_size),
                      backend.bytes_at(attr.get("batch.values") + i * table.window, table.window))

    def _do_map_delete_batch(self, attr):
        table = self._map(attr.get("batch.map_fd"))
        for i in range(attr.get("batch.count")):
            key = backend.bytes_at(attr.get("batch.keys") + i * table.key_size, table.key_size)
            if key not in table.data:
                struct.pack_into("=I", attr.buf, 32, i)
                self._fail("bpf", errno.ENOENT)
            table.drop(key)

    def mmap(self, fd, size, writable=True, offset=0):
        """Anonymous memory kept as ``thing.memory[offset]``: the test plays the kernel's side in it."""
        if self.through and fd not in self.fds:
            return Kernel.mmap(self, fd, size, writable, offset)
        thing = self.fds.get(fd)
        if thing is None or (isinstance(thing, FakeMap) and thing.type == U.BPF_MAP_TYPE_ARRAY
                             and not thing.flags & U.BPF_F_MMAPABLE):
            self._fail("mmap", errno.EBADF if thing is None else errno.EINVAL)
        if not getattr(thing, "memory", None):
            thing.memory = {}
        thing.memory[offset] = mmap.mmap(-1, size)
        return thing.memory[offset]

    # -- BTF --------------------------------------------------------------------------------------------------------
    def _check_btf_load(self, attr, call):
        data = backend.bytes_at(attr.get("btf"), attr.get("btf_size"))
        bad = self._btf_verdict(data)
        if bad:
            self._fail(call, errno.EINVAL)
        self._charge(4096, call)

    def _btf_verdict(self, data):
        """None, or why btf_check_all_metas would refuse."""
        if len(data) < 24 or struct.unpack_from("=H", data)[0] != 0xeb9f:
            return "header"
        _, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from("=HBBIIIII", data)
        highest = latest(BTF_KINDS, self.version, 0)
        at, end = header + type_off, header + type_off + type_len
        extra = {1: 4, 3: 12, 14: 4, 17: 4}
        each = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
        strings = data[header + str_off:header + str_off + str_len]
        while at < end:
            name_off, info, size = struct.unpack_from("=III", data, at)
            kind, vlen, flag = info >> 24 & 31, info & 0xffff, info >> 31
            if not 1 <= kind <= highest:
                return "kind %d" % kind
            if kind == 12 and vlen and self.version < (5, 6):
                return "func linkage"
            if kind == 6 and flag and self.version < (6, 0):
                return "signed enum"
            if kind == 15 and b"?" in strings[name_off:strings.find(b"\0", name_off)] and self.version < (6, 9):
                return "datasec name"
            if kind == 4 and flag and self.version < (5, 0):
                return "kind_flag"
            at += 12 + extra.get(kind, 0) + each.get(kind, 0) * vlen
        return None

    def _do_btf_load(self, attr):
        btf = FakeBtf(attr.fields)
        btf.data = backend.bytes_at(attr.get("btf"), attr.get("btf_size"))
        return self._new(btf, self.btfs)

    def _do_btf_get_next_id(self, attr):
        self._fail("bpf", errno.ENOENT)

    # -- programs ---------------------------------------------------------------------------------------------------
    def _prog_of(self, attr):
        prog = FakeProg(attr.fields)
        prog.type, prog.attach_type = attr.get("prog_type"), attr.get("expected_attach_type")
        prog.insns = backend.bytes_at(attr.get("insns"), 8 * attr.get("insn_cnt"))
        prog.name = bytes(attr.buf[48:64]).rstrip(b"\0")
        prog.license = ctypes.string_at(attr.get("license"))
        prog.flags, prog.kern_version = attr.get("prog_flags"), attr.get("kern_version")
        prog.attach_btf_id, prog.attach_fd = attr.get("attach_btf_id"), attr.get("attach_prog_fd")
        prog.btf = self.fds.get(attr.get("prog_btf_fd"))
        prog.func_info_cnt, prog.line_info_cnt = attr.get("func_info_cnt"), attr.get("line_info_cnt")
        prog.log_level, prog.bound = attr.get("log_level"), []
        return prog

    def _check_prog_load(self, attr, call):
        kind, count = attr.get("prog_type"), attr.get("insn_cnt")
        limit = 4096 if self.version < (5, 2) else 1000000
        if self.version < PROG_TYPES.get(kind, (99, 0)):
            self._fail(call, errno.EINVAL)
        if not count or count > limit:
            self._fail(call, errno.E2BIG)
        flags = attr.get("prog_flags")
        for bit, since in PROG_FLAGS:
            if flags & bit and self.version < since:
                self._fail(call, errno.EINVAL)
        if self.version < (5, 0) and kind == U.BPF_PROG_TYPE_KPROBE and attr.get("kern_version") != self.version_code():
            self._fail(call, errno.EINVAL)
        self._name(attr.buf[48:64], call)
        self._charge(4096 + 8 * count & ~4095, call)
        if kind in (U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM,
                    U.BPF_PROG_TYPE_EXT) and not attr.get("attach_btf_id"):
            self._fail(call, errno.EINVAL)
        if attr.get("prog_btf_fd") and not self.through and not isinstance(self.fds.get(attr.get("prog_btf_fd")),
                                                                           FakeBtf):
            self._fail(call, errno.EBADF)

    def version_code(self):
        """LINUX_VERSION_CODE."""
        return self.version[0] << 16 | self.version[1] << 8

    def _do_prog_load(self, attr):
        prog = self._prog_of(attr)
        number, log = self._verify(prog)
        if not number and self.verdict:
            number, log = self.verdict(prog) or (0, "")
        if attr.get("log_level") and attr.get("log_size"):
            text = log.encode() + b"\0"
            room = attr.get("log_size")
            ctypes.memmove(attr.get("log_buf"), text[:room - 1] + b"\0", min(room, len(text)))
            if len(text) > room:
                self._fail("bpf", errno.ENOSPC)
        if number:
            self._fail("bpf", number)
        return self._new(prog, self.progs)

    def _verify(self, prog):
        """(errno, log): the checks whose answer depends on the version."""
        last = latest(HELPERS, self.version)
        skip = False
        for at in range(0, len(prog.insns), 8):
            code, regs, offset, imm = struct.unpack_from("=BBhi", prog.insns, at)
            if skip:
                skip = False
                continue
            src, index = regs >> 4, at // 8
            if code == 0x18:
                skip = True
                since = {0: (3, 18), 1: (3, 18), 2: (5, 2), 3: (5, 10), 4: (5, 13), 5: (5, 14), 6: (5, 14)}.get(src,
                                                                                                                (99, 0))
                if self.version < since:
                    return errno.EINVAL, "%d: (18) r%d = 0x%x\nunrecognized bpf_ld_imm64 insn\n" % (index, regs & 15,
                                                                                                    imm)
                if src in (1, 2):
                    if not isinstance(self.fds.get(imm), FakeMap):
                        return errno.EBADF, "fd %d is not pointing to valid bpf_map\n" % imm
                    if src == 2 and self.fds[imm].type != U.BPF_MAP_TYPE_ARRAY:
                        return ENOTSUPP, "direct value access on this map type is not supported\n"
            elif code == 0x85:
                if src == 1 and self.version < (4, 16) or src == 2 and self.version < (5, 13) or src > 2:
                    return errno.EINVAL, "%d: (85) call pc%+d\nBPF_CALL uses reserved fields\n" % (index, imm)
                if src == 0 and not 0 < imm <= last:
                    return errno.EINVAL, "%d: (85) call unknown#%d\ninvalid func unknown#%d\n" % (index, imm, imm)
            elif code & 7 in (5, 6) and code & 0xf0 in (0xa0, 0xb0, 0xc0, 0xd0) and self.version < (4, 14):
                return errno.EINVAL, "BPF_JMP uses unknown opcode %02x\n" % code
            elif code & 7 == 6 and self.version < (5, 1):
                return errno.EINVAL, "unknown opcode %02x\n" % code
        return 0, "processed %d insns\n" % (len(prog.insns) // 8)

    def _prog(self, fd):
        thing = self.fds.get(fd)
        if not isinstance(thing, FakeProg):
            self._fail("bpf", errno.EBADF)
        return thing

    def _do_prog_bind_map(self, attr):
        self._prog(attr.get("prog_bind_map.prog_fd")).bound.append(self._map(attr.get("prog_bind_map.map_fd")))

    def _do_prog_test_run(self, attr):
        prog = self._prog(attr.get("test.prog_fd"))
        if prog.type not in (1, 3, 4, 6) and not (prog.type == 31) and not (prog.type == 17
                                                                            and self.version >= (5, 10)):
            self._fail("bpf", ENOTSUPP)
        struct.pack_into("=I", attr.buf, 4, 0)
        struct.pack_into("=I", attr.buf, 36, 100)

    def _do_enable_stats(self, attr):
        return self._new(Fake(attr.fields), [])

    # -- attaching --------------------------------------------------------------------------------------------------
    def _link(self, how, prog, attach_type, target, fields):
        link = FakeLink(fields)
        link.how, link.prog, link.attach_type, link.target = how, prog, attach_type, target
        return self._new(link, self.links)

    def _do_raw_tracepoint_open(self, attr):
        prog = self._prog(attr.get("raw_tracepoint.prog_fd"))
        address = attr.get("raw_tracepoint.name")
        name = ctypes.string_at(address) if address else b""
        if prog.type in (U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM, U.BPF_PROG_TYPE_EXT):
            if name:
                self._fail("bpf", errno.EINVAL)
        elif not name or prog.type not in (17, 24):
            self._fail("bpf", errno.EINVAL)
        return self._link("RAW_TRACEPOINT_OPEN", prog, prog.attach_type, name, attr.fields)

    def _do_link_create(self, attr):
        kind = attr.get("link_create.attach_type")
        thing = self.fds.get(attr.get("link_create.prog_fd"))
        since = LINK_ATTACH.get(kind) or (max((5, 7), CGROUP_ATTACH[kind]) if kind in CGROUP_ATTACH else (99, 0))
        if self.version < since:
            self._fail("bpf", errno.EINVAL)
        if not isinstance(thing, FakeMap if kind == U.BPF_STRUCT_OPS else FakeProg):
            self._fail("bpf", errno.EBADF)
        target = attr.get("link_create.target_fd")
        if kind == U.BPF_PERF_EVENT:
            event = self.fds.get(target)
            if not isinstance(event, FakePerf):
                self._fail("bpf", errno.EBADF)
            event.prog = thing
            target = event
        return self._link("LINK_CREATE", thing, kind, target, attr.fields)

    def _do_link_update(self, attr):
        link = self.fds.get(attr.get("link_update.link_fd"))
        if not isinstance(link, FakeLink):
            self._fail("bpf", errno.EINVAL)
        link.prog = self.fds[attr.get("link_update.new_prog_fd")]

    def _do_link_detach(self, attr):
        self.fds[attr.get("link_detach.link_fd")].detached = True

    def _do_iter_create(self, attr):
        if not isinstance(self.fds.get(attr.get("iter_create.link_fd")), FakeLink):
            self._fail("bpf", errno.EBADF)
        return self._new(Fake(attr.fields), [])

    def _do_prog_attach(self, attr):
        prog, kind = self._prog(attr.get("attach_bpf_fd")), attr.get("attach_type")
        since = CGROUP_ATTACH.get(kind) or {4: (4, 14), 5: (4, 14), 7: (4, 17), 16: (4, 18), 17: (4, 20), 38: (5, 13),
                                            46: (6, 6), 47: (6, 6)}.get(kind, (99, 0))
        if self.version < since:
            self._fail("bpf", errno.EINVAL)
        self.attached.append((prog, attr.get("target_fd"), kind))

    def _do_prog_detach(self, attr):
        wanted = (attr.get("target_fd"), attr.get("attach_type"))
        prog = self.fds.get(attr.get("attach_bpf_fd"))
        for row in self.attached:
            if row[1:] == wanted and (prog is None or prog is row[0]):
                self.attached.remove(row)
                return
        self._fail("bpf", errno.ENOENT)

    def perf_event_open(self, attr, pid=-1, cpu=-1, group_fd=-1, flags=0):
        kind = struct.unpack_from("=I", attr)[0]
        if not self.root:
            self._fail("perf_event_open", errno.EACCES)
        pmus = {int(data) for path, data in self.files.items() if path.startswith("/sys/bus/event_source")
                and path.endswith("/type")}
        if kind in (6, 7) and kind not in pmus:
            self._fail("perf_event_open", errno.ENOENT)
        if kind == 2:
            wanted = struct.unpack_from("=Q", attr, 8)[0]
            if not any(path.endswith("/id") and int(data) == wanted for path, data in self.files.items()
                       if path.endswith("/id")):
                self._fail("perf_event_open", errno.ENOENT)
        if kind == KPROBE_PMU:
            address = struct.unpack_from("=Q", attr, 56)[0]
            symbol = ctypes.string_at(address) if address else b""
            if symbol and b" %s\n" % symbol not in self.files.get("/proc/kallsyms", b""):
                self._fail("perf_event_open", errno.ENOENT if self.version < (6, 7) else errno.EINVAL)
        if self.through:
            return Kernel.perf_event_open(self, attr, pid, cpu, group_fd, flags)
        event = FakePerf()
        event.attr, event.pid, event.cpu, event.group, event.flags = bytes(attr), pid, cpu, group_fd, flags
        event.ioctls, event.prog, event.memory = [], None, None
        return self._new(event, self.perf)

    def ioctl(self, fd, request, arg=0):
        if self.through and fd not in self.fds:
            return Kernel.ioctl(self, fd, request, arg)
        event = self.fds.get(fd)
        if not isinstance(event, FakePerf):
            self._fail("ioctl", errno.EBADF)
        event.ioctls.append((request, arg))
        if request & 0xffff == 0x2408:  # PERF_EVENT_IOC_SET_BPF
            event.prog = self._prog(arg)
        elif request & 0xffff == 0x240a:  # PERF_EVENT_IOC_QUERY_BPF
            self._fail("ioctl", errno.EINVAL)
        return 0

    # -- ids, pins --------------------------------------------------------------------------------------------------
    def _do_obj_pin(self, attr):
        path = ctypes.string_at(attr.get("pathname"))
        if path in self.pins:
            self._fail("bpf", errno.EEXIST)
        if attr.get("bpf_fd") not in self.fds:
            self._fail("bpf", errno.EBADF)
        self.pins[path] = self.fds[attr.get("bpf_fd")]

    def _do_obj_get(self, attr):
        path = ctypes.string_at(attr.get("pathname"))
        if path not in self.pins:
            self._fail("bpf", errno.ENOENT)
        return self._new(self.pins[path], [])

    def _do_obj_get_info_by_fd(self, attr):
        thing = self.fds.get(attr.get("info.bpf_fd"))
        if thing is None:
            self._fail("bpf", errno.EBADF)
        if isinstance(thing, FakeMap):
            values = [("II", 0, (thing.type, thing.id)), ("IIII", 8,
                                                          (thing.key_size, thing.value_size, thing.max_entries,
                                                           thing.flags)),
                      ("16s", 24, (thing.name,))]
            size = 80 if self.version >= (4, 18) else 40
        elif isinstance(thing, FakeProg):
            values = [("II", 0, (thing.type, thing.id)), ("II", 16, (0, len(thing.insns))), ("16s", 64, (thing.name,))]
            size = 232 if self.version >= (6, 0) else 128 if self.version >= (4, 18) else 40
        elif isinstance(thing, FakeBtf):
            values, size = [("II", 8, (len(thing.data), thing.id))], 16
        else:
            values, size = [("II", 0, (0, thing.id))], 16
        room = min(attr.get("info.info_len"), size)
        buf = bytearray(256)
        for layout, at, items in values:
            struct.pack_into("=" + layout, buf, at, *items)
        ctypes.memmove(attr.get("info.info"), bytes(buf[:room]), room)
        struct.pack_into("=I", attr.buf, 4, room)

    def _by_id(self, things, number):
        for thing in things:
            if thing.id == number and (thing.fds or thing in self.pins.values()):
                return self._new(thing, [])
        self._fail("bpf", errno.ENOENT)

    def _do_map_get_fd_by_id(self, attr):
        return self._by_id(self.maps, attr.get("map_id"))

    def _do_prog_get_fd_by_id(self, attr):
        return self._by_id(self.progs, attr.get("prog_id"))

    def _do_btf_get_fd_by_id(self, attr):
        return self._by_id(self.btfs, attr.get("btf_id"))
