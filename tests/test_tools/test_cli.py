# -*- coding: utf-8 -*-
"""What every tool shares: options, rows, streams, signals, errors as one line."""
from __future__ import absolute_import

import io
import json
import os
import signal
import subprocess
import sys

import pytest

from lbc.errors import InputError
from lbc.tools import _cli

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TABLE = [("-p", "--pid", "pid", _cli.process_id, 0), ("-d", "--duration", "duration", _cli.positive_seconds, None),
         ("-j", "--json", "json", None, None)]


class Stream(object):
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("words, expected", [
    ([], (0, None, False)), (["-p", "12"], (12, None, False)), (["-p12", "-j"], (12, None, True)),
    (["--pid=7", "--duration", "0.5"], (7, 0.5, False)), (["--json", "--pid", "4194304"], (4194304, None, True))])
def test_options(words, expected):
    options = _cli.parse("doc", words, TABLE)
    assert (options.pid, options.duration, options.json) == expected


@pytest.mark.parametrize("words, says", [
    (["-p"], "needs a value"), (["-p", "x"], "'x'"), (["-p", "0"], "'0'"), (["-p", "-1"], "'-1'"),
    (["-p", "4194305"], "'4194305'"), (["-d", "nan"], "'nan'"), (["-d", "inf"], "'inf'"), (["-d", "0"], "'0'"),
    (["--json=1"], "no value"), (["--no"], "--no"), (["-x1"], "-x1"), (["word"], "'word'"), (["--", "-p"], "'-p'")])
def test_wrong_options(words, says, capfd):
    assert _cli.run_main("tool", lambda argv: _cli.parse("doc", argv, TABLE) and 0, words) == 2
    out, err = capfd.readouterr()
    first, hint = err.splitlines()
    assert out == "" and first.startswith("tool: ") and says in first and hint == "try: python -m lbc tool --help"


# Expected by hand: C0, DEL, C1 controls and characters that end or turn a line are shown, all else is as it is.
NAMES = [(b"plain", u"plain"), (b"two words", u"two words"), (b"a\nb\x1b[31m\x7f", u"a\\x0ab\\x1b[31m\\x7f"),
         (b"\xc2\x9b31m", u"\\x9b31m"), (b"\xe2\x80\xaegnp.exe", u"\\u202egnp.exe"), (b"z\xc3\xbcrich", u"z\u00fcrich"),
         (b"\xe2\x80\xa8", u"\\u2028"), (b"bad\xff\xfe", u"bad\\xff\\xfe"), (b"", u""), (b"\\", u"\\")]


@pytest.mark.parametrize("raw, shown", NAMES)
def test_names_are_shown_without_their_tricks(raw, shown):
    from lbc._py23 import to_text, to_unicode
    stream = Stream()
    output = _cli.Output([("N", "n", "%d"), ("FILE", "file", "%s")], stream=stream)
    output.row((3, to_text(raw)))
    assert to_unicode(stream.text) == u"N FILE\n3 %s\n" % shown


@pytest.mark.parametrize("raw, value", [
    (b"a\nb\"\x1b", u"a\nb\"\x1b"), (b"z\xc3\xbcrich", u"z\u00fcrich"), (b"bad\xff", u"bad\\xff")])
def test_json_rows_are_lines_of_json(raw, value):
    from lbc._py23 import to_text
    stream = Stream()
    output = _cli.Output([("N", "n", "%d"), ("FILE", "file", "%s")], json=True, stream=stream)
    output.row((3, to_text(raw)))
    assert stream.text.count("\n") == 1 and json.loads(stream.text) == {"n": 3, "file": value}


@pytest.mark.parametrize("failure, status, says", [
    (InputError("no such thing", hint="another"), 1, "tool: no such thing\nhint: another\n"),
    (KeyboardInterrupt(), 130, ""), (IOError(28, "No space left on device"), 1, "tool: [Errno 28] No space left"),
    (MemoryError(), 1, "tool: out of memory\n"),
    (TypeError("oops"), 1, "tool: internal error: TypeError: oops\nhint:")])
def test_errors_become_lines(failure, status, says, capfd, monkeypatch):
    monkeypatch.delenv("LBC_DEBUG", raising=False)

    def main(argv):
        raise failure
    assert _cli.run_main("tool", main, []) == status
    assert capfd.readouterr()[1].startswith(says) if says else capfd.readouterr()[1] == ""
    if isinstance(failure, TypeError):
        monkeypatch.setenv("LBC_DEBUG", "1")
        with pytest.raises(TypeError):
            _cli.run_main("tool", main, [])


def script(text, shell):
    """(exit status, stdout, stderr) of a small program run by sh with redirections; it prints to fd 3 what it found."""
    body = "from __future__ import print_function\nimport os, sys, signal, time\nfrom lbc.tools import _cli\n" + text
    process = subprocess.Popen(["sh", "-c", 'exec "$0" -c "$1" %s' % shell, sys.executable, body], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-", "<&-"])
def test_streams_may_be_closed(closed, tmpdir):
    """The next file opened does not become stdout, and writing to it is no error."""
    path = str(tmpdir.join("it"))
    text = """
def main(argv):
    f = open(%r, 'w')
    number = f.fileno()
    _cli.Output([('A', 'a', '%%d')]).row((1,))
    sys.stdout.flush()
    sys.stderr.write('x')
    f.write('%%d' %% number)
    f.close()
sys.exit(_cli.run_main('tool', main))
""" % path
    status, _, err = script(text, closed)
    assert status == 0 and "Traceback" not in err
    assert int(io.open(path).read()) > 2


def test_closed_pipe_is_a_normal_end():
    text = """
def main(argv):
    out = _cli.Output([('A', 'a', '%d')])
    while True:
        out.row((1,))
sys.exit(_cli.run_main('tool', main))
"""
    status, out, err = script(text, "| head -1")
    assert (status, out, err) == (0, "A\n", "")


LOOP = """
def poll(ms):
    if %(condition)s:
        os.kill(os.getpid(), signal.%(name)s)
    time.sleep(0.01)
    return 0
def main(argv):
    _cli.loop(poll, %(duration)s)
    print('cleaned up')
sys.exit(_cli.run_main('tool', main))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_the_loop(name):
    assert script(LOOP % {"name": name, "condition": "ms", "duration": 30}, "") == (0, "cleaned up\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_is_no_traceback(name):
    """The loop's last poll(0) is interrupted as well: Ctrl-C after Ctrl-C, or SIGTERM by its default."""
    status, _, err = script(LOOP % {"name": name, "condition": "True", "duration": 30}, "")
    assert err == "" and status in (130, -signal.SIGTERM)


def test_nohup_is_respected():
    text = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + LOOP
    assert script(text % {"name": "SIGHUP", "condition": "ms", "duration": 0.1}, "") == (0, "cleaned up\n", "")


def test_stop_is_not_swallowed():
    """A callback's `except Exception` must not eat SIGTERM."""
    text = """
def poll(ms):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    except Exception:
        print('swallowed')
    return 0
def main(argv):
    _cli.loop(poll if argv is None else None, 1)
old, poll = poll, lambda ms: old(ms) if ms else 0
sys.exit(_cli.run_main('tool', main))
"""
    assert script(text, "") == (0, "", "")
