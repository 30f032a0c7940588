"""The import order of lbc, and its walls (docs/architecture.md).  Reads source; imports nothing but in a child
process."""
from __future__ import absolute_import

import ast
import fnmatch
import io
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# A module may import from its own row and from the rows above it.  The longest name that fits a module counts;
# `x.*` is the package x and all of it.
LAYERS = [
    ["errors", "_py23"],
    ["uapi.*"],
    ["_native.*"],
    ["host", "render", "render.*"],
    ["elf.*"],
    ["btf.*"],
    ["kallsyms", "symbols"],
    ["kernel_files", "residue"],
    ["tracefs"],
    ["kernel_functions"],
    ["asm"],
    ["bpf.spec", "bpf.sections"],
    ["bpf.mapdefs", "bpf.btf_fixup"],
    ["bpf.reader", "bpf.linker", "bpf.core_*"],
    ["bpf.syscalls"],
    ["bpf.features"],
    ["bpf.btf_walk", "bpf.btf_walk_code"],
    ["bpf.kernel_btf", "bpf.verifier", "bpf.map_raw", "bpf.map_codec", "bpf.map_kinds", "bpf.pinning", "bpf.rings"],
    ["bpf.*", "bpf.links.*"],
    ["java", "printk"],
    ["bpf.object"],
    ["wire", "cache", "c_source"],
    ["kernel_target", "compiler_log"],
    ["compiler"],
    ["resolvers.*"],
    ["expr", "expr.nodes", "expr.values"],
    ["expr.lexer", "expr.storing", "expr.calling"],
    ["expr.parser", "expr.checker", "expr.emitter", "expr.filters"],
    ["expr.probe"],
    ["ftrace.*"],
    [""],
    ["server", "server.settings", "server.messages", "server.metrics", "server.flags", "server.store", "server.hive",
     "server.jail"],
    ["server.*"],
    ["tools.*"],
    ["legacy", "legacy_*"],
    ["__main__"],
]

# who, may not import whom, because
WALLS = [
    (("elf", "btf", "asm"), ("_native", "bpf"), "formats are read without a kernel and without root"),
    (("bpf.spec", "bpf.sections", "bpf.mapdefs", "bpf.btf_fixup", "bpf.reader", "bpf.linker", "bpf.core_*"),
     ("_native", "bpf.syscalls", "bpf.features", "bpf.maps", "bpf.programs", "bpf.links", "bpf.object"),
     "what an object means is the same on every machine"),
    (("bpf",), ("resolvers", "tools"), "it loads what it is given"),
    (("resolvers",), ("bpf", "tools"), "a resolver answers type questions, it does not trace"),
    (("expr",), ("_native", "host", "bpf", "elf", "btf", "ftrace", "tools"),
     "expressions mean the same on every machine: pure, tested without a kernel, fuzzed"),
    (("ftrace",), ("bpf", "tools"), "tracefs needs no BPF: old and locked-down kernels have it too"),
    (("server",), ("bpf", "expr", "ftrace", "tools"), "it serves machines, it does not trace its own"),
    (("tools",), ("_native", "legacy"), "what a tool needs, the library offers"),
]

# Each costs milliseconds and megabytes (SPEED: start-up is a hard goal), so it is imported where it is used.
QUICK = {"__future__", "_signal", "array", "binascii", "bisect", "codecs", "ctypes", "errno", "fcntl", "gc",
         "itertools",
         "marshal", "mmap", "operator", "os", "select", "signal", "stat", "struct", "sys", "time"}
# Only loaded for what is slow anyway: a refused program, a USDT probe, compiling the optional backend, threads.
OFF_PATH = ["bpf.verifier", "bpf.links.usdt_args", "_native.build", "legacy", "legacy_thread"]


def sources():
    """{module without the leading `lbc.`: path}."""
    found = {}
    for folder, folders, files in os.walk(os.path.join(ROOT, "lbc")):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, os.path.join(ROOT, "lbc"))[:-3].replace(os.sep, ".")
                found[dotted[:-len("__init__")].rstrip(".") if dotted.endswith("__init__") else dotted] = path
    return found


