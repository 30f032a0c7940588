"""The C text of a `print fmt` -> a syntax tree: `"format", expression, ...` as include/trace/stages writes it.

A node is a tuple, its kind first:

    ("int", value, suffix)      ("str", text)               ("name", identifier)
    ("field", name)             REC->name                   ("call", function, [arguments])
    ("cast", type, node)        ("sizeof", type or node)    ("index", node, node)
    ("unary", operator, node)   ("binary", operator, left, right)
    ("cond", test, yes, no)     ("list", [nodes])           { a, b }

A type is (base words, number of stars).  What is not understood (statement expressions, unknown names in a cast) raises
FormatError: such an event is left to the kernel's own text.
"""
from __future__ import absolute_import

from ..errors import FormatError

__all__ = ["parse", "tokens"]

MAX_DEPTH = 64        # nested parentheses; the deepest stock format has 12
MAX_TOKENS = 20000    # the longest stock format has 3,000
_OPERATORS = sorted(["->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+", "-", "*", "/", "%", "&", "|", "^", "~",
                     "!", "?", ":", "(", ")", "[", "]", "{", "}", ",", "<", ">", ".", ";", "="], key=len, reverse=True)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'",
            "?": "?"}
_TYPE_WORDS = frozenset(["void", "char", "short", "int", "long", "signed", "unsigned", "const", "volatile", "struct",
                         "union", "enum", "bool", "_Bool", "__user", "__force", "__kernel", "__rcu"])
_BINARY = [("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"), ("+", "-"),
           ("*", "/", "%")]


def _fail(what, text, at):
    raise FormatError("%s in `%s`" % (what, text[max(at - 20, 0):at + 40].replace("\n", " ")))


def _quoted(text, at):
    """(value, position behind) of the quoted text that begins at ``at``."""
    quote, out, at = text[at], [], at + 1
    start = at
    while True:
        if at >= len(text):
            _fail("no end of the quoted text", text, start)
        char = text[at]
        if char == quote:
            return "".join(out), at + 1
        if char == "\\":
            at += 1
            char = text[at:at + 1]
            if char in _ESCAPES and char:
                out.append(_ESCAPES[char])
            elif char in "01234567" and char:
                end = at
                while end < at + 3 and text[end:end + 1] in tuple("01234567"):
                    end += 1
                out.append(chr(int(text[at:end], 8) & 255))
                at = end - 1
            elif char == "x":
                end = at + 1
                while end < at + 3 and text[end:end + 1] in tuple("0123456789abcdefABCDEF"):
                    end += 1
                if end == at + 1:
                    _fail("a wrong escape", text, at)
                out.append(chr(int(text[at + 1:end], 16)))
                at = end - 1
            else:
                _fail("a wrong escape", text, at)
        else:
            out.append(char)
        at += 1


def tokens(text):
    """[(kind, value)]: ("str", text), ("int", value, suffix), ("id", name), ("op", text)."""
    found, at, size = [], 0, len(text)
    while at < size:
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char == '"':
            value, at = _quoted(text, at)
            found.append(("str", value))
        elif char == "'":
            value, at = _quoted(text, at)
            if len(value) != 1:
                _fail("no character", text, at)
            found.append(("int", ord(value), ""))
        elif char in "0123456789":
            end = at
            while end < size and (text[end].isalnum() or text[end] == "_"):
                end += 1
            word = text[at:end]
            digits = word.rstrip("uUlL")
            try:
                value = int(digits, 16 if digits[:2] in ("0x", "0X") else
                            8 if len(digits) > 1 and digits[0] == "0" else 10)
            except ValueError:
                _fail("no number", text, at)
            if value >> 64:
                _fail("a number beyond 64 bits", text, at)
            found.append(("int", value, word[len(digits):].lower()))
            at = end
        elif char.isalpha() or char == "_":
            end = at
            while end < size and (text[end].isalnum() or text[end] == "_"):
                end += 1
            found.append(("id", text[at:end]))
            at = end
        else:
            for operator in _OPERATORS:
                if text.startswith(operator, at):
                    break
            else:
                _fail("an unknown character", text, at)
            found.append(("op", operator))
            at += len(operator)
        if len(found) > MAX_TOKENS:
            _fail("too many words", text, at)
    return found


