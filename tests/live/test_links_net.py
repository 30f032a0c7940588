"""Attachments to interfaces, sockets, cgroups, name spaces: counted packets; ip, tc and bpftool see nothing
afterwards."""
from __future__ import absolute_import

import errno
import os
import signal
import socket
import subprocess
import time

import pytest

from lbc import residue
from lbc.bpf.links import attach, leftovers, netlink
from lbc.bpf.links.cgroup import query
from lbc.bpf.syscalls import kernel
from lbc.errors import InputError, KernelError, NotFoundError, NotSupported
from lbc.uapi import bpf as U
from . import kernel_version, need_version, skip
from .test_links import Setup, bpf, child  # noqa: F401  (fixture)

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True, scope="module")
def loopback():
    os.system("ip link set lo up")


def send(times=10):
    """``times`` UDP packets over lo."""
    to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to.bind(("127.0.0.1", 0))
    to.settimeout(5)
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for _ in range(times):
            source.sendto(b"x", to.getsockname())
            to.recv(16)
    finally:
        source.close()
        to.close()


def counted(bpf, section, expected, target=None, load=None, work=send, **options):  # noqa: F811
    program, counter = bpf.load(section, **(load or {}))
    with attach(kernel, program, target, **options) as link:
        work()
        assert counter.value == expected
        detail = link.detail
    work()
    assert counter.value == expected
    assert not os.path.exists(os.path.join(residue.RUN_DIR, residue.tag()))
    return detail


def on_interface():
    """What ip, tc and bpftool say of lo."""
    return subprocess.check_output("ip -o link show lo; tc qdisc show dev lo; tc filter show dev lo ingress 2>&1; "
                                   "tc filter show dev lo egress 2>&1", shell=True).decode()


@pytest.fixture
def unchanged():
    before = on_interface()
    yield
    assert on_interface() == before


@pytest.mark.parametrize("mode", [None, "skb"])
@pytest.mark.parametrize("way", [None, "link", "netlink"])
def test_xdp(bpf, unchanged, way, mode):  # noqa: F811
    detail = counted(bpf, "xdp", 10, "lo", {"result": 2}, way=way, mode=mode)
    assert ("netlink" in detail) == (way == "netlink")


def test_xdp_errors(bpf):  # noqa: F811
    program, _ = bpf.load("xdp", result=2)
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, program, "loo")
    assert "lo" in caught.value.near
    with pytest.raises(InputError):
        attach(kernel, program, "lo", mode="fast")
    with pytest.raises(KernelError):
        attach(kernel, program, "lo", mode="hw")
    for way in ("link", "netlink"):
        other, _ = bpf.load("xdp", result=2)
        with attach(kernel, program, "lo", way=way):
            with pytest.raises(KernelError) as caught:
                attach(kernel, other, "lo")
            assert "already" in str(caught.value)


def test_xdp_update(bpf, unchanged):  # noqa: F811
    first, one = bpf.load("xdp", result=2)
    second, two = bpf.load("xdp", result=2)
    with attach(kernel, first, 1, way="link") as link:
        send(4)
        link.update(second)
        send(6)
        assert (one.value, two.value) == (4, 6)


@pytest.mark.parametrize("way", [None, "tcx", "clsact"])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_tc(bpf, unchanged, direction, way):  # noqa: F811
    if way == "tcx":
        need_version(6, 6, "tcx")
    section = "tc" if kernel_version() < (6, 6) or way == "clsact" else "tcx/" + direction
    detail = counted(bpf, section, 10, "lo", {"result": -1}, direction=direction, way=way)
    assert ("tcx" in detail) == (kernel_version() >= (6, 6) and way != "clsact")


def test_tc_place(bpf, unchanged):  # noqa: F811
    program, counter = bpf.load("tc", result=-1)
    with attach(kernel, program, "lo", direction="ingress", handle=7, priority=9) as link:
        assert "pref 9" in on_interface() and "handle 0x7" in on_interface()
        other, _ = bpf.load("tc", result=-1)
        with pytest.raises(KernelError) as caught:
            attach(kernel, other, "lo", direction="ingress", handle=7, priority=9)
        assert caught.value.errno == errno.EEXIST
        second = attach(kernel, other, "lo", direction="ingress", way="clsact")
        link.close()  # ours made clsact, yet another filter is on it: it stays
        assert "clsact" in on_interface() and "pref 9" not in on_interface()
        send(3)
        second.close()
    netlink.delete_clsact(kernel, 1)


def test_foreign_clsact_stays(bpf):  # noqa: F811
    subprocess.check_call(["tc", "qdisc", "add", "dev", "lo", "clsact"])
    try:
        counted(bpf, "tc", 10, "lo", {"result": -1}, direction="ingress", way="clsact")
        assert "clsact" in on_interface()
    finally:
        subprocess.check_call(["tc", "qdisc", "del", "dev", "lo", "clsact"])


