"""USDT: one probe name is many places in a file, each with its own way to fetch the arguments.

The program was compiled with <bpf/usdt.bpf.h>, whose maps are filled here: ``__bpf_usdt_specs`` (spec id -> how to read
the arguments) and, on kernels without attach cookies (before 5.15), ``__bpf_usdt_ip_to_spec_id`` (address -> spec id).
"""
from __future__ import absolute_import

import os
import struct

from ...errors import InputError, KernelError, NotFoundError, NotSupported
from ...uapi import bpf as _u
from .base import LinkGroup, close_all, refused
from .multi import uprobe_multi_link
from .perf import uprobe
from .usdt_args import INDEXED, UNREADABLE, pack_spec, parse_args

__all__ = ["attach_usdt", "parse_target", "Manager"]


def parse_target(text):
    """(binary, provider, name) of "BINARY:PROVIDER:NAME"."""
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise InputError("USDT probe `%s`: expected BINARY:PROVIDER:NAME" % text,
                         hint="for example usdt/libc.so.6:libc:setjmp")
    return parts


class Manager(object):
    """Spec ids of one object: its two maps and which ids are free.  ``specs``, ``ips``: Map objects or fds."""

    def __init__(self, kernel, specs, ips):
        self.kernel = kernel
        self.specs, self.ips = (m if isinstance(m, int) else m.fd for m in (specs, ips))
        info = kernel.info(self.specs, _u.BPF_MAP_INFO, _u.BPF_MAP_INFO_SIZE)
        self.value_size, self.room = info.get("value_size"), info.get("max_entries")
        self.free, self.next = [], 0
        self.owned, self.users, self.key = (), 0, None   # see _by_info

    def new_id(self, args, cookie):
        """A spec id with its spec stored."""
        if not self.free and self.next >= self.room:
            raise InputError("all %d USDT specs are in use" % self.room,
                             hint="compile with a larger -DBPF_USDT_MAX_SPEC_CNT")
        if self.free:
            number = self.free.pop()
        else:
            number, self.next = self.next, self.next + 1
        try:
            self._update(self.specs, struct.pack("=i", number), pack_spec(args, cookie, self.value_size))
        except BaseException:
            self.free.append(number)
            raise
        return number

    def set_ip(self, address, number):
        self._update(self.ips, struct.pack("=Q", address), struct.pack("=I", number), _u.BPF_NOEXIST)

    def drop_ip(self, address):
        self.kernel.bpf(_u.BPF_MAP_DELETE_ELEM, {"map_fd": self.ips, "key": struct.pack("=Q", address)})

    def _update(self, fd, key, value, flags=0):
        try:
            self.kernel.bpf(_u.BPF_MAP_UPDATE_ELEM, {"map_fd": fd, "key": key, "value": value, "flags": flags})
        except KernelError as error:
            raise refused(self.kernel, error, "fill the USDT maps")


def manager_of(kernel, program, maps=None):
    """The Manager kept with the program's object (or with ``maps``, {name: Map})."""
    owner = getattr(program, "object", None)
    manager = getattr(owner, "usdt_manager", None)
    if manager is not None:
        return manager
    maps = maps if maps is not None else getattr(owner, "maps", None)
    if maps is None:
        return _by_info(kernel, program)
    try:
        found = [maps["__bpf_usdt_specs"], maps["__bpf_usdt_ip_to_spec_id"]]
    except LookupError:
        raise _no_maps(program)
    key = found[0] if isinstance(found[0], int) else id(found[0])
    if (id(kernel), key) in _shared and owner is None:
        return _shared[id(kernel), key]
    manager = Manager(kernel, *found)
    if owner is not None:
        owner.usdt_manager = manager
    else:
        manager.key = id(kernel), key
        _shared[manager.key] = manager
    return manager


_shared = {}    # managers in use that no object keeps: programs of one object share their spec ids


def _no_maps(program):
    return InputError("program `%s`: the object has no USDT maps" % program.name,
                      hint="include <bpf/usdt.bpf.h> in the BPF source")


def _by_info(kernel, program):
    """The Manager for a program alone: the kernel says which maps it uses (4.15; CAP_SYS_ADMIN)."""
    from ..syscalls import Attr
    ids = bytearray(4 * 64)
    answer = Attr(None, {"nr_map_ids": 64, "map_ids": ids}, _u.BPF_PROG_INFO, _u.BPF_PROG_INFO_SIZE)
    answer.size = _u.BPF_PROG_INFO_SIZE
    try:
        kernel.bpf(_u.BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": program.fd, "info.info_len": answer.size,
                                               "info.info": answer.buf})
    except KernelError as error:
        raise refused(kernel, error, "find the USDT maps of program `%s`" % program.name)
    found, numbers = {}, {}
    try:
        for number in struct.unpack_from("=%dI" % min(64, answer.get("nr_map_ids")), ids):
            fd = kernel.bpf(_u.BPF_MAP_GET_FD_BY_ID, {"map_id": number})
            name_at = _u.BPF_MAP_INFO["name"][0]
            name = bytes(kernel.info(fd, _u.BPF_MAP_INFO, _u.BPF_MAP_INFO_SIZE).buf[name_at:name_at + 16]).rstrip(b"\0")
            if name in (b"__bpf_usdt_spec", b"__bpf_usdt_ip_t") and name not in found:  # names are cut at 15
                found[name], numbers[name] = fd, number
            else:
                kernel.close(fd)
        if b"__bpf_usdt_spec" not in found:
            raise _no_maps(program)
        key = id(kernel), "id", numbers[b"__bpf_usdt_spec"]
        if key in _shared:
            for fd in found.values():
                kernel.close(fd)
            return _shared[key]
        # a program that was compiled for cookies alone may not refer to the second map at all
        manager = Manager(kernel, found[b"__bpf_usdt_spec"], found.get(b"__bpf_usdt_ip_t", -1))
        manager.owned, manager.key = tuple(found.values()), key
        _shared[key] = manager
        return manager
    except BaseException:
        for fd in found.values():
            kernel.close(fd)
        raise


