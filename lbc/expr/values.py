"""Numbers as the kernel prints them <-> what a person reads: IPv4 and IPv6, byte order, enums, bit-fields, addresses.

A converter is called with what the event holds (an int, or a list of ints where the variable is an array) and gives
text; ``invert(text)`` is its exact inverse and gives the number that the kernel's filter has to compare with
(ValueError: the text is no such value).  ``ordered``: do `<` and `>` of the raw numbers mean what they seem to mean?
``of_array``: it is called with lists.
"""
from __future__ import absolute_import

from .._py23 import iteritems, range

__all__ = ["Ip4", "Ip6", "Swap", "Enum", "Offset", "Number", "Each", "convert_text", "parse_number",
           "PREFIXES", "prefix_of", "prefix_converter", "signed"]


def parse_number(text):
    """int of '12', '-3', '0x1f' or '017' as the kernel's filters read it (lib/kstrtox.c); ValueError."""
    digits = text[1:] if text[:1] == "-" else text
    if not digits or not all(char in "0123456789abcdefABCDEFxX" for char in digits):
        raise ValueError("not a number")
    if digits[:2] in ("0x", "0X"):
        value = int(digits[2:], 16)
    elif digits[0] == "0" and len(digits) > 1:
        value = int(digits[1:], 8)
    else:
        value = int(digits, 10)
    return -value if text[:1] == "-" else value


