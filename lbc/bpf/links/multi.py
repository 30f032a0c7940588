"""Many functions by one link: kprobe.multi (5.18), kprobe.session (6.10), uprobe.multi (6.6), uprobe.session (6.13).

Where the kernel has no such link the same program is attached to each function by itself, as long as they are not too
many.
Facts: kernel/trace/bpf_trace.c bpf_kprobe_multi_link_attach, bpf_uprobe_multi_link_attach.
"""
from __future__ import absolute_import

import errno
import struct

from ..._py23 import to_bytes
from ...errors import InputError, KernelError, NotFoundError, NotSupported
from ...uapi import bpf as _u
from . import kfunc
from .base import LACKING, Link, LinkGroup, close_all, first_supported, link_create, program_fd, refused

__all__ = ["kprobe_multi", "uprobe_multi", "uprobe_multi_link", "MOST_SINGLE"]

# single probes in place of one multi link: each costs an fd or two and, in the kernel, milliseconds
MOST_SINGLE = 1000


def _u64s(values):
    return bytearray(struct.pack("=%dQ" % len(values), *values))


def kprobe_multi(kernel, program, pattern=None, functions=None, addresses=None, cookies=None, is_return=False,
                 session=False, way=None):
    """Link on all kernel functions that match ``pattern`` ("vfs_*", "?", "module:x*"), or ``functions``, or
    ``addresses``.

    ``cookies``: one for each of ``functions`` or ``addresses``.  ``way``: "multi" or "single".
    """
    rows = _rows(kernel, program, pattern, functions, addresses)
    if cookies is not None and len(cookies) != len(rows):
        raise InputError("program `%s`: %d cookies for %d functions" % (program.name, len(cookies), len(rows)))
    ways = {None: [_kprobe_link] if session else [_kprobe_link, _kprobe_single], "multi": [_kprobe_link],
            "single": [_kprobe_single]}[way]
    return first_supported(ways, kernel, program, rows, cookies, is_return, session, pattern)


def _rows(kernel, program, pattern, functions, addresses):
    if addresses:
        return [("0x%x" % a, a) for a in addresses]
    if functions:
        return [(name, 0) for name in functions]
    if not pattern:
        raise InputError("program `%s`: which functions? (kprobe.multi/PATTERN, or functions=)" % program.name)
    if "*" not in pattern and "?" not in pattern:
        return [(pattern, 0)]
    rows = kfunc.expand(kernel, pattern)
    if not rows:
        raise NotFoundError("kernel function", pattern, "what this kernel can trace (available_filter_functions)")
    return rows


def _kprobe_link(kernel, program, rows, cookies, is_return, session, pattern):
    fields = {"prog_fd": program_fd(program), "kprobe_multi.cnt": len(rows),
              "attach_type": _u.BPF_TRACE_KPROBE_SESSION if session else _u.BPF_TRACE_KPROBE_MULTI,
              "kprobe_multi.flags": _u.BPF_F_KPROBE_MULTI_RETURN if is_return else 0}
    alive = []
    if all(address for _, address in rows):
        fields["kprobe_multi.addrs"] = _u64s([address for _, address in rows])
    else:
        fields["kprobe_multi.syms"] = _strings([name for name, _ in rows], alive)
    if cookies is not None:
        fields["kprobe_multi.cookies"] = _u64s(cookies)
    what = "%s%s on %d function%s" % ("kretprobe" if is_return else "kprobe", ".session" if session else ".multi",
                                      len(rows),
                                      "s" * (len(rows) != 1))
    try:
        fd = link_create(kernel, fields)
    except KernelError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT) or error.errno == errno.EINVAL and _has_multi(kernel, session):
            raise _explain(kernel, error, rows, what)
        if error.errno in LACKING:
            raise NotSupported("kprobe.session links" if session else "kprobe.multi links",
                               "6.10" if session else "5.18",
                               error.errno, error.call, error)
        raise refused(kernel, error, "attach `%s` by %s" % (program.name, what))
    return Link(kernel, fd, what + ", link", True, program=program)


def _has_multi(kernel, session):
    from .. import features
    return not session and "kprobe_multi" in features.FEATURES and features.have(kernel, "kprobe_multi", False)


def _strings(names, alive):
    """Array of pointers to the names (u64 each); ``alive`` keeps what they point to."""
    from ..._native import backend
    texts = [bytearray(to_bytes(name) + b"\0") for name in names]
    out = _u64s([backend.address_of(text) for text in texts])
    alive.extend(texts)
    return out


def _explain(kernel, error, rows, what):
    for name, address in rows[:64]:
        if address:
            continue
        found = kfunc.count(kernel, name)
        if found == 0:
            return kfunc.explain(kernel, KernelError(error.what, error.call, errno.ENOENT, error), name, 0, what)
        if found > 1:
            return kfunc.explain(kernel, KernelError(error.what, error.call, errno.EADDRNOTAVAIL, error), name, 0, what)
    if len(rows) == 1:
        return kfunc.explain(kernel, error, rows[0][0], 0, what)
    return refused(kernel, error, what, "one of the functions cannot be traced")


def _kprobe_single(kernel, program, rows, cookies, is_return, session, pattern):
    from .perf import kprobe
    if len(rows) > MOST_SINGLE:
        raise NotSupported("kprobe.multi links, and `%s` means %d functions (at most %d are probed one by one)"
                           % (pattern, len(rows), MOST_SINGLE), "5.18")
    return _many(kernel, program, rows, cookies, "kretprobe" if is_return else "kprobe",
                 lambda name, address, cookie: kprobe(kernel, program, name if not name.startswith("0x") else address,
                                                      is_return,
                                                      cookie=cookie), len(rows) > 1)


