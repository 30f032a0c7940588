"""Every exception of lbc.  Imports nothing of lbc.

An error's text says what failed, on which object and why; ``hint`` says what to try.  Only two places turn an
``OSError`` into one of these: ``lbc.bpf.syscalls`` and ``lbc.ftrace.tracefs``.
"""
from __future__ import absolute_import

import os

__all__ = ["LbcError", "InputError", "ExprError", "FormatError", "CompileError", "NotFoundError", "KernelError",
           "NotSupported", "PrivilegeError", "VerifierError", "FtraceError", "RelocError", "RemoteError"]

ENOTSUPP = 524  # include/linux/errno.h: kernel-internal, without a name in libc, yet it reaches user space


def errno_text(number):
    """'EINVAL: Invalid argument' for 22."""
    import errno
    if number == ENOTSUPP:
        return "ENOTSUPP: not supported by this kernel"
    return "%s: %s" % (errno.errorcode.get(number, "errno %d" % number), os.strerror(number))


class LbcError(Exception):
    """Base class.  ``what``: one line; ``cause``: the exception behind it or None; ``hint``: what to try or None."""

    def __init__(self, what, cause=None, hint=None):
        Exception.__init__(self, what)
        self.what = what
        self.hint = hint
        self.__cause__ = cause  # shown by Python 3, harmless in 2.7

    @property
    def message(self):
        return self.what

    def __str__(self):
        return "%s\nhint: %s" % (self.what, self.hint) if self.hint else self.what


class InputError(LbcError, ValueError):
    """The caller's text, argument or file is wrong."""


class ExprError(InputError):
    """A trace expression is wrong at ``column`` (from 0) of ``text``."""

    def __init__(self, what, text, column, hint=None):
        InputError.__init__(self, what, hint=hint)
        self.text, self.column = text, column

    def __str__(self):
        lines = [self.what, "    " + self.text, "    " + " " * self.column + "^"]
        if self.hint:
            lines.append("  hint: " + self.hint)
        return "\n".join(lines)


class FormatError(InputError):
    """A file is damaged or of an unknown format: ``path`` (or None), ``section`` (or None), ``offset`` in bytes (or
    None)."""

    def __init__(self, what, path=None, section=None, offset=None):
        self.path, self.section, self.offset = path, section, offset
        where = [str(part) for part in (path, section) if part]
        if offset is not None:
            where.append("offset %d" % offset)
        InputError.__init__(self, "%s: %s" % (", ".join(where), what) if where else what)


class CompileError(InputError):
    """The compiler refused ``source``; ``log`` is its whole output."""

    def __init__(self, what, source, log, hint=None):
        InputError.__init__(self, what, hint=hint)
        self.source, self.log = source, log


class NotFoundError(LbcError, LookupError):
    """No ``kind`` ("struct", "function", "map" ...) called ``name`` in ``searched``; ``near``: similar names."""

    def __init__(self, kind, name, searched=None, near=(), hint=None):
        self.kind, self.name, self.searched, self.near = kind, name, searched, list(near)
        what = "no %s `%s`" % (kind, name)
        if searched:
            what += " in %s" % searched
        if self.near:
            what += "; did you mean %s?" % " or ".join("`%s`" % n for n in self.near[:3])
        LbcError.__init__(self, what, hint=hint)


class KernelError(LbcError, EnvironmentError):
    """The kernel refused ``call`` (text) with ``errno``."""

    def __init__(self, what, call=None, errno=None, cause=None, hint=None):
        LbcError.__init__(self, what, cause, hint)
        self.call, self.errno = call, errno


class NotSupported(KernelError):
    """The kernel lacks ``feature``: the only error that lets a fallback go on.  ``min_version``: "5.8" or None."""

    def __init__(self, feature, min_version=None, errno=None, call=None, cause=None, hint=None):
        self.feature, self.min_version = feature, min_version
        what = "this kernel does not have %s" % feature
        if min_version:
            what += " (upstream since %s)" % min_version
        KernelError.__init__(self, what, call, errno, cause, hint)


class PrivilegeError(KernelError):
    """Not allowed; ``need`` says what would be ("CAP_BPF or root")."""

    def __init__(self, what, need=None, call=None, errno=None, cause=None, hint=None):
        self.need = need
        KernelError.__init__(self, what, call, errno, cause, hint)


class VerifierError(KernelError):
    """The verifier refused ``program``.  ``str()`` is the reason; ``log`` is all of it; ``excerpt`` is the part that
    matters."""

    def __init__(self, program, reason, log="", excerpt="", errno=None, cause=None, hint=None):
        self.program, self.reason, self.log, self.excerpt = program, reason, log, excerpt
        KernelError.__init__(self, "program `%s` refused by the verifier: %s" % (program, reason),
                             "BPF_PROG_LOAD", errno, cause, hint)


class FtraceError(KernelError):
    """Writing ``text`` to the tracefs file ``path`` failed; ``kernel_says``: the tail of error_log."""

    def __init__(self, what, path=None, text=None, kernel_says="", errno=None, cause=None, hint=None):
        self.path, self.text, self.kernel_says = path, text, kernel_says
        KernelError.__init__(self, what, "write %s" % path, errno, cause, hint)


class RelocError(LbcError):
    """A relocation cannot be applied: ``program``, ``insn`` (index), ``spec`` (text), ``candidates`` (texts)."""

    def __init__(self, what, program=None, insn=None, spec=None, candidates=(), hint=None):
        self.program, self.insn, self.spec, self.candidates = program, insn, spec, list(candidates)
        where = ""
        if program is not None:
            where = "program `%s`" % program
            if insn is not None:
                where += ", instruction %d" % insn
            where += ": "
        LbcError.__init__(self, where + what, hint=hint)


class RemoteError(LbcError):
    """The server at ``url`` failed: ``status`` (HTTP, or None) and ``body``."""

    def __init__(self, what, url=None, status=None, body="", cause=None, hint=None):
        self.url, self.status, self.body = url, status, body
        LbcError.__init__(self, what, cause, hint)
