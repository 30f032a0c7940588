"""C's integers for translated expressions: types, conversion, wrapping.

A Value is a piece of Python source with the C type of what it gives; the source is exact, that is, its number always
lies within the type.
"""
from __future__ import absolute_import

__all__ = ["ELEMENT_CODES", "TYPES", "TYPE_NAMES", "Value", "constant", "convert", "fit", "promote"]

ELEMENT_CODES = {(1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h", (4, False): "I", (4, True): "i",
                 (8, False): "Q", (8, True): "q"}
# {(words): (bytes, signed)}: the types that the casts of stock formats name
TYPES = {("char",): (1, True), ("signed", "char"): (1, True), ("unsigned", "char"): (1, False), ("bool",): (1, False),
          ("_Bool",): (1, False), ("short",): (2, True), ("unsigned", "short"): (2, False), ("int",): (4, True),
          ("unsigned",): (4, False), ("unsigned", "int"): (4, False), ("signed", "int"): (4, True),
          ("long",): (8, True), ("unsigned", "long"): (8, False), ("long", "unsigned", "int"): (8, False),
          ("long", "int"): (8, True), ("long", "long"): (8, True), ("unsigned", "long", "long"): (8, False),
          ("long", "long", "unsigned", "int"): (8, False)}
for _bits in (8, 16, 32, 64):
    for _prefix in ("u", "__u", "__le", "__be", "s", "__s"):
        TYPES["%s%d" % (_prefix, _bits),] = _bits // 8, _prefix in ("s", "__s")
    TYPES["uint%d_t" % _bits,], TYPES["int%d_t" % _bits,] = (_bits // 8, False), (_bits // 8, True)
for _word, _row in (("size_t", (8, False)), ("ssize_t", (8, True)), ("loff_t", (8, True)), ("sector_t", (8, False)),
                    ("pid_t", (4, True)), ("uid_t", (4, False)), ("gid_t", (4, False)), ("dev_t", (4, False)),
                    ("ino_t", (8, False)), ("uint", (4, False)), ("ulong", (8, False)), ("umode_t", (2, False)),
                    ("gfp_t", (4, False)), ("phys_addr_t", (8, False)), ("dma_addr_t", (8, False)),
                    ("uintptr_t", (8, False)), ("blkcnt_t", (8, False)), ("pgoff_t", (8, False)),
                    ("ktime_t", (8, True)), ("time64_t", (8, True)), ("off_t", (8, True)), ("pte_t", (8, False)),
                    ("uuid_t", (16, False)), ("guid_t", (16, False))):
    TYPES[_word,] = _row
TYPE_NAMES = frozenset(key[0] for key in TYPES if len(key) == 1)


class Value(object):
    """An expression's Python ``code`` and its C type: ``size`` bytes, ``signed``; ``kind``: "int", "str" (bytes that
    end before the first zero) or "bytes" (``code`` is a position in the page, ``item`` and ``item_signed`` its element,
    ``length`` code of the bytes there are); ``const``: the number where it is known."""
    __slots__ = ("kind", "code", "size", "signed", "const", "item", "item_signed", "length")

    def __init__(self, kind, code, size=8, signed=False, const=None, item=1, item_signed=False, length=None):
        self.kind, self.code, self.size, self.signed, self.const = kind, code, size, signed, const
        self.item, self.item_signed, self.length = item, item_signed, length


def _wrap(value, size, signed):
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value


def constant(value, size, signed):
    """Value of a number that is known already."""
    value = _wrap(value, size, signed)
    return Value("int", "%d" % value if value >= 0 else "(%d)" % value, size, signed, value)


def convert(value, size, signed):
    """``value`` (int) as C converts it to an integer type."""
    if value.const is not None:
        return constant(value.const, size, signed)
    if (value.size, value.signed) == (size, signed) or (not value.signed and value.size < size) or (
            value.signed and signed and value.size <= size):
        return Value("int", value.code, size, signed)
    mask = (1 << 8 * size) - 1
    code = "(%s & %d)" % (value.code, mask)
    if signed:
        half = 1 << (8 * size - 1)
        code = "((%s ^ %d) - %d)" % (code, half, half)
    return Value("int", code, size, signed)


def promote(value):
    """C's integer promotion."""
    return convert(value, 4, True) if value.size < 4 else value


def fit(code, size, signed, fits=False):
    """``code``, whose value may lie outside of the type, wrapped into it."""
    if fits:
        return Value("int", code, size, signed)
    mask, half = (1 << 8 * size) - 1, 1 << (8 * size - 1)
    if signed:
        return Value("int", "(((%s & %d) ^ %d) - %d)" % (code, mask, half, half), size, True)
    return Value("int", "(%s & %d)" % (code, mask), size, False)
