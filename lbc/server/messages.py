"""HTTP/1.1 as far as the server speaks it (RFC 9112): bytes -> requests, as they trickle in, and answers -> bytes.

What could be read in two ways (two lengths, length and chunks, blanks before a colon) is refused: between a load
balancer and us it would let one client speak in another's name (request smuggling).
"""
from __future__ import absolute_import

from .._py23 import to_bytes, to_text

__all__ = ["Request", "Parser", "Refused", "answer", "REASONS"]

MOST_HEAD = 16384
MOST_HEADERS = 64
_MOST_CHUNK_LINE = 128
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 411: "Length Required", 413: "Content Too Large", 417: "Expectation Failed",
           431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
           503: "Service Unavailable", 505: "HTTP Version Not Supported"}
_TOKEN = frozenset(bytearray(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"))
_HEX = frozenset(bytearray(b"0123456789abcdefABCDEF"))


class Refused(Exception):
    """The bytes are no request that is answered: ``status`` and ``why``; the connection ends."""

    def __init__(self, status, why):
        Exception.__init__(self, why)
        self.status, self.why = status, why


class Request(object):
    """``method``, ``path`` (without query), ``headers`` {lower-case name: text}, ``body`` bytes, ``keep``: may the
    connection go on?  ``size``: bytes of the body, also when it was taken out."""
    __slots__ = ("method", "path", "headers", "body", "keep", "size")

    def __init__(self, method, path, headers, keep):
        self.method, self.path, self.headers, self.keep = method, path, headers, keep
        self.body, self.size = b"", 0


class Parser(object):
    """One connection's input.  `feed` bytes, then `next` until it is None.  ``most_body``: bytes."""
    __slots__ = ("most_body", "_data", "_request", "_length", "_chunks", "_size", "_known", "wants_go_on")

    def __init__(self, most_body):
        self.most_body, self._data = most_body, bytearray()
        self._request, self._length, self._chunks, self._size = None, 0, None, 0
        self._known = {}    # head bytes -> what they mean: a client repeats itself
        self.wants_go_on = False    # it waits for "100 Continue" before it sends the body

    @property
    def buffered(self):
        """Bytes held."""
        return len(self._data) + self._size

    @property
    def begun(self):
        """Is a request under way?"""
        return self._request is not None or bool(self._data)

    @property
    def in_body(self):
        """Is the head read, and the body awaited?"""
        return self._request is not None

    def feed(self, data):
        """More bytes."""
        self._data += data

    def next(self):
        """The next whole Request, or None.  Refused."""
        if self._request is None and not self._head():
            return None
        if self._chunks is not None:
            if not self._chunk():
                return None
            body = b"".join(self._chunks)
        else:
            if len(self._data) < self._length:
                return None
            body = bytes(self._data[:self._length])
            del self._data[:self._length]
        request, self._request, self._chunks, self._size = self._request, None, None, 0
        self.wants_go_on = False
        request.body, request.size = body, len(body)
        return request

    # -- head ----------------------------------------------------------------------------------------------------------
    def _head(self):
        data = self._data
        while data[:2] == b"\r\n":      # RFC 9112 2.2: empty lines before a request are ignored
            del data[:2]
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MOST_HEAD:
                raise Refused(431, "the head has more than %d bytes" % MOST_HEAD)
            if data.find(b"\n\n") >= 0:
                raise Refused(400, "lines end with CR LF")
            return False
        if end > MOST_HEAD:
            raise Refused(431, "the head has more than %d bytes" % MOST_HEAD)
        head = bytes(data[:end])
        del data[:end + 4]
        known = self._known.get(head)
        if known is None:
            known = _parse(head)
            self._known = {head: known}
        method, path, headers, keep = known
        self._request = Request(method, path, headers, keep)
        self._length, self._chunks, self._size = 0, None, 0
        self._framing(headers, method)
        return True

    def _framing(self, headers, method):
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if length is not None:
                raise Refused(400, "both a length and a transfer coding")
            if coding.lower() != "chunked":
                raise Refused(501, "transfer coding `%s`" % coding[:40])
            self._chunks = []
        elif length is not None:
            if not length.isdigit() or len(length) > 15:
                raise Refused(400, "Content-Length is no number")
            self._length = int(length)
            if self._length > self.most_body:
                raise Refused(413, "the body has %s bytes, %d are allowed" % (length, self.most_body))
        elif method == "POST":
            raise Refused(411, "a POST needs Content-Length or chunks")
        expected = headers.get("expect")
        if expected is not None:
            if expected.lower() != "100-continue":
                raise Refused(417, "expectation `%s`" % expected[:40])
            self.wants_go_on = bool(self._length or self._chunks is not None)

    # -- chunks --------------------------------------------------------------------------------------------------------
    def _chunk(self):
        """Take whole chunks; True at the end of the body."""
        data = self._data
        while True:
            end = data.find(b"\r\n")
            if end < 0 or end > _MOST_CHUNK_LINE:
                if len(data) > _MOST_CHUNK_LINE:
                    raise Refused(400, "a chunk without a size")
                return False
            size = data[:end].partition(b";")[0].strip(b" \t")
            if not size or len(size) > 8 or set(size) - _HEX:
                raise Refused(400, "a chunk without a size")
            count = int(bytes(size), 16)
            if self._size + count > self.most_body:
                raise Refused(413, "the body has more than %d bytes" % self.most_body)
            if not count:
                return self._trailer(end + 2)
            if len(data) < end + 4 + count:
                return False
            if data[end + 2 + count:end + 4 + count] != b"\r\n":
                raise Refused(400, "a chunk is longer than its size")
            self._chunks.append(bytes(data[end + 2:end + 2 + count]))
            self._size += count
            if len(self._chunks) > 1024:    # many small ones cost more memory than bytes
                self._chunks = [b"".join(self._chunks)]
            del data[:end + 4 + count]

    def _trailer(self, start):
        data = self._data
        if data[start:start + 2] == b"\r\n":
            del data[:start + 2]
            return True
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            if len(data) - start > MOST_HEAD:
                raise Refused(431, "the trailer has more than %d bytes" % MOST_HEAD)
            return False
        del data[:end + 4]      # trailer fields mean nothing here
        return True


def _parse(head):
    """(method, path, headers, keep) of a head without its last empty line."""
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ")
    if len(words) != 3 or not words[0] or set(bytearray(words[0])) - _TOKEN:
        raise Refused(400, "the first line is no request")
    version = words[2]
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(505 if version.startswith(b"HTTP/") else 400, "HTTP/1.1 is spoken here")
    if len(lines) - 1 > MOST_HEADERS:
        raise Refused(431, "more than %d header fields" % MOST_HEADERS)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or set(bytearray(name)) - _TOKEN:
            raise Refused(400, "a header field is none")
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise Refused(400, "control characters in a header field")
        key = to_text(name).lower()
        if key in headers and key in ("content-length", "transfer-encoding", "host", "authorization", "expect"):
            raise Refused(400, "two header fields %s" % key)
        headers[key] = to_text(value.strip(b" \t"))
    if version == b"HTTP/1.1" and "host" not in headers:
        raise Refused(400, "no Host")
    options = headers.get("connection", "").lower()
    keep = version == b"HTTP/1.1" and "close" not in options
    path = words[1]
    if path.startswith(b"http://") or path.startswith(b"https://"):     # RFC 9112 3.2.2: accepted by every server
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    path = path.partition(b"?")[0]
    if not path.startswith(b"/"):
        raise Refused(400, "the first line is no request")
    return to_text(words[0]), to_text(path), headers, keep


def answer(status, body, kind="application/json", keep=True, extra="", with_body=True):
    """Bytes of a whole answer.  ``extra``: further header lines, each with its CR LF."""
    head = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n" % (
        status, REASONS[status], kind, len(body), extra, "" if keep else "Connection: close\r\n")
    return to_bytes(head) + (body if with_body else b"")
