"""Tokens -> nodes.Probe.  Pure syntax: no types, no kernel.

    probe  := KIND symbol arg* [ 'f:' filter ]        KIND := p | r | P | R | e
    arg    := NAME '=' [S|U|X] unary
    unary  := '*' unary | '&' unary | '(' ctype ')' unary | postfix
    postfix:= primary ( ('->' | '.') ['!' '(' ctype ')'] NAME | '[' NUM ']' )*
    primary:= '!' '(' ctype ')' primary | '@' '(' ctype ')' [l2|l3|l4] primary | '(' unary ')' | source
              | 'container_of' '(' unary ',' ctype ',' NAME ( '.' NAME | '[' NUM ']' )* ')'
    source := '%' (NUM|REG) | '$' (retval | comm | stack[NUM] | argNUM) | '@' (SYMBOL ['+' NUM] | ADDRESS | '+' NUM)
              | NAME

`!(T)x->m` is `((T)x)->m` as surftrace has it; `(T)x->m` is `(T)(x->m)` as C has it.
"""
from __future__ import absolute_import

from . import lexer, nodes
from ..errors import ExprError

__all__ = ["parse"]

KINDS = "prPRe"
MAX_TEXT = 65536    # characters; the kernel takes 4096 of the line that is made of it
MAX_NESTING = 32    # parentheses, casts and `*` within each other
_TYPE_WORDS = frozenset("struct union enum const volatile unsigned signed long short int char void float double bool "
                        "_Bool".split())


def parse(text):
    """nodes.Probe of a trace expression; ExprError with the column of what is wrong."""
    if len(text) > MAX_TEXT:
        raise ExprError("an expression of %d characters" % len(text), text[:60] + "...", 60,
                        "the kernel takes lines of 4096 characters")
    at, kind = _word(text, 0)
    if kind not in tuple(KINDS):
        raise _kind_error(text, at, kind)
    start, word = _word(text, at + 1)
    if not word:
        raise ExprError("nothing to probe", text, len(text.rstrip()), "%s %s" % (
            kind, {"e": "sched/sched_switch", "P": "bash:readline", "R": "bash:readline"}.get(kind, "vfs_read")))
    symbol = _symbol(kind, text, start, word)
    start += len(word)
    filter_at = lexer.find_filter(text, start)
    condition = column = None
    if filter_at < len(text):
        column = filter_at + 2
        while text[column:column + 1] in (" ", "\t"):
            column += 1
        condition = text[column:].rstrip()
        if not condition:
            raise ExprError("an empty filter", text, len(text.rstrip()), "for example f:common_pid==1")
    args = _Parser(text, lexer.tokens(text, start, filter_at)).args()
    if kind == "e" and args:
        raise ExprError("an event has fields of its own, and takes no variables", text, args[0].column,
                        "choose by f:FIELD==VALUE; `lbc list -e '%s'` shows the fields" % symbol.text)
    return nodes.Probe(kind, symbol, args, condition, column, text)


def _kind_error(text, at, kind):
    hint = "p: a kernel function is entered, r: it returns, P and R: the same of a user function, e: a trace event"
    if not kind:
        return ExprError("an empty expression", text, 0, hint)
    if kind[1:2] == ":" and kind[0] in KINDS:
        return ExprError("probes are named by lbc itself", text, at + 1, "write `%s FUNCTION`" % kind[0])
    return ExprError("`%s` is no kind of probe" % kind, text, at, hint)


def _word(text, at):
    """(column, next word of text from ``at``)"""
    size = len(text)
    while at < size and text[at] in " \t\r\n":
        at += 1
    end = at
    while end < size and text[end] not in " \t\r\n":
        end += 1
    return at, text[at:end]


# -- the symbol --------------------------------------------------------------------------------------------------------

def _symbol(kind, text, at, word):
    if kind == "e":
        return _event(text, at, word)
    if kind in "PR":
        return _user_symbol(kind, text, at, word)
    module, colon, rest = word.partition(":")
    if not colon:
        module, rest = "", word
    rest_at = at + len(word) - len(rest)
    rest, offset = _offset(text, rest_at, rest)
    copy = None
    name, mark, which = rest.partition("#")
    if mark:
        if not which.isdigit() or int(which) < 1:
            raise ExprError("`#` wants the number of a copy, from 1", text, rest_at + len(name), "vfs_read#2")
        copy = int(which)
    else:
        name, mark, which = rest.partition("@")
        if mark:
            if not which:
                raise ExprError("`@` wants the file of a copy", text, rest_at + len(name), "show@fs/file.c")
            copy = which
    if not name:
        raise ExprError("the name of a function is missing", text, rest_at)
    for number, char in enumerate(name):
        if not (char.isalnum() or char in "_.$*?[]-!^"):
            raise ExprError("`%s` does not belong into a function's name" % char, text, rest_at + number)
    if offset and kind == "r":
        raise ExprError("a return probe has no offset: it stands where the function returns to", text,
                        text.rfind("+", 0, at + len(word)), "p %s+0x%x, or r %s" % (name, offset, name))
    return nodes.Symbol("", module, name, offset, copy, at)


