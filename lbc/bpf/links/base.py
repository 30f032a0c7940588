"""What every attachment is: a Link that is closed once, and how a refusal of the kernel is told apart from a missing
feature."""
from __future__ import absolute_import

import errno
import os

from ...errors import ENOTSUPP, InputError, KernelError, NotSupported, PrivilegeError, errno_text
from ...uapi import bpf as _u
from ..syscalls import Attr

__all__ = ["Link", "LinkGroup", "first_supported", "link_create", "refused", "bpf_link", "program_fd", "LACKING"]

# What a kernel answers that does not know a command, an attach type or a member of bpf_attr (E2BIG, EINVAL) or has it
# compiled out.
LACKING = (errno.EINVAL, errno.E2BIG, ENOTSUPP, errno.EOPNOTSUPP, errno.ENOSYS)


class Link(object):
    """One attachment.  ``fd``: of the BPF link, or of the perf event, or None; ``detail``: text, how it was attached.

    ``is_bpf_link``: the kernel knows it as a link, so ``pin``, ``update`` and ``info`` work.
    ``close()`` may be called any number of times; it detaches unless the link was pinned.
    """

    def __init__(self, kernel, fd, detail, is_bpf_link=False, undo=(), program=None, fds=()):
        self.kernel, self.fd, self.detail, self.is_bpf_link = kernel, fd, detail, is_bpf_link
        self.program = program
        self._undo = list(undo)      # callables, the last one first, after the fds are gone
        self._fds = list(fds)        # more fds, closed after ``fd``, in order
        self.closed = False

    def close(self):
        """Detach and release everything.  Idempotent; errors of undoing do not stop the rest, the first one is
        raised."""
        if self.closed:
            return
        self.closed = True
        fds, self._fds = ([] if self.fd is None else [self.fd]) + self._fds, []
        self.fd = None
        for fd in fds:
            self.kernel.close(fd)
        first = None
        undo, self._undo = self._undo, []
        while undo:
            try:
                undo.pop()()
            except KernelError as error:
                first = first or error
        if first is not None:
            raise first

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return "<%s fd=%s %s>" % (type(self).__name__, self.fd, "closed" if self.closed else self.detail)

    def _need_link(self, what):
        if self.closed:
            raise InputError("%s: the link is closed" % what)
        if not self.is_bpf_link:
            raise NotSupported("%s for an attachment made by %s: it is not a BPF link" % (what, self.detail))

    def pin(self, path):
        """Keep the attachment alive in the BPF file system at ``path`` after close.  KernelError, NotSupported."""
        self._need_link("pin")
        _run(self.kernel, _u.BPF_OBJ_PIN, {"pathname": path.encode() + b"\0", "bpf_fd": self.fd},
             "pin the link at %s" % path)

    def update(self, program, flags=0, old=None):
        """Replace the program atomically (5.7; cgroup, xdp, netns, tcx, iter ... links).  ``old``: only if this is the
        one in place."""
        self._need_link("update")
        fields = {"link_update.link_fd": self.fd, "link_update.new_prog_fd": program_fd(program),
                  "link_update.flags": flags}
        if old is not None:
            fields["link_update.old_prog_fd"] = program_fd(old)
            fields["link_update.flags"] = flags | _u.BPF_F_REPLACE
        try:
            self.kernel.bpf(_u.BPF_LINK_UPDATE, fields)
        except KernelError as error:
            if error.errno in (errno.EOPNOTSUPP, ENOTSUPP, errno.ENOSYS):
                raise NotSupported("update of links of this kind", None, error.errno, "BPF_LINK_UPDATE", error)
            raise refused(self.kernel, error, "replace the program of the link (%s)" % self.detail)
        self.program = program

    def detach(self):
        """Detach now, even if the link is pinned or open elsewhere (BPF_LINK_DETACH, 5.9; cgroup, netns, xdp, tcx)."""
        self._need_link("detach")
        _run(self.kernel, _u.BPF_LINK_DETACH, {"link_detach.link_fd": self.fd}, "detach the link")

    def info(self):
        """Attr with the kernel's bpf_link_info: ``.get("id")``, ``.get("prog_id")``, ``.get("type")`` ... (5.8)."""
        self._need_link("info")
        return self.kernel.info(self.fd, _u.BPF_LINK_INFO, _u.BPF_LINK_INFO_SIZE)


