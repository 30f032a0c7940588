"""Perf buffers and ring buffers fed by real programs with known records."""
from __future__ import absolute_import

import os
import signal
import struct
import threading
import time

import pytest

from lbc import host
from lbc._py23 import range
from lbc.bpf import maps, rings, syscalls
from lbc.bpf.events import PerfBuffer, Poller, RingBuffer, StopPolling
from lbc.bpf.spec import MapSpec
from lbc.bpf.syscalls import Kernel
from lbc.bpf.user_ring import UserRing
from lbc.errors import FormatError, InputError, KernelError, NotSupported
from lbc.uapi import bpf as U

from . import LAB, emitter

pytestmark = pytest.mark.live
CPUS = host.online_cpus()


class Rig(object):
    """A map, a program that writes into it and a buffer that reads it; everything closed at the end."""

    def __init__(self, kernel):
        self.kernel, self.open = kernel, []

    def map(self, kind, size=1 << 18):
        spec = (MapSpec("ev", U.BPF_MAP_TYPE_RINGBUF, 0, 0, size) if kind == "ring"
                else MapSpec("ev", U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4))
        try:
            m = maps.create(self.kernel, spec)
        except NotSupported as error:
            pytest.skip(str(error))
        self.open.append(m.close)
        return m

    def program(self, code):
        try:
            fd = emitter.prog_load(self.kernel, code)
        except KernelError as error:
            if LAB:
                raise
            pytest.skip("cannot load the emitting program: %s" % error)
        self.open.append(lambda: self.kernel.close(fd))
        return fd

    def setup(self, kind, callback, step=0, size=1 << 18, **options):
        """(buffer, emit(count, first, size bits, cpu))."""
        m = self.map(kind, size)
        buf = (RingBuffer if kind == "ring" else PerfBuffer)(self.kernel, m, callback, **options)
        self.open.append(buf.close)
        fd = self.program(emitter.emit_code((kind, m.fd), step=step))

        def emit(count, first=0, bits=56, cpu=0):
            return emitter.run(self.kernel, fd, [count, first, bits], cpu)
        return buf, emit

    def close(self):
        for close in reversed(self.open):
            close()


@pytest.fixture
def rig(native, monkeypatch):
    monkeypatch.setattr(syscalls, "backend", native)
    monkeypatch.setattr(rings, "backend", native)
    rig = Rig(Kernel())
    yield rig
    rig.close()


def first(record):
    return struct.unpack_from("=Q", record)[0]


both = pytest.mark.parametrize("kind", ["perf", "ring"])


@both
@pytest.mark.parametrize("step", [0, 8, 24])
def test_every_record_once_in_order(rig, kind, step):
    got = []
    buf, emit = rig.setup(kind, lambda cpu, data: got.append((cpu, data)), step)
    for turn in range(12):      # several times around the ring
        assert emit(1000, turn * 1000, 56) == 0
        while buf.consume():
            pass
    assert [first(data) for _, data in got] == list(range(12000))
    for i, (cpu, data) in enumerate(got):
        size = 8 + ((56 + (i % 1000) * step) & 0x38)
        # perf pads: 4 bytes of size + data to a multiple of 8
        assert len(data) == size + (4 if kind == "perf" else 0), i
        assert data[8:] == b"\0" * (len(data) - 8) or kind == "perf"
        assert cpu == (0 if kind == "perf" else None)
    assert buf.records == 12000 and buf.lost == 0
    assert buf.consume() == 0


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_cpus(rig):
    got = []
    buf, emit = rig.setup("perf", lambda cpu, data: got.append((cpu, first(data))))
    emit(3, 0, 0, CPUS[0])
    emit(3, 100, 0, CPUS[1])
    while buf.consume():
        pass
    assert sorted(got) == [(CPUS[0], i) for i in range(3)] + [(CPUS[1], 100 + i) for i in range(3)]


@both
def test_batches(rig, kind):
    got = []
    buf, emit = rig.setup(kind, lambda cpu, records: got.extend(records), batches=True)
    emit(500)
    assert buf.consume() == 500 and [first(r) for r in got] == list(range(500))


