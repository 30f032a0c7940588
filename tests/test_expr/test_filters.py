"""Filters: the kernel's grammar, checked; values as the trace shows them become what the kernel compares."""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError
from .world import Table, compile_text

TYPES = """
enum state 4 unsigned RUN=0 WAIT=1 DEAD=32
enum level 4 signed LOW=-1 HIGH=1
struct task 64
    0x0 char [16] comm
    0x10 int pid
    0x14 enum state state
    0x18 __be32 addr
    0x1c __be16 port
    0x20:0+3 unsigned int bits
    0x20:3+4 enum state mode
    0x28 u64 flags
    0x30 u8 [4] mac
    0x34 enum level level
    0x38 char * name
    0x3c u8 [16] six
int f(struct task * t, int fd)
"""
TABLE = Table(TYPES)
VARIABLES = ("comm=t->comm n=fd s=Sfd x=X%1 q=t->flags sq=St->flags xq=Xt->flags st=t->state xst=Xt->state "
             "ip_a=t->addr b16_p=t->port B16_p=t->port bits=t->bits sb=St->bits mode=t->mode mac=t->mac lv=t->level "
             "l=&t->state sl=S&t->state name=t->name ip6_x=t->six task=$comm ret=@x")


def translate(condition, fields=None, variables=VARIABLES, **more):
    kind = "e a/b" if fields is not None else "p f " + variables
    return compile_text("%s f:%s" % (kind, condition), TABLE, fields=fields, **more).filter


AS_IT_IS = r"""
n==1
n == 1
n!=0x1f&&n<10||n>=017
!(n==1)
!!(n==1 && !(q>5 || x<=3))
( ( n==1 ) )
n&0x10
""".split("\n")[1:-1] + [
    'comm=="python3"', "comm=='python3'", 'comm!="a b"', 'comm~"*sh"', 'comm ~ "[a-c]?*"', 'comm=="a|b&c(d)"',
    '!(comm ~ "x*")', "comm=='a\"b'", 'comm==""', 'task=="bash"', 'COMM=="bash"', "common_pid==1", "common_pid!=-1",
    "common_flags&1", "common_type>3&&common_preempt_count==0", "CPU==0", "cpu<2", "common_cpu==1", "s==-1",
    "s<-2147483648",
    "sq==-9223372036854775808", "q==18446744073709551615", "n==4294967295", "s<2147483647", "bits==7", "st==1",
    "st==99",
    "__probe_ip>0xffffffff81000000", "ret!=0", "n==1 ||  n==2&&q==3", 'name=="x"', "lv==1", "x==0x10", "xst==1",
    "mode<3"]


@pytest.mark.parametrize("condition", AS_IT_IS)
def test_stays_as_it_is(condition):
    assert translate(condition) == condition


CHANGED = [
    ("comm==bash", 'comm=="bash"'), ("comm~*sh && n==1", 'comm~"*sh" && n==1'), ("(comm!=a.out)", '(comm!="a.out")'),
    ("n==-1", "n==0xffffffff"), ("q==-1", "q==0xffffffffffffffff"), ("n>=-2147483648", "n>=0x80000000"),
    ("s==4294967295", "s==-1"), ("s==0x80000000", "s==-2147483648"), ("sq==0xffffffffffffffff", "sq==-1"),
    ("n==0000000000000000000000000001", "n==0x1"),
    ("ip_a==127.0.0.1", "ip_a==0x100007f"), ("ip_a!=10.0.0.255||ip_a==0.0.0.0", "ip_a!=0xff00000a||ip_a==0x0"),
    ("ip_a&255.0.0.0", "ip_a&0xff"), ("ip_a=='1.2.3.4'", "ip_a==0x4030201"), ("ip_a==0x100007f", "ip_a==0x100007f"),
    ("b16_p==80", "b16_p==0x5000"), ("B16_p==0x50", "B16_p==0x5000"), ("b16_p & 1", "b16_p & 0x100"),
    ("st==WAIT", "st==1"), ("st!=DEAD&&st<DEAD", "st!=32&&st<32"), ('st=="RUN"', "st==0"), ("mode==WAIT", "mode==1"),
    ("lv==LOW", "lv==4294967295"), ("lv!=HIGH", "lv!=1"),
    ("sb==-1", "sb==0x7"), ("sb==-4", "sb==0x4"), ("l==0xffff888000000014", "l==0xffff888000000000"),
    ("sb<-1", "(sb<0x7&&sb>=0x4)"), ("sb<=2", "(sb<=0x2||sb>=0x4)"), ("sb>0&&n==1", "(sb>0x0&&sb<0x4)&&n==1"),
    ("!(sb>=-2)", "!((sb>=0x6||sb<0x4))"), ("lv<HIGH", "(lv<0x1||lv>=0x80000000)"), ("sb&1", "sb&0x1"),
    ("sl==-1", "sl==-21"), ("l>20", "l>0x0"),
    ("CPU & CPUS{0-3}", "(CPU>=0&&CPU<=3)"), ("n==1&&cpu&CPUS{1,4-5,7}", "n==1&&(cpu==1||cpu>=4&&cpu<=5||cpu==7)"),
    ("__probe_ip.function==vfs_read", "__probe_ip.function==vfs_read"), ("xq.function!=0xffffffff81000000",
                                                                     "xq.function!=0xffffffff81000000"),
    ("comm.ustring==\"x\"", "comm.ustring==\"x\""),
]


