"""The client of the server protocol against servers in a thread: polite ones, wrong ones, slow ones, and none."""
from __future__ import absolute_import

import json
import socket
import threading
import time

import pytest

from lbc import wire
from lbc.errors import InputError, RemoteError
from tests.httpkit import Server, send


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "LBC_SERVER"):
        monkeypatch.delenv(name, raising=False)


def echo(requests):
    return [{"log": "ok.", "res": request["what"]} for request in requests]


def ask(raw, requests=({"cmd": "x", "what": 1},), **options):
    """Answers, or the RemoteError's text, of one exchange with a server that does ``raw(handler, body)``."""
    with Server(raw=raw) as server:
        with pytest.raises(RemoteError) as caught:
            wire.Client(server.address, **options).ask(list(requests))
    assert "\n" not in str(caught.value) and server.address in str(caught.value)
    assert caught.value.url == "http://%s/lbc" % server.address
    return str(caught.value)


@pytest.mark.parametrize("text, url", [
    ("example.com", "http://example.com:7655/lbc"), ("example.com:80", "http://example.com:80/lbc"),
    ("10.0.0.1", "http://10.0.0.1:7655/lbc"), ("[::1]", "http://[::1]:7655/lbc"),
    ("[::1]:8080", "http://[::1]:8080/lbc"),
    ("fe80::1", "http://[fe80::1]:7655/lbc"), ("http://example.com/", "http://example.com:7655/lbc"),
])
def test_addresses(text, url):
    assert wire.server_url(text) == url


@pytest.mark.parametrize("text", ["a b", "host:", "host:0", "host:99999", "host:x", "me@host", "host/path", "host?x",
    "file:///etc",
                                  "https://host", "host\n", "host#", "h\0st", ":7655", "x" * 300])
def test_no_addresses(text):
    with pytest.raises(InputError) as caught:
        wire.server_url(text)
    assert "is no server" in str(caught.value)


def test_the_environment(monkeypatch):
    assert wire.server_url() is None
    with pytest.raises(InputError) as caught:
        wire.Client()
    assert "LBC_SERVER" in str(caught.value)
    monkeypatch.setenv("LBC_SERVER", "example.com")
    assert wire.server_url() == "http://example.com:7655/lbc" and wire.server_url("other:1") == "http://other:1/lbc"
    monkeypatch.setenv("LBC_SERVER", "a b")
    with pytest.raises(InputError) as caught:
        wire.server_url()
    assert "in LBC_SERVER" in str(caught.value)


def test_requests_go_in_one_post_and_answers_keep_their_order():
    requests = [{"cmd": "struct", "what": number, "text": u"\xe9"} for number in range(5)]
    with Server(echo) as server:
        answers = wire.Client(server.address).ask(requests)
    assert [answer["res"] for answer in answers] == [0, 1, 2, 3, 4]
    (path, headers, body), = server.asked
    assert path == "/lbc" and json.loads(body.decode("ascii")) == requests
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["content-type"] == "application/json"


def test_the_log_is_the_reason():
    with Server(lambda requests: [{"log": "no such\n  db"} for _ in requests]) as server:
        client = wire.Client(server.address)
        with pytest.raises(RemoteError) as caught:
            client.ask_one({"cmd": "struct"})
    assert "struct: no such db" in str(caught.value) and "\n" not in str(caught.value)
    with Server(lambda requests: [{"res": 1}]) as server:
        with pytest.raises(RemoteError) as caught:
            wire.Client(server.address).ask_one({"cmd": "struct"})
    assert "has no log" in str(caught.value)


GOOD = '{"result": "success", "status": true, "code": 200, "res": [{"log": "ok."}]}'


@pytest.mark.parametrize("text, words", [
    ("", "no JSON"), ("<html>not found</html>", "no JSON"), (b"\xff\xfe\0", "no JSON"), ("[" * 100000, "no JSON"),
    ('{"a":' * 100000, "no JSON"), (GOOD[:-5], "no JSON"), ('{"status": true, "code": %s}' % ("9" * 1000000),
    "no JSON"),
    ("[]", "no JSON object"), ("3", "no JSON object"), ("null", "no JSON object"), ("{}", "it says"),
    ('{"status": false, "code": 500, "res": [{"log": "cannot\\n parse"}]}', "it says: cannot parse"),
    ('{"status": "yes", "code": 200, "res": [{}]}', "it says"),
    ('{"status": true, "code": 404, "res": [{}]}', "it says"),
    ('{"status": true, "code": 200, "res": {"log": "ok."}}', "1 answers were wanted, it sent none"),
    ('{"status": true, "code": 200, "res": []}', "it sent 0"), ('{"status": true, "code": 200}', "it sent none"),
    ('{"status": true, "code": 200, "res": [1]}', "an answer is no JSON object"),
    ('{"status": true, "code": 200, "res": [[], []]}', "it sent 2"),
    ('{"status": true, "code": {"a": 1}, "res": [{}]}', "it says"),
])
def test_answers_that_are_none(text, words):
    assert words in ask(lambda handler, body: send(handler, text))


def test_http_errors():
    assert "HTTP status 404" in ask(lambda handler, body: send(handler, "nothing here", 404))
    with Server(raw=lambda handler, body: send(handler, "broken inside", 500)) as server:
        with pytest.raises(RemoteError) as caught:
            wire.Client(server.address).ask([{}])
    assert (caught.value.status, caught.value.body) == (500, "broken inside") and len(server.asked) == 1
    assert "HTTP status 407" in ask(lambda handler, body: send(handler, "", 407))
    assert "HTTP status 401" in ask(lambda handler, body: send(handler, "", 401))


