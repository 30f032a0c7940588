#!/usr/bin/env python3
"""Runs every level of the tests and adds up: what `make check` and CI call.

    python3 scripts/check.py [--only LEVEL[,LEVEL]]     LEVEL: style pure wheel live lab

style  layering, style, documents, the uapi tables and the compiled BPF objects, once
pure   what needs neither root nor a kernel, with every Python found, two at a time; a tenth of the fuzzing and one
       target BTF (LBC_TEST_LESS=1) but with Python 3.11 and 2.7
wheel  the wheel and the sdist, installed and from the zip, with Python 3.11 and 2.7
live   on this machine's own kernel, with Python 3.11 and 2.7 (root)
lab    on 5.10, 6.1, 6.12 and 7.x in virtual machines, with Python 3.11 and 2.7

The last line is `N passed, N failed, N skipped` over all of them; the exit status is 1 when anything failed or when a
level that should run did not run a single test.
"""
from __future__ import absolute_import, print_function

import argparse
import os
import re
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from scripts import pythons  # noqa: E402

ONCE = ["tests/test_style.py", "tests/test_layers.py", "tests/test_docs.py",
    "tests/test_mirror.py", "tests/test_generated.py", "tests/test_uapi", "tests/lab"]
WHEEL = ["tests/test_wheel.py"]
PURE = "not live and not lab"
LIMIT_S = 3600  # one run of one level


class Run(object):
    """One command whose last lines say how many tests passed, failed and were skipped."""

    def __init__(self, title, command, env=None):
        self.title, self.command = title + (", less fuzzing" if env and "LBC_TEST_LESS" in env else ""), command
        self.env = dict(os.environ, **(env or {}))
        self.counts, self.seconds = (0, 0, 0), 0.0

    def __call__(self):
        started = time.time()
        process = subprocess.Popen(self.command, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        timer = threading.Timer(LIMIT_S, process.kill)
        timer.start()
        self.text = process.communicate()[0].decode("utf-8", "replace")
        timer.cancel()
        self.seconds = time.time() - started
        passed, failed, skipped = counts(self.text)
        if process.returncode and not failed:
            failed = 1  # it crashed, was killed, or found no tests
            self.text += "\nexit status %d without a failed test: counted as one failure\n" % process.returncode
        self.counts = passed, failed, skipped

    def report(self):
        """What it printed, all of it after a failure; then one line."""
        lines = self.text.rstrip().splitlines()
        if not self.counts[1]:
            lines = lines[-1:]
            start = max([n for n, line in enumerate(self.text.splitlines()) if "skipped, and why" in line] or [-1])
            if start >= 0:
                lines = self.text.rstrip().splitlines()[start:]
        print("\n".join(lines))
        print("== %s: %d passed, %d failed, %d skipped in %.0f s\n" % ((self.title,) + self.counts + (self.seconds,)))
        sys.stdout.flush()


def counts(text):
    """(passed, failed, skipped) of pytest's closing line; errors are failures, xfailed tests skips."""
    for line in reversed(text.splitlines()):
        found = re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b", line)
        if found:
            total = {}
            for number, word in found:
                total[word.rstrip("s")] = total.get(word.rstrip("s"), 0) + int(number)
            return (total.get("passed", 0), total.get("failed", 0) + total.get("error", 0) + total.get("xpassed", 0),
                    total.get("skipped", 0) + total.get("xfailed", 0))
    return 0, 0, 0


def pytest(path, *arguments):
    return [path, "-m", "pytest", "-q", "-p", "no:cacheprovider"] + list(arguments)


def ignoring(paths):
    return ["--ignore=" + path for path in paths]


def plan():
    """[(level, [Run])]; the runs of a level go two at a time where that is harmless."""
    found = pythons.installed()
    main = pythons.find(3, 11) or sys.executable
    both = [row for row in found if row[0][:2] in ((3, 11), (2, 7))] or [(sys.version_info[:3], sys.executable)]
    limit = {"LBC_TEST_TIMEOUT": "120"}

    def name(version):
        return "Python " + ".".join(str(part) for part in version[:2])
    levels = [
        ("style", [Run("style", pytest(main, "-m", PURE, *ONCE), {"LBC_TEST_TIMEOUT": "300"})]),
        ("pure", [Run("pure, " + name(version), pytest(path, "-m", PURE,
                                                       *(ignoring(ONCE + WHEEL + ["tests/live"]) + ["tests"])),
                      limit if version[:2] in ((3, 11), (2, 7)) else dict(limit, LBC_TEST_LESS="1"))
                  for version, path in found]),
        ("wheel", [Run("wheel", pytest(main, *WHEEL), {"LBC_TEST_TIMEOUT": "300"})]),
    ]
    if os.geteuid() == 0:
        levels.append(("live", [Run("live, %s, this kernel" % name(version), pytest(path, "-m", "live", "tests/live"),
                                    limit)
                                for version, path in both]))
    levels.append(("lab", [Run("lab self-test", pytest(main, "-m", "lab", "tests/lab"), {"LBC_LAB": "1"}),
                           Run("lab", [sys.executable, "tests/lab/matrix.py"])]))
    return levels


def in_pairs(runs):
    """Two at a time, reported in order."""
    queue, mutex = list(runs), threading.Lock()

    def work():
        while True:
            with mutex:
                if not queue:
                    return
                run = queue.pop(0)
            run()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="style,pure,wheel,live,lab")
    only = parser.parse_args(argv).only.split(",")
    started, done = time.time(), []
    if "lab" in only and os.geteuid() == 0:  # before the pure tests: they relocate against the lab's kernels
        subprocess.call([sys.executable, "tests/lab/cache.py", "5.10", "6.1", "6.12", "7.x", "tools"], cwd=ROOT,
                        stdin=subprocess.DEVNULL)
    for level, runs in plan():
        if level not in only:
            continue
        print("%4.0f s  %s" % (time.time() - started, level))
        sys.stdout.flush()
        if level == "pure":
            in_pairs(runs)
        for run in runs:
            if level != "pure":
                run()
            run.report()
            done.append(run)
    if "live" in only and os.geteuid() != 0:
        print("live: left out, needs root")
    print("-" * 78)
    for run in done:
        print("%-36s %5d passed, %3d failed, %4d skipped  %5.0f s" % ((run.title,) + run.counts + (run.seconds,)))
    empty = [run.title for run in done if not sum(run.counts)]
    totals = [sum(numbers) for numbers in zip(*[run.counts for run in done])] or [0, 0, 0]
    totals[1] += len(empty)
    for title in empty:
        print("%s ran no test: counted as one failure" % title)
    print("all levels in %.0f s" % (time.time() - started))
    print("%d passed, %d failed, %d skipped" % tuple(totals))
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
