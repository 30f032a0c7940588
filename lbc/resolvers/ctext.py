"""C type texts -> the type model; spellings of base types; patterns over type texts.

    type-name := specifiers abstract-declarator      (C11 6.7.7), with the kernel's `__user` and gdb's `struct {...}`
"""
from __future__ import absolute_import

from .._py23 import to_text
from ..errors import ExprError, NotFoundError
from .model import Array, FuncType, Param, Pointer, Record, Scalar, Typedef, Variadic, Void

__all__ = ["parse", "normal", "base_name", "base_type", "spellings", "builtin", "Pattern"]

_LONGEST = 4096     # characters of one type
_DEEPEST = 24       # brackets in brackets
_MOST_ELEMENTS = 1 << 32

VOID = Void()
VARIADIC = Param("", Variadic())

# include/linux/compiler_types.h and C: they say nothing about layout
QUALIFIERS = frozenset("const volatile restrict __const __const__ __volatile __volatile__ __restrict __restrict__ "
                       "_Atomic __kernel __iomem __percpu __rcu __force __nocast __private __safe static extern "
                       "register inline __inline __inline__ __always_inline".split())
_TAGS = ("struct", "union", "enum")
_BASE_WORDS = {"__signed": "signed", "__signed__": "signed", "_Bool": "_Bool", "__int128_t": "__int128"}
_BASE_WORDS.update((word, word) for word in "void char short int long float double signed unsigned __int128".split())

# canonical spelling -> (kind, size, signed); size 0: as wide as a pointer
_BASES = {
    "char": ("char", 1, True), "signed char": ("int", 1, True), "unsigned char": ("int", 1, False),
    "short": ("int", 2, True), "unsigned short": ("int", 2, False), "int": ("int", 4, True),
    "unsigned int": ("int", 4, False), "long": ("int", 0, True), "unsigned long": ("int", 0, False),
    "long long": ("int", 8, True), "unsigned long long": ("int", 8, False), "__int128": ("int", 16, True),
    "unsigned __int128": ("int", 16, False), "_Bool": ("bool", 1, False), "float": ("float", 4, True),
    "double": ("float", 8, True), "long double": ("float", 16, True),
}

# typedefs that mean the same on every 64-bit kernel: include/uapi/asm-generic/{int-ll64,posix_types}.h, linux/types.h
_TYPEDEFS = {
    "bool": "_Bool", "size_t": "unsigned long", "ssize_t": "long", "loff_t": "long long", "off_t": "long",
    "pid_t": "int", "uid_t": "unsigned int", "gid_t": "unsigned int", "mode_t": "unsigned int",
    "umode_t": "unsigned short", "dev_t": "unsigned int", "gfp_t": "unsigned int", "sector_t": "unsigned long long",
    "uintptr_t": "unsigned long", "ptrdiff_t": "long", "ktime_t": "long long", "wchar_t": "int",
    "u_char": "unsigned char", "u_short": "unsigned short", "u_int": "unsigned int", "u_long": "unsigned long",
    "uint": "unsigned int", "ulong": "unsigned long", "ushort": "unsigned short", "unchar": "unsigned char",
}
for _bits, _word in ((8, "char"), (16, "short"), (32, "int"), (64, "long long")):
    for _name in ("u%d", "__u%d", "uint%d_t", "u_int%d_t"):
        _TYPEDEFS[_name % _bits] = "unsigned " + _word
    for _name in ("s%d", "__s%d", "int%d_t"):
        _TYPEDEFS[_name % _bits] = "signed char" if _bits == 8 else _word
for _name, _bits in (("__be16", 16), ("__le16", 16), ("__be32", 32), ("__le32", 32), ("__be64", 64), ("__le64", 64)):
    _TYPEDEFS[_name] = _TYPEDEFS["u%d" % _bits]
del _bits, _word, _name


# -- base types ----------------------------------------------------------------------------------------------------

def base_name(words):
    """'unsigned long' of ["long", "unsigned", "int"]; None when the words are no base type together."""
    counts = {}
    for word in words:
        word = _BASE_WORDS.get(word)
        if word is None:
            return None
        counts[word] = counts.get(word, 0) + 1
    longs = counts.pop("long", 0)
    sign = [word for word in ("signed", "unsigned") if counts.pop(word, 0)]
    ints = counts.pop("int", 0)
    if len(sign) > 1 or ints > 1 or longs > 2 or len(counts) > 1 or [n for n in counts.values() if n > 1]:
        return None
    core = list(counts)[0] if counts else ("long long" if longs == 2 else "long" if longs else "int")
    if counts and longs:
        return "long double" if core == "double" and longs == 1 and not sign and not ints else None
    if ints and counts and core != "short":
        return None
    if sign and core in ("void", "float", "double", "_Bool"):
        return None
    if sign == ["unsigned"]:
        return "unsigned " + core
    return "signed char" if sign and core == "char" else core if words else None


