"""`python -m lbc list`: functions, structs and events as a user asks for them, and what it says when there are none."""
from __future__ import absolute_import

import json
import os
import subprocess
import sys

import pytest

from lbc import tracefs
from lbc.tools import _cli, list as subject
from tests.test_resolvers import conformance

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
THINGS = os.path.join(conformance.DATA, "things.btf")
FORMAT = """name: sched_switch
ID: 314
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:__data_loc char[] name;\toffset:28;\tsize:4;\tsigned:0;

print fmt: "%s", REC->prev_comm
"""


@pytest.fixture
def run(capsys, monkeypatch, tmpdir):
    """f(*words) -> (status, lines of stdout, stderr), with the types of things.btf."""
    monkeypatch.setenv("LBC_BTF", THINGS)
    monkeypatch.delenv("LBC_PREVDB", raising=False)
    monkeypatch.chdir(str(tmpdir))

    def go(*words):
        status = _cli.run_main("list", subject.main, [str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and "internal error" not in err
        return status, out.splitlines(), err
    return go


OPEN = "int thing_open(struct thing *thing, char *name, u64 flags)"
FIND = "struct thing *thing_find(int number)"
SUM = "unsigned long thing_sum(struct inner *in, union word word)"


@pytest.mark.parametrize("words, lines", [
    (["thing_open"], [OPEN]), (["thing_*"], [OPEN, FIND, SUM]), (["thing_%"], [OPEN, FIND, SUM]),
    (["*o*e*"], [OPEN, "void other_reset(void)"]),
    (["--ret", "struct thing*"], [FIND]), (["-R", "long unsigned int"], [SUM]), (["-A", "const char *"], [OPEN]),
    (["*", "--arg=struct %"], [OPEN, SUM]), (["thing_*", "-A", "int", "-R", "struct thing *"], [FIND]),
    (["-n", "0", "*"], [OPEN, FIND, SUM, "void other_reset(void)"]),
])
def test_functions(run, words, lines):
    assert run(*words) == (0, lines, "")


def test_functions_as_json(run):
    status, lines, err = run("thing_open", "--json")
    row, = [json.loads(line) for line in lines]
    assert (status, err) == (0, "")
    assert row == {"name": "thing_open", "ret": "int", "module": "", "file": "", "line": 0, "text": OPEN, "params": [
        {"name": "thing", "type": "struct thing *"}, {"name": "name", "type": "char *"},
    {"name": "flags", "type": "u64"}]}


def test_a_limit_is_said(run):
    assert run("*", "-n", "2") == (0, [OPEN, FIND],
        "list: only the first 2 functions: --limit COUNT shows more, 0 all\n")
    assert run("*", "-n", "4")[2] == ""


@pytest.mark.parametrize("words, status, said", [
    (["thing_opne"], 1, "no function `thing_opne` in the kernel's BTF; did you mean `thing_open`"),
    (["xyz_*"], 1, "no function `xyz_*`"),
    (["-A", "struct thimg *"], 1, "no struct `thimg`"), (["-R", "int ("], 1, "expected a type"),
    (["-A", "union word *"], 1, "takes `union word *`"),
    (["-s", "thign"], 1, "no struct `thign`"), (["-s", "union thing"], 1, "no union `thing`"),
    (["-s", "xyz*"], 1, "no struct `xyz*`"),
    (["-s", "opaque"], 1, "only declared"), ([], 2, "try: python -m lbc list --help"), (["-s"], 2, "what?"),
    (["-e", "-s"], 2, "--events"),
    (["-s", "x", "-R", "int"], 2, "for functions"), (["a", "b"], 2, "unexpected argument"),
    (["-n", "-1", "x"], 2, "bad value"),
    (["-n", "x", "x"], 2, "bad value"), (["-m", "nothing", "x"], 1, "no type source"),
    (["-m", "gdb", "x"], 1, "-v FILE"),
    (["-d", "/nonexistent/x.db", "x"], 1, "/nonexistent/x.db"),
    (["-d", "/proc/self/exe", "x"], 1, "no SQLite database"),
    (["-v", "/nonexistent", "x"], 1, "/nonexistent"), (["-r", "a b", "x"], 1, "is no server"),
    (["-r", "127.0.0.1:1", "x"], 1, "127.0.0.1:1"),
    (["--what"], 2, "unknown option"),
])
def test_what_cannot_be_had(run, words, status, said):
    found, lines, err = run(*words)
    assert (found, lines) == (status, []) and said in err and err.startswith("list: ")


def test_a_struct(run):
    status, lines, err = run("-s", "thing")
    assert (status, err, lines[0]) == (0, "", "struct thing, 208 bytes")
    rows = [line.split(None, 2) for line in lines[2:]]
    for wanted in (["0", "8", "unsigned long flags"], ["8:3", "4", "unsigned int middle : 7"],
            ["10:0", "4", "unsigned int high : 16"],
                   ["12", "4", "union"], ["14", "2", "u16 second"], ["16", "12", "struct (anonymous) pos"],
                   ["20", "8", "int y[2]"],
                   ["36", "24", "struct inner list[3]"], ["112", "8", "int (*direct)(int, ...)"],
                   ["144", "32", "int grid[4][2]"],
                   ["184", "16", "struct inner *table[2]"], ["208", "0", "short tail[0]"]):
        assert wanted in rows, wanted
    assert run("-s", "struct thing")[1] == lines
    assert run("-s", "union word")[1] == run("-s", "word")[1] and run("-s", "word")[1][0] == "union word, 4 bytes"
    assert run("-s", "atomic_t")[1] == ["atomic_t, 4 bytes", " offset   size", "      0      4  int counter"]


def test_a_struct_as_json(run):
    status, lines, _err = run("-s", "thing", "-j")
    row, = [json.loads(line) for line in lines]
    assert (status, row["name"], row["size"]) == (0, "struct thing", 208)
    members = {member["name"]: member for member in row["members"] if member["name"]}
    for path, text, offset, bits, size in conformance.MEMBERS:
        if "." not in path:
            found = members[path]
            first, width = bits or (0, 0)
            assert (found["type"], found["bit_offset"], found["bits"], found["size"]) == (text, 8 * offset + first,
                width, size)


def test_structs_by_pattern(run):
    assert run("-s", "*in*")[1] == ["%-40s %7d bytes %5d members" % row
        for row in (("struct thing", 208, 24), ("struct inner", 8, 2))]
    assert [json.loads(line) for line in run("-s", "union *", "--json")[1]] == [{"name": "union word", "size": 4,
        "members": 2}]
    assert run("-s", "*", "-n", "1")[2].startswith("list: only the first 1 structs")


def test_other_sources(run, tmpdir):
    path = conformance.write_db(str(tmpdir.join("info.db")))
    assert run("thing_find", "-d", path)[1] == ["struct thing *thing_find(int)  things.c:79"]
    assert run("thing_find", "-v", THINGS, "-m", "gdb")[1] == [FIND]
    os.rename(path, str(tmpdir.join("prev.db")))
    os.chmod("prev.db", 0o644)
    assert run("thing_find")[1] == ["struct thing *thing_find(int)  things.c:79"]
    os.chmod("prev.db", 0o666)
    status, lines, err = run("thing_find")
    assert (status, lines) == (0, [FIND]) and "prev.db is left alone" in err


# -- events ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def events(tmpdir, monkeypatch):
    """A tracefs with sched/{sched_switch,sched_wakeup,unreadable} and irq/irq_handler_entry."""
    root = tmpdir.mkdir("tracing")
    for system, names in (("sched", ("sched_switch", "sched_wakeup", "unreadable")), ("irq", ("irq_handler_entry",))):
        folder = root.ensure("events", system, dir=True)
        folder.join("enable").write("0")
        for name in names:
            folder.mkdir(name).join("format").write(FORMAT.replace("sched_switch", name)
                if name != "unreadable" else "")
    root.join("events", "enable").write("0")
    root.join("events", "header_page").write("")
    os.remove(str(root.join("events", "sched", "unreadable", "format")))
    os.mkdir(str(root.join("events", "sched", "unreadable", "format")))
    monkeypatch.setattr(tracefs, "need_tracefs", lambda files: str(root))
    return root


FIELDS = ["    char prev_comm[16]", "    pid_t prev_pid", "    char name[]"]


@pytest.mark.parametrize("words, lines", [
    ([], ["irq/irq_handler_entry", "sched/sched_switch", "sched/sched_wakeup", "sched/unreadable"]),
    (["sched/sched_switch"], ["sched/sched_switch"] + FIELDS),
    (["sched:sched_switch"], ["sched/sched_switch"] + FIELDS),
    (["sched_sw*"], ["sched/sched_switch"] + FIELDS), (["irq"], ["irq/irq_handler_entry"] + FIELDS),
    (["*/*_entry"], ["irq/irq_handler_entry"] + FIELDS), (["sched/*_w*"], ["sched/sched_wakeup"] + FIELDS),
    (["sched/unreadable"], ["sched/unreadable  (its format cannot be read)"]),
])
def test_events(run, events, words, lines):
    assert run("-e", *words) == (0, lines, "")


def test_events_as_json(run, events):
    rows = [json.loads(line) for line in run("-e", "sched", "-j")[1]]
    assert [row["name"] for row in rows] == ["sched_switch", "sched_wakeup", "unreadable"] and "fields" not in rows[2]
    assert rows[0]["id"] == 314 and rows[0]["system"] == "sched"
    assert rows[0]["fields"][1] == {"name": "prev_pid", "type": "pid_t", "offset": 24, "size": 4, "signed": True}


def test_no_events(run, events, tmpdir):
    status, lines, err = run("-e", "sched/sched_swich")
    assert (status, lines) == (1, []) and "did you mean `sched_switch`" in err
    assert "only the first 1 events" in run("-e", "-n", "1")[2]
    for name in os.listdir(str(events)):
        os.rename(str(events.join(name)), str(tmpdir.join("gone")))
    status, lines, err = run("-e")
    assert (status, lines) == (1, []) and "are you root?" in err


@pytest.mark.live
def test_events_of_the_kernel(run):
    from lbc.kernel_files import KernelFiles
    root = tracefs.find_tracefs(KernelFiles())
    if root is None:
        pytest.skip("no tracefs")
    lines = run("-e", "-n", "0")[1]
    with open(root + "/available_events") as stream:
        known = {line.strip().replace(":", "/") for line in stream}
    assert known <= set(lines) and len(lines) > 100
    with open(root + "/events/sched/sched_switch/format") as stream:
        names = [line.split(";")[0].split()[-1].partition("[")[0] for line in stream if "field:" in line
            and "common_" not in line]
    assert [line.split()[-1].partition("[")[0] for line in run("-e", "sched/sched_switch")[1][1:]] == names


def test_as_a_program(tmpdir):
    env = dict(os.environ, PYTHONPATH=ROOT, LBC_BTF=THINGS)
    command = [sys.executable, "-m", "lbc", "list"]
    assert subprocess.check_output(command + ["thing_open"], env=env, cwd=str(tmpdir)).decode() == OPEN + "\n"
    shown = subprocess.check_output(command + ["--help"], env=env, cwd=str(tmpdir)).decode()
    assert shown.startswith("list: ") and "--limit" in shown
    process = subprocess.Popen(command + ["-s", "*"], env=env, cwd=str(tmpdir), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    process.stdout.close()      # `| head -0`
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()
