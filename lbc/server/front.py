"""The server of one host: one process that holds all connections and only moves bytes (epoll); workers do the rest.

An answer that is kept in memory goes out as it is, found by the hash of the request's body.  Every connection has a
deadline for what it is doing, so one that trickles (slow loris) costs a few kilobytes until then, and no thread.
"""
from __future__ import absolute_import

import errno
import os
import select

from .._py23 import monotonic, to_bytes
from .lanes import Job, Lanes
from .memory import Memory
from .messages import Parser, Refused, answer
from .metrics import Log, Metrics
from .service import failure

__all__ = ["Front", "listen", "tls_context"]

PATH = "/lbc"
MOST_CONNECTIONS = 2048
MOST_BUFFERED = 256 << 20   # bytes of all requests that are being received
IDLE, HEAD, BODY, SEND, LINGER, DRAIN = 75, 10, 60, 60, 2, 10   # seconds; each phase of a request has its own
_PHASES = IDLE, HEAD, BODY
_READ = 1 << 16
# EAGAIN, and of sockets with TLS SSL_ERROR_WANT_READ and _WANT_WRITE, which have their numbers in the same place
_LATER = errno.EAGAIN, 2, 3
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def listen(address, backlog=512):
    """Listening socket of "HOST:PORT", "[::1]:PORT"; port 0: any.  InputError."""
    import socket

    from ..errors import InputError
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InputError("`%s` is no HOST:PORT" % address)
    try:
        family, kind, proto, _name, where = socket.getaddrinfo(host or None, int(port), 0, socket.SOCK_STREAM, 0,
                                                               socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, proto)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(where)
            found.listen(backlog)
            found.setblocking(False)
        except BaseException:
            found.close()
            raise
    except EnvironmentError as error:
        raise InputError("cannot listen on %s: %s" % (address, error.strerror or error), error)
    return found


def tls_context(cert, key):
    """ssl.SSLContext of a server.  InputError when the files are of no use."""
    import ssl

    from ..errors import InputError
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
    except (EnvironmentError, ValueError) as error:
        raise InputError("certificate %s, key %s: %s" % (cert, key, error), error)
    return context


class Connection(object):
    """One client."""
    __slots__ = ("socket", "fd", "peer", "parser", "out", "deadline", "phase", "job", "request", "since", "closing",
                 "lingering", "mask", "handshake", "buffered", "open")

    def __init__(self, stream, peer, most_body, now):
        self.socket, self.fd, self.peer = stream, stream.fileno(), peer
        self.parser, self.out, self.deadline = Parser(most_body), memoryview(b""), now + HEAD
        self.phase, self.job, self.request, self.since, self.mask = 0, None, None, now, 0
        self.closing = self.lingering = self.handshake = False
        self.buffered, self.open = 0, True


