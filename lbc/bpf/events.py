"""Records that programs send: perf buffers, ring buffers, and the one loop that waits for many of both.

    poller = Poller()
    poller.add(PerfBuffer(kernel, perf_map, on_event, lost=on_lost, codec=codec))
    poller.add(RingBuffer(kernel, ring_map, on_event))
    while poller.poll(1000) or not poller.stopped: ...

Callbacks get ``(cpu, record)``; cpu is None for ring buffers.  A record is bytes, or what the codec makes of it.  Of a
perf record the kernel pads the bytes to 8 (minus 4): a codec ignores the rest, raw users must know their size.

What is promised: a record whose callback was entered is done with,
even when that callback raises (the exception comes out
of poll()); all others are delivered by the next poll().  None is lost, none comes twice, order is kept per CPU.
A callback stops the loop by returning False, raising StopPolling or calling ``poller.stop()``, a signal handler by the
latter; the loop stays stopped until ``resume()``.

Losses: perf buffers count records that found no room, per CPU (``.lost``, ``.lost_by_cpu``, the lost callback).  A ring
buffer's drops are seen only by the program (its reserve fails):
count them there in a global variable called ``dropped``
and give it as ``dropped=lambda: obj.globals.dropped``; ``.lost`` then tells it.
"""
from __future__ import absolute_import

import errno
import os
import select

from .._py23 import monotonic, range
from ..errors import FormatError, InputError, KernelError, LbcError, NotSupported, PrivilegeError
from ..uapi import calls as _u
from .rings import LOST, RECORDS, BpfRing, PerfRing
from .syscalls import Attr
from .syscalls import kernel as running_kernel

__all__ = ["PerfBuffer", "RingBuffer", "Poller", "StopPolling"]

_FIOCLEX = 0x5451               # include/uapi/asm-generic/ioctls.h: close on exec
_WATERMARK_BIT = 1 << 14        # include/uapi/linux/perf_event.h: the bit-field behind read_format
_FLAGS_OFFSET = _u.PERF_EVENT_ATTR["read_format"][0] + 8
_HOTPLUG_S = 1.0                # how often to look for CPUs that came or went
_FIRST_TICK_S = 0.01


class StopPolling(LbcError):
    """Raised by a callback to end the loop."""

    def __init__(self, what="stopped"):
        LbcError.__init__(self, what)


class _Codec(object):
    """A bare decoder f(buffer, offset=0) as a codec; it gets each record as bytes of its own."""
    flexible = True

    def __init__(self, decode):
        self.decode, self.size = decode, getattr(decode, "size", 0) or 0


def _codec(codec, decode):
    if codec is not None and decode is not None:
        raise InputError("give either codec or decode")
    return codec if decode is None else _Codec(decode)


