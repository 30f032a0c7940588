"""filelife as people run it: known files, every way, Python 2.7 too; how it ends, and what it leaves: nothing."""
from __future__ import absolute_import

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from lbc._py23 import to_text
from . import LAB, skip

pytestmark = pytest.mark.live
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WAYS = ["fentry", "kprobe", "syscalls"]
SAYS = {"fentry": "fentry", "kprobe": "kprobe", "syscalls": "syscall tracepoints"}
PATIENCE = 60 if LAB else 20
# What a file system may do with a name: spaces, controls, quotes, bytes that are no UTF-8, the longest one.
NAMES = [b"plain", b"two words ", b"new\nline", b"\x1b[31mred\x07", b"quo\"te'\\", b"z\xc3\xbcrich", b"bad\xff\xfe",
         b"\xc2\x9b31m", b"%s%d", b"n" * 255]


# The lab runs every test on four kernels at a twentieth of the speed: there each way is looked at in few ways, the
# rest of the combinations on this machine's kernel.
ONE_WAY = ["kprobe"] if LAB else WAYS
LESS = bool(LAB) and sys.version_info[0] == 2
thorough = pytest.mark.skipif(LESS, reason="in the lab with the other Python only, to be quick")


def interpreters():
    """The one that runs the tests: scripts/check.py and the lab run them with 3.11 and with 2.7."""
    return [("python%d.%d" % sys.version_info[:2], sys.executable)]


@pytest.fixture(scope="module", params=interpreters(), ids=lambda row: row[0])
def python(request):
    return request.param[1]


@pytest.fixture
def folder():
    """On a disk or tmpfs, not on overlayfs' own upper layer alone: wherever the tests' files go."""
    path = tempfile.mkdtemp(prefix="lbc-filelife-")
    yield path
    shutil.rmtree(path, True)


class Tool(object):
    """A running filelife; ``.rows()`` ends it and gives the parsed rows of files under test."""

    def __init__(self, python, way=None, arguments=(), stdout=subprocess.PIPE, wait=True, **changes):
        env = dict(os.environ, PYTHONPATH=ROOT, LBC_FILELIFE=way or "", **changes)
        env.pop("PYTHONUNBUFFERED", None)  # as people run it
        self.out_file = tempfile.TemporaryFile()
        self.err_file = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [python, "-m", "lbc.tools.filelife"] + list(arguments), cwd="/", env=env, stderr=self.err_file,
            stdout=self.out_file if stdout == subprocess.PIPE else stdout)
        self.way = way
        if wait:
            self.started()

    def err(self):
        with open(self.err_file.name, "rb") as f:
            return to_text(f.read())

    def started(self):
        """Waits for the line that says how it traces; skips where the kernel lacks the forced way."""
        end = time.time() + PATIENCE
        while "tracing with" not in self.err():
            status = self.process.poll()
            if status is not None:
                if self.way in ("fentry", "kprobe") and status == 1 and not must_have(self.way):
                    skip("filelife by %s: %s" % (self.way, self.err().split("\n")[0]))
                pytest.fail("filelife ended with %s: %s" % (status, self.err()))
            assert time.time() < end, "filelife does not start: %r" % self.err()
            time.sleep(0.01)
        if self.way:
            assert self.err() == "filelife: tracing with %s\n" % SAYS[self.way]

    def end(self, number=signal.SIGINT):
        """Exit status after that signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        end = time.time() + PATIENCE
        while self.process.poll() is None:
            if time.time() > end:
                self.process.kill()
                pytest.fail("filelife does not end")
            time.sleep(0.01)
        return self.process.returncode

    def out(self):
        self.out_file.seek(0)
        return to_text(self.out_file.read())

    def rows(self, number=signal.SIGINT):
        time.sleep(1 if LAB else 0.4)      # records below the watermark
        assert self.end(number) == 0, self.err()
        return [json.loads(line) for line in self.out().splitlines()]


def must_have(way):
    """Stock kernels of the lab take both from 5.10 on."""
    return bool(LAB)


@contextlib.contextmanager
def unchanged():
    """bpftool, tracefs, the BPF file system and the run folder show nothing afterwards that was not there before."""
    def fresh(known):
        found = leftovers()
        return {kind: [row for row in found[kind] if row not in known[kind]] for kind in found}

    before = leftovers()
    yield
    time.sleep(0.3)         # the child of one that was killed finds that out
    new, end = fresh(before), time.time() + 10
    while any(new.values()) and time.time() < end:
        time.sleep(0.1)     # programs are freed after a grace period
        again = leftovers()  # what came since is somebody else's: this machine may have other users
        new = {kind: [row for row in new[kind] if row in again[kind]] for kind in new}
    assert not any(new.values()), new


def leftovers():
    found = {}
    for kind in ("prog", "map", "link"):
        try:
            rows = json.loads(subprocess.check_output(["bpftool", "-j", kind, "list"], stderr=subprocess.PIPE).decode())
        except (OSError, ValueError, subprocess.CalledProcessError):
            rows = []
        found[kind] = [(row.get("id"), row.get("name", row.get("type"))) for row in rows]
    for name in ("kprobe_events", "uprobe_events"):
        try:
            with open("/sys/kernel/tracing/" + name) as f:
                found[name] = [line for line in f.read().splitlines() if "/lbc_" in line or ":lbc_" in line]
        except (IOError, OSError):
            found[name] = []
    for path in ("/sys/fs/bpf", "/run/lbc"):
        found[path] = sorted(os.listdir(path)) if os.path.isdir(path) else []
    return found


def have(name):
    return any(os.access(os.path.join(path, name), os.X_OK) for path in os.environ.get("PATH", "").split(":"))


def make(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))


def shown(raw):
    """How JSON must show a name: the text, bytes that are no UTF-8 as \\xNN."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("ascii", "backslashreplace") if str is not bytes else u"bad\\xff\\xfe"


