"""load: load all of a BPF object, attach it if asked, and say per map and program what came of it.

usage: python -m lbc load OBJECT.bpf.o [--attach] [--btf FILE] [--json]

  -a, --attach      attach every program whose section says where
  -b, --btf FILE    BTF of this kernel (raw, or in an ELF file) for CO-RE, where the kernel has none of its own
  -j, --json        one JSON object instead of text
  -v, --verbose     whole verifier logs of programs that are refused
      --autoload    also programs whose section begins with '?'

    $ python -m lbc load filelife.bpf.o --attach
    map      events           perf_event_array  created
    program  on_create        kprobe            attached: kprobe vfs_create, perf link
    filelife.bpf.o: loaded, 1 map, 1 program

Exit status 0 when everything loaded (and attached), else 1.  Nothing stays behind: maps, programs and links go with the
process.  Needs root, or CAP_BPF and CAP_PERFMON (5.8).
"""
from __future__ import absolute_import

import sys

from ..errors import KernelError, LbcError, NotSupported, VerifierError
from . import _cli

OPTIONS = (("-a", "--attach", "attach", None, None), ("-b", "--btf", "btf", str, None),
           ("-j", "--json", "json", None, None),
           ("-v", "--verbose", "verbose", None, None), ("", "--autoload", "autoload", None, None))


def error_row(error):
    """{"error", "hint", "errno", "log"} of an LbcError: what a reader of the report needs."""
    row = {"error": error.what}
    if error.hint:
        row["hint"] = error.hint
    if isinstance(error, KernelError) and error.errno:
        row["errno"] = error.errno
    if isinstance(error, NotSupported) and error.min_version:
        row["since"] = error.min_version
    if isinstance(error, VerifierError):
        row["log"], row["excerpt"] = error.log, error.excerpt
    return row


def report(path, attach=False, btf=None, autoload=False, kernel=None, pin_root="/sys/fs/bpf"):
    """{"object", "ok", "maps": [rows], "programs": [rows], "error"}: loads, attaches, looks, closes.  Never an
    LbcError."""
    from ..bpf.object import BpfObject
    from ..uapi.bpf import MAP_TYPE_NAMES, PROG_TYPE_NAMES
    out = {"object": path, "ok": False, "maps": [], "programs": []}
    try:
        obj = BpfObject(path, btf=btf, kernel=kernel, pin_root=pin_root)
    except LbcError as error:
        out.update(error_row(error))
        return out
    with obj:
        map_specs, prog_specs = obj.spec.maps, obj.spec.programs
        if autoload:
            for spec in prog_specs.values():
                spec.autoload = True
        try:
            if btf is not None:
                obj.kernel_btf().layout()  # a wrong file is said even where the object has no use for it
            obj.load(keep_going=True)
        except LbcError as error:
            out.update(error_row(error))
        links = _attach(obj) if attach and obj.loaded and not obj.failures else {}
        for name, spec in map_specs.items():
            row = {"name": name, "type": MAP_TYPE_NAMES.get(spec.type, str(spec.type)), "key_size": spec.key_size,
                   "value_size": spec.value_size, "max_entries": spec.max_entries}
            _state(row, obj, "map", name, obj.loaded and name in obj.maps, "created")
            row.update(links.get(name, ()))
            out["maps"].append(row)
        for name, spec in prog_specs.items():
            row = {"name": name, "section": spec.section, "type": PROG_TYPE_NAMES.get(spec.type, str(spec.type))}
            _state(row, obj, "program", name, obj.loaded and name in obj.programs, "loaded")
            if not spec.autoload:
                row["state"] = "skipped"
            if row["state"] == "loaded":
                info = _info(obj.programs[name])
                row.update(info)
            row.update(links.get(name, ()))
            out["programs"].append(row)
        obj.unpin_new()
        out["ok"] = obj.loaded and not obj.failures and not any("error" in row for row in links.values())
    return out


def _state(row, obj, what, name, there, word):
    error = obj.failures.get((what, name))
    if error is not None:
        row["state"] = "failed"
        row.update(error_row(error))
    else:
        row["state"] = word if there else "not reached"


def _info(program):
    try:
        info = program.info()
    except LbcError:  # before 4.13
        return {}
    return {"id": info.id, "tag": info.tag, "xlated_bytes": info.xlated_len, "jited_bytes": info.jited_len}


def _attach(obj):
    """{program or struct_ops map: {"state": "attached", "detail"} or the error}: one by one, so that no refusal hides
    another."""
    rows = {}
    for name in obj.attachable():
        try:
            links = obj.attach([name])
            rows[name] = {"state": "attached", "detail": "; ".join(link.detail or "" for link in links)}
        except LbcError as error:
            rows[name] = dict(error_row(error), state="not attached")
    return rows


def text(out, verbose=False):
    """The report as a table, errors below the rows they belong to."""
    lines = []
    rows = [("map", row) for row in out["maps"]] + [("program", row) for row in out["programs"]]
    width = max([len(row["name"]) for _, row in rows] or [0])
    kinds = max([len(row["type"]) for _, row in rows] or [0])
    for what, row in rows:
        state = row["state"]
        if row.get("detail"):
            state += ": " + row["detail"]
        if "error" in row:
            state += ": " + row["error"]
        lines.append("%-7s  %-*s  %-*s  %s" % (what, width, row["name"], kinds, row["type"], state))
        lines += details(row, verbose)
    if "error" in out:
        lines.append(out["error"])
        lines += details(out, verbose)
    count = "%d map%s, %d program%s" % (len(out["maps"]), "s" * (len(out["maps"]) != 1), len(out["programs"]),
                                        "s" * (len(out["programs"]) != 1))
    lines.append("%s: %s, %s" % (out["object"], "loaded" if out["ok"] else "not loaded", count))
    return "\n".join(lines)


def details(row, verbose):
    """The verifier's words and the hint, indented."""
    lines = (row.get("log") if verbose and row.get("log") else row.get("excerpt") or "").rstrip().split("\n")
    lines = ["    " + line for line in lines if line]
    if row.get("hint"):
        lines.append("    hint: " + row["hint"])
    return lines


def main(argv=None):
    """Exit status."""
    options = _cli.parse(__doc__, argv, OPTIONS, positional=1)
    if not options.rest:
        raise _cli.UsageError("which object? give the path of a .bpf.o file")
    out = report(options.rest[0], options.attach, options.btf, options.autoload)
    _cli.write_text(_cli.json_line(out) if options.json else text(out, options.verbose))
    return 0 if out["ok"] else 1


if __name__ == "__main__":
    sys.exit(_cli.run_main("load", main))
