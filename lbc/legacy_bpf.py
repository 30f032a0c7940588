"""pylcc's ClbcBase and its family: BPF C in a string or a file, compiled, loaded, attached.

    class Chello(ClbcBase):
        def __init__(self):
            super(Chello, self).__init__("hello", bpf_str=source)

What the reference did wrong is done right behind the same names: nothing that merely lies in the working folder is run
as code, attaching works on Python 3, all threads means all, perf constants are the kernel's, what is left at the end is
nothing.
"""
from __future__ import absolute_import

import os
import stat
import sys

from ._py23 import iteritems, signal, string_types, to_bytes
from .errors import InputError, NotFoundError
from .legacy_maps import text_of, wrap

__all__ = ["ClbcLoad", "ClbcBase", "getCwd"]

_MARK = b"\nlbc-source "     # behind the object in WORKPATH/NAME.bpf.o: of which source it was made
_KEY_BYTES = 64
_DATA_KINDS = ("rodata", "data", "bss", "kconfig")


def getCwd(pathStr):
    """The folder that the file ``pathStr`` really lies in."""
    return os.path.split(os.path.realpath(pathStr))[0]


class ClbcLoad(object):
    """Source -> object.  ``bpf``: name; ``bpf_str``: the source, "" = ``bpf``.bpf.c in ``workPath`` (default: the
    current folder); ``server``: for hosts without a compiler ($LBC_SERVER goes before it); ``arch``, ``ver``: of the
    target, "" = this machine's; ``env``: flags such as -DLBC_DEBUG; ``incPath``: folders, `;` between them,
    after $LBC_INCLUDE;
    ``opt``: "obj" writes ``bpf``.bpf.o into the current folder, "combine" does nothing.

    CompileError (its ``log`` is the compiler's), InputError, NotFoundError, RemoteError."""

    def __init__(self, bpf, bpf_str="", server="", arch="", ver="", env="", workPath=None, incPath=None, logLevel=-1,
                 btf=True, opt="so"):
        self._server, self._arch, self._ver, self._env = server, arch, ver, env
        self._wPath, self._incPath = workPath or os.getcwd(), incPath
        self._logLevel = _number(os.environ.get("LBC_LOGLEVEL"), logLevel)
        self._name = bpf[:-6] if bpf.endswith(".bpf.c") else bpf
        self._object = None
        if opt == "combine":
            return
        if opt not in ("so", "obj"):
            raise InputError("opt `%s`: one of so, obj, combine" % opt)
        self._object = self._get(bpf_str)
        if opt == "obj":
            _write(self._name + ".bpf.o", self._object, needed=True)

    def _get(self, source):
        """Bytes of the object: the kept one when it was made of this source, else a new one."""
        path = os.path.join(self._wPath, self._name + ".bpf.c")
        if not source and os.path.exists(path):
            try:
                with open(path, "rb") as f:
                    source = f.read()
            except (IOError, OSError) as error:
                raise InputError("cannot read %s: %s" % (path, error.strerror), error)
        kept_at = os.path.join(self._wPath, self._name + ".bpf.o")
        kept, why = _read_kept(kept_at)
        if not source:
            if why:
                raise InputError(why)
            if kept is None:
                raise NotFoundError("file", self._name + ".bpf.c", self._wPath,
                                    hint="give the source as bpf_str, or put it or its object (.bpf.o) there")
            return kept.partition(_MARK)[0]
        from . import compiler
        key = compiler.source_key(source, **self._settings())
        if kept is not None and kept[-_KEY_BYTES - len(_MARK):] == _MARK + to_bytes(key):
            return kept[:-_KEY_BYTES - len(_MARK)]
        made = compiler.build(source, name=self._name + ".bpf.c", server=self._server or None, **self._settings())
        if made.log and self._logLevel >= 0:
            sys.stderr.write(made.log.rstrip("\n") + "\n")
        if made.origin == "server":
            sys.stdout.write("remote server compile success.\n")
        _write(kept_at, made.object + _MARK + to_bytes(key))
        return made.object

    def _settings(self):
        return {"flags": self._env, "release": self._ver or None, "machine": self._arch or None,
                "include": self._incPath or "", "folder": self._wPath}

    @staticmethod
    def c2str(data):
        """Text of ``char[]`` data (bytes, list of numbers, ctypes array), up to the first zero."""
        return text_of(data)

    @staticmethod
    def c2list(data):
        """List of the elements of an array."""
        return [data[index] for index in range(len(data))]


