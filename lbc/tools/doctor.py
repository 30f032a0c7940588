"""doctor: what this host offers and lacks for tracing and BPF, and what to do about it.

usage: python -m lbc doctor [--json]

  -j, --json      one JSON object: {"lbc", "python", "kernel", "checks": [{"name", "state", "detail", "remedy"}]}

    $ python -m lbc doctor
    lbc 0.1.0, Python 3.11.7 (ctypes)
    ok       kernel        6.12.48 on x86_64, 2 CPUs
    ok       privileges    root
    missing  kprobes       not in this kernel (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS): no p, r
                           -> events (surftrace e), user probes (P, R), BPF tp_btf and raw_tp

Nothing is changed: programs and maps are tried and closed at once, nothing is attached, mounted or run.  It takes some
50 ms of CPU.  Exit status 0, whatever is missing; 1 when it cannot run, 2 for wrong usage.
"""
from __future__ import absolute_import

import sys

from .. import __version__
from ..bpf import syscalls
from . import _cli, _doctor_checks

__all__ = ["main"]

OPTIONS = (("-j", "--json", "json", None, None),)


def _python():
    """'3.11.7 (ctypes)': version and backend for raw system calls."""
    return "%s (%s)" % (sys.version.split()[0], syscalls.backend.__name__.rpartition("with_")[2])


def _as_json(rows, kernel):
    return _cli.json_line({"lbc": __version__, "python": _python(), "kernel": kernel.release(), "checks": [
        {"name": row.name, "state": row.state, "detail": row.detail, "remedy": row.remedy} for row in rows]})


def _as_text(rows):
    lines = ["lbc %s, Python %s" % (__version__, _python())]
    for row in rows:
        lines.append("%-8s %-13s %s" % (row.state, row.name, row.detail))
        if row.remedy:
            lines.append(" " * 23 + "-> " + row.remedy)
    return "\n".join(lines)


def main(argv=None):
    """Exit status."""
    options = _cli.parse(__doc__, argv, OPTIONS)
    kernel = syscalls.Kernel()
    rows = _doctor_checks.run(kernel)
    _cli.write_text(_as_json(rows, kernel) if options.json else _as_text(rows))


if __name__ == "__main__":
    sys.exit(_cli.run_main("doctor", main))