class LinkGroup(Link):
    """Several attachments of one program that live and die together; ``links``; ``fd`` is that of the first."""

    def __init__(self, kernel, links, detail, program=None, undo=()):
        Link.__init__(self, kernel, None, detail, undo=undo, program=program)
        self.links = list(links)

    @property
    def fd(self):
        return self.links[0].fd if getattr(self, "links", None) else None

    @fd.setter
    def fd(self, value):
        pass

    def close(self):
        first = None
        links, self.links = self.links, []
        for link in reversed(links):
            try:
                link.close()
            except KernelError as error:
                first = first or error
        self.is_bpf_link = False
        Link.close(self)
        if first is not None:
            raise first


def close_all(links):
    """Close every one, whatever the others' closing says: for undoing, where the first reason is the one to raise."""
    for link in reversed(links):
        try:
            link.close()
        except KernelError:
            pass


def program_fd(program):
    """The fd of a Program, or the int itself."""
    return program if isinstance(program, int) else program.fd


def first_supported(ways, *args):
    """Result of the first function of ``ways`` that does not raise NotSupported; else the last NotSupported."""
    last = None
    for way in ways:
        try:
            return way(*args)
        except NotSupported as error:
            last = error
    raise last


def is_root():
    return os.geteuid() == 0


def refused(kernel, error, doing, hint=None):
    """KernelError ``error`` as one that says what was being done; EPERM and EACCES become PrivilegeError with the
    likely reason."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError("%s: %s" % (doing, errno_text(error.errno)),
                              "root, or CAP_BPF with CAP_PERFMON or CAP_NET_ADMIN",
                              error.call, error.errno, error, hint or _why_not_allowed(kernel))
    return KernelError("%s: %s" % (doing, errno_text(error.errno)), error.call, error.errno, error, hint)


def _why_not_allowed(kernel):
    if not is_root():
        return "run as root, or give the interpreter CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (5.8 or later)"
    try:
        lockdown = kernel.read("/sys/kernel/security/lockdown")
    except KernelError:
        lockdown = b"[none]"
    if b"[none]" not in lockdown:
        return "kernel lockdown is on (/sys/kernel/security/lockdown): it forbids this even to root"
    return "root without the capability (a container?), or forbidden by a security module"


def _run(kernel, cmd, fields, doing):
    try:
        return kernel.bpf(cmd, fields)
    except KernelError as error:
        raise refused(kernel, error, doing)


def link_create(kernel, fields, alive=()):
    """fd of BPF_LINK_CREATE; raises the plain KernelError.  ``fields`` without the "link_create." before each name."""
    attr = Attr(_u.BPF_LINK_CREATE)
    for name in fields:
        value = fields[name]
        if value is not None:
            attr.set("link_create." + name, value)
    return kernel.run(attr)


def bpf_link(kernel, program, fields, doing, feature, min_version, lacking=LACKING, detail=None):
    """Link by BPF_LINK_CREATE.  NotSupported(feature) for an errno in ``lacking``, else what ``refused`` makes of
    it."""
    fields = dict(fields)
    if "map_fd" not in fields:
        fields.setdefault("prog_fd", program_fd(program))
    try:
        fd = link_create(kernel, fields)
    except KernelError as error:
        if error.errno in lacking:
            raise NotSupported(feature, min_version, error.errno, "BPF_LINK_CREATE", error)
        raise refused(kernel, error, doing)
    return Link(kernel, fd, detail or "BPF link (%s)" % feature, True, program=program)
