"""Counters of one process as Prometheus text (exposition format 0.0.4), and the log: a JSON object a line."""
from __future__ import absolute_import

import os
import time

from .._py23 import to_bytes

__all__ = ["Metrics", "Log"]

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_HELP = (
    ("lbc_requests_total", "counter", "answers by command and outcome (ok, failed, cached)"),
    ("lbc_http_answers_total", "counter", "HTTP answers by status"),
    ("lbc_received_bytes_total", "counter", "bytes of request bodies"),
    ("lbc_sent_bytes_total", "counter", "bytes of answers"),
    ("lbc_refused_total", "counter", "requests refused because too much was under way"),
    ("lbc_worker_deaths_total", "counter", "workers that died and were replaced"),
    ("lbc_connections", "gauge", "open connections"),
    ("lbc_waiting", "gauge", "requests that wait for a worker"),
    ("lbc_running", "gauge", "requests that a worker has"),
    ("lbc_workers", "gauge", "worker processes"),
    ("lbc_memory_answers", "gauge", "answers kept in memory"),
)


class Metrics(object):
    """``count[name, labels text]``: numbers.  ``gauges``: f() -> {name: number}, asked when it is printed."""

    def __init__(self, gauges=None):
        self.count, self.gauges = {}, gauges
        self._buckets, self._sum, self._number = [0] * (len(BUCKETS) + 1), 0.0, 0
        self.started = time.time()

    def add(self, name, labels="", number=1):
        """Count."""
        key = name, labels
        self.count[key] = self.count.get(key, 0) + number

    def took(self, seconds):
        """One request's time, from its last byte to the answer's first."""
        for index, bound in enumerate(BUCKETS):
            if seconds <= bound:
                break
        else:
            index = len(BUCKETS)
        self._buckets[index] += 1
        self._sum += seconds
        self._number += 1

    def text(self):
        """Bytes for GET /metrics."""
        lines, gauges = [], self.gauges() if self.gauges else {}
        for name, kind, what in _HELP:
            rows = sorted([(labels, number) for (key, labels), number in self.count.items() if key == name])
            if kind == "gauge":
                rows = [("", gauges[name])] if name in gauges else []
            elif not rows and name not in ("lbc_requests_total", "lbc_http_answers_total"):
                rows = [("", 0)]
            if rows:
                lines += ["# HELP %s %s" % (name, what), "# TYPE %s %s" % (name, kind)]
                lines += ["%s%s %s" % (name, "{%s}" % labels if labels else "", number) for labels, number in rows]
        lines += ["# HELP lbc_request_seconds time from a request's last byte to its answer",
                  "# TYPE lbc_request_seconds histogram"]
        total = 0
        for bound, number in zip(BUCKETS + ("+Inf",), self._buckets):
            total += number
            lines.append('lbc_request_seconds_bucket{le="%s"} %d' % (bound, total))
        lines += ["lbc_request_seconds_sum %.6f" % self._sum, "lbc_request_seconds_count %d" % self._number,
                  "# HELP lbc_start_time_seconds when this process started", "# TYPE lbc_start_time_seconds gauge",
                  "lbc_start_time_seconds %.3f" % self.started]
        return to_bytes("\n".join(lines) + "\n")


class Log(object):
    """Lines of JSON, gathered and written by `flush`.  A reader that does not read loses lines, and is told how many;
    it does not stop the server."""

    def __init__(self, fd=2, quiet=False):
        from json import dumps
        self.fd, self.quiet, self._dumps, self._lines, self._lost = fd, quiet, dumps, [], 0

    def event(self, what, **fields):
        """Something that is not a request: start, stop, a worker's death."""
        fields.update(event=what, time=self._now())
        self._lines.append(self._dumps(fields, sort_keys=True))

    def request(self, peer, method, path, status, received, sent, seconds, facts):
        """One answer."""
        if not self.quiet:
            self._lines.append(
                '{"time": "%s", "event": "request", "peer": %s, "method": %s, "path": %s, "status": %d, '
                '"received": %d, "sent": %d, "ms": %.2f, "what": "%s"}'
                % (
                    self._now(),
                    self._dumps(peer),
                    self._dumps(method[:16]),
                    self._dumps(path[:200]),
                    status,
                    received,
                    sent,
                    seconds * 1000,
                    ",".join([":".join(fact[:2]) for fact in facts[:16]]),
                )
            )

    @staticmethod
    def _now():
        now = time.time()
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)

    def flush(self):
        """Write what has gathered."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._lost:
            lines.insert(0, self._dumps({"event": "log lines lost", "count": self._lost, "time": self._now()}))
        data = to_bytes("\n".join(lines) + "\n")
        import select
        try:
            # a pipe takes a whole page without waiting when poll says that it is writable (pipe(7))
            while data:
                if not select.select([], [self.fd], [], 0)[1]:
                    self._lost += data.count(b"\n")
                    return
                data = data[os.write(self.fd, data[:4096]):]
            self._lost = 0
        except (OSError, IOError, ValueError):
            pass    # nobody reads any more