class _Buffer(object):
    """Common to both: rings and the way their records are handed on."""
    tick_s = None       # wait no longer than this before looking into the rings unasked
    hotplug = False

    def __init__(self, kernel, name, callback, batches, lost):
        self.kernel, self.name = kernel, name
        self.callback, self.by_batch, self.on_lost = callback, batches, lost
        self.rings = []
        self.records = 0        # delivered so far
        self.lost_by_cpu = {}
        self._own = None

    @property
    def lost(self):
        """Records lost so far, as far as the kernel says."""
        return sum(self.lost_by_cpu.values())

    def deliver(self, ring, poller):
        """Hand on what is in ``ring``: about 1 MB at most, so that one busy CPU does not starve the others.
        Number of records."""
        total = 0
        for _ in range(16):
            pending = ring.pending
            if not pending:
                if not ring.more():
                    break
                before = ring.tail
                ring.pending = pending = ring.fetch()
                if not pending and ring.tail == before:
                    break       # reserved, not submitted yet
                pending.reverse()
            while pending:
                total += self._batch(ring, pending, poller)
                if poller.stopped:
                    return total
        return total

    def _batch(self, ring, pending, poller):
        """Deliver the last of ``pending``.  What was not delivered is put back there whatever happens."""
        kind, records = pending.pop()
        cpu = ring.cpu
        if kind == LOST:
            self.lost_by_cpu[cpu] = self.lost_by_cpu.get(cpu, 0) + records
            if self.on_lost is not None and self.on_lost(cpu, records) is False:
                poller.stop()
            return 0
        if kind != RECORDS:
            data = records[0]
            if len(records) > 1:
                pending.append((kind, records[1:]))
            raise FormatError("record of %d bytes from `%s`; its type has %d" %
                              (len(data), self.name, ring.codec.size), path=self.name)
        callback = self.callback
        if self.by_batch:
            self.records += len(records)
            if callback(cpu, records) is False:
                poller.stop()
            return len(records)
        stream = iter(records)
        before = len(records)
        try:
            for record in stream:
                if callback(cpu, record) is False or poller.stopped:
                    poller.stop()
                    break
        finally:
            left = stream.__length_hint__()
            self.records += before - left
            if left:
                pending.append((RECORDS, list(stream)))
        return before - left

    def poll(self, timeout_ms=-1):
        """poll() of a Poller with this buffer alone."""
        if self._own is None:
            self._own = Poller(self.kernel, (self,))
        return self._own.poll(timeout_ms)

    def consume(self):
        """Deliver what is there now without waiting; number of records."""
        return self.poll(0)

    def close(self):
        """Release memory and fds; what was not delivered is gone."""
        own, self._own = self._own, None
        if own is not None:
            own.close()
        for ring in self.rings:
            ring.close()
        self.rings = []

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


