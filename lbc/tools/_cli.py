"""What every tool does the same way: options, the loop, a table or JSON lines, signals, and errors as one line.

Nothing here imports argparse, json or re before it is needed: start-up is a feature (docs/architecture.md).

Exit status: 0 when it ended as asked (time over, Ctrl-C, a closed pipe), 1 on an error, 2 on wrong usage.
"""
from __future__ import absolute_import

import os
import sys
import time

from .._py23 import is_plain, monotonic, signal, to_text, to_unicode
from ..errors import LbcError

__all__ = ["Options", "parse", "positive_int", "positive_seconds", "process_id", "bpf_object", "run_main", "Output",
           "clock", "loop"]

EPIPE = 32
MAX_PID = 1 << 22   # PID_MAX_LIMIT of 64-bit kernels, include/linux/threads.h


class UsageError(Exception):
    """Wrong options; the text says which."""


class Options(object):
    """Parsed options as attributes; ``rest`` holds the positional arguments."""


def parse(doc, argv, table, positional=0):
    """Options of ``argv`` (None: sys.argv[1:]).

    ``table``: rows (short "-p", long "--pid", attribute "pid", convert or None for a switch, default).
    ``-h``/``--help`` prints ``doc`` and leaves with 0.  ``positional``: how many other words are allowed at most.
    """
    options, words = Options(), list(sys.argv[1:] if argv is None else argv)
    options.rest = []
    by_name = {}
    for row in table:
        by_name[row[0]] = by_name[row[1]] = row
        setattr(options, row[2], row[4] if row[3] else False)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            sys.stdout.write(doc.strip() + "\n")
            raise SystemExit(0)
        name, equals, value = word.partition("=")
        if word == "--":
            options.rest += words
            break
        if not word.startswith("-") or word == "-":
            options.rest.append(word)
            continue
        if name not in by_name and len(word) > 2 and word[:2] in by_name and not word.startswith("--"):
            name, equals, value = word[:2], "=", word[2:]  # -p123
        row = by_name.get(name)
        if row is None:
            raise UsageError("unknown option %s" % word)
        if row[3] is None:
            if equals:
                raise UsageError("option %s takes no value" % name)
            setattr(options, row[2], True)
            continue
        if not equals:
            if not words:
                raise UsageError("option %s needs a value" % name)
            value = words.pop(0)
        try:
            setattr(options, row[2], row[3](value))
        except ValueError:
            raise UsageError("option %s: bad value %r" % (name, value))
    if len(options.rest) > positional:
        raise UsageError("unexpected argument %r" % options.rest[positional])
    return options


def positive_int(text):
    """A converter for table rows: 1, 2, 3 ..."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def process_id(text):
    """A converter for table rows: 1 ... 4194304."""
    number = positive_int(text)
    if number > MAX_PID:
        raise ValueError(text)
    return number


def positive_seconds(text):
    """A converter for table rows: seconds > 0, fractions allowed."""
    number = float(text)
    if not 0 < number < 1e9:  # also refuses nan
        raise ValueError(text)
    return number


def bpf_object(name, **options):
    """BpfObject of ``bpf/NAME.bpf.o`` beside the tools: a file, or a member of the wheel that we run from."""
    from ..bpf.object import BpfObject
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpf", name + ".bpf.o")
    if not os.path.exists(path):  # zipimport: the loader reads members of its archive (pkgutil costs 8 ms of imports)
        path = __loader__.get_data(path)  # noqa: F821
    return BpfObject(path, name=name + ".bpf.o", **options)


def run_main(name, main, argv=None):
    """Exit status of ``main(argv)``, its errors written to stderr as `name: what`.  LBC_DEBUG=1 shows tracebacks."""
    debug = os.environ.get("LBC_DEBUG") == "1"
    _open_standard_streams()
    try:
        return main(argv) or 0
    except UsageError as error:
        sys.stderr.write("%s: %s\ntry: python -m lbc %s --help\n" % (name, error, name))
        return 2
    except LbcError as error:
        if debug:
            raise
        sys.stderr.write("%s: %s\n" % (name, to_text(str(error))))
        return 1
    except KeyboardInterrupt:
        return 130
    except (IOError, OSError) as error:
        if debug:
            raise
        if error.errno == EPIPE:
            return _closed_pipe()
        sys.stderr.write("%s: %s\n" % (name, error))
        try:
            sys.stdout.flush()
        except (IOError, OSError, ValueError):
            _closed_pipe()  # stdout it was: what is still buffered fails again at exit, with status 120
        return 1
    except MemoryError:
        sys.stderr.write("%s: out of memory\n" % name)
        return 1
    except Exception as error:  # a mistake of ours: still one line
        if debug:
            raise
        sys.stderr.write("%s: internal error: %s: %s\nhint: LBC_DEBUG=1 shows where\n"
                         % (name, type(error).__name__, error))
        return 1


def _open_standard_streams():
    """A program may be started with its streams closed (`>&-`): then the next thing opened, a BPF map perhaps, would
    become stdout, and Python 3 has no sys.stdout at all."""
    for fd, stream in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "r" if stream == "stdin" else "w"))


def _closed_pipe():
    """The reader went away (`| head -1`): a normal end.  Python must not complain again when it flushes at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    return 0


