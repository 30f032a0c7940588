#!/usr/bin/env python3
"""Runs the live tests on every kernel of the lab with every Python, and adds up.

    python3 tests/lab/matrix.py [--kernels 6.1,6.12] [--pythons 2.7,3.11] [--keep FOLDER] [PYTEST ARGUMENTS]

One boot per kernel serves all Pythons; two kernels run at a time.  Default PYTEST ARGUMENTS: tests/live.
The last line is `N passed, N failed, N skipped`; exit status 1 when anything failed, hung, or did not run.
A machine on which the lab cannot be had skips it and says why; with CI=true that is a failure.

Environment: LBC_TEST_SECONDS (60; one test inside a guest), LBC_KERNEL_SECONDS (1500; one kernel), LBC_VM_* of vm.py.
"""
from __future__ import absolute_import, print_function

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from scripts import pythons  # noqa: E402
from tests import corpus  # noqa: E402
from tests.lab import cache, reporter, vm  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BOOTS = 3  # a guest that dies is booted again, to run the tests after the one it died in
# A CPU of the guest ran into the breakpoint that the kernel sets while it patches code (text_poke_bp), after the kernel
# had taken it for gone: QEMU's threads translate code apart from each other.  Seen in __schedule of 6.12, without a
# tracer near.  It says nothing about the test that was running.
EMULATOR_RACE = "Oops: int3"
SLOWEST_FIRST = ["7.x", "5.10", "6.1", "6.12"]


class Outcome(object):
    """Results of one kernel with one Python."""

    def __init__(self, kernel, python):
        self.kernel, self.python, self.rows = kernel, python, []

    def add(self, outcome, name, text):
        self.rows.append({"id": name, "outcome": outcome, "text": text, "seconds": 0})

    def having(self, outcome):
        return [row for row in self.rows if row["outcome"] == outcome]

    def counts(self):
        return tuple(len(self.having(outcome)) for outcome in ("passed", "failed", "skipped"))

    def __str__(self):
        return "%d passed, %d failed, %d skipped" % self.counts()


