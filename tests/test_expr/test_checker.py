"""Paths through types: what is fetched from where, and what is said when there is no such thing.

Offsets are worked out by hand from the table below; suffixes follow SPEC section 1.
"""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError
from .world import ARM, Table, compile_text

TYPES = """
typedef pid_t int
typedef name_t char
typedef task_t struct task
typedef taskp_t task_t *
enum state 4 unsigned RUN=0 WAIT=1 DEAD=32
enum level 1 signed LOW=-1 HIGH=1
struct atomic 4
    0x0 int counter
struct ref 4
    0x0 struct atomic refs
struct node 16
    0x0 struct node * next
    0x8 struct node * prev
struct in6 16
    0x0 union 16
        0x0 u8 [16] a8
        0x0 unsigned int [4] a32
struct inner 32
    0x0 int x
    0x8 struct node node
    0x18 char [8] tag
struct task 2048
    0x0 unsigned long flags
    0x8 pid_t pid
    0xc enum state state
    0x10 char [16] comm
    0x20 char * name
    0x28 unsigned char * bytes
    0x30 name_t * alias
    0x38 struct task * parent
    0x40 struct node children
    0x50 struct inner inner
    0x70 struct inner [3] many
    0xd0 int [2][3] grid
    0xe8 char [2][8] names
    0xf8 union 8
        0x0 u64 whole
        0x0 struct 8
            0x0 u32 low
            0x4 u32 high
    0x100:0+3 unsigned int a
    0x100:3+1 unsigned int b
    0x101:2+9 unsigned int c
    0x104:0+1 u8 flag
    0x105:7+2 u8 odd
    0x108 struct atomic count
    0x10c struct ref ref
    0x110 bool ok
    0x112 u8 [6] mac
    0x118 struct in6 addr
    0x128 char ** argv
    0x130 char * [3] words
    0x148 int (*)(struct task *) call
    0x150 struct opaque * opaque
    0x158 taskp_t tp
    0x160 void * data
    0x168 u64 [100] big
    0x488 enum state [2] states
    0x490 float real
    0x494 enum level level
    0x498 __int128 wide
    0x4a8 char __user * text
    0x4b0 struct task __user * remote
    0x4b8 void (*[2])(void) calls
    0x4c8:4+3 enum state mode
    0x4d0 long [1] one
    0x4d8 u16 [0] tail
struct opaque
union word 8
    0x0 u64 a
    0x0 u32 b
struct sk_buff 232
    0xd8 unsigned char * data
    0xd0 unsigned char * head
struct ethhdr 14
    0xc __be16 h_proto
struct iphdr 20
    0x0:0+4 u8 ihl
    0x0:4+4 u8 version
    0xc __be32 saddr
struct ipv6hdr 40
    0x8 struct in6 saddr
struct tcphdr 20
    0x0 __be16 source
    0x2 __be16 dest
    0xc:0+4 u16 res1
    0xc:9+1 u16 syn
struct udphdr 8
    0x0 __be16 source
struct icmphdr 8
    0x0 u8 type
var counter int
var current_task struct task *
var banner char [64]
var table struct task
int f(struct task * t, int fd, const char * path, struct task ** pp, bool on, s8 small, long sixth, short seventh)
int g(struct sk_buff * skb, struct sk_buff ** pskb, void * p, struct task * t)
struct task *ret(int fd)
char *str(struct task * t)
void none(void)
int var(int fd, ...)
double real(double d, int n)
struct node pair(struct node n, union word w)
enum state st(enum state s)
long many(long a, long b, long c, long d, long e, struct node n, long g)
struct big 40
    0x0 long [5] a
    0x20 int last
int by(struct big b, int n, struct big c)
int wide(__int128 w, u64 v)
int callback(int (*)(int) cb, char __user * buf, struct task __user * ut, const char __user ** uv)
int sock(struct in6 * a6, u8 * mac, union word * w)
"""
TABLE = Table(TYPES)


def fetch(text, function="f", kind="p", **more):
    """Fetch argument of one value."""
    compiled = compile_text("%s %s v=%s" % (kind, function, text), TABLE, **more)
    assert [name for name, _ in compiled.fetch] == ["v"]
    return compiled.fetch[0][1]