class Front(object):
    """``run()`` until `stop`.  ``token``: text that clients must send, or None; ``facts``: what /healthz tells."""

    def __init__(self, settings, listener, token=None, tls=None, facts=None, log=None):
        from hashlib import sha256
        from hmac import compare_digest
        self.settings, self.listener, self.tls, self.facts = settings, listener, tls, facts or {}
        self._token = to_bytes("Bearer " + token) if token else None
        self._hash, self._compare = sha256, compare_digest
        self.log, self.metrics = log or Log(), Metrics(self._gauges)
        self._epoll = select.epoll()
        self._connections, self._helpers = {}, {}
        self._memory, self._jobs = Memory(), {}
        self._buffered, self._stopping, self._next_tick = 0, 0, 0
        self._wake = os.pipe()
        self.lanes = Lanes(settings, self._watch_helper, self._done, self._failed, self._died)

    def _gauges(self):
        return {"lbc_connections": len(self._connections), "lbc_waiting": self.lanes.waiting,
                "lbc_running": self.lanes.running, "lbc_workers": self.lanes.count,
                "lbc_memory_answers": len(self._memory)}

    # -- the loop ------------------------------------------------------------------------------------------------------
    def stop(self):
        """From a signal handler or another thread: take nothing new, finish what is under way, return."""
        if not self._stopping:
            self._stopping = monotonic() + DRAIN
        os.write(self._wake[1], b"x")

    def run(self):
        """Serve until `stop`."""
        poll, listening = self._epoll, self.listener.fileno()
        poll.register(self._wake[0], select.EPOLLIN)
        poll.register(listening, select.EPOLLIN)
        self.lanes.start()
        try:
            while not self._stopping or self._busy():
                try:
                    events = poll.poll(0.25 if self.lanes.waiting or self._stopping else 1)
                except EnvironmentError as error:
                    if error.errno != errno.EINTR:
                        raise
                    continue
                now = monotonic()
                for fd, what in events:
                    if fd in self._connections:
                        self._event(self._connections[fd], what, now)
                    elif fd == listening and self.listener is not None:     # it may close within this round
                        self._accept(now)
                    elif fd in self._helpers:
                        self.lanes.event(self._helpers[fd], what & ~select.EPOLLOUT, now)
                    elif fd == self._wake[0]:
                        os.read(fd, 64)
                        self._close_idle()
                if now >= self._next_tick:
                    self._next_tick = now + 0.25
                    self._tick(now)
                self.log.flush()
        finally:
            self._end()

    def _busy(self):
        return monotonic() < self._stopping and any([c.request is not None or len(c.out) or c.parser.begun
                                                     for c in self._connections.values()])

    def _close_idle(self):
        """At the end: nobody new, and those who say nothing go."""
        if self._stopping and self.listener is not None:
            self._epoll.unregister(self.listener.fileno())
            self.listener.close()
            self.listener = None
            for connection in list(self._connections.values()):
                if connection.request is None and not len(connection.out) and not connection.parser.begun:
                    self._close(connection)

    def _end(self):
        self.lanes.close()
        for connection in list(self._connections.values()):
            self._close(connection)
        if self.listener is not None:
            self.listener.close()
        self._epoll.close()
        for fd in self._wake:
            os.close(fd)
        self.log.flush()

    def _tick(self, now):
        for connection in list(self._connections.values()):
            if now > connection.deadline and connection.request is None:
                if connection.parser.begun and not len(connection.out) and not (
                        connection.handshake or connection.lingering):
                    self._refuse(connection, 408, "the request took too long", now)
                else:
                    self._close(connection)
        self.lanes.tick(now)

    # -- connections ---------------------------------------------------------------------------------------------------
    def _accept(self, now):
        for _ in range(64):
            try:
                stream, address = self.listener.accept()
            except EnvironmentError as error:
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EINTR):
                    self.log.event("accept failed", error=str(error))   # no descriptors left: the backlog waits
                return
            if len(self._connections) >= MOST_CONNECTIONS:
                self.metrics.add("lbc_refused_total", 'why="connections"')
                stream.close()
                continue
            try:
                stream.setblocking(False)
                stream.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: an answer is one write
                if self.tls is not None:
                    stream = self.tls.wrap_socket(stream, server_side=True, do_handshake_on_connect=False)
            except EnvironmentError:
                stream.close()
                continue
            connection = Connection(stream, address[0], self.settings.most_body, now)
            connection.handshake = self.tls is not None
            self._connections[connection.fd] = connection
            self._epoll.register(connection.fd, select.EPOLLIN)
            connection.mask = select.EPOLLIN

    def _want(self, connection, mask):
        if connection.mask != mask:
            connection.mask = mask
            self._epoll.modify(connection.fd, mask)

    def _close(self, connection):
        if not connection.open:
            return
        connection.open = False
        del self._connections[connection.fd]
        self._buffered -= connection.buffered
        self._epoll.unregister(connection.fd)
        connection.socket.close()
        job, connection.job = connection.job, None
        if job is not None:
            job.waiters.remove(connection)
            if not job.waiters and self.lanes.drop(job):
                self._jobs.pop(job.key, None)

    def _event(self, connection, what, now):
        if connection.handshake:
            return self._shake(connection)
        if what & (select.EPOLLERR | select.EPOLLHUP):
            return self._close(connection)
        if len(connection.out):
            return self._send(connection, now)
        return self._linger(connection) if connection.lingering else self._receive(connection, now)

    def _shake(self, connection):
        import ssl
        try:
            connection.socket.do_handshake()
            connection.handshake = False
            self._want(connection, select.EPOLLIN)
        except ssl.SSLWantReadError:
            self._want(connection, select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._want(connection, select.EPOLLOUT)
        except (EnvironmentError, ValueError):
            self._close(connection)

    def _receive(self, connection, now):
        if connection.request is not None:
            # It has an answer to come.  What it sends meanwhile waits in its socket; an end means that it left.
            try:
                gone = self.tls is None and not connection.socket.recv(1, 2)    # MSG_PEEK
            except EnvironmentError as error:
                gone = error.errno not in _LATER
            return self._close(connection) if gone else self._want(connection, 0)
        ended = False
        for _ in range(8):
            try:
                piece = connection.socket.recv(_READ)
            except (EnvironmentError, ValueError) as error:
                if getattr(error, "errno", None) in _LATER:
                    break
                return self._close(connection)
            if not piece:
                ended = True
                break
            connection.parser.feed(piece)
            if len(piece) < _READ and self.tls is None:
                break
        self._advance(connection, now)
        if ended and connection.open and not len(connection.out):
            self._close(connection)

    def _advance(self, connection, now):
        """Answer what is there, one request after the other."""
        parser = connection.parser
        while connection.open and connection.request is None and not len(connection.out) and not connection.closing:
            try:
                request = parser.next()
            except Refused as error:
                return self._refuse(connection, error.status, error.why, now)
            held = parser.buffered
            self._buffered += held - connection.buffered
            connection.buffered = held
            if request is None:
                if held > _READ and self._buffered > MOST_BUFFERED:
                    self.metrics.add("lbc_refused_total", 'why="memory"')
                    return self._refuse(connection, 503, "too much is being received: try again in a moment", now)
                if parser.wants_go_on:
                    parser.wants_go_on = False
                    self._put(connection, b"HTTP/1.1 100 Continue\r\n\r\n", now)
                    continue
                phase = 2 if parser.in_body else 1 if parser.begun else 0
                if phase != connection.phase:   # its deadline is set once, however it trickles
                    connection.phase, connection.deadline = phase, now + _PHASES[phase]
                return self._want(connection, select.EPOLLIN)
            connection.request, connection.since = request, now
            self._handle(connection, request, now)

    # -- requests ------------------------------------------------------------------------------------------------------
    def _handle(self, connection, request, now):
        method, path = request.method, request.path
        if path == PATH and method == "POST":
            if not self._allowed(request):
                return self._respond(connection, 401, failure(401, "a token is wanted: Authorization: Bearer TOKEN"),
                                     now, extra="WWW-Authenticate: Bearer\r\n")
            self.metrics.add("lbc_received_bytes_total", number=len(request.body))
            return self._question(connection, request, now)
        if path not in (PATH, "/healthz", "/metrics"):
            return self._respond(
                connection, 404, failure(404, "POST /lbc, GET /healthz and GET /metrics are served"), now
            )
        if path == PATH or method not in ("GET", "HEAD"):
            allow = "POST" if path == PATH else "GET, HEAD"
            return self._respond(connection, 405, failure(405, "%s takes %s" % (path, allow)), now,
                                 extra="Allow: %s\r\n" % allow)
        if path == "/metrics":
            if not self._allowed(request):
                return self._respond(connection, 401, b"a token is wanted\n", now, "text/plain",
                                     extra="WWW-Authenticate: Bearer\r\n")
            return self._respond(connection, 200, self.metrics.text(), now, _TEXT)
        return self._healthz(connection, now)

    def _allowed(self, request):
        return self._token is None or self._compare(to_bytes(request.headers.get("authorization", "")), self._token)

    def _healthz(self, connection, now):
        from json import dumps
        full = any([len(queue) >= self.settings.queue for queue in self.lanes.queues.values()])
        state = "stopping" if self._stopping else "busy" if full else "ok"
        facts = dict(self.facts, status=state, waiting=self.lanes.waiting, running=self.lanes.running)
        self._respond(connection, 200 if state == "ok" else 503, to_bytes(dumps(facts, sort_keys=True) + "\n"), now)

    def _question(self, connection, request, now):
        key = self._hash(request.body).digest()
        kept = self._memory.get(key, now)
        if kept is not None:
            body, facts = kept
            for fact in facts:
                self.metrics.add("lbc_requests_total", fact[2])
            return self._respond(connection, 200, body, now, facts=facts)
        job = self._jobs.get(key)
        if job is None:
            job = Job(key, request.body, self.lanes.lane_of(request.body), connection.peer, now)
            job.waiters.append(connection)
            connection.job, self._jobs[key] = job, job
            if not self.lanes.put(job, now):
                del self._jobs[key]
                connection.job = None
                self.metrics.add("lbc_refused_total", 'why="queue"')
                return self._respond(
                    connection,
                    200,
                    failure(503, "the server is busy: %d requests wait; try again in a " "moment" % self.lanes.waiting),
                    now,
                )
        else:
            job.waiters.append(connection)
            connection.job = job
        request.body = b""
        self._want(connection, select.EPOLLIN)

    # -- replies of workers --------------------------------------------------------------------------------------------
    def _watch_helper(self, helper):
        fd = helper.fileno()
        mask = select.EPOLLIN | (select.EPOLLOUT if helper.writing else 0)
        known = self._helpers.get(fd)
        if known is not helper:
            self._helpers[fd] = helper
            self._epoll.register(fd, mask)  # closing the one that had this number took it out
        else:
            self._epoll.modify(fd, mask)

    def _done(self, job, words, body):
        now = monotonic()
        facts = [tuple(word.split(":")) for word in words[1:]]
        self._jobs.pop(job.key, None)
        for command, outcome in facts:
            self.metrics.add("lbc_requests_total", 'command="%s",outcome="%s"' % (command, outcome))
        if words[:1] == ["keep"]:
            self._memory.put(job.key, body, [(fact[0], "cached", 'command="%s",outcome="cached"' % fact[0])
                                             for fact in facts], now)
        self._reply(job, body, now, facts)

    def _failed(self, job, why):
        self._jobs.pop(job.key, None)
        self.log.event("request failed", why=why)
        self._reply(job, failure(500, why), monotonic(), [("all", "failed")])

    def _reply(self, job, body, now, facts):
        waiters, job.waiters = job.waiters, []
        for connection in waiters:
            connection.job = None
            if connection.open:
                self._respond(connection, 200, body, now, facts=facts)
                self._advance(connection, now)

    def _died(self, pid, status):
        if not self._stopping:
            self.metrics.add("lbc_worker_deaths_total")
            self.log.event("worker died", pid=pid, status=status)

    # -- sending -------------------------------------------------------------------------------------------------------
    def _respond(self, connection, status, body, now, kind="application/json", extra="", facts=()):
        request, connection.request = connection.request, None
        keep = request.keep and not self._stopping
        connection.closing = not keep
        took = monotonic() - connection.since
        self.metrics.took(took)
        self.metrics.add("lbc_http_answers_total", 'status="%d"' % status)
        self.metrics.add("lbc_sent_bytes_total", number=len(body))
        self.log.request(connection.peer, request.method, request.path, status, request.size, len(body), took,
                         facts)
        self._put(connection, answer(status, body, kind, keep, extra, request.method != "HEAD"), now)

    def _refuse(self, connection, status, why, now):
        """What was no request, or none that is wanted: say so and end."""
        connection.closing = connection.lingering = True
        connection.request = None
        self.metrics.add("lbc_http_answers_total", 'status="%d"' % status)
        self.log.request(connection.peer, "", "", status, 0, 0, 0, [("refused", why.replace('"', "'"))])
        self._put(connection, answer(status, failure(status, why), keep=False), now)

    def _put(self, connection, data, now):
        connection.out = memoryview(data)
        connection.phase, connection.deadline = -1, now + SEND
        self._send(connection, now)

    def _send(self, connection, now):
        """Send what the socket takes; True when all is gone."""
        while len(connection.out):
            try:
                count = connection.socket.send(connection.out[:1 << 18])
            except (EnvironmentError, ValueError) as error:
                if getattr(error, "errno", None) in _LATER:
                    return self._want(connection, select.EPOLLOUT)
                return self._close(connection)
            connection.out = connection.out[count:]
            connection.deadline = now + SEND
        if connection.closing:
            return self._finish(connection, now)
        if connection.request is None and connection.mask & select.EPOLLOUT:
            self._want(connection, select.EPOLLIN)
            self._advance(connection, now)
        return None

    def _finish(self, connection, now):
        """Close after the last answer.  A client that was refused may still be sending: closing with unread bytes would
        send a reset, which can overtake the answer, so they are read and thrown away for a moment (RFC 9112 9.6)."""
        if not connection.lingering or self.tls is not None:
            return self._close(connection)
        try:
            connection.socket.shutdown(1)   # SHUT_WR
        except EnvironmentError:
            return self._close(connection)
        connection.deadline = now + LINGER
        return self._want(connection, select.EPOLLIN)

    def _linger(self, connection):
        try:
            if not connection.socket.recv(_READ):
                self._close(connection)
        except EnvironmentError as error:
            if error.errno not in _LATER:
                self._close(connection)
