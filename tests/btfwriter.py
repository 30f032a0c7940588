"""Raw BTF by hand for tests: words and strings as given, right or wrong.  Imports nothing of lbc: it is the other side.

    t = Words(); t.type("int", 1, 4, extra=[0x01000020]); data = t.btf()
"""
from __future__ import absolute_import

import struct


class Words(object):
    """Type section as a list of 32-bit words and a string section; ``order`` "<" or ">"."""

    def __init__(self, order="<", strings=b"\0", string_base=0):
        self.order, self.words, self.strings, self.string_base = order, [], strings, string_base

    def string(self, text):
        """Offset of a new string."""
        raw = text.encode("utf-8")
        if not raw:
            return 0
        self.strings += raw + b"\0"
        return self.string_base + len(self.strings) - len(raw) - 1

    def type(self, name, kind, value, vlen=0, flag=0, extra=()):
        """Append a type; strings in ``extra`` become string offsets."""
        self.words += [self.string(name), kind << 24 | vlen | flag << 31, value]
        self.words += [self.string(word) if hasattr(word, "encode") else word & 0xffffffff for word in extra]
        return self

    def btf(self, magic=0xeb9f, version=1, header=24, layout=b"", **patch):
        """Everything together; ``patch``: type_off, type_len, str_off, str_len to lie about."""
        types = struct.pack("%s%dI" % (self.order, len(self.words)), *self.words)
        fields = {"type_off": 0, "type_len": len(types), "str_off": len(types), "str_len": len(self.strings)}
        fields.update(patch)
        head = struct.pack(self.order + "HBBIIIII", magic, version, 0, header, fields["type_off"], fields["type_len"],
                           fields["str_off"], fields["str_len"])
        if header >= 32:
            head += struct.pack(self.order + "II", len(types) + len(self.strings), len(layout))
        return head.ljust(header, b"\0") + types + self.strings + layout
