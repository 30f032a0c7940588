#!/usr/bin/env python3
"""Writes lbc/uapi/{bpf,btf,perf,elf,calls}.py and lbc/include/bpf/bpf_helper_defs.h from kernel headers.

Developers only; needs clang and bpftool.

    scripts/gen_uapi.py INCLUDE_DIR [--check]

INCLUDE_DIR is the usr/include of an unpacked linux-libc-dev package (``make uapi`` fetches the one that
lbc is generated from).  ``--check`` writes nothing and fails when a file differs.
Names come from the text of the headers, values and layouts from the compiler: no number is typed by hand.
"""
from __future__ import absolute_import, print_function

import argparse
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

CLANG = os.environ.get("CLANG", "clang-16")
ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lbc", "uapi")

# header, prefixes of the names that are taken, {table: enum prefix} of number -> short name tables
MODULES = {
    "bpf": (["linux/bpf.h", "linux/bpf_common.h"], r"BPF_|XDP_FLAGS_|XDP_(?:ABORTED|DROP|PASS|TX|REDIRECT)|MAX_BPF_",
            {"MAP_TYPE_NAMES": "BPF_MAP_TYPE_", "PROG_TYPE_NAMES": "BPF_PROG_TYPE_",
             "LINK_TYPE_NAMES": "BPF_LINK_TYPE_"}),
    "btf": (["linux/btf.h"], r"BTF_", {"KIND_NAMES": "BTF_KIND_"}),
    "perf": (["linux/perf_event.h", "linux/hw_breakpoint.h"], r"PERF_|HW_BREAKPOINT_", {}),
    "elf": (["linux/elf.h", "linux/elf-em.h"],
            r"(?:ET|EM|PT|SHT|SHN|SHF|STB|STT|STV|PN|PF|NT_GNU|ELFCLASS|ELFDATA|EI)_|ELFMAG", {}),
}
# linux/elf.h is what the kernel loads; these of libc's elf.h are what tool chains write besides (header below
# SYSTEM_INCLUDE).
LIBC = {
    "elf": ("elf.h", r"ELFCOMPRESS_ZLIB$|ELFCOMPRESS_ZSTD$|SHF_COMPRESSED$|SHF_GNU_RETAIN$|SHN_XINDEX$"
                     r"|SHT_SYMTAB_SHNDX$|SHT_GNU_ver|SHT_GROUP$|SHT_RELR$|STV_|STB_GNU_UNIQUE$|STT_GNU_IFUNC$"
                     r"|STT_FILE$|VER_NDX_|VER_FLG_BASE$|NT_GNU_BUILD_ID$|R_BPF_"
                     r"|R_(?:X86_64_RELATIVE|X86_64_IRELATIVE|AARCH64_RELATIVE|AARCH64_IRELATIVE)$"
                     r"|ELFCLASS|ELFDATA|EM_BPF$"),
}
SYSTEM_INCLUDE = "/usr/include"
RELOC_LISTS = {"elf": "/usr/lib/llvm-*/include/llvm/BinaryFormat/ELFRelocs/BPF.def"}  # R_BPF_* that libc's elf.h lacks
STRUCTS = {
    "bpf": ["union bpf_attr", "struct bpf_map_info", "struct bpf_prog_info", "struct bpf_btf_info",
            "struct bpf_link_info"],
    "perf": ["struct perf_event_attr", "struct perf_event_mmap_page"],
}
# The same BTF tells the layouts; only what lbc packs or reads.
# What system calls and the reading of records need, apart from the 1500 other names: a tool that polls loads only this.
CALLS = {
    "bpf": "BPF_MAP_LOOKUP_ELEM BPF_MAP_UPDATE_ELEM BPF_MAP_DELETE_ELEM BPF_OBJ_GET_INFO_BY_FD "
           "BPF_MAP_TYPE_PERF_EVENT_ARRAY BPF_MAP_TYPE_RINGBUF BPF_F_RB_OVERWRITE BPF_RINGBUF_HDR_SZ "
           "BPF_RINGBUF_BUSY_BIT BPF_RINGBUF_DISCARD_BIT",
    "perf": "PERF_ATTR_SIZE_VER0 PERF_COUNT_SW_BPF_OUTPUT PERF_EVENT_IOC_ENABLE PERF_FLAG_FD_CLOEXEC "
            "PERF_FORMAT_TOTAL_TIME_ENABLED PERF_FORMAT_TOTAL_TIME_RUNNING PERF_RECORD_LOST PERF_RECORD_SAMPLE "
            "PERF_SAMPLE_RAW PERF_TYPE_SOFTWARE",
}