@both
def test_decoded(rig, kind):
    got = []
    buf, emit = rig.setup(kind, lambda cpu, value: got.append(value), decode=lambda data, offset=0: first(data) * 2)
    emit(10, 5)
    assert buf.consume() == 10 and got == [2 * i for i in range(5, 15)]


def test_decoded_by_btf(rig):
    from lbc.btf.parse import open_btf
    from lbc.bpf.map_codec import BtfCodec
    btf = open_btf("/sys/kernel/btf/vmlinux")
    try:
        codec = BtfCodec(btf, btf.find("timespec64")[0], 16)
        for kind in ("perf", "ring"):
            got = []
            buf, emit = rig.setup(kind, lambda cpu, value: got.append(value.tv_sec), codec=codec)
            emit(100, 7, 8)
            emit(3, 200, 56)
            while buf.consume():
                pass
            assert got == list(range(7, 107)) + [200, 201, 202]
            assert emit(1, 300, 0) == 0     # 8 bytes: smaller than the type
            assert emit(2, 400, 56) == 0
            if kind == "ring":
                with pytest.raises(FormatError) as caught:
                    buf.consume()
                assert "8 bytes" in str(caught.value)
            else:
                with pytest.raises(FormatError):
                    buf.consume()
            buf.consume()
            assert got[-2:] == [400, 401]
    finally:
        btf.close()


@both
def test_exception_loses_nothing_and_repeats_nothing(rig, kind):
    got = []

    def callback(cpu, data):
        got.append(first(data))
        if first(data) % 100 == 50:
            raise RuntimeError(str(first(data)))
    buf, emit = rig.setup(kind, callback)
    emit(1000)
    raised = 0
    for _ in range(100):
        try:
            if not buf.consume():
                break
        except RuntimeError as error:
            raised += 1
            assert str(error) == str(got[-1])
    assert raised == 10 and got == list(range(1000)) and buf.records == 1000


@both
@pytest.mark.parametrize("how", ["false", "exception", "method"])
def test_stop_in_a_callback(rig, kind, how):
    got = []

    def callback(cpu, data):
        got.append(first(data))
        if first(data) == 10:
            if how == "exception":
                raise StopPolling()
            if how == "method":
                poller.stop()
            return how != "false"
    buf, emit = rig.setup(kind, callback)
    with Poller(rig.kernel, [buf]) as poller:
        emit(30)
        assert poller.poll(5000) == 11 and got == list(range(11)) and poller.stopped
        assert poller.poll(5000) == 0 and poller.run() == 0
        poller.resume()
        assert poller.poll(5000) == 19 and got == list(range(30))


@both
def test_stop_by_signal_and_thread(rig, kind):
    buf, emit = rig.setup(kind, lambda cpu, data: None)
    with Poller(rig.kernel, [buf]) as poller:
        former = signal.signal(signal.SIGALRM, lambda number, frame: poller.stop())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            start = time.time()
            assert poller.run() == 0 and 0.05 < time.time() - start < 3
        finally:
            signal.signal(signal.SIGALRM, former)
        poller.resume()
        threading.Timer(0.1, poller.stop).start()
        start = time.time()
        assert poller.poll() == 0 and time.time() - start < 3


@both
def test_signals_do_not_cut_the_time_out(rig, kind):
    buf, emit = rig.setup(kind, lambda cpu, data: None)
    rang = []
    former = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        start = time.time()
        assert buf.poll(300) == 0
        assert 0.28 < time.time() - start < 2 and rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@both
def test_interrupt_comes_out(rig, kind):
    def ring_the_bell(number, frame):
        raise KeyboardInterrupt
    buf, emit = rig.setup(kind, lambda cpu, data: None)
    former = signal.signal(signal.SIGALRM, ring_the_bell)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            buf.poll(5000)
    finally:
        signal.signal(signal.SIGALRM, former)


@both
def test_idle_costs_nothing(rig, kind):
    buf, emit = rig.setup(kind, lambda cpu, data: None)
    before, start = os.times(), time.time()
    assert buf.poll(500) == 0
    after = os.times()
    assert 0.45 < time.time() - start < 3
    assert after[0] + after[1] - before[0] - before[1] < 0.1