def _number(text, default):
    try:
        return int(text)
    except (TypeError, ValueError):
        return default


def _read_kept(path):
    """(bytes of a kept object or None, why not): what others than root and this user can have made is not believed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (IOError, OSError):
        return None, ""
    with os.fdopen(fd, "rb") as f:
        facts = os.fstat(f.fileno())
        if not stat.S_ISREG(facts.st_mode):
            return None, "%s is no file" % path
        if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022:
            return None, "%s is not loaded: it belongs to user %d%s" % (
                path, facts.st_uid, " and others may write it" if facts.st_mode & 0o022 else "")
        return f.read(), ""


def _write(path, data, needed=False):
    """The whole file or nothing of it, ours alone; a folder that cannot be written is no error unless ``needed``."""
    temporary = "%s.%d" % (path, os.getpid())
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except (IOError, OSError) as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        if needed:
            raise InputError("cannot write %s: %s" % (path, error.strerror), error)


class ClbcBase(ClbcLoad):
    """A loaded object.  ``maps``: {name: map} (lbc.legacy_maps); ``obj``: the lbc.BpfObject behind it (new).

    ``attach``: 0 = attach nothing; else every program whose section says where it belongs."""

    def __init__(self, bpf, bpf_str="", server="", arch="", ver="", env="", attach=1, workPath=None):
        self.obj, self.maps, self._cbInterrupt = None, {}, None
        ClbcLoad.__init__(self, bpf, bpf_str, server, arch, ver, env, workPath=workPath)
        from .bpf.object import BpfObject
        self.obj = BpfObject(self._object, name=self._name + ".bpf.o", log_level=1 if self._logLevel >= 2 else 0)
        try:
            self.obj.load()
            if self._logLevel >= 2:
                sys.stderr.write("".join(["%s:\n%s\n" % (program.name, program.log)
                                          for program in self.obj.programs.values() if program.log]))
            for name, table in self.obj.maps.items():
                if table.spec is None or table.spec.kind not in _DATA_KINDS:
                    self.maps[name] = wrap(table, self)
            if attach:
                self.obj.attach([name for name in self.obj.attachable()
                                 if self.obj.programs[name].spec.attach_to != "*"])
        except BaseException:
            self.close()
            raise

    def close(self):
        """Detach and unload (new; the reference did so when the object was collected, which still works)."""
        maps, self.maps = self.maps, {}
        for table in maps.values():
            if hasattr(table, "close"):
                table.close()
        obj, self.obj = self.obj, None
        if obj is not None:
            obj.close()

    def __del__(self):
        try:
            if getattr(self, "obj", None) is not None:
                self.close()
        except Exception:   # the interpreter is going, modules are empty: the kernel closes what is left
            pass

    def record_codec(self, live):
        """Codec of what programs put into an event map, None when its source does not tell."""
        return self.obj.record_codec(live)

    def getMap(self, name, data, size):
        """Object of one record of event map ``name``: its members are attributes.  None for a record that is too
        short."""
        try:
            return self._map(name).event(data)
        except IndexError:
            return None

    def _map(self, name):
        if name not in self.maps:
            from ._py23 import near
            raise NotFoundError("map", name, self._name, near(name, self.maps))
        return self.maps[name]

    # -- attaching -------------------------------------------------------------------------------------------------
    def _attach(self, function, target=None, **options):
        """Attach program ``function``; returns 0 as the reference does.  The link stays until close()."""
        self.obj.programs[_text(function)].attach(target, **options)
        return 0

    def attachKprobe(self, function, symbol):
        """To the entry of a kernel function: "vfs_read", "vfs_read+0x10", "module:function"."""
        return self._attach(function, _text(symbol), is_return=False)

    def attachKretprobe(self, function, symbol):
        """To the return of a kernel function."""
        return self._attach(function, _text(symbol), is_return=True)

    def attachUprobe(self, function, pid, binaryPath, offset=0):
        """To byte ``offset`` of a file; ``pid``: -1 all processes, 0 this one, else that process (all its threads)."""
        return self._attach(function, path=_text(binaryPath), offset=offset, pid=pid, is_return=False)

    def attachUretprobe(self, function, pid, binaryPath, offset=0):
        """To the return of the function at ``offset``."""
        return self._attach(function, path=_text(binaryPath), offset=offset, pid=pid, is_return=True)

    # A user probe on a process holds for all of its threads, those to come included (kernel/events/uprobes.c filters by
    # address space), so there is nothing to do thread by thread.
    attachUprobes = attachUprobe
    attachUretprobes = attachUretprobe

    def traceUprobes(self, function, pid, fxpr):
        """To the entry of "BINARY:FUNCTION", "libc:malloc", "./prog:main+4" ..."""
        return self._attach(function, _text(fxpr), pid=pid, is_return=False)

    def traceUretprobes(self, function, pid, fxpr):
        """To the return of it."""
        return self._attach(function, _text(fxpr), pid=pid, is_return=True)

    def attachTracepoint(self, function, category, name):
        """To the tracepoint ``category``/``name``."""
        return self._attach(function, "%s/%s" % (_text(category), _text(name)))

    def attachRawTracepoint(self, function, name):
        """To the raw tracepoint ``name``."""
        return self._attach(function, _text(name))

    def attachCgroup(self, function, fd):
        """To the cgroup behind the open folder ``fd`` (or its path)."""
        return self._attach(function, fd)

    def attachNetns(self, function, fd):
        """To the network name space behind the open file ``fd`` (or its path)."""
        return self._attach(function, fd)

    def attachXdp(self, function, ifindex):
        """To the interface with this number (or name)."""
        return self._attach(function, ifindex)

    def attachPerfEvent(self, function, attrD, pid=0, cpu=-1, group_fd=-1, flags=0):
        """To a perf event: members of perf_event_attr by name; ``pid``: 0 this process, -1 all; ``cpu``: -1 all.
        ``size`` is lbc's to say and is ignored.  See perf_event_open(2)."""
        from .bpf.links import perf
        fields = dict([(name, _value(name, value)) for name, value in iteritems(attrD) if name != "size"])
        self.obj.own(perf.perf_event(self.obj.kernel, self.obj.programs[_text(function)], fields, pid, [cpu],
                                     group_fd=group_fd, flags=flags))
        return 0

    def attachAllCpuPerf(self, function, attrD, pid=-1, group_fd=-1, flags=0):
        """To one perf event on each CPU that is on."""
        for cpu in self.obj.kernel.online_cpus():
            self.attachPerfEvent(function, attrD, pid, cpu, group_fd, flags)

    def attachPerfEvents(self, function, attrD, pid, group_fd=-1, flags=0):
        """To one perf event on each thread of process ``pid`` and, inherited, on those that they will begin."""
        attributes = dict(attrD)
        attributes.setdefault("inherit", 1)
        threads = _threads(pid)
        missed = 0
        for tid in threads:
            try:
                self.attachPerfEvent(function, attributes, tid, -1, group_fd, flags)
            except NotFoundError:
                missed += 1     # this thread has ended
        if missed == len(threads):
            raise NotFoundError("process", str(pid), hint="it may have ended")

    def attachJavaSym(self, function, pid, symbol):
        """To each call of a compiled Java method, in all threads: "Ltest;::square_test" or the name that the
        process's perf map has.  See lbc.java."""
        from . import java
        java.attach(self.obj.programs[_text(function)], pid, _text(symbol))

    # -- waiting ---------------------------------------------------------------------------------------------------
    def _signalInterrupt(self, signum, frame):
        self._cbInterrupt()

    def waitInterrupt(self, cb=None):
        """Sleep until a signal comes.  Ctrl-C calls ``cb()`` and ends the sleep; without cb it raises
        KeyboardInterrupt."""
        if cb:
            self._cbInterrupt = cb
            signal.signal(signal.SIGINT, self._signalInterrupt)
        signal.pause()


def _text(name):
    """Native text of a name that a script encoded."""
    from ._py23 import to_text
    return to_text(name)


def _value(name, value):
    """A number of perf_event_attr; scripts also give texts of one (the reference's JSON took no 64-bit numbers)."""
    if isinstance(value, string_types):
        try:
            return int(value, 0)
        except ValueError:
            raise InputError("perf event: attribute `%s`: `%s` is no number" % (name, value))
    return value


def _threads(pid):
    try:
        return sorted([int(name) for name in os.listdir("/proc/%d/task" % pid)])
    except OSError:
        raise NotFoundError("process", str(pid), hint="it may have ended")
