"""Which way an attachment takes on which kernel, and that nothing is left: on the kernel of tests/oldkernel.py."""
from __future__ import absolute_import

import errno
import os
import struct
import subprocess
import sys

import pytest

from lbc._py23 import to_text
from lbc import residue, tracefs
from lbc.bpf.links import attach, can_attach, kfunc, leftovers, perf, tracing
from lbc.errors import InputError, KernelError, NotFoundError, NotSupported, PrivilegeError
from lbc.uapi import bpf as U
from tests import linkskit
from tests.oldkernel import OldKernel, TRACEFS

EXIT = linkskit.insn(0xb7) + linkskit.insn(0x95)


def program(kernel, section, **fields):
    if kernel.version < (4, 17):
        fields["expected_attach_type"] = 0
    if kernel.version < (5, 0):
        fields["kern_version"] = kernel.version[0] << 16 | kernel.version[1] << 8
    return linkskit.Program(section, EXIT, kernel, **fields)


def clean(kernel, prog):
    prog.close()
    assert not kernel.open_fds()
    assert not kernel.events
    assert not kernel.bad_closes


@pytest.mark.parametrize("version, options, expected", [
    ((4, 9), {}, "tracefs event"), ((4, 14), {}, "tracefs event"), ((4, 17), {}, "perf ioctl"),
    ((5, 10), {}, "perf ioctl"),
    ((5, 15), {}, "perf link"), ((6, 12), {}, "perf link"), ((6, 12), {"way": "perf"}, "perf ioctl"),
    ((6, 12), {"way": "tracefs"}, "tracefs event"), ((6, 12), {"maxactive": 8}, "tracefs event")])
@pytest.mark.parametrize("section", ["kprobe/vfs_read", "kretprobe/vfs_read"])
def test_kprobe_ways(version, options, expected, section):
    kernel = OldKernel(version)
    prog = program(kernel, section)
    link = attach(kernel, prog, **options)
    assert expected in link.detail
    assert ("perf link" in link.detail) == link.is_bpf_link
    assert kernel.perf[-1].prog is kernel.progs[0]
    if "tracefs" in expected:
        (name, line), = kernel.events.items()
        assert name.startswith(residue.tag() + "/") and len(name.split("/")[1]) <= 63
        kind = ("r8" if options.get("maxactive") else "r") if "kret" in section else ("p8" if options.get("maxactive")
                                                                                      else "p")
        assert line.split(":")[0] == (kind if "kret" in section else "p")
        assert line.split(" ")[1] == "vfs_read"
    else:
        assert not kernel.events
        assert struct.unpack_from("=Q", kernel.perf[-1].attr, 8)[0] == ("kret" in section)  # config bit 0: retprobe
    link.close()
    link.close()
    clean(kernel, prog)


def test_kprobe_without_pmu_and_tracefs():
    kernel = OldKernel((5, 4), pmu=False, tracefs=False)
    prog = program(kernel, "kprobe/vfs_read")
    with pytest.raises(NotSupported):
        attach(kernel, prog)
    clean(kernel, prog)


def test_kprobe_offset_and_cookie():
    kernel = OldKernel((5, 15))
    prog = program(kernel, "kprobe/vfs_read+0x10")
    with attach(kernel, prog, cookie=7) as link:
        assert struct.unpack_from("=Q", kernel.perf[-1].attr, 64)[0] == 0x10
        assert kernel.links[-1].fields["link_create.perf_event.bpf_cookie"] == 7
        assert link.fd is not None
    clean(kernel, prog)
    kernel = OldKernel((5, 10))
    prog = program(kernel, "kprobe/vfs_read")
    with pytest.raises(NotSupported) as caught:
        attach(kernel, prog, cookie=7)
    assert "5.15" in str(caught.value)
    clean(kernel, prog)


@pytest.mark.parametrize("version", [(4, 9), (4, 19), (6, 1), (6, 12)])
def test_missing_function(version):
    kernel = OldKernel(version)
    prog = program(kernel, "kprobe/vfs_raed")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, prog)
    assert "vfs_read" in caught.value.near
    clean(kernel, prog)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EINVAL])
def test_duplicate_function_is_explained(number):
    kernel = OldKernel((6, 12))
    kernel.files["/proc/kallsyms"] += b"ffffffff81400000 t twin\nffffffff81500000 t twin\n"

    def refuse(*args, **kwargs):
        kernel._fail("perf_event_open", number)
    kernel.perf_event_open = refuse
    prog = program(kernel, "kprobe/twin")
    with pytest.raises(KernelError) as caught:
        attach(kernel, prog)
    assert "2 functions" in str(caught.value) and "0xffffffff81500000" in str(caught.value)
    clean(kernel, prog)