def spellings(name):
    """Other spellings of base type ``name`` that debugging information uses ("long unsigned int")."""
    unsigned, _, core = name.rpartition("unsigned ")
    middle = unsigned or ("unsigned " if name.startswith("unsigned ") else "")
    found = [name]
    if core in ("short", "long", "long long"):
        found += [core + " " + middle + "int", middle + core + " int", middle + core]
    elif core == "__int128" and middle:
        found += ["__int128 unsigned", "__uint128_t"]
    elif name == "unsigned int":
        found += ["unsigned"]
    return found


_spelled = {}


def base_of(text):
    """Canonical name of a base type in any spelling, None for other texts."""
    if text not in _spelled:
        if len(_spelled) > 512:
            _spelled.clear()
        _spelled[text] = base_name(text.split())
    return _spelled[text]


def base_type(name, pointer_size=8, signed=None):
    """model.Scalar (or Void) of a canonical base type name; ``signed``: as its source knows better (char)."""
    if name == "void":
        return VOID
    kind, size, usual = _BASES[name]
    return Scalar(name, size or pointer_size, usual if signed is None else signed, kind)


def builtin(name, pointer_size=8):
    """The type of a base type or usual typedef ("u64", "size_t"), None for other names."""
    base = base_of(name)
    if base is not None:
        return base_type(base, pointer_size)
    if name in _TYPEDEFS:
        return Typedef(name, base_type(_TYPEDEFS[name], pointer_size))
    return None


# -- scanner ----------------------------------------------------------------------------------------------------

def _tokens(text, extra=""):
    """[(token, column)]; words may hold the characters of ``extra`` too.  ExprError."""
    text = to_text(text)
    found, at, end = [], 0, len(text)
    if end > _LONGEST:
        raise ExprError("a type of %d characters is too long" % end, text[:80] + "...", 0)
    while at < end:
        char = text[at]
        if char.isspace():
            at += 1
            continue
        start = at
        if char.isalnum() and ord(char) < 128 or char == "_" or char in extra:
            while at < end and (text[at].isalnum() and ord(text[at]) < 128 or text[at] == "_" or text[at] in extra):
                at += 1
        elif text.startswith("...", at):
            at += 3
        elif text.startswith("{...}", at):
            at += 5
        elif char in "*()[],":
            at += 1
        else:
            what = "`%s`" % char if " " < char < "\x7f" else "character %#x" % ord(char)
            raise ExprError("%s cannot be part of a type" % what, text, at)
        found.append((text[start:at], start))
    return found


def normal(text, extra=""):
    """``text`` as the model spells it: no qualifiers, canonical base types, one way of spacing."""
    words, run = [], []
    for token, _column in _tokens(text, extra) + [("", 0)]:
        if token in QUALIFIERS or token == "__user":
            continue
        if token in _BASE_WORDS:
            run.append(token)
            continue
        if run:
            # beside a `%` the words are a part of something: "unsigned %"
            part = "%" in extra and ("%" in token or "%" in "".join(words[-1:]))
            words.append(not part and base_name(run) or " ".join(run))
            run = []
        words.append("(anonymous)" if token == "{...}" else token)
    out = ""
    for word in words:
        last = out[-1:]
        if word == "*":
            glue = "" if last in ("", "*", "(") else " "
        elif word in ("(", "["):
            glue = "" if last in ("", ")", "]", "*", "(") else " "
        elif word in (")", "]", ","):
            glue = ""
        else:
            glue = "" if last in ("", "*", "(", "[") else " "
        out += glue + word
    return out.rstrip()


class Pattern(object):
    """``%`` stands for any text, everything else for itself; None or "" matches everything.

    ``of_types``: it and what is matched are C type texts, however they are spelled."""

    def __init__(self, text, of_types=False):
        self.text = normal(text, "%") if of_types and text else text or "%"
        self.parts = self.text.split("%")
        self.any = not [part for part in self.parts if part]
        self.exact = self.text if len(self.parts) == 1 else None

    @property
    def literal(self):
        """Longest text that is in everything that matches."""
        return max(self.parts, key=len)

    def matches(self, text):
        """Does ``text`` match?"""
        parts = self.parts
        if len(parts) == 1:
            return text == self.text
        first, last = parts[0], parts[-1]
        if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
            return False
        at, end = len(first), len(text) - len(last)
        for part in parts[1:-1]:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


# -- parser ----------------------------------------------------------------------------------------------------

def parse(resolver, text):
    """The model's type of ``text``; ``resolver`` is asked for ``record enum named`` and for ``near`` names.  ExprError
    with the column, NotFoundError."""
    parser = _Parser(resolver, text)
    found = parser.type_name(0)
    if parser.token:
        parser.fail("unexpected `%s` after the type" % parser.token)
    return found


