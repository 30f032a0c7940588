#!/usr/bin/env python3
"""Start-up cost of a file tracer: time and CPU to the first event, peak and steady memory.  Root; one run compares all.

    bench/start.py [--runs N] [--steady SECONDS] [NAME=COMMAND ...]

Without commands: lbc's filelife under this interpreter and 2.7 where there is one, bcc's filelife-bpfcc, libbpf-tools'
filelife (the ones that are installed), and the bare interpreter with ctypes as the floor.
Each command gets a terminal as stdout (so that none buffers); a file is made and deleted every 20 ms until its name is
printed.  wall: from exec to that line; cpu: user + system of the process until then; peak/steady: VmHWM/VmRSS.
The medians of N runs are printed, the commands in turn (A B C A B C ...), so that a drifting machine hits all alike.
"""
from __future__ import absolute_import

import argparse
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")
FLOOR = "import ctypes, struct, mmap, select, time; time.sleep(3600)"


def default_commands():
    commands = [("lbc", [sys.executable, "-m", "lbc.tools.filelife"])]
    python2 = shutil.which("python2.7")
    if python2 and subprocess.call([python2, "-c", "import ctypes"], stderr=subprocess.DEVNULL) == 0:
        commands.append(("lbc-2.7", [python2, "-m", "lbc.tools.filelife"]))
    for name, program in (("bcc", "filelife-bpfcc"), ("libbpf-tools", "libbpf-filelife")):
        found = shutil.which(program)
        if found:
            commands.append((name, [found]))
    return commands


def status_kb(pid, key):
    for line in open("/proc/%d/status" % pid):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pid):
    """User and system time of the process and the children it waited for; from schedstat where there is one (ns, not
    ticks)."""
    fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    ticks = sum(int(value) for value in fields[11:15]) / TICK
    try:
        return max(int(open("/proc/%d/schedstat" % pid).read().split()[0]) / 1e9, ticks - 1.0 / TICK)
    except (IOError, ValueError):
        return ticks


def one_run(command, steady, folder):
    """{wall_s, cpu_s, peak_kb, steady_kb} of one run."""
    master, slave = pty.openpty()
    environment = dict(os.environ, PYTHONPATH=ROOT, PYTHONUNBUFFERED="1")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, env=environment)
    os.close(slave)
    seen, name = b"", "lbcbench%d" % process.pid
    try:
        while name.encode() not in seen:
            path = os.path.join(folder, name)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(path)
            try:
                if select.select([master], [], [], 0.02)[0]:
                    seen += os.read(master, 65536)
            except OSError:  # EIO: nobody holds the terminal's other end any more
                process.wait()
            if process.poll() is not None or time.monotonic() - start > 300:
                raise SystemExit("%s ended or is silent: %r" % (" ".join(command), seen[-2000:]))
        result = {"wall_s": time.monotonic() - start, "cpu_s": cpu_seconds(process.pid)}
        end = time.monotonic() + steady
        while time.monotonic() < end:  # a terminal that nobody reads would stop it
            if select.select([master], [], [], 0.1)[0]:
                os.read(master, 65536)
        result.update(peak_kb=status_kb(process.pid, "VmHWM"), steady_kb=status_kb(process.pid, "VmRSS"))
        return result
    finally:
        process.terminate()
        process.wait()
        os.close(master)


def floor_run(python):
    """The bare interpreter with the modules of the fast path: CPU of start and exit, memory while it sleeps."""
    process = subprocess.Popen(python + ["-c", FLOOR])
    time.sleep(2)
    result = {"wall_s": 0.0, "cpu_s": cpu_seconds(process.pid), "peak_kb": status_kb(process.pid, "VmHWM"),
              "steady_kb": status_kb(process.pid, "VmRSS")}
    process.kill()
    process.wait()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="NAME=COMMAND")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steady", type=float, default=5)
    args = parser.parse_args()
    commands = [(text.split("=", 1)[0], text.split("=", 1)[1].split()) for text in args.commands] or default_commands()
    results = {}
    for name, command in commands:  # not measured: byte code and page cache of all
        one_run(command, 0.1, tempfile.gettempdir())
    folder = tempfile.mkdtemp()
    try:
        for run in range(args.runs):
            for name, command in commands:
                results.setdefault(name, []).append(one_run(command, args.steady, folder))
                if name.startswith("lbc"):
                    results.setdefault("floor of " + name, []).append(floor_run(command[:command.index("-m")]))
    finally:
        shutil.rmtree(folder)
    print("kernel %s, %d runs, medians" % (os.uname()[2], args.runs))
    print("%-16s %9s %9s %9s %9s" % ("", "wall s", "cpu s", "peak MB", "steady MB"))
    for name, rows in results.items():
        print("%-16s %9.3f %9.3f %9.1f %9.1f" % ((name,) + tuple(
            statistics.median(row[key] for row in rows) / scale
            for key, scale in (("wall_s", 1), ("cpu_s", 1), ("peak_kb", 1024), ("steady_kb", 1024)))))


if __name__ == "__main__":
    main()
