"""filelife: files that were created while we watch, at the moment they are deleted: by whom, and how old they were.

usage: python -m lbc.tools.filelife [-p PID] [-d SECONDS] [--json]

  -p, --pid PID           only deletions by this process
  -d, --duration SECONDS  end after that time (default: Ctrl-C)
  -j, --json              a JSON object a line: time pid comm age_s file
  -h, --help              this text

    TIME     PID     COMM             AGE(s)  FILE
    14:02:11 31817   gcc              0.04    ccE2wvKq.s
    14:02:11 31817   gcc              0.05    ccUzr8ng.o

Which way it traces is said once on stderr: fentry (kernels from 5.5), else kprobes, else, where there are neither or
the kernel has no BTF, the tracepoints of the system calls: they show the path as the program gave it and do not follow
renamed files.  LBC_FILELIFE=fentry, kprobe or syscalls allows that way only.
Needs root.  Cost: some 100 ns for each open() and delete on the machine; nothing is written anywhere.
"""
from __future__ import absolute_import

import os
import struct
import sys

from .. import host
from ..bpf.apart import load_apart
from ..errors import InputError, KernelError, LbcError, NotFoundError, PrivilegeError
from . import _cli

OPTIONS = [
    ("-p", "--pid", "pid", _cli.process_id, 0),
    ("-d", "--duration", "duration", _cli.positive_seconds, None),
    ("-j", "--json", "json", None, None),
]
COLUMNS = [("TIME", "time", "%-8s"), ("PID", "pid", "%-7d"), ("COMM", "comm", "%-16s"), ("AGE(s)", "age_s", "%-7.2f"),
           ("FILE", "file", "%s")]
PROGRAMS = {"fentry": ("fentry_open", "fexit_create", "fentry_unlink", "fexit_unlink"),
            "kprobe": ("kprobe_open", "kprobe_create", "kretprobe_create", "kprobe_unlink", "kretprobe_unlink")}
SYSCALLS = ("open", "creat", "openat", "openat2", "unlink", "unlinkat")  # aarch64 has only those with "at"
KIND_OPEN = 1           # enum kind of filelife_syscalls.bpf.c
AT_FDCWD = -100         # include/uapi/linux/fcntl.h
MAX_BIRTHS = 16384      # as the map of the other ways


def by_functions(way, pid):
    """The object of fentry or kprobe programs, attached.  Raises LbcError where the kernel does not take them."""
    obj = _cli.bpf_object("filelife")
    try:
        for name in PROGRAMS[way]:  # first: the names of theirs are then looked for together
            obj.programs[name].autoload = True
        opened, opened_args = "security_file_open", obj.function_args("security_file_open")
        if opened_args is None:  # without CONFIG_SECURITY
            opened, opened_args = "vfs_open", obj.function_args("vfs_open")
        create, unlink = obj.function_args("vfs_create"), obj.function_args("vfs_unlink")
        for name, args, argument in ((opened, opened_args, "file"), ("vfs_create", create, "dentry"),
                                     ("vfs_unlink", unlink, "dentry")):
            if argument not in (args or ()):
                raise NotFoundError("function", "%s(... %s ...)" % (name, argument), "the kernel's BTF")
        variables = obj.globals
        variables.target_pid = pid
        variables.open_file_arg = opened_args.index("file")
        variables.create_dentry_arg, variables.create_args = create.index("dentry"), len(create)
        variables.unlink_dentry_arg, variables.unlink_args = unlink.index("dentry"), len(unlink)
        obj.programs[way + "_open"].attach_to = opened
        obj.load()
        obj.attach()
    except BaseException:
        obj.close()
        raise
    return obj


def by_syscalls(pid):
    """The object of tracepoint programs, attached.  ``pid`` is looked at in Deaths: the birth may be another's
    doing."""
    from ..tracefs import need_tracefs
    obj = _cli.bpf_object("filelife_syscalls")
    try:
        tracefs = need_tracefs(obj.kernel)
        for name in SYSCALLS:
            present = obj.kernel.exists("%s/events/syscalls/sys_enter_%s" % (tracefs, name))
            for stage in ("enter_", "exit_"):
                obj.programs[stage + name].autoload = present
        obj.load()
        obj.attach()
    except BaseException:
        obj.close()
        raise
    return obj


def start(pid, only=None):
    """(object, its record types, way) of the first way that this kernel takes; ``only``: "fentry", "kprobe" or
    "syscalls"."""
    first = None
    for way in ("fentry", "kprobe"):
        if only in (None, way):
            try:
                return by_functions(way, pid), {"events": "event"}, way
            except (KernelError, NotFoundError) as error:
                first = first or error
    if only in PROGRAMS:
        raise first
    try:
        return by_syscalls(pid), {"events": "call"}, "syscall tracepoints"
    except LbcError as error:
        # What is missing for all ways alike (root) was the first to be said; else the last word counts.
        raise first if isinstance(first, PrivilegeError) and isinstance(error, PrivilegeError) else error


