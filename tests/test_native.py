"""Both backends of lbc._native do the same; the compiled one is found only where it may be trusted."""
from __future__ import absolute_import

import errno
import os
import subprocess
import sys

import pytest

from lbc import _native
from lbc._native import with_paths
from lbc.uapi import arch

GETPID = {"x86_64": 39, "aarch64": 172}     # arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h


def test_syscall(native):
    assert native.syscall(GETPID[arch.current().name]) == os.getpid()
    with pytest.raises(OSError) as caught:
        native.syscall(arch.current().nr_ioctl, -1, 0, 0)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError):
        native.syscall(arch.current().nr_bpf, 1 << 20, (1 << 64) - 1, 8)    # addresses above 2**63 pass


def test_memory(native):
    data = bytearray(range(32))
    at = native.address_of(data)
    assert native.bytes_at(at + 3, 5) == bytes(data[3:8])
    native.store_release(at + 8, (1 << 64) - 2)
    assert native.load_acquire(at + 8) == (1 << 64) - 2
    assert bytes(data[7:17]) == b"\x07\xfe" + b"\xff" * 7 + b"\x10" or sys.byteorder == "big"
    data += b"x"    # nothing holds on to the buffer


def test_choice(monkeypatch):
    with pytest.raises(ImportError):
        _native.choose("nonsense")
    assert _native.choose("ctypes").__name__ == "lbc._native.with_ctypes"


def test_nothing_of_cffi_is_imported(tmpdir):
    """Neither with the module (it needs _cffi_backend alone) nor without."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(_native.__file__))))
    env = dict(os.environ, XDG_CACHE_HOME=str(tmpdir), PYTHONPATH=root)
    env.pop("LBC_NATIVE", None)
    code = ("import sys; import lbc._native as n; "
            "sys.stdout.write(n.backend.__name__ + ' ' + str('cffi' in sys.modules))")
    for environment in (env, dict(os.environ, PYTHONPATH=root)):
        out = subprocess.Popen([sys.executable, "-c", code], env=environment,
                               stdout=subprocess.PIPE).communicate()[0].decode()
        name, loaded = out.split()
        assert name.startswith("lbc._native.with_c") and loaded == "False"


def test_only_a_private_folder_is_trusted(tmpdir):
    folder = tmpdir.mkdir("native")
    folder.chmod(0o700)
    assert with_paths.private(str(folder))
    extension = folder.join("x.so")
    extension.write("")
    extension.chmod(0o755)
    assert with_paths.private(str(folder))
    extension.chmod(0o775)
    assert not with_paths.private(str(folder))
    extension.chmod(0o755)
    folder.chmod(0o777)
    assert not with_paths.private(str(folder))
    folder.chmod(0o700)
    folder.join("link").mksymlinkto("/bin/sh")
    assert not with_paths.private(str(folder))
    assert not with_paths.private(str(tmpdir.join("absent")))


def test_build_says_what_is_missing(monkeypatch, capsys):
    from lbc._native import build
    monkeypatch.setitem(sys.modules, "cffi", None)
    assert build.main(["--user"]) == 1
    assert "cffi" in capsys.readouterr()[1]
    assert build.main(["--nonsense"]) == 2


def test_private_folder_in_a_public_one(tmpdir):
    """Who may rename a folder above may put another in its place between the look and the import."""
    above = tmpdir.mkdir("above")
    folder = above.mkdir("lbc").mkdir("native")
    folder.chmod(0o700)
    assert with_paths.private(str(folder))
    above.chmod(0o777)
    assert not with_paths.private(str(folder))
    above.chmod(0o1777)     # sticky, as /tmp: others' names cannot be moved there
    assert with_paths.private(str(folder))
    if os.geteuid() == 0:
        above.chmod(0o755)
        os.chown(str(above), 65534, 65534)
        assert not with_paths.private(str(folder))
