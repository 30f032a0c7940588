"""lbc.ftrace.formats on format files as kernels print them, and on damaged ones."""
from __future__ import absolute_import

import random

import pytest

from lbc.errors import FormatError
from lbc.ftrace.formats import read_format, read_page_format

COMMON = """\
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
# sched_switch of 6.1, and the kinds of fields that other events of 5.10 to 7.3 have
SCHED_SWITCH = "name: sched_switch\nID: 316\n" + COMMON + """\
\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;

print fmt: "prev_comm=%s prev_pid=%d prev_prio=%d", REC->prev_comm, REC->prev_pid, REC->prev_prio
"""
KINDS = [
    ("field:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;", "name", "char", "dynamic", 1, True),
    ("field:__data_loc char[][2] names;\toffset:8;\tsize:8;\tsigned:0;", "names", "char", "dynamic", 1, True),
    ("field:__rel_loc u16[] ofs;\toffset:8;\tsize:4;\tsigned:0;", "ofs", "u16", "relative", 2, False),
    ("field:__data_loc cpumask_t *[] mask;\toffset:8;\tsize:4;\tsigned:0;", "mask", "cpumask_t *", "dynamic", 8, False),
    ("field:u32 arr[4];\toffset:8;\tsize:16;\tsigned:0;", "arr", "u32", "array", 4, False),
    ("field:char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:1;", "comm", "char", "string", 1, True),
    ("field:unsigned long caller[8];\toffset:16;\tsize:64;\tsigned:0;", "caller", "unsigned long", "array", 8, False),
    ("field:u32 buf[];\toffset:24;\tsize:0;\tsigned:0;", "buf", "u32", "array", 4, False),
    ("field:const char *const * argv;\toffset:24;\tsize:8;\tsigned:0;", "argv", "const char *const *", "number",
     8, False),
    ("field:struct task_struct * p;\toffset:24;\tsize:8;\tsigned:0;", "p", "struct task_struct *", "number", 8, False),
    ("field:bool on;\toffset:24;\tsize:1;\tsigned:0;", "on", "bool", "number", 1, False),
    ("field:u8 key[4][6];\toffset:8;\tsize:24;\tsigned:0;", "key", "u8", "array", 1, False),
    ("field:char c;\toffset:8;\tsize:1;\tsigned:1;", "c", "char", "number", 1, True),
]


def test_sched_switch():
    event = read_format(SCHED_SWITCH, "sched")
    assert (event.system, event.name, event.id) == ("sched", "sched_switch", 316)
    assert [field.name for field in event.own_fields] == ["prev_comm", "prev_pid", "prev_prio", "prev_state"]
    assert event.print_fmt.startswith('"prev_comm=%s prev_pid=%d') and event.print_fmt.endswith("REC->prev_prio")
    comm, pid = event.by_name["prev_comm"], event.by_name["prev_pid"]
    assert (comm.kind, comm.offset, comm.size, comm.count, comm.is_string) == ("string", 8, 16, 16, True)
    assert (pid.kind, pid.offset, pid.size, pid.signed, pid.is_string) == ("number", 24, 4, True, False)
    assert len(event.fields) == 8


@pytest.mark.parametrize("line,name,type,kind,item,text", KINDS)
def test_kinds_of_fields(line, name, type, kind, item, text):
    field = read_format("name: x\nID: 1\n" + COMMON + "\t" + line + "\n\nprint fmt: \"\"\n").by_name[name]
    assert (field.type, field.kind, field.item, field.text) == (type, kind, item, text)


def test_print_fmt_of_several_lines():
    event = read_format("name: x\nID: 1\n" + COMMON + 'print fmt: "a %d"\n  " b", REC->common_pid\n')
    assert event.print_fmt == '"a %d"\n  " b", REC->common_pid'


@pytest.mark.parametrize("text", [
    "", "name: x\n", "ID: 1\n", "name: x\nID: one\n", "name: x\nID: -1\n",
    "name: x\nID: 1\n\tfield:int;\toffset:0;\tsize:4;\tsigned:1;\n",
    "name: x\nID: 1\n\tfield:int a;\toffset:zero;\tsize:4;\tsigned:1;\n",
    "name: x\nID: 1\n\tfield:int a;\tsize:4;\tsigned:1;\n",
    "name: x\nID: 1\n\tfield:int a;\toffset:99999;\tsize:4;\tsigned:1;\n",
    "name: x\nID: 1\n\tfield:__data_loc char[] a;\toffset:8;\tsize:6;\tsigned:1;\n",
    "name: x\nID: 1\n" + "\tfield:int a;\toffset:8;\tsize:4;\tsigned:1;\n" * 1100,
    "name: x\nID: 1\n" + "#" * (1 << 20)])
def test_what_is_no_format(text):
    with pytest.raises(FormatError):
        read_format(text, path="events/x/format")


PAGE = """\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
"""


def test_header_page():
    page = read_page_format(PAGE)
    assert (page.commit, page.commit_size, page.data, page.size) == (8, 8, 16, 4096)
    page = read_page_format(PAGE.replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
                            .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084"))
    assert (page.commit_size, page.data, page.size) == (4, 12, 4096)  # 32 bits


@pytest.mark.parametrize("text", ["", PAGE.replace("timestamp", "time"), PAGE.replace("size:8", "size:7"),
                                  PAGE.replace("offset:16", "offset:8"), PAGE.replace("offset:0", "offset:8")])
def test_what_is_no_header_page(text):
    with pytest.raises(FormatError):
        read_page_format(text)


def test_mutated_formats_give_a_value_or_a_format_error():
    rng = random.Random(29)
    base = SCHED_SWITCH + "\n".join("\t" + row[0] for row in KINDS)
    for _ in range(2000):
        text = list(base)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(text))
            text[at:at + rng.choice([0, 1, 1, 30])] = rng.choice(
                ["", "x", ";", ":", "[", "]", "*", "9" * 30, "\n", "\0"])
        try:
            event = read_format("".join(text))
        except FormatError:
            continue
        for field in event.fields:
            assert 0 <= field.offset and field.offset + field.size <= 1 << 16 and field.item >= 0
