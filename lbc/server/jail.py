"""Runs one program that sees nothing but the files it is given: the launcher that lbc.server.sandbox starts.

    python -S -E -c '... jail.main()' KIND ROOT LIMITS [b SOURCE TARGET]... -- PROGRAM ARGUMENT...

KIND "user": name spaces of an ordinary user (user_namespaces(7), since 3.8); "root": the same without a user name
space; "chroot": chroot(2) to ROOT, which holds copies of the files; "limits": only the limits (bwrap, --unsafe).
In the first two ROOT is an empty folder, where a tmpfs with the files bound read-only is mounted for us alone, and that
is the root of a process without network, other processes, devices, /proc, anything to write to, and privileges.
It runs as a process of its own, so that nothing here happens to a server with threads.
"""
from __future__ import absolute_import

import os
import select
import sys

from .._native import backend
from .._py23 import signal
from ..uapi.arch import current

__all__ = ["main", "limits_word"]

NOBODY = 65534
WORK = "/work"
# include/uapi/linux/sched.h, mount.h, prctl.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = (
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 14,
    1 << 18,
    1 << 21,
)
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
FAILED = 125    # exit status: the jail itself could not be made; its reason is on stderr
_ST_RELATIME = 4096     # statvfs's bit; the others below it are the same as mount's


def limits_word(cpu_seconds, memory, processes, file_size=0):
    """LIMITS: seconds, bytes of address space, processes, bytes of a file."""
    return "%d,%d,%d,%d" % (cpu_seconds, memory, processes, file_size)


def _text(value):
    return bytearray(value.encode("utf-8") + b"\0") if value is not None else None


def _call(name, *args):
    """A system call; texts are passed by address."""
    kept = [_text(arg) if arg is None or not isinstance(arg, int) else arg for arg in args]
    backend.syscall(getattr(current(), "nr_" + name),
                    *[0 if arg is None else arg if isinstance(arg, int) else backend.address_of(arg) for arg in kept])


def _mount(source, target, kind, flags, data=None):
    try:
        _call("mount", source, target, kind, flags, data)
    except OSError as error:
        raise OSError(error.errno, "mount %s at %s: %s" % (source, target, error.strerror))


def _write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _separate(kind):
    """New name spaces; those of user and pid hold for the next child."""
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    _call("unshare", flags | (CLONE_NEWUSER if kind == "user" else 0))
    if kind == "user":
        _write("/proc/self/setgroups", "deny")      # since 3.19; before, gid_map may be written without
        _write("/proc/self/uid_map", "%d %d 1" % (NOBODY, user))
        _write("/proc/self/gid_map", "%d %d 1" % (NOBODY, group))


def _fill(root, binds):
    """The files at their places below ``root``, read-only, and ``root`` the root."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("jail", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=4096,mode=755")
    for source, target in binds:
        place = root + target
        folder = os.path.isdir(source)
        _folders(place if folder else os.path.dirname(place))
        if not folder:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT, 0o444))
        _mount(source, place, None, MS_BIND)
        # flags that the source's mount has are locked for us (mount_namespaces(7)) and must be named again
        has = os.statvfs(place).f_flag
        kept = has & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
        if has & _ST_RELATIME:
            kept |= MS_RELATIME
        _mount(None, place, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | kept)
    _folders(root + WORK)
    _mount(None, root, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    _call("pivot_root", ".", ".")
    _call("umount2", ".", MNT_DETACH)   # the old root lies on top of the new one (pivot_root(2), Notes)
    os.chdir(WORK)


def _folders(path):
    if not os.path.isdir(path):
        os.makedirs(path, 0o755)


def _limit(resource, word):
    cpu, memory, processes, size = [int(number) for number in word.split(",")]
    # Hard limits at once: the first process of a pid name space does not get SIGXCPU, but SIGKILL it gets.
    for name, most in (("CPU", cpu), ("AS", memory), ("FSIZE", size), ("CORE", 0), ("NOFILE", 256), ("MEMLOCK", 0),
                       ("NPROC", processes)):
        number = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(number)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    os.nice(5)      # behind those who answer from memory


def _drop(change):
    """No privileges, now and later."""
    if change:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _exec(resource, kind, limits, argv, libraries, alive):
    """Become the program; never returns."""
    _drop(kind in ("root", "chroot"))
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if alive is not None and select.select([alive], [], [], 0)[0]:
        os._exit(FAILED)    # the launcher died before that
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)   # Python's own settings
    os.closerange(3, 256)
    _limit(resource, limits)
    environment = {"PATH": "/nonexistent", "LC_ALL": "C", "HOME": WORK, "TMPDIR": WORK}
    if libraries:
        environment["LD_LIBRARY_PATH"] = libraries
    os.execve(argv[0], argv, environment)


def main(words=None):
    """Exit status of the program; FAILED with a line on stderr when it could not be run as asked."""
    import resource     # now: in the jail there is no Python to import from
    words = list(sys.argv[1:] if words is None else words)
    try:
        kind, root, limits, libraries = words[:4]
        split = words.index("--")
        binds = words[4:split]
        binds = [(binds[at + 1], binds[at + 2]) for at in range(0, len(binds), 3)]
        argv = words[split + 1:]
        if kind in ("limits", "chroot"):
            if kind == "chroot":
                os.chroot(root)
                os.chdir(WORK)
            _exec(resource, kind, limits, argv, libraries, None)
        _separate(kind)
        # a server that is killed leaves no compiler behind; after the change of credentials, which clears it
        # (kernel/cred.c, commit_creds)
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _fill(root, binds)
        alive, held = os.pipe()
        child = os.fork()
        if not child:
            os.close(held)
            _child(resource, kind, limits, argv, libraries, alive)
        os.close(alive)
        status = os.waitpid(child, 0)[1]
    except (OSError, IOError, ValueError, IndexError) as error:
        return _failed(error)
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def _child(resource, kind, limits, argv, libraries, alive):
    try:
        _exec(resource, kind, limits, argv, libraries, alive)
    except BaseException as error:
        _failed(error)
    finally:
        os._exit(FAILED)


def _failed(error):
    os.write(2, ("jail: %s\n" % error).encode("utf-8", "replace"))
    return FAILED
