"""Features are told apart on every version that the stand-in can play, lazily, once, and never fatally."""
from __future__ import absolute_import

import pytest

from lbc.bpf import features
from lbc.errors import KernelError, NotFoundError, NotSupported
from lbc.uapi import bpf as U
from tests.oldkernel import OldKernel

VERSIONS = [(4, 9), (4, 14), (4, 18), (5, 2), (5, 4), (5, 8), (5, 15), (6, 1), (6, 12)]
CANNOT_TELL = {"module_btf", "sleepable", "vmlinux_btf", "bounded_loops", "memcg_account", "tcx"}


def version(text):
    return tuple(int(part) for part in text.split("."))


@pytest.mark.parametrize("kernel_version", VERSIONS)
def test_every_probe_agrees_with_history(kernel_version):
    kernel = OldKernel(kernel_version)
    wrong = []
    for name, feature in features.FEATURES.items():
        if name in CANNOT_TELL:
            continue
        if features.have(kernel, name, None) != (kernel_version >= version(feature.version)):
            wrong.append((name, feature.version, features.have(kernel, name, None)))
    assert not wrong
    assert not kernel.open_fds() and not kernel.bad_closes


@pytest.mark.parametrize("kernel_version", VERSIONS)
def test_types_agree_with_history(kernel_version):
    kernel = OldKernel(kernel_version)
    for table, have in ((features.PROG_TYPE_VERSIONS, features.have_prog_type),
                        (features.MAP_TYPE_VERSIONS, features.have_map_type)):
        for number, text in table.items():
            told = have(kernel, number)
            assert told in (None, kernel_version >= version(text)), (number, text)


def test_asked_once_and_only_when_asked():
    kernel = OldKernel((5, 4))
    assert features.known(kernel, "prog_name") is None and not kernel.calls
    assert features.have(kernel, "prog_name") is True
    count = len(kernel.calls)
    assert features.have(kernel, "prog_name") is True and len(kernel.calls) == count


def test_no_privilege_is_no_answer():
    kernel = OldKernel((5, 4), root=False)
    assert features.have(kernel, "prog_name", None) is None
    assert features.have(kernel, "prog_name", True) is True
    assert features.known(kernel, "prog_name") is None


def test_memlock_is_raised_by_a_probe():
    kernel = OldKernel((5, 4), memlock=0)
    assert features.have(kernel, "global_data", None) is True
    assert kernel.facts["memlock_raised"]


def test_require_and_unknown_names():
    with pytest.raises(NotSupported) as caught:
        features.require(OldKernel((4, 9)), "ringbuf")
    assert caught.value.min_version == "5.8" and "ring buffer" in str(caught.value)
    with pytest.raises(NotFoundError) as caught:
        features.have(OldKernel((4, 9)), "ring_buf")
    assert "ringbuf" in str(caught.value)


def test_helpers():
    assert features.helper_version(113) == "5.5"
    assert features.helper_version(1) == "3.19" and features.helper_version(9999) is None
    assert features.helper_version(len(U.HELPERS) - 1) == "6.2"
    assert features.have_helper(OldKernel((5, 4)), 113, U.BPF_PROG_TYPE_TRACEPOINT) is False
    assert features.have_helper(OldKernel((5, 5)), 113, U.BPF_PROG_TYPE_TRACEPOINT) is True


@pytest.mark.parametrize("files, code", [
    ({}, 4 << 16 | 19 << 8),
    ({"/proc/version_signature": b"Ubuntu 4.15.0-213.224-generic 4.15.18\n"}, 4 << 16 | 15 << 8 | 18),
    ({"/proc/version": b"Linux version 4.19.0-27-amd64 (debian@x) (gcc version 8.3.0) #1 SMP Debian 4.19.316-1 "
      b"(2024-06-25)\n"},
     4 << 16 | 19 << 8 | 255),
])
def test_version_code(files, code):
    assert features.version_code(OldKernel((4, 19), files=files)) == code


class Broken(OldKernel):
    """Everything fails."""

    def run(self, attr):
        raise KernelError("no", "bpf", 38)


def test_a_failing_probe_is_never_fatal():
    kernel = Broken((5, 4))
    for name in features.FEATURES:
        features.have(kernel, name)