def _release(manager):
    """One link less; the last one lets go of what the manager holds."""
    manager.users -= 1
    if not manager.users and manager.key is not None:
        _shared.pop(manager.key, None)
        for fd in manager.owned:
            manager.kernel.close(fd)
        manager.owned = ()


def attach_usdt(kernel, program, target=None, path=None, provider=None, name=None, pid=-1, cookie=0, maps=None,
                way=None):
    """LinkGroup on every place of a USDT probe.  ``pid``: -1 all processes, 0 this one, else that one.

    Before 5.15 a shared library or position independent program needs a ``pid`` (or must not be loaded at a random
    place).
    ``way``: "multi", "single", or "ip" (as without cookies).  ``link.notes``: arguments that cannot be read, as texts.
    """
    if target:
        path, provider, name = parse_target(target)
    if not path or not name:
        raise InputError("program `%s`: which USDT probe? (usdt/BINARY:PROVIDER:NAME)" % program.name)
    if pid == 0:
        pid = os.getpid()
    from ...elf.locate import find_binary
    from ...elf.reader import open_elf
    from ...elf.usdt import find_usdt
    where = find_binary(path, pid if pid > 0 else None)
    with open_elf(where) as elf:
        sites = find_usdt(elf, provider or "", name)
        fixed = elf.type == 2  # ET_EXEC: addresses in the file are those in memory
    manager = manager_of(kernel, program, maps)
    from .. import features
    cookies = way != "ip" and features.have(kernel, "bpf_cookie", False)
    manager.users += 1
    undo, ids, rows, notes = [lambda: _release(manager)], {}, [], []
    what = "usdt %s:%s:%s" % (where, provider or "*", name)
    try:
        for site in sites:
            number = ids.get(site.args)
            if number is None:
                args = parse_args(site.args, kernel.machine())
                notes += ["argument %d (`%s`): %s" % (i, site.args, arg.note
                                                      or "a scaled index, which this object's usdt.bpf.h lacks")
                          for i, arg in enumerate(args)
                          if arg.kind == UNREADABLE or arg.kind == INDEXED and manager.value_size < 304]
                number = ids[site.args] = manager.new_id(args, cookie)
                undo.append(lambda number=number: manager.free.append(number))
            rows.append((site, number))
        link = _attach_rows(kernel, program, manager, where, rows, fixed, pid, cookies, way, what, undo)
    except BaseException:
        for step in reversed(undo):
            try:
                step()
            except KernelError:
                pass
        raise
    link.notes = notes
    if notes:
        link.detail += "; not readable: " + "; ".join(notes)
    return link


def _attach_rows(kernel, program, manager, path, rows, fixed, pid, cookies, way, what, undo):
    detail = "%s, %d place%s, %d spec%s" % (what, len(rows), "s" * (len(rows) > 1), len(set(n for _, n in rows)),
                                            "s" * (len(set(n for _, n in rows)) > 1))
    if cookies and way in (None, "multi") and program.spec.attach_type == _u.BPF_TRACE_UPROBE_MULTI:
        link = uprobe_multi_link(kernel, program, path, [s.pc_offset for s, _ in rows],
                                 [s.semaphore_offset for s, _ in rows],
                                 [n for _, n in rows], pid, False, False, what)
        return LinkGroup(kernel, [link], detail + ", uprobe.multi", program, undo)
    if not cookies:
        for address, number in _addresses(rows, path, fixed, pid, what):
            manager.set_ip(address, number)
            undo.append(lambda address=address: manager.drop_ip(address))
    links = []
    try:
        for site, number in rows:
            links.append(uprobe(kernel, program, path, site.pc_offset, pid=pid, cookie=number if cookies else 0,
                                ref_ctr_offset=site.semaphore_offset, what=what))
    except BaseException:
        close_all(links)
        raise
    return LinkGroup(kernel, links, "%s, %s%s" % (detail, links[0].detail.rpartition(", ")[2],
                                                  "" if cookies else ", by address"),
                     program, undo)


def _addresses(rows, path, fixed, pid, what):
    """[(address in memory, spec id)]: from the file for programs at a fixed place, else from the process's mappings."""
    if fixed:
        return [(site.pc, number) for site, number in rows]
    if pid <= 0:
        raise NotSupported(
            "attach cookies, so USDT probes of shared libraries and position independent programs need a pid", "5.15")
    from ...elf.locate import parse_maps
    try:
        real, inside = os.stat(path), path[len("/proc/%d/root" % pid):] if path.startswith("/proc/%d/root/"
                                                                                           % pid) else path
        with open("/proc/%d/maps" % pid, "rb") as f:
            maps = parse_maps(f.read(), executable=True)
    except (OSError, IOError):
        raise NotFoundError("process", str(pid))
    found = []
    for site, number in rows:
        for part in maps:  # overlay file systems show other inodes in maps than stat does, hence the name too
            if (part.inode == real.st_ino
                or part.path == inside) and part.offset <= site.pc_offset < part.offset + part.end - part.start:
                found.append((part.start + site.pc_offset - part.offset, number))
                break
        else:
            raise NotFoundError("mapping of %s" % path, "0x%x" % site.pc_offset, "process %d" % pid,
                                hint="the process has not loaded this file")
    return found