class PerfBuffer(_Buffer):
    """One ring for each CPU behind the perf event array ``perf_map`` (kernel 4.4).

    callback(cpu, record)   batches=True: (cpu, [records]), cheaper        lost(cpu, count): records that found no room
    codec / decode          see lbc.bpf.map_codec; f(buffer, offset=0)      pages: per CPU, a power of two
    wakeup_events           wake the reader after so many records:
    1 = at once, at 6 us for each record on the program's side
    watermark               bytes to gather before waking (default: half a ring);
    what lies below it is seen after latency_ms
    latency_ms              how late a record may come when idle; records that follow one another come within 10 ms
    cpus                    only these CPUs
    Raises PrivilegeError, NotSupported, InputError, KernelError.
    """
    hotplug = True

    def __init__(self, kernel, perf_map, callback, lost=None, codec=None, decode=None, pages=64, wakeup_events=None,
    watermark=None,
                 latency_ms=100, cpus=None, batches=False):
        if perf_map.type != _u.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            raise _wrong_type(perf_map, "perf event array")
        if pages < 1 or pages & (pages - 1):
            raise InputError("pages of a perf buffer: a power of two, not %d" % pages)
        _Buffer.__init__(self, kernel or running_kernel, perf_map.name, callback, batches, lost)
        self.map, self.pages, self.codec, self.wanted = perf_map, pages, _codec(codec, decode), cpus
        self.wakeup_events, self.watermark = wakeup_events, watermark
        self.tick_s = None if wakeup_events == 1 else latency_ms / 1000.0
        self._seqnum, self._looks = None, 0
        self._running = {}
        try:
            self.watch_cpus()
            if not self.rings:
                raise InputError("perf buffer `%s`: none of the wanted CPUs is on" % self.name)
        except Exception:
            self.close()
            raise

    def _attr(self):
        attr = Attr(None, {"type": _u.PERF_TYPE_SOFTWARE, "size": _u.PERF_ATTR_SIZE_VER0,
                           "config": _u.PERF_COUNT_SW_BPF_OUTPUT, "sample_period": 1, "sample_type": _u.PERF_SAMPLE_RAW,
                           "read_format": _u.PERF_FORMAT_TOTAL_TIME_ENABLED | _u.PERF_FORMAT_TOTAL_TIME_RUNNING},
                    layout=_u.PERF_EVENT_ATTR, total=_u.PERF_EVENT_ATTR_SIZE)
        if self.wakeup_events:
            attr.set("wakeup_events", self.wakeup_events)
        else:
            attr.set("wakeup_watermark", self.watermark or self.pages * self.kernel.page_size() // 2)
            attr.buf[_FLAGS_OFFSET:_FLAGS_OFFSET + 8] = _bits(_WATERMARK_BIT)
        return attr.buf

    def _open(self, cpu):
        """A ring on ``cpu``; None where the CPU is not on."""
        kernel = self.kernel
        try:
            fd = kernel.perf_event_open(self._attr(), -1, cpu)
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise self._explain(error, "open the perf buffer `%s` on CPU %d" % (self.name, cpu))
        pages, ring = self.pages, None
        try:
            while ring is None:
                try:
                    ring = PerfRing(kernel, fd, cpu, pages, self.codec)
                except KernelError as error:
                    if error.errno not in (errno.EPERM, errno.ENOMEM) or pages == 1:
                        raise self._explain(error, "map the perf buffer `%s` of CPU %d" % (self.name, cpu))
                    pages //= 2     # kernel.perf_event_mlock_kb leaves less to unprivileged users
            kernel.ioctl(fd, _u.PERF_EVENT_IOC_ENABLE, 0)
            self.map.put(cpu, fd)
        except Exception:
            if ring is not None:
                ring.close()
            else:
                kernel.close(fd)
            raise
        return ring

    @staticmethod
    def _explain(error, doing):
        if error.errno in (errno.EPERM, errno.EACCES):
            return PrivilegeError("%s: %s" % (doing, error.what), "CAP_PERFMON (CAP_SYS_ADMIN before 5.8), or root",
                                  error.call, error.errno, cause=error,
                                  hint="kernel.perf_event_paranoid and container rules decide this")
        if error.errno in (errno.ENOENT, errno.EINVAL) and error.call == "perf_event_open":
            return NotSupported("perf events of type bpf-output", "4.4", error.errno, error.call, cause=error)
        return KernelError("%s: %s" % (doing, error.what), error.call, error.errno, cause=error)

    # -- CPUs that come and go -----------------------------------------------------------------------------------------
    def watch_cpus(self):
        """Open rings on CPUs that came, close those of CPUs that went.  ([came], [went]) as rings."""
        online = [cpu for cpu in self.kernel.online_cpus() if cpu < self.map.max_entries
                  and (self.wanted is None or cpu in self.wanted)]
        went = [ring for ring in self.rings if ring.cpu not in online]
        seqnum = self._uevents()
        if seqnum != self._seqnum or seqnum is None:
            self._seqnum, self._looks = seqnum, 2
        if self._looks:
            # Some device changed: a CPU may have been off and on again, which ends its event without another sign.
            # Its running time has grown until then: only a second look finds it standing still.
            self._looks -= 1
            went += [ring for ring in self.rings if ring not in went and self._is_dead(ring)]
        have = set(ring.cpu for ring in self.rings if ring not in went)
        self.rings = [ring for ring in self.rings if ring not in went]
        came = []
        for cpu in online:
            if cpu not in have:
                ring = self._open(cpu)
                if ring is not None:
                    self.rings.append(ring)
                    came.append(ring)
        for ring in went:
            self._running.pop(ring.fd, None)
            if ring.cpu not in online:
                try:
                    self.map.discard(ring.cpu)
                except KernelError:
                    pass
        return came, went

    def _uevents(self):
        try:
            return self.kernel.read("/sys/kernel/uevent_seqnum")
        except KernelError:
            return None

    def _is_dead(self, ring):
        """Whether the event no longer runs: its running time stands still (perf_event_exit_cpu took it off its CPU)."""
        try:
            now = os.read(ring.fd, 24)      # value, time enabled, time running
        except (OSError, IOError):
            return False
        before, self._running[ring.fd] = self._running.get(ring.fd), now
        return before is not None and before[16:24] == now[16:24]

    def close(self):
        for ring in self.rings:
            try:
                if self.map.fd is not None:
                    self.map.discard(ring.cpu)      # else the array keeps the event, and the ring, alive
            except (KernelError, InputError):
                pass
        _Buffer.close(self)

    def fds(self):
        return [(ring.fd, ring) for ring in self.rings]


def _bits(value):
    import struct
    return struct.pack("=Q", value)


def _wrong_type(table, wanted):
    from ..uapi.bpf import MAP_TYPE_NAMES
    return InputError("map `%s` is no %s but a %s" % (table.name, wanted, MAP_TYPE_NAMES.get(table.type)))


class RingBuffer(_Buffer):
    """The BPF ring buffer ``ring_map`` (kernel 5.8).

    callback(None, record)   batches=True: (None, [records])      codec / decode      as PerfBuffer
    dropped                  f() -> records that the program could not store, see the module's text
    latency_ms               for programs that submit with BPF_RB_NO_WAKEUP: look at least this often;
    None: only when woken
    """

    def __init__(self, kernel, ring_map, callback, codec=None, decode=None,
                 dropped=None, latency_ms=None, batches=False):
        if ring_map.type != _u.BPF_MAP_TYPE_RINGBUF:
            raise _wrong_type(ring_map, "ring buffer")
        _Buffer.__init__(self, kernel or running_kernel, ring_map.name, callback, batches, None)
        self.map, self.dropped = ring_map, dropped
        self.tick_s = None if latency_ms is None else latency_ms / 1000.0
        overwrite = bool(ring_map.flags & _u.BPF_F_RB_OVERWRITE)
        self.rings = [BpfRing(self.kernel, ring_map.fd, ring_map.max_entries, _codec(codec, decode), overwrite)]

    @property
    def lost(self):
        """What ``dropped`` tells, and the times an overwriting ring (BPF_F_RB_OVERWRITE) ran over us."""
        return sum(self.lost_by_cpu.values()) + (self.dropped() if self.dropped is not None else 0)

    def fds(self):
        return [(ring.fd, ring) for ring in self.rings]


class Poller(object):
    """Waits for any number of buffers; one thread.  ``kernel``: the seam; ``buffers``: first ones to add."""

    def __init__(self, kernel=None, buffers=()):
        self.kernel = kernel or running_kernel
        self.buffers = []
        self.stopped = False
        self._where = {}        # fd -> (buffer, ring)
        self._epoll = select.epoll()
        self._bell = ()
        self._tick = _FIRST_TICK_S
        self._look_at_cpus = monotonic() + _HOTPLUG_S
        try:
            # stop() must wake a sleeping epoll: Python 3 restarts it after signals (PEP 475)
            self._bell = os.pipe()
            for fd in (self._epoll.fileno(),) + self._bell:
                self.kernel.ioctl(fd, _FIOCLEX)
            self._epoll.register(self._bell[0], select.EPOLLIN)
            for buf in buffers:
                self.add(buf)
        except Exception:
            self.close()
            raise

    def add(self, buf):
        """Wait for ``buf`` (PerfBuffer, RingBuffer) as well; returns it.  It is not closed with the poller."""
        self.buffers.append(buf)
        for fd, ring in buf.fds():
            self._watch(fd, buf, ring)
        return buf

    def remove(self, buf):
        """Wait for it no longer."""
        if buf in self.buffers:
            self.buffers.remove(buf)
            for fd, ring in buf.fds():
                self._forget(fd)

    def _watch(self, fd, buf, ring):
        self._epoll.register(fd, select.EPOLLIN)
        self._where[fd] = buf, ring

    def _forget(self, fd):
        if self._where.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except (IOError, OSError, ValueError):
                pass

    def poll(self, timeout_ms=-1):
        """Deliver records; waits until there is one, ``timeout_ms`` is over (0: no wait;
        negative or None: no end) or stop().

        Returns the number of records delivered.  Exceptions of callbacks come out of here; go on by calling again.
        """
        if self.stopped:
            return 0
        before = sum(buf.records for buf in self.buffers)
        try:
            return self._poll(timeout_ms)
        except StopPolling:
            self.stop()
            return sum(buf.records for buf in self.buffers) - before

    def _poll(self, timeout_ms):
        deadline = None if timeout_ms is None or timeout_ms < 0 else monotonic() + timeout_ms / 1000.0
        total = self._deliver_all()
        if monotonic() >= self._look_at_cpus and not self.stopped:
            total += self._cpus()
        idle = 0
        while not total and not self.stopped:
            now = monotonic()
            left = None if deadline is None else deadline - now
            if left is not None and left <= 0:
                break
            ready = self._wait(self._patience(left))
            if self.stopped:
                break
            if ready:
                for fd, _ in ready:
                    buf, ring = self._where.get(fd, (None, None))
                    if buf is not None and not self.stopped:
                        total += buf.deliver(ring, self)
                # A record that is reserved but not yet submitted makes a ring buffer readable: do not spin on it.
                idle = 0 if total else idle + 1
                if idle > 1:
                    self._nap(min(0.0002 * idle, 0.01))
                self._drop_dead(ready)
            else:
                total = self._deliver_all()
            self._tick = _FIRST_TICK_S if total else self._tick * 2
            if monotonic() >= self._look_at_cpus:
                total += self._cpus()
        return total

    def _patience(self, left):
        """Seconds to sleep at most: till the deadline, the next look into rings below their watermark,
        or at the CPUs."""
        for buf in self.buffers:
            if buf.tick_s is not None:
                tick = min(self._tick, buf.tick_s)
                left = tick if left is None else min(left, tick)
            if buf.hotplug:
                left = _HOTPLUG_S if left is None else min(left, _HOTPLUG_S)
        return left

    def _wait(self, seconds):
        try:
            ready = self._epoll.poll(-1 if seconds is None else max(seconds, 0.001))
        except (IOError, OSError, select.error) as error:
            if error.args[0] != errno.EINTR:
                raise KernelError("epoll_wait: %s" % error, "epoll_wait", error.args[0], cause=error)
            return []       # 2.7: a signal; its handler has run
        if ready and self._bell and any(fd == self._bell[0] for fd, _ in ready):
            os.read(self._bell[0], 512)
            ready = [row for row in ready if row[0] != self._bell[0]]
        return ready

    @staticmethod
    def _nap(seconds):
        import time
        time.sleep(seconds)

    def _drop_dead(self, ready):
        """An fd that only says error or hang-up would wake us for ever; its ring is still looked at at every tick."""
        for fd, events in ready:
            if events & (select.EPOLLERR | select.EPOLLHUP) and not events & select.EPOLLIN:
                self._forget(fd)

    def _deliver_all(self):
        total = 0
        for buf in self.buffers:
            for ring in list(buf.rings):
                if ring.pending or ring.more():
                    total += buf.deliver(ring, self)
                    if self.stopped:
                        return total
        return total

    def _cpus(self):
        """Follow CPU hot-plug; records that a vanished CPU left behind are delivered."""
        self._look_at_cpus = monotonic() + _HOTPLUG_S
        total = 0
        for buf in self.buffers:
            if not buf.hotplug:
                continue
            came, went = buf.watch_cpus()
            for ring in went:
                self._forget(ring.fd)
            for ring in came:
                self._watch(ring.fd, buf, ring)
            for ring in went:
                try:
                    total += buf.deliver(ring, self)
                finally:
                    ring.close()
        return total

    def run(self, duration_s=None):
        """poll() until stop() or for ``duration_s`` seconds.  Number of records."""
        total, end = 0, None if duration_s is None else monotonic() + duration_s
        while not self.stopped:
            left = -1 if end is None else (end - monotonic()) * 1000
            if end is not None and left <= 0:
                break
            total += self.poll(left)
        return total

    def stop(self):
        """End poll() and run() now; callable from callbacks, signal handlers and other threads."""
        before, self.stopped = self.stopped, True
        if self._bell and not before:
            try:
                os.write(self._bell[1], b"x")
            except (OSError, IOError):
                pass

    def resume(self):
        """Take back stop(): records not delivered yet come with the next poll()."""
        self.stopped = False

    def close(self):
        """Close the poller's own fds; the buffers stay open."""
        for fd in self._bell:
            self.kernel.close(fd)
        self._bell = ()
        self._where = {}
        self.buffers = []
        self._epoll.close()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()
