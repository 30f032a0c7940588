"""The expressions of the mission document, chapter 2, on the running kernel: what is printed is what was done."""
from __future__ import absolute_import

import os
import socket
import struct
import threading

import pytest

from lbc._py23 import range
from lbc.errors import ExprError, FtraceError, InputError, NotFoundError
from lbc.ftrace.tracing import FtraceSession
from lbc.kallsyms import kernel_symbols

from . import LAB, need_kprobes, skip, tracefs
from .surf import FILES, comm, fork, mine, need_function, one, traced, types

if LAB:
    pytest.skip("these have not been run to their end in the lab yet", allow_module_level=True)
pytestmark = pytest.mark.live


def setup_module():
    types()


AT_FDCWD = 0xffffff9c


def fresh_task(expressions, **options):
    return traced(expressions, fork, **options)


# -- 2.2: entries ------------------------------------------------------------------------------------------------------

def test_entry_and_return():
    """2.2.1, 2.2.3: a new task has its parent's name, memory of one user, and is in no tree yet."""
    need_function("wake_up_new_task")
    events = fresh_task(["p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users pid=%0->pid tgid=p->tgid "
                         "left=%0->se.run_node.rb_left", "r wake_up_new_task"], wanted=2)
    entry, back = one(events, "f0"), one(events, "f1")
    # kernels with endbr64 at the entry (6.x) show the instruction behind it
    assert entry.function == "wake_up_new_task" and entry.offset in (0, 4)
    assert back.function == "wake_up_new_task" and back.caller and back.time >= entry.time
    assert entry.args["comm"] == comm() and entry.args["users"] == 1 and entry.args["left"] == 0
    assert entry.args["pid"] == entry.args["tgid"] > os.getpid() or entry.args["pid"] < os.getpid()
    assert entry.task == comm() and entry.cpu in range(os.sysconf("SC_NPROCESSORS_CONF"))


def test_filters():
    """2.2.4 and every other form that the kernel takes."""
    need_function("wake_up_new_task")
    name = comm()
    yes = ['comm=="%s"' % name, 'comm!="|&( )"', 'comm~"*%s"' % name[-3:], '(pid>0)&&(pid<4194305)', '!(pid==0)',
           'pid&0x7fffffff', 'common_pid==%d' % os.getpid(), 'comm=="%s"||comm=="(x y)"' % name, 'sig==17',
           'COMM=="%s"' % name]
    no = ['comm=="no | such"', 'pid<0', 'common_pid!=%d' % os.getpid(), 'comm~"?"', 'sig==1']
    text = "p wake_up_new_task comm=%0->comm pid=S%0->pid sig=S%0->exit_signal f:"
    # sig: exit_signal of a child made by fork, SIGCHLD
    events = mine(fresh_task([text + condition for condition in yes + no], wanted=len(yes)))
    assert sorted(event.name for event in events) == sorted("f%d" % n for n in range(len(yes)))


def test_arguments_of_open(tmp_path):
    """2.2.2: numbers and formats; names beside numbers; 2.3: what is returned."""
    function = need_function("do_filp_open", "do_file_open")
    path = str(tmp_path / "a file")
    with open(path, "w"):
        pass

    def work():
        fd = os.open(path, os.O_RDONLY)
        os.lseek(fd, 0, os.SEEK_SET)
        os.close(fd)
    events = mine(traced([
        "p %s dfd=%%0 x=X%%0 s=S%%0 name=%%1->name named=pathname->name f:name==\"%s\"" % (function, path),
        "r %s filp=$retval hex=X$retval pos=$retval->f_pos mode=$retval->f_mode" % function], work, wanted=2))
    entry = [event for event in events if event.name == "f0"]
    assert len(entry) == 1
    assert entry[0].args == {"dfd": AT_FDCWD, "x": AT_FDCWD, "s": -100, "name": path, "named": path}
    back = [event for event in events if event.name == "f1"]
    assert back and all(event.args["pos"] == 0 for event in back)
    assert all(event.args["filp"] == event.args["hex"] for event in back)
    assert any(event.args["mode"] & 1 for event in back)    # FMODE_READ, include/linux/fs.h


def test_inside_a_function():
    """2.2.5: an offset, a register; a cast of a register gives the same member as the argument."""
    function = need_function("wake_up_new_task")
    # the call to the tracer is the first instruction or stands behind endbr64 (4 bytes): the next begins at 5 or 9
    for offset in (5, 9):
        try:
            events = traced(["p %s+%d di=X!(u64)%%di comm=!(struct task_struct *)%%di->comm" % (function, offset),
                             "p %s p=X%%0" % function], fork, wanted=2)
            break
        except (FtraceError, InputError) as error:
            assert "instruction" in str(error)
    inside, entry = one(events, "f0"), one(events, "f1")
    assert inside.offset == offset and inside.args == {"di": entry.args["p"], "comm": comm()}