def test_size_is_limited():
    assert "more than the 1000 allowed" in ask(lambda handler, body: send(handler, "x" * 2000), most_bytes=1000)
    assert "more than the 1000 bytes allowed" in ask(
        lambda handler, body: send(handler, "x" * 5000, headers=[("Content-Length", None)]), most_bytes=1000)
    assert "allowed" in ask(lambda handler, body: send(handler, "x", headers=[("Content-Length", "9" * 30)]))
    assert "no JSON" in ask(lambda handler, body: send(handler, GOOD + "x", headers=[("Content-Length", "-5")]))


def test_answers_that_end_early():
    assert "ended after" in ask(lambda handler, body: send(handler, GOOD, headers=[("Content-Length", "5000")]))
    ask(lambda handler, body: None)             # the connection closes without a word
    ask(lambda handler, body: handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc"))
    ask(lambda handler, body: handler.wfile.write(b"\0\1\2 not HTTP\r\n\r\n"))
    ask(lambda handler, body: handler.wfile.write(b"HTTP/1.1 999999 ?\r\n" + b"a: b\r\n" * 5000 + b"\r\n"))
    ask(lambda handler, body: handler.wfile.write(b"HTTP/1.1 200 " + b"x" * 100000))


def slowly(handler, body):
    """A byte now and then, so that no time-out of the socket ever comes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def slow_headers(handler, body):
    for _ in range(60):
        handler.wfile.write(b"H")
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("raw", [slowly, slow_headers, lambda handler, body: time.sleep(2)],
    ids=["body", "headers", "silence"])
def test_time_is_limited(raw):
    started = time.time()
    with Server(raw=raw) as server:
        with pytest.raises(RemoteError) as caught:
            wire.Client(server.address, timeout=0.6).ask([{}])
        assert time.time() - started < 2 and "within 0.6 s" in str(caught.value)


def test_redirects():
    with Server(echo) as other:
        for place in ("http://%s/lbc" % other.address, "http://example.com/", "file:///etc/passwd", "ftp://127.0.0.1/",
                      "http://evil@127.0.0.1:1/", "//%s/x" % other.address):
            for status in (301, 302, 303, 307, 308):
                text = ask(lambda handler, body: send(handler, "", status, [("Location", place)]))
                assert "refused" in text or "HTTP status" in text
        assert other.asked == []
    assert "HTTP status 302" in ask(lambda handler, body: send(handler, "", 302, [("Location", "/again")]))

    def once(handler, body):
        if handler.path == "/lbc":
            send(handler, "", status, [("Location", "/elsewhere")])
        else:
            send(handler, json.dumps({"status": True, "code": 200, "res": [{"log": "ok.", "res": handler.command}]}))
    for status in (301, 302, 307, 308):
        with Server(raw=once) as server:
            assert wire.Client(server.address).ask([{"cmd": "x"}])[0]["res"] == "POST"
        assert [row[0] for row in server.asked] == ["/lbc", "/elsewhere"] and server.asked[0][2] == server.asked[1][2]


def free_port():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    return port


def test_what_cannot_be_reached_is_tried_again(monkeypatch):
    pauses, port = [], free_port()
    monkeypatch.setattr(wire.time, "sleep", pauses.append)
    with pytest.raises(RemoteError) as caught:
        wire.Client("127.0.0.1:%d" % port).ask([{}])
    assert "refused" in str(caught.value).lower() and len(pauses) == 2 and pauses[0] < pauses[1]
    del pauses[:]
    with pytest.raises(RemoteError):
        wire.Client("127.0.0.1:%d" % port, tries=1).ask([{}])
    assert pauses == []
    servers = []

    def start(seconds):
        servers.append(Server(echo, port=port))
        servers[0].__enter__()
    monkeypatch.setattr(wire.time, "sleep", start)
    try:
        assert wire.Client("127.0.0.1:%d" % port).ask([{"what": 7}]) == [{"log": "ok.", "res": 7}]
    finally:
        servers[0].__exit__(None, None, None)
    assert len(servers) == 1


def test_an_unknown_host_is_one_line():
    with pytest.raises(RemoteError) as caught:
        wire.Client("no-such-host.invalid", tries=1, timeout=20).ask([{}])
    assert "\n" not in str(caught.value) and "no-such-host.invalid" in str(caught.value)


def test_proxies_are_honoured(monkeypatch):
    with Server(echo) as proxy:
        monkeypatch.setenv("http_proxy", "http://" + proxy.address)
        assert wire.Client("example.invalid").ask([{"what": 3}])[0]["res"] == 3
        assert proxy.asked[0][0] == "http://example.invalid:7655/lbc"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Server(echo) as server:
            assert wire.Client(server.address).ask([{"what": 4}])[0]["res"] == 4
        assert len(proxy.asked) == 1 and server.asked[0][0] == "/lbc"


def test_threads_are_gone():
    with Server(echo) as server:
        wire.Client(server.address).ask([{"what": 1}])
    assert [thread for thread in threading.enumerate() if "Timer" in type(thread).__name__
        or "Timer" in thread.name] == []


def test_binary_fields():
    for data in (b"", b"\0", bytes(bytearray(range(256))) * 40):
        text = wire.encode(data)
        assert "\n" not in text and wire.decode({"obj": text}, "obj") == data
        assert wire.decode({"obj": json.loads(json.dumps(text))}, "obj") == data
    for answer in ({}, {"obj": None}, {"obj": 5}, {"obj": ["AA=="]}, {"obj": "A"}, {"obj": u"\xe9"}):
        with pytest.raises(RemoteError) as caught:
            wire.decode(answer, "obj", "http://x/")
        assert "obj" in str(caught.value) and caught.value.url == "http://x/"
