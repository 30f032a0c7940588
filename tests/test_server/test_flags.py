"""Flags from strangers: what is allowed goes through as it is, everything else is refused by name."""
from __future__ import absolute_import

import pytest

from lbc.errors import InputError
from lbc.server.flags import parse_flags


@pytest.mark.parametrize("text, words", [
    ("", []), ("  \t ", []), ("-DX", ["-DX"]), ("-D X=1", ["-DX=1"]), ("-DX=", ["-DX="]),
    ('-DTEXT="a b" -UY', ["-DTEXT=a b", "-UY"]), ("'-DF(a, b)=a+b'", ["-DF(a, b)=a+b"]), ("-U Y", ["-UY"]),
    ("-O0 -O1 -O2 -O3 -Os -Oz -O", ["-O0", "-O1", "-O2", "-O3", "-Os", "-Oz", "-O"]),
    ("-Wall -Wno-unused-variable -Werror=format -Wformat=2 -w", ["-Wall", "-Wno-unused-variable", "-Werror=format",
                                                                 "-Wformat=2", "-w"]),
    ("-g -std=gnu11 -mcpu=v3", ["-g", "-std=gnu11", "-mcpu=v3"]),
    # a value may look like anything: it is one word for the compiler, and no shell sees it
    ("'-DX=$(id) ; rm -rf /'", ["-DX=$(id) ; rm -rf /"]), ("'-DX=-include /etc/passwd'", ["-DX=-include /etc/passwd"]),
])
def test_allowed(text, words):
    assert parse_flags(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "-I/etc",
        "-I",
        "-I.",
        "-include /etc/passwd",
        "-include/etc/passwd",
        "--include=/etc/passwd",
        "-imacros x",
        "-iquote /",
        "-isystem /",
        "-isysroot /",
        "--sysroot=/",
        "-fplugin=/tmp/x.so",
        "-fpass-plugin=/tmp/x.so",
        "-load x",
        "-Xclang -load",
        "-Xpreprocessor x",
        "-Xassembler x",
        "-Wp,-MD,/tmp/x",
        "-Wa,--noexecstack",
        "-Wl,-o,/tmp/x",
        "-W",
        "-Wp",
        "-Wl",
        "-Wa",
        "-mllvm -debug",
        "@/tmp/flags",
        "@file",
        "-o /tmp/x",
        "-o/tmp/x",
        "-E",
        "-S",
        "-M",
        "-MD",
        "-MF /tmp/x",
        "-v",
        "-###",
        "/etc/passwd",
        "file.c",
        "-",
        "--",
        "-x c++",
        "-target x86_64",
        "--target=x86_64",
        "-B/tmp",
        "-fmodules",
        "-fmodule-file=x",
        "-fembed-bitcode",
        "-save-temps",
        "-save-temps=obj",
        "-ftime-trace",
        "-resource-dir /",
        "-Ofast",
        "-O4",
        "-D",
        "-U",
        "-D1X",
        "-DX(a=1",
        "-D-include",
        "-UX=1",
        "-std=c++17",
        "-mcpu=/etc/passwd",
        "-fdebug-prefix-map=a=b",
        "-include-pch x",
        "-ivfsoverlay x",
        "--config=/tmp/x",
        "-serialize-diagnostics x",
        "-fcrash-diagnostics-dir=/tmp",
        "-dD",
        "-P",
        "-gsplit-dwarf",
        "-fprofile-use=/x",
        "'-DX\n-include x'",
        "-DX=\x01",
        "-DX='unclosed",
        "-D@file",
        " ".join(["-DX%d" % number for number in range(300)]),
        "-DX=" + "y" * 20000,
    ],
)
def test_refused(text):
    with pytest.raises(InputError) as caught:
        parse_flags(text)
    assert caught.value.what.startswith("env: ")


def test_the_refused_flag_is_named():
    with pytest.raises(InputError) as caught:
        parse_flags("-DX=1 -O2 -fplugin=evil.so -Wall")
    assert "`-fplugin=evil.so`" in caught.value.what
