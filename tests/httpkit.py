"""A web server in a thread of the test, which answers as the test says: well, wrongly, slowly or not at all."""
from __future__ import absolute_import

import json
import threading

try:
    from http.server import BaseHTTPRequestHandler, HTTPServer
except ImportError:
    from BaseHTTPServer import BaseHTTPRequestHandler, HTTPServer


class Server(object):
    """``with Server(answer) as server``: ``answer(requests) -> [answer]`` of the protocol, or ``raw(handler, body)``
    does all by itself.  ``server.address`` is "127.0.0.1:PORT", ``server.asked`` lists (path, headers, body) of all
    requests."""

    def __init__(self, answer=None, raw=None, port=0):
        self.asked, outer = [], self

        class Handler(BaseHTTPRequestHandler):

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.path, dict(self.headers.items()), body))
                try:
                    if raw is not None:
                        raw(self, body)
                    else:
                        send(self, json.dumps({"result": "success", "status": True, "code": 200,
                                               "res": answer(json.loads(body.decode("utf-8")))}))
                except EnvironmentError:
                    pass    # the client went away, as some tests want
                self.close_connection = True

            do_GET = do_POST

            def log_message(self, *words):
                pass

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self._server.handle_error = lambda *words: None
        self.port = self._server.server_address[1]
        self.address = "127.0.0.1:%d" % self.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(handler, text, status=200, headers=()):
    """A whole HTTP answer."""
    body = text if isinstance(text, bytes) else text.encode("utf-8")
    handler.send_response(status)
    rows = dict((("Content-Length", str(len(body))), ("Content-Type", "application/json")) + tuple(headers))
    for name, value in rows.items():
        if value is not None:
            handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