VALUES = """
%1                                                 => %si:u32
fd                                                 => %si:u32
Sfd                                                => %si:s32
X%1                                                => %si:x32
U%1                                                => %si:u32
%7                                                 => $stack2:u16
seventh                                            => $stack2:u16
on                                                 => %r8:u8
small                                              => %r9:u8
Ssmall                                             => %r9:s8
sixth                                              => $stack1:u64
%0                                                 => %di:u64
%2                                                 => +0x0(%dx):string
X%2                                                => %dx:x64
%3                                                 => %cx:u64
%ax                                                => %ax:u64
X%ip                                               => %ip:x64
$comm                                              => $comm
$stack                                             => $stack:u64
X$stack2                                           => $stack2:x64
$arg2                                              => %si:u32
!(u16)%ax                                          => %ax:u16
(s8)%ax                                            => %ax:u8
S(s8)%ax                                           => %ax:s8
%0->flags                                          => +0x0(%di):u64
t->pid                                             => +0x8(%di):u32
St->pid                                            => +0x8(%di):s32
t->comm                                            => +0x10(%di):string
Xt->comm                                           => +0x10(%di):x8[16]
t->comm[3]                                         => +0x13(%di):u8
t->name                                            => +0x0(+0x20(%di)):string
Xt->name                                           => +0x20(%di):x64
t->name[2]                                         => +0x2(+0x20(%di)):u8
*t->name                                           => +0x0(+0x20(%di)):u8
t->bytes                                           => +0x28(%di):u64
t->bytes[1]                                        => +0x1(+0x28(%di)):u8
t->alias                                           => +0x0(+0x30(%di)):string
t->parent->parent->pid                             => +0x8(+0x38(+0x38(%di))):u32
t->children.next->prev                             => +0x8(+0x40(%di)):u64
t->inner.node.prev                                 => +0x60(%di):u64
t->inner.tag                                       => +0x68(%di):string
t->many[2].x                                       => +0xb0(%di):u32
t->many[1].node.next->next                         => +0x0(+0x98(%di)):u64
t->many->x                                         => +0x70(%di):u32
(*t->many).x                                       => +0x70(%di):u32
t->grid[1][2]                                      => +0xe4(%di):u32
t->grid[1]                                         => +0xdc(%di):u32[3]
t->grid                                            => +0xd0(%di):u32[6]
**t->grid                                          => +0xd0(%di):u32
t->names[1]                                        => +0xf0(%di):string
t->whole                                           => +0xf8(%di):u64
t->high                                            => +0xfc(%di):u32
t->ok                                              => +0x110(%di):u8
t->mac                                             => +0x112(%di):u8[6]
Xt->mac                                            => +0x112(%di):x8[6]
t->addr.a32                                        => +0x118(%di):u32[4]
t->addr.a8[15]                                     => +0x127(%di):u8
t->count                                           => +0x108(%di):u32
St->ref                                            => +0x10c(%di):s32
t->ref.refs.counter                                => +0x10c(%di):u32
t->argv                                            => +0x128(%di):u64
t->argv[1]                                         => +0x0(+0x8(+0x128(%di))):string
*t->argv                                           => +0x0(+0x0(+0x128(%di))):string
t->words                                           => +0x130(%di):string[3]
Xt->words                                          => +0x130(%di):x64[3]
t->words[2]                                        => +0x0(+0x140(%di)):string
t->call                                            => +0x148(%di):symbol
Xt->call                                           => +0x148(%di):x64
t->calls                                           => +0x4b8(%di):u64[2]
t->opaque                                          => +0x150(%di):u64
t->tp->pid                                         => +0x8(+0x158(%di)):u32
t->data                                            => +0x160(%di):u64
t->big[99]                                         => +0x480(%di):u64
t->state                                           => +0xc(%di):u32
t->states                                          => +0x488(%di):u32[2]
t->level                                           => +0x494(%di):u8
Xt->real                                           => +0x490(%di):x32
t->one                                             => +0x4d0(%di):u64[1]
t->one[3]                                          => +0x4e8(%di):u64
t->tail[2]                                         => +0x4dc(%di):u16
t->a                                               => +0x100(%di):b3@0/32
t->b                                               => +0x100(%di):b1@3/32
t->c                                               => +0x100(%di):b9@10/32
t->flag                                            => +0x104(%di):b1@0/8
t->odd                                             => +0x105(%di):b2@7/16
t->mode                                            => +0x4c8(%di):b3@4/32
*%3                                                => +0x0(%cx):u64
(*%3)->pid                                         => +0x8(+0x0(%cx)):u32
%3[2]->pid                                         => +0x8(+0x10(%cx)):u32
%0[1].pid                                          => +0x808(%di):u32
%0[-1].pid                                         => -0x7f8(%di):u32
(*%0).pid                                          => +0x8(%di):u32
&t->inner                                          => %di:u64
&t->parent->inner                                  => +0x38(%di):u64
(&t->inner)->node.next                             => +0x58(%di):u64
*&t->pid                                           => +0x8(%di):u32
&t->comm[4]                                        => +0x14(%di):string
&*t                                                => %di:u64
(&t->many[1])[1].x                                 => +0xb0(%di):u32
&t->comm                                           => %di:u64
X&t->comm                                          => %di:x64
container_of(t->children.next, struct task, children)->pid => -0x38(+0x40(%di)):u32
container_of(t->children.next, task_t, many[1].node)->comm => -0x88(+0x40(%di)):string
container_of(t->children.next, struct task, children) => +0x40(%di):u64
container_of(&t->children, struct task, children)->pid => +0x8(%di):u32
!(struct inner *)%0->x                             => +0x0(%di):u32
((struct inner *)t->data)->tag                     => +0x18(+0x160(%di)):string
t->!(struct inner *)data->tag                      => +0x18(+0x160(%di)):string
!(taskp_t)%ax->pid                                 => +0x8(%ax):u32
(char *)t->data                                    => +0x0(+0x160(%di)):string
t->!(char [4])mac                                  => +0x112(%di):string
(u16)t->flags                                      => +0x0(%di):u16
S(short)t->flags                                   => +0x0(%di):s16
(u64)t->pid                                        => +0x8(%di):u32
(long)fd                                           => %si:u32
S(long)fd                                          => %si:s32
(enum state)t->pid                                 => +0x8(%di):u32
(char *)t->mac                                     => +0x112(%di):string
(u32 *)t->mac                                      => %di:u64
*(u32 *)t->mac                                     => +0x112(%di):u32
!(u32 *)%0[3]                                      => +0xc(%di):u32
!(u64 [4])@x                                       => @x:u64[4]
(u8)t->a                                           => +0x100(%di):b3@0/32
!(struct task)@x.comm                              => @x+0x10:string
!(struct task *)@x->comm                           => +0x10(@x):string
@x                                                 => @x
X@x                                                => @x:x64
S@x+8                                              => @x+0x8:s64
@x-8                                               => @x-0x8
@0xffffffff81000010                                => @0xffffffff81000010
!(u32)@0xffffffff81000010                          => @0xffffffff81000010:u32
!(struct task)@0xffffffff81000000.pid              => @0xffffffff81000008:u32
@counter                                           => @counter:u32
@current_task                                      => @current_task
@current_task->pid                                 => +0x8(@current_task):u32
@banner                                            => @banner:string
@banner[3]                                         => @banner+0x3:u8
@table.comm                                        => @table+0x10:string
@table.parent->pid                                 => +0x8(@table+0x38):u32
!(char *)@x                                        => +0x0(@x):string
"""


