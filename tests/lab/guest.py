"""Runs inside a guest: the live tests with each Python in turn, killing what hangs and going on after it.

    python3 tests/lab/guest.py RESULTS_FOLDER TEST_SECONDS PYTHON=PATH ... -- PYTEST ARGUMENTS

Results go to RESULTS_FOLDER/PYTHON.jsonl (see reporter.py), what pytest prints to RESULTS_FOLDER/PYTHON.txt.
"""
from __future__ import absolute_import, print_function

import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import reporter  # noqa: E402  by path: `tests` would import pytest's world here too

PLUGINS_OFF = ["cacheprovider", "doctest", "junitxml", "pastebin", "nose", "stepwise", "setuponly", "setupplan",
               "threadexception", "unraisableexception", "debugging"]
RESTARTS = 8


def what_it_does(pid):
    """Text: where the processes of the group ``pid`` wait in the kernel."""
    lines = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == pid:
                    with open("/proc/%s/cmdline" % name) as f:
                        command = f.read().replace("\0", " ")[:100]
                    with open("/proc/%s/stack" % name) as f:
                        lines.append("pid %s %s\n%s" % (name, command, f.read()))
            except (IOError, OSError):
                continue
    return "\n".join(lines)


def run_once(command, results, output, patience):
    """None when pytest ended by itself, else why it was killed."""
    with open(output, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env=dict(os.environ, LBC_RESULTS=results, PYTHONPATH=os.getcwd(),
                                            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", CI=""))
    size, since, why, limit = -1, time.time(), None, patience
    while process.poll() is None:
        now = os.path.getsize(results) if os.path.exists(results) else 0
        if now != size:
            size, since = now, time.time()
            try:
                limit = max(patience, reporter.time_limit(results) + 30 if now else 0)
            except (IOError, OSError):
                size = -1  # 9p answers ENODATA while the file is being written: read again
        elif time.time() - since > limit:
            why = "hung for %d s and was killed; it was in\n%s" % (limit, what_it_does(process.pid))
            break
        time.sleep(0.5)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # also what a test left running
    except OSError:
        pass
    process.wait()
    return why


def run_python(name, path, folder, seconds, arguments):
    """Every test once with one Python."""
    results, output = os.path.join(folder, name + ".jsonl"), os.path.join(folder, name + ".txt")
    command = [path, "-m", "pytest", "-q", "-p", "tests.lab.reporter"]
    for plugin in PLUGINS_OFF:
        command += ["-p", "no:" + plugin]
    os.environ["LBC_TEST_TIMEOUT"] = str(seconds)
    for _ in range(RESTARTS):
        why = run_once(command + arguments, results, output, 2 * seconds + 30)
        rows, running, ended = reporter.read_results(results)
        if ended:
            return
        if running is None:
            why = "pytest ended before it was done: see %s.txt" % name
            running = "pytest"
        with open(results, "a") as f:
            f.write("\n" + json.dumps({"id": running, "outcome": "failed", "seconds": 0,
                                       "text": why or "the Python process died in it"}) + "\n")
        if running == "pytest":
            return


def main(argv):
    split = argv.index("--")
    folder, seconds = argv[0], int(argv[1])
    for word in argv[2:split]:
        name, _, path = word.partition("=")
        if not reporter.read_results(os.path.join(folder, name + ".jsonl"))[2]:
            started = time.time()
            run_python(name, path, folder, seconds, argv[split + 1:])
            print("%s: %.0f s" % (name, time.time() - started))
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