def test_notrace_and_boundary_are_explained():
    kernel = OldKernel((6, 1))
    kernel.files["/proc/kallsyms"] += b"ffffffff81400000 t hidden\n"
    error = KernelError("x", "perf_event_open", errno.EINVAL)
    assert "notrace" in str(kfunc.explain(kernel, error, "hidden", 0, "kprobe"))
    error = KernelError("x", "perf_event_open", errno.EILSEQ)
    assert "start of an instruction" in str(kfunc.explain(kernel, error, "vfs_read", 1, "kprobe"))
    error = KernelError("x", "perf_event_open", errno.EPERM)
    assert isinstance(kfunc.explain(kernel, error, "vfs_read", 1, "kprobe"), PrivilegeError)
    kernel.files["/proc/kallsyms"] += b"ffffffff81400000 t gone.isra.0\n"
    error = KernelError("x", "perf_event_open", errno.EINVAL)
    assert kfunc.explain(kernel, error, "gone", 0, "kprobe").near[0] == "gone.isra.0"


def test_old_pmu_refuses_a_dot_tracefs_takes_it():
    kernel = OldKernel((4, 19))
    kernel.files["/proc/kallsyms"] += b"ffffffff81400000 t gone.isra.0\n"
    real = kernel.perf_event_open

    def refuse(attr, *args, **kwargs):
        if struct.unpack_from("=I", attr)[0] == 6:
            kernel._fail("perf_event_open", errno.EINVAL)
        return real(attr, *args, **kwargs)
    kernel.perf_event_open = refuse
    prog = program(kernel, "kprobe/gone.isra.0")
    with attach(kernel, prog):
        name, = kernel.events
        assert "." not in name
    clean(kernel, prog)


@pytest.mark.parametrize("text, expected", [
    ("vfs_read", ("vfs_read", 0)), ("vfs_read+0x10", ("vfs_read", 16)), ("mod:func+8", ("mod:func", 8)),
    (0xffff, (0xffff, 0)),
    ("0xffffffff81000000", (0xffffffff81000000, 0))])
def test_parse_target(text, expected):
    assert kfunc.parse_target(text) == expected


@pytest.mark.parametrize("text", ["", "vfs_read+x", "+8"])
def test_parse_target_refuses(text):
    with pytest.raises(InputError):
        kfunc.parse_target(text)


@pytest.mark.parametrize("version, function", [((4, 14), b"sys_openat"), ((4, 19), b"__x64_sys_openat"),
                                               ((6, 12), b"__x64_sys_openat")])
def test_ksyscall(version, function):
    kernel = OldKernel(version)
    prog = program(kernel, "ksyscall/openat")
    with attach(kernel, prog) as link:
        assert " %s" % function.decode() in link.detail or function.decode() in list(kernel.events.values())[0]
    clean(kernel, prog)
    prog = program(kernel, "ksyscall/opnat")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, prog)
    assert caught.value.near == ["openat"]
    clean(kernel, prog)


@pytest.mark.parametrize("version, detail", [((4, 9), "perf ioctl"), ((5, 15), "perf link")])
def test_tracepoint(version, detail):
    kernel = OldKernel(version)
    prog = program(kernel, "tracepoint/sched/sched_switch")
    with attach(kernel, prog) as link:
        assert link.detail.endswith(detail)
        assert struct.unpack_from("=IIQ", kernel.perf[-1].attr)[::2] == (2, 300)
    clean(kernel, prog)
    prog = program(kernel, "tp/sched/sched_swich")
    with pytest.raises(NotFoundError) as caught:
        attach(kernel, prog)
    assert caught.value.near[0] == "sched/sched_switch"
    clean(kernel, prog)
    prog = program(kernel, "tp/sched")
    with pytest.raises(InputError):
        attach(kernel, prog)
    clean(kernel, prog)


def test_one_program_per_event_before_4_15():
    kernel = OldKernel((4, 14))
    real = kernel.ioctl

    def refuse(fd, request, arg=0):
        if request & 0xffff == 0x2408:
            kernel._fail("ioctl", errno.EEXIST)
        return real(fd, request, arg)
    kernel.ioctl = refuse
    prog = program(kernel, "tracepoint/sched/sched_switch")
    with pytest.raises(KernelError) as caught:
        attach(kernel, prog)
    assert "4.15" in str(caught.value)
    clean(kernel, prog)


