"""`python -m lbc`: lists the commands and tools; `python -m lbc NAME ...` runs lbc.tools.NAME."""
from __future__ import absolute_import

import sys

# What is not about one traced thing but about lbc's own work is listed first.
COMMANDS = ("doctor", "list", "load", "relocate", "server")

USAGE = """usage: python -m lbc NAME [arguments]      (python -m lbc NAME --help says more)"""


def names():
    """Sorted names of lbc.tools, from a folder, a zip or a wheel."""
    import pkgutil

    from . import tools
    return sorted(name for _, name, is_package in pkgutil.iter_modules(tools.__path__) if not is_package
                  and not name.startswith("_"))


def first_line(name):
    """First line of a tool's docstring, without importing the tool: its source is parsed; "" where there is no
    source."""
    import ast
    import pkgutil
    try:
        source = pkgutil.get_data("lbc.tools", name + ".py")
        text = ast.get_docstring(ast.parse(source)) or ""
    except (IOError, OSError, SyntaxError, ValueError):
        return ""
    return text.split("\n")[0]


def listing():
    """The text of `python -m lbc`."""
    from . import __version__
    every = names()
    width = max([len(name) for name in every] or [0])
    lines = ["lbc %s: kernel tracing and eBPF in pure Python" % __version__, USAGE]
    for title, some in (("commands", [n for n in every if n in COMMANDS]),
                        ("tools", [n for n in every if n not in COMMANDS])):
        if some:
            lines += ["", title + ":"]
            lines += ["  %-*s  %s" % (width, name, strip_name(name, first_line(name))) for name in some]
    return "\n".join(lines) + "\n"


def strip_name(name, text):
    """Without "name: " at the start: it stands beside it already."""
    return text[len(name) + 1:].strip() if text.lower().startswith(name + ":") else text


def _write(text):
    """Exit status of writing ``text``: a closed pipe or a full disk is one line, not a traceback."""
    from .tools import _cli

    def write(argv):
        sys.stdout.write(text)
        sys.stdout.flush()
    return _cli.run_main("lbc", write)


def main(argv=None):
    """Exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        return _write(listing())
    name = words[0]
    if name in ("-V", "--version"):
        from . import __version__
        return _write("lbc %s\n" % __version__)
    if name.startswith("-") or name not in names():
        from ._py23 import near
        close = near(name, names())
        sys.stderr.write("lbc: no command or tool `%s`%s\n%s\n" % (
            name, "; did you mean %s?" % " or ".join("`%s`" % n for n in close) if close else "", "try: python -m lbc"))
        return 2
    __import__("lbc.tools." + name)
    module = sys.modules["lbc.tools." + name]
    sys.argv = ["lbc " + name] + words[1:]
    from .tools import _cli
    return _cli.run_main(name, module.main, words[1:])


def surftrace():
    """The command `surftrace`, under its old name."""
    return main(["surftrace"] + sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