def last(row):
    """The name itself: function tracing has no folders."""
    return row["file"].rpartition(u"/")[2]


@pytest.mark.parametrize("way", WAYS)
def test_known_files(python, way, folder):
    """Each deleted file once, with name, pid, comm and an age that fits; nothing for what was there before."""
    base = folder.encode()
    os.makedirs(os.path.join(base, b"a/b c/d"))
    make(os.path.join(base, b"old"))
    with unchanged():
        tool = Tool(python, way, ["--json"])
        for name in NAMES:
            make(os.path.join(base, name))
        make(os.path.join(base, b"a/b c/d/nested"))
        make(os.path.join(base, b"stays"))
        time.sleep(0.3)
        for name in NAMES + [b"a/b c/d/nested", b"old"]:
            os.unlink(os.path.join(base, name))
        os.rmdir(os.path.join(base, b"a/b c/d"))
        os.symlink("stays", os.path.join(folder, "link"))
        os.unlink(os.path.join(folder, "link"))
        rows = tool.rows()
    ours = [row for row in rows if row["pid"] == os.getpid()]
    assert sorted(last(row) for row in ours) == sorted([shown(name) for name in NAMES] + [u"nested"])
    for row in ours:
        assert sorted(row) == ["age_s", "comm", "file", "pid", "time"]
        assert 0.25 <= row["age_s"] < 5 and row["comm"] in open("/proc/self/comm").read() and len(row["time"]) == 8
    if way == "syscalls":
        assert all(row["file"].startswith(folder + "/") for row in ours)
    assert "lost" not in tool.err()


@pytest.mark.parametrize("way", ["fentry", "kprobe"])
def test_renamed_files(python, way, folder):
    tool = Tool(python, way, ["--json"])
    make(os.path.join(folder, "first"))
    os.rename(os.path.join(folder, "first"), os.path.join(folder, "second"))
    os.unlink(os.path.join(folder, "second"))
    assert [last(row) for row in tool.rows() if row["pid"] == os.getpid()] == ["second"]


