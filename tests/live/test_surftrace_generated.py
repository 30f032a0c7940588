"""Generated expressions on the running kernel: what we compile it takes, what it would refuse we refused; and what is
printed is what a BPF program reads from the same place."""
from __future__ import absolute_import

import os
import struct

import pytest

from lbc import residue, tracefs as _tracefs
from lbc.bpf import maps, syscalls
from lbc.bpf.events import Poller, RingBuffer
from lbc.bpf.spec import MapSpec
from lbc.errors import KernelError, LbcError
from lbc.expr import probe as _probe
from lbc.ftrace.features import read_features
from lbc.uapi import bpf as U
from lbc.uapi import perf as P
from lbc.uapi.arch import ARCHES

from .. import exprgen, exprlab
from . import LAB, emitter, need, need_kprobes, tracefs
from .surf import FILES, fork, types

if LAB:
    pytest.skip("these have not been run to their end in the lab yet", allow_module_level=True)
pytestmark = pytest.mark.live
PREPARED = exprlab.read(os.environ.get("LBC_EXPRESSIONS"))
PROBE_READ_KERNEL = 113


def setup_module():
    types()


@pytest.fixture
def generated():
    need_kprobes()
    if PREPARED:    # 10,000, by tests/lab/matrix.py
        return PREPARED
    with open(tracefs() + "/available_filter_functions") as f:
        known = set(line.split()[0] for line in f)
    return exprlab.compile_all(types(), read_features(FILES, tracefs()), 300, known=known)


def define(kind, name, definition):
    """Why the kernel refuses a definition, "" when it takes it; it is gone afterwards."""
    path = tracefs() + "/kprobe_events"
    text = "%s:%s/%s %s" % (kind, residue.tag(), name, definition)
    try:
        FILES.write(path, text.encode(), append=True)
    except KernelError as error:
        return "%s: %s: %s" % (text, error, _tracefs.last_error(FILES, tracefs())[0])
    return ""


def remove(name):
    _tracefs.remove_event(FILES, tracefs() + "/kprobe_events", residue.tag(), name)


def test_the_kernel_takes_what_we_compile(generated):
    refused = []
    for kind, definition, texts in generated["events"]:
        if not define(kind, "gen", definition):
            remove("gen")
            continue
        function, _, words = definition.partition(" ")
        for word, text in zip(words.split(" "), texts):   # which of them
            why = define(kind, "gen", "%s %s" % (function, word))
            if why:
                refused.append((text, why))
            else:
                remove("gen")
    assert not refused, "%d of %d refused, for example %s" % (len(refused), generated["taken"], refused[:5])
    assert generated["taken"] > 2 * generated["refused"] and len(generated["events"]) > 10


def test_the_kernel_takes_filters(generated):
    refused = []
    with_instance = _tracefs.Instance(FILES)
    try:
        for definition, condition, kind, text in generated["filters"]:
            why = define(kind, "gen", definition)
            if not why:
                try:
                    with_instance.write("events/%s/gen/filter" % residue.tag(), condition)
                except LbcError as error:
                    why = "%s: %s" % (condition, error)
                remove("gen")
            if why:
                refused.append((text, why))
    finally:
        with_instance.close()
    assert not refused, "%d of %d refused, for example %s" % (len(refused), len(generated["filters"]), refused[:5])
    assert len(generated["filters"]) > 5


# -- the same values by BPF --------------------------------------------------------------------------------------------

def reader_code(fetches, ring):
    """A kprobe program that sends one record a call: eight bytes for each fetch, by the loads that the expression
    means; where one fails, what the helper leaves: zeros."""
    regs = ARCHES["x86_64"].pt_regs
    code = emitter.movr(6, 1) + emitter.map_fd(1, ring) + emitter.mov(2, 8 * len(fetches)) + emitter.mov(3, 0) + \
        emitter.call(emitter.RINGBUF_RESERVE) + emitter.insn(0x55, 0, off=2) + emitter.mov(0, 0) + emitter.EXIT + \
        emitter.movr(9, 0)
    for number, fetch in enumerate(fetches):
        code += emitter.load(7, 6, regs[fetch.source.name])
        for offset, user in fetch.loads:
            assert not user
            code += emitter.mov(1, 0) + emitter.store(10, -8, 1) + emitter.movr(3, 7) + emitter.add(3, offset) + \
                emitter.movr(1, 10) + emitter.add(1, -8) + emitter.mov(2, 8) + emitter.call(PROBE_READ_KERNEL) + \
                emitter.load(7, 10, -8)
        code += emitter.store(9, 8 * number, 7)
    return code + emitter.movr(1, 9) + emitter.mov(2, 0) + emitter.call(emitter.RINGBUF_SUBMIT) + emitter.mov(0, 0) + \
        emitter.EXIT


