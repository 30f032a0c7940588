"""Which flags a stranger may give the compiler: macros, optimisation, warnings.  Everything else is refused by name.

What is not listed may name files (-include, -I, -fplugin=, @file, -o, -iquote), pass words on to other programs
(-Wl, -Wa, -Wp, -Xclang, -mllvm) or change what the output is (-E, -S, -M).
"""
from __future__ import absolute_import

from ..errors import InputError

__all__ = ["parse_flags"]

_MOST_FLAGS = 256
_MOST_BYTES = 16384
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_DIGITS = frozenset("0123456789")
_EXACT = frozenset(["-w", "-g", "-pedantic", "-fno-unroll-loops", "-funroll-loops", "-fno-inline", "-fno-builtin",
                    "-fno-strict-aliasing", "-fno-jump-tables", "-mlittle-endian"]
                   + ["-O" + level for level in ("", "0", "1", "2", "3", "s", "z")]
                   + ["-mcpu=" + cpu for cpu in ("generic", "v1", "v2", "v3", "v4", "probe")]
                   + ["-std=" + std for std in ("c89", "c99", "c11", "c17", "c2x", "gnu89", "gnu99", "gnu11", "gnu17",
                                                "gnu2x")])


def _is_name(text):
    return bool(text) and text[0] in _LETTERS and not set(text) - _LETTERS - _DIGITS


def _is_macro(text):
    """NAME, NAME=VALUE, NAME(A,B)=VALUE"""
    head = text.partition("=")[0]
    name, bracket, params = head.partition("(")
    if not _is_name(name):
        return False
    if not bracket:
        return True
    return params.endswith(")") and not set(params[:-1]) - _LETTERS - _DIGITS - frozenset(", .")


def _is_warning(text):
    """-Wall, -Wno-unused, -Wformat=2, -Werror=x: no comma, as -Wl,x and its like pass words on."""
    rest = text[2:]
    return bool(rest) and not set(rest) - _LETTERS - _DIGITS - frozenset("-+=") and rest not in ("l", "a", "p")


def parse_flags(text):
    """["-DX=1", "-O2"] of "-D X=1 -O2", quoted as for a shell.  InputError names the first that is not allowed."""
    if not text or not text.strip():
        return []
    if len(text) > _MOST_BYTES:
        raise InputError("env: %d bytes of flags, %d are allowed" % (len(text), _MOST_BYTES))
    if [c for c in text if c < " " and c != "\t"] or "\x7f" in text:
        raise InputError("env: control characters in flags")
    from shlex import split
    try:
        words = split(text)
    except ValueError as error:
        raise InputError("env: %s" % error)
    if len(words) > _MOST_FLAGS:
        raise InputError("env: %d flags, %d are allowed" % (len(words), _MOST_FLAGS))
    found = []
    while words:
        word = words.pop(0)
        if word in ("-D", "-U"):
            if not words:
                raise InputError("env: %s needs a name" % word)
            word += words.pop(0)
        if word in _EXACT or word.startswith("-D") and _is_macro(word[2:]) or (
                word.startswith("-U") and _is_name(word[2:])) or word.startswith("-W") and _is_warning(word):
            found.append(word)
            continue
        raise InputError("env: flag `%s` is not allowed here" % word[:60],
                         hint="-DNAME[=VALUE] -UNAME -O0..3 -Os -W... -std=gnu11 -mcpu=v3 are")
    return found
