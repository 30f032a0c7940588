"""lbc.ftrace.formats on format files as kernels print them, and on damaged ones."""
from __future__ import absolute_import

import random

import pytest

from lbc.errors import FormatError
from lbc.ftrace.formats import read_format, read_page_format

COMMON = """\
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

"""
# sched_switch of 6.1, and the kinds of fields that other events of 5.10 to 7.3 have
SCHED_SWITCH = "name: sched_switch\nID: 316\n" + COMMON + """\
	field:char prev_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t prev_pid;	offset:24;	size:4;	signed:1;
	field:int prev_prio;	offset:28;	size:4;	signed:1;
	field:long prev_state;	offset:32;	size:8;	signed:1;

print fmt: "prev_comm=%s prev_pid=%d prev_prio=%d", REC->prev_comm, REC->prev_pid, REC->prev_prio
"""
KINDS = [
    ("field:__data_loc char[] name;	offset:8;	size:4;	signed:0;", "name", "char", "dynamic", 1, True),
    ("field:__data_loc char[][2] names;	offset:8;	size:8;	signed:0;", "names", "char", "dynamic", 1, True),
    ("field:__rel_loc u16[] ofs;	offset:8;	size:4;	signed:0;", "ofs", "u16", "relative", 2, False),
    ("field:__data_loc cpumask_t *[] mask;	offset:8;	size:4;	signed:0;", "mask", "cpumask_t *", "dynamic", 8, False),
    ("field:u32 arr[4];	offset:8;	size:16;	signed:0;", "arr", "u32", "array", 4, False),
    ("field:char comm[TASK_COMM_LEN];	offset:8;	size:16;	signed:1;", "comm", "char", "string", 1, True),
    ("field:unsigned long caller[8];	offset:16;	size:64;	signed:0;", "caller", "unsigned long", "array", 8, False),
    ("field:u32 buf[];	offset:24;	size:0;	signed:0;", "buf", "u32", "array", 4, False),
    ("field:const char *const * argv;	offset:24;	size:8;	signed:0;", "argv", "const char *const *", "number", 8, False),
    ("field:struct task_struct * p;	offset:24;	size:8;	signed:0;", "p", "struct task_struct *", "number", 8, False),
    ("field:bool on;	offset:24;	size:1;	signed:0;", "on", "bool", "number", 1, False),
    ("field:u8 key[4][6];	offset:8;	size:24;	signed:0;", "key", "u8", "array", 1, False),
    ("field:char c;	offset:8;	size:1;	signed:1;", "c", "char", "number", 1, True),
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
	field: u64 timestamp;	offset:0;	size:8;	signed:0;
	field: local_t commit;	offset:8;	size:8;	signed:1;
	field: int overwrite;	offset:8;	size:1;	signed:1;
	field: char data;	offset:16;	size:4080;	signed:1;
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