@pytest.mark.parametrize("condition,wanted", CHANGED, ids=[row[0] for row in CHANGED])
def test_values_are_replaced(condition, wanted):
    assert translate(condition) == wanted


ERRORS = [  # condition, what is under the caret, message, hint
    ("nn==1", "nn", "no field `nn`; did you mean `n`", "common_pid, CPU, COMM"),
    ("com==\"x\"", "com", "no field `com`; did you mean `comm`", None),
    ("1==n", "1==", "a comparison begins with a field, not with `1`", None),
    ('"x"==comm', '"x"', "a comparison begins with a field", None),
    ("n=1", "=1", "an operator is wanted", "equal is `==`"), ("n", "", "`n` is compared with nothing", "FIELD==VALUE"),
    ("n && q", "&& q", "`n` is compared with nothing", None), ("(n)", ")", "`n` is compared with nothing", None),
    ("n==", "", "a value is missing behind `==`", None), ("n==)", ")", "a value is wanted", None),
    ("n==1 &&", "", "the filter ends where a field is wanted", None),
    ("n==1 & q==1", "& q", "`&&` or `||` is wanted", None),
    ("n==1 q==1", "q==", "`&&` or `||` is wanted", None), ("n==1||&&q==2", "&&q", "a field is wanted, not `&`", None),
    ("(n==1", "(n", "`)` is missing", None), ("((n==1)", "((n", "`)` is missing", None),
    ("n==1)", ")", "no parenthesis is open", None),
    ("()", ")", "a field is wanted, not `)`", None), ("!=1", "!=", "a field is missing before `!=`", None),
    ('comm=="x', '"x', 'the closing " is missing', None), ("comm<\"x\"", "<", "texts are compared by == != ~", None),
    ("comm&1", "&1", "texts are compared by == != ~", None), ("n~1", "~", "`n` is a number", None),
    ('comm!~"x"', "!~", "an operator is wanted", "!(comm ~"),
    ('comm=="%s"' % ("x" * 256), '"x', "a text of 256 characters", None),
    ('n=="x"', '"x"', "n is a number", None), ("n==x", "x", "`x` is no value", None),
    ("n==08", "08", "`08` is no value", None),
    ("n==4294967296", "429", "it does not fit in 32 bits", None), ("bits==8", "8", "it does not fit in 3 bits", None),
    ("n==-2147483649", "-214", "it does not fit in 32 bits", None),
    ("q==18446744073709551616", "184", "fit in 64 bits", None),
    ("b16_p>80", "80", "is in network byte order", "== != and &"),
    ("ip_a<1.2.3.4", "1.2", "is in network byte order", None),
    ("ip_a==1.2.3", "1.2.3", "is no IPv4 address", "ip_a==127.0.0.1"),
    ("b16_p==65536", "65536", "fit in 16 bits", None),
    ("st==WIAT", "WIAT", "neither a number nor an enumerator", "did you mean: WAIT"),
    ("mac==1", "mac", "`mac` is an array", None),
    ("ip6_x==::1", "ip6_x", "is an array", None), ("n.ustring==1", ".ustring", "`n` is no pointer to a text", None),
    ("n.function==x", ".function", "`n` is no address of code", None),
    ("q.x==1", ".x", "`.x` is not known", "before the filter"),
    ("q.function<vfs_read", "<", "functions are compared by == and !=", None),
    ("n==1 f:q==2", "f:", "`&&` or `||`", None),
    ("CPU&CPUS{a}", "CPUS", "no list of CPUs", None), ("CPU==CPUS{1}", "==", "wants a number", None),
    ("CPU&CPUS{1", "CPUS", "closing }", None),
    ("0", "0", "a comparison begins with a field", None),
]