@thorough
@pytest.mark.parametrize("way", ONE_WAY)
def test_files_on_several_cpus(python, way, folder):
    """Made on one CPU, deleted on another at once: records of both come through different rings."""
    with open("/sys/devices/system/cpu/online") as f:
        if f.read().strip() == "0" or not have("taskset"):
            pytest.skip("one CPU only, or no taskset")
    body = ("import os, sys\n"
            "for line in iter(sys.stdin.readline, ''):\n"
            "    path = line.strip()\n"
            "    if %s: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))\n"
            "    else: os.unlink(path)\n"
            "    sys.stdout.write('\\n'); sys.stdout.flush()\n")
    tool = Tool(python, way, ["--json"])
    workers = [subprocess.Popen(["taskset", "-c", str(cpu), sys.executable, "-c", body % what], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE) for cpu, what in ((1, "True"), (0, "False"))]
    names = ["f%03d" % i for i in range(100 if LAB else 300)]
    try:
        for name in names:
            for worker in workers:
                worker.stdin.write((folder + "/" + name + "\n").encode())
                worker.stdin.flush()
                worker.stdout.readline()
    finally:
        for worker in workers:
            worker.stdin.close()
            worker.wait()
    rows = tool.rows()
    assert [last(row) for row in rows if row["pid"] == workers[1].pid] == names


@thorough
@pytest.mark.parametrize("way", ONE_WAY)
def test_only_one_process(python, way, folder):
    """-p looks at the deletion: the file may be another's."""
    tool = Tool(python, way, ["--json", "-p", str(os.getpid())])
    both = "open(%r, 'w'); open(%r, 'w')" % (folder + "/mine", folder + "/theirs")
    subprocess.check_call([sys.executable, "-c", both])
    os.unlink(folder + "/mine")
    subprocess.check_call(["rm", folder + "/theirs"])
    rows = tool.rows()
    assert [last(row) for row in rows] == ["mine"] and rows[0]["pid"] == os.getpid()


@thorough
@pytest.mark.parametrize("way", ONE_WAY)
def test_table(python, way, folder):
    """Rows under a title, names made harmless, the time asked for kept."""
    begin = time.time()
    tool = Tool(python, way, ["-d", "2"])
    for name in (b"two words", b"a\nb\x1b[31m"):
        make(os.path.join(folder.encode(), name))
        os.unlink(os.path.join(folder.encode(), name))
    assert tool.wait() == 0
    assert 1.9 < time.time() - begin < 2 + PATIENCE / 2
    lines = tool.out().splitlines()
    assert lines[0].split() == ["TIME", "PID", "COMM", "AGE(s)", "FILE"]
    ours = [line for line in lines[1:] if line.split()[1] == str(os.getpid())]
    assert [line.rpartition("/")[2] if way == "syscalls" else line.split(None, 4)[4] for line in ours] == [
        "two words", "a\\x0ab\\x1b[31m"]
    assert all(lines[0].index("FILE") == len(line) - len(line.split(None, 4)[4]) for line in ours)


# -- ends ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["SIGTERM"] if LAB else ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals(python, way, name, folder):
    """It ends with 0, its last rows are written, and nothing stays."""
    with unchanged():
        tool = Tool(python, way, ["--json"])
        make(folder + "/last")
        os.unlink(folder + "/last")
        assert [last(row) for row in tool.rows(getattr(signal, name)) if row["pid"] == os.getpid()] == ["last"]
        assert tool.err() == "filelife: tracing with %s\n" % SAYS[way]


@thorough
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"] if LAB else ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("delay", [0.09] if LAB else [0.03, 0.06, 0.09, 0.12, 0.2])
def test_signals_while_it_starts(python, name, delay):
    with unchanged():
        tool = Tool(python, None, ["-d", "30"], wait=False)
        time.sleep(delay * (20 if LAB else 1))
        number = getattr(signal, name)
        status = tool.end(number)
    if "Traceback" in tool.err():   # Python itself was still starting, or importing us: its to say
        assert name == "SIGINT" and "run_main" not in tool.err() and "KeyboardInterrupt" in tool.err()
    else:
        assert status in (0, 130, -number)


@thorough
@pytest.mark.parametrize("way", ONE_WAY)
def test_kill_9(python, way, folder):
    """What a killed one left behind is gone after the next one, at the latest."""
    with unchanged():
        tool = Tool(python, way)
        assert tool.end(signal.SIGKILL) == -signal.SIGKILL
        assert Tool(python, way, ["-d", "0.2"]).wait() == 0