SOURCES = sources()
MODULES = sorted(SOURCES)


def parse(path):
    with io.open(path, encoding="utf-8") as f:
        text = f.read()
    return ast.parse(text.encode("utf-8"), path)


def is_package(module):
    return SOURCES.get(module, "").endswith("__init__.py")


def imported(module, node):
    """Names, without `lbc.`, of what one import statement brings in from lbc, and top-level names from elsewhere."""
    own, other = [], []
    if isinstance(node, ast.Import):
        for alias in node.names:
            top, _, rest = alias.name.partition(".")
            if top == "lbc":
                own.append(rest)
            else:
                other.append(top)
    elif node.level:
        parts = module.split(".") if module else []
        base = parts if is_package(module) else parts[:-1]
        base = base[:len(base) - (node.level - 1)] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            name = ".".join(base + [alias.name])
            own.append(name if name in SOURCES else ".".join(base))
    elif node.module.split(".")[0] == "lbc":
        for alias in node.names:
            base = node.module.partition(".")[2]
            name = (base + "." if base else "") + alias.name
            own.append(name if name in SOURCES else base)
    else:
        other.append(node.module.split(".")[0])
    return own, other


def imports(module, top_only=False):
    """(modules of lbc, [(top-level name, line)] of others) that ``module`` imports; ``top_only``: when it is imported
    itself."""
    own, other = set(), []
    pending = [parse(SOURCES[module])]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            ours, theirs = imported(module, node)
            own.update(ours)
            other += [(name, node.lineno) for name in theirs]
        for child in ast.iter_child_nodes(node):
            if not (top_only and isinstance(child, (ast.FunctionDef, ast.Lambda))):
                pending.append(child)
    own.discard(module)
    return own, other


def layer(module):
    """Row of LAYERS, None when no name fits."""
    fitting = [(name == module, len(name), number) for number, row in enumerate(LAYERS) for name in row
               if name == module or ("*" in name and fnmatch.fnmatch(module + "." * name.endswith(".*"), name))]
    return max(fitting)[2] if fitting else None


def within(module, names):
    return any(module.startswith(name + ".") or fnmatch.fnmatch(module, name) for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_order_and_walls(module):
    mine = layer(module)
    assert mine is not None, "lbc.%s has no row in LAYERS" % module
    own, other = imports(module)
    for name in sorted(own):
        assert name in SOURCES, "lbc.%s imports lbc.%s, which is not there" % (module, name)
        if is_package(name) and (name == "" or module == name or module.startswith(name + ".")):
            continue  # `from . import x`: the package itself is loaded in any case
        row = layer(name)
        assert row is not None and row <= mine, "lbc.%s imports lbc.%s, which stands below it" % (module, name)
    for who, whom, why in WALLS:
        if within(module, who):
            for name in own:
                assert not within(name, whom), "lbc.%s imports lbc.%s: %s" % (module, name, why)
    if not within(module, ["_native"]):
        assert not {"ctypes", "cffi", "_ctypes"} & {name for name, _ in other}, "ctypes and cffi belong to lbc._native"


def test_no_import_cycles():
    """Imports that happen when a module is loaded form no circle, in whatever order modules are loaded first."""
    graph = {module: {name for name in imports(module, top_only=True)[0] if not is_package(name) or name == "bpf.links"}
             for module in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, "circle: " + " -> ".join(path[path.index(module):] + [module])
        if module not in done:
            path.append(module)
            for name in sorted(graph.get(module, ())):
                visit(name)
            path.pop()
            done.add(module)
    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in OFF_PATH])
def test_loads_nothing_heavy(module):
    heavy = sorted((name, line) for name, line in imports(module, top_only=True)[1] if name not in QUICK)
    if module == "_py23":
        heavy = [row for row in heavy if row[0] not in ("collections",)]  # 2.7 to 3.6: OrderedDict
    assert not heavy, "lbc.%s imports at its top what takes long to load: %s" % (module, heavy)


