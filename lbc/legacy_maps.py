"""pylcc's map wrappers: what `lbc.maps["name"]` of a ClbcBase is, over the live maps of lbc.bpf.

Values come as scripts expect them: numbers, text for ``char[]``, lists for arrays, and for a struct or union an object
with its members as attributes.  Done right behind the same names: per-CPU values are lists with one value for each
CPU, the key 0 is an entry like any other, and every kind of map can be read.
"""
from __future__ import absolute_import

import sys
import time

from ._py23 import monotonic, range, terminal_columns, text_type
from .btf.records import Record
from .errors import InputError, KernelError
from .render import hist as _hist
from .uapi import bpf as _u

__all__ = ["CffiValue", "CeventBase", "CtableBase", "CmapsHash", "CmapsArray", "CmapsHist2", "CmapsHist10",
           "CmapsLruHash", "CmapsPerHash", "CmapsPerArray", "CmapsLruPerHash", "CmapsStack", "CmapsEvent", "mapsDict",
           "wrap"]

HIST2_SLOTS, HIST10_SLOTS = 64, 20      # entries of LBC_HIST2 and LBC_HIST10


if hasattr(str, "decode"):
    Text = str
else:
    class Text(str):
        """Text of a ``char[]``.  Scripts for the reference on Python 3 got bytes and call decode() on them."""
        __slots__ = ()

        def decode(self, encoding="utf-8", errors="strict"):
            """Itself: it is text already."""
            return self


class CffiValue(object):
    """A struct or union: its members are attributes, which may be changed.  Equal, and one key of a dict, when all
    members are."""

    def __init__(self, record=None):
        if record is not None:
            for name, value in record._asdict().items():
                setattr(self, name, legacy(value))

    def _asdict(self):
        return dict(self.__dict__)

    def __eq__(self, other):
        return self.__dict__ == other.__dict__ if isinstance(other, CffiValue) else NotImplemented

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(tuple(sorted([(name, _frozen(value)) for name, value in self.__dict__.items()])))

    def __repr__(self):
        return repr(self.__dict__)


def _frozen(value):
    return tuple([_frozen(each) for each in value]) if isinstance(value, list) else value


def legacy(value):
    """What lbc decoded, as a script of the reference wants it."""
    if isinstance(value, Record):
        return CffiValue(value)
    if isinstance(value, list):
        return [legacy(each) for each in value]
    return Text(value) if type(value) is str else value


def plain(value):
    """The opposite: what lbc's encoders take."""
    if isinstance(value, CffiValue):
        return plain(value._asdict())
    if isinstance(value, dict):
        return dict([(name, plain(each)) for name, each in value.items()])
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


class CeventBase(object):
    """What every map has: ``name``, and ``live``, the lbc.bpf map."""

    def __init__(self, live, owner=None):
        self.live, self.name, self._owner = live, live.name, owner


class CtableBase(CeventBase):
    """A map with keys and values."""

    def get(self):
        """{key: value} of all entries."""
        return self._dict(self.live.items())

    def getThenClear(self):
        """{key: value} of all entries, each removed as it is read where the kernel can do that (5.6; hash maps)."""
        return self._dict(self.live.drain())

    @staticmethod
    def _dict(pairs):
        return dict([(_key(key), legacy(value)) for key, value in pairs])

    def getKeys(self):
        """[key, ...]"""
        return [_key(key) for key in self.live.keys()]

    def getKeyValue(self, k):
        """Value of key ``k``, None when it is not there."""
        try:
            return legacy(self.live.get(plain(k)))
        except KernelError:
            raise
        except InputError as error:
            raise InputError("map `%s`: no key: %s" % (self.name, error.what), error)

    def clear(self):
        """Remove every entry (arrays: write zeros)."""
        self.live.clear()


def _key(key):
    """A key as dicts take it: lists become tuples."""
    key = legacy(key)
    return _frozen(key) if isinstance(key, list) else key


class CmapsHash(CtableBase):
    """BPF_MAP_TYPE_HASH."""


class CmapsLruHash(CtableBase):
    """BPF_MAP_TYPE_LRU_HASH."""


class CmapsPerHash(CtableBase):
    """BPF_MAP_TYPE_PERCPU_HASH: a value is a list with one for each possible CPU."""