def signed(value, bits):
    """``value`` of ``bits`` bits with its sign."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _swap(value, size):
    value &= (1 << 8 * size) - 1
    swapped = 0
    for _ in range(size):
        swapped = swapped << 8 | value & 0xff
        value >>= 8
    return swapped


class Number(object):
    """A number of ``bits`` bits in the format of ``letter``: "" or "U" unsigned, "S" signed, "X" hex."""
    ordered = True

    def __init__(self, bits, letter=""):
        self.bits, self.letter = bits, letter
        self.is_signed = letter == "S"

    def __call__(self, value):
        value &= (1 << self.bits) - 1
        if self.letter == "X":
            return "0x%x" % value
        return "%d" % (signed(value, self.bits) if self.letter == "S" else value)

    def invert(self, text):
        """The unsigned number."""
        value = parse_number(text)
        if not -(1 << (self.bits - 1)) <= value < 1 << self.bits:
            raise ValueError("it does not fit in %d bits" % self.bits)
        return value & ((1 << self.bits) - 1)


class Ip4(object):
    """ip_: the four bytes of an IPv4 address, as a little-endian number."""
    ordered = False

    def __call__(self, value):
        value &= 0xffffffff
        return "%d.%d.%d.%d" % (value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24)

    def invert(self, text):
        """0x100007f for 127.0.0.1; a plain number stays as it is."""
        parts = text.split(".")
        if len(parts) == 1:
            return Number(32).invert(text)
        if len(parts) != 4:
            raise ValueError("an IPv4 address has four parts")
        value = 0
        for part in reversed(parts):
            if not part.isdigit() or len(part) > 3 or int(part) > 255:
                raise ValueError("`%s` is no byte" % part)
            value = value << 8 | int(part)
        return value


class Ip6(object):
    """ip6_: sixteen bytes, as a list of them; RFC 5952 text."""
    ordered = False
    of_array = True

    def __call__(self, values):
        data = [value & 0xff for value in values]
        if len(data) != 16:
            return "{%s}" % ",".join("0x%x" % byte for byte in data)
        words = [data[at] << 8 | data[at + 1] for at in range(0, 16, 2)]
        best, best_at, at = 1, None, 0
        while at < 8:  # the longest run of zeros, the first of equals, none of one word
            end = at
            while end < 8 and not words[end]:
                end += 1
            if end - at > best:
                best, best_at = end - at, at
            at = max(end, at + 1)
        if best_at == 0 and (best == 6 or (best == 5 and words[5] == 0xffff)):  # ::1.2.3.4 and ::ffff:1.2.3.4
            if best == 5 or words[6]:
                return "::%s%d.%d.%d.%d" % (("ffff:" if best == 5 else "",) + tuple(data[12:]))
        groups = ["%x" % word for word in words]
        if best_at is None:
            return ":".join(groups)
        return "%s::%s" % (":".join(groups[:best_at]), ":".join(groups[best_at + best:]))

    def invert(self, text):
        """[16 bytes]"""
        head, gap, tail = text.partition("::")
        if "::" in tail:
            raise ValueError("`::` stands twice")
        first, last = _groups(head, not gap), _groups(tail, True)
        missing = 16 - len(first) - len(last)
        if missing < 0 or (not gap and missing) or (gap and missing < 2):
            raise ValueError("an IPv6 address has eight groups")
        return first + [0] * missing + last


def _groups(text, may_end_in_ip4):
    data, parts = [], text.split(":") if text else []
    for number, part in enumerate(parts):
        if "." in part and may_end_in_ip4 and number == len(parts) - 1:
            value = Ip4().invert(part)
            data += [value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24]
        elif not 1 <= len(part) <= 4 or not all(char in "0123456789abcdefABCDEF" for char in part):
            raise ValueError("`%s` is no group of an IPv6 address" % part)
        else:
            data += [int(part, 16) >> 8, int(part, 16) & 0xff]
    return data


class Swap(object):
    """b16_ b32_ b64_ (decimal), B16_ B32_ B64_ (hex): a big-endian number of ``size`` bytes.  ``letter``: S signed."""
    ordered = False

    def __init__(self, size, hexadecimal=False, letter=""):
        self.number = Number(8 * size, "X" if hexadecimal or letter == "X" else letter)
        self.size = size

    def __call__(self, value):
        return self.number(_swap(value, self.size))

    def invert(self, text):
        """The number as it lies in memory, read little-endian."""
        return _swap(self.number.invert(text), self.size)


class Enum(object):
    """An enum of ``size`` bytes; ``values``: {number: name}.  Numbers without a name stay numbers."""
    ordered = True

    def __init__(self, values, bits, is_signed):
        self.bits, self.is_signed = bits, is_signed
        self.values = values

    def __call__(self, value):
        value = signed(value, self.bits) if self.is_signed else value & ((1 << self.bits) - 1)
        return self.values.get(value) or "%d" % value

    def names(self):
        """Names of the enumerators."""
        return [name for _, name in iteritems(self.values)]

    def invert(self, text):
        """The unsigned number of a name or number."""
        for number, name in iteritems(self.values):
            if name == text:
                return number & ((1 << self.bits) - 1)
        return Number(self.bits).invert(text)


class Offset(object):
    """`&p->m`: the event holds p, ``amount`` bytes are added."""
    ordered = True

    def __init__(self, amount, letter=""):
        self.amount, self.number = amount, Number(64, letter)

    def __call__(self, value):
        return self.number(value + self.amount)

    def invert(self, text):
        """The pointer that the event holds."""
        return (self.number.invert(text) - self.amount) & 0xffffffffffffffff


class Each(object):
    """An array whose elements ``one`` converts: {a,b} as the kernel prints arrays."""
    ordered = False
    of_array = True

    def __init__(self, one):
        self.one = one

    def __call__(self, values):
        return "{%s}" % ",".join([self.one(value) for value in values])

    def invert(self, text):
        """[number of each element]"""
        if text[:1] != "{" or text[-1:] != "}":
            raise ValueError("an array is {a,b}")
        return [self.one.invert(part) for part in text[1:-1].split(",")]


# What the name of a variable says about its value: (prefix, bytes, converter).
PREFIXES = (("ip_", 4, Ip4), ("ip6_", 16, Ip6), ("b16_", 2, Swap), ("b32_", 4, Swap), ("b64_", 8, Swap),
            ("B16_", 2, Swap), ("B32_", 4, Swap), ("B64_", 8, Swap))


def prefix_of(variable):
    """(prefix, bytes) of a variable's name, or None."""
    for prefix, size, _ in PREFIXES:
        if variable.startswith(prefix):
            return prefix, size
    return None


def prefix_converter(prefix, letter=""):
    """The converter that a prefix asks for."""
    for name, size, kind in PREFIXES:
        if name == prefix:
            return Swap(size, name[0] == "B", letter) if kind is Swap else kind()
    raise ValueError(prefix)


def convert_text(converter, text):
    """What the kernel printed, converted: '16777343' -> '127.0.0.1', '{0x0,0x1}' -> '...'; what is no number stays:
    '(fault)'."""
    try:
        if (text[:1] == "{") != getattr(converter, "of_array", False):
            return text
        if text[:1] == "{":
            return converter([parse_number(part.strip()) for part in text[1:-1].split(",")])
        return converter(parse_number(text))
    except ValueError:
        return text