@pytest.mark.parametrize("condition,under,what,hint", ERRORS, ids=[str(number) for number, _ in enumerate(ERRORS)])
def test_errors(condition, under, what, hint):
    with pytest.raises(ExprError) as caught:
        translate(condition)
    error = caught.value
    assert what in error.what, error
    assert hint is None or hint in error.hint, error
    text = error.text[error.column:]
    assert text.startswith(under) if under else not text.strip(), str(error)


def test_functions_need_a_kernel_that_has_them():
    with pytest.raises(ExprError) as caught:
        translate("q.function==vfs_read", features=frozenset(["x-types", "arrays", "symbol-type"]))
    assert "this kernel does not compare with functions" in caught.value.what


def test_return_probes_have_other_fields():
    assert compile_text("r f f:__probe_func!=0&&__probe_ret_ip>1", TABLE).filter == "__probe_func!=0&&__probe_ret_ip>1"
    for text in ("r f f:__probe_ip==1", "p f f:__probe_func==1"):
        with pytest.raises(ExprError):
            compile_text(text, TABLE)


class Format(object):
    """Field of an event as its format file shows it."""

    def __init__(self, text, size, signed=False, is_string=False):
        self.name, self.type, self.size, self.signed, self.is_string = "", text, size, signed, is_string


EVENT = {"comm": Format("char[16]", 16, False, True), "filename": Format("const char *", 8), "nr": Format("int", 4,
    True),
         "bits": Format("unsigned long[2]", 16), "path": Format("__data_loc char[]", 4, True, True),
         "ret": Format("long", 8, True), "flag": Format("u8", 1), "mask": Format("__data_loc cpumask_t", 4),
         "word": Format("__data_loc u32[]", 4), "odd": Format("struct x", 12), "cpu": Format("int", 4, True)}


@pytest.mark.parametrize("condition", [
    "nr==-1", "nr>3 && ret<-4095", 'comm=="bash"', 'path~"/etc/*"', 'filename.ustring ~ "*passwd*"', 'filename=="x"',
    "flag&0x80",
    "mask & CPUS{1,3-4}", "common_pid==1", "cpu==3", "ret.function==vfs_read"])
def test_events(condition):
    assert translate(condition, EVENT) == condition


@pytest.mark.parametrize("condition,what", [
    ("bits==1", "an array"), ("word==1", "an array"), ("odd==1", "an array"), ("flag==256", "fit in 8 bits"),
    ("comm==1x>", None),
    ("mask==1", "a set of CPUs"), ("filenam=='x'", "did you mean `filename`"), ("__probe_ip==1", "no field"),
    ("path==x y", "`&&` or")])
def test_errors_of_events(condition, what):
    if what is None:
        assert translate("comm==1x>", EVENT) == 'comm=="1x>"'
        return
    with pytest.raises(ExprError) as caught:
        translate(condition, EVENT)
    assert what in caught.value.what


def test_a_filter_of_a_page():
    long = "||".join(["n==1"] * 682)
    assert len(long) == 4090 and translate(long) == long
    with pytest.raises(ExprError) as caught:
        translate(long + "||n==2")
    assert "a filter of 4096 characters" in caught.value.what


def test_nesting_is_no_recursion():
    text = "(" * 1500 + "n==1" + ")" * 1500
    assert translate(text) == text


@pytest.mark.parametrize("op", ["<", "<=", ">", ">="])
def test_order_of_signed_bit_fields(op):
    """All pairs of three-bit numbers: the kernel's unsigned comparison gives what the shown numbers mean."""
    for wanted in range(-4, 4):
        text = translate("sb%s%d" % (op, wanted)).replace("||", " or ").replace("&&", " and ")
        for number in range(-4, 4):
            kernel = eval(text, {"sb": number & 7})     # the kernel's operators are Python's
            assert kernel == eval("%d %s %d" % (number, op, wanted)), text