def shown(fetch, word):
    """What the kernel's tracer stores of a word of eight bytes, as the number that is shown."""
    if fetch.store == "bits":
        first, width = fetch.bits
        return word >> first & (1 << width) - 1
    value = word & (1 << 8 * fetch.size) - 1
    if fetch.letter == "S" and value >> 8 * fetch.size - 1:
        value -= 1 << 8 * fetch.size
    return value


def plain_fetches(count):
    """[(expression text, Fetch)] of random expressions on wake_up_new_task that are chains of kernel loads."""
    target = _probe.Target(ARCHES["x86_64"], False, None, *read_features(FILES, tracefs())[::-1])
    functions = types().functions("wake_up_new_task")[:1]
    found, seen = [], set()
    for text in exprgen.expressions(types(), functions, 40 * count, 5, args=2, wrong=0):
        try:
            probe = _probe.parse(text)
            if probe.kind != "p" or probe.symbol.offset or probe.filter is not None:
                continue
            compiled = _probe.compile_probe(probe, "f0", functions[0], types(), target)
        except LbcError:
            continue
        for fetch, (name, spelled) in zip(compiled.fetches, compiled.fetch):
            if (fetch.store in ("number", "bits") and fetch.source.kind == "reg" and fetch.converter is None
                    and fetch.loads and not any(user for _, user in fetch.loads) and len(fetch.loads) < 5
                    and spelled not in seen):
                seen.add(spelled)
                found.append((spelled, fetch))
                if len(found) == count:
                    return found
    return found


def test_printed_values_are_those_that_bpf_reads():
    need_kprobes()
    need("ringbuf")
    rows = plain_fetches(24)
    assert len(rows) >= 12
    kernel = syscalls.Kernel()
    ring = maps.create(kernel, MapSpec("ev", U.BPF_MAP_TYPE_RINGBUF, 0, 0, 1 << 16))
    records, close = [], [ring.close]
    try:
        fd = emitter.prog_load(kernel, reader_code([fetch for _, fetch in rows], ring.fd), U.BPF_PROG_TYPE_KPROBE)
        close.append(lambda: os.close(fd))
        buffer = RingBuffer(kernel, ring, lambda cpu, record: records.append(
            struct.unpack("=%dQ" % len(rows), bytes(record))))
        close.append(buffer.close)
        with attached(kernel, fd):
            events = values_of(rows)
        Poller(kernel, [buffer]).poll(0)
    finally:
        for action in close[::-1]:
            action()
    assert events and len(records) >= len(events)
    differing = []
    for event in events:
        wanted = [event.args["v%d" % n] for n in range(len(rows))]
        best = max(records, key=lambda record: sum(
            shown(fetch, word) == value for (_, fetch), word, value in zip(rows, record, wanted)))
        differing += [(rows[n][0], value, word) for n, ((_, fetch), word, value) in enumerate(zip(rows, best, wanted))
                      if value is not None and shown(fetch, word) != value]
    # a counter or a clock may move between the two reads
    assert len(differing) <= len(events) * len(rows) // 10, differing


def values_of(rows):
    """Events of one forked child with the spelled fetch arguments ``rows``, as they are."""
    from lbc.ftrace.plan import Entry, Plan
    from lbc.ftrace.session import Session
    from lbc.legacy import _Ready
    ready = _Ready({"type": "p", "fxpr": "p:f0 wake_up_new_task %s" % " ".join(
        "v%d=%s" % (n, spelled) for n, (spelled, _) in enumerate(rows))})
    with Session(Plan([Entry(ready, ready.place)]), FILES, parsed=True) as session:
        session.start()
        fork()
        return [event for event in session.drain() if event.pid == os.getpid()]


class attached(object):
    """A kprobe program on wake_up_new_task through the perf event of a probe event of its own."""

    def __init__(self, kernel, fd):
        self.kernel, self.fd = kernel, fd

    def __enter__(self):
        assert define("p", "truth", "wake_up_new_task") == ""
        number = _tracefs.event_id(self.kernel, residue.tag(), "truth")
        attr = bytearray(P.PERF_ATTR_SIZE_VER5)
        struct.pack_into("=IIQ", attr, 0, P.PERF_TYPE_TRACEPOINT, len(attr), number)
        struct.pack_into("=Q", attr, 16, 1)
        self.perf = self.kernel.perf_event_open(attr, -1, 0)
        self.kernel.ioctl(self.perf, P.PERF_EVENT_IOC_SET_BPF, self.fd)
        self.kernel.ioctl(self.perf, P.PERF_EVENT_IOC_ENABLE)

    def __exit__(self, *_exc):
        os.close(self.perf)
        remove("truth")
