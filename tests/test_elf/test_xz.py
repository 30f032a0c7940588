"""lbc.elf.xz against what xz(1) packs."""
from __future__ import absolute_import

import random
import subprocess
import tempfile

import pytest

from lbc.elf import xz
from lbc.errors import FormatError
from tests.test_elf.test_reader import tool

LIMIT = 1 << 22


def pack(plain, *options):
    """Bytes of `xz OPTIONS` over ``plain``."""
    with tempfile.NamedTemporaryFile() as source:
        source.write(plain)
        source.flush()
        try:
            return subprocess.check_output(["xz", "-z", "-c", "-k"] + list(options) + [source.name])
        except OSError:
            return pytest.skip("no xz")


def samples():
    r = random.Random(11)
    words = [bytes(bytearray(r.randrange(256) for _ in range(r.randrange(1, 12)))) for _ in range(60)]
    return {"empty": b"", "byte": b"x", "run": b"a" * 70000, "period": b"abcdefg" * 3000,
            "noise": bytes(bytearray(r.randrange(256) for _ in range(3000))),
            "words": b"".join(r.choice(words) for _ in range(6000)),
            "counting": b"".join(b"symbol_%d\0" % i if str is not bytes else "symbol_%d\0" % i for i in range(4000))}


@pytest.mark.parametrize("name", sorted(samples()))
@pytest.mark.parametrize("options", [("-6",), ("-0", "--check=crc32"), ("-9e", "--check=none"),
                                     ("--check=sha256", "--lzma2=preset=6,lc=0,lp=2,pb=0"),
                                     ("--lzma2=preset=6,lc=4,lp=0,pb=4",), ("--block-size=5000",),
                                     ("--lzma2=preset=1,dict=4KiB",)])
def test_as_xz_packs_it(name, options):
    plain = samples()[name]
    assert xz.decompress(pack(plain, *options), LIMIT) == plain


def test_a_real_program():
    with open("/bin/ls", "rb") as source:
        plain = source.read()[:120000]
    assert xz.decompress(pack(plain), LIMIT) == plain


def test_streams_and_padding():
    assert xz.decompress(pack(b"one") + b"\0" * 8 + pack(b"two"), LIMIT) == b"onetwo"


def test_other_filters_are_refused():
    for options in (("--x86", "--lzma2"), ("--delta", "--lzma2")):
        with pytest.raises(FormatError) as error:
            xz.decompress(pack(b"plain" * 100, *options), LIMIT)
        assert "filters" in str(error.value)


def test_limit_is_kept():
    packed = pack(b"a" * 70000)
    assert len(xz.decompress(packed, 70000)) == 70000
    with pytest.raises(FormatError):
        xz.decompress(packed, 69999)


def test_damage_is_noticed_everywhere():
    """Every single byte changed, and every length cut: an error, never other data and never another exception."""
    plain = samples()["counting"][:3000]
    packed = pack(plain)
    r = random.Random(5)
    for position in range(len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 1 << r.randrange(8)
        try:
            assert xz.decompress(bytes(damaged), LIMIT) == plain, position   # the footer is not looked at
        except FormatError:
            continue
        assert position >= len(packed) - 12, position
    for cut in range(1, len(packed) - 12, 7):
        with pytest.raises(FormatError):
            xz.decompress(packed[:cut], LIMIT)


def test_as_lzma_unpacks_it(tmpdir):
    lzma = pytest.importorskip("lzma")
    source, program = str(tmpdir.join("a.c")), str(tmpdir.join("a"))
    with open(source, "w") as f:
        f.write("static int hidden(int a) { return a * 3; }\nint main(int c, char **v) { return hidden(c); }\n")
    tool("gcc", "-O0", "-o", program, source)
    with open(program, "rb") as f:
        packed = pack(f.read())
    assert xz.decompress(packed, LIMIT) == lzma.decompress(packed)
