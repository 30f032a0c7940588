"""Which jail works here, and what is in it: the compiler, the libraries it is linked with, its headers, ours.

    bwrap    bubblewrap                      user     name spaces of an ordinary user, by lbc.server.jail
    root     the same by root                chroot   by root, where name spaces are forbidden (containers)
    none     limits only: --unsafe
"""
from __future__ import absolute_import

import os
import sys

from .. import host
from ..errors import InputError, NotSupported
from . import jail
from .store import private_folder

__all__ = ["KINDS", "Sandbox", "choose"]

KINDS = ("bwrap", "root", "user", "chroot", "none")
_LAUNCH = "import sys; sys.path.insert(0, %r); from lbc.server import jail; sys.exit(jail.main())"
_PROCESSES = 16


def _root_of_lbc():
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def on_path(name):
    """Path of a program, or None."""
    for folder in os.environ.get("PATH", "").split(os.pathsep) + ["/usr/bin", "/bin"]:
        path = os.path.join(folder, name)
        if os.path.isabs(path) and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def run(argv, seconds=20):
    """(exit status, stdout, stderr) of a trusted program."""
    from subprocess import PIPE, Popen
    from threading import Timer
    with open(os.devnull, "rb") as nothing:
        process = Popen(argv, stdin=nothing, stdout=PIPE, stderr=PIPE, close_fds=True,
                        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    timer = Timer(seconds, process.kill)
    timer.start()
    try:
        out, said = process.communicate()
    finally:
        timer.cancel()
    return process.returncode, out, said


def libraries_of(program):
    """[(file, path under which the loader opens it)] of a dynamically linked program."""
    tool = on_path("ldd")
    if tool is None:
        raise InputError("no ldd here: what %s needs cannot be told" % program)
    status, out, _said = run([tool, program])
    found = {}
    for line in out.decode("utf-8", "replace").splitlines() if not status else ():
        words = line.split()
        path = words[2] if len(words) > 3 and words[1] == "=>" else words[0] if words and words[0][0] == "/" else ""
        if path.startswith("/"):
            found[os.path.normpath(path)] = os.path.realpath(path)
    return sorted([(real, path) for path, real in found.items()])


class Sandbox(object):
    """A kind of jail for ``program`` (an absolute path).  ``binds``: [(source, target)] that every run sees besides the
    program and its libraries; ``folder``: a private one, for what the jail needs."""

    def __init__(self, kind, program, folder, binds=()):
        if kind not in KINDS:
            raise InputError("no sandbox `%s`" % kind, hint="there are: " + ", ".join(KINDS))
        self.kind, self.program, self.folder = kind, os.path.realpath(program), folder
        libraries = libraries_of(self.program)
        self.binds = [(self.program, self.program)] + libraries + list(binds)
        # the loader's cache (ld.so.cache) is not in there
        self.libraries = ":".join(sorted(set([os.path.dirname(path) for _real, path in libraries])))

    def argv(self, words, cpu_seconds, memory, binds=()):
        """Command line that runs ``program`` with ``words``; ``binds``: further (source, target) of this run."""
        every = self.binds + list(binds)
        limits = jail.limits_word(cpu_seconds, memory, _PROCESSES)
        kind, root = self.kind, os.path.join(self.folder, "root")
        command = [self.program] + list(words)
        if kind in ("user", "root"):
            private_folder(root)
            middle = [word for pair in every for word in ("b",) + tuple(pair)]
        elif kind == "chroot":
            root, middle = self._copies(binds), []
        elif kind == "bwrap":
            command, middle = self._bubble(every) + command, []
            kind = "limits"
        else:
            kind, middle = "limits", []
            command = [self.program] + _unmapped(words, every)
        return [sys.executable, "-S", "-E", "-s", "-c", _LAUNCH % _root_of_lbc(), kind, root, limits,
                self.libraries if self.kind != "none" else ""] + middle + ["--"] + command

    def _bubble(self, binds):
        words = [on_path("bwrap"), "--unshare-all", "--die-with-parent", "--new-session", "--uid", str(jail.NOBODY),
                 "--gid", str(jail.NOBODY), "--cap-drop", "ALL"]
        for source, target in binds:
            words += ["--ro-bind", source, target]
        return words + ["--dir", jail.WORK, "--chdir", jail.WORK, "--remount-ro", "/", "--"]

    def _copies(self, binds):
        """Folder with copies of the files: made once for the program and what belongs to it; ``binds`` of one run are
        added to it."""
        from hashlib import sha256
        facts = [(source, target, os.stat(source).st_size, os.stat(source).st_mtime) for source, target in self.binds]
        name = os.path.join(self.folder, "chroot-" + sha256(repr(facts).encode("utf-8")).hexdigest()[:16])
        if not os.path.isdir(name):
            self._copy(self.binds, name, True)
        for source, target in binds:
            if not os.path.exists(name + target):
                _make_folder(os.path.dirname(name + target))
                self._copy([(source, "")], name + target, False)
        return name

    def _copy(self, binds, name, with_work):
        """The files below the folder ``name``, or as the file or folder ``name``, in one step."""
        from shutil import copyfile, copytree, rmtree
        from tempfile import mkdtemp
        new = mkdtemp(dir=self.folder)
        whole = new + "/all"
        try:
            for source, target in binds:
                _make_folder(os.path.dirname(whole + target))
                if os.path.isdir(source):
                    copytree(source, whole + target, True)   # links as links: they lead nowhere in there
                else:
                    copyfile(source, whole + target)
                    os.chmod(whole + target, 0o555)
            if with_work:
                _make_folder(whole + jail.WORK)
            try:
                os.rename(whole, name)
            except OSError:
                if not os.path.exists(name):    # else: another process was quicker
                    raise
        finally:
            rmtree(new, True)


def _make_folder(path):
    if not os.path.isdir(path):
        os.makedirs(path, 0o755)


def _unmapped(words, binds):
    """``words`` with the paths that a jail would show replaced by the real ones."""
    targets = sorted([(target, source) for source, target in binds if source != target], reverse=True)
    result = []
    for word in words:
        for target, source in targets:
            if word == target or word.startswith(target + "/"):
                word = source + word[len(target):]
                break
            for option in ("-I",):
                if word == option + target:
                    word = option + source
        result.append(word)
    return result


def choose(program, folder, binds, works, unsafe=False, kind=None):
    """The first Sandbox for which ``works(sandbox)`` -> None or the reason why not.  NotSupported with all reasons."""
    root = os.geteuid() == 0
    if kind is None:
        # Root becomes nobody in its own jail; in the others it stays root under another number, whose processes and
        # files the kernel counts and guards as root's.
        kinds = ["root", "bwrap", "user", "chroot"] if root else ["bwrap", "user"]
    else:
        kinds = [kind]
    if kind is None and unsafe:
        kinds.append("none")
    reasons = []
    for name in kinds:
        if name == "none" and not unsafe:
            reasons.append("none: only with --unsafe")
            continue
        if name == "bwrap" and on_path("bwrap") is None:
            reasons.append("bwrap: not installed")
            continue
        if name == "chroot" and not root:
            reasons.append("chroot: only root may")
            continue
        sandbox = Sandbox(name, program, folder, binds)
        reason = works(sandbox)
        if reason is None:
            return sandbox
        reasons.append("%s: %s" % (name, reason))
    raise NotSupported(
        "a sandbox for the compiler (%s)" % "; ".join(reasons),
        hint="install bubblewrap, allow user name spaces (sysctl user.max_user_namespaces), or, where all clients are "
             "trusted, --unsafe (%s)" % host.release())
