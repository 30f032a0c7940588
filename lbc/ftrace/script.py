"""A session as a bash script that runs by itself, on a host without lbc, and cleans up after itself."""
from __future__ import absolute_import

from .plan import Names, quote

__all__ = ["bash_script"]

_HEAD = r"""#!/bin/bash
# Made by surftrace from:
%(expressions)s
# For kernel %(release)s (%(machine)s): the offsets and addresses below are that kernel's.  Run as root; Ctrl-C ends it.
[ "$(uname -r)" = %(quoted)s ] || echo "$0: made for kernel %(release)s, this is $(uname -r)" >&2
T=/sys/kernel/tracing
[ -d $T/events ] || mount -t tracefs tracefs $T 2>/dev/null
[ -d $T/events ] || T=/sys/kernel/debug/tracing
[ -d $T/events ] || { echo "$0: no tracefs, or not root" >&2; exit 1; }
G=surftrace_$$
I=$T/instances/$G

undo() {
    trap '' INT QUIT TERM HUP PIPE
    [ -z "$reader" ] || { kill $reader; wait $reader; } 2>/dev/null
    {
%(undo)s
    rmdir $I
%(delete)s
    } 2>/dev/null
}
trap undo EXIT
trap 'exit 130' INT QUIT TERM HUP PIPE

put() {  # TEXT OPERATOR FILE
    if [ "$2" = '>>' ]; then printf '%%s\n' "$1" >> "$3"; else printf '%%s\n' "$1" > "$3"; fi && return
    echo "$0: refused: $1 $2 $3" >&2
    tail -n 3 $T/error_log 2>/dev/null >&2
    exit 1
}

mkdir $I || exit 1
echo 0 > $I/tracing_on
"""

_TAIL = r"""
cat $I/trace_pipe &
reader=$!
wait $reader
"""


def _word(text):
    """``text`` as one shell word in which $G is the group of the script."""
    return quote(text).replace("@GROUP@", "'$G'") if quote(text).startswith("'") else text.replace("@GROUP@", "$G")


def bash_script(plan, expressions, release, machine):
    """Text of the script; values are shown as the kernel prints them (``ip_`` and the like are not converted)."""
    names = Names("$T", "$I", "@GROUP@")
    undo, delete = [], []
    for path, text, append in plan.undo(names):
        line = "\tprintf '%%s\\n' %s %s %s" % (_word(text), ">>" if append else ">", path.replace("@GROUP@", "$G"))
        (delete if append else undo).append(line)
    text = _HEAD % {
        "expressions": "\n".join("#   " + line for line in "\n".join(expressions).splitlines()), "release": release,
        "machine": machine, "quoted": quote(release), "undo": "\n".join(undo), "delete": "\n".join(delete) or "\t:"}
    for path, value, append in plan.setup(names):
        text += "put %s '%s' %s\n" % (_word(value), ">>" if append else ">", path.replace("@GROUP@", "$G"))
    return text + _TAIL