def rows(text):
    """[[words before => and behind]] of a table."""
    return [tuple(part.strip() for part in line.split("=>")) for line in text.strip().splitlines()]


@pytest.mark.parametrize("text,wanted", rows(VALUES), ids=[row[0].replace("/", "|") for row in rows(VALUES)])
def test_values(text, wanted):
    assert fetch(text) == wanted


OTHERS = """
ret       r $retval                                          => $retval:u64
ret       r $retval->pid                                     => +0x8($retval):u32
str       r $retval                                          => +0x0($retval):string
f         r S$retval                                         => $retval:s32
st        r $retval                                          => $retval:u32
none      r %ax                                              => %ax:u64
f         r $comm                                            => $comm
real      p n                                                => %di:u32
pair      p n.next                                           => %di:u64
pair      p n.prev->prev                                     => +0x8(%si):u64
pair      p w.b                                              => %dx:u32
pair      p X%1.a                                            => %dx:x64
many      p n.prev                                           => +0x10($stack):u64
many      p g                                                => %r9:u64
many      p n.prev->next                                     => +0x0(+0x10($stack)):u64
by        p b.last                                           => +0x28($stack):u32
by        p n                                                => %di:u32
by        p c.a[1]                                           => +0x38($stack):u64
wide      p v                                                => %dx:u64
callback  p cb                                               => %di:symbol
callback  p Xcb                                              => %di:x64
callback  p buf                                              => +0x0(%si):ustring
callback  p buf[1]                                           => +u0x1(%si):u8
callback  p ut->pid                                          => +u0x8(%dx):u32
callback  p ut->comm                                         => +0x10(%dx):ustring
callback  p ut->parent->pid                                  => +u0x8(+u0x38(%dx)):u32
callback  p ut->name                                         => +0x0(+u0x20(%dx)):ustring
callback  p !(struct node *)ut->next                         => +u0x0(%dx):u64
callback  p uv[2]                                            => +0x0(+0x10(%cx)):ustring
callback  p ut->words                                        => +u0x130(%dx):ustring[3]
callback  p !(const char __user *)%si                        => +0x0(%si):ustring
callback  p ut->a                                            => +u0x100(%dx):b3@0/32
f         p t->text                                          => +0x0(+0x4a8(%di)):ustring
f         p t->remote->pid                                   => +u0x8(+0x4b0(%di)):u32
g         p @(struct iphdr *)l3%0->saddr                     => +0xc(+0xd8(%di)):u32
g         p @(struct iphdr *)skb->saddr                      => +0xc(+0xd8(%di)):u32
g         p @(struct iphdr *)l2%0->saddr                     => +0x1a(+0xd8(%di)):u32
g         p @(struct ethhdr *)l2%0->h_proto                  => +0xc(+0xd8(%di)):u16
g         p @(struct tcphdr *)l2%0->dest                     => +0x24(+0xd8(%di)):u16
g         p @(struct tcphdr *)l3%0->dest                     => +0x16(+0xd8(%di)):u16
g         p @(struct tcphdr *)l4%0->dest                     => +0x2(+0xd8(%di)):u16
g         p @(struct tcphdr *)l4%0->syn                      => +0xc(+0xd8(%di)):b1@9/16
g         p @(struct iphdr *)l3%0->version                   => +0x0(+0xd8(%di)):b4@4/8
g         p @(struct iphdr *)l3%1->saddr                     => +0xc(+0xd8(+0x0(%si))):u32
g         p @(struct iphdr *)l3%2->saddr                     => +0xc(+0xd8(%dx)):u32
g         p @(struct iphdr *)l3%r12->saddr                   => +0xc(+0xd8(%r12)):u32
g         p @(struct udphdr *)l4%0->cdata[3]                 => +0xb(+0xd8(%di)):u8
g         p @(struct udphdr *)l4%0->sdata[3]                 => +0xe(+0xd8(%di)):u16
g         p @(struct udphdr *)l4%0->ldata[1]                 => +0xc(+0xd8(%di)):u32
g         p @(struct udphdr *)l4%0->qdata[0]                 => +0x8(+0xd8(%di)):u64
g         p @(struct icmphdr *)l3%0->Sdata                   => +0x1c(+0xd8(%di)):string
g         p X@(struct iphdr *)%0->sdata[1]                   => +0x16(+0xd8(%di)):x16
g         p @(struct iphdr *)l3(t->!(struct sk_buff *)data)->saddr => +0xc(+0xd8(+0x160(%cx))):u32
"""