def write_line(stream, text):
    """``text`` and a line end; characters that the locale lacks as escapes."""
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii") + "\n")


def write_text(text):
    """Lines to stdout; names in them may be other people's (see _printable)."""
    for line in text.split("\n"):
        write_line(sys.stdout, _printable(line))


def json_line(value):
    """One line of JSON; texts that are not UTF-8 (names of files and of functions, on 2.7) do not stop it."""
    import json
    return json.dumps(_unicode(value), sort_keys=True)


def _unicode(value):
    if isinstance(value, dict):
        return {key: _unicode(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_unicode(item) for item in value]
    return to_unicode(value) if isinstance(value, str) else value


def write_lines(lines):
    """Lines to stdout in one piece; control characters in them (names of files, of tasks) are shown as escapes."""
    text = "\n".join(lines) + "\n"
    if not is_plain(text):
        text = "\n".join([_printable(line) for line in lines]) + "\n"
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        sys.stdout.write(text.encode("ascii", "backslashreplace").decode("ascii"))


class Output(object):
    """Rows as aligned text or as JSON, a line each.

    ``columns``: (title, attribute of JSON, format such as "%-8s") in order.  A title line goes before the first row.
    """

    def __init__(self, columns, json=False, stream=None):
        self.columns, self.json = columns, json
        self.stream = sys.stdout if stream is None else stream
        self._row = " ".join(column[2] for column in columns)
        if not json:
            self.line(" ".join(_as_text(column[2]) % column[0] for column in columns))
            self.flush()

    def line(self, text):
        write_line(self.stream, text)

    def row(self, values):
        """Write one row: a tuple with one value for each column.  Control characters in names are shown as escapes."""
        if self.json:
            self.line(json_line(dict(zip([column[1] for column in self.columns], values))))
        else:
            self.line(self._row % tuple([_printable(v) if isinstance(v, str) else v for v in values]))

    def flush(self):
        self.stream.flush()


def _printable(text):
    """File and task names are other people's: no escape sequence of theirs reaches the terminal, and no line of theirs
    looks like one of ours."""
    if not text or " " <= min(text) and max(text) < "\x7f":
        return text
    # Both Pythons alike, so character by character of the unicode text: C0, DEL, C1 (which terminals take in UTF-8
    # too) and the characters that end or turn lines.
    shown = "".join([_escaped(c) if ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) in _TURNING else to_text(c)
                     for c in to_unicode(text)])
    return shown


_TURNING = frozenset([0x061c, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff] + list(range(0x202a, 0x202f))
                     + list(range(0x2066, 0x206a)))


def _escaped(character):
    number = ord(character)
    return ("\\x%02x" if number < 256 else "\\u%04x") % number


def _as_text(number_format):
    """'%-6d' -> '%-6s', '%7.2f' -> '%7s': the same width for a title."""
    return number_format.split(".")[0].rstrip("dfsxu") + "s"


def clock(seconds=None):
    """'23:59:59' local time."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


class _Stop(KeyboardInterrupt):
    """A second SIGTERM or SIGHUP: ends in run_main as a second Ctrl-C does."""


def _raise_stop(signum, frame):
    raise _Stop(signum)


class _Signals(object):
    """While it is entered, the first SIGINT, SIGTERM or SIGHUP only sets ``came``: an exception in the middle of
    reading would lose what was taken out of a buffer and not shown yet.  A second one interrupts."""

    def __init__(self):
        self.came, self._previous = False, []

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:  # nohup: it is not to end us
                self._previous.append((number, before))
                signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.came = True
        for number, _ in self._previous:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _raise_stop)

    def __exit__(self, *_exc):
        for number, handler in self._previous:
            signal.signal(number, handler)


def loop(poll, duration=None, flush=None, step_ms=200, until=None, begin=None):
    """Call ``poll(timeout_ms)`` until ``duration`` seconds are over (None: for ever), ``until()`` is true, or SIGINT,
    SIGTERM or SIGHUP comes (seen after ``step_ms`` at the latest); ``begin()`` first, when these signals are handled.

    Returns normally in all these cases, so that the caller's clean-up and closing lines run.
    """
    end = None if duration is None else monotonic() + duration
    try:
        with _Signals() as signals:
            if begin is not None:
                begin()
            while not signals.came and (until is None or not until()):
                timeout = step_ms
                if end is not None:
                    left = end - monotonic()
                    if left <= 0:
                        break
                    timeout = min(timeout, max(1, int(left * 1000)))
                if poll(timeout) and flush:
                    flush()
    except KeyboardInterrupt:
        pass
    poll(0)
    if flush:
        flush()
