"""printk: what BPF programs print with bpf_printk(), as it comes.

usage: python -m lbc printk [-p PROGRAM]... [-o OBJECT.bpf.o] [-m TEXT] [-n COUNT] [-d SECONDS] [-j]

  -p, --prog PROGRAM     only lines of the loaded program with this name or id (may be given more than once)
  -o, --object FILE      only lines of the programs in an object file
  -m, --match TEXT       only lines with TEXT in them
  -n, --count COUNT      stop after COUNT lines
  -d, --duration SECONDS stop after that time
  -j, --json             a line of JSON for each: {"task", "pid", "cpu", "time", "text"}

    $ python -m lbc printk -p j_wake_up_new_task
    TIME              CPU TASK               PID TEXT
    17658161.425644     5 bash           1091294 hello lcc, parent: 106880

Since kernel 5.9 it takes nothing from other readers of trace_pipe; older kernels give each line to one reader only.
A program's lines are told by its format strings: programs with the same ones cannot be told apart.

Cost: some 10 us of CPU a line (bpf_printk() itself takes 1 to 2 us of the traced program).  Exit status: 0, 1 on an
error, 2 for wrong usage.  Needs root.
"""
from __future__ import absolute_import

import sys

from .. import printk
from ..bpf import syscalls
from . import _cli

__all__ = ["main"]

COLUMNS = [("TIME", "time", "%-17.6f"), ("CPU", "cpu", "%3d"), ("TASK", "task", "%-15s"), ("PID", "pid", "%7d"),
           ("TEXT", "text", "%s")]


def _options(programs):
    def program(text):
        programs.append(text)
        return programs
    return (("-p", "--prog", "prog", program, None), ("-o", "--object", "object", str, None),
            ("-m", "--match", "match", str, ""), ("-n", "--count", "count", _cli.positive_int, 0),
            ("-d", "--duration", "duration", _cli.positive_seconds, None), ("-j", "--json", "json", None, None))


def wanted_formats(kernel, names, path):
    """Format strings of the programs and the object that were asked for; None: of all."""
    if not names and not path:
        return None
    found = []
    for name in names:
        for number in printk.find_programs(kernel, name):
            found += printk.formats_of_program(kernel, number)
    if path:
        from ..bpf.object import BpfObject
        with BpfObject(path) as obj:
            found += printk.formats_of(obj.spec)
    if not found:
        sys.stderr.write("printk: no bpf_printk() with a constant format in %s: no line will be shown\n" % " ".join(
            ["`%s`" % name for name in names] + ([path] if path else [])))
    return found


def main(argv=None):
    """Exit status."""
    names = []
    options = _cli.parse(__doc__, argv, _options(names))
    kernel = syscalls.Kernel()
    formats = wanted_formats(kernel, names, options.object)
    left, shown = [options.count], [False]
    with printk.Printk(kernel, formats) as source:
        if not source.own:
            sys.stderr.write("printk: this kernel has one trace_pipe for all: other readers miss what is shown here\n")
        output = _cli.Output(COLUMNS, options.json)

        def step(timeout_ms):
            for line in source.poll(timeout_ms):
                if options.match in line.text and (left[0] or not options.count):
                    left[0] -= 1
                    output.row((line.time, line.cpu, line.task, line.pid, line.text))
                    shown[0] = True
            if shown[0]:
                output.flush()
                shown[0] = False

        _cli.loop(step, options.duration, until=lambda: options.count and left[0] <= 0)
        lost = source.lost
    if lost:
        sys.stderr.write("printk: %d lines were lost\n" % lost)


if __name__ == "__main__":
    sys.exit(_cli.run_main("printk", main))
