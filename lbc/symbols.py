"""Addresses to names: user stacks (this file) and kernel stacks (lbc.kallsyms, re-exported).

A user address goes: /proc/PID/maps -> file offset -> virtual address of the ELF file (so the load base, ASLR or not,
does not matter) -> function.  Symbol tables are kept by file and shared by build-id.  Files are opened through
/proc/PID/map_files and /proc/PID/root, hence right in other mount namespaces and for deleted files.  What cannot be
named stays an address.
"""
from __future__ import absolute_import

import os
import stat
import struct
from array import array
from bisect import bisect_right

from ._py23 import range, to_text, u64_array
from .elf.locate import parse_maps, process_path
from .elf.reader import Elf, from_fd
from .elf.symbols import Functions
from .errors import LbcError
from .host import read_file
from .kallsyms import Frame, KernelSymbols, kernel_symbols
from .uapi import bpf as b
from .uapi.elf import SHT_SYMTAB

__all__ = ["Frame", "KernelSymbols", "UserSymbols", "kernel_symbols", "parse_build_id_stack", "perf_map_entries"]

MAX_FILES = 256            # symbol tables kept
MAX_PROCESSES = 1024       # address spaces kept
MAX_PERF_MAP = 1 << 26     # bytes read of a perf-PID.map
MAX_VDSO = 1 << 20
DEBUG_ROOT = "/usr/lib/debug/.build-id"
_BUILD_ID_ENTRY = struct.Struct("=i20sQ")  # struct bpf_stack_build_id of linux/bpf.h


def parse_build_id_stack(raw):
    """[(status, build-id bytes, offset or ip)] of what a BPF_F_STACK_BUILD_ID stack map or helper wrote; ends at the
    first empty entry.  Needs kernel 4.17."""
    found = []
    for position in range(0, len(raw) - _BUILD_ID_ENTRY.size + 1, _BUILD_ID_ENTRY.size):
        entry = _BUILD_ID_ENTRY.unpack_from(raw, position)
        if entry[0] == b.BPF_STACK_BUILD_ID_EMPTY:
            break
        found.append(entry)
    return found


class _File(object):
    """Symbols of one mapped ELF file."""

    def __init__(self, functions, build_id):
        self.functions, self.build_id = functions, build_id

    def name(self, offset):
        """(function, offset in it) of a file offset, or None."""
        try:
            address = self.functions.elf.vaddr_of(offset)
            return None if address is None else self.functions.lookup(address)
        except LbcError:  # a damaged file names nothing
            return None


class _PerfMap(object):
    """The lines "START SIZE name" (hexadecimal) of a just-in-time compiler; for one start the last line holds."""

    def __init__(self, raw):
        self.raw, rows, position = raw, {}, 0
        for line in raw.split(b"\n"):
            fields = line.split(None, 2)
            try:
                start, size = int(fields[0], 16), int(fields[1], 16)
            except (ValueError, IndexError):
                start = size = 0
            if len(fields) == 3 and 0 <= start < 1 << 64 and 0 < size < 1 << 32:
                name_at = line.index(fields[2], len(fields[0]) + len(fields[1]) + 1)
                rows[start] = size, position + name_at, position + len(line)
            position += len(line) + 1
        order = sorted(rows)
        self.starts = u64_array(order)
        self.sizes, self.begins, self.ends = [array("I", [rows[start][k] for start in order]) for k in range(3)]

    def lookup(self, address):
        """(name, offset) or None; a few entries back too, since old code may lie inside new."""
        i = bisect_right(self.starts, address) - 1
        for i in range(i, max(i - 8, -1), -1):
            if address - self.starts[i] < self.sizes[i]:
                return to_text(self.raw[self.begins[i]:self.ends[i]].strip()), address - self.starts[i]
        return None


def perf_map_entries(pid):
    """[(start, size in bytes, name)] of what a just-in-time compiler wrote into the process's perf-PID.map, by address.
    OSError, IOError (there is none), ValueError (somebody else may have planted it)."""
    found = _PerfMap(_read_perf_map(pid, None)[1])
    return [(found.starts[i], found.sizes[i], to_text(found.raw[found.begins[i]:found.ends[i]].strip()))
            for i in range(len(found.starts))]


class _Process(object):
    """Address space of one process as it was when last read."""

    def __init__(self, pid, started):
        self.pid, self.started = pid, started
        self.maps, self.starts, self.perf, self.perf_key, self.why = [], [], None, None, ""
        self.read()

    def read(self):
        """Reads the maps again; keeps the old ones when the process is gone."""
        try:
            maps = parse_maps(read_file("/proc/%d/maps" % self.pid), executable=True)
        except (OSError, IOError) as error:
            self.why = "cannot read /proc/%d/maps: %s" % (self.pid, error.strerror)
            return
        if maps:  # a dying process shows none
            self.maps, self.starts = maps, [m.start for m in maps]

    def find(self, address):
        i = bisect_right(self.starts, address) - 1
        return self.maps[i] if i >= 0 and address < self.maps[i].end else None


