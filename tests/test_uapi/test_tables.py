"""lbc/uapi against kernel headers: every name that both have must have the value that the compiler gives it."""
from __future__ import absolute_import

import glob
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from lbc.uapi import arch

LAB = os.path.expanduser(os.environ.get("LBC_LAB_DIR") or "~/.cache/lbc-lab")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADERS = {"bpf": ["linux/bpf.h", "linux/bpf_common.h"],
           "calls": ["linux/bpf.h", "linux/perf_event.h"], "btf": ["linux/btf.h"],
           "elf": ["linux/elf.h", "linux/elf-em.h"],
           "perf": ["linux/perf_event.h", "linux/hw_breakpoint.h"]}
INCLUDES = [path for path in ["/usr/include"] + sorted(glob.glob(LAB + "/hdr-*/usr/include"))
            if os.path.exists(path + "/linux/bpf.h")]


def compiler():
    for name in ("clang-16", "clang", "gcc", "cc"):
        for folder in os.environ.get("PATH", "").split(":"):
            if os.access(os.path.join(folder, name), os.X_OK):
                return os.path.join(folder, name)
    return pytest.skip("no C compiler here")


def values_in(include, headers, names, folder):
    """{name: value} as the compiler sees it, for those of ``names`` that the headers have."""
    text = "".join(open(os.path.join(include, header)).read()
                   for header in headers if os.path.exists(os.path.join(include, header)))
    words = set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", text, flags=re.S)))
    known = [name for name in names if name in words]
    source = str(folder.join("v.c"))
    with open(source, "w") as f:
        f.write("".join("#include <%s>\n" % header for header in ["stdio.h", "linux/types.h"] + headers))
        f.write("int main(void) {\n")
        f.write("".join('  printf("%s %%llu\\n", (unsigned long long)(%s));\n' % (name, name) for name in known))
        f.write("  return 0;\n}\n")
    machine = os.uname()[4] + "-linux-gnu"
    first = ["-I", include, "-I", os.path.join(include, machine)] if include != "/usr/include" else []
    program = str(folder.join("v"))
    subprocess.check_call([compiler(), "-w"] + first + ["-o", program, source])
    rows = [line.split() for line in subprocess.check_output([program]).decode().splitlines()]
    return {name: int(value) for name, value in rows}


@pytest.mark.skipif(not INCLUDES, reason="no kernel headers here (linux-libc-dev)")
@pytest.mark.parametrize("include", INCLUDES)
@pytest.mark.parametrize("name", sorted(HEADERS))
def test_values(name, include, tmpdir):
    module = importlib.import_module("lbc.uapi." + name)
    ours = {key: value for key, value in vars(module).items()
            if isinstance(value, int) and not isinstance(value, bool) and re.match(r"[A-Z][A-Z0-9_]+$", key)}
    # Ends of enumerations, and the sum of all flags that a helper knows, move with every release, and say nothing about
    # the kernel that is asked.
    ours = {key: value for key, value in ours.items() if not re.search(
        r"(^|_)(MAX|NR)($|_)|^__|_MAX$|^BPF_F_REDIRECT_FLAGS$", key) and not key.endswith("_SIZE")}
    theirs = values_in(include, HEADERS[name], sorted(ours), tmpdir)
    assert len(theirs) > {"bpf": 300, "btf": 20, "calls": 15, "elf": 60, "perf": 100}[name], "too little to compare"
    different = {key: (ours[key], theirs[key]) for key in theirs if (ours[key] - theirs[key]) % (1 << 64)}
    assert different == {}


@pytest.mark.skipif(sys.version_info < (3, 6), reason="scripts/gen_uapi.py is for Python 3")
def test_files_are_what_the_generator_makes():
    newest = LAB + "/hdr-trixie-backports/usr/include"
    if not os.path.exists(newest):
        pytest.skip("the headers that lbc/uapi is made from are not here: make uapi")
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        pytest.skip("needs bpftool")
    env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin")
    subprocess.check_call([sys.executable, ROOT + "/scripts/gen_uapi.py", newest, "--check"], env=env)


@pytest.mark.parametrize("name,header", [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"),
                                         ("aarch64", "asm-generic/unistd.h")])
def test_system_call_numbers(name, header):
    path = next((include + "/" + header for include in INCLUDES if os.path.exists(include + "/" + header)), None)
    if not path:
        pytest.skip("no %s here" % header)
    with open(path) as f:
        numbers = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", f.read()))
    row = next((value for value in vars(arch).values() if getattr(value, "name", None) == name), None) or \
        getattr(arch, "ARCHES", {}).get(name)
    if row is None:
        pytest.skip("lbc.uapi.arch has no row for %s" % name)
    for call in ("bpf", "perf_event_open", "ioctl"):
        assert getattr(row, "nr_" + call) == int(numbers[call])