def test_kprobe_multi_one_by_one():
    kernel = OldKernel((5, 10))
    prog = program(kernel, "kprobe.multi/vfs_*")
    with attach(kernel, prog) as link:
        assert len(link.links) == 3 and "3 single kprobes" in link.detail
        assert len(kernel.perf) == 3
    clean(kernel, prog)


def test_kprobe_session_has_no_fallback():
    kernel = OldKernel((5, 10))
    prog = program(kernel, "kprobe.session/vfs_read")
    with pytest.raises(NotSupported):
        attach(kernel, prog)
    clean(kernel, prog)


def test_multi_skips_what_cannot_be_probed_and_cleans_up_on_failure():
    kernel = OldKernel((5, 10))
    real, seen = kernel.perf_event_open, []

    def refuse(attr, *args, **kwargs):
        seen.append(1)
        if len(seen) == 2:
            kernel._fail("perf_event_open", seen_errno[0])
        return real(attr, *args, **kwargs)
    kernel.perf_event_open = refuse
    prog = program(kernel, "kprobe.multi/vfs_*")
    seen_errno = [errno.EILSEQ]
    with attach(kernel, prog) as link:
        assert len(link.links) == 2 and "1 left out" in link.detail
    del seen[:]
    seen_errno[0] = errno.EPERM
    with pytest.raises(PrivilegeError):
        attach(kernel, prog)
    clean(kernel, prog)


