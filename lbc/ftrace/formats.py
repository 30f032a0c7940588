"""The `format` files of tracefs: what the bytes of an event mean (Documentation/trace/events.rst, section 2).

    EventFormat   one events/SYSTEM/EVENT/format
    Field         one "field:" line of it
    PageFormat    events/header_page: where a page of the ring buffer keeps its time stamp, length and data
"""
from __future__ import absolute_import

from ..errors import FormatError

__all__ = ["EventFormat", "Field", "PageFormat", "read_format", "read_page_format"]

MAX_TEXT = 1 << 20        # the longest stock format file has 40 kB
MAX_FIELDS = 1024
MAX_END = 1 << 16         # the kernel's own limit is a page; lengths in __data_loc have 16 bits

NUMBER, ARRAY, STRING, DYNAMIC, RELATIVE = "number", "array", "string", "dynamic", "relative"


class Field(object):
    """A field: ``name``, ``type`` (C text), ``offset`` and ``size`` in bytes, ``signed``.

    ``kind``: "number" (1, 2, 4 or 8 bytes), "string" (char array in place), "array" (anything else in place),
    "dynamic" (__data_loc: 16 bits of offset from the record's start, 16 of length), "relative" (__rel_loc, kernel
    5.17: the offset counts from the end of the field).  ``item``: bytes of one element, ``count``: how many of them
    (0: up to the record's end; of references: how many); ``text``: holds characters.
    """
    __slots__ = ("name", "type", "offset", "size", "signed", "kind", "item", "count", "text")

    def __init__(self, name, type, offset, size, signed, kind, item, count, text):
        self.name, self.type, self.offset, self.size, self.signed = name, type, offset, size, signed
        self.kind, self.item, self.count, self.text = kind, item, count, text

    @property
    def is_string(self):
        """Whether a filter compares it with a quoted text."""
        return self.text and self.kind != NUMBER

    def __repr__(self):
        return "Field(%s %s @%d+%d %s)" % (self.type, self.name, self.offset, self.size, self.kind)


class EventFormat(object):
    """A format file: ``system`` (as given), ``name``, ``id``, ``fields`` (common ones included, in file order) and
    ``print_fmt`` (C text, "" when there is none)."""
    __slots__ = ("system", "name", "id", "fields", "print_fmt", "by_name")

    def __init__(self, system, name, number, fields, print_fmt):
        self.system, self.name, self.id, self.fields, self.print_fmt = system, name, number, fields, print_fmt
        self.by_name = {field.name: field for field in fields}

    @property
    def own_fields(self):
        """Fields but the common_* ones that every event has."""
        return [field for field in self.fields if not field.name.startswith("common_")]

    def __repr__(self):
        return "EventFormat(%s/%s, id %d)" % (self.system, self.name, self.id)


class PageFormat(object):
    """Layout of a ring buffer page, offsets and sizes in bytes: ``commit``, ``commit_size``, ``data``, ``size`` (of the
    whole page)."""
    __slots__ = ("commit", "commit_size", "data", "size")

    def __init__(self, commit, commit_size, data, size):
        self.commit, self.commit_size, self.data, self.size = commit, commit_size, data, size


def _number(text, path, line):
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= 1 << 31:
        raise FormatError("no number in `%s`" % line[:80], path)
    return value


def _properties(line, path):
    """{"field": declaration, "offset": 8, "size": 4, "signed": 0} of "field:int x; offset:8; size:4; signed:0;"."""
    found = {}
    for part in line.split(";"):
        key, colon, value = part.strip().partition(":")
        if colon:
            found[key] = value.strip() if key == "field" else _number(value, path, line)
    if "offset" not in found or "size" not in found:
        raise FormatError("no offset and size in `%s`" % line[:80], path)
    if found["offset"] + found["size"] > MAX_END:
        raise FormatError("`%s` lies outside of any record" % line[:80], path)
    return found


_CHARS = ("char", "unsigned char", "signed char", "const char", "u8 char")