@pytest.mark.parametrize("module", MODULES)
def test_every_file_begins_alike(module):
    tree = parse(SOURCES[module])
    assert ast.get_docstring(tree), "no docstring"
    second = tree.body[1]
    assert isinstance(second, ast.ImportFrom) and second.module == "__future__", "second: from __future__ import ..."
    assert "absolute_import" in [alias.name for alias in second.names]


STDLIB = set("""
abc array ast asyncio atexit base64 bisect builtins calendar cmd code codecs collections compiler config copy csv
ctypes curses datetime dbm decimal difflib dis email encodings enum errno fcntl filecmp fnmatch formatter fractions
functools gc getopt getpass gettext glob grp gzip hashlib heapq hmac html http imp importlib inspect io ipaddress
itertools json keyword linecache locale logging lzma mailbox marshal math mmap multiprocessing new numbers operator
os parser pathlib pdb pickle pipes pkgutil platform poll posix pprint profile pwd queue random re resource secrets
select selectors shelve shlex shutil signal site socket sqlite3 ssl stat statistics string struct subprocess
symtable sys syslog tabnanny tempfile termios test textwrap thread threading time timeit token tokenize trace
traceback tracemalloc tty types typing unicodedata unittest urllib uuid venv warnings wave weakref xml zipfile
zipimport zlib zoneinfo
""".split())


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("tools.")])
def test_tool_names_do_not_hide_stdlib_modules(module):
    # Running a tool by its path puts its own folder first on sys.path.
    assert module.split(".")[1] not in STDLIB


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("", "__main__")])
def test_module_names_are_not_stdlib_names(module):
    # `symbols`, `parse`, `values` are fine; `struct.py` or `select.py` would win over the real one where 2.7 imports
    # siblings first.
    own = module.split(".")[-1]
    assert own not in STDLIB or own in ("code", "parser", "compiler"), "lbc.%s is named like a stdlib module" % module


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("_py23",)])
def test_version_branches_only_in_py23(module):
    for node in ast.walk(parse(SOURCES[module])):
        if isinstance(node, ast.Attribute) and node.attr in ("version_info", "hexversion"):
            pytest.fail("line %d asks sys.%s: a 2/3 difference belongs to lbc._py23" % (node.lineno, node.attr))


def loaded_by(statement):
    """Names in sys.modules after ``statement``, without what a bare interpreter with lbc's own needs has."""
    script = ("import %s\n"
              "before = set(sys.modules)\n%s\nprint(' '.join(sorted(set(sys.modules) - before)))"
              % (", ".join(sorted(QUICK - {"__future__"})), statement))
    out = subprocess.check_output([sys.executable, "-S", "-c", script], cwd=ROOT, env=dict(os.environ, PYTHONPATH=ROOT))
    return {name.split(".")[0] for name in out.decode().split() if not name.startswith("lbc")}


@pytest.mark.parametrize("statement", ["import lbc", "import lbc.bpf.object, lbc.bpf.events, lbc.bpf.links",
                                       "import lbc.tools.filelife"])
def test_start_up_path(statement):
    # An old Python has no ordered dict of its own; collections brings keyword, heapq and so on.
    allowed = {"collections", "_collections", "_abcoll", "keyword", "heapq", "_heapq", "thread", "_thread",
               "dummy_thread", "reprlib",
               "_weakref", "_weakrefset", "weakref", "_collections_abc", "__future__", "itertools"}
    if sys.version_info >= (3, 7):
        allowed = {"__future__"}
    assert loaded_by(statement) - allowed == set()


def test_the_other_way_in_is_refused():
    for name in ("tools", "resolvers"):
        if not os.path.exists(os.path.join(ROOT, name)):
            pytest.skip("this checkout has no symbolic links")
        process = subprocess.Popen([sys.executable, "-c", "import %s" % name], cwd=ROOT, stderr=subprocess.PIPE)
        said = process.communicate()[1].decode()
        assert process.returncode != 0 and "import lbc.%s, not %s" % (name, name) in said