class CmapsLruPerHash(CtableBase):
    """BPF_MAP_TYPE_LRU_PERCPU_HASH: as CmapsPerHash."""


class CmapsArray(CtableBase):
    """BPF_MAP_TYPE_ARRAY."""
    SLOTS = 10

    def get(self, size=None):
        """[value of 0, of 1, ...]: ``size`` of them (default 10; histograms: all), None behind the array's end."""
        size = self.SLOTS if size is None else size
        found = [legacy(value) for value in self._first(min(size, self.live.max_entries))]
        return found + [None] * (size - len(found))

    def _first(self, count):
        if count == self.live.max_entries:
            found = dict(self.live.items())
            return [found[index] for index in range(count)]
        return [self.live.get(index) for index in range(count)]

    def getThenClear(self):
        """{index: value} of all, zeros afterwards.  What programs add between the two is lost."""
        found = CtableBase.get(self)
        self.live.clear()
        return found

    def getKeyValue(self, k):
        """Value at index ``k``, None behind the array's end."""
        return legacy(self.live.get(k)) if 0 <= k < self.live.max_entries else None


class CmapsPerArray(CmapsArray):
    """BPF_MAP_TYPE_PERCPU_ARRAY: a value is a list with one for each possible CPU."""

    def get(self, size=None):
        """{index: [value of CPU 0, ...]} of all; with ``size`` a list of the first ones."""
        return CtableBase.get(self) if size is None else CmapsArray.get(self, size)


class CmapsHist2(CmapsArray):
    """A histogram by powers of two (LBC_HIST2)."""
    SLOTS = HIST2_SLOTS
    _lines = staticmethod(_hist.log2_lines)

    def showHist(self, head="dummy", array=None):
        """Print ``head`` and a bar for each slot (of ``array`` in place of the map's counts).  ValueError when
        nothing was counted."""
        lines = self._lines(self.get() if array is None else array, terminal_columns())
        sys.stdout.write("\n".join([head] + lines) + "\n")


class CmapsHist10(CmapsHist2):
    """A histogram by powers of ten (LBC_HIST10)."""
    SLOTS = HIST10_SLOTS
    _lines = staticmethod(_hist.log10_lines)


