"""The wheel and the sdist: what is in them, and that lbc runs from each place it may be run from, with Python 2.7 and
3.

Builds once with the Python that runs the tests; the four ways to run (installed, from the zip, from a checkout, from
the
sdist) are tried with every Python of PYTHONS.
"""
from __future__ import absolute_import

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from .test_style import FILES, ROOT

pytestmark = pytest.mark.skipif(sys.version_info < (3, 8), reason="builds with Python 3.8 or newer, runs with 2.7 too")
PYTHONS = [(3, 11), (2, 7)]
PACKAGE_FILES = sorted(name for name in FILES if name.startswith("lbc/"))
EPOCH = "1700000000"


def run(command, cwd, **env):
    """Output of a command that must succeed, in a clean environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LBC_", "PYENV"))}
    clean.update(env)
    process = subprocess.Popen(command, cwd=str(cwd), env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = process.communicate()[0].decode("utf-8", "replace")
    assert process.returncode == 0, "%s\n%s" % (" ".join(map(str, command)), out)
    return out


def interpreter(version):
    from scripts import pythons
    return pythons.find(*version) or pytest.skip("no Python %d.%d here" % version)


def checkout(target):
    """A copy of the tracked files, links as links, as `git clone` would leave it."""
    for name in FILES:
        path = os.path.join(str(target), name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        shutil.copy2(os.path.join(ROOT, name), path)
    for name in ("tools", "resolvers"):
        os.symlink("lbc/" + name, os.path.join(str(target), name))
    return target


def build(source):
    pytest.importorskip("wheel")
    pytest.importorskip("setuptools")
    run([sys.executable, "setup.py", "-q", "sdist", "bdist_wheel"], source, SOURCE_DATE_EPOCH=EPOCH)
    folder = os.path.join(str(source), "dist")
    wheel, sdist = sorted(os.listdir(folder))  # `lbc-0.1.0-py2...` stands before `lbc-0.1.0.tar.gz`
    return os.path.join(folder, wheel), os.path.join(folder, sdist)


def content(path):
    with open(str(path), "rb") as f:
        return f.read()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(folder of the checkout, path of the wheel, path of the sdist)."""
    source = checkout(tmp_path_factory.mktemp("checkout"))
    wheel, sdist = build(source)
    return source, wheel, sdist


def test_one_universal_wheel(built):
    from lbc import __version__
    assert os.path.basename(built[1]) == "lbc-%s-py2.py3-none-any.whl" % __version__
    with zipfile.ZipFile(built[1]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        text = archive.read(names[0]).decode()
    assert "Root-Is-Purelib: true" in text and "Tag: py2-none-any" in text and "Tag: py3-none-any" in text


def test_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = sorted(name for name in archive.namelist() if ".dist-info/" not in name)
        assert {name.split("/")[0] for name in names} == {"lbc"}
        assert names == PACKAGE_FILES
        for name in names:
            assert archive.read(name) == content(os.path.join(str(built[0]), name))


def test_wheel_asks_for_no_other_package(built):
    with zipfile.ZipFile(built[1]) as archive:
        meta = [name for name in archive.namelist() if name.endswith("METADATA")][0]
        points = [name for name in archive.namelist() if name.endswith("entry_points.txt")][0]
        assert "Requires-Dist" not in archive.read(meta).decode()
        assert "lbc = lbc.__main__:main" in archive.read(points).decode()


def test_objects_of_the_tools_are_in_it():
    assert [name for name in PACKAGE_FILES if name.endswith(".bpf.o")]
    for name in PACKAGE_FILES:
        if name.endswith(".bpf.c"):
            # a tool's object stands beside it; the loader's own program is a Python module (scripts/build_bpf.py)
            made = name[:-len(".bpf.c")] + "_code.py" if name.startswith("lbc/bpf/") else name[:-2] + ".o"
            assert made in PACKAGE_FILES, "%s is not compiled: make bpf" % name


def test_sdist_holds_every_tracked_file_once(built):
    with tarfile.open(built[2]) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
    names = [member.name.split("/", 1)[1] for member in members]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(("tools/", "resolvers/"))]
    missing = [name for name in FILES if name not in names and not name.startswith(".") and "/." not in name]
    assert missing == []


def test_wheel_is_reproducible(built, tmp_path):
    again = build(checkout(tmp_path / "again"))[0]
    assert hashlib.sha256(content(again)).hexdigest() == hashlib.sha256(content(built[1])).hexdigest()


def works(python, cwd, prefix=(), **env):
    """Runs what needs no root: the list of commands, a tool's help, and the package data of a tool."""
    command = list(prefix) or [python, "-m", "lbc"]
    listing = run(command, cwd, **env)
    for word in ("filelife", "load", "relocate"):
        assert word in listing
    if not prefix:
        assert "--btf" in run([python, "-m", "lbc.tools.relocate", "--help"], cwd, **env)
        assert "--duration" in run([python, "-m", "lbc.tools.filelife", "--help"], cwd, **env)
    size = run([python, "-c", "import pkgutil; print(len(pkgutil.get_data('lbc.tools', 'bpf/filelife.bpf.o')))"], cwd,
               **env)
    assert int(size) > 1000


@pytest.mark.parametrize("version", PYTHONS)
def test_runs_from_the_zip(built, version, tmp_path):
    works(interpreter(version), tmp_path, PYTHONPATH=built[1])


@pytest.mark.parametrize("version", PYTHONS)
def test_runs_from_a_checkout(built, version):
    works(interpreter(version), built[0])


@pytest.mark.parametrize("version", PYTHONS)
def test_runs_from_the_sdist(built, version, tmp_path):
    with tarfile.open(built[2]) as archive:
        archive.extractall(str(tmp_path))
    works(interpreter(version), tmp_path / os.listdir(str(tmp_path))[0])


def test_sdist_gives_the_same_wheel(built, tmp_path):
    with tarfile.open(built[2]) as archive:
        archive.extractall(str(tmp_path))
    folder = tmp_path / os.listdir(str(tmp_path))[0]
    run([sys.executable, "setup.py", "-q", "bdist_wheel"], folder, SOURCE_DATE_EPOCH=EPOCH)
    wheel = [name for name in os.listdir(str(folder / "dist")) if name.endswith(".whl")][0]
    with zipfile.ZipFile(str(folder / "dist" / wheel)) as archive:
        assert sorted(name for name in archive.namelist() if ".dist-info/" not in name) == PACKAGE_FILES


def install(python, place, wheel, cwd):
    run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check", "--prefix",
         place, wheel],
        cwd)


@pytest.mark.parametrize("version", PYTHONS)
def test_runs_installed(built, version, tmp_path):
    """Installed by pip without an index, into a place of its own; from a folder that has no lbc in it."""
    python, place = interpreter(version), tmp_path / "place"
    if version[0] == 3:
        run([python, "-m", "venv", "--without-pip", place], tmp_path)
        site = run([place / "bin" / "python", "-c", "import site; print(site.getsitepackages()[0])"], tmp_path).strip()
        install(python, place, built[1], tmp_path)
        assert os.path.isdir(os.path.join(site, "lbc"))
        works(str(place / "bin" / "python"), tmp_path)
        works(str(place / "bin" / "python"), tmp_path, prefix=[place / "bin" / "lbc"], PYTHONPATH=site)
    else:
        install(python, place, built[1], tmp_path)
        site = str(place / "lib" / ("python%d.%d" % version) / "site-packages")
        works(python, tmp_path, PYTHONPATH=site)
        works(python, tmp_path, prefix=[place / "bin" / "lbc"], PYTHONPATH=site)
