"""The object's own BTF, handed to the kernel: as it is where the kernel takes it, with newer kinds replaced where not.

Type ids and string offsets stay the same through every fallback, so func_info and line_info stay valid.  Without BTF
programs still load, only the kernel then shows no types; what cannot do without (kernel functions, struct_ops, global
functions' contracts) fails with the verifier's own words.  Facts: libbpf ``bpf_object__sanitize_btf``.
"""
from __future__ import absolute_import

import errno
import struct

from ..btf.walk import SIZES
from ..errors import KernelError
from ..uapi import bpf as U
from ..uapi import btf as B
from . import features

__all__ = ["load", "sanitize", "kinds_of"]

# feature -> what of the BTF needs it
_NEEDS = (("btf_datasec", (B.BTF_KIND_VAR, B.BTF_KIND_DATASEC)), ("btf_func", (B.BTF_KIND_FUNC, B.BTF_KIND_FUNC_PROTO)),
          ("btf_global_func", (B.BTF_KIND_FUNC,)), ("btf_float", (B.BTF_KIND_FLOAT,)),
          ("btf_decl_tag", (B.BTF_KIND_DECL_TAG,)),
          ("btf_type_tag", (B.BTF_KIND_TYPE_TAG,)), ("btf_enum64", (B.BTF_KIND_ENUM64, B.BTF_KIND_ENUM)),
          ("btf_qmark_datasec", (B.BTF_KIND_DATASEC,)),
          ("btf_kind_flag", (B.BTF_KIND_STRUCT, B.BTF_KIND_UNION)))


def load(kernel, btf, log=None):
    """fd of the object's BTF in the kernel, or 0 where the kernel takes none of it (or not from us: maps and programs
    say why). Raises KernelError only for no memory or fds.  ``log``: list that gets the kernel's words when it
    refuses."""
    if btf is None or features.known(kernel, "btf") is False:
        return 0
    raw = bytes(btf.raw)
    lacks = _lacking(kernel, raw, False)
    if lacks:
        raw = sanitize(raw, lacks)
    for again in (True, True, False):
        try:
            return kernel.bpf(U.BPF_BTF_LOAD, {"btf": bytearray(raw), "btf_size": len(raw)})
        except KernelError as error:
            if error.errno == errno.EPERM:
                if features.loses_memlock(kernel, error):
                    continue
                return 0
            if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise
            if not again:
                break
            if not features.have(kernel, "btf"):
                return 0
            more = _lacking(kernel, raw, True)
            if not more:
                break
            raw = sanitize(raw, more)
    if log is not None:
        log.append(_words(kernel, raw))
    return 0


def _words(kernel, raw):
    """The kernel's log for BTF that it refuses, "" when there is none."""
    text = bytearray(1 << 16)
    try:
        kernel.close(kernel.bpf(U.BPF_BTF_LOAD, {"btf": bytearray(raw), "btf_size": len(raw), "btf_log_buf": text,
                                                 "btf_log_size": len(text),
                                                 "btf_log_level": 1}))
    except KernelError:
        pass
    return bytes(text).split(b"\0")[0].decode("utf-8", "replace")


def kinds_of(raw):
    """Set of the BTF kinds in ``raw`` (native order, checked by whoever made it)."""
    return set(row[1] for row in _walk(raw))


def _walk(raw):
    """[(byte offset, kind, vlen, kind_flag, name offset)]."""
    header, type_off, type_len = struct.unpack_from("=III", raw, 4)
    at, end = header + type_off, header + type_off + type_len
    rows, words = [], struct.Struct("=III").unpack_from
    while at + 12 <= end:
        name, info, _ = words(raw, at)
        kind, vlen = info >> 24 & 0x7f, info & 0xffffff
        rows.append((at, kind, vlen, info >> 31, name))
        fixed, each = SIZES.get(kind, (3, 0))
        at += 4 * (fixed + each * vlen)
    return rows


def _lacking(kernel, raw, ask):
    """Features that ``raw`` needs and the kernel lacks: those known to, or, with ``ask``, by probing."""
    facts = kernel.facts
    if not ask and not any(facts.get(name) is False for name, _ in _NEEDS):
        return set()
    kinds = kinds_of(raw)
    return set(name for name, needed in _NEEDS if kinds.intersection(needed)
               and (not features.have(kernel, name) if ask else facts.get(name) is False))


