"""Conversions for display and their inverses, against the socket and struct modules."""
from __future__ import absolute_import

import random
import socket
import struct

import pytest

from lbc.expr import values

RNG = random.Random(20)
EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff]


def numbers(bits):
    found = [edge & ((1 << bits) - 1) for edge in EDGES] + [(1 << bits) - 1, 1 << (bits - 1)]
    return found + [RNG.getrandbits(bits) for _ in range(200)]


def test_ipv4_is_what_the_socket_module_prints():
    for number in numbers(32):
        text = values.Ip4()(number)
        assert text == socket.inet_ntoa(struct.pack("<I", number))
        assert values.Ip4().invert(text) == number
        assert values.Ip4()(number - (1 << 32)) == text  # the kernel prints S numbers with a sign
    assert values.Ip4().invert("127.0.0.1") == 0x100007f
    assert values.Ip4().invert("0x100007f") == 0x100007f


@pytest.mark.parametrize("text", ["127.0.0", "1.2.3.4.5", "1.2.3.256", "1.2.3.x", "1..2.3", "", "1.2.3.-4",
    "4294967296"])
def test_no_ipv4_address(text):
    with pytest.raises(ValueError):
        values.Ip4().invert(text)


IP6 = [b"\0" * 16, b"\0" * 15 + b"\1", b"\0" * 10 + b"\xff\xff\x7f\0\0\1", b"\0" * 12 + b"\1\2\3\4", b"\xff" * 16,
       b"\xfe\x80" + b"\0" * 6 + b"\2\0\0\0\0\0\0\1", b"\0\1" * 8, b"\0\0\0\1" * 4, b"\0" * 14 + b"\1\0"]


def addresses():
    found = list(IP6)
    for _ in range(300):
        groups = [RNG.choice([0, 0, 0, 1, RNG.getrandbits(16)]) for _ in range(8)]
        found.append(struct.pack(">8H", *groups))
    return found


def test_ipv6_is_what_the_socket_module_prints():
    for data in addresses():
        octets = list(bytearray(data))
        text = values.Ip6()(octets)
        assert text == socket.inet_ntop(socket.AF_INET6, data)
        assert values.Ip6().invert(text) == octets


def test_ipv6_texts_are_read_as_the_socket_module_does():
    for text in ["::", "::1", "1::", "fe80::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "a::B:0",
        "1::8",
                 "2001:DB8::", "1:2:3:4:5:6::", "::2:3:4:5:6:7:8"]:
        assert values.Ip6().invert(text) == list(bytearray(socket.inet_pton(socket.AF_INET6, text))), text
    for text in ["", ":", ":::", "1:2", "1::2::3", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "1.2.3.4", "::1.2.3",
        "1.2.3.4::",
                 "1:2:3:4:5:6:7::8:9", "::1:"]:
        with pytest.raises(ValueError):
            values.Ip6().invert(text)


@pytest.mark.parametrize("size,code", [(2, "H"), (4, "I"), (8, "Q")])
def test_byte_order(size, code):
    for number in numbers(8 * size):
        swapped, = struct.unpack(">" + code, struct.pack("<" + code, number))
        assert values.Swap(size)(number) == "%d" % swapped
        assert values.Swap(size, True)(number) == "0x%x" % swapped
        wanted, = struct.unpack(">" + code.lower(), struct.pack("<" + code, number))
        assert values.Swap(size, letter="S")(number) == "%d" % wanted
        for converter in (values.Swap(size), values.Swap(size, True), values.Swap(size, letter="S")):
            assert converter.invert(converter(number)) == number
            assert converter(number - (1 << 8 * size)) == converter(number)


@pytest.mark.parametrize("bits", [1, 3, 8, 13, 16, 32, 64])
@pytest.mark.parametrize("letter", ["", "U", "S", "X"])
def test_numbers(bits, letter):
    converter = values.Number(bits, letter)
    for number in numbers(bits):
        text = converter(number)
        assert converter.invert(text) == number
        if letter == "S":
            assert int(text) in (number, number - (1 << bits)) and -(1 << bits - 1) <= int(text) < 1 << bits - 1
        elif letter == "X":
            assert text == "0x%x" % number
        else:
            assert text == "%d" % number
    for text in ["%d" % (1 << bits), "-%d" % ((1 << bits - 1) + 1), "x", "", "-", "0x", "1 2", "08", "0b1", "1_0"]:
        with pytest.raises(ValueError):
            converter.invert(text)


def test_enums():
    converter = values.Enum({0: "ZERO", 5: "FIVE", -1: "MINUS"}, 32, True)
    assert [converter(number) for number in (0, 5, 0xffffffff, -1, 7, 0xfffffffe)] == [
        "ZERO", "FIVE", "MINUS", "MINUS", "7", "-2"]
    for number in (0, 5, 7, 0xffffffff, 0x80000000):
        assert converter.invert(converter(number)) == number
    assert values.Enum({3: "THREE"}, 3, False)(0xff) == "7"
    with pytest.raises(ValueError):
        converter.invert("SIX")


def test_an_amount_is_added():
    for amount in (0x18, -0x40, 1 << 20):
        for letter in ("", "S", "X"):
            converter = values.Offset(amount, letter)
            for number in numbers(64):
                assert converter.invert(converter(number)) == number
    assert values.Offset(0x18, "X")(0xffff888000000000) == "0xffff888000000018"
    assert values.Offset(-16)(8) == "18446744073709551608"


def test_printed_text_is_converted():
    assert values.convert_text(values.Ip4(), "16777343") == "127.0.0.1"
    assert values.convert_text(values.Ip4(), "0x100007f") == "127.0.0.1"
    assert values.convert_text(values.Swap(2), "-1") == "65535"
    assert values.convert_text(values.Ip4(), "(fault)") == "(fault)"
    text = "{%s}" % ",".join(["0x0"] * 15 + ["0x1"])
    assert values.convert_text(values.Ip6(), text) == "::1"
    each = values.Each(values.Enum({1: "ONE"}, 32, False))
    assert values.convert_text(each, "{1,2}") == "{ONE,2}" and each.invert("{ONE,2}") == [1, 2]


def test_numbers_are_read_as_the_kernel_reads_them():
    wanted = {"12": 12, "-3": -3, "0x1f": 31, "0X1F": 31, "017": 15, "0": 0, "00": 0, "-0x10": -16}
    assert {text: values.parse_number(text) for text in wanted} == wanted


def test_names_tell():
    assert values.prefix_of("ip_src") == ("ip_", 4) and values.prefix_of("ip6_src") == ("ip6_", 16)
    assert values.prefix_of("B64_x") == ("B64_", 8) and values.prefix_of("ip") is None is values.prefix_of("b8_x")
    assert values.prefix_converter("B16_")(0x5000) == "0x50"
    with pytest.raises(ValueError):
        values.prefix_converter("zip_")
