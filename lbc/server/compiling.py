"""C from strangers -> BPF objects: one clang in a jail, its limits, and what it says in the words of the user's source.

The source goes in through stdin and the object comes out of stdout, so the jail needs nothing that can be written.
"""
from __future__ import absolute_import

import os
import select

from .._py23 import monotonic, to_bytes, to_text
from ..elf.strip import strip_debug
from ..errors import FormatError, InputError, LbcError, NotSupported
from ..kernel_target import ARCHES, BIG_ENDIAN
from . import sandbox as boxes
from .jail import FAILED
from .store import private_folder

__all__ = ["Compiler", "Outcome", "find_clang"]

RESOURCE, HEADERS = "/clang", "/lbc"    # where the jail shows clang's own headers and ours
NAME = "bpf.c"      # of the source, in messages
_KILLED = -9, 128 + 9, -24, 128 + 24    # SIGKILL, SIGXCPU; of the launcher itself, or as it tells of its child
_TRIAL = b"""int probe(void *ctx) { return 0; }
#if __has_include("/etc/passwd") || __has_include("/proc/self/maps") || __has_include("/proc/1/status")
#error files of the host are visible
#endif
"""


def find_clang(name=None):
    """Path of clang: ``name``, $CLANG, else the newest clang on PATH.  NotSupported where there is none."""
    wanted = name or os.environ.get("CLANG")
    if wanted:
        found = wanted if "/" in wanted else boxes.on_path(wanted)
        if found is None or not os.access(found, os.X_OK):
            raise InputError("no compiler %s here" % wanted)
        return os.path.abspath(found)
    for each in ["clang"] + ["clang-%d" % number for number in range(30, 9, -1)]:
        found = boxes.on_path(each)
        if found is not None:
            return found
    raise NotSupported(
        "a compiler: no clang on PATH", hint="install clang (10 or later), or give its path: --clang FILE"
    )


class Outcome(object):
    """What a compiler left: ``data`` (an object, or b""), ``log`` (its messages), ``reason`` (None: it is fine).

    ``keep``: would the same source give the same again?"""

    def __init__(self, data, log, reason, keep):
        self.data, self.log, self.reason, self.keep = data, log, reason, keep


class Compiler(object):
    """clang in a sandbox that was seen to work.  Nothing is looked for before `ready`."""

    def __init__(self, settings):
        from threading import Lock
        self.settings = settings
        self._lock, self._sandbox, self._seen, self.identity = Lock(), None, None, b""
        self.headers = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "include")

    # -- the tools -----------------------------------------------------------------------------------------------------
    def ready(self):
        """The Sandbox, chosen at the first call and again when the compiler was replaced.  NotSupported says what is
        missing."""
        with self._lock:
            seen = None if self._sandbox is None else _facts(self._sandbox.program)
            if seen is None or seen != self._seen:
                self._sandbox = self._choose()
                self._seen = _facts(self._sandbox.program)
            return self._sandbox

    def _choose(self):
        clang = os.path.realpath(find_clang(self.settings.clang))
        status, out, said = boxes.run([clang, "-print-resource-dir"])
        own = os.path.realpath(to_text(out).strip() or "/nonexistent")
        if status or not os.path.isdir(own + "/include"):
            raise NotSupported("a usable compiler: %s does not tell where its headers are (%s)" % (
                clang, to_text(said).strip()[:200]))
        binds = [(os.path.realpath(own + "/include"), RESOURCE + "/include")]
        if os.path.isdir(self.headers):
            binds.append((self.headers, HEADERS))
        folder = private_folder(os.path.join(private_folder(self.settings.cache), "jail"))
        status, version, _said = boxes.run([clang, "--version"])
        self.identity = version + self._headers_identity()
        return boxes.choose(clang, folder, binds, self._works, self.settings.unsafe, self.settings.sandbox)

    def _headers_identity(self):
        """Hash of our headers: an object depends on them."""
        from hashlib import sha256
        known = sha256()
        for folder, folders, names in os.walk(self.headers):
            folders.sort()
            for name in sorted(names):
                with open(os.path.join(folder, name), "rb") as stream:
                    known.update(to_bytes(name) + b"\0" + stream.read())
        return known.hexdigest().encode("ascii")

    def _works(self, sandbox):
        """None, or why this sandbox is of no use."""
        source = _TRIAL if sandbox.kind != "none" else _TRIAL[:_TRIAL.index(b"#if")]
        found = self._run(sandbox, source, [], "x86_64", None)
        if found.reason is None:
            return None
        return (found.log.strip() or found.reason).replace("\n", " ")[:300]

    # -- one source ----------------------------------------------------------------------------------------------------
    def compile(self, source, flags, machine, header=None):
        """Outcome of a source (bytes).  ``flags``: checked by flags.parse_flags; ``machine``: as of uname; ``header``:
        path of the kernel's vmlinux.h."""
        return self._run(self.ready(), source, flags, machine, header)

    def words(self, flags, machine, target):
        """clang's arguments; ``target``: folder with vmlinux.h, or None."""
        words = ["-target", "bpfeb" if machine in BIG_ENDIAN else "bpfel", "-O2", "-g", "-c", "-x", "c", "-nostdlibinc",
                 "-resource-dir", RESOURCE, "-fno-crash-diagnostics", "-fno-color-diagnostics", "-ferror-limit=50",
                 "-Wno-unknown-warning-option", "-D__TARGET_ARCH_" + ARCHES.get(machine, machine)]
        words += ["-I" + folder for folder in (target, HEADERS if os.path.isdir(self.headers) else None) if folder]
        return words + list(flags) + ["-o", "-", "-"]

    def _run(self, sandbox, source, flags, machine, header):
        settings = self.settings
        binds, target = [], None
        if header is not None:
            target = "/target/" + os.path.basename(os.path.dirname(header))
            binds.append((os.path.dirname(header), target))
        argv = sandbox.argv(self.words(flags, machine, target), settings.cpu_seconds, settings.memory, binds)
        source = to_bytes('#line 1 "%s"\n' % NAME) + source
        status, data, log, why = _limited(argv, source, settings.wall_seconds, settings.most_output)
        log = to_text(log)
        if why is not None:
            return Outcome(b"", log[:65536], "the compiler was stopped: " + why, "seconds" in why or "bytes" in why)
        if status == FAILED or log.startswith("jail: "):
            return Outcome(b"", log, "the compiler could not be started: %s" % log.strip()[:200], False)
        if status in _KILLED:
            return Outcome(b"", log[:65536], "the compiler was stopped: more than %d seconds of CPU"
                           % settings.cpu_seconds, True)
        if "LLVM ERROR: out of memory" in log or "std::bad_alloc" in log:
            return Outcome(b"", log[:65536], "the compiler was stopped: more than %d MiB of memory"
                           % (settings.memory >> 20), True)
        if status:
            return Outcome(b"", log[:262144], _reason(status, log), True)
        if not data:
            return Outcome(b"", log[:65536], "the compiler wrote no object", True)
        try:
            data = strip_debug(data)    # a vmlinux.h leaves half a megabyte of DWARF, which no loader reads
        except FormatError as error:
            return Outcome(b"", log[:65536], "the compiler wrote no usable object: %s" % error, True)
        return Outcome(data, log[:262144], None, True)


