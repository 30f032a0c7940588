"""bpftool's JSON dump of BTF against lbc's types: one by one, every field bpftool prints."""
from __future__ import absolute_import

import json
import os
import subprocess

from lbc.uapi import btf as _u

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
_ENCODING = {"(none)": 0, "SIGNED": 1, "CHAR": 2, "BOOL": 4}


def read(name):
    """Bytes of a file of tests/test_btf/data."""
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


def bpftool_types(path, base=None):
    """List of types as bpftool dumps them, or None when it cannot be had or cannot read this file."""
    command = ["bpftool", "-j"] + (["-B", base] if base else []) + ["btf", "dump", "file", path]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except EnvironmentError:
        return None
    out = process.communicate()[0]
    return json.loads(out.decode("utf-8"))["types"] if process.returncode == 0 else None


def flat(found):
    """A kinds value in the words of bpftool's JSON (the keys it prints for that kind)."""
    kind = found.kind
    row = {"kind": _u.KIND_NAMES[kind].upper(), "name": found.name or "(anon)"}
    for ours, theirs in (("type", "type_id"), ("index_type", "index_type_id"), ("ret", "ret_type_id"), ("size", "size"),
                         ("bits", "nr_bits"), ("component", "component_idx"), ("count", "nr_elems")):
        if hasattr(found, ours):
            row[theirs] = getattr(found, ours)
    if kind == _u.BTF_KIND_INT:
        row["encoding"], row["bits_offset"] = found.encoding, found.offset
    if hasattr(found, "members"):
        row["members"] = [(m.name or "(anon)", m.type, m.bit_offset, m.bit_size) for m in found.members]
    if hasattr(found, "values"):
        row["values"], row["signed"] = found.values, found.signed
    if hasattr(found, "params"):
        row["params"] = [(name or "(anon)", type_id) for name, type_id in found.params]
    if hasattr(found, "vars"):
        row["vars"] = found.vars
    if hasattr(found, "linkage"):
        row["linkage"] = found.linkage
    if hasattr(found, "is_union"):
        row["fwd_kind"] = "union" if found.is_union else "struct"
    return row


def flat_json(row):
    """The same of a type in bpftool's JSON."""
    row = dict(row)
    row.pop("id")
    row.pop("vlen", None)
    if row["kind"] == "INT":
        row["encoding"] = _ENCODING[row["encoding"]]
    elif row["kind"] in ("ENUM", "ENUM64"):
        row["signed"] = row.pop("encoding") == "SIGNED"
        # bpftool widens the 32 bits of an unsigned ENUM value as signed ones
        mask = 0xffffffff if row["kind"] == "ENUM" and not row["signed"] else -1
        row["values"] = [(value["name"], value["val"] & mask) for value in row["values"]]
    if "members" in row:
        row["members"] = [(m["name"], m["type_id"], m["bits_offset"], m.get("bitfield_size", 0))
                          for m in row["members"]]
    if "params" in row:
        row["params"] = [(p["name"], p["type_id"]) for p in row["params"]]
    if "vars" in row:
        row["vars"] = [(v["type_id"], v["offset"], v["size"]) for v in row["vars"]]
    if "linkage" in row:
        text = row["linkage"]
        row["linkage"] = {"static": 0, "global": 1, "extern": 2, "global-alloc": 1, "global-extern": 2}[text]
    return row


def compare(btf, rows):
    """Every type of bpftool's list equals ours; the number of types compared."""
    for row in rows:
        ours = flat(btf.type(row["id"]))
        theirs = flat_json(row)
        for key in theirs:
            assert ours.get(key) == theirs[key], (row["id"], key, ours, theirs)
    return len(rows)