@pytest.mark.parametrize("version, kind", [((5, 10), "BPF_PROG_ATTACH"), ((4, 10), "BPF_PROG_ATTACH")])
def test_cgroup_command(version, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(residue, "RUN_DIR", str(tmp_path / "run"))
    kernel = OldKernel(version)
    prog = program(kernel, "cgroup_skb/egress")
    link = attach(kernel, prog, 77, flags="none")
    assert kind in link.detail
    assert [row[1:] for row in kernel.attached] == [(77, U.BPF_CGROUP_INET_EGRESS)]
    journal = tmp_path / "run" / residue.tag()
    boot, line = journal.read_text().splitlines()
    assert boot == "boot " + BOOT and line.startswith("cgroup 1 ")
    link.close()
    assert not kernel.attached and not journal.exists()
    clean(kernel, prog)


def test_cgroup_link_first(tmp_path):
    kernel = OldKernel((5, 7))
    prog = program(kernel, "cgroup_skb/egress")
    with attach(kernel, prog, str(tmp_path)) as link:
        assert link.is_bpf_link
    clean(kernel, prog)


def test_raw_tracepoint():
    kernel = OldKernel((4, 17))
    prog = program(kernel, "raw_tp/sched_switch")
    with attach(kernel, prog) as link:
        assert link.is_bpf_link
    with pytest.raises(NotSupported):
        attach(kernel, prog, cookie=3)
    clean(kernel, prog)


def test_trampolines_missing_is_not_supported(monkeypatch):
    kernel = OldKernel((5, 10))
    prog = program(kernel, "fentry/vfs_read", attach_btf_id=1)
    kernel.refuse.append(("BPF_RAW_TRACEPOINT_OPEN", 524, lambda attr: True))
    kernel.refuse.append(("BPF_LINK_CREATE", 524, lambda attr: True))
    with pytest.raises(NotSupported):
        attach(kernel, prog)
    del kernel.refuse[:]
    kernel.refuse.append(("BPF_RAW_TRACEPOINT_OPEN", errno.EPERM, lambda attr: True))
    monkeypatch.setattr(tracing, "is_root", lambda: True)
    with pytest.raises(NotSupported):
        attach(kernel, prog)
    monkeypatch.setattr(tracing, "is_root", lambda: False)
    with pytest.raises(PrivilegeError):
        attach(kernel, prog)
    clean(kernel, prog)


def test_perf_event_closes_all_when_one_cpu_fails():
    kernel = OldKernel((5, 15))
    prog = program(kernel, "perf_event")
    real = kernel.perf_event_open

    def refuse(attr, pid=-1, cpu=-1, group_fd=-1, flags=0):
        if cpu == 2:
            kernel._fail("perf_event_open", errno.ENOSPC)
        return real(attr, pid, cpu, group_fd, flags)
    kernel.perf_event_open = refuse
    with pytest.raises(KernelError):
        attach(kernel, prog, {"type": 1, "config": 0, "sample_freq": 99})
    clean(kernel, prog)


def test_perf_attributes():
    buf, _ = perf.perf_attr({"type": 1, "config": 3, "sample_freq": 99, "exclude_kernel": True})
    assert struct.unpack_from("=IIQQ", buf) == (1, 112, 3, 99)
    assert struct.unpack_from("=Q", buf, 40)[0] == 1 << 10 | 1 << 5  # freq, exclude_kernel
    with pytest.raises(InputError):
        perf.perf_attr({"no_such": 1})


def test_what_attaches_by_itself():
    kernel = OldKernel((6, 12))
    for section, expected in (("kprobe/vfs_read", True), ("kprobe", False), ("xdp", False), ("iter/task", True),
                              ("tc", False)):
        prog = program(kernel, section, **({"attach_btf_id": 1} if section.startswith("iter") else {}))
        assert can_attach(prog) is expected, section
        prog.close()


@pytest.mark.parametrize("section", ["xdp", "tc", "perf_event", "sk_msg", "socket", "cgroup/dev", "kprobe", "uprobe",
                                     "usdt", "raw_tp"])
def test_no_target_is_an_input_error(section):
    kernel = OldKernel((6, 12))
    prog = program(kernel, section)
    with pytest.raises(InputError):
        attach(kernel, prog)
    clean(kernel, prog)


# -- what killed processes left --------------------------------------------------------------------------------------
with open("/proc/sys/kernel/random/boot_id") as boot_id:
    BOOT = boot_id.read().strip()


def dead_tag():
    child = subprocess.Popen([sys.executable, "-c", "from lbc import residue; print(residue.tag())"],
                             stdout=subprocess.PIPE,
                             cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    name = child.communicate()[0].decode().strip()
    assert child.returncode == 0
    return name


def test_tags():
    mine, dead = residue.tag(), dead_tag()
    assert len(mine) <= 63 and mine != dead
    assert not residue.is_dead(mine)
    assert residue.is_dead(dead)
    other_start = mine.rpartition("_")[0] + "_1"
    assert residue.is_dead(other_start)          # the pid lives, but began at another time
    space = dead.split("_")
    assert not residue.is_dead("_".join([space[0], "1", space[2], space[3]]))  # another PID name space: cannot be known
    for foreign in ("libbpf_77_x", "kprobes", "lbc_x", "lbc_1_2", ""):
        assert not residue.is_dead(foreign)


def test_sweep_takes_only_what_dead_ones_left():
    kernel, dead = OldKernel((4, 14)), dead_tag()
    for group in (dead, "kprobes", "libbpf_1_2", residue.tag()):
        kernel._probe_event(TRACEFS + "/kprobe_events", "p:%s/e vfs_read" % group)
    kernel.files[TRACEFS + "/kprobe_events"] = "".join("p:%s vfs_read\n" % name for name in kernel.events).encode()
    tracefs.sweep(kernel)
    assert sorted(kernel.events) == sorted(["kprobes/e", "libbpf_1_2/e", residue.tag() + "/e"])


def test_journal_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(residue, "RUN_DIR", str(tmp_path))
    seen = []
    monkeypatch.setitem(residue.SWEEPERS, "test", lambda kernel, words: seen.append(words))
    dead = dead_tag()
    write_journal(tmp_path / dead, u"boot %s\ntest 1 2\nunknown x\ntest 3\n" % BOOT)
    write_journal(tmp_path / residue.tag(), u"boot %s\ntest mine\n" % BOOT)
    write_journal(tmp_path / "other", u"boot %s\ntest other\n" % BOOT)
    tmp_path.chmod(0o700)
    leftovers.sweep(OldKernel((4, 14)), again=True)
    assert seen == [["3"], ["1", "2"]]
    assert sorted(os.listdir(str(tmp_path))) == sorted([residue.tag(), "other"])


def write_journal(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)


def test_journals_of_another_boot_are_void(tmp_path, monkeypatch):
    """Program ids begin anew: what they named then may be another's now."""
    seen = swept_in(tmp_path, monkeypatch)
    for tag, text in ((dead_tag(), u"boot 1234\ntest 1\n"), (dead_tag(), u"test 2\n"), (dead_tag(), u"")):
        write_journal(tmp_path / tag, text)
    leftovers.sweep(OldKernel((4, 14)), again=True)
    assert seen == [] and not tmp_path.exists()


def swept_in(path, monkeypatch):
    seen = []
    path.chmod(0o700)
    monkeypatch.setattr(residue, "RUN_DIR", str(path))
    monkeypatch.setitem(residue.SWEEPERS, "test", lambda kernel, words: seen.append(words))
    return seen


@pytest.mark.parametrize("what", ["folder", "folder link", "file", "file link"])
def test_journals_that_others_may_have_written(what, tmp_path, monkeypatch):
    """Only what root or we ourselves can have written is followed, and a link never."""
    there = tmp_path / "there"
    there.mkdir()
    seen = swept_in(there, monkeypatch)
    dead = dead_tag()
    write_journal(there / dead, u"boot %s\ntest 1\n" % BOOT, 0o602 if what == "file" else 0o600)
    if what == "folder":
        there.chmod(0o777)
    elif what == "folder link":
        (tmp_path / "link").symlink_to(there)
        monkeypatch.setattr(residue, "RUN_DIR", str(tmp_path / "link"))
    elif what == "file link":
        (there / dead).rename(tmp_path / "journal")
        (there / dead).symlink_to(tmp_path / "journal")
    leftovers.sweep(OldKernel((4, 14)), again=True)
    assert seen == []
    # nor is anything written through them
    victim = tmp_path / "victim"
    victim.write_text(u"precious")
    if what == "file link":
        (there / residue.tag()).symlink_to(victim)
    residue.note("test mine")
    residue.erase("test mine")
    assert victim.read_text() == u"precious"
    if what.startswith("folder"):
        assert os.listdir(str(there)) == [dead]


def test_one_that_cannot_be_undone_is_no_reason_to_leave_the_rest(tmp_path, monkeypatch):
    seen = swept_in(tmp_path, monkeypatch)

    def fails(kernel, words):
        raise OSError(errno.EACCES, "no")
    monkeypatch.setitem(residue.SWEEPERS, "fails", fails)
    write_journal(tmp_path / dead_tag(), u"boot %s\ntest 1\nfails 2\n" % BOOT)
    leftovers.sweep(OldKernel((4, 14)), again=True)
    assert seen == [["1"]] and not tmp_path.exists()


def test_journal_of_any_names(tmp_path, monkeypatch):
    """A cgroup's path may hold bytes of no charset; the journal is read and written all the same."""
    seen = swept_in(tmp_path, monkeypatch)
    path = tmp_path / dead_tag()
    write_journal(path, u"")
    path.write_bytes(("boot %s\n" % BOOT).encode() + b"test a\xff\xfe z\xc3\xbc\n")
    leftovers.sweep(OldKernel((4, 14)), again=True)
    assert len(seen) == 1 and len(seen[0]) == 2
    residue.note("test " + to_text(b"z\xc3\xbcrich"))
    assert b"test z\xc3\xbcrich\n" in (tmp_path / residue.tag()).read_bytes()
    residue.erase("test " + to_text(b"z\xc3\xbcrich"))


def test_processes_that_proc_hides_are_not_dead(monkeypatch):
    """hidepid=, or /proc not mounted: no file says nothing; kill(pid, 0) does."""
    space = residue.tag().split("_")[1]
    monkeypatch.setattr(residue, "_start_time", lambda pid: None)
    assert not residue.is_dead("lbc_%s_%x_1" % (space, os.getppid()))
    assert residue.is_dead(dead_tag_of(space))
    monkeypatch.setattr(residue, "_name_space", lambda: 0)
    assert not residue.is_dead("lbc_0_%x_1" % (1 << 22))


def dead_tag_of(space):
    return "lbc_%s_%x_1" % (space, 1 << 22)     # more than a pid can be


def test_events_are_known_before_they_are_there(monkeypatch):
    """A signal that comes while an event is being made, or before there is a link on it, must find it."""
    kernel = OldKernel((4, 14))
    write, found = kernel.write, []

    def interrupted(path, data, append=False):
        write(path, data, append)
        if data.startswith(b"p:"):
            residue._at_exit()      # what the handler of SIGTERM does
            found.append(sorted(kernel.events))
    monkeypatch.setattr(kernel, "write", interrupted)
    prog = program(kernel, "kprobe/vfs_read")
    with pytest.raises(KernelError):
        attach(kernel, prog)        # the event is gone again when perf asks for its number
    assert found == [[]] and not kernel.events and not residue.has_leftovers()


def test_one_that_does_not_close_keeps_none_of_the_others(monkeypatch):
    """Many probes one by one: the last is refused, undoing one of them fails; the reason is told, all are closed."""
    from lbc.bpf.links import multi
    closed = []

    class Stub(object):
        def __init__(self, name):
            self.name = name

        def close(self):
            closed.append(self.name)
            if self.name == "b":
                raise KernelError("busy", "write", errno.EBUSY)

    def one(name, address, cookie):
        if name == "d":
            raise KernelError("refused", "perf_event_open", errno.EPERM)
        return Stub(name)
    with pytest.raises(KernelError) as caught:
        multi._many(None, None, [(name, 0) for name in "abcd"], None, "kprobe", one, True)
    assert caught.value.errno == errno.EPERM and sorted(closed) == ["a", "b", "c"]