@thorough
@pytest.mark.parametrize("way", ONE_WAY)
def test_reader_goes_away(python, way, folder):
    """As `| head -1`: exit status 0, no complaint."""
    with unchanged():
        reader = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True)
        try:
            tool = Tool(python, way, stdout=reader.stdin)
        except BaseException:  # skipped: the reader would wait for ever
            reader.kill()
            reader.communicate()
            raise
        reader.stdin.close()
        assert reader.stdout.readline().split()[0] == b"TIME"
        reader.wait()
        end = time.time() + PATIENCE
        while tool.process.poll() is None and time.time() < end:
            make(folder + "/x")
            os.unlink(folder + "/x")
            time.sleep(0.01)
        assert tool.wait() == 0 and tool.err() == "filelife: tracing with %s\n" % SAYS[way]


@thorough
def test_full_disk(python, folder):
    with unchanged(), open("/dev/full", "w") as full:
        tool = Tool(python, None, ["-d", "5"], stdout=full, wait=False)
        assert tool.wait() == 1
        lines = tool.err().splitlines()
        assert len(lines) == 2 and lines[1].startswith("filelife: ") and "No space left" in lines[1]


@thorough
def test_exception_in_a_callback(python, folder):
    """One line and 1; nothing stays."""
    body = ("import sys\nfrom lbc.tools import _cli, filelife\n"
            "def broken(self, values): raise RuntimeError('broken')\n"
            "_cli.Output.row = broken\n"
            "sys.exit(_cli.run_main('filelife', filelife.main, ['-d', '20']))\n")
    with unchanged(), tempfile.TemporaryFile() as err:
        process = subprocess.Popen([python, "-c", body], cwd="/", env=dict(os.environ, PYTHONPATH=ROOT), stderr=err,
                                   stdout=subprocess.PIPE)
        end = time.time() + PATIENCE
        while process.poll() is None and time.time() < end:
            make(folder + "/x")
            os.unlink(folder + "/x")
            time.sleep(0.02)
        process.communicate()
        err.seek(0)
        text = to_text(err.read())
    assert process.returncode == 1
    assert text.splitlines()[1] == "filelife: internal error: RuntimeError: broken" and "Traceback" not in text


# -- misuse ------------------------------------------------------------------------------------------------------------
@thorough
@pytest.mark.parametrize("arguments", [["--nope"], ["-p"], ["-p", "0"], ["-p", "99999999999"], ["-d", "nan"],
                                       ["word"]][:1 if LAB else 6])
def test_wrong_options(python, arguments):
    tool = Tool(python, None, arguments, wait=False)
    assert tool.wait() == 2 and tool.out() == ""
    lines = tool.err().splitlines()
    assert len(lines) == 2 and lines[0].startswith("filelife: ") and lines[1] == "try: python -m lbc filelife --help"


@thorough
def test_unknown_way(python):
    tool = Tool(python, "magic", wait=False)
    assert tool.wait() == 1 and tool.err().startswith("filelife: LBC_FILELIFE=magic: one of fentry")


@thorough
@pytest.mark.parametrize("way", [None] + (WAYS if not LAB else []))
def test_not_root(python, way, tmpdir):
    """Says what is missing, in a line and a hint; leaves nothing."""
    if not os.access(python, os.X_OK) or not have("setpriv"):
        pytest.skip("no setpriv")
    # the checkout and a pyenv may lie where nobody else may read: root's capabilities are dropped, not the user
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", python, "-m", "lbc.tools.filelife"]
    readable = subprocess.call(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", python, "-c",
                                "import sys; sys.path.insert(0, %r); import lbc.tools._cli" % ROOT],
                               stderr=subprocess.PIPE) == 0
    if readable:
        command[1:3] = ["--reuid", "65534", "--regid", "65534", "--clear-groups"]
    with unchanged():
        process = subprocess.Popen(command, cwd="/", env=dict(os.environ, PYTHONPATH=ROOT, LBC_FILELIFE=way or ""),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
    lines = to_text(err).splitlines()
    assert process.returncode == 1 and out == b""
    assert len(lines) == 2 and lines[0].startswith("filelife: ") and "Traceback" not in to_text(err)
    assert lines[1].startswith("hint: ") and ("CAP_BPF" in lines[1] or "root" in lines[1])
