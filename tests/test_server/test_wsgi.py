"""The WSGI door: what is refused before any work is done."""
from __future__ import absolute_import

import pytest

from lbc.server import wsgi
from lbc.server.settings import Settings


def ask(application, method, path):
    got = []
    body = b"".join(application({"REQUEST_METHOD": method, "PATH_INFO": path}, lambda *words: got.append(words)))
    return got[0][0], dict(got[0][1]), body


@pytest.mark.parametrize("method, path, status", [("GET", "/nowhere", "404"), ("GET", "/lbc", "405"),
                                                  ("POST", "/healthz", "405"), ("GET", "/metrics", "401"),
                                                  ("POST", "/lbc", "401")])
def test_refusals(method, path, status, tmpdir):
    application = wsgi.Application(Settings(), token="secret")
    answer, headers, body = ask(application, method, path)
    assert answer.startswith(status) and headers["Content-Length"] == str(len(body))
