"""Every fixture on the running kernel: lbc and libbpf load the same objects, and the same programs of those refused.

In the lab Python 2.7 takes every eighth of them (what differs between the Pythons the pure tests hold), and bpftool, a
process for each object, is asked about every eighth.

Judges: libbpf 1.1 of this machine behind tests/reference/libbpf_load.c, the lab's newer libbpf behind the same program
where it was fetched, and `bpftool prog loadall` by its exit status.  All objects of one judge run in one process.
"""
from __future__ import absolute_import

import glob
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from lbc import host
from lbc.bpf.object import BpfObject
from lbc.errors import KernelError, LbcError

from .. import corpus
from . import LAB, bpffs

pytestmark = [pytest.mark.live, pytest.mark.timeout_s(900)]

EIGHTH = corpus.names()[::8]
FIXTURES = EIGHTH if LAB and sys.version_info[0] == 2 else corpus.names()
# Where lbc decides other than a judge, on purpose.  {fixture: why}
LBC_LOADS = {
    "map_legacy": "`maps` sections were the only form before 2019; libbpf dropped them in 1.0, old objects have them",
}
# The system's libbpf 1.1 is older than these; the newer one is their judge.  {fixture: section, libbpf that brought it}
NEWER_SECTIONS = {
    "object_program_in_text": "a lone function in .text is a subprogram, 1.3; before, a program without type",
    "sec_cgroup_unix": "cgroup/*_unix, 1.3",
    "sec_kprobe_session": "kprobe.session, 1.5",
    "sec_netfilter": "netfilter, 1.2",
    "sec_netkit": "netkit/*, 1.3",
    "sec_struct_ops_link": ".struct_ops.link, 1.2",
    "sec_sk_skb_verdict": "sk_skb/verdict, 1.4",
    "sec_struct_ops_sleepable": "struct_ops.s, 1.2",
    "sec_tcx": "tcx/* and tc/*, 1.3",
    "sec_uprobe_multi": "uprobe.multi, 1.3",
    "sec_uprobe_multi_sleepable": "uprobe.multi.s, 1.3",
}
# bpftool 7.1 carries the libbpf of the kernel's tree, a little older than 1.1.2, and pins what it loaded.
# {fixture: (bpftool loads it, why it differs from the judge)}
BPFTOOL_DIFFERS = {
    "sec_optional": (False, "nothing to pin for the program behind '?'"),
    "data_custom_bss": (False, "does not know .bss.NAME"),
    "object_program_in_text": (True, "a lone function in .text is no program to it"),
}


@pytest.fixture(scope="module")
def judge():
    judge = corpus.Judge()
    yield judge
    judge.close()


@pytest.fixture(scope="module")
def world():
    """What the fixtures need of the machine; only the lab's guests, which are thrown away afterwards, are changed."""
    if LAB:
        release = host.release()
        target = "/boot/config-" + release
        for config in glob.glob(os.path.join(corpus.LAB, "*", "boot", "config-" + release)):
            if not os.path.exists(target):
                shutil.copy(config, target)  # kconfig externs are read from there
        # kfunc_module wants the BTF of nf_conntrack; /lib/modules need not show the package's modules
        for modules in glob.glob(os.path.join(corpus.LAB, "*", "lib", "modules", release)) + \
                glob.glob(os.path.join(corpus.LAB, "*", "usr", "lib", "modules", release)):
            with open(os.devnull, "w") as null:
                base = modules[:-len("/lib/modules/" + release)]
                subprocess.call(["modprobe", "-d", base, "nf_conntrack"], stdout=null, stderr=null)


@pytest.fixture(scope="module")
def verdicts(judge, world):
    """run(newer) -> {fixture: the judge's row}, each judge asked once."""
    known = {}

    def run(newer=False):
        if judge.why_not:
            pytest.skip(judge.why_not)
        if newer not in known:
            if newer and not judge.command(newer):
                pytest.skip("the lab has no newer libbpf")
            root = tempfile.mkdtemp(prefix="lbc-judge-", dir=bpffs())
            try:
                known[newer] = judge.run(FIXTURES, newer, ["--pin-root", root])
            finally:
                shutil.rmtree(root)
        return known[newer]
    return run


def load(name, pin_root, only=None):
    """None, or the LbcError with which lbc refuses the fixture (``only``: all its other programs switched off)."""
    try:
        with BpfObject(corpus.path(name), pin_root=pin_root) as obj:
            if only is not None:
                for program in obj.spec.programs.values():
                    program.autoload = program.name == only
            obj.load()
    except LbcError as error:
        return error
    return None


@pytest.fixture(scope="module")
def ours(world):
    """{(fixture, None or a program): error or None}, filled when asked for."""
    known = {}
    root = tempfile.mkdtemp(prefix="lbc-corpus-", dir=bpffs())

    def ask(name, only=None):
        if (name, only) not in known:
            known[name, only] = load(name, root, only)
            for pin in os.listdir(root):
                os.unlink(os.path.join(root, pin))
        return known[name, only]
    yield ask
    shutil.rmtree(root)