def precompile(interpreters, arguments):
    """Writes every .pyc, pytest's too, where running is quick; a guest would take minutes for that."""
    running = []
    for _, path in interpreters:
        subprocess.call([path, "-m", "compileall", "-q", "lbc", "tests", "scripts"], stdout=subprocess.DEVNULL)
        running.append(subprocess.Popen(
            [path, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"] + arguments, cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTHONDONTWRITEBYTECODE="")))
    for process in running:
        process.wait()


def compile_expressions(kernels, folder):
    """FOLDER/KERNEL.expressions: the generated expressions of each kernel, which a guest would compile for minutes."""
    running = []
    for row in cache.KERNELS:
        if row[0] in kernels:
            btf, readme = [os.path.join(cache.DIR, name % row[1]) for name in ("btf-%s.raw", "readme-%s.txt")]
            code = "import sys; from tests import exprlab; exprlab.prepare(*sys.argv[1:])"
            running.append(subprocess.Popen([sys.executable, "-c", code, btf, readme,
                                             os.path.join(folder, row[0] + ".expressions")], cwd=ROOT))
        if len(running) == 2:
            running.pop(0).wait()
    for process in running:
        process.wait()


def run_kernel(kernel, interpreters, arguments, folder, report):
    """[Outcome] of one kernel, one for each Python."""
    share = os.path.join(folder, kernel)
    os.mkdir(share)
    seconds = os.environ.get("LBC_TEST_SECONDS") or "60"
    inner = ["python3", "tests/lab/guest.py", "/tmp/vmctl", seconds]
    inner += ["%s=%s" % (name, path) for name, path in interpreters] + ["--"] + arguments
    judge = os.path.join(folder, "libbpf_load")  # the guests see this machine's files
    expressions = os.path.join(folder, kernel + ".expressions")
    command = "%sLBC_EXPRESSIONS=%s %s" % (
        "LBC_JUDGE=%s " % shlex.quote(judge) if os.path.exists(judge) else "", shlex.quote(expressions),
        " ".join(shlex.quote(word) for word in inner))
    limit = time.time() + float(os.environ.get("LBC_KERNEL_SECONDS") or 1500)
    trouble = ""
    for _ in range(BOOTS):
        result = vm.run(kernel, command, share=share, timeout=max(30, limit - time.time()))
        report("%-5s booted in %.0f s, ended after %.0f s%s" % (
            kernel, result.boot_s, result.total_s, "" if result.status == 0 else ", status %d" % result.status))
        if result.status == 0:
            break
        trouble = "the guest %s; the end of its console:\n%s" % (
            "took too long" if result.status == vm.TOO_LONG else "died",
            "\n".join(result.console.splitlines()[-60:]) + "\n" + vm.read_text(share + "/out"))
        if EMULATOR_RACE in result.console and time.time() < limit - 60:
            report("%-5s the emulator lost a race (%s in code that the kernel was patching): its test is run again" % (
                kernel, EMULATOR_RACE))
            continue
        stuck = [name for name, _ in interpreters if reporter.read_results("%s/%s.jsonl" % (share, name))[1]]
        for name in stuck:
            path = "%s/%s.jsonl" % (share, name)
            row = {"id": reporter.read_results(path)[1], "outcome": "failed", "seconds": 0, "text": trouble}
            with open(path, "a") as f:
                f.write("\n" + json.dumps(row) + "\n")
        if not stuck or time.time() > limit - 60:
            break
    outcomes = []
    for name, _ in interpreters:
        outcome = Outcome(kernel, name)
        outcome.rows, _, ended = reporter.read_results("%s/%s.jsonl" % (share, name))
        if not ended or not outcome.rows:
            outcome.add("failed", "the whole run", "it did not come to its end\n%s\n%s" % (
                trouble, vm.read_text("%s/%s.txt" % (share, name))[-6000:]))
        outcomes.append(outcome)
    return outcomes


def print_report(outcomes):
    """Failures in full, skip reasons with where they hold, slow tests, the table, the totals."""
    for outcome in outcomes:
        for row in outcome.having("failed"):
            print("=" * 20, "%s, Python %s: %s" % (outcome.kernel, outcome.python, row["id"]), "=" * 20)
            print(row["text"])
    reasons = {}
    for outcome in outcomes:
        for row in outcome.having("skipped"):
            lines = row["text"].strip().splitlines() or ["no reason given"]
            reason = re.sub(r"^kernel \S+: ", "", lines[-1])
            tests, where = reasons.setdefault(reason, (set(), []))
            tests.add(row["id"])
            if outcome.kernel + "/" + outcome.python not in where:
                where.append(outcome.kernel + "/" + outcome.python)
    if reasons:
        print("-" * 20, "skipped, and why", "-" * 20)
        for reason, (tests, where) in sorted(reasons.items(), key=lambda item: -len(item[1][0])):
            print("%4d %s  [%s]\n         %s%s" % (len(tests), reason, " ".join(where), min(tests),
                                                  " ..." if len(tests) > 1 else ""))
    slow = sorted(((row["seconds"], row["id"], o.kernel, o.python)
                  for o in outcomes for row in o.rows), reverse=True)[:8]
    print("-" * 20, "slowest", "-" * 20)
    for row in slow:
        print("%6.1f s  %s (%s, Python %s)" % row)
    print("-" * 20, "kernel, Python", "-" * 20)
    for outcome in outcomes:
        print("%-5s Python %-5s %s" % (outcome.kernel, outcome.python, outcome))


def unavailable():
    """Why the lab cannot be had here, or None; fetches the kernels."""
    lacking = vm.missing()
    if lacking:
        return "needs: apt-get install " + " ".join(lacking)
    if os.geteuid() != 0:
        return "needs root (the guests' root is this machine's)"
    try:
        for name in cache.kernel_names() + ["tools"]:
            cache.fetch(name)
    except (cache.LabError, OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", default=",".join(cache.kernel_names()))
    parser.add_argument("--pythons", default="3.11,2.7")
    parser.add_argument("--keep", help="a new folder for the results and the guests' output")
    args, rest = parser.parse_known_args(argv)
    rest = rest or ["tests/live"]
    os.chdir(ROOT)
    why = unavailable()
    if why:
        ci = os.environ.get("CI") == "true"
        print("lab: %s" % why)
        print("0 passed, %d failed, %d skipped" % (ci, not ci))
        return 1 if ci else 0
    interpreters = []
    for name in args.pythons.split(","):
        path = pythons.find(*[int(part) for part in name.split(".")])
        if not path:
            print("lab: no Python %s here\n0 passed, 1 failed, 0 skipped" % name)
            return 1
        interpreters.append((name, path))
    started = time.time()
    precompile(interpreters, rest)
    if args.keep:
        os.makedirs(args.keep)
    folder = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="lbc-matrix-")
    corpus.build(folder)  # a minute inside a guest; where it cannot be compiled its tests say why
    compile_expressions(args.kernels.split(","), folder)
    kernels = args.kernels.split(",")
    queue = sorted(kernels, key=lambda name: SLOWEST_FIRST.index(name) if name in SLOWEST_FIRST else 9)
    found, mutex = {}, threading.Lock()

    def report(text):
        with mutex:
            print("%4.0f s  %s" % (time.time() - started, text))
            sys.stdout.flush()

    def work():
        while True:
            with mutex:
                if not queue:
                    return
                kernel = queue.pop(0)
            try:
                found[kernel] = run_kernel(kernel, interpreters, rest, folder, report)
            except Exception as error:  # the other kernels still count; this one is a failure
                outcome = Outcome(kernel, "-")
                outcome.add("failed", "the guest", "%s: %s" % (type(error).__name__, error))
                found[kernel] = [outcome]
            for outcome in found[kernel]:
                report("%-5s Python %-5s %s" % (kernel, outcome.python, outcome))

    threads = [threading.Thread(target=work) for _ in range(int(os.environ.get("LBC_VM_SLOTS") or 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = [outcome for kernel in kernels for outcome in found[kernel]]
    print_report(outcomes)
    if not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    totals = [sum(numbers) for numbers in zip(*[outcome.counts() for outcome in outcomes])]
    print("lab: %d kernels, Pythons %s, in %.0f s" % (len(kernels), args.pythons, time.time() - started))
    print("%d passed, %d failed, %d skipped" % tuple(totals))
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