@pytest.mark.parametrize("text,wanted", rows(OTHERS), ids=[row[0].replace("/", "|") for row in rows(OTHERS)])
def test_other_functions(text, wanted):
    function, kind, value = text.split(None, 2)
    assert fetch(value, function, kind) == wanted


ARM_VALUES = """
f         %0->pid              => +0x8(%x0):u32
f         seventh              => %x7:u16
many      g                    => %x7:u64
many      n.prev               => %x6:u64
by        b.last               => +0x20(%x0):u32
by        n                    => %x1:u32
pair      w.b                  => %x2:u32
f         %x19                 => %x19:u64
f         %sp                  => %sp:u64
"""


@pytest.mark.parametrize("text,wanted", rows(ARM_VALUES), ids=[row[0] for row in rows(ARM_VALUES)])
def test_aarch64(text, wanted):
    function, value = text.split(None, 1)
    assert fetch(value, function, machine=ARM) == wanted


ERRORS = [  # function, kind, value, what is under the caret, message, hint
    ("f", "p", "%0.pid", ".pid", "struct task * is a pointer", "use '->'"),
    ("f", "p", "t->inner->x", "->x", "struct inner is not a pointer", "use '.'"),
    ("f", "p", "t->com", "com", "no member `com` in struct task; did you mean `comm`", None),
    ("f", "p", "t->inner.zzz", "zzz", "no member `zzz` in struct inner", "it has x, node, tag"),
    ("f", "p", "t->inner", "t->", "struct inner as a whole is no value", "name a member: x, node, tag"),
    ("f", "p", "t->addr", "t->", "union (anonymous) as a whole is no value", "a8, a32"),
    ("f", "p", "*t", "*t", "struct task as a whole is no value", "name a member: flags, pid"),
    ("f", "p", "t->many", "t->", "struct inner [3] as a whole", "[0].x"),
    ("f", "p", "t->names", "t->", "several texts at once", "[0]"),
    ("f", "p", "t->big", "t->", "has 100 elements, the kernel takes 64", "[0]"),
    ("f", "p", "t->tail", "t->", "how many elements u16 [0] has is not known", "[0]"),
    ("f", "p", "t->many[3].x", "[3]", "struct inner [3] has no element 3", "from 0 to 2"),
    ("f", "p", "t->grid[0][-1]", "[-1]", "has no element -1", None),
    ("f", "p", "t->pid[0]", "[0]", "pid_t is neither an array nor a pointer", None),
    ("f", "p", "t->pid.x", ".x", "pid_t has no members", None),
    ("f", "p", "t->flags->x", "->x", "unsigned long is not a pointer", "cast it"),
    ("f", "p", "%3->pid", "->pid", "struct task * has no members", "pointer to a pointer"),
    ("f", "p", "*t->data", "*t", "void * points to nothing known", "cast it"),
    ("f", "p", "*t->call", "*t", "points to a function", None),
    ("f", "p", "t->opaque->x", "x", "struct opaque is only declared", None),
    ("f", "p", "t->real", "t->", "no floating point numbers", "X shows its bits"),
    ("f", "p", "t->wide", "t->", "a number of 16 bytes cannot be stored", "[0] and [1]"),
    ("f", "p", "%8", "%8", "f has 8 arguments", "int f(struct task *t, int fd"),
    ("none", "p", "%0", "%0", "none has no argument", "void none(void)"),
    ("ret", "p", "%1", "%1", "ret has 1 argument", None),
    ("var", "p", "%1", "%1", "the further arguments of var have no types", None),
    ("f", "p", "fdd", "fdd", "f has no argument `fdd`; did you mean `fd`?", "int f("),
    ("f", "p", "%rdi", "%rdi", "x86_64 has no register `rdi`; did you mean `di`?", "di si dx"),
    ("f", "p", "%ax->pid", "->pid", "the type of this value is not known", "!(struct file *)"),
    ("f", "p", "%ax.pid", ".pid", "the type of this value is not known", None),
    ("f", "p", "%ax[1]", "[1]", "the type of this value is not known", None),
    ("f", "p", "@x->pid", "->pid", "the type of this value is not known", None),
    ("f", "p", "&@x", "&", "does not show the address itself", None),
    ("f", "p", "&%0", "&", "it has no address", None),
    ("f", "p", "&t->a", "&", "a bit-field has no address", None),
    ("f", "p", "t->!(u32 *)a", "u32", "is too small for a pointer", None),
    ("f", "p", "(char *)fd", "char", "int is too small for a pointer", None),
    ("f", "p", "!(struct task)%0", "struct", "a value in a register cannot be struct task", "!(struct task *)"),
    ("f", "p", "!(void)%0", "void", "a value cannot be void", None),
    ("f", "p", "!(struct nosuch *)%0", "struct", "nosuch", None),
    ("f", "p", "!(nosuch_t)%0", "nosuch", "nosuch_t", None),
    ("f", "p", "(u64)&t->inner.zz", "zz", "no member `zz`", None),
    ("f", "p", "!(u64)t->pid", "->pid", "u64 is not a pointer", "(T)x->m casts x->m as in C"),
    ("f", "p", "(u32)&t->inner", "(u32)", "only a pointer can be shown with something added", None),
    ("f", "p", "container_of(t->children.next, int, x)", "int", "container_of wants a struct", None),
    ("f", "p", "container_of(t->children.next, struct task, a)", "a)", "a pointer to this member cannot be", None),
    ("f", "p", "container_of(fd, struct task, pid)", "container_of", "int is not a pointer", None),
    ("f", "p", "$comm->x", "->x", "$comm is a text", None), ("f", "p", "!(u64)$comm", "!", "$comm is a text", None),
    ("f", "p", "$comm[0]", "[0]", "is not a pointer", None),
    ("f", "p", "$retval", "$retval", "when a function returns", "r f"),
    ("none", "r", "$retval", "$retval", "none returns nothing", "void none(void)"),
    ("real", "r", "$retval", "$retval", "is double, and lies in a register that ftrace cannot read", None),
    ("pair", "r", "$retval", "$retval", "struct node as a whole", None),
    ("real", "p", "d", "d", "argument 0 is double", None),
    ("wide", "p", "w", "w", "which does not fit in a register", None),
    ("pair", "p", "n", "n", "struct node as a whole is no value", "next, prev"),
    ("pair", "p", "&n.next", "&", "it lies in a register", None),
    ("f", "r", "%0", "%0", "a return probe cannot see the arguments", "`p` probe"),
    ("f", "r", "t->pid", "t->", "a return probe cannot see the arguments", "`p` probe"),
    ("f", "p", "@+0x40", "@+", "belongs to user probes", None),
    ("callback", "p", "ut->mac", "ut", "only from its own memory", "[0]"),
    ("g", "p", "@(struct iphdr *)l4%0->saddr", "@", "struct iphdr is layer 3, and the data begins at layer 4", "l3"),
    ("g", "p", "@(struct ethhdr *)%0->h_proto", "@", "struct ethhdr is layer 2", "l2"),
    ("g", "p", "@(struct task *)%0->pid", "struct task", "is no packet header", "iphdr"),
    ("g", "p", "@(struct iphdr)%0->saddr", "struct iphdr", "is no packet header", None),
    ("g", "p", "@(struct iphdr *)%3->saddr", "%3", "this is struct task *", None),
    ("g", "p", "@(struct iphdr *)l3%0->sadr", "sadr", "did you mean `saddr`", None),
    ("g", "p", "@(struct iphdr *)l3%0", "@", "struct iphdr", None),
]