def said(error):
    return "loads" if error is None else "refuses (%s)" % str(error).split("\n")[0][:200]


def differences(rows, ours, expected_differences):
    """Texts: every object, and every program of objects that libbpf refuses, with other verdicts."""
    found = []
    for name, row in sorted(rows.items()):
        if name in expected_differences:
            continue
        loads = not row["open"] and not row["load"]
        error = ours(name)
        if loads != (error is None):
            libbpf = "loads" if loads else "refuses %s(%s)" % ("to open it " if row["open"] else "", row["why"].strip())
            found.append("%s: libbpf %s, lbc %s" % (name, libbpf, said(error)))
        if loads or row["open"]:
            continue
        for program, verdict in sorted(row["programs"].items()):
            if not verdict["autoload"]:
                continue
            error = ours(name, program)
            if (verdict["load"] == 0) != (error is None):
                found.append("%s, %s alone: libbpf %s, lbc %s" % (name, program, "loads" if not verdict["load"] else
                                                                "refuses (errno %d)" % -verdict["load"], said(error)))
    return found


def test_objects_load_or_fail_as_libbpf_says(verdicts, ours):
    rows = verdicts()
    expected = dict(LBC_LOADS, **NEWER_SECTIONS)
    found = differences(rows, ours, expected)
    assert not found, "\n".join(found)
    assert len(rows) == len(FIXTURES) and len(corpus.names()) > 150
    assert sum(1 for row in rows.values() if row["load"] == 0) > len(FIXTURES) / 4  # the judge did judge


def test_objects_load_or_fail_as_newer_libbpf_says(verdicts, ours):
    found = differences(verdicts(newer=True), ours, LBC_LOADS)
    assert not found, "\n".join(found)


def test_deliberate_differences_are_still_differences(verdicts, ours):
    """A row of the tables above that no longer differs is to be taken out."""
    rows = verdicts()
    for name in set(LBC_LOADS).intersection(rows):
        assert rows[name]["open"], "%s: libbpf takes it now" % name
        assert ours(name) is None, "%s: lbc refuses it: %s" % (name, ours(name))
    for name in set(NEWER_SECTIONS).intersection(rows):
        assert rows[name]["open"] or rows[name]["load"], "%s: the system's libbpf takes it now" % name


def test_refusals_of_the_kernel_have_libbpfs_errno(verdicts, ours):
    """Programs the verifier refused: the same error number, so they were refused for the same reason."""
    found, compared = [], 0
    for name, row in sorted(verdicts().items()):
        if name in LBC_LOADS or name in NEWER_SECTIONS or row["open"] or not row["load"]:
            continue
        for program, verdict in sorted(row["programs"].items()):
            error = ours(name, program) if verdict["autoload"] else None
            if not isinstance(error, KernelError) or "PROG_LOAD" not in (error.call or "") or not verdict["load"]:
                continue
            compared += 1
            if error.errno != -verdict["load"]:
                found.append("%s, %s: libbpf errno %d, lbc %d (%s)" % (
                    name, program, -verdict["load"], error.errno or 0, said(error)))
    assert not found, "\n".join(found)
    assert compared >= len(FIXTURES) / 12


BPFTOOL = """cd "$1"
for object in $(cat); do
    bpftool prog loadall "$object" "$2/${object%%.*}" >/dev/null 2>&1 && status=0 || status=1
    echo "$object $status"
    rm -rf "$2/${object%%.*}" "$2/../lbc_corpus_pinned"
done"""


def bpftool_statuses(fixtures, root):
    """{fixture: exit status}, two at a time: the guests have two CPUs."""
    halves = []
    for start in (0, 1):
        process = subprocess.Popen(["sh", "-c", BPFTOOL, "sh", corpus.BPF, root], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        process.stdin.write("".join(name + ".bpf.o\n" for name in fixtures[start::2]).encode("ascii"))
        process.stdin.close()
        halves.append(process)
    lines = b"".join([process.stdout.read() for process in halves]).decode("ascii").splitlines()
    for process in halves:
        process.stdout.close()
        process.wait()
    return dict((line.split()[0][:-6], int(line.split()[1])) for line in lines)


def test_bpftool_loadall_agrees_with_the_judge(verdicts):
    """The judge is a program of this project: hold it against the command everybody has."""
    if subprocess.call("command -v bpftool >/dev/null", shell=True):
        pytest.skip("no bpftool")
    root = tempfile.mkdtemp(prefix="lbc-bpftool-", dir=bpffs())
    try:
        statuses = bpftool_statuses(EIGHTH if LAB else FIXTURES, root)
    finally:
        shutil.rmtree(root)
    found = []
    for name, row in sorted(verdicts().items()):
        if name not in statuses:
            continue
        loads = not row["open"] and not row["load"]
        if name in BPFTOOL_DIFFERS:
            loads = BPFTOOL_DIFFERS[name][0]
        if loads != (statuses[name] == 0):
            found.append("%s: bpftool exits %d, the judge %s" % (name, statuses[name], "loads" if loads else "refuses"))
    assert not found, "\n".join(found)
