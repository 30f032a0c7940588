"""The client's side of the server protocol, version 1: JSON requests in one HTTP POST, answers in the same order.

    POST http://HOST:7655/lbc  [{"cmd": "struct", "struct": "struct iphdr", "ver": "5.10.0", "arch": "x86_64"}, ...]
    {"result": "success", "status": true, "code": 200, "res": [{"log": "ok.", "res": {...}}, ...]}

Nothing of an answer is believed: its size, its time and its shape are limited, and what is wrong is a RemoteError of
one line.  Proxy variables are honoured as urllib does; a redirect leads to the same host or nowhere.
"""
from __future__ import absolute_import

import os
import time

from ._py23 import http_library, integer_types, monotonic, string_types, to_bytes, to_text, to_unicode, url_library
from .errors import InputError, RemoteError

__all__ = ["PORT", "Client", "server_url", "decode", "encode", "one_line"]

PORT = 7655
PATH = "/lbc"
MOST_BYTES = 64 << 20   # of one answer: the BTF of a kernel with all modules is a quarter of it
_MOST_REDIRECTS = 3
_PAUSES = (0.2, 0.6)    # seconds before the second and third try
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"
_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def server_url(server=None):
    """'http://HOST:7655/lbc' of "HOST", "HOST:PORT", "[::1]:PORT" (None: $LBC_SERVER).  InputError when it is none.

    None where no server is configured."""
    text = server if server is not None else os.environ.get("LBC_SERVER", "")
    if not text:
        return None
    name = text[len("http://"):].rstrip("/") if text.startswith("http://") else text
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]") or name.count(":") > 1 and not name.startswith("["):
        host, port = name, str(PORT)
        if name.count(":") > 1 and not name.startswith("["):
            host = "[%s]" % name    # an IPv6 address as it is usually written
    if not host or set(host) - _HOST or not port.isdigit() or not 0 < int(port) < 65536 or len(host) > 255:
        raise InputError("`%s` is no server: HOST or HOST:PORT is wanted%s" % (
            text[:80], "" if server is not None else ", in LBC_SERVER"))
    return "http://%s:%d%s" % (host, int(port), PATH)


def encode(data):
    """Base64 text of bytes."""
    from binascii import b2a_base64
    return to_text(b2a_base64(data)).replace("\n", "")


def decode(answer, field, url=None):
    """Bytes of a base64 field of an answer.  RemoteError when it is none."""
    from binascii import Error, a2b_base64
    text = answer.get(field)
    if not isinstance(text, string_types):
        raise RemoteError("the server's answer has no `%s`" % field, url)
    raw = to_bytes(text)
    try:
        if raw.translate(None, _BASE64):
            raise ValueError("other characters in it")  # a2b_base64 leaves them out
        return a2b_base64(raw)
    except (Error, ValueError) as error:
        raise RemoteError("`%s` of the server's answer is no base64: %s" % (field, error), url)


class Client(object):
    """One server.  ``timeout``: seconds for a whole exchange; ``tries``: how often a connection is tried."""

    def __init__(self, server=None, timeout=30, tries=3, most_bytes=MOST_BYTES):
        self.url = server_url(server)
        if self.url is None:
            raise InputError("no server is configured", hint="give -r HOST or set LBC_SERVER")
        self.timeout, self.tries, self.most_bytes = timeout, tries, most_bytes

    def ask(self, requests):
        """[answer: dict] of [request: dict], in their order.  RemoteError.  An answer's ``log`` is for its reader."""
        import json
        body = to_bytes(json.dumps(requests))
        status, raw = self._exchange(body)
        try:
            whole = json.loads(raw.decode("utf-8"), parse_int=_integer)
        except (ValueError, RuntimeError, MemoryError) as error:   # RuntimeError: nested deeper than Python goes
            raise self._error("its answer is no JSON: %s" % error, status, raw)
        if not isinstance(whole, dict):
            raise self._error("its answer is no JSON object", status, raw)
        answers = whole.get("res")
        if whole.get("status") is not True or whole.get("code", 200) != 200:
            raise self._error("it says: %s" % _reason(answers, whole), whole.get("code"), raw)
        if not isinstance(answers, list) or len(answers) != len(requests):
            raise self._error("%d answers were wanted, it sent %s" % (
                len(requests), len(answers) if isinstance(answers, list) else "none"), status, raw)
        for answer in answers:
            if not isinstance(answer, dict):
                raise self._error("an answer is no JSON object", status, raw)
        return answers

    def ask_one(self, request):
        """The answer of one request; RemoteError when its log is not "ok."."""
        answer = self.ask([request])[0]
        log = answer.get("log")
        if log != "ok.":
            raise self._error("%s: %s" % (request.get("cmd"), one_line(log) if isinstance(log, string_types)
                                          else "its answer has no log"), None, b"")
        return answer

    def _error(self, what, status=None, body=b"", cause=None):
        if not isinstance(status, integer_types):
            status = None
        return RemoteError("server %s: %s" % (self.url, one_line(what)), self.url, status, to_text(bytes(body[:500])),
                           cause)

    # -- HTTP ----------------------------------------------------------------------------------------------------------
    def _exchange(self, body):
        """(HTTP status, body): tries again, with pauses, what failed before the server can have said anything."""
        until = monotonic() + self.timeout
        for number in range(self.tries):
            try:
                return self._post(body, until)
            except _Unreachable as error:
                pause = _PAUSES[min(number, len(_PAUSES) - 1)]
                if number + 1 == self.tries or monotonic() + pause >= until:
                    raise self._error(error.text, cause=error.cause)
                time.sleep(pause)

    def _post(self, body, until):
        library, http = url_library(), http_library()
        deadline = _Deadline(max(0.01, until - monotonic()))
        opener = library.build_opener(_handler(library, http, deadline), _redirects(library, body))
        request = library.Request(self.url, body, {"Content-Type": "application/json", "Accept": "application/json",
                                                   "User-Agent": "lbc"})
        try:
            response = None
            try:
                with deadline:
                    response = opener.open(request, timeout=max(0.01, until - monotonic()))
                    answer = response.getcode(), self._read(response, deadline)
                    if deadline.over:
                        raise self._error("no answer within %g s" % self.timeout)
                    return answer
            finally:
                if response is not None:
                    response.close()
        except RemoteError:
            raise
        except library.HTTPError as error:
            text = "HTTP status %s: %s" % (error.code, error.reason if hasattr(error, "reason") else error.msg)
            try:
                said = error.read(500) if error.fp is not None else b""
            except (EnvironmentError, http.HTTPException, ValueError, AttributeError):
                said = b""
            error.close()
            raise self._error(text, error.code, said, error)
        except library.URLError as error:
            self._failed(deadline, error.reason, error)
        except http.HTTPException as error:
            self._failed(deadline, "%s: %s" % (type(error).__name__, error), error, not deadline.connected)
        except (EnvironmentError, ValueError) as error:
            self._failed(deadline, error, error, not deadline.connected)

    def _failed(self, deadline, why, error, again=True):
        if deadline.over:
            raise self._error("no answer within %g s" % self.timeout, cause=error)
        text = to_text(str(getattr(why, "strerror", None) or why))
        if "timed out" in text:
            raise self._error("no answer within %g s" % self.timeout, cause=error)
        if not again:
            raise self._error(text, cause=error)
        raise _Unreachable(text, error)

    def _read(self, response, deadline):
        """The body, as long as it is not longer than allowed."""
        length = response.headers.get("Content-Length")
        if length is not None and length.isdigit() and int(length) > self.most_bytes:
            raise self._error("its answer has %s bytes, more than the %d allowed" % (length, self.most_bytes))
        pieces, total = [], 0
        while True:
            piece = response.read(1 << 16)
            if not piece:
                break
            total += len(piece)
            if total > self.most_bytes:
                raise self._error("its answer has more than the %d bytes allowed" % self.most_bytes)
            pieces.append(piece)
        if length is not None and length.isdigit() and total < int(length) and not deadline.over:
            raise self._error("its answer ended after %d of %s bytes" % (total, length))
        return b"".join(pieces)


class _Unreachable(Exception):
    """The connection failed before anything of an answer came: trying again may help."""

    def __init__(self, text, cause):
        Exception.__init__(self, text)
        self.text, self.cause = text, cause


class _Deadline(object):
    """Ends a connection when its time is over: a time-out of sockets starts anew with every byte that trickles in."""

    def __init__(self, seconds):
        self.seconds, self.over, self.connected, self._socket, self._timer = seconds, False, False, None, None

    def watch(self, connection):
        """The socket to end: a second handle of it, for 2.7's own is closed as soon as the answer begins."""
        from socket import SOCK_STREAM, fromfd
        self._forget()
        self._socket, self.connected = fromfd(connection.fileno(), connection.family, SOCK_STREAM), True
        if self.over:
            self._end()

    def _end(self):
        self.over = True
        connection = self._socket
        try:
            if connection is not None:
                connection.shutdown(2)  # SHUT_RDWR: the reader sees the end of the file
        except EnvironmentError:
            pass

    def __enter__(self):
        from threading import Timer
        self._timer = Timer(self.seconds, self._end)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_exc):
        self._timer.cancel()
        self._timer.join(1)
        self._forget()

    def _forget(self):
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def _handler(library, http, deadline):
    """urllib handler whose connections the deadline watches."""
    class Connection(http.HTTPConnection):

        def connect(self):
            http.HTTPConnection.connect(self)
            deadline.watch(self.sock)

    class Handler(library.HTTPHandler):

        def http_open(self, request):
            return self.do_open(Connection, request)
    return Handler()