def _user_symbol(kind, text, at, word):
    cut = word.find(":")
    while cut >= 0 and word[cut:cut + 2] == "::":  # C++
        cut = word.find(":", cut + 2)
    if cut < 0:
        raise ExprError("a user probe wants OBJECT:FUNCTION", text, at, "P bash:readline, P /bin/x:main, P libc:fopen")
    binary, rest = word[:cut], word[cut + 1:]
    if not binary:
        raise ExprError("the binary or library is missing before `:`", text, at, "P libc:%s" % (rest or "fopen"))
    if not rest:
        raise ExprError("the function is missing behind `:`", text, at + len(word), "P %s:main" % binary)
    name, offset = _offset(text, at + cut + 1, rest)
    if not name:
        raise ExprError("the function is missing behind `:`", text, at + cut + 1, "P %s:main" % binary)
    if offset and kind == "R":
        raise ExprError("a return probe has no offset: it stands where the function returns to", text,
                        text.rfind("+", 0, at + len(word)), "P %s:%s+0x%x, or R %s:%s" % (
                            binary, name, offset, binary, name))
    return nodes.Symbol(binary, "", name, offset, None, at)


def _event(text, at, word):
    system, slash, name = word.partition("/")
    if not slash:
        system, slash, name = word.partition(":")
    if not slash or not system or not name:
        raise ExprError("an event is SYSTEM/EVENT", text, at, "e sched/sched_switch")
    if "/" in name or ":" in name:
        raise ExprError("an event is SYSTEM/EVENT, with one `/`", text, at + len(system) + 1)
    return nodes.Symbol("", system, name, 0, None, at)


def _offset(text, at, word):
    """('func', 0x79) of 'func+0x79'."""
    name, plus, number = word.rpartition("+")
    if not plus:
        return word, 0
    column = at + len(name) + 1
    if not number or not number[0].isdigit():
        raise ExprError("an offset is a number of bytes", text, column, "%s+0x10" % name)
    return name, lexer.number(text, column, column + len(number))


# -- the variables -----------------------------------------------------------------------------------------------------