HELPER_DEFS = os.path.join(os.path.dirname(ROOT), "include", "bpf", "bpf_helper_defs.h")
# What a helper's description calls by the kernel's name, and programs know by another (Documentation/bpf/helpers).
AS_PROGRAMS_SEE = {"struct bpf_map": "void", "struct sk_buff": "struct __sk_buff", "struct xdp_buff": "struct xdp_md",
                   "struct sk_msg_buff": "struct sk_msg_md"}


def run(*command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **kwargs).stdout.decode()


def header_text(include, names):
    return "\n".join(open(os.path.join(include, name)).read() for name in names)


def candidate_names(text, pattern):
    """Names of #define constants and of enumerators, in order of appearance."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    seen, names = set(), []
    for match in re.finditer(r"^[ \t]*#\s*define[ \t]+(\w+)[ \t]+\S|^[ \t]*(\w+)[ \t]*(?:=[^,}]+)?,?[ \t]*(?:/\*.*)?$",
                             text, re.M):
        name = match.group(1) or match.group(2)
        if re.match(pattern, name) and name not in seen:
            seen.add(name)
            names.append(name)
    return names


def constants(include, headers, names):
    """{name: int} for the names that are integer constants, asked of the compiler."""
    source = "#include <linux/types.h>\n" + "".join("#include <%s>\n" % h for h in headers)
    work = list(names)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "c.c")
        while True:
            with open(path, "w") as out:
                out.write(source)
                for i, name in enumerate(work):
                    out.write("long long v%d = (long long)(%s);\n" % (i, name))
            done = subprocess.run([CLANG, "-I" + include, "-I" + include + "/x86_64-linux-gnu", "-nostdinc", "-w",
                                   "-ferror-limit=0",
                                   "-S", "-O0", "-o", "-", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode == 0:
                break
            bad = {int(n) for n in re.findall(r"c\.c:(\d+):\d+: error", done.stderr.decode())}
            first = source.count("\n") + 1
            keep = [name for i, name in enumerate(work) if first + i not in bad]
            if len(keep) == len(work):
                raise SystemExit(done.stderr.decode())
            work = keep
    values, current = {}, None
    for line in done.stdout.decode().splitlines():
        match = re.match(r"v(\d+):", line)
        if match:
            current = work[int(match.group(1))]
        match = re.match(r"\s+\.(quad|zero)\s+(-?\d+)", line)
        if match and current:
            values[current] = int(match.group(2)) if match.group(1) == "quad" else 0
            current = None
    return values


def libc_constants(header, pattern):
    """{name: int} of a header of the C library on this machine."""
    names = candidate_names(open(os.path.join(SYSTEM_INCLUDE, header)).read(), pattern)
    source = "#include <%s>\n" % header + \
        "".join("long long v%d = (long long)(%s);\n" % pair for pair in enumerate(names))
    out = run(CLANG, "-w", "-S", "-O0", "-x", "c", "-o", "-", "-", input=source.encode())
    values = re.findall(r"^v(\d+):\n\s+\.(quad|zero)\s+(-?\d+)", re.sub(r"[ \t]*#.*", "", out), re.M)
    return {names[int(i)]: int(value) if kind == "quad" else 0 for i, kind, value in values}


def helper_names(include):
    """['unspec', 'map_lookup_elem', ...] in the order of their numbers: the FN(x) list of ___BPF_FUNC_MAPPER."""
    text = open(os.path.join(include, "linux/bpf.h")).read()
    mapper = re.search(
        r"#define ___BPF_FUNC_MAPPER\(FN, ctx\.\.\.\)(.*?)\n/\*|#define __BPF_FUNC_MAPPER\(FN\)(.*?)\n/\*", text, re.S)
    numbered = re.findall(r"FN\((\w+), (\d+), ##ctx\)", text)
    assert mapper and numbered and [int(n) for _, n in numbered] == list(range(len(numbered)))
    return [name for name, _ in numbered]


def helper_prototypes(include):
    """{"bpf_map_lookup_elem": ("void *", ["void *map", "const void *key"])} of the descriptions in linux/bpf.h.

    A helper described more than once, for different contexts, takes ``void *`` where the descriptions differ."""
    text = open(os.path.join(include, "linux/bpf.h")).read()
    text = text[text.index("Start of BPF helper function descriptions"):]
    found = {}
    for ret, name, args in re.findall(r"^ \* ((?:\w+ )+\**)(bpf_\w+)\((.*)\)$", text[:text.index("*/")], re.M):
        args = [as_programs_see(arg.strip()) for arg in args.split(",")]
        ret = as_programs_see(ret.strip())
        before = found.get(name, (ret, args))
        assert len(before[1]) == len(args) and before[0] == ret, name
        found[name] = ret, [one if one == other else "void *" + re.search(r"\w+$", one).group(0)
                            for one, other in zip(before[1], args)]
    return found


def as_programs_see(text):
    """A type of a helper's description as BPF programs spell it: ``__u32``, ``struct __sk_buff``."""
    text = re.sub(r"\b([us](?:8|16|32|64))\b", r"__\1", text)
    text = re.sub(r"\bsize_t\b", "unsigned long", text)
    return re.sub(r"\bstruct \w+", lambda match: AS_PROGRAMS_SEE.get(match.group(0), match.group(0)), text)


