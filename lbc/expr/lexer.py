"""Text of the arguments of a trace expression -> tokens.

Plain scanning: `re` costs more at start-up than it saves here.
"""
from __future__ import absolute_import

from ..errors import ExprError

__all__ = ["Token", "tokens", "find_filter"]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_DIGITS = frozenset("0123456789")
_WORD = _LETTERS | _DIGITS
_SPACE = frozenset(" \t\r\n")
_SINGLE = frozenset(".[]()*&%$@!=+-,")


class Token(object):
    """``kind``: "name", "number" (``value`` is its number), "end", or the sign itself; ``space``: blanks stand before
    it."""
    __slots__ = ("kind", "text", "column", "space", "value")

    def __init__(self, kind, text, column, space, value=None):
        self.kind, self.text, self.column, self.space, self.value = kind, text, column, space, value

    @property
    def end(self):
        """Column behind it."""
        return self.column + len(self.text)


def find_filter(text, start):
    """Column of the `f:` that begins the filter, len(text) when there is none: the first `f:` that follows a blank
    outside of parentheses."""
    depth = 0
    for at in range(start, len(text)):
        char = text[at]
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "f" and depth <= 0 and text[at + 1:at + 2] == ":" and text[at - 1] in _SPACE:
            return at
    # an unclosed parenthesis shall not hide the filter: the parenthesis is what is complained about
    at = text.find(" f:", start - 1 if start else 0)
    return len(text) if at < 0 or depth <= 0 else at + 1


def tokens(text, start, end):
    """[Token] of text[start:end], the last of kind "end"; ExprError."""
    found = []
    at, space = start, True
    while at < end:
        char = text[at]
        if char in _SPACE:
            at += 1
            space = True
            continue
        begin = at
        if char in _LETTERS:
            while at < end and text[at] in _WORD:
                at += 1
            found.append(Token("name", text[begin:at], begin, space))
        elif char in _DIGITS:
            while at < end and text[at] in _WORD:
                at += 1
            found.append(Token("number", text[begin:at], begin, space, number(text, begin, at)))
        elif char == "-" and text[at + 1:at + 2] == ">" and at + 1 < end:
            at += 2
            found.append(Token("->", "->", begin, space))
        elif char in _SINGLE:
            at += 1
            found.append(Token(char, char, begin, space))
        else:
            raise ExprError(*_unexpected(text, at))
        space = False
    found.append(Token("end", "", end, space))
    return found


def number(text, begin, end):
    """int of 12, 0x1f or 017 (as C and the kernel read it)."""
    word = text[begin:end]
    try:
        if word[:2] in ("0x", "0X"):
            value = int(word[2:], 16)
        elif len(word) > 1 and word[0] == "0":
            value = int(word, 8)
        else:
            value = int(word, 10)
    except ValueError:
        raise ExprError("`%s` is not a number" % word, text, begin)
    if value >= 1 << 64:
        raise ExprError("`%s` does not fit in 64 bits" % word, text, begin)
    return value


def _unexpected(text, at):
    char, hint = text[at], None
    if char == ":":
        hint = "no `:type` is needed, it follows from the C type; S, U or X before the value choose the format"
    elif char in "'\"":
        hint = "texts are compared in the filter: f:comm==\"bash\""
    elif char in "<>|":
        hint = "conditions belong into the filter, which begins with f:"
    elif char == ";":
        hint = "one expression is one probe: give the next as a text of its own"
    return "unexpected `%s`" % char, text, at, hint