class _Parser(object):
    def __init__(self, text, found):
        self.text, self.tokens, self.at, self.nesting = text, found, 0, 0

    @property
    def next(self):
        return self.tokens[self.at]

    def peek(self, distance=1):
        return self.tokens[min(self.at + distance, len(self.tokens) - 1)]

    def take(self):
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def fail(self, what, token=None, hint=None):
        return ExprError(what, self.text, (token or self.next).column, hint)

    def expect(self, kind, where):
        token = self.next
        if token.kind != kind:
            raise self.fail("`%s` is missing %s" % (kind, where))
        return self.take()

    def args(self):
        found = []
        while self.next.kind != "end":
            found.append(self.arg())
        return found

    def arg(self):
        name = self.next
        if name.kind != "name":
            raise self.fail("a variable is wanted here: NAME=VALUE", hint="v=%s" % name.text if name.kind in
                            ("%", "$", "@") else None)
        self.take()
        if self.next.kind != "=":
            raise self.fail("`=` is missing behind the variable `%s`" % name.text,
                            hint="%s=%%0->%s; a filter begins with f:" % (name.text, name.text))
        equals = self.take()
        if self.next.kind == "=":
            raise self.fail("`==` compares, which is for the filter", equals, "f:%s==..." % name.text)
        if self.next.kind == "end" or self.starts_arg():
            raise self.fail("the value of `%s` is missing" % name.text)
        column = self.next.column
        letter = self.letter()
        value = self.unary()
        if self.next.kind != "end" and not self.next.space:
            raise self.fail("unexpected `%s`" % self.next.text, hint=self.why())
        if self.next.kind not in ("end", "name"):
            raise self.fail("unexpected `%s`" % self.next.text, hint=self.why())
        return nodes.Arg(name.text, letter, value, column, name.column)

    def why(self):
        kind = self.next.kind
        if kind == ")":
            return "no parenthesis is open here"
        if kind in ("+", "-"):
            return "values are not calculated; &p->m, p[1] and container_of() change an address"
        return None

    def starts_arg(self):
        return self.next.kind == "name" and self.next.space and self.peek().kind == "="

    def letter(self):
        """S, U or X before a sign; before a name it can only be told from the prototype (checker)."""
        token = self.next
        if token.kind == "name" and token.text in ("S", "U", "X") and self.peek().kind in (
                "%", "$", "@", "!", "*", "&", "("):
            return self.take().text
        if token.kind == "name" and token.text in ("Scontainer_of", "Ucontainer_of", "Xcontainer_of"):
            if self.peek().kind == "(":
                self.tokens[self.at] = lexer.Token("name", token.text[1:], token.column + 1, False)
                return token.text[0]
        return ""

    def deeper(self):
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.fail("more than %d levels within each other" % MAX_NESTING)

    def unary(self):
        token = self.next
        self.deeper()
        if token.kind == "*":
            self.take()
            node = nodes.Deref(self.unary(), token.column)
        elif token.kind == "&":
            self.take()
            node = nodes.AddressOf(self.unary(), token.column)
        elif token.kind == "(" and self.is_type():
            ctype = self.ctype(self.take())
            node = nodes.Cast(self.unary(), ctype, False, token.column)
        else:
            node = self.postfix()
        self.nesting -= 1
        return node

    def is_type(self):
        """Does the parenthesis here hold a C type that is applied to what follows?"""
        at, first = self.at + 1, self.peek()
        if first.kind != "name":
            return False
        if first.text in _TYPE_WORDS:
            return True
        at += 1
        while self.tokens[at].kind == "*":
            at += 1
        if self.tokens[at].kind != ")":
            return False
        behind = self.tokens[min(at + 1, len(self.tokens) - 1)]
        if behind.kind == "name":  # `(a) b=..`: the next variable
            return self.tokens[min(at + 2, len(self.tokens) - 1)].kind != "="
        return behind.kind in ("%", "$", "@", "(", "*", "&", "!", "number")

    def ctype(self, opening):
        """CType up to its `)`; the `(` has been taken."""
        depth, begin = 1, self.next.column
        while True:
            token = self.take()
            if token.kind == "end":
                raise self.fail("`)` of this cast is missing", opening)
            if token.kind == "(":
                depth += 1
            elif token.kind == ")":
                depth -= 1
                if not depth:
                    break
            elif token.kind not in ("name", "*", "[", "]", "number", ","):
                raise self.fail("`%s` does not belong into a C type" % token.text, token)
        text = self.text[begin:token.column].rstrip()
        if not text:
            raise self.fail("a C type is wanted in the parentheses", token, "!(struct file *)")
        return nodes.CType(text, begin)

    def postfix(self):
        primary = self.primary()
        steps = []
        while True:
            token = self.next
            if token.kind in ("->", ".") and not (token.kind == "." and token.space):
                self.take()
                cast = None
                if self.next.kind == "!":
                    self.take()
                    cast = self.ctype(self.expect("(", "behind `!`"))
                name = self.next
                if name.kind != "name":
                    raise self.fail("the name of a member is wanted behind `%s`" % token.text)
                self.take()
                steps.append(nodes.Step(token.kind, name.text, cast, name.column, token.column))
            elif token.kind == "[":
                self.take()
                steps.append(self.index(token))
            else:
                break
        if not steps:
            return primary
        return nodes.Path(primary, steps, primary.column)

    def index(self, opening):
        minus = self.next.kind == "-"
        if minus:
            self.take()
        token = self.next
        if token.kind != "number":
            raise self.fail("an index is a number", hint="values are not calculated, so it cannot be a variable")
        self.take()
        if self.next.kind != "]":
            raise self.fail("`]` is missing", hint=None)
        self.take()
        return nodes.Step("[", -token.value if minus else token.value, None, token.column, opening.column)

    def primary(self):
        token = self.next
        self.deeper()
        node = None
        if token.kind == "!":
            self.take()
            ctype = self.ctype(self.expect("(", "behind `!`"))
            node = nodes.Cast(self.primary(), ctype, True, token.column)
        elif token.kind == "@" and self.peek().kind == "(":
            self.take()
            node = self.packet(token)
        elif token.kind == "(":
            self.take()
            node = self.unary()
            if self.next.kind != ")":
                raise self.fail("`)` is missing", token if self.next.kind == "end" else None)
            self.take()
        elif token.kind in "%$@" and token.kind:
            node = self.source()
        elif token.kind == "name":
            if token.text == "container_of" and self.peek().kind == "(":
                node = self.container_of()
            else:
                self.take()
                node = nodes.Param(token.text, token.column)
        self.nesting -= 1
        if node is None:
            raise self.fail(*self.no_value(token))
        return node

    def no_value(self, token):
        if token.kind == "end":
            return "a value is missing at the end", token
        if token.kind == "number":
            return ("a number is no value", token, "%%%s is an argument, @0x... memory at an address" % token.text)
        if token.kind in ("+", "-"):
            return ("`%s` cannot begin a value" % token.text, token,
                    "offsets follow from the names of members: %0->comm instead of +0xae0(%di)")
        return "a value cannot begin with `%s`" % token.text, token

    def packet(self, at):
        ctype = self.ctype(self.take())
        layer = None
        token = self.next
        if token.kind == "name" and len(token.text) == 2 and token.text[0] in "lL" and token.text[1].isdigit():
            if token.text not in ("l2", "l3", "l4"):
                raise self.fail("`%s` is no layer" % token.text, token,
                                "l2: Ethernet, l3: IP (default), l4: TCP, UDP, ICMP")
            layer = int(self.take().text[1])
        return nodes.Packet(self.primary(), ctype, layer, at.column)

    def source(self):
        sign = self.take()
        token = self.next
        if sign.kind == "%":
            if token.space and token.kind != "end":
                raise self.fail("a number or a register is wanted behind `%`", sign)
            if token.kind == "number":
                return nodes.Argument(self.take().value, sign.column)
            if token.kind == "name":
                return nodes.Register(self.take().text, sign.column)
            raise self.fail("a number or a register is wanted behind `%`", sign, "%0 is the first argument")
        if sign.kind == "$":
            return self.variable(sign)
        return self.memory(sign)

    def variable(self, sign):
        token = self.next
        name = token.text if token.kind == "name" and not token.space else ""
        if name in ("retval", "comm", "stack"):
            self.take()
            return nodes.Variable(name, None, sign.column)
        for word in ("stack", "arg"):
            digits = name[len(word):]
            if name.startswith(word) and digits.isdigit():
                if len(digits) > 4 or (word == "arg" and int(digits) < 1):
                    break
                self.take()
                if word == "arg":  # ftrace's own name, which counts from 1
                    return nodes.Argument(int(digits) - 1, sign.column)
                return nodes.Variable(word, int(digits), sign.column)
        raise self.fail("`$%s` is not known" % name, sign, "$retval, $comm, $stack, $stackN; %0 is an argument")

    def memory(self, sign):
        token = self.next
        if token.kind == "number" and not token.space:
            return nodes.Address(self.take().value, False, sign.column)
        if token.kind == "+" and self.peek().kind == "number":
            self.take()
            return nodes.Address(self.take().value, True, sign.column)
        if token.kind != "name" or token.space:
            raise self.fail("a symbol or an address is wanted behind `@`", sign,
                            "@jiffies, @0xffffffff81000000; a packet is @(struct iphdr *)l3%0")
        name = self.take().text
        while self.next.kind == "." and self.peek().kind == "number" and not self.peek().space:  # a static: `key.7`
            self.take()
            name += "." + self.take().text
        offset = 0
        if self.next.kind in ("+", "-") and self.peek().kind == "number":
            offset = -1 if self.take().kind == "-" else 1
            offset *= self.take().value
        return nodes.Global(name, offset, sign.column)

    def container_of(self):
        word = self.take()
        opening = self.take()
        operand = self.unary()
        self.expect(",", "in container_of(POINTER, TYPE, MEMBER)")
        depth, begin = 0, self.next.column
        while self.next.kind != "," or depth:
            token = self.take()
            if token.kind == "end":
                raise self.fail("container_of(POINTER, TYPE, MEMBER) is not complete", opening)
            depth += {"(": 1, ")": -1}.get(token.kind, 0)
            if depth < 0:
                raise self.fail("container_of(POINTER, TYPE, MEMBER) wants a member too", token)
        ctype = nodes.CType(self.text[begin:self.next.column].rstrip(), begin)
        self.take()
        name = self.expect_name()
        steps = [nodes.Step(".", name.text, None, name.column, name.column)]
        while self.next.kind in (".", "["):
            token = self.take()
            if token.kind == "[":
                steps.append(self.index(token))
            else:
                name = self.expect_name()
                steps.append(nodes.Step(".", name.text, None, name.column, token.column))
        self.expect(")", "behind container_of(")
        return nodes.ContainerOf(operand, ctype, steps, word.column)

    def expect_name(self):
        if self.next.kind != "name":
            raise self.fail("the name of a member is wanted here")
        return self.take()
