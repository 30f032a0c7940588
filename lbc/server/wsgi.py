"""The server as a WSGI application (PEP 3333), for many hosts: `gunicorn lbc.server.wsgi:application`.

It keeps nothing but files below the cache folder, so any number of workers and machines may share one.  Settings come
from the environment (docs/server.md): LBC_SERVER_HIVE, LBC_SERVER_CACHE, LBC_SERVER_TOKEN_FILE, LBC_SERVER_WORKERS ...
"""
from __future__ import absolute_import

import os

from .._py23 import monotonic, to_bytes, to_text
from ..errors import LbcError
from .memory import Memory
from .messages import REASONS
from .service import Service, failure
from .settings import from_environment

__all__ = ["Application", "application"]


class Application(object):
    """Callable of PEP 3333.  ``token``: text that clients must send, or None."""

    def __init__(self, settings, token=None):
        from threading import Lock

        from .metrics import Metrics
        self.settings, self.service = settings, Service(settings)
        self.metrics = Metrics()    # of this process: a scraper behind a load balancer sees one of them
        self._token = to_bytes("Bearer " + token) if token else None
        self._lock, self._memory = Lock(), Memory()

    def __call__(self, environ, start_response):
        started = monotonic()
        status, kind, body, extra = self._answer(environ)
        with self._lock:
            self.metrics.add("lbc_http_answers_total", 'status="%d"' % status)
            self.metrics.add("lbc_sent_bytes_total", number=len(body))
            self.metrics.took(monotonic() - started)
        start_response("%d %s" % (status, REASONS[status]),
                       [("Content-Type", kind), ("Content-Length", str(len(body)))] + extra)
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]

    def _answer(self, environ):
        """(status, content type, body, further headers)."""
        method, json = environ.get("REQUEST_METHOD", ""), "application/json"
        path = environ.get("SCRIPT_NAME", "").rstrip("/") + environ.get("PATH_INFO", "")
        path = path[path.rfind("/"):]   # mounted below another path is fine
        if path not in ("/lbc", "/healthz", "/metrics"):
            return 404, json, failure(404, "POST /lbc, GET /healthz and GET /metrics are served"), []
        allow = "POST" if path == "/lbc" else "GET, HEAD"
        if method not in allow.split(", "):
            return 405, json, failure(405, "%s takes %s" % (path, allow)), [("Allow", allow)]
        if path == "/healthz":
            return self._healthz()
        if not self._allowed(environ):
            return 401, json, failure(401, "a token is wanted: Authorization: Bearer TOKEN"), [
                ("WWW-Authenticate", "Bearer")]
        if path == "/metrics":
            with self._lock:
                return 200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.text(), []
        body = self._body(environ)
        if isinstance(body, tuple):
            return body[0], json, failure(*body), []
        return 200, json, self.ask(body), []

    def _healthz(self):
        from json import dumps
        facts, status = {"status": "ok"}, 200
        try:
            facts["sandbox"] = self.service.compiler.ready().kind
        except LbcError as error:
            facts.update(status="no compiler", why=error.what)
        return status, "application/json", to_bytes(dumps(facts, sort_keys=True) + "\n"), []

    def _allowed(self, environ):
        from hmac import compare_digest
        return self._token is None or compare_digest(to_bytes(environ.get("HTTP_AUTHORIZATION", "")), self._token)

    def _body(self, environ):
        """Bytes, or (status, why)."""
        most, stream = self.settings.most_body, environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or ""
        if not length and not environ.get("wsgi.input_terminated"):
            return 411, "a POST needs Content-Length"
        if length and not length.isdigit():
            return 400, "Content-Length is no number"
        if length and int(length) > most:
            return 413, "the body has %s bytes, %d are allowed" % (length[:20], most)
        wanted = int(length) if length else most + 1
        pieces, total = [], 0
        try:
            while total < wanted:
                piece = stream.read(min(1 << 16, wanted - total))
                if not piece:
                    break
                pieces.append(piece)
                total += len(piece)
        except (EnvironmentError, ValueError):
            return 400, "the body did not come"
        if length and total < wanted:
            return 400, "the body ended after %d of %d bytes" % (total, wanted)
        if total > most:
            return 413, "the body has more than %d bytes" % most
        return b"".join(pieces)

    def ask(self, body):
        """Bytes of the answer to a body."""
        from hashlib import sha256
        key, now = sha256(body).digest(), monotonic()
        with self._lock:
            kept = self._memory.get(key, now)
            if kept is not None:
                self._count(kept[1])
                return kept[0]
        reply = self.service.reply(body)
        with self._lock:
            self._count(reply.facts)
            if reply.keep:
                self._memory.put(key, reply.body, [(fact[0], "cached") for fact in reply.facts], now)
        return reply.body

    def _count(self, facts):
        for command, outcome in facts:
            self.metrics.add("lbc_requests_total", 'command="%s",outcome="%s"' % (command, outcome))


def _token(path):
    with open(path) as stream:
        return to_text(stream.read(4096)).strip()


_made = []


def application(environ, start_response):
    """The application with the settings of the environment, made at the first request of each worker process."""
    if not _made:
        path = os.environ.get("LBC_SERVER_TOKEN_FILE")
        # dict.setdefault-like: two threads may both make one; the first in the list is the one that is used
        _made.append(Application(from_environment(), _token(path) if path else None))
    return _made[0](environ, start_response)