def test_netkit(bpf):  # noqa: F811
    need_version(6, 7, "netkit")
    if os.system("ip link add lbcnk0 type netkit mode l3 2>/dev/null") or not os.path.exists("/sys/class/net/lbcnk0"):
        try:
            program, _ = bpf.load("netkit/primary")
            with pytest.raises(NotSupported):
                attach(kernel, program, "lo")
        finally:
            skip("no netkit devices can be made here (lo is refused, as it ought to be)")
    try:
        program, _ = bpf.load("netkit/primary")
        with attach(kernel, program, "lbcnk0") as link:
            assert link.is_bpf_link
    finally:
        os.system("ip link del lbcnk0")


def test_socket_filter(bpf):  # noqa: F811
    to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to.bind(("127.0.0.1", 0))
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def work():
        for _ in range(5):
            source.sendto(b"x", to.getsockname())
    try:
        counted(bpf, "socket", 5, to, {"result": 100}, work)
        program, _ = bpf.load("socket")
        with pytest.raises(InputError):
            attach(kernel, program, 3)
        to.setblocking(False)
        while True:
            try:
                to.recv(10)
            except (OSError, IOError, socket.error):
                break
        with attach(kernel, program, to):  # result 0: drop
            work()
            with pytest.raises((OSError, IOError, socket.error)):
                to.recv(10)
    finally:
        to.close()
        source.close()


def test_reuseport(bpf):  # noqa: F811
    to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to.setsockopt(socket.SOL_SOCKET, 15, 1)  # SO_REUSEPORT
    to.bind(("127.0.0.1", 0))
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        program, counter = bpf.load("socket")
        with attach(kernel, program, to, reuseport=True):
            for _ in range(5):
                source.sendto(b"x", to.getsockname())
            assert counter.value == 5
    finally:
        to.close()
        source.close()


# section, calls of the worker that count, load options
CGROUP = [("cgroup_skb/egress", 20, {}), ("cgroup_skb/ingress", 20, {}), ("cgroup/sock_create", 2, {}),
          ("cgroup/bind4", 1, {}),
          ("cgroup/sendmsg4", 10, {}), ("cgroup/recvmsg4", 10, {}), ("cgroup/post_bind4", 1, {}),
          ("cgroup/setsockopt", 1, {}),
          ("cgroup/sysctl", 1, {}), ("cgroup/connect4", 1, {}), ("cgroup/dev", 1, {})]


def worker():
    to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to.bind(("127.0.0.1", 0))
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(10):
        source.sendto(b"x", to.getsockname())
        to.recvfrom(10)
    source.setsockopt(socket.SOL_SOCKET, 6, 1)
    source.connect(to.getsockname())
    open("/proc/sys/kernel/ostype").read()
    open("/dev/null").close()