def _start_time(pid):
    """Clock ticks since boot at which the process began (field 22 of proc(5) stat); None when it is gone."""
    try:
        return read_file("/proc/%d/stat" % pid).rpartition(b")")[2].split()[19]
    except (OSError, IOError, IndexError):
        return None


class UserSymbols(object):
    """Names for addresses of any process; keeps symbol tables of at most MAX_FILES files until ``close()``."""

    def __init__(self, debug_root=DEBUG_ROOT):
        self.debug_root = debug_root
        self._files, self._by_id, self._processes = {}, {}, {}

    # -- stacks --------------------------------------------------------------------------------------------------------

    def resolve(self, pid, addresses):
        """[Frame] of a user stack (ends at the first 0); addresses that have no name come back as bare Frames, all of
        them when the process has exited unseen (``why(pid)`` says so)."""
        process, fresh, frames = self._process(pid), False, []
        perf_checked = False
        for address in addresses:
            if not address:
                break
            mapping = process.find(address)
            if mapping is None and not fresh and process.started is not None:
                fresh = True  # mapped since: dlopen, or new JIT code
                process.read()
                mapping = process.find(address)
            frame = self._frame(process, mapping, address) if mapping else Frame(address)
            if frame.name is None and (mapping is None or not mapping.inode or mapping.path.startswith("/memfd:")):
                if not perf_checked:
                    perf_checked = True
                    self._check_perf_map(process)
                hit = process.perf.lookup(address) if process.perf else None
                if hit:
                    frame = Frame(address, hit[0], hit[1], "perf-%d.map" % pid)
            frames.append(frame)
        return frames

    def resolve_build_ids(self, entries, pid=None):
        """[Frame] of ``parse_build_id_stack`` entries.  Files looked at: those seen before, those mapped by
        ``pid``, those below the debug root."""
        frames = []
        for status, build_id, value in entries:
            if status == b.BPF_STACK_BUILD_ID_IP:
                frames += self.resolve(pid, [value]) if pid and value else [Frame(value)]
                continue
            known = self._find_build_id(build_id, pid)
            hit = known.name(value) if known else None
            label = known.functions.path if known else "build-id " + _hex(build_id)
            frames.append(Frame(value, hit[0], hit[1], label) if hit else Frame(value, None, value, label))
        return frames

    def why(self, pid):
        """Text saying why addresses of ``pid`` have no names, or ""."""
        process = self._processes.get(pid)
        if _start_time(pid) is None:
            return "process %d has exited" % pid
        return process.why if process else ""

    def _process(self, pid):
        started, process = _start_time(pid), self._processes.get(pid)
        if process is None or started is not None and process.started != started:  # the number went to another one
            if len(self._processes) >= MAX_PROCESSES:
                self._processes.clear()
            process = self._processes[pid] = _Process(pid, started)
        return process

    def _frame(self, process, mapping, address):
        offset = address - mapping.start + mapping.offset
        if mapping.path == "[vdso]":
            file, offset, label = self._vdso(process, mapping), address - mapping.start, "vdso"
        elif not mapping.inode:
            return Frame(address, None, address - mapping.start, mapping.path.strip("[]"))
        else:
            file, label = self._file(process, mapping), mapping.path
        hit = file.name(offset) if file else None
        return Frame(address, hit[0], hit[1], label) if hit else Frame(address, None, offset, label)

    # -- files ---------------------------------------------------------------------------------------------------------

    def _file(self, process, mapping):
        key = mapping.device, mapping.inode, mapping.path
        if key not in self._files:
            self._make_room()
            self._files[key] = self._open(process, mapping)
        return self._files[key]

    def _make_room(self):
        if len(self._files) >= MAX_FILES:
            self.close()

    def _open(self, process, mapping):
        """_File, or None when the file is gone, replaced or not ELF."""
        paths = ["/proc/%d/map_files/%x-%x" % (process.pid, mapping.start, mapping.end)]
        if not mapping.deleted:
            paths.append(process_path(process.pid, mapping.path))
        for path in paths:
            elf = _open_same(path, mapping)
            if elf is not None:
                return self._wrap(elf, process.pid, mapping.path)
        return None

    def _wrap(self, elf, pid, label):
        elf.path = label
        try:
            build_id = elf.build_id()
            known = self._by_id.get(build_id) if build_id else None
            if known is not None:
                elf.close()
                return known
            debug = self._debug_file(elf, build_id, pid)
        except LbcError:
            elf.close()
            return None
        file = _File(Functions(elf, debug), build_id)
        if build_id:
            self._by_id[build_id] = file
        return file

    def _debug_file(self, elf, build_id, pid):
        """Elf of the separate debug file (GDB manual, "Debugging Information in Separate Files"), or None."""
        if not build_id or any(s.type == SHT_SYMTAB for s in elf.sections):
            return None
        text = _hex(build_id)
        path = "%s/%s/%s.debug" % (self.debug_root, text[:2], text[2:])
        for place in [path] + ([process_path(pid, path)] if pid else []):
            found = _open_same(place, None)
            if found is not None:
                try:
                    if found.build_id() == build_id:
                        return found
                except LbcError:
                    pass
                found.close()
        return None

    def _vdso(self, process, mapping):
        """The vDSO is no file: read from one process's memory; those of one word size share it."""
        key = "[vdso]", mapping.end - mapping.start, mapping.start >> 32 > 0
        if key not in self._files:
            self._make_room()
            self._files[key] = None
            try:
                fd = os.open("/proc/%d/mem" % process.pid, os.O_RDONLY)
                try:
                    os.lseek(fd, mapping.start, os.SEEK_SET)
                    raw = os.read(fd, min(mapping.end - mapping.start, MAX_VDSO))
                finally:
                    os.close(fd)
                self._files[key] = self._wrap(Elf(raw, "[vdso]"), None, "vdso")
            except (OSError, OverflowError, LbcError):
                pass
        return self._files[key]

    def _find_build_id(self, build_id, pid):
        stripped = build_id.rstrip(b"\0")  # the kernel pads shorter ids to 20 bytes
        for key in (build_id, stripped):
            if key in self._by_id:
                return self._by_id[key]
        if pid:
            process = self._process(pid)
            for mapping in process.maps:
                file = self._file(process, mapping) if mapping.inode else None
                if file and file.build_id in (build_id, stripped):
                    return file
        text = _hex(stripped)
        for tail in ("", ".debug"):  # without a tail: a link to the binary itself
            elf = _open_same("%s/%s/%s%s" % (self.debug_root, text[:2], text[2:], tail), None)
            if elf is not None:
                return self._wrap(elf, None, elf.path)
        return None

    # -- just-in-time code ---------------------------------------------------------------------------------------------

    def _check_perf_map(self, process):
        """Reads the process's perf-PID.map again when it has changed; only one that nobody else could have planted."""
        try:
            key, raw = _read_perf_map(process.pid, process.perf_key)
        except (OSError, IOError, ValueError):
            return
        if raw is not None:
            process.perf_key, process.perf = key, _PerfMap(raw)

    def close(self):
        """Give files and tables back; idempotent, and the object may be used again."""
        for file in list(self._files.values()) + list(self._by_id.values()):
            if file is not None:
                file.functions.close()
        self._files, self._by_id = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def _hex(raw):
    return "".join("%02x" % byte for byte in bytearray(raw))


