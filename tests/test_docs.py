"""The documents tell the truth: public names are described, commands and files that the README names exist."""
from __future__ import absolute_import

import ast
import io
import os
import re

import pytest

from .test_layers import MODULES, SOURCES, parse
from .test_style import FILES, ROOT, text_of

DOCUMENTS = [name for name in FILES if name.endswith(".md") and not name.startswith("tests/")]


def public_names(tree):
    """__all__ of a module, None when it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            try:
                return [name for name in ast.literal_eval(node.value)]
            except ValueError:
                return None  # computed
    return None


@pytest.mark.parametrize("module", [name for name in MODULES if public_names(parse(SOURCES[name]))])
def test_public_names_are_described(module):
    """Each function and class in __all__ is there and has a docstring; a constant stands in a comment or the module's
    docstring."""
    tree = parse(SOURCES[module])
    defined, assigned = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.setdefault(node.name, node)
        elif isinstance(node, ast.Assign):
            assigned.update(name.id for target in node.targets for name in ast.walk(
                target) if isinstance(name, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            assigned.update(alias.asname or alias.name for alias in node.names)
    lazy = "lazy_module" in text_of(os.path.relpath(SOURCES[module], ROOT))
    for name in public_names(tree):
        assert name in defined or name in assigned or lazy, "%s.__all__ names %s, which is not there" % (module, name)
        if name in defined:
            assert ast.get_docstring(defined[name]), "lbc.%s.%s has no docstring" % (module, name)


def commands(text):
    """Lines of the fenced blocks of a Markdown text that are commands."""
    for block in re.findall(r"```(?:sh|console|bash)\n(.*?)```", text, re.S):
        for line in block.splitlines():
            line = re.sub(r"^\s*[$#] ", "", line).strip()
            if line:
                yield line


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    text = text_of(document)
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.M))
    for line in list(commands(text)) + re.findall(r"`([^`\n]+)`", text):
        for module in re.findall(r"-m (lbc(?:\.[a-z_]+)*)", line):
            name = module[len("lbc"):].lstrip(".")
            assert name in SOURCES, "%s: `%s`: no module %s" % (document, line, module)
        for name in re.findall(r"-m lbc ([a-z]+)", line):
            assert "tools." + name in SOURCES or name in ("help",), "%s: `%s`: no command %s" % (document, line, name)
        for name in re.findall(r"^make ([a-z]+)", line):
            assert name in targets, "%s: `%s`: no such target" % (document, line)
        for path in re.findall(r"(?:^|\s)((?:tests|scripts|bench|docs)/[\w/.-]+)", line):
            assert os.path.exists(os.path.join(ROOT, path.rstrip("."))), "%s: `%s`: no file %s" % (document, line, path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    folder = os.path.dirname(os.path.join(ROOT, document))
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(document)):
        if "://" not in target:
            assert os.path.exists(os.path.join(folder, target)), "%s links to %s" % (document, target)


def test_version_is_in_the_changelog():
    from lbc import __version__
    with io.open(os.path.join(ROOT, "CHANGELOG.md"), encoding="utf-8") as f:
        assert re.search(r"^## %s\b" % re.escape(__version__), f.read(), re.M)


def test_make_help_lists_every_target():
    text = text_of("Makefile")
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())
    assert targets == set(re.findall(r"^([a-z]+):.*## \S", text, re.M))