@pytest.mark.parametrize("function,kind,value,under,what,hint", ERRORS[:-1],
                         ids=[row[2].replace("/", "|") for row in ERRORS[:-1]])
def test_errors(function, kind, value, under, what, hint):
    text = "%s %s v=%s w=%%di" % (kind, function, value)
    with pytest.raises(ExprError) as caught:
        compile_text(text, TABLE)
    error = caught.value
    assert what in error.what and (hint is None or hint in error.hint)
    assert text[error.column:].startswith(under), str(error)


def test_the_plan_s_error():
    with pytest.raises(ExprError) as caught:
        compile_text("p f c=%0.comm", TABLE)
    assert str(caught.value) == ("struct task * is a pointer\n    p f c=%0.comm\n            ^\n  hint: use '->'")


NAMES = [("common_pid=%1", "common_pid", "`common_pid` is a field that every event has"),
         ("__probe_ip=%1", "__probe_ip", "is a field that every event has"), ("a=%1 b=%1 a=%1", "a=%1",
         "`a` is there twice"),
         ("%s=%%1" % ("x" * 33), "x" * 33, "may have 32 characters")]


@pytest.mark.parametrize("text,under,what", NAMES, ids=["reserved", "ip", "twice", "long"])
def test_names(text, under, what):
    text = "p f " + text
    with pytest.raises(ExprError) as caught:
        compile_text(text, TABLE)
    assert what in caught.value.what and caught.value.column == text.rindex(under)
    compile_text("p f %s=%%1" % ("x" * 32), TABLE)


