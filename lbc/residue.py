"""Attachments that outlive the process: undone at exit and on signals, and swept at the next start after a kill -9.

BPF links and perf events die with their fds.  Events in tracefs, filters and XDP programs set through netlink and
programs attached to a cgroup by BPF_PROG_ATTACH do not.  Each process has a name for its own, ``tag()``: PID name
space, pid and start time.  Events carry it as their group; the others are noted in a journal, one file per process,
``RUN_DIR/<tag>``, one line each, the first with the boot it belongs to.  Whatever carries the tag of a process that
is dead, in our own PID name space, was left behind; all else is not ours.
"""
from __future__ import absolute_import

import errno
import os
import stat

from ._py23 import to_bytes, to_text
from .errors import LbcError

__all__ = ["tag", "is_dead", "keep", "forget", "note", "erase", "has_journals", "undo_journals", "RUN_DIR", "SWEEPERS"]

RUN_DIR = "/run/lbc"
SWEEPERS = {}   # first word of a journal line -> f(kernel, [words]) that undoes it
_state = {"pid": 0, "tag": None, "live": [], "lines": [], "armed": 0}


def _start_time(pid):
    """Clock ticks since boot at which ``pid`` began, None when there is no such process (proc(5), field 22 of stat)."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            return int(f.read().rpartition(b")")[2].split()[19])
    except (IOError, OSError, IndexError, ValueError):
        return None


def _name_space():
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def tag():
    """'lbc_f000001c_4d2_8f3a21': name of this process for what it leaves in the kernel; at most 40 characters."""
    if _state["pid"] != os.getpid():  # first call, or after fork: what the parent made is the parent's to undo
        _state.update(pid=os.getpid(), live=[], lines=[],
                      tag="lbc_%x_%x_%x" % (_name_space(), os.getpid(), _start_time(os.getpid()) or 0))
    return _state["tag"]


def is_dead(name):
    """True when ``name`` is the tag of a process of our PID name space that is gone; False for anything else."""
    parts = name.split("_")
    if len(parts) != 4 or parts[0] != "lbc" or not all(
            part and not part.strip("0123456789abcdef") for part in parts[1:]):
        return False
    space, pid, start = (int(part, 16) for part in parts[1:])
    if not space or space != _name_space():
        return False
    began = _start_time(pid)
    return began != start if began is not None else _is_no_process(pid)


def _is_no_process(pid):
    """/proc shows no such process: because there is none, or because it hides others' (hidepid=) or is not there?"""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    except OverflowError:
        return True
    return False


def _boot():
    """This boot's name.  Program ids and interface numbers begin anew with each: a journal of another is void."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as f:
            return f.read().strip()
    except (IOError, OSError):
        return "-"


def _trusted(path, kind):
    """Is ``path`` a file or folder (a stat.S_IS* function) that none but root and we ourselves can have written?"""
    facts = os.lstat(path)
    return kind(facts.st_mode) and facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022


def keep(link):
    """Close ``link`` at exit at the latest, also on SIGTERM and SIGHUP where nobody else handles them."""
    tag()
    _state["live"].append(link)
    if _state["armed"] != os.getpid():
        first, _state["armed"] = not _state["armed"], os.getpid()
        if first:
            import atexit
            atexit.register(_at_exit)
            _arm_signals()


def forget(link):
    """``link`` was closed."""
    if link in _state["live"]:
        _state["live"].remove(link)


def has_leftovers():
    """Does this process hold anything that would outlive it?"""
    return _state["pid"] == os.getpid() and bool(_state["live"] or _state["lines"])


def _at_exit():
    if _state["pid"] != os.getpid():
        return
    for link in reversed(list(_state["live"])):
        try:
            link.close()
        except (LbcError, OSError, IOError):
            pass


def _arm_signals():
    import signal

    def stop(number, frame):
        _at_exit()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        try:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, stop)
        except ValueError:  # not the main thread: only that one may set handlers
            return


def note(line):
    """Write ``line`` into this process's journal, before the thing it names is made; where that cannot be, do
    without."""
    tag()
    _state["lines"].append(line)
    _write()


def erase(line):
    """``line`` is undone."""
    if line in _state["lines"]:
        _state["lines"].remove(line)
        _write()


def _write():
    path = os.path.join(RUN_DIR, tag())
    try:
        if not _state["lines"]:
            os.unlink(path)
            os.rmdir(RUN_DIR)
            return
        if not os.path.isdir(RUN_DIR):
            os.mkdir(RUN_DIR, 0o700)
        if not _trusted(RUN_DIR, stat.S_ISDIR):
            return
        # Written over, then cut: a kill -9 in between leaves lines of what is undone already, but forgets none.
        text = to_bytes("".join([line + "\n" for line in ["boot " + _boot()] + _state["lines"]]))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, text)
            os.ftruncate(fd, len(text))
        finally:
            os.close(fd)
    except (OSError, IOError):
        pass


def has_journals():
    """Is there a journal of any process?"""
    return os.path.isdir(RUN_DIR)


def undo_journals(kernel):
    """Undo, by SWEEPERS, what the journals of dead processes name.  Never raises."""
    try:
        if not _trusted(RUN_DIR, stat.S_ISDIR):
            return
        names = os.listdir(RUN_DIR)
    except OSError:
        return
    for name in names:
        if is_dead(name):
            path = os.path.join(RUN_DIR, name)
            try:
                if not _trusted(path, stat.S_ISREG):
                    continue
                with open(path, "rb") as f:
                    lines = to_text(f.read()).split("\n")
                for line in reversed(lines if lines[:1] == ["boot " + _boot()] else []):
                    words = line.split(" ")
                    if words[0] in SWEEPERS:
                        try:
                            SWEEPERS[words[0]](kernel, words[1:])
                        except (LbcError, OSError, IOError, ValueError, IndexError):
                            pass    # the others are still to be undone
                os.unlink(path)
                os.rmdir(RUN_DIR)  # stays while others have a journal in it
            except (OSError, IOError):
                pass