class Lives(object):
    """Births and deaths of paths as system calls tell them: what the kernel side does where it can attach to
    functions."""

    def __init__(self, pid, show):
        self.pid, self.show, self.births = pid, show, {}
        self.read, self.held = [], []   # (when, path, call): of this look into the rings, and of the one before

    def on_call(self, cpu, call):
        path = _full_path(call)         # now: the process may be gone soon
        if call.kind != KIND_OPEN or call.exclusive or _is_new(path, call.when_ns):
            self.read.append((call.when_ns, path, call))

    def poll(self, poll_rings, timeout_ms):
        """Look into all rings, then take the calls in order of time.  A file may be made on one CPU and deleted on
        another whose ring was read first: what came with one look waits for the next, which finds all that is older."""
        poll_rings(min(timeout_ms, 10) if self.held else timeout_ms)
        poll_rings(0)                   # the first may have woken for one ring only
        return self.settle(self.held[-1][0] if self.held else -1)

    def settle(self, until_ns=None):
        """Number of calls taken: those up to ``until_ns``, None: all there are."""
        calls = sorted(self.held + self.read, key=_when)
        count = len(calls) if until_ns is None else len([1 for call in calls if call[0] <= until_ns])
        self.held, self.read = calls[count:], []
        for _, path, call in calls[:count]:
            self._take(path, call)
        return count

    def _take(self, path, call):
        if call.kind == KIND_OPEN:
            self.births[path] = call.when_ns
            if len(self.births) > MAX_BIRTHS:
                del self.births[min(self.births, key=self.births.get)]
            return
        born = self.births.pop(self._key(path), None)
        if born is not None and self.pid in (0, call.pid):
            self.show(call.when_ns, call.pid, call.comm, call.when_ns - born, call.path)

    def _key(self, path):
        """Under which name the birth of ``path`` is kept.  Of a process that was gone before its folder could be read,
        only the path as it was given is known: then the youngest birth wins whose path ends with the other."""
        if path in self.births:
            return path
        if path.startswith("/"):
            ends = [path[i + 1:] for i, c in enumerate(path) if c == "/"]
            found = [end for end in ends if end in self.births]
        else:
            found = [known for known in self.births if known.endswith("/" + path)]
        return max(found, key=self.births.get) if found else path


def _when(row):
    return row[0]


def _full_path(call):
    """The path from the root where the folder of the call can still be told, else as it was given."""
    if call.path.startswith("/"):
        return os.path.normpath(call.path)
    where = "cwd" if call.dir_fd == AT_FDCWD else "fd/%d" % call.dir_fd
    try:
        return os.path.normpath(os.path.join(os.readlink("/proc/%d/%s" % (call.pid, where)), call.path))
    except OSError:
        return os.path.normpath(call.path)


def _is_new(path, opened_ns):
    """Did an open(O_CREAT) make the file?  Yes where it cannot be told any more: it is gone, so it was short-lived."""
    born = host.file_birth(path)
    # file times are as coarse as a tick
    return born is None or born >= opened_ns / 1e9 + host.wall_clock_offset() - 0.1


def main(argv=None):
    options = _cli.parse(__doc__, argv, OPTIONS)
    only = os.environ.get("LBC_FILELIFE") or None
    if only not in (None, "fentry", "kprobe", "syscalls"):
        raise InputError("LBC_FILELIFE=%s: one of fentry, kprobe, syscalls" % only)
    with load_apart(lambda: start(options.pid, only)) as obj:
        out, offset = None, host.wall_clock_offset()

        def show(when_ns, pid, comm, age_ns, name):
            out.row((_cli.clock(when_ns / 1e9 + offset), pid, comm, age_ns / 1e9, name))

        def on_event(cpu, event):
            show(event.when_ns, event.pid, event.comm, event.age_ns, event.name)

        way = obj.extra
        if way == "syscall tracepoints":
            lives = Lives(options.pid, show)
            buf = obj.events("events", lives.on_call, pages=16, latency_ms=50)
            poll = lambda timeout_ms: lives.poll(obj.poll, timeout_ms)
        else:
            lives, poll = None, obj.poll
            buf = obj.events("events", on_event, pages=16)
        sys.stderr.write("filelife: tracing with %s\n" % way)
        out = _cli.Output(COLUMNS, options.json)
        _cli.loop(poll, options.duration, out.flush)
        if lives and lives.settle():
            out.flush()
        missed = obj.maps["missed"].lookup(b"\0" * 4) if "missed" in obj.maps else b""
        lost = buf.lost + sum(struct.unpack("=%dQ" % (len(missed) // 8), missed))
        if lost:
            sys.stderr.write("filelife: %d events lost\n" % lost)
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run_main("filelife", main))