def test_arguments_in_return_probes_where_the_kernel_keeps_them():
    features = frozenset(["x-types", "ret-args", "arrays"])
    assert fetch("t->pid", "f", "r", features=features) == "+0x8($arg1):u32"
    assert fetch("%7", "f", "r", features=features) == "$arg8:u16"
    assert fetch("n.prev", "pair", "r", features=features) == "$arg2:u64"
    assert fetch("w.b", "pair", "r", features=features) == "$arg3:u32"
    with pytest.raises(ExprError) as caught:
        fetch("n.prev", "many", "r", features=features)
    assert "not kept until the function returns" in caught.value.what
    with pytest.raises(ExprError) as caught:
        compile_text("R x:f v=%0", TABLE, features=features)
    assert "user function" in caught.value.what


def test_no_prototype():
    compiled = compile_text("p unknown a=%0 b=X%5 c=%6 d=!(struct task *)%1->pid", TABLE)
    assert compiled.fetch == [("a", "%di:u64"), ("b", "%r9:x64"), ("c", "$stack1:u64"), ("d", "+0x8(%si):u32")]
    assert len(compiled.notes) == 1 and "the prototype of unknown is not known" in compiled.notes[0]
    assert compile_text("p unknown a=%8", TABLE, machine=ARM).fetch == [("a", "$stack0:u64")]
    for text, what in (("%0->pid", "the type of this value is not known"), ("fd", "not known by name"),
                       ("%99", "100 arguments")):
        with pytest.raises(ExprError) as caught:
            compile_text("p unknown a=" + text, TABLE)
        assert what in caught.value.what
    assert compile_text("r unknown a=$retval b=!(struct task *)$retval->pid", TABLE).fetch == [
        ("a", "$retval:u64"), ("b", "+0x8($retval):u32")]


