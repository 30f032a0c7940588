"""The fixture objects, and how to run the judge over libbpf (tests/reference/libbpf_load.c); for the tests
test_corpus."""
from __future__ import absolute_import

import glob
import json
import os
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BPF = os.path.join(HERE, "fixtures", "bpf")
BTF = os.path.join(HERE, "fixtures", "btf")
SOURCE = os.path.join(HERE, "reference", "libbpf_load.c")
LAB = os.environ.get("LBC_LAB_DIR") or os.path.expanduser("~/.cache/lbc-lab")
KERNEL_BTF = "/sys/kernel/btf/vmlinux"


def names():
    """["code_atomics", ...]: every fixture."""
    return sorted(os.path.basename(path)[:-6] for path in glob.glob(os.path.join(BPF, "*.bpf.o")))


def path(name):
    return os.path.join(BPF, name + ".bpf.o")


def build(folder):
    """Path of the judge, compiled into ``folder``; a text saying why not where there is no compiler or no libbpf."""
    judge = os.path.join(folder, "libbpf_load")
    for compiler in (os.environ.get("CC"), "gcc", "cc"):
        if not compiler:
            continue
        try:
            done = subprocess.Popen([compiler, "-O1", "-o", judge, SOURCE, "-rdynamic", "-lbpf", "-ldl"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError:
            continue
        output = done.communicate()[0].decode("utf-8", "replace")
        if done.returncode == 0:
            return judge, None
        return None, "libbpf_load.c does not compile (libbpf-dev 1.x is needed): %s" % output.strip().split("\n")[0]
    return None, "no C compiler (gcc) for the judge over libbpf"


class Judge(object):
    """libbpf behind a C program; ``why_not``: text when it cannot be had.  ``close()`` removes what was built."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lbc-judge-")
        self.program, self.why_not = os.environ.get("LBC_JUDGE"), None
        if not self.program:  # tests/lab/matrix.py compiles it where that is quick
            self.program, self.why_not = build(self.folder)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, newer=False):
        """argv; with the lab's newer libbpf (its own C library with it), None where the lab has none."""
        if not newer:
            return [self.program]
        root = os.path.join(LAB, "trixie")
        loader = glob.glob(os.path.join(root, "usr/lib*/ld-linux*.so*")) + \
            glob.glob(os.path.join(root, "lib*/ld-linux*.so*"))
        library = glob.glob(os.path.join(root, "usr/lib/*-linux-gnu/libbpf.so.1"))
        if not loader or not library:
            return None
        return [loader[0], "--library-path", os.path.dirname(library[0]), self.program]

    def run(self, fixtures, newer=False, options=(), environ=None):
        """{fixture: the judge's row} of one process over all of them."""
        argv = self.command(newer) + list(options) + [path(name) for name in fixtures]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, env=environ)
            output = process.communicate()[0].decode("utf-8")
            if process.returncode:
                errors.seek(0)
                raise AssertionError("the judge ended with %d: %s" % (process.returncode, errors.read()[-500:]))
        rows = [json.loads(line) for line in output.splitlines()]
        return dict((os.path.basename(row["object"])[:-6], row) for row in rows)

    def instructions(self, fixtures, btf, newer=False):
        """{fixture: row with "insns" per program}: what libbpf would hand to a kernel whose BTF is the file ``btf``."""
        return self.run(fixtures, newer, ["--insns", btf])