def _facts(path):
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime, facts.st_ino


def _reason(status, log):
    """One line: clang's first error."""
    for line in log.splitlines():
        if "error:" in line or "LLVM ERROR" in line:
            return "compile failed: %s" % line.strip()[:300]
    return "compile failed: the compiler ended with status %d" % status


def _limited(argv, source, seconds, most):
    """(status, stdout, stderr, None or why it was stopped) of a program fed with ``source``.  ``most``: bytes of either
    output."""
    from subprocess import PIPE, Popen
    try:
        process = Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, close_fds=True, env={"LC_ALL": "C"}, cwd="/")
    except EnvironmentError as error:
        raise LbcError("the compiler cannot be started: %s" % error, error)
    pipes = process.stdin, process.stdout, process.stderr
    why, outputs = None, (process.stdout.fileno(), process.stderr.fileno())
    out = {fd: [] for fd in outputs}
    try:
        why = _exchange(process, source, out, monotonic() + seconds, seconds, most)
    except BaseException:
        why = "an error of the server"
        raise
    finally:
        if why is not None:
            try:
                process.kill()  # the program dies with its launcher (jail: PR_SET_PDEATHSIG)
            except OSError:
                pass
        for pipe in pipes:
            try:
                pipe.close()
            except EnvironmentError:
                pass    # what a broken stdin still held
        process.wait()
    data, log = [b"".join(out[fd]) for fd in outputs]
    return process.returncode, data, log, why


def _exchange(process, source, out, until, seconds, most):
    """Feed and read until both outputs end; None, or why to stop."""
    import fcntl
    feed, view, sizes = process.stdin.fileno(), memoryview(source), {fd: 0 for fd in out}
    poll = select.poll()
    for fd in list(out) + [feed]:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        poll.register(fd, select.POLLOUT if fd == feed else select.POLLIN)
    reading = set(out)
    while reading:
        left = until - monotonic()
        if left <= 0:
            return "more than %d seconds" % seconds
        try:
            events = poll.poll(int(left * 1000) + 1)
        except select.error as error:   # 2.7: a signal
            if error.args[0] != 4:
                raise
            continue
        for fd, _what in events:
            if fd == feed:
                try:
                    view = view[os.write(fd, view[:65536]):]
                except (OSError, IOError) as error:
                    if error.errno == 11:
                        continue
                    view = view[:0]     # it does not want to read: its messages say why
                if not len(view):
                    poll.unregister(fd)
                    process.stdin.close()
                continue
            try:
                piece = os.read(fd, 65536)
            except (OSError, IOError) as error:
                if error.errno == 11:
                    continue
                raise
            if not piece:
                poll.unregister(fd)
                reading.discard(fd)
                continue
            out[fd].append(piece)
            sizes[fd] += len(piece)
            if sizes[fd] > most:
                return "more than %d bytes of output" % most
    return None