def work_in(cgroup, work=worker):
    """Runs ``work`` in a process of its own inside ``cgroup``; forked, as a new Python takes a second in the lab."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with open(cgroup + "/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    for _ in range(100):
        with open(cgroup + "/cgroup.procs") as f:
            if not f.read():
                return
        time.sleep(0.02)


def shown(cgroup):
    """[program ids] that bpftool shows on a cgroup; before 6.1 the kernel's own answer (bpftool 7.1 asks for flags that
    came with it, and fails)."""
    if kernel_version() < (6, 1):
        fd, found = os.open(cgroup, os.O_RDONLY), []
        for kind in range(64):
            try:
                found += query(kernel, fd, kind)
            except KernelError:  # not an attach type of cgroups
                pass
        os.close(fd)
        return found
    lines = subprocess.check_output(["bpftool", "cgroup", "show", cgroup]).decode().splitlines()
    return [int(line.split()[0]) for line in lines if line[:1].isdigit()]


@pytest.mark.parametrize("way", [None, "attach"])
@pytest.mark.parametrize("section, least, load", CGROUP, ids=[row[0] for row in CGROUP])
def test_cgroup(bpf, cgroup, section, least, load, way):  # noqa: F811
    program, counter = bpf.load(section, result=1, **load)
    with attach(kernel, program, cgroup, way=way) as link:
        work_in(cgroup)
        seen = counter.value
        assert seen >= least if section in ("cgroup/dev", "cgroup/sysctl", "cgroup/setsockopt",
                                            "cgroup/sock_create") else seen in (least, least // 2)
        assert link.is_bpf_link == (way is None)
        if way is None:
            number = kernel.info(program.fd, U.BPF_PROG_INFO, U.BPF_PROG_INFO_SIZE).get("id")
            assert number in shown(cgroup)
    work_in(cgroup)
    assert counter.value == seen
    if way == "attach":  # a link goes with its fd; this way leaves what nobody takes away
        assert shown(cgroup) == []


def test_cgroup_errors_and_flags(bpf, cgroup):  # noqa: F811
    program, counter = bpf.load("cgroup_skb/egress", result=1)
    for flags in ("multi", "override", "none", U.BPF_F_ALLOW_MULTI):
        with attach(kernel, program, cgroup, flags=flags) as link:
            assert "BPF_PROG_ATTACH" in link.detail
    with pytest.raises(NotFoundError):
        attach(kernel, program, cgroup + "/none")
    with pytest.raises(KernelError) as caught:
        attach(kernel, program, "/tmp")
    assert "version 2" in str(caught.value)
    plain, _ = bpf.load("cgroup/skb", result=1)
    with pytest.raises(InputError):
        attach(kernel, plain, cgroup)
    with attach(kernel, plain, cgroup, attach_type=U.BPF_CGROUP_INET_INGRESS):
        pass


def test_sockops(bpf, cgroup):  # noqa: F811
    program, counter = bpf.load("sockops", result=1)

    def connect():
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        client = socket.create_connection(server.getsockname())
        server.accept()[0].close()
        client.close()
    with attach(kernel, program, cgroup):
        work_in(cgroup, connect)
        assert counter.value >= 2  # both ends of the connection
    time.sleep(0.3)


@pytest.mark.parametrize("way", [None, "attach"])
def test_flow_dissector(bpf, way):  # noqa: F811
    program, _ = bpf.load("flow_dissector")
    try:
        link = attach(kernel, program, way=way)
    except KernelError as error:
        skip("flow dissector: %s" % error.what)
    with link:
        assert ("PROG_ATTACH" in link.detail) == (way == "attach")
        other, _ = bpf.load("flow_dissector")
        if way is None:
            with pytest.raises(KernelError):
                attach(kernel, other)
    attach(kernel, program, way=way).close()  # the place is free again


def test_sk_lookup(bpf):  # noqa: F811
    need_version(5, 9, "sk_lookup")
    counted(bpf, "sk_lookup", 10, None, {"result": 1})


@pytest.mark.parametrize("hook", ["input", "output"])
def test_netfilter(bpf, hook):  # noqa: F811
    need_version(6, 4, "netfilter programs")
    try:
        counted(bpf, "netfilter", 10, None, {"result": 1}, hook=hook, priority=-5)
    except NotSupported as error:
        skip(error.what)


@pytest.mark.parametrize("section", ["sk_skb/stream_verdict", "sk_skb/verdict", "sk_msg"])
@pytest.mark.parametrize("way", [None, "attach"])
def test_socket_map(bpf, section, way):  # noqa: F811
    if section == "sk_skb/verdict":
        need_version(5, 13, "sk_skb/verdict")
    table = kernel.bpf(U.BPF_MAP_CREATE, {"map_type": U.BPF_MAP_TYPE_SOCKMAP, "key_size": 4, "value_size": 4,
                                          "max_entries": 4})
    try:
        program, counter = bpf.load(section, result=1)
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        client = socket.create_connection(server.getsockname())
        peer = server.accept()[0]
        try:
            with attach(kernel, program, table, way=way) as link:
                import struct
                kernel.bpf(U.BPF_MAP_UPDATE_ELEM,
                           {"map_fd": table, "key": b"\0\0\0\0", "value": struct.pack("=I", client.fileno())})
                client.sendall(b"abc") if section == "sk_msg" else peer.sendall(b"abc")
                time.sleep(0.3)
                assert counter.value == 1
                assert link.is_bpf_link == (way is None and kernel_version() >= (6, 10))
        finally:
            for sock in (client, peer, server):
                sock.close()
    finally:
        kernel.close(table)


LASTING = [("xdp", "'lo', way='netlink'"), ("tc", "'lo', direction='ingress', way='clsact'")]


@pytest.mark.parametrize("section, arguments", LASTING, ids=["xdp", "tc"])
def test_killed_run_is_swept(section, arguments, unchanged):
    before = on_interface()
    process = child(section, arguments, "wait()")
    process.kill()
    process.communicate()
    assert on_interface() != before
    other = child("raw_tp/sys_enter", "", "pass")
    other.communicate()
    assert on_interface() == before


@pytest.mark.parametrize("section, arguments", LASTING, ids=["xdp", "tc"])
def test_terminated_run_cleans_up(section, arguments, unchanged):
    process = child(section, arguments, "wait()")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_killed_run_on_a_cgroup_is_swept(cgroup):
    process = child("cgroup_skb/egress", "%r, way='attach'" % cgroup, "wait()")
    process.kill()
    process.communicate()
    assert len(shown(cgroup)) == 1
    leftovers.sweep(kernel, again=True)
    assert shown(cgroup) == []