def _field(line, path):
    row = _properties(line, path)
    declaration, size = row["field"], row["size"]
    count = -1
    if declaration.endswith("]"):
        declaration, _, inside = declaration[:-1].rpartition("[")
        # the number may be an expression ("char comm[TASK_COMM_LEN]" in old kernels): the size tells
        count = int(inside) if inside.strip().isdigit() else 0
        if declaration.endswith("]"):  # u8 x[4][6]
            count, declaration = 0, declaration.partition("[")[0]
    kind_of = declaration.split(None, 1)
    dynamic = len(kind_of) == 2 and {"__data_loc": DYNAMIC, "__rel_loc": RELATIVE}.get(kind_of[0])
    if dynamic:
        declaration = kind_of[1]
        # "__data_loc char[] name": the brackets stand before the name
        base, _, name = declaration.rpartition(" ")
        if not base and "]" in declaration:
            base, _, name = declaration.rpartition("]")
        base = base.partition("[")[0].strip()
    else:
        base, _, name = declaration.rpartition(" ")
        if "*" in name:  # `char *name`
            name = name.rpartition("*")[2]
            base = declaration[:len(declaration) - len(name)].strip()
    name = name.strip()
    if not name or not base:
        raise FormatError("no type and name in `%s`" % line[:80], path)
    text = base in _CHARS
    signed = bool(row.get("signed", 0))
    if dynamic:
        if not size or size % 4:  # an array of strings has one for each
            raise FormatError("`%s`: a reference must have 4 bytes" % line[:80], path)
        return Field(name, base, row["offset"], size, signed, dynamic, _item_size(base), size // 4, text)
    if count < 0 and size in (1, 2, 4, 8):
        return Field(name, base, row["offset"], size, signed, NUMBER, size, 1, text)
    item = size // count if count > 0 and size % count == 0 else _item_size(base)
    if text:
        item = 1
    if size and item and size % item == 0:
        count = size // item
    return Field(name, base, row["offset"], size, signed, STRING if text else ARRAY, item, max(count, 0), text)


_ITEMS = {"u16": 2, "s16": 2, "__le16": 2, "__be16": 2, "short": 2, "unsigned short": 2, "u32": 4, "s32": 4, "int": 4,
          "unsigned int": 4, "unsigned": 4, "__le32": 4, "__be32": 4, "__u32": 4, "__u16": 2, "__u64": 8, "u64": 8,
          "s64": 8, "__le64": 8, "long": 8, "unsigned long": 8, "uint32_t": 4, "uint16_t": 2, "uint64_t": 8,
          "unsigned long long": 8, "long long": 8, "dma_addr_t": 8, "phys_addr_t": 8}


def _item_size(base):
    """Bytes of one element of a dynamic array."""
    return 8 if base.endswith("*") else _ITEMS.get(base, 1)


def read_format(text, system="", path=None):
    """EventFormat of the text (native str) of a format file.  FormatError when it is not one."""
    if len(text) > MAX_TEXT:
        raise FormatError("longer than %d bytes" % MAX_TEXT, path)
    name, number, fields, print_fmt = "", -1, [], None
    lines = text.split("\n")
    for index, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("field:"):
            if len(fields) >= MAX_FIELDS:
                raise FormatError("more than %d fields" % MAX_FIELDS, path)
            fields.append(_field(stripped, path))
        elif stripped.startswith("name:"):
            name = stripped[5:].strip()
        elif stripped.startswith("ID:"):
            number = _number(stripped[3:].strip(), path, stripped)
        elif stripped.startswith("print fmt:"):
            # 5.10: some go on in the next lines
            print_fmt = "\n".join([stripped[10:]] + lines[index + 1:]).strip()
            break
    if not name or number < 0:
        raise FormatError("not the format of an event: no name or ID", path)
    return EventFormat(system, name, number, fields, print_fmt or "")


def read_page_format(text, path=None):
    """PageFormat of the text of events/header_page."""
    rows = {}
    for line in text[:4096].split("\n"):
        line = line.strip()
        if line.startswith("field:"):
            row = _properties(line, path)
            rows[row["field"].rpartition(" ")[2]] = row
    for name in ("timestamp", "commit", "data"):
        if name not in rows:
            raise FormatError("header_page has no field `%s`" % name, path)
    commit, data = rows["commit"], rows["data"]
    if rows["timestamp"]["offset"] or rows["timestamp"]["size"] != 8 or commit["size"] not in (4, 8):
        raise FormatError("header_page of an unknown shape", path)
    if not commit["offset"] + commit["size"] <= data["offset"] < data["offset"] + data["size"]:
        raise FormatError("header_page of an unknown shape", path)
    return PageFormat(commit["offset"], commit["size"], data["offset"], data["offset"] + data["size"])