@both
def test_wakes_from_another_thread(rig, kind):
    got = []
    buf, emit = rig.setup(kind, lambda cpu, data: got.append(time.time()), **
                          ({"wakeup_events": 1} if kind == "perf" else {}))
    sent = []

    def later():
        time.sleep(0.2)
        sent.append(time.time())
        emit(1)
    thread = threading.Thread(target=later)
    thread.start()
    assert buf.poll(10000) == 1
    thread.join()
    assert got[0] - sent[0] < 1


def test_below_the_watermark(rig):
    got = []
    buf, emit = rig.setup("perf", lambda cpu, data: got.append(first(data)), latency_ms=50)
    threading.Timer(0.3, emit, (1, 42)).start()
    start = time.time()
    assert buf.poll(5000) == 1 and got == [42] and time.time() - start < 3


def test_perf_losses_are_counted(rig):
    got, told = [], []
    buf, emit = rig.setup("perf", lambda cpu, data: got.append(first(data)),
                          lost=lambda cpu, count: told.append((cpu, count)), pages=1)
    refused = emit(1000)
    assert refused > 0
    while buf.consume():
        pass
    emit(1, 5000)       # the kernel tells of losses with the next record that finds room
    while buf.consume():
        pass
    assert len(got) == 1000 - refused + 1 and got[-1] == 5000
    assert buf.lost == refused == sum(count for _, count in told) and buf.lost_by_cpu == {0: refused}


def test_ring_losses_by_the_convention(rig):
    dropped = [0]
    buf, emit = rig.setup("ring", lambda cpu, data: None, size=4096, dropped=lambda: dropped[0])
    dropped[0] = emit(1000)
    assert dropped[0] > 900 and buf.lost == dropped[0]
    assert buf.consume() == 1000 - dropped[0]


def big_code(m, source, size, kind):
    """Sends the first ``size`` bytes of array ``source``."""
    code = emitter.movr(6, 1) + emitter.mov(2, 0) + emitter.store(10, -8, 2) + \
                        emitter.map_fd(1, source.fd) + emitter.movr(2, 10)
    code += emitter.add(2, -8) + emitter.call(emitter.MAP_LOOKUP) + emitter.insn(0x55, 0, off=1) + emitter.EXIT
    if kind == "perf":
        code += emitter.movr(4, 0) + emitter.movr(1, 6) + emitter.map_fd(2, m.fd) + \
                             emitter.insn(0x18, 3, imm=0xffffffff) + emitter.insn(0)
        code += emitter.mov(5, size) + emitter.call(emitter.PERF_EVENT_OUTPUT)
    else:
        code += emitter.map_fd(1, m.fd) + emitter.movr(2, 0) + emitter.mov(3, size) + \
                               emitter.mov(4, 0) + emitter.call(emitter.RINGBUF_OUTPUT)
    return code + emitter.insn(0x67, 0, imm=32) + emitter.insn(0x77, 0, imm=32) + emitter.EXIT


@both
@pytest.mark.parametrize("size", [3000, 30001, 65000, 200000])
def test_big_records_that_wrap(rig, kind, size):
    if kind == "perf" and size > 65000:
        pytest.skip("a perf record is at most 64 kB")
    content = os.urandom(size)
    source = maps.create(rig.kernel, MapSpec("src", U.BPF_MAP_TYPE_ARRAY, 4, size, 1))
    rig.open.append(source.close)
    source.raw.update(b"\0\0\0\0", content)
    m = rig.map(kind, 1 << 18)
    got = []
    buf = (RingBuffer if kind == "ring" else PerfBuffer)(rig.kernel, m, lambda cpu, data: got.append(data[:size]))
    rig.open.append(buf.close)
    fd = rig.program(big_code(m, source, size, kind))
    for _ in range(40):
        assert emitter.run(rig.kernel, fd, [0], 0) == 0
        while buf.consume():
            pass
    assert len(got) == 40 and set(got) == {content}


