"""Whole expressions: the mission document's examples, line for line; limits; notes."""
from __future__ import absolute_import

import io
import os

import pytest

from lbc.errors import InputError
from .world import Table, compile_text

HERE = os.path.dirname(os.path.abspath(__file__))

KERNEL = """
typedef atomic_t struct atomic
typedef __be32 unsigned int
typedef loff_t long long
struct atomic 4
    0x0 int counter
struct list_head 16
    0x0 struct list_head * next
    0x8 struct list_head * prev
struct rb_node 24
    0x0 unsigned long __rb_parent_color
    0x8 struct rb_node * rb_right
    0x10 struct rb_node * rb_left
struct mm_struct 1000
    0x58 atomic_t mm_users
struct file 256
    0x68 loff_t f_pos
struct filename 32
    0x0 const char * name
struct kmem_cache 400
    0x18 unsigned int size
    0x58 const char * name
struct sk_buff 232
    0xe8 unsigned char * data
struct iphdr 20
    0x9 unsigned char protocol
    0xc __be32 saddr
    0x10 __be32 daddr
void wake_up_new_task(struct task_struct * p)
struct file *do_filp_open(int dfd, struct filename * pathname, const struct open_flags * op)
int __netif_receive_skb_core(struct sk_buff * skb, bool pfmemalloc)
struct open_flags
struct sched_entity 500
    0x18 struct rb_node run_node
"""
SETS = {
    "4.19": KERNEL + """
struct task_struct 9000
    0x80 struct sched_entity se
    0x850 struct mm_struct * mm
    0xae0 char [16] comm
""",
    "later": KERNEL + """
struct task_struct 9000
    0xb28 char [16] comm
""",
    "bash": "char *readline(const char * prompt)",
    "libc": "struct FILE\nunsigned int sleep(unsigned int seconds)\n"
            "struct FILE *fopen(const char * path, const char * mode)",
    "tuprobe": "struct uprobe_def 8\n    0x0 int a\n    0x4 int b\nint func(int v, struct uprobe_def * ud)",
}


class EventField(object):
    """What ftrace's format says of a field."""

    def __init__(self, name, text, size, signed, is_string=False):
        self.name, self.type, self.size, self.signed, self.is_string = name, text, size, signed, is_string


EVENTS = {"sched_stat_wait": [EventField("comm", "char[16]", 16, False, True), EventField("pid", "pid_t", 4, True),
                              EventField("delay", "u64", 8, False)]}


def seed():
    with io.open(os.path.join(HERE, "seed.txt"), encoding="utf-8") as f:
        lines = [str(line.rstrip("\n")) for line in f if not line.startswith("#")]
    assert len(lines) % 4 == 0
    return [tuple(lines[at:at + 4]) for at in range(0, len(lines), 4)]


def test_the_seed_is_whole():
    kinds = [row[1][0] for row in seed()]
    assert kinds.count("e") == 1 and len(kinds) - kinds.count("e") == 23


@pytest.mark.parametrize("row", seed(), ids=[row[1].replace("/", "|")[:60] for row in seed()])
def test_seed(row):
    """Every printed example."""
    types, text, wanted, condition = row
    types, _, place = types.strip("[]").partition(" ")
    wanted = wanted.split()
    name = wanted[0].partition(":")[2] or "f0"
    fields = dict((field.name,
        field) for field in EVENTS[text.split()[1].partition("/")[2]]) if text[0] == "e" else None
    # bash and libc have no types for $retval in the document: its lines show the register as it is
    compiled = compile_text(text, Table(SETS[types]), fields=fields, name=name)
    assert compiled.filter == ("" if condition == "-" else condition)
    if text[0] == "e":
        with pytest.raises(InputError):
            compiled.definition("x")
    else:
        assert compiled.definition(place or text.split()[1]).split() == wanted


def test_a_group_and_a_place():
    compiled = compile_text("p do_filp_open+0x10 dfd=%0", Table(SETS["4.19"]))
    assert compiled.definition("_text+0x1234", "lbc_1") == "p:lbc_1/f0 _text+0x1234 dfd=%di:u32"
    assert compiled.fetch == [("dfd", "%di:u32")]
    assert len(compiled.notes) == 1 and "registers at do_filp_open+0x10" in compiled.notes[0]