def test_user_probes():
    """Everything is user memory there, read plainly; a bare $retval has no suffix."""
    def user(text, kind="P", function="callback"):
        return compile_text("%s x:%s v=%s" % (kind, function, text), TABLE).fetch[0][1]
    assert user("buf") == "+0x0(%si):string" and user("ut->parent->pid") == "+0x8(+0x38(%dx)):u32"
    assert user("ut->mac") == "+0x112(%dx):u8[6]" and user("cb") == "%di:u64"
    assert user("$retval", "R") == "$retval" and user("S$retval", "R") == "$retval:s32"
    assert user("$retval", "R", "str") == "+0x0($retval):string"
    assert user("$retval->pid", "R", "ret") == "+0x8($retval):u32"
    assert user("@0x601040") == "@0x601040" and user("!(u32)@+0x40") == "@+0x40:u32"
    assert user("!(struct task)@+0x40.comm") == "@+0x50:string"
    with pytest.raises(ExprError) as caught:
        user("@jiffies")
    assert "in kernel probes only" in caught.value.what


def test_symbols_are_asked_for():
    from lbc.expr import probe
    from .world import X86
    parsed = probe.parse("p unknown a=@jiffies b=@jifies")
    target = probe.Target(X86, has_symbol=lambda name: name == "jiffies")
    with pytest.raises(ExprError) as caught:
        probe.compile_probe(parsed, "f0", None, TABLE, target)
    assert "no symbol `jifies`" in caught.value.what and caught.value.column == parsed.text.index("jifies")


def test_a_probe_is_compiled_again():
    """The nodes stay as they are: wildcards use one for many functions."""
    from lbc.expr import probe
    from .world import target
    parsed = probe.parse("p f* v=Sfd")
    for _ in range(2):
        assert probe.compile_probe(parsed, "f0", TABLE.functions("f")[0], TABLE, target()).fetch == [("v", "%si:s32")]