def test_reserved_discarded_and_submitted(rig):
    """A program that reserves two records, throws the first away, sends the second."""
    e = emitter
    got = []
    m = rig.map("ring", 4096)
    buf = RingBuffer(rig.kernel, m, lambda cpu, data: got.append(first(data)))
    rig.open.append(buf.close)
    code = e.movr(6, 1) + e.map_fd(1, m.fd) + e.mov(2, 8) + e.mov(3, 0) + \
                  e.call(e.RINGBUF_RESERVE) + e.insn(0x55, 0, off=2)
    code += e.mov(0, 1) + e.EXIT + e.movr(1, 0) + e.mov(2, 0) + e.call(e.RINGBUF_DISCARD)
    code += e.map_fd(1, m.fd) + e.mov(2, 16) + e.mov(3, 0) + e.call(e.RINGBUF_RESERVE) + \
                     e.insn(0x55, 0, off=2) + e.mov(0, 2) + e.EXIT
    code += e.load(3, 6, 0) + e.store(0, 0, 3) + e.mov(3, 0) + e.store(0, 8, 3) + \
                   e.movr(1, 0) + e.mov(2, 0) + e.call(e.RINGBUF_SUBMIT)
    fd = rig.program(code + e.mov(0, 0) + e.EXIT)
    for turn in range(30):
        for i in range(20):
            assert e.run(rig.kernel, fd, [turn * 20 + i]) == 0
        while buf.consume():
            pass
    assert got == list(range(600))


def test_perf_and_ring_in_one_loop(rig):
    got = []
    perf, send_perf = rig.setup("perf", lambda cpu, data: got.append(("perf", first(data))))
    ring, send_ring = rig.setup("ring", lambda cpu, data: got.append(("ring", first(data))))
    with Poller(rig.kernel, [perf, ring]) as poller:
        send_perf(2)
        send_ring(2)
        while poller.poll(0):
            pass
        assert sorted(got) == [("perf", 0), ("perf", 1), ("ring", 0), ("ring", 1)]
        poller.remove(perf)
        send_perf(2)
        send_ring(1, 9)
        assert poller.poll(1000) == 1 and got[-1] == ("ring", 9)


def test_live_stream_from_another_thread(rig):
    """Writer and reader at once: all of 60,000 records arrive, or are counted as lost by the program."""
    for kind in ("perf", "ring"):
        got, refused = [], []
        buf, emit = rig.setup(kind, lambda cpu, data: got.append(first(data)), step=8, size=1 << 20)

        def write():
            for i in range(60):
                refused.append(emit(1000, i * 1000, 0))
        thread = threading.Thread(target=write)
        thread.start()
        while thread.is_alive():
            buf.poll(20)
        thread.join()
        while buf.consume():
            pass
        assert len(got) + sum(refused) == 60000 and got == sorted(set(got))


def test_wrong_maps(rig):
    m = rig.map("ring", 4096)
    with pytest.raises(InputError):
        PerfBuffer(rig.kernel, m, None)
    with pytest.raises(InputError):
        RingBuffer(rig.kernel, rig.map("perf"), None)
    with pytest.raises(InputError):
        PerfBuffer(rig.kernel, rig.map("perf"), None, pages=3)
    with pytest.raises(InputError):
        PerfBuffer(rig.kernel, rig.map("perf"), None, cpus=[99999])


def test_closing_unhooks_the_program(rig):
    buf, emit = rig.setup("perf", lambda cpu, data: None)
    assert emit(1) == 0
    buf.close()
    assert emit(1) == 1     # -ENOENT: no event in the array any more


