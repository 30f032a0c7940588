"""Probes against the running kernel: what bpftool and the kernel's own files say."""
from __future__ import absolute_import

import json
import os
import subprocess

import pytest

from lbc.bpf import features
from lbc.bpf.syscalls import Kernel
from lbc.uapi import bpf as U

pytestmark = pytest.mark.live


def test_facts_of_files():
    kernel = Kernel()
    assert features.have(kernel, "vmlinux_btf") == os.path.exists("/sys/kernel/btf/vmlinux")
    assert features.have(kernel, "kprobe_pmu") == os.path.exists("/sys/bus/event_source/devices/kprobe/type")


def test_a_newer_feature_means_the_older_ones():
    kernel = Kernel()
    chain = ["prog_name", "btf", "btf_func", "btf_datasec", "btf_global_func", "btf_float", "btf_decl_tag",
             "btf_type_tag", "btf_enum64"]
    told = [features.have(kernel, name, None) for name in chain]
    assert None not in told and told == sorted(told, reverse=True)
    release = tuple(int(part) for part in kernel.release().split("-")[0].split(".")[:2])
    for name in chain + ["ringbuf", "batch", "global_data", "prog_bind_map", "perf_link", "bpf_link"]:
        since = tuple(int(part) for part in features.FEATURES[name].version.split("."))
        if release >= since:  # back-ports may have more, never less
            assert features.have(kernel, name), name


def test_types_against_bpftool():
    try:
        done = subprocess.Popen(["bpftool", "-j", "feature", "probe", "kernel"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
    except OSError:
        pytest.skip("no bpftool")
    facts = json.loads(done.communicate()[0].decode() or "{}")
    if not facts.get("program_types"):
        pytest.skip("bpftool says nothing")
    kernel, wrong = Kernel(), []
    for what, names, have in (("program_types", U.PROG_TYPE_NAMES, features.have_prog_type),
                              ("map_types", U.MAP_TYPE_NAMES, features.have_map_type)):
        for number, name in names.items():
            theirs, ours = facts[what].get("have_%s_%s_type" % (name.replace("_deprecated", ""),
                                                                what[:-6].replace("program", "prog"))), have(kernel,
                                                                                                             number)
            if theirs is not None and ours is not None and ours != theirs:
                wrong.append((name, theirs, ours))
    assert not wrong


def test_nothing_stays_open():
    kernel = Kernel()
    before = len(os.listdir("/proc/self/fd"))
    for name in features.FEATURES:
        features.have(kernel, name)
    assert len(os.listdir("/proc/self/fd")) == before