class _Parser(object):
    """Recursive descent over the tokens."""

    def __init__(self, text, types):
        self.text, self.types, self.at, self.depth = text, types, 0, 0
        self.tokens = tokens(text)

    def fail(self, what):
        _fail(what, " ".join(str(token[1]) for token in self.tokens[max(self.at - 3, 0):self.at + 6]), 0)

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def take(self):
        token = self.peek()
        self.at += 1
        return token

    def accept(self, operator):
        if self.peek() == ("op", operator):
            self.at += 1
            return True
        return False

    def expect(self, operator):
        if not self.accept(operator):
            self.fail("no `%s`" % operator)

    def arguments(self, closing):
        """Expressions up to ``closing``, which is taken."""
        found = []
        if self.accept(closing):
            return found
        while True:
            found.append(self.expression())
            if self.accept(closing):
                return found
            self.expect(",")
            if closing == "}" and self.accept(closing):
                return found

    def expression(self):
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail("too deep nesting")
        node = self.binary(0)
        if self.accept("?"):
            yes = self.expression()
            self.expect(":")
            node = ("cond", node, yes, self.expression())
        self.depth -= 1
        return node

    def binary(self, level):
        if level == len(_BINARY):
            return self.unary()
        node = self.binary(level + 1)
        while self.peek()[0] == "op" and self.peek()[1] in _BINARY[level]:
            operator = self.take()[1]
            node = ("binary", operator, node, self.binary(level + 1))
        return node

    def unary(self):
        kind, value = self.peek()[:2]
        if kind == "op" and value in ("!", "~", "-", "+", "*", "&"):
            self.take()
            self.depth += 1
            if self.depth > MAX_DEPTH:
                self.fail("too deep nesting")
            node = ("unary", value, self.unary())
            self.depth -= 1
            return node
        if (kind, value) == ("id", "sizeof"):
            self.take()
            self.expect("(")
            named = self.type_name()
            node = ("sizeof", named if named else self.expression())
            self.expect(")")
            return node
        if (kind, value) == ("op", "("):
            start = self.at
            self.take()
            named = self.type_name()
            if named and self.accept(")") and self.starts_operand():
                self.depth += 1
                if self.depth > MAX_DEPTH:
                    self.fail("too deep nesting")
                node = ("cast", named, self.unary())
                self.depth -= 1
                return node
            self.at = start
        return self.postfix()

    def starts_operand(self):
        kind, value = self.peek()[:2]
        return kind in ("id", "int", "str") or (kind == "op" and value in ("(", "*", "&", "~", "-", "!"))

    def type_name(self):
        """(words, stars) when a type stands here, None (and nothing taken) otherwise."""
        start, words = self.at, []
        while self.peek()[0] == "id" and (self.peek()[1] in _TYPE_WORDS or self.peek()[1] in self.types
                                          or words[-1:] in (["struct"], ["union"], ["enum"])):
            words.append(self.take()[1])
        stars = 0
        while words and (self.peek() == ("op", "*") or self.peek() == ("id", "const")):
            stars += self.take()[1] == "*"
        if not words or self.peek() != ("op", ")"):
            self.at = start
            return None
        return tuple(word for word in words if word not in ("const", "volatile", "__user", "__force", "__kernel",
                                                            "__rcu")), stars

    def postfix(self):
        node = self.primary()
        while True:
            if self.accept("["):
                index = self.expression()
                self.expect("]")
                node = ("index", node, index)
            elif self.peek() == ("op", "->") or self.peek() == ("op", "."):
                arrow = self.take()[1]
                kind, name = self.take()[:2]
                if node == ("field", "ent") and arrow == ".":  # struct trace_entry, its members are the common fields
                    node, arrow, name = ("name", "REC"), "->", "common_%s" % name
                if kind != "id" or arrow != "->" or node != ("name", "REC"):
                    self.fail("a member of something else than the record")
                node = ("field", name)
            elif self.peek() == ("op", "(") and node[0] == "name":
                self.take()
                node = ("call", node[1], self.arguments(")"))
            else:
                return node

    def primary(self):
        token = self.take()
        if token[0] == "str":
            text = token[1]
            while self.peek()[0] == "str":
                text += self.take()[1]
            return "str", text
        if token[0] == "int":
            return token
        if token[0] == "id":
            return "name", token[1]
        if token == ("op", "("):
            if self.peek() == ("op", "{"):
                self.fail("a statement expression")
            node = self.expression()
            self.expect(")")
            return node
        if token == ("op", "{"):
            return "list", self.arguments("}")
        self.at -= 1
        return self.fail("no expression")


def parse(print_fmt, types=()):
    """(format text, [argument nodes]) of a print fmt.  ``types``: typedef names that a cast may use.  FormatError."""
    parser = _Parser(print_fmt, types)
    node = parser.primary()
    if node[0] != "str":
        parser.fail("no format text")
    arguments = []
    while parser.accept(","):
        arguments.append(parser.expression())
    if parser.peek()[0] != "end":
        parser.fail("something behind the arguments")
    return node[1], arguments
