"""The lab itself: choosing packages, the boot archive, results that survive; and, with LBC_LAB=1, two boots."""
from __future__ import absolute_import

import io
import os
import shutil
import subprocess
import sys

import pytest

from . import reporter

pytestmark = pytest.mark.skipif(sys.version_info < (3, 6), reason="the lab is driven by Python 3")

if sys.version_info >= (3, 6):
    from scripts import check
    from . import cache, vm

KERNEL = "6.1"


def test_the_newest_package_of_a_series_is_taken():
    names = ["linux-image-6.1.0-9-amd64-unsigned", "linux-image-6.1.0-50-amd64-unsigned",
             "linux-image-6.1.0-50-rt-amd64-unsigned",
             "linux-image-6.1.0-60-cloud-amd64-unsigned", "linux-image-6.12.0-70-amd64-unsigned"]
    assert cache.newest(names, cache.KERNELS[1][3][0]) == "linux-image-6.1.0-50-amd64-unsigned"
    names = ["linux-binary-7.3.4+deb13-amd64", "linux-binary-7.10.1+deb13-amd64", "linux-binary-7.11.1+deb13-rt-amd64"]
    assert cache.newest(names, cache.KERNELS[3][3][0]) == "linux-binary-7.10.1+deb13-amd64"
    assert cache.newest([], ".*") is None


def test_unknown_names_are_refused():
    with pytest.raises(cache.LabError) as caught:
        cache.fetch("4.4")
    assert "5.10" in str(caught.value)


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio to read the archive with")
def test_boot_archive_is_read_by_cpio(tmp_path):
    data = vm.cpio_entry("bin", 0o040755) + vm.cpio_entry("bin/x", 0o100755, b"hello") + vm.cpio_entry("TRAILER!!!", 0)
    process = subprocess.Popen(["cpio", "-idm", "--quiet"], stdin=subprocess.PIPE, cwd=str(tmp_path))
    process.communicate(data)
    assert process.returncode == 0
    assert (tmp_path / "bin" / "x").read_bytes() == b"hello" and os.access(str(tmp_path / "bin" / "x"), os.X_OK)


def test_results_of_a_run_that_died(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(u'{"start": "a"}\n{"id": "a", "outcome": "passed"}\n{"start": "b"}\n{"id": "b", "out')
    rows, running, ended = reporter.read_results(str(path))
    assert [row["id"] for row in rows] == ["a"] and running == "b" and not ended


@pytest.mark.parametrize("line,expected", [
    ("3 passed, 1 skipped in 0.10s", (3, 0, 1)), ("1 failed, 2 passed, 1 error in 7.12 seconds", (2, 2, 0)),
    ("5 passed, 2 xfailed, 1 xpassed, 3 errors, 4 deselected in 1s", (5, 4, 2)), ("no tests ran in 0.01s", (0, 0, 0))])
def test_closing_lines_are_understood(line, expected):
    assert check.counts("collected\n..F\n%s\n" % line) == expected


@pytest.mark.lab
@pytest.mark.timeout_s(240)
def test_a_guest_hands_out_text_and_status():
    out = io.BytesIO()
    result = vm.run(KERNEL, "uname -r; id -u; test -e /sys/kernel/btf/vmlinux && "
                    "test -e /sys/kernel/tracing/kprobe_events && grep -q cgroup2 /proc/mounts && "
                    "grep -q bpf /sys/kernel/security/lsm && echo ready; exit 7", out)
    assert result.status == 7, result.console
    release, user, ready = out.getvalue().decode().split()
    assert release.startswith(KERNEL + ".") and user == "0" and ready == "ready"


@pytest.mark.lab
@pytest.mark.timeout_s(240)
def test_a_guest_that_dies_is_told_with_its_console():
    result = vm.run(KERNEL, "echo c > /proc/sysrq-trigger; sleep 60", io.BytesIO(), timeout=120)
    assert result.status == vm.DIED and "Kernel panic" in result.console