class _Parser(object):

    def __init__(self, resolver, text):
        self.resolver, self.text = resolver, to_text(text)
        self.tokens = _tokens(text) + [("", len(text))]
        self.at = 0
        self.user = False   # `__user` was read: it belongs to the next `*`

    @property
    def token(self):
        return self.tokens[self.at][0]

    def fail(self, what, hint=None, at=None):
        raise ExprError(what, self.text, self.tokens[self.at if at is None else at][1], hint)

    def take(self, wanted):
        if self.token != wanted:
            self.fail("expected `%s`%s" % (wanted, ", found `%s`" % self.token if self.token else " at the end"))
        self.at += 1

    @staticmethod
    def is_word(token):
        return token[:1].isalpha() or token[:1] == "_"

    def qualifiers(self):
        while self.token in QUALIFIERS or self.token == "__user":
            self.user = self.user or self.token == "__user"
            self.at += 1

    def type_name(self, depth):
        if depth > _DEEPEST:
            self.fail("the type nests too deep")
        self.user = False
        return self.declarator(self.specifiers(), depth)

    def specifiers(self):
        base, words, start = None, [], self.at
        while True:
            self.qualifiers()
            token = self.token
            if not self.is_word(token) or base is not None:
                break
            if token in _BASE_WORDS:
                words.append(token)
                self.at += 1
            elif words:
                break   # a parameter's name
            elif token in _TAGS:
                self.at += 1
                base = self.tagged(token)
            else:
                base = self.named(token)
                self.at += 1
        if words and base is None:
            name = base_name(words)
            if name is None:
                self.fail("`%s` is no type" % " ".join(words), at=start)
            base = self.base(name)
        if base is None:
            self.fail("expected a type%s" % (", found `%s`" % self.token if self.token else ""),
                      "struct NAME *, unsigned long, u64 ...")
        return base

    def base(self, name):
        if name == "char":  # signed or not, as the kernel was compiled: its own types say
            found = self.resolver.named(name)
            if isinstance(found, Scalar):
                return found
        return base_type(name, self.resolver.pointer_size)

    def tagged(self, keyword):
        name = self.token
        if name == "{...}":
            self.at += 1
            return Scalar("enum {...}", 4, False, "enum") if keyword == "enum" else Record(keyword, "", None)
        if not self.is_word(name):
            self.fail("expected the name of %s %s" % ("an" if keyword == "enum" else "a", keyword))
        resolver = self.resolver
        found = resolver.enum(name) if keyword == "enum" else resolver.record(keyword, name)
        if found is None:
            raise NotFoundError(keyword, name, resolver.where or None, resolver.near(keyword, name))
        self.at += 1
        return found

    def named(self, name):
        resolver = self.resolver
        found = builtin(name, resolver.pointer_size) or resolver.named(name)
        if found is None:
            hint = None
            for keyword in _TAGS:
                if (resolver.enum(name) if keyword == "enum" else resolver.record(keyword, name)) is not None:
                    hint = "write `%s %s`" % (keyword, name)
                    break
            raise NotFoundError("type", name, resolver.where or None, [] if hint else resolver.near("type", name),
                                hint=hint)
        return found

    # -- declarators: read from the left, applied from the inside out --------------------------------------------------
    def declarator(self, base, depth):
        if depth > _DEEPEST:
            self.fail("the type nests too deep")
        self.qualifiers()
        while self.token == "*":
            base = Pointer(base, self.resolver.pointer_size, self.user)
            self.user = False
            self.at += 1
            self.qualifiers()
        inner = None
        if self.token == "(" and self.tokens[self.at + 1][0] in ("*", "("):
            inner = self.at + 1
            self.skip_brackets()
        elif self.is_word(self.token) and self.token not in _BASE_WORDS and self.token not in _TAGS:
            self.at += 1    # a name, as in a parameter or in what gdb prints
        base = self.suffixes(base, depth)
        if inner is not None:
            after, self.at = self.at, inner
            base = self.declarator(base, depth + 1)
            self.take(")")
            self.at = after
        return base

    def skip_brackets(self):
        start, depth = self.at, 0
        while self.token:
            depth += (self.token == "(") - (self.token == ")")
            self.at += 1
            if not depth:
                return
        self.fail("`(` is not closed", at=start)

    def suffixes(self, base, depth):
        found = []
        while self.token in ("[", "("):
            start = self.at
            self.at += 1
            if self.tokens[start][0] == "[":
                found.append((start, self.count()))
                self.take("]")
            else:
                found.append((start, self.params(depth + 1)))
        for start, suffix in reversed(found):
            if isinstance(suffix, list):
                if isinstance(base, (Array, FuncType)):
                    self.fail("a function cannot return %s" % base.text, at=start)
                base = FuncType(base, suffix)
            else:
                if isinstance(base, (Void, FuncType)):
                    self.fail("there are no arrays of %s" % base.text, at=start)
                base = Array(base, suffix)
        return base

    def count(self):
        text = self.token
        if text == "]":
            return 0
        try:
            number = int(text, 0 if text[:2] in ("0x", "0X") else 10)
        except ValueError:
            number = -1
        if not 0 <= number < _MOST_ELEMENTS:
            self.fail("an array needs a number of elements", "char [16]")
        self.at += 1
        return number

    def params(self, depth):
        found = []
        if self.token == ")":
            self.at += 1
            return found
        user = self.user
        while True:
            if self.token == "...":
                self.at += 1
                found.append(VARIADIC)
            else:
                found.append(Param("", self.type_name(depth)))
            if self.token != ",":
                break
            self.at += 1
        self.user = user
        self.take(")")
        if len(found) == 1 and type(found[0].type) is Void:
            return []
        return found