def test_user_ring(rig):
    try:
        m = maps.create(rig.kernel, MapSpec("ur", U.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096))
    except NotSupported as error:
        pytest.skip(str(error))
    rig.open.append(m.close)
    ring = UserRing(rig.kernel, m)
    rig.open.append(ring.close)
    e = emitter
    # callback(dynptr, ctx): read 8 bytes of the record (bpf_dynptr_read 201),
    # add them to *ctx's sum; main drains and returns the sum
    main = e.mov(1, 0) + e.store(10, -8, 1) + e.map_fd(1, m.fd) + \
                 e.insn(0x18, 2, 4, imm=0) + e.insn(0) + e.movr(3, 10) + e.add(3, -8)
    main += e.mov(4, 0) + e.call(e.USER_RINGBUF_DRAIN) + e.load(0, 10, -8) + e.EXIT
    callback = e.movr(6, 2) + e.movr(3, 1) + e.mov(1, 0) + e.store(10, -8, 1) + \
                      e.movr(1, 10) + e.add(1, -8) + e.mov(2, 8) + e.mov(4, 0)
    callback += e.mov(5, 0) + e.call(201) + e.load(1, 10, -8) + e.load(2, 6, 0) + \
                      e.insn(0x0f, 2, 1) + e.store(6, 0, 2) + e.mov(0, 0) + e.EXIT
    at = len(e.mov(1, 0) + e.store(10, -8, 1) + e.map_fd(1, m.fd)) // 8
    code = bytearray(main + callback)
    struct.pack_into("=i", code, at * 8 + 4, len(main) // 8 - at - 1)
    try:
        fd = load_with_functions(rig.kernel, bytes(code), len(main) // 8)
    except KernelError as error:
        pytest.skip("cannot load the draining program: %s" % error)
    rig.open.append(lambda: rig.kernel.close(fd))
    total = 0
    for turn in range(3):
        count = 0
        while ring.put(struct.pack("=QQ", turn * 1000 + count, 0)):
            total += turn * 1000 + count
            count += 1
        assert count == 4096 // 24 and ring.pending() == count * 24
        assert ring.put_wait(b"1234567812345678", 50) is False
        assert emitter.run(rig.kernel, fd, [0]) == total
        total = 0
        assert ring.pending() == 0
    with pytest.raises(InputError):
        ring.put(b"x" * 5000)


def load_with_functions(kernel, code, second):
    """Callbacks need func_info: BTF with two functions (Documentation/bpf/btf.rst)."""
    names = b"\0int\0main\0callback\0"
    types = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)                 # 1: int
    types += struct.pack("=III", 0, 13 << 24, 1)                             # 2: int f(void)
    types += struct.pack("=III", 5, 12 << 24 | 1, 2) + struct.pack("=III",
                         10, 12 << 24, 2)     # 3, 4: FUNC global, static
    data = struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(names)) + types + names
    btf = kernel.bpf(U.BPF_BTF_LOAD, {"btf": data, "btf_size": len(data)})
    try:
        return kernel.bpf(U.BPF_PROG_LOAD, {
            "prog_type": U.BPF_PROG_TYPE_RAW_TRACEPOINT, "insns": code, "insn_cnt": len(code) // 8, "license":
            b"GPL\0", "prog_btf_fd": btf,
            "func_info_rec_size": 8, "func_info": struct.pack("=4I", 0, 3, second, 4), "func_info_cnt": 2})
    finally:
        kernel.close(btf)


# -- CPU hot-plug: only where nobody else works on the machine -----------

ONLINE = "/sys/devices/system/cpu/cpu1/online"


def switch(on):
    with open(ONLINE, "w") as f:
        f.write("1" if on else "0")


@pytest.mark.skipif(not os.environ.get("LBC_LAB_KERNEL"),
                    reason="switches a CPU off: only in the lab's virtual machines (LBC_LAB_KERNEL)")
@pytest.mark.skipif(not os.path.exists(ONLINE), reason="CPU 1 cannot be switched off")
@pytest.mark.parametrize("quick", [False, True])
def test_cpu_hotplug(rig, quick):
    got = []
    buf, emit = rig.setup("perf", lambda cpu, data: got.append((cpu, first(data))))

    def wait(seconds, wanted):
        end = time.time() + seconds
        while time.time() < end and not wanted():
            buf.poll(200)
        return wanted()
    try:
        emit(1, 1, 0, 1)
        assert wait(10, lambda: got == [(1, 1)])
        wait(3, lambda: False)
        emit(1, 2, 0, 1)
        switch(False)
        if not quick:
            assert wait(20, lambda: [ring.cpu for ring in buf.rings] == [0])
            assert got == [(1, 1), (1, 2)]      # what the CPU left behind was delivered
            with pytest.raises(KernelError):
                emit(1, 3, 0, 1)
            emit(1, 4, 0, 0)
            assert wait(10, lambda: got[-1] == (0, 4))
        switch(True)
        assert wait(30, lambda: emit(1, 5, 0, 1) == 0 and wait(2, lambda: got[-1] == (1, 5)))
        assert sorted(ring.cpu for ring in buf.rings) == [0, 1]
        assert (1, 2) in got
    finally:
        switch(True)
