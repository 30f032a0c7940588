"""Style of every tracked Python file, and what must not be in any file: paths of a developer's machine, registry
hosts."""
from __future__ import absolute_import

import ast
import io
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS = 120
# A line may break before or after an operator and go on where it reads best; lambdas may be named.
IGNORED = "W503,W504,E731,E741,E12"


def tracked():
    """Paths, relative, of the files in the repository; links and deleted files left out."""
    try:
        out = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT).decode("utf-8")
        names = out.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [os.path.relpath(os.path.join(folder, name), ROOT)
                                 for folder, _, files in os.walk(ROOT) for name in files]
    return sorted(name for name in names if os.path.isfile(os.path.join(ROOT, name))
                  and not os.path.islink(os.path.join(ROOT, name)) and not name.startswith((".git/", "tools/",
                                                                                            "resolvers/")))


FILES = tracked()
PYTHON = [name for name in FILES if name.endswith(".py")]


def text_of(name):
    with io.open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def tool(name, *arguments):
    """Output of `python -m name`, "" when it has nothing to say; skips when it is not installed."""
    pytest.importorskip(name)
    process = subprocess.Popen([sys.executable, "-m", name] + list(arguments), cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    return process.communicate()[0].decode()


def test_there_are_files():
    assert "lbc/errors.py" in PYTHON and "README.md" in FILES


def test_pyflakes():
    def meant(line):  # the file says `# noqa` where a name exists on one Python only
        match = re.match(r"(.*?):(\d+):", line)
        return match and "noqa" in text_of(match.group(1)).splitlines()[int(match.group(2)) - 1]
    complaints = [line for line in tool("pyflakes", *PYTHON).splitlines() if not meant(line)]
    assert complaints == []


def test_pycodestyle():
    assert tool("pycodestyle", "--max-line-length=%d" % COLUMNS, "--ignore=" + IGNORED, *PYTHON) == ""


def test_no_line_is_wider():
    wide = ["%s:%d" % (name, number) for name in PYTHON for number, line in enumerate(text_of(name).splitlines(), 1)
            if len(line) > COLUMNS]
    assert wide == []


@pytest.mark.skipif(sys.version_info < (3, 8), reason="ast.parse(feature_version=) came with Python 3.8")
@pytest.mark.parametrize("name", [name for name in PYTHON if name.startswith("lbc/")])
def test_is_python_3_5(name):
    """No Python 3.5 can be had everywhere, so at least its grammar is held: f-strings, annotations and walrus are
    refused."""
    tree = ast.parse(text_of(name).encode("utf-8"), name, feature_version=(3, 5))
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr)), "line %d" % node.lineno
        if isinstance(node, ast.Call):  # f(*a, *b) and {**a} are 3.5's, but not 2.7's
            assert sum(isinstance(arg, ast.Starred) for arg in node.args) <= 1, "line %d" % node.lineno
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            assert not node.args.kwonlyargs, "line %d: keyword-only arguments" % node.lineno
        assert not isinstance(node, (ast.Nonlocal, ast.AsyncFunctionDef,
                              ast.Await, ast.MatMult)), "line %d" % node.lineno


@pytest.mark.skipif(sys.version_info < (3, 6), reason="looks for a Python 2.7, with Python 3")
def test_is_python_2_7():
    from scripts import pythons
    path = pythons.find(2, 7)
    if not path:
        pytest.skip("no Python 2.7 here")
    script = "import sys\nfor name in sys.argv[1:]:\n    compile(open(name).read(), name, 'exec')"
    names = [name for name in PYTHON if name.startswith(("lbc/", "examples/"))]
    subprocess.check_call([path, "-c", script] + names, cwd=ROOT)


def test_tests_begin_alike():
    bad = []
    for name in PYTHON:
        tree = ast.parse(text_of(name).encode("utf-8"), name)
        future = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        if not ast.get_docstring(tree) or not (future or name in ("setup.py",)):
            bad.append(name)
    assert bad == [], "docstring, then `from __future__ import absolute_import`"


def test_nothing_of_a_developers_machine():
    forbidden = [("a developer's folder", re.compile(r"/(?:root/\.|work/[a-z]+|home/[a-z]+/)")),
                 ("a package registry's host", re.compile(
                     r"(?:pypi|pythonhosted|(?:deb|archive|snapshot)\.debian|docker|ghcr|npmjs|crates)"
                     r"\.(?:org|io|com)\b"))]
    bad = []
    for name in FILES:
        if name == "tests/test_style.py":
            continue
        with open(os.path.join(ROOT, name), "rb") as f:  # some are binary
            text = f.read().decode("latin-1")
        bad += ["%s: %s: %r" % (name, what, match.group())
                                for what, pattern in forbidden for match in pattern.finditer(text)]
    assert bad == []


def test_module_size():
    """A module does one job: about 400 lines, at most 600.  Generated tables may be longer."""
    long_ones = {name: len(text_of(name).splitlines())
                           for name in PYTHON if name.startswith("lbc/") and "/uapi/" not in name}
    assert {name: lines for name, lines in long_ones.items() if lines > 600} == {}