def _redirects(library, body):
    """urllib handler that follows redirects on the same host and port only, and posts again there."""
    class Redirects(library.HTTPRedirectHandler):
        max_redirections = _MOST_REDIRECTS

        def redirect_request(self, request, stream, code, message, headers, url):
            old, new = _origin(request.get_full_url()), _origin(url)
            if new != old:
                raise RemoteError("server %s: redirects to another place, %s: refused" % (
                    request.get_full_url(), one_line(url)), request.get_full_url(), code)
            return library.Request(url, body, dict(request.header_items()))
        http_error_307 = http_error_308 = library.HTTPRedirectHandler.http_error_302
    return Redirects()


def _origin(url):
    """('http', 'host:port') of a URL."""
    scheme, _, rest = url.partition("://")
    for stop in "/?#\\":
        rest = rest.partition(stop)[0]
    return scheme.lower(), rest.lower()


def _integer(digits):
    """int of a number in JSON; the time that a million digits take grows with their square."""
    if len(digits) > 40:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)


def one_line(text, most=300):
    """Somebody else's text as one line that moves no terminal's cursor."""
    text = u" ".join(to_unicode(to_text(text)[:4 * most]).split())[:most]
    return to_text(u"".join([u"?" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text]))


def _reason(answers, whole):
    """What the server says of a failure."""
    if isinstance(answers, list) and answers and isinstance(answers[0], dict):
        log = answers[0].get("log")
        if isinstance(log, string_types):
            return one_line(log)
    return "failed, with code %s" % one_line(str(whole.get("code")))