class CmapsStack(CtableBase):
    """BPF_MAP_TYPE_STACK_TRACE."""

    def getArr(self, stack_id):
        """Addresses of a stack, zeros behind the last one; None when there is no such stack."""
        found = self._addresses(stack_id)
        return None if found is None else found + [0] * (self.live.value_size // 8 - len(found))

    def _addresses(self, stack_id):
        if not 0 <= stack_id < self.live.max_entries:   # -EEXIST, -EFAULT of bpf_get_stackid, seen as u32 or s32
            return None
        return self.live.get(stack_id)

    def getKeyValue(self, k):
        """As getArr."""
        return self.getArr(k)

    def getStacks(self, stack_id, sLen=-1):
        """Names of the kernel functions of a stack, innermost first ([] when there is no such stack); ``sLen``: at most
        so many.  An address without a name is written as one."""
        frames = self.live.frames(stack_id)
        return [frame.name or "0x%x" % frame.address for frame in (frames if sLen < 0 else frames[:sLen])]


class _Polling(object):
    """A poll() that goes on.  Threads that poll are stopped before the interpreter goes: on Python 2.7 modules are
    emptied under a daemon thread's feet."""
    now = []

    def __init__(self, poller):
        self._poller = poller
        if not self.now:
            import atexit
            atexit.register(_stop_polling)

    def __enter__(self):
        self.now.append(self._poller)

    def __exit__(self, *failure):
        self.now.remove(self._poller)


def _stop_polling():
    for poller in list(_Polling.now):
        poller.stop()
    until = monotonic() + 1
    while _Polling.now and monotonic() < until:
        time.sleep(0.01)


class CmapsEvent(CeventBase):
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY, and ring buffers (new): records that programs send."""

    def __init__(self, live, owner=None):
        CeventBase.__init__(self, live, owner)
        self.cb = self.lostcb = self._codec = self._buffer = None
        self._to = self     # whose cb and lostcb are called

    def open_perf_buffer(self, cb, lost=None):
        """``cb(cpu, data, size)`` gets each record from now on (getMap() makes an object of data), ``lost(cpu, count)``
        what found no room (default: a line is printed)."""
        self.cb, self.lostcb, self._to = cb, lost, self
        self._open()

    def perf_buffer_poll(self, timeout=-1, obj=None):
        """Hand out records: for ever, or until ``timeout`` milliseconds have passed when it is not negative.  ``obj``:
        something else that has ``cb`` and perhaps ``lostcb``."""
        if obj is not None:
            if not hasattr(obj, "cb"):
                raise InputError("%r has no callback `cb`" % (obj,))
            self._to = obj
        from .bpf.events import Poller
        with Poller(self.live.kernel, [self._open()]) as poller:
            with _Polling(poller):
                poller.run(None if timeout is None or timeout < 0 else timeout / 1000.0)

    def _open(self):
        if self._buffer is None:
            from .bpf import events
            kernel, live = self.live.kernel, self.live
            self._buffer = events.RingBuffer(kernel, live, self._record) if live.type == _u.BPF_MAP_TYPE_RINGBUF \
                else events.PerfBuffer(kernel, live, self._record, lost=self._lost)
        return self._buffer

    def _record(self, cpu, data):
        if self._to.cb:
            self._to.cb(cpu or 0, data, len(data))      # a ring buffer does not know the CPU; whatever cb returns

    def _lost(self, cpu, count):
        tell = getattr(self._to, "lostcb", None)
        if tell:
            tell(cpu, count)
        else:
            sys.stdout.write("cpu%d lost %d events\n" % (cpu, count))

    def close(self):
        """Give the buffer back; idempotent."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.close()

    def event(self, data):
        """Object of a record: by the value type that the map's source gives, bytes where it gives none."""
        if self._codec is None:
            self._codec = self._owner.record_codec(self.live) if self._owner is not None else None
        if self._codec is None:
            return data
        if len(data) < self._codec.size:
            raise IndexError("record of %d bytes, its type has %d" % (len(data), self._codec.size))
        return legacy(self._codec.decode(data))


# The reference's names of the kinds.
mapsDict = {"event": CmapsEvent, "hash": CmapsHash, "array": CmapsArray, "hist2": CmapsHist2, "hist10": CmapsHist10,
            "lruHash": CmapsLruHash, "perHash": CmapsPerHash, "perArray": CmapsPerArray,
            "lruPerHash": CmapsLruPerHash, "stack": CmapsStack}

_BY_TYPE = {_u.BPF_MAP_TYPE_HASH: "hash", _u.BPF_MAP_TYPE_LRU_HASH: "lruHash", _u.BPF_MAP_TYPE_PERCPU_HASH: "perHash",
            _u.BPF_MAP_TYPE_LRU_PERCPU_HASH: "lruPerHash", _u.BPF_MAP_TYPE_ARRAY: "array",
            _u.BPF_MAP_TYPE_PERCPU_ARRAY: "perArray", _u.BPF_MAP_TYPE_STACK_TRACE: "stack",
            _u.BPF_MAP_TYPE_PERF_EVENT_ARRAY: "event", _u.BPF_MAP_TYPE_RINGBUF: "event"}


def kind_of(live):
    """Name in mapsDict for a live map, None for kinds that the reference does not know.  LBC_HIST2 and LBC_HIST10 make
    arrays of 64 and 20 counts of eight bytes."""
    kind = _BY_TYPE.get(live.type)
    if kind == "array" and live.value_size == 8:
        return {HIST2_SLOTS: "hist2", HIST10_SLOTS: "hist10"}.get(live.max_entries, kind)
    return kind


def wrap(live, owner=None):
    """The wrapper of a live map.  ``owner.record_codec(live)`` tells the type of an event map's records."""
    kind = kind_of(live)
    return (mapsDict[kind] if kind else CtableBase)(live, owner)


def text_of(data):
    """Text of bytes, of a ctypes or array ``char[]`` or of a list of numbers, up to the first zero byte."""
    if isinstance(data, (str, text_type)):
        return Text(data.partition("\0")[0])
    from ._py23 import to_text
    return Text(to_text(bytes(bytearray([ord(c) if isinstance(c, (bytes, text_type)) else c & 0xff for c in data])
                              if not isinstance(data, (bytes, bytearray)) else bytearray(data)).partition(b"\0")[0]))
