"""HTTP/1.1: the same requests in pieces of every size, what two readers could read in two ways, limits, noise."""
from __future__ import absolute_import

import random

import pytest

from lbc.server import messages
from lbc.server.messages import Parser, Refused, answer


def parse(data, step=None, most=1000):
    """[(method, path, body, keep)] of bytes fed in pieces of ``step``."""
    parser, found = Parser(most), []
    for at in range(0, len(data), step or len(data)):
        parser.feed(data[at:at + (step or len(data))])
        while True:
            request = parser.next()
            if request is None:
                break
            found.append((request.method, request.path, request.body, request.keep))
    return found


TWO = (
    b"\r\nPOST /lbc?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /lbc HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=1\r\nwiki\r\n"
    b"5\r\npedia\r\n0\r\nT: x\r\n\r\n"
    b"GET http://a/healthz HTTP/1.0\r\n\r\n"
    b"HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
WANTED = [("POST", "/lbc", b"hello", True), ("POST", "/lbc", b"wikipedia", True), ("GET", "/healthz", b"", False),
          ("HEAD", "/metrics", b"", False)]


@pytest.mark.parametrize("step", list(range(1, 20)) + [64, None])
def test_pieces(step):
    assert parse(TWO, step) == WANTED


HEAD = b"POST /lbc HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "data, status",
    [
        (HEAD + b"\r\n", 411),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),  # request smuggling
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5, 5\r\n\r\n", 400),
        (HEAD + b"Content-Length: +5\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 0x5\r\n\r\n", 400),
        (HEAD + b"Content-Length : 5\r\n\r\n", 400),
        (HEAD + b" Content-Length: 5\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\n\r\n\r\n", 400),
        (HEAD + b"X: a\rb\r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 200, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b"x" * 256 + b"\r\n" + b"2f0\r\n", 413),
        (HEAD + b"Content-Length: 5\r\nExpect: tea\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 64 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000, 431),
        (b"GET /" + b"y" * 20000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_refused(data, status):
    with pytest.raises(Refused) as caught:
        parse(data)
    assert caught.value.status == status and caught.value.why
    assert status in messages.REASONS


def test_a_client_that_waits_before_its_body():
    parser = Parser(100)
    parser.feed(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert parser.next() is None and parser.wants_go_on and parser.in_body
    parser.feed(b"ab")
    assert parser.next().body == b"ab" and not parser.wants_go_on


def test_held_bytes_are_counted():
    parser = Parser(100000)
    parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000)
    assert parser.next() is None and parser.buffered == 5000
    parser.feed(b"0\r\n\r\n")
    assert parser.next().body == b"a" * 5000 and parser.buffered == 0 and not parser.begun


def test_noise_is_a_request_or_refused():
    generator = random.Random(11)
    for _ in range(3000):
        data = bytearray(TWO)
        for _ in range(generator.randint(1, 6)):
            at = generator.randrange(len(data))
            if generator.random() < 0.5:
                data[at] = generator.randrange(256)
            elif generator.random() < 0.5:
                del data[at:at + generator.randint(1, 20)]
            else:
                data[at:at] = generator.choice(
                    [b"\r\n", b"\n", b" ", b"\0", b":", b"0\r\n\r\n", b"Content-Length: 3\r\n"]
                )
        try:
            for method, path, body, _keep in parse(bytes(data), generator.choice([1, 7, None])):
                assert method and path.startswith("/") and len(body) <= 1000
        except Refused as error:
            assert error.status in messages.REASONS


def test_answer():
    assert answer(200, b"ok", keep=False) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" b"Connection: close\r\n\r\nok"
    )
    assert answer(405, b"no", extra="Allow: POST\r\n", with_body=False).endswith(
        b"Content-Length: 2\r\nAllow: POST\r\n\r\n")
