"""`python -m lbc load`, `relocate` and the list of commands, as a user runs them: what they say and exit with."""
from __future__ import absolute_import

import json
import os
import subprocess
import sys

import pytest

from lbc.tools import load
from tests import corpus
from tests.oldkernel import OldKernel

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OBJECT = corpus.path("sec_tracepoint")


def run(*words, **more):
    """(status, stdout, stderr) of `python -m lbc WORDS`; words may be bytes."""
    env = dict(os.environ, PYTHONPATH=ROOT, LC_ALL=more.pop("locale", "C.UTF-8"))
    done = subprocess.Popen([sys.executable, "-m", "lbc"] + list(words), stderr=subprocess.PIPE, env=env,
                            stdout=more.pop("stdout", subprocess.PIPE), **more)
    out, err = done.communicate()
    text = [(stream or b"").decode("utf-8", "replace") for stream in (out, err)]
    assert "Traceback" not in "".join(text) and "internal error" not in "".join(text), text
    return done.returncode, text[0], text[1]


@pytest.fixture
def files(tmp_path_factory):
    """{what: path} of things that are no objects."""
    root = str(tmp_path_factory.mktemp("load"))
    with open(OBJECT, "rb") as f:
        whole = f.read()
    found = {"missing": os.path.join(root, "missing"), "directory": root}
    for name, data in (("empty", b""), ("text", b"hello\n"), ("truncated", whole[:700])):
        found[name] = os.path.join(root, name)
        with open(found[name], "wb") as f:
            f.write(data)
    return found


@pytest.mark.parametrize("command", ["load", "relocate"])
def test_what_is_no_object(files, command):
    for name, path in files.items():
        words = [command, path] if command == "load" else [command, path, "--btf", OBJECT]
        status, out, err = run(*words)
        assert status == 1 and path in out + err and len((out + err).splitlines()) <= 2, (name, out, err)


@pytest.mark.parametrize("command", ["load", "relocate"])
def test_what_is_no_btf(files, command):
    for name in ("missing", "directory", "empty", "text", "truncated"):
        status, out, err = run(command, OBJECT, "--btf", files[name])  # an object without CO-RE: said all the same
        assert status == 1 and files[name] in out + err, (name, out, err)


@pytest.mark.parametrize("words", [("load",), ("load", "a", "b"), ("load", "-x", "a"), ("relocate",),
                                   ("relocate", "a"), ("relocate", "--btf", "a"), ("relocate", "a", "--btf"), ("lod",),
                                   ("relocate", "a", "--btf", ""), ("-x",)])
def test_wrong_usage(words):
    status, out, err = run(*words)
    assert status == 2 and not out and "try: python -m lbc" in err


@pytest.mark.parametrize("words", [(), ("--version",), ("load", OBJECT), ("relocate", OBJECT, "--btf", OBJECT)])
def test_full_disk(words):
    with open("/dev/full", "w") as full:
        status, _, err = run(*words, stdout=full)
    assert status == 1 and "No space left" in err


def test_names_that_are_not_utf8(tmp_path_factory):
    path = os.path.join(str(tmp_path_factory.mktemp("bytes")).encode(), b"caf\xe9.o")
    with open(OBJECT, "rb") as f, open(path, "wb") as copy:
        copy.write(f.read())
    for locale in ("C.UTF-8", "C"):
        for more in ([], [b"--json"]):
            for name in (path, path + b".missing"):
                assert run(b"load", name, *more, locale=locale)[0] in (0, 1)
                assert run(b"relocate", name, b"--btf", path, *more, locale=locale)[0] == int(name != path)


def test_escape_sequences_in_names_do_not_reach_the_terminal():
    with open(OBJECT, "rb") as f:
        data = f.read().replace(b"on_exec\0", b"o\x1b[2Jc\0\0")
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), "lbc-escape-%d.o" % os.getpid())
    with open(path, "wb") as f:
        f.write(data)
    try:
        for words in (("load", path), ("relocate", path, "--btf", OBJECT)):
            out = "".join(run(*words)[1:])
            assert "\x1b" not in out and "\\x1b[2J" in out
    finally:
        os.unlink(path)


def test_devices_that_never_end():
    status, out, err = run("load", "/dev/zero")
    assert status == 1 and "/dev/zero" in out + err


def test_report_of_a_load():
    kernel = OldKernel((6, 1))
    out = load.report(OBJECT, attach=True, kernel=kernel)
    assert out["ok"] and [row["state"] for row in out["programs"]].count("attached") == 3
    assert not kernel.open_fds() and not kernel.bad_closes and json.dumps(out)
