"""A server of the tests' own: the service without HTTP as a client of lbc.wire, and the front in a thread."""
from __future__ import absolute_import

import json
import os
import socket
import threading

import pytest

from lbc import host
from lbc.errors import LbcError, RemoteError

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_resolvers", "data")
RELEASE, MACHINE = "9.9.9-test", "x86_64"


def hive(folder, machine=MACHINE, release=RELEASE, data=None):
    """A hive in ``folder`` (py.path) with the BTF of test_resolvers' things.c; its path as text."""
    place = folder.join(machine, "btf", "test").ensure(dir=True)
    if data is None:
        with open(os.path.join(DATA, "things.btf"), "rb") as stream:
            data = stream.read()
    place.join("vmlinux-" + release).write_binary(data)
    return str(folder)


def settings(tmpdir, **given):
    """Settings whose cache and hive are below ``tmpdir``; not this machine's kernel."""
    from lbc.server.settings import Settings
    given.setdefault("hive", hive(tmpdir.join("hive")))
    return Settings(cache=str(tmpdir.join("cache")), own_kernel=given.pop("own_kernel", False),
                    workers=given.pop("workers", 2), **given)


def need_clang():
    """Skips where no clang can be run in a jail; else its path."""
    from lbc.server.compiling import find_clang
    try:
        return find_clang()
    except LbcError as error:
        pytest.skip(error.what)


def asked(cmd, **fields):
    """A request about the kernel of the hive."""
    return dict({"cmd": cmd, "ver": RELEASE, "arch": MACHINE}, **fields)


class Direct(object):
    """What lbc.wire.Client is, with a Service in place of the network."""
    url = "direct"

    def __init__(self, service):
        self.service = service

    def ask_one(self, request):
        """As lbc.wire.Client.ask_one."""
        whole = json.loads(self.service.reply(json.dumps([request]).encode("ascii")).body.decode("utf-8"))
        answer = whole["res"][0]
        if answer["log"] != "ok.":
            raise RemoteError(answer["log"])
        return answer


class Running(object):
    """``with Running(settings) as server``: a Front in a thread.  ``lines``: the log, parsed, once it has ended."""

    def __init__(self, settings, token=None, tls=None, facts=None):
        from lbc.server.front import Front, listen
        from lbc.server.metrics import Log
        self.reader, self.writer = os.pipe()
        listener = listen("127.0.0.1:0")
        self.port = listener.getsockname()[1]
        self.address = "127.0.0.1:%d" % self.port
        self.front = Front(settings, listener, token, tls, facts, Log(self.writer))
        self._text, self.failed = [], None
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._read)]

    def _run(self):
        try:
            self.front.run()
        except BaseException as error:
            self.failed = error
            raise

    def _read(self):
        while True:
            piece = os.read(self.reader, 65536)
            if not piece:
                return
            self._text.append(piece)

    @property
    def lines(self):
        """Objects of the log so far."""
        text = b"".join(self._text)
        return [json.loads(line.decode("utf-8")) for line in text[:text.rfind(b"\n") + 1].splitlines()]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc):
        self.front.stop()
        self._threads[0].join(30)
        os.close(self.writer)
        self._threads[1].join(10)
        os.close(self.reader)
        assert self.failed is None

    # -- a client that knows nothing of lbc ----------------------------------------------------------------------------
    def connect(self, seconds=30):
        """A socket."""
        found = socket.create_connection(("127.0.0.1", self.port), seconds)
        return found

    def ask(self, *requests, **how):
        """The parsed body of the answer to a POST; ``headers``: further lines."""
        status, _headers, body = self.http(post(json.dumps(requests), **how))
        return json.loads(body.decode("utf-8")) if status == 200 else (status, body)

    def http(self, data, seconds=30):
        """(status, {header: value}, body) of one exchange."""
        connection = self.connect(seconds)
        try:
            connection.sendall(data)
            return read_answer(connection)[:3]
        finally:
            connection.close()


def post(body, headers="", path="/lbc", version="1.1"):
    """Bytes of a POST."""
    body = body if isinstance(body, bytes) else body.encode("utf-8")
    return ("POST %s HTTP/%s\r\nHost: test\r\n%sContent-Length: %d\r\n\r\n" % (
        path, version, headers, len(body))).encode("ascii") + body


def read_answer(connection, rest=b""):
    """(status, headers, body, bytes after it) of one HTTP answer; EOFError when the connection ends before."""
    data = rest
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise EOFError("ended after %r" % data)
        data += piece
    head, _, data = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict([(line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in lines[1:]])
    length = int(headers.get("content-length", 0))
    while len(data) < length:
        piece = connection.recv(65536)
        if not piece:
            raise EOFError("ended within the body")
        data += piece
    return int(lines[0].split(" ")[1]), headers, data[:length], data[length:]


def this_kernel():
    """Path of the running kernel's BTF; skips where there is none."""
    path = "/sys/kernel/btf/vmlinux"
    if not os.path.exists(path):
        pytest.skip("kernel %s has no BTF" % host.release())
    return path