def sanitize(raw, lacks):
    """BTF bytes in which everything that needs a feature of ``lacks`` is replaced by an older kind of the same id and
    size.

    VAR -> INT, DATASEC -> STRUCT, FUNC -> TYPEDEF, FUNC_PROTO -> ENUM, global FUNC -> static, FLOAT -> STRUCT of its
    size, DECL_TAG -> INT, TYPE_TAG -> CONST, ENUM64 -> UNION of its size, '?' in a section name -> '_', bit-fields'
    kind_flag dropped: libbpf's choices, so both show the same types."""
    out = bytearray(raw)
    header, type_off, _, str_off = struct.unpack_from("=IIII", raw, 4)
    strings = header + str_off
    int_id, grown = 0, bytearray()
    rows = _walk(raw)
    if "btf_enum64" in lacks and any(row[1] == B.BTF_KIND_ENUM64 for row in rows):
        for number, (at, kind, _, _, _) in enumerate(rows, 1):
            if kind == B.BTF_KIND_INT and struct.unpack_from("=I", raw, at + 8)[0] <= 8:
                int_id = number
                break
        if not int_id:  # ENUM64's members need a type: one int at the end
            int_id = len(rows) + 1
            grown += struct.pack("=IIII", 0, B.BTF_KIND_INT << 24, 4, 32)
            grown[0:4] = struct.pack("=I", _some_name(raw, strings, rows))

    def put(at, kind, vlen=0, size=None, flag=0):
        struct.pack_into("=I", out, at + 4, flag << 31 | kind << 24 | vlen)
        if size is not None:
            struct.pack_into("=I", out, at + 8, size)

    for at, kind, vlen, flag, name in rows:
        if kind == B.BTF_KIND_DATASEC and "btf_qmark_datasec" in lacks and "btf_datasec" not in lacks:
            _plain_name(out, strings + name, b"?")
        if kind == B.BTF_KIND_VAR and "btf_datasec" in lacks:
            put(at, B.BTF_KIND_INT, 0, 1)  # 1 byte: an INT of any size is taken, its bits must fit
            struct.pack_into("=I", out, at + 12, 8)
        elif kind == B.BTF_KIND_DATASEC and "btf_datasec" in lacks:
            _plain_name(out, strings + name, b"?./-")
            put(at, B.BTF_KIND_STRUCT, vlen)
            for i in range(vlen):
                row = at + 12 + 12 * i
                var, offset, _ = struct.unpack_from("=III", raw, row)
                var_name = struct.unpack_from("=I", raw, rows[var - 1][0])[0] if 0 < var <= len(rows) else 0
                struct.pack_into("=III", out, row, var_name, var, offset * 8 & 0xffffffff)
        elif kind == B.BTF_KIND_FUNC_PROTO and "btf_func" in lacks:
            put(at, B.BTF_KIND_ENUM, vlen, 4)
            struct.pack_into("=I", out, at, 0)
            for i in range(vlen):
                row = at + 12 + 8 * i
                if not struct.unpack_from("=I", raw, row)[0]:  # an enumerator has a name
                    struct.pack_into("=I", out, row, _some_name(raw, strings, rows))
        elif kind == B.BTF_KIND_FUNC and "btf_func" in lacks:
            put(at, B.BTF_KIND_TYPEDEF)
        elif kind == B.BTF_KIND_FUNC and "btf_global_func" in lacks:
            put(at, B.BTF_KIND_FUNC)
        elif kind == B.BTF_KIND_FLOAT and "btf_float" in lacks:
            put(at, B.BTF_KIND_STRUCT)  # no members, its size stays
            struct.pack_into("=I", out, at, 0)
        elif kind == B.BTF_KIND_DECL_TAG and "btf_decl_tag" in lacks:
            put(at, B.BTF_KIND_INT, 0, 1)
            struct.pack_into("=I", out, at + 12, 8)
            _plain_name(out, strings + name, None)
        elif kind == B.BTF_KIND_TYPE_TAG and "btf_type_tag" in lacks:
            put(at, B.BTF_KIND_CONST)
            struct.pack_into("=I", out, at, 0)
        elif kind == B.BTF_KIND_ENUM64 and "btf_enum64" in lacks:
            put(at, B.BTF_KIND_UNION, vlen)
            for i in range(vlen):
                struct.pack_into("=II", out, at + 12 + 12 * i + 4, int_id, 0)
        elif flag and kind == B.BTF_KIND_ENUM and "btf_enum64" in lacks:  # the sign of enums came in the same release
            put(at, kind, vlen)
        elif flag and kind in (B.BTF_KIND_STRUCT, B.BTF_KIND_UNION) and "btf_kind_flag" in lacks:
            put(at, kind, vlen)
            for i in range(vlen):
                row = at + 12 + 12 * i + 8
                struct.pack_into("=I", out, row, struct.unpack_from("=I", raw, row)[0] & 0xffffff)
    if grown:
        out = _append_types(out, grown)
    return bytes(out)


def _some_name(raw, strings, rows):
    """String offset of any identifier: where a nameless type must have a name."""
    for _, kind, _, _, name in rows:
        if name and kind in (B.BTF_KIND_INT, B.BTF_KIND_STRUCT, B.BTF_KIND_TYPEDEF, B.BTF_KIND_FUNC):
            return name
    return 1


def _plain_name(out, at, chars):
    """Make the name at ``at`` one that old kernels take: each of ``chars`` becomes '_' (None: everything but letters
    and digits)."""
    first = at
    while at < len(out) and out[at]:
        char = bytes(out[at:at + 1])
        if (char in chars) if chars is not None else not (char.isalnum() or char == b"_") or (at == first
                                                                                              and char.isdigit()):
            out[at] = 0x5f
        at += 1


def _append_types(raw, more):
    header, type_off, type_len, str_off, str_len = struct.unpack_from("=IIIII", raw, 4)
    types = bytes(raw[header + type_off:header + type_off + type_len]) + bytes(more)
    strings = bytes(raw[header + str_off:header + str_off + str_len])
    head = bytearray(raw[:header])
    struct.pack_into("=IIII", head, 8, 0, len(types), len(types), len(strings))
    return bytes(head) + types + strings
