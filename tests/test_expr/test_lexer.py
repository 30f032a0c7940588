"""Tokens and where the filter begins."""
from __future__ import absolute_import

import pytest

from lbc.errors import ExprError
from lbc.expr import lexer


def words(text):
    return [token.text for token in lexer.tokens(text, 0, len(text))[:-1]]


def test_signs_words_and_numbers():
    assert words("a=X%0->b.c[0x1f] *p &q") == "a = X % 0 -> b . c [ 0x1f ] * p & q".split()
    assert words("@(struct x *)l3%0") == "@ ( struct x * ) l3 % 0".split()
    assert words("a-b->c") == ["a", "-", "b", "->", "c"]


def test_columns_and_blanks():
    found = lexer.tokens("  a =%0", 0, 7)
    assert [(token.kind, token.column, token.space) for token in found] == [
        ("name", 2, True), ("=", 4, True), ("%", 5, False), ("number", 6, False), ("end", 7, False)]


@pytest.mark.parametrize("text,value", [("0", 0), ("12", 12), ("0x1F", 31), ("010", 8), ("0xffffffffffffffff",
    2**64 - 1)])
def test_numbers(text, value):
    assert lexer.tokens(text, 0, len(text))[0].value == value


@pytest.mark.parametrize("text,column,what", [
    ("a=0xg", 2, "`0xg` is not a number"), ("08", 0, "`08` is not a number"), ("1abc", 0, "`1abc` is not a number"),
    ("0x10000000000000000", 0, "`0x10000000000000000` does not fit in 64 bits"), ("a:u8", 1, "unexpected `:`"),
    ("a < b", 2, "unexpected `<`"), ("a 'x'", 2, "unexpected `'`"), ("\xe9", 0, "unexpected `\xe9`"), ("a\0", 1, None)])
def test_what_is_no_token(text, column, what):
    with pytest.raises(ExprError) as caught:
        lexer.tokens(text, 0, len(text))
    assert caught.value.column == column and (what is None or caught.value.what == what)


@pytest.mark.parametrize("text,column", [
    ("p f f:x==1", 4), ("p f a=%0 f:x", 9), ("p f a=%0", 8), ("p f a=(b f:x", 9), ("p f a=!(T f:)x f:y", 15),
    ("p f\tf:x", 4),
    ("p f a=bf:x", 10), ("p f a=f f:a==\"f: f:\"", 8)])
def test_where_the_filter_begins(text, column):
    assert lexer.find_filter(text, 3) == column