def _many(kernel, program, rows, cookies, kind, one, skip):
    """LinkGroup of single probes; of several, those that cannot be probed are left out."""
    links, left_out, last = [], 0, None
    try:
        for number, row in enumerate(rows):
            try:
                links.append(one(row[0], row[1], cookies[number] if cookies is not None else 0))
            except NotSupported:
                raise
            except (KernelError, NotFoundError) as error:
                if not skip or isinstance(error, KernelError) and error.errno in (errno.EPERM, errno.EACCES):
                    raise
                left_out, last = left_out + 1, error
    except BaseException:
        close_all(links)
        raise
    if not links:
        raise last
    return LinkGroup(kernel, links, "%d single %ss%s" % (len(links), kind, ", %d left out" % left_out if left_out
                                                         else ""), program)


# -- user space ------------------------------------------------------------------------------------------------------
def uprobe_multi_link(kernel, program, path, offsets, ref_ctr_offsets, cookies, pid, is_return, session, what):
    """Link by BPF_LINK_CREATE.  NotSupported before 6.6 (session 6.13)."""
    fields = {"prog_fd": program_fd(program), "attach_type": _u.BPF_TRACE_UPROBE_SESSION if session
              else _u.BPF_TRACE_UPROBE_MULTI,
              "uprobe_multi.path": bytearray(to_bytes(path) + b"\0"), "uprobe_multi.offsets": _u64s(offsets),
              "uprobe_multi.cnt": len(offsets), "uprobe_multi.flags": _u.BPF_F_UPROBE_MULTI_RETURN if is_return else 0,
              "uprobe_multi.pid": pid if pid > 0 else 0}
    if ref_ctr_offsets is not None and any(ref_ctr_offsets):
        fields["uprobe_multi.ref_ctr_offsets"] = _u64s(ref_ctr_offsets)
    if cookies is not None:
        fields["uprobe_multi.cookies"] = _u64s(cookies)
    feature = "uprobe.session links" if session else "uprobe.multi links"
    try:
        fd = link_create(kernel, fields)
    except KernelError as error:
        if error.errno == errno.ESRCH:
            raise NotFoundError("process", str(pid), hint="it may have ended")
        if error.errno in LACKING:
            raise NotSupported(feature, "6.13" if session else "6.6", error.errno, error.call, error)
        if error.errno == errno.ENOENT:
            raise NotFoundError("file", path)
        raise refused(kernel, error, "attach `%s` to %s" % (program.name, what))
    return Link(kernel, fd, "%s, %d place%s, link" % (what, len(offsets), "s" * (len(offsets) != 1)), True,
                program=program)


def _matching(path, pattern):
    """[(name, offset)] of the functions of ``path`` that match, one name per place."""
    import re
    from ...elf.symbols import open_functions
    glob = re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") + r"\Z")
    places = {}
    with open_functions(path) as functions:
        for function in functions.functions():
            if not function.ifunc and function.offset is not None and glob.match(function.name):
                places.setdefault(function.offset, function.name)
        if not places:
            from ..._py23 import near
            raise NotFoundError("function", pattern, path, near(pattern.strip("*?"), set(functions.names())))
    return sorted((name, offset) for offset, name in places.items())


def uprobe_multi(kernel, program, target=None, path=None, pattern=None, functions=None, offsets=None, cookies=None,
                 ref_ctr_offsets=None,
                 pid=-1, is_return=False, session=False, way=None):
    """Link on all functions of a binary that match "BINARY:pattern", or ``functions``, or ``offsets`` (bytes in the
    file)."""
    if pid == 0:
        import os
        pid = os.getpid()
    if path is None:
        if not target:
            raise InputError("program `%s`: which binary and functions? (uprobe.multi/BINARY:PATTERN)" % program.name)
        path, colon, found = target.rpartition(":")
        if not colon or not path:
            raise InputError("user probes `%s`: expected BINARY:PATTERN" % target)
        pattern = pattern or found
    from .user import place
    where, _ = place(path, "", 0, pid if pid > 0 else None)
    if offsets:
        rows = [("0x%x" % offset, offset) for offset in offsets]
    elif functions or pattern and not set("*?") & set(pattern):
        rows = [(name, place(where, name)[1]) for name in functions or [pattern]]
    else:
        rows = _matching(where, pattern or "*")
    if cookies is not None and len(cookies) != len(rows):
        raise InputError("program `%s`: %d cookies for %d functions" % (program.name, len(cookies), len(rows)))
    what = "%s.%s %s:%s" % ("uretprobe" if is_return else "uprobe", "session" if session else "multi", where,
                            pattern or len(rows))

    def by_link():
        return uprobe_multi_link(kernel, program, where, [offset for _, offset in rows], ref_ctr_offsets, cookies, pid,
                                 is_return,
                                 session, what)

    def one_by_one():
        from .perf import uprobe
        if len(rows) > MOST_SINGLE:
            raise NotSupported("uprobe.multi links, and %d functions are too many to probe one by one (at most %d)"
                               % (len(rows), MOST_SINGLE), "6.6")
        refs = ref_ctr_offsets or [0] * len(rows)
        index = {row: number for number, row in enumerate(rows)}
        return _many(kernel, program, rows, cookies, "uretprobe" if is_return else "uprobe",
                     lambda name, offset, cookie: uprobe(kernel, program, where, offset, is_return, pid, cookie,
                                                         refs[index[(name, offset)]]), len(rows) > 1)

    return first_supported({None: [by_link] if session else [by_link, one_by_one], "multi": [by_link],
                            "single": [one_by_one]}[way])