def test_globals_and_addresses():
    """2.6: the value of a symbol, members behind it, the same by its address."""
    need_function("wake_up_new_task")
    try:
        address = kernel_symbols().address("task_group_cache")
    except NotFoundError:
        skip("has no task_group_cache")
    event = one(fresh_task([
        "p wake_up_new_task point=@task_group_cache name=!(struct kmem_cache*)@task_group_cache->name "
        "size=!(struct kmem_cache*)@task_group_cache->size again=@0x%x name2=!(struct kmem_cache*)@0x%x->name "
        "jiffies=@jiffies" % (address, address)]))
    assert event.args["point"] == event.args["again"] >= 1 << 63
    assert event.args["name"] == event.args["name2"]
    if os.path.exists("/sys/kernel/slab/task_group"):
        with open("/sys/kernel/slab/task_group/slab_size") as f:
            assert event.args["size"] == int(f.read())
    assert event.args["jiffies"]


# -- 2.4: packets ------------------------------------------------------------------------------------------------------

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def ping(data=b"lbc-ping"):
    """One echo request to 127.0.0.1; its checksum as it stands in the packet, read as a little-endian number."""
    head = struct.pack("!BBHHH", 8, 0, 0, 0x1234, 0x0042)
    total = checksum(head + data)
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    try:
        sock.sendto(struct.pack("!BBHHH", 8, 0, total, 0x1234, 0x0042) + data, ("127.0.0.1", 0))
    finally:
        sock.close()
    return struct.unpack("<H", struct.pack(">H", total))[0]


def test_ping():
    """As printed in 2.4, where the packet's data begins with the IP header."""
    need_function("ip_rcv")
    sums = []
    events = traced(
        ["p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr "
         "ip_dst=@(struct iphdr *)l3%0->daddr data=X@(struct iphdr *)l3%0->sdata[1] type=@(struct icmphdr*)l3%0->type "
         "B16_id=@(struct icmphdr*)l3%0->un.echo.id text=@(struct icmphdr*)l3%0->Sdata "
         "f:proto==1&&ip_src==127.0.0.1&&type==8"], lambda: sums.append(ping(b"lbc-ping\0\0")))
    assert len(events) == 1, [event.text for event in events]
    args = events[0].args
    assert args["proto"] == 1 and args["ip_src"] == "127.0.0.1" and args["ip_dst"] == "127.0.0.1"
    assert args["data"] == sums[0] and args["type"] == 8 and args["text"] == "lbc-ping"
    assert "ip_src=127.0.0.1 ip_dst=127.0.0.1 data=0x%x" % sums[0] in events[0].text
    assert "B16_id=0x1234" in events[0].text


def test_tcp():
    """Ports and addresses of a connection over the loopback, in both byte orders."""
    need_function("tcp_v4_rcv")
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    port = server.getsockname()[1]
    ports = []

    def work():
        client = socket.create_connection(("127.0.0.1", port))
        ports.append(client.getsockname()[1])
        client.close()
    events = traced(
        ["p tcp_v4_rcv b16_to=@(struct tcphdr *)l4%%0->dest b16_from=@(struct tcphdr *)l4%%0->source "
         "raw=@(struct tcphdr *)l4%%0->dest syn=@(struct tcphdr *)l4%%0->syn ack=@(struct tcphdr *)l4%%0->ack "
         "f:b16_to==%d" % port], work)
    server.close()
    assert events
    swapped = struct.unpack("<H", struct.pack(">H", port))[0]
    assert all("b16_to=%d b16_from=%d raw=%d" % (port, ports[0], swapped) in event.text for event in events)
    assert [event.args["syn"] for event in events][0] == 1 and events[0].args["ack"] == 0


def test_receive_core():
    """2.4 by the document's own function; since 5.7 its argument is a pointer to the pointer.  Where only a copy of it
    is left (.constprop.0), lbc says so."""
    need_function("__netif_receive_skb_core")
    sums = []
    events = traced(["p __netif_receive_skb_core proto=@(struct iphdr *)l3%0->protocol "
                     "ip_src=@(struct iphdr *)%0->saddr data=X@(struct iphdr *)l3%0->sdata[1] "
                     "f:proto==1&&ip_src==127.0.0.1"], lambda: sums.append(ping()))
    assert sums[0] in [event.args["data"] for event in events]