def helper_header(include):
    """Text of bpf_helper_defs.h: every helper as a constant pointer to a function, whose value is its number."""
    prototypes, numbered = helper_prototypes(include), helper_names(include)
    lines = ["/* GENERATED from linux v%s by scripts/gen_uapi.py; do not edit */" % version_of(include),
             "#ifndef LBC_BPF_HELPER_DEFS_H", "#define LBC_BPF_HELPER_DEFS_H", ""]
    body = []
    for number, name in enumerate(numbered):
        if number and "bpf_" + name in prototypes:      # 0 is no helper; some numbers have no description
            ret, args = prototypes["bpf_" + name]
            body.append("static %s(*const bpf_%s)(%s) = (void *)%d;" % (
                ret if ret.endswith("*") else ret + " ", name, ", ".join(args), number))
    lines += ["%s;" % name for name in sorted(set(re.findall(r"struct \w+", "\n".join(body))))]
    return "\n".join(lines + [""] + body + ["", "#endif"]) + "\n"


def layouts(include, headers, structs):
    """{struct: (size, {dotted member: (offset, size)})} from the BTF that clang makes of the headers."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "l.c")
        with open(path, "w") as out:
            out.write("#include <linux/types.h>\n" + "".join("#include <%s>\n" % h for h in headers))
            for i, name in enumerate(structs):
                out.write("%s v%d;\n" % (name, i))
        run(CLANG, "-target", "bpf", "-g", "-O1", "-I" + include,
            "-I" + include + "/x86_64-linux-gnu", "-c", path, "-o", path + ".o")
        types = json.loads(run("bpftool", "btf", "dump", "file", path + ".o", "-j"))["types"]
    by_id = {t["id"]: t for t in types}

    def strip(type_id):
        while by_id[type_id]["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
            type_id = by_id[type_id]["type_id"]
        return by_id[type_id]

    def size_of(type_id):
        t = strip(type_id)
        if t["kind"] == "PTR":
            return 8
        if t["kind"] == "ARRAY":
            return t["nr_elems"] * size_of(t["type_id"])
        return t["size"]

    def walk(t, base, prefix, out):
        for member in t["members"]:
            offset, inner = base + member["bits_offset"] // 8, strip(member["type_id"])
            if member.get("bitfield_size"):
                continue
            name = prefix + ("" if member["name"] == "(anon)" else member["name"])
            if inner["kind"] in ("STRUCT", "UNION"):
                walk(inner, offset, name + "." if name != prefix else prefix, out)
            else:
                out.setdefault(name, (offset, size_of(member["type_id"])))

    result = {}
    for name in structs:
        kind, plain = name.split()
        t = next(t for t in types if t["kind"] == kind.upper() and t["name"] == plain)
        fields = {}
        walk(t, 0, "", fields)
        result[plain] = (t["size"], fields)
    return result


def version_of(include):
    code = int(re.search(r"LINUX_VERSION_CODE\s+(\d+)", open(os.path.join(include, "linux/version.h")).read()).group(1))
    return "%d.%d" % (code >> 16, code >> 8 & 255)


def module_text(include, module):
    headers, pattern, tables = MODULES[module]
    values = constants(include, headers, candidate_names(header_text(include, headers), pattern))
    if module in LIBC:
        for name, value in libc_constants(*LIBC[module]).items():
            values.setdefault(name, value)
        for path in sorted(glob.glob(RELOC_LISTS[module]))[-1:]:
            for name, value in re.findall(r"ELF_RELOC\((\w+),\s*(\d+)\)", open(path).read()):
                values.setdefault(name, int(value))
    lines = head(include, "Constants of %s." % ", ".join(headers))
    if module in STRUCTS:
        structs = [name.split()[1].upper() for name in STRUCTS[module]]
        names = [part for name in structs for part in (name, name + "_SIZE")]
        lines += ["from .calls import (  # noqa: F401"] + ["    %s," % name for name in names] + [")", ""]
    lines += [assignment(name, values[name]) for name in values]
    for table, prefix in tables.items():
        rows, taken = [], set()
        for name, value in values.items():  # the first name of a number wins; MAX markers are no kinds
            short = name[len(prefix):].lower()
            if name.startswith(prefix) and value not in taken and not name.startswith("__") and short != "max":
                taken.add(value)
                rows.append("    %d: %r," % (value, short))
        lines += ["%s = {" % table] + rows + ["}"]
    if module == "bpf":
        lines += ["", "HELPERS = (  # number -> name without bpf_"]
        lines += ["    %r," % name for name in helper_names(include)] + [")"]
    return as_text(lines)


def calls_text(include):
    """Text of lbc/uapi/calls.py: CALLS, and the layouts of STRUCTS."""
    lines = head(include, "What system calls and the reading of records need of linux/bpf.h and linux/perf_event.h.")
    for module in sorted(CALLS):
        values = constants(include, MODULES[module][0], CALLS[module].split())
        lines += [assignment(name, values[name]) for name in CALLS[module].split()]
    for module in sorted(STRUCTS):
        for name, (size, fields) in layouts(include, MODULES[module][0], STRUCTS[module]).items():
            lines += ["", "%s_SIZE = %d" % (name.upper(), size),
                      "%s = {  # member: (offset, size) in bytes" % name.upper()]
            lines += ["    %r: (%d, %d)," % (field, offset, width) for field, (offset, width) in fields.items()] + ["}"]
    return as_text(lines)


def head(include, text):
    return ["# GENERATED from linux v%s by scripts/gen_uapi.py; do not edit" % version_of(include),
            '"""%s"""' % text, "from __future__ import absolute_import", ""]


def assignment(name, value):
    return "%s = %s" % (name, "0x%x" % value if value > 4096 else value)


def as_text(lines):
    return "\n".join(lines).replace("'", '"') + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("include")
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args()
    stale = []
    made = [(os.path.join(ROOT, module + ".py"), module_text(args.include, module)) for module in MODULES]
    made.append((os.path.join(ROOT, "calls.py"), calls_text(args.include)))
    for path, text in made + [(HELPER_DEFS, helper_header(args.include))]:
        if args.check:
            if open(path).read() != text:
                stale.append(path)
        else:
            with open(path, "w") as out:
                out.write(text)
    if stale:
        sys.exit("stale: %s (run: make uapi)" % " ".join(os.path.relpath(path) for path in stale))


if __name__ == "__main__":
    main()
