"""surftrace: trace kernel functions, user functions and events by C-like expressions.

usage: surftrace [options] EXPRESSION ...          (python -m lbc surftrace ...)

  p FUNCTION [VAR=VALUE ...] [f:FILTER]     a kernel function's entry, or an instruction in it (FUNCTION+0x79)
  r FUNCTION [VAR=VALUE ...] [f:FILTER]     its return
  P OBJECT:FUNCTION ...  R OBJECT:FUNCTION ...     the same in a program or library: bash:readline, libc:fopen
  e SYSTEM/EVENT [f:FILTER]                 a trace event
  VALUE: %0->comm, pathname->name, S$retval, X!(struct file *)%ax->f_pos, @(struct iphdr *)l3%0->saddr, @jiffies

    surftrace 'p wake_up_new_task comm=%0->comm f:comm=="bash"'
    surftrace 'p do_filp_open name=pathname->name' 'r do_filp_open file=X$retval'
    surftrace 'R bash:readline cmd=!(char *)$retval'
    surftrace -p 4711 -s 'e sched/sched_switch'

what is traced:
  -f, --file FILE         expressions from a file, one a line
  -p, --pid PID           only this process, its threads and what they start (user probes: files as it sees them)
      --comm NAME         only tasks of that name
  -c, --command COMMAND   run this command and trace it and what it starts; ends when it ends
  -n, --count N           end after N events
  -D, --duration SECONDS  end after that time
      --max-probes N      limit of one wildcard (100)
      --buffer KB         buffer for each CPU
what is shown:
  -s, --stack             with kernel stacks          --ustack   with stacks of the process
  -j, --json              a JSON object an event      -q, --quiet   without the echo lines
  -t, --time FORMAT       of time stamps: boot (default), wall, delta, none
      --text              read trace_pipe, where raw pages could be read
      --strict            exit status 3 when events or probes were lost
types and symbols:
  -m, --mode MODE         auto (default), btf, db (local), remote, gdb
  -d, --db FILE           a type database            -r, --rip HOST[:PORT]   a server
  -v, --vmlinux FILE      types of this file         -a, --arch ARCH   another architecture's (with -S)
other:
  -S, --show              only show the expressions as the kernel takes them
  -o, --output FILE       write a bash script that does the same without lbc
  -F, --func FUNCTION     disassemble a kernel function     -l, --line FILE:LINE   find its address
  -g, --gdb FILE          the gdb for -F and -l

Needs root and tracefs.  Everything it makes is its own and is gone when it ends; lost events are counted on stderr.
"""
from __future__ import absolute_import

import sys

from ..errors import InputError
from . import _cli

TIMES = ("boot", "wall", "delta", "none")


def _choice(*names):
    def convert(text):
        if text not in names:
            raise ValueError(text)
        return text
    return convert


OPTIONS = [
    ("-f", "--file", "file", str, None), ("-p", "--pid", "pid", _cli.process_id, None),
    ("", "--comm", "comm", str, None), ("-c", "--command", "command", str, None),
    ("-n", "--count", "count", _cli.positive_int, None), ("-D", "--duration", "duration", _cli.positive_seconds, None),
    ("", "--max-probes", "max_probes", _cli.positive_int, 100), ("", "--buffer", "buffer", _cli.positive_int, None),
    ("-s", "--stack", "stack", None, None), ("", "--ustack", "ustack", None, None),
    ("-j", "--json", "json", None, None), ("-q", "--quiet", "quiet", None, None),
    ("-t", "--time", "time", _choice(*TIMES), "boot"),
    ("", "--text", "text", None, None), ("", "--strict", "strict", None, None),
    ("-m", "--mode", "mode", str, "auto"), ("-d", "--db", "db", str, None), ("-r", "--rip", "server", str, None),
    ("-v", "--vmlinux", "vmlinux", str, None), ("-a", "--arch", "arch", str, ""), ("-S", "--show", "show", None, None),
    ("-o", "--output", "output", str, None), ("-F", "--func", "function", str, None),
    ("-l", "--line", "line", str, None), ("-g", "--gdb", "gdb", str, None),
]


def expressions_of(options):
    """All expressions, those of the file first."""
    from ..ftrace.planner import split_lines
    found = []
    if options.file:
        try:
            with open(options.file, "rb") as f:
                found += split_lines(_cli.to_text(f.read()))
        except (IOError, OSError) as error:
            raise InputError("%s: %s" % (options.file, error.strerror))
    return found + options.rest


def types_of(options):
    """The resolver that the options name."""
    from ..resolvers import open_resolver
    mode = "gdb" if options.mode == "auto" and options.vmlinux else options.mode     # its errors name the file's lack
    return open_resolver(mode, None, options.arch or None, options.vmlinux, options.db, options.server)


def show(entries):
    """What the kernel would be told, without telling it."""
    for entry in entries:
        if entry.control:
            _cli.write_text(entry.compiled.definition(entry.place))
        else:
            _cli.write_text("e:%s/%s" % (entry.system, entry.name))
        if entry.condition:
            _cli.write_text("    filter: " + entry.condition)


def say(text):
    """One line on stderr, after what stdout still holds."""
    sys.stdout.flush()
    _cli.write_line(sys.stderr, "surftrace: " + text)


def main(argv=None):
    options = _cli.parse(__doc__, argv, OPTIONS, positional=4096)
    if options.function or options.line:
        from ..ftrace import source_lines
        if options.function:
            _cli.write_text(source_lines.disassemble(options.function, options.vmlinux, options.gdb).rstrip("\n"))
        if options.line:
            _cli.write_text(source_lines.locate_line(options.line, options.vmlinux, options.gdb).rstrip("\n"))
        return 0
    from ..ftrace.planner import make_plan, make_planner
    from .. import host
    expressions = expressions_of(options)
    if not expressions:
        raise _cli.UsageError("no expression")
    if options.command and options.pid:
        raise _cli.UsageError("-c and -p exclude each other")
    foreign = bool(options.arch) and options.arch != host.machine()
    if foreign and not (options.show or options.output):
        raise _cli.UsageError("-a %s: this machine is %s; only -S and -o work for another" % (
            options.arch, host.machine()))
    types = types_of(options)
    planner = make_planner(types, options.arch, options.pid, options.max_probes, options.vmlinux, check=not foreign)
    planner.only_shown = options.show or bool(options.output)
    plan = make_plan(planner, expressions, options.stack, options.ustack, options.comm, options.buffer)
    if options.show:
        show(plan.entries)
    for note in sorted(set(list(getattr(types, "notes", ())) + [
            note for entry in plan.entries for note in entry.compiled.notes + [entry.note] if note])):
        say("note: " + note)
    if options.show:
        return 0
    if options.output:
        from ..ftrace.script import bash_script
        return write_script(options.output, bash_script(plan, expressions, host.release(), host.machine()))
    from . import _surftrace
    return _surftrace.trace(planner, plan, options)


def write_script(path, text):
    """The script as an executable file of ours."""
    import os
    from ..errors import LbcError
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755)
        with os.fdopen(fd, "w") as f:
            f.write(text)
    except (IOError, OSError) as error:
        raise LbcError("cannot write %s: %s" % (path, error.strerror))
    say("wrote %s" % path)
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run_main("surftrace", main))