# -- 2.5: events -------------------------------------------------------------------------------------------------------

def test_event():
    """A filter on a field; the line is the kernel's own, its fields are arguments."""
    pids = []
    events = traced(["e sched/sched_process_fork f:parent_pid==%d" % os.getpid()], lambda: pids.append(fork()))
    event = one(events, "sched_process_fork")
    assert event.args["child_pid"] == pids[0] and "comm=%s" % comm() in event.text and event.function is None


def test_events_by_wildcard():
    names = [name for name in FILES.listdir(tracefs() + "/events/sched") if name.startswith("sched_process_")]
    events = traced(["e sched/sched_process_*"], fork, wanted=3)
    found = set(event.name for event in events)
    assert "sched_process_fork" in found and "sched_process_exit" in found and found <= set(names)


# -- beyond ------------------------------------------------------------------------------------------------------------

def test_enum_bitfield_array_and_container():
    """Members of every kind, against what /proc and the system calls say."""
    need_function("wake_up_new_task")
    event = one(fresh_task([
        "p wake_up_new_task nice=S%0->static_prio exec=%0->in_execve "
        "up=container_of(&p->se, struct task_struct, se)->pid pid=p->pid "
        "where=X&p->comm task=X%0 mask=%0->cpus_mask.bits[0] ids=%0->rcu_read_lock_nesting"]))
    assert event.args["nice"] == 120 + os.nice(0) and event.args["exec"] == 0
    assert event.args["up"] == event.args["pid"]
    offset = event.args["where"] - event.args["task"] if isinstance(event.args["where"], int) else None
    record = types().record("struct", "task_struct")
    known = [member for member in record.members if member.name == "comm"]
    assert offset is None or not known or offset == known[0].bit_offset // 8


def test_wildcards():
    need_kprobes()
    need_function("vfs_statx")
    with FtraceSession(["p vfs_stat*"], types()) as session:
        names = [entry.place for entry in session.plan.entries]
        assert "vfs_statx" in names and all(name.startswith("vfs_stat") for name in names)
        session.start()
        os.stat("/proc/self/stat")
        assert "vfs_statx" in [event.function for event in mine(session.drain())]


def test_kernel_stack():
    need_function("wake_up_new_task")
    event = one(fresh_task(["p wake_up_new_task"], stack=True))
    frames = [frame.partition("+")[0] for frame in event.stack]
    assert any("clone" in frame or "fork" in frame for frame in frames), event.stack


def test_only_one_process():
    """-p: its threads and what they start, nobody else."""
    events = traced(["e sched/sched_process_fork"], fork, pid=os.getpid())
    assert [event.pid for event in events] == [os.getpid()]
    started = []

    def thread():
        started.append(fork())
    runner = threading.Thread(target=thread)

    def work():
        runner.start()
        runner.join()
    events = traced(["e sched/sched_process_fork"], work, pid=os.getpid(), wanted=2)
    assert started[0] in [event.args["child_pid"] for event in events]


def test_only_one_name():
    assert len(traced(["e sched/sched_process_fork"], fork, comm=comm())) >= 1
    assert traced(["e sched/sched_process_fork f:child_pid>0"], fork, comm="no such (name)", wanted=0) == []


@pytest.mark.parametrize("text, words", [
    ("p wake_up_new_task c=%0->com", "did you mean `comm`"), ("p wake_up_new_tas", "wake_up_new_task"),
    ("p wake_up_new_task c=%3", "1 argument"), ("p wake_up_new_task c=%0->se", "hint: name a member"),
    ("p wake_up_new_task c=%0.comm", "->"), ("p wake_up_new_task c=%0->comm f:com==\"x\"", "comm"),
    ("e sched/sched_process_frk", "sched_process_fork"), ("e shed/sched_switch", "sched"),
    ("r wake_up_new_task c=$retval", "returns nothing")])
def test_refusals(text, words):
    """One message that says what is wrong and what is near; nothing reaches the kernel."""
    if text[0] != "e":
        need_kprobes()
    before = FILES.read(tracefs() + "/kprobe_events") if text[0] != "e" else b""
    with pytest.raises((ExprError, NotFoundError)) as error:
        session = FtraceSession([text], types())
        session.start()
        session.close()
    assert words in str(error.value)
    if text[0] != "e":
        assert FILES.read(tracefs() + "/kprobe_events") == before