def _open_same(path, mapping):
    """Elf of ``path`` when it opens, is regular and (``mapping`` given) is still the file that was mapped, or None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        # overlayfs and btrfs show another device in maps than stat does: only a like device makes inodes comparable
        if mapping is not None and "%02x:%02x" % (os.major(status.st_dev), os.minor(status.st_dev)) == mapping.device:
            if status.st_ino != mapping.inode:
                return None
        return from_fd(fd, status.st_size, path)
    except (OSError, LbcError):
        return None
    finally:
        os.close(fd)


def _read_perf_map(pid, known_key):
    """(key, bytes) of the map of ``pid``, (known_key, None) when unchanged.  Raises OSError, ValueError when it must
    not be trusted: it must be a regular file in /tmp of the process's own mount namespace, named by its innermost pid
    (NSpid, kernel 4.1), and belong to the process's user or root.  No link on the way is followed."""
    inner, uids = pid, set()
    for line in read_file("/proc/%d/status" % pid).split(b"\n"):
        if line.startswith(b"NSpid:"):
            inner = int(line.split()[-1])
        elif line.startswith(b"Uid:"):
            uids = {int(line.split()[1]), int(line.split()[2]), 0}
    folder = os.open("/proc/%d/root/tmp" % pid, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fd = os.open("/proc/self/fd/%d/perf-%d.map" % (folder, inner), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    finally:
        os.close(folder)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in uids:
            raise ValueError("not the process's own file")
        key = status.st_dev, status.st_ino, status.st_size, status.st_mtime
        if key == known_key:
            return known_key, None
        chunks, left = [], MAX_PERF_MAP
        while left:
            chunk = os.read(fd, min(left, 1 << 20))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
        return key, b"".join(chunks)
    finally:
        os.close(fd)
