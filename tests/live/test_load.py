"""Objects loaded into the running kernel, run there, and what `python -m lbc load` says of them."""
from __future__ import absolute_import

import json
import os
import struct
import subprocess
import sys

import pytest

from lbc.bpf.object import BpfObject
from lbc.errors import KernelError, LbcError, NotSupported, VerifierError
from tests import corpus

pytestmark = pytest.mark.live
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load(name):
    try:
        return BpfObject(corpus.path(name)).load()
    except NotSupported as error:
        pytest.skip(str(error).split("\n")[0])


def test_xdp_sees_its_packet():
    with load("sec_xdp") as obj:
        packet = b"\0" * 12 + b"\x08\x00" + b"\0" * 50
        ran = obj.programs.plain.test_run(packet)
        assert ran.retval == 2 and ran.data == packet  # XDP_PASS for IPv4
        assert obj.programs.plain.test_run(b"\0" * 64).retval == 1
        info = obj.programs.plain.info()
        assert info.name == "plain" and info.xlated_len > 0
        assert len(obj.programs.plain.xlated()) == info.xlated_len


def test_syscall_program_writes_its_context():
    with load("sec_syscall") as obj:
        ran = obj.programs.run.test_run(ctx=struct.pack("=QiI", 21, 0, 0))
        assert ran.retval == 1 and struct.unpack("=QiI", ran.ctx)[1] == 42


def test_globals_are_shared_with_the_program():
    obj = BpfObject(corpus.path("data_globals"))
    obj.globals.limit = 100
    with obj.load():
        assert obj.globals.limit == 100 and obj.globals.initialised == 42
        try:
            obj.programs.use.test_run(ctx=b"\0" * 96)
        except KernelError:
            pytest.skip("no test runs of raw tracepoints (5.10)")
        assert obj.globals.counter >= 100 + ord("a")
        obj.globals.counter = 0
        assert obj.globals.counter == 0


def test_kconfig_and_ksyms_have_the_kernels_values():
    with load("kconfig_version_only") as obj:
        try:
            ran = obj.programs.use.test_run(ctx=b"\0" * 96)
        except KernelError:
            pytest.skip("no test runs of raw tracepoints (5.10)")
        release = [int(part) for part in os.uname()[2].split("-")[0].split(".")[:2]]
        assert ran.retval == int(release > [5, 10] or (release == [5, 10]
                                                       and int(os.uname()[2].split("-")[0].split(".")[2]) > 0))
    with load("ksym_untyped") as obj:
        obj.programs.use.test_run(ctx=b"\0" * 96)
        with open("/proc/kallsyms") as f:
            address = [int(line.split()[0], 16) for line in f if line.split()[2] == "vfs_read"]
        assert obj.globals.address in address and obj.globals.nothing == 0


def test_refusals_leave_nothing_and_say_why():
    for name, words in (("verify_null_check", "NULL"), ("core_missing_field", "lbc_no_such_field"),
                        ("code_gpl_only", "GPL")):
        with pytest.raises(VerifierError) as caught:
            BpfObject(corpus.path(name)).load()
        assert words in str(caught.value) and caught.value.log
        assert len(caught.value.excerpt) < len(caught.value.log) + 100


def test_attach_and_count():
    with load("sec_tracepoint") as obj:
        links = obj.attach()
        assert len(links) == 3 and all(link.detail for link in links)
        assert obj.programs.on_exec.info().id > 0


def run_load(*words):
    done = subprocess.Popen([sys.executable, "-m", "lbc", "load"] + list(words), cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    out, err = done.communicate()
    return done.returncode, out.decode(), err.decode()


def test_the_command():
    status, out, err = run_load(corpus.path("sec_tracepoint"), "--attach", "--json")
    report = json.loads(out)
    assert status == 0 and report["ok"] and not err
    assert [row["state"] for row in report["programs"]].count("attached") == 3
    status, out, err = run_load(corpus.path("verify_one_bad_of_three"))
    assert status == 1 and out.count("refused by the verifier") == 1 and out.count("loaded") >= 3
    assert "Traceback" not in out + err
    status, out, err = run_load("/nonexistent")
    assert status == 1 and "Traceback" not in out + err
    status, out, err = run_load()
    assert status == 2


def test_verdicts_agree_with_bpftool():
    """A choice of objects; tests/test_corpus.py does all of them against libbpf."""
    if not os.path.ismount("/sys/fs/bpf"):
        pytest.skip("no bpffs")
    for name in ("sec_raw_tp", "sec_cgroup_skb", "core_read_chain", "core_missing_type", "map_hash", "map_in_map",
                 "code_subprograms",
                 "verify_packet_bounds", "sec_tp_btf", "kfunc_missing"):
        path = "/sys/fs/bpf/lbc_test_load_%d" % os.getpid()
        try:
            status = subprocess.call(["bpftool", "prog", "loadall", corpus.path(name), path], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        except OSError:
            pytest.skip("no bpftool")
        if os.path.isdir(path):
            for pin in os.listdir(path):
                os.unlink(os.path.join(path, pin))
            os.rmdir(path)
        try:
            BpfObject(corpus.path(name)).load().close()
            ours = 0
        except LbcError:
            ours = 1
        assert bool(status) == bool(ours), name


ARG_CTX = b"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
__attribute__((noinline)) int len(void *ctx __attribute__((btf_decl_tag("arg:ctx"))))
{ struct __sk_buff *skb = ctx; return skb->len; }
SEC("tc") int user(struct __sk_buff *skb) { return len(skb) & 1; }
char LICENSE[] SEC("license") = "GPL";
"""


def test_arg_ctx_where_the_kernel_does_not_know_the_tag(tmp_path_factory):
    from lbc.bpf.syscalls import Kernel
    path = os.path.join(str(tmp_path_factory.mktemp("arg")), "arg.bpf.o")
    try:
        clang = subprocess.Popen(["clang-16", "-target", "bpf", "-g", "-O2", "-I/usr/include/x86_64-linux-gnu",
                                  "-x", "c", "-c", "-", "-o", path], stdin=subprocess.PIPE)
        clang.communicate(ARG_CTX)
    except OSError:
        pytest.skip("no clang")
    assert clang.returncode == 0
    kernel = Kernel()
    kernel.facts["btf_decl_tag"] = False  # tags become ints: the verifier has nothing but the types, as before 6.8
    with BpfObject(path, kernel=kernel).load() as obj:
        assert obj.programs.user.info().id > 0
