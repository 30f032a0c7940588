"""The tests have the shape of the package: where a module's tests are can be guessed from its name."""
from __future__ import absolute_import

import os
import re

import pytest

from .test_layers import MODULES, SOURCES, imports, is_package
from .test_style import FILES, text_of

TESTS = [name for name in FILES if name.startswith("tests/") and name.endswith(".py")]
# Tested as a whole elsewhere: generated tables, three-line packages, the backends.
ELSEWHERE = {"bpf.btf_walk_code", "uapi.bpf", "uapi.calls", "uapi.btf", "uapi.perf", "uapi.elf", "uapi.arch",
             "_native.with_ctypes", "_native.with_cffi", "errors", "_py23", "host", "__main__", "tools._cli"}


@pytest.mark.parametrize("name", [name for name in TESTS if re.match(r"tests/test_\w+/test_\w+\.py$", name)])
def test_a_test_file_is_named_after_a_module(name):
    folder, module = re.match(r"tests/test_(\w+)/test_(\w+)\.py$", name).groups()
    candidates = [part for part in MODULES if part.replace(".", "_").startswith(folder) or part.startswith(folder)]
    words = [part.split(".")[-1].lstrip("_") for part in candidates] + [folder, "fuzz", "corpus", "tables", "oldkernel"]
    assert any(module.startswith(word) or word.startswith(module) for word in words), \
        "%s: lbc.%s has no module that begins like `%s`" % (name, folder, module)


def named_in_tests():
    """Modules that a test file is named after or that a test imports or names with their package."""
    texts = [(os.path.basename(name), text_of(name)) for name in TESTS
             if name not in ("tests/test_layers.py", "tests/test_mirror.py", "tests/test_style.py",
                             "tests/test_docs.py")]
    found = set()
    for module in MODULES:
        package, _, last = module.rpartition(".")
        wanted = re.compile(r"\b%s\b" % re.escape(last))
        near = package.split(".")[-1]
        for name, text in texts:
            if name.startswith("test_" + last.strip("_")) or ("lbc" in text and near in text and wanted.search(text)):
                found.add(module)
                break
    return found


def test_every_module_is_tested():
    """Under its own name, or through a module of the same package that is tested and that it is a part of."""
    tested = named_in_tests()
    while True:
        more = {name for module in tested for name in imports(module)[0]
                if name in SOURCES and name.rpartition(".")[0] == module.rpartition(".")[0]} - tested
        if not more:
            break
        tested |= more
    assert [name for name in MODULES if not is_package(name) and name not in ELSEWHERE and name not in tested] == []


@pytest.mark.parametrize("folder", sorted({os.path.dirname(name) for name in TESTS}))
def test_every_test_folder_is_a_package(folder):
    # The same file name in two folders confuses pytest 4.6 and 9 otherwise.
    assert folder + "/__init__.py" in FILES


def test_every_tool_is_run_by_a_test():
    for module in SOURCES:
        if module.startswith("tools.") and not module.split(".")[1].startswith("_"):
            name = module.split(".")[1]
            assert any(name in text_of(test)
                       for test in TESTS
                       if test.startswith(("tests/live/", "tests/test_tools/", "tests/test_bpf/"))), name
