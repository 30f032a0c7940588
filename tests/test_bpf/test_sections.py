"""Section names against libbpf's own answer (libbpf_prog_type_by_name) where it is installed, and its rules by hand."""
from __future__ import absolute_import

import ctypes
import ctypes.util

import pytest

from lbc.bpf import sections
from lbc.uapi import bpf as u


@pytest.mark.parametrize("name,row,target", [
    ("kprobe/vfs_read", "kprobe", "vfs_read"), ("kprobe", "kprobe", ""), ("?kprobe/a/b", "kprobe", "a/b"),
    ("kprobe.multi/vfs_*", "kprobe.multi", "vfs_*"), ("uprobe.s//bin/sh:main", "uprobe.s", "/bin/sh:main"),
    ("xdp", "xdp", ""), ("xdp/devmap", "xdp/devmap", ""), ("tc/ingress", "tc/ingress", ""),
    ("cgroup_skb/egress", "cgroup_skb/egress", ""), ("lsm_cgroup/socket_bind", "lsm_cgroup", "socket_bind"),
    ("iter.s/task", "iter.s", "task"), ("struct_ops/init", "struct_ops", "init"), ("fexit/", "fexit", ""),
])
def test_match(name, row, target):
    found, text = sections.match(name)
    assert (found.name, text) == (row, target)


@pytest.mark.parametrize("name", ["xdp/eth0", "kprobes/x", "kprobe.multi.s/x", "", "?", "??kprobe/x", "socket/filter",
                                  "tcx", ".text",
                                  "cgroup/nothing", "kprobe.", "/"])
def test_no_match(name):
    assert sections.match(name) == (None, "")


def test_flags_of_rows():
    rows = {row.name: row for row in sections.SECTIONS}
    assert rows["lsm.s"].prog_flags == u.BPF_F_SLEEPABLE == 16
    assert rows["xdp.frags/cpumap"].prog_flags == u.BPF_F_XDP_HAS_FRAGS == 32
    assert rows["usdt.s"].flags == sections.USDT | sections.SLEEPABLE
    assert rows["tp_btf"].flags & sections.ATTACH_BTF and not rows["raw_tp"].flags
    assert rows["xdp"].flags & sections.ATTACH_OPT and not rows["cgroup/bind4"].flags & sections.ATTACH_OPT
    assert len(rows) == len(sections.SECTIONS)


def test_as_the_installed_libbpf_says():
    path = ctypes.util.find_library("bpf")
    if path is None:
        pytest.skip("libbpf is not installed")
    lib = ctypes.CDLL(path)
    lib.libbpf_set_print(None)
    types, compared = (ctypes.c_int * 2)(), 0
    for row in sections.SECTIONS:
        for name in [row.name] + ([row.name + "/something"] if row.target else []):
            if lib.libbpf_prog_type_by_name(name.encode(), ctypes.byref(types, 0), ctypes.byref(types, 4)):
                continue  # newer than that libbpf
            if "/" in name and name.split("/")[0] in ("tc", "tcx", "netkit"):
                continue
            compared += 1
            assert (row.type, row.attach_type) == tuple(types), name
    assert compared > 90
    for name in ("xdp/eth0", "kprobes/x", "kprobe.multi.s/x", "socket/filter", ".text", "cgroup/nothing"):
        assert lib.libbpf_prog_type_by_name(name.encode(), ctypes.byref(types, 0), ctypes.byref(types, 4))
