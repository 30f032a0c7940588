#!/usr/bin/env python3
"""How many compiles a second the server answers: many clients with open connections, most of what they ask is cached.

    python3 bench/server_load.py [--clients 200] [--requests 10000] [--fresh PERCENT] [--rate 1000] [--workers 2]
    [--json FILE]
                                 [--gunicorn] [--bombs] [--kill]

Starts a server of its own on a free port.  Four runs: everything cached, as fast as it goes and at --rate a second;
--fresh percent (10) never seen before, each of
which costs a compiler; with --bombs and --kill, the mixed run again while one client sends sources that have no end and
while workers are killed (kill -9).  --gunicorn: the cached run against the WSGI application under gunicorn.  Exit
status 1 when an answer is wrong or missing.
"""
from __future__ import absolute_import, print_function

import argparse
import base64
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = """typedef unsigned int u32;
struct event { u32 pid, value; };
static int (*trace)(const char *text, int size, ...) = (void *)6;
__attribute__((section("kprobe/vfs_read"), used)) int probe_%(number)s(void *ctx)
{
    struct event e = { 1, %(number)s };
    char text[] = "v %%d";
    trace(text, sizeof(text), e.value + e.pid);
    return 0;
}
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
BOMBS = ["#define A(x) x x x x x x x x x x\nint a[] = {%s1%s};" % ("A(" * 9, "," + ")" * 9),
         "#include __FILE__\n#define F(n) n##n\nint x = " + "(" * 20000 + "1" + ")" * 20000 + ";",
         "#define X0 int f(void){return 1;}\n" + "".join(["#define X%d X%d X%d X%d X%d\n" % (n + 1, n, n, n, n)
                                                           for n in range(12)]) + "X12\n"]


def request(number):
    """Bytes of one HTTP request for the object of source ``number``."""
    body = json.dumps([{"cmd": "obj", "code": SOURCE % {"number": number}, "env": "", "ver": os.uname()[2],
                        "arch": os.uname()[4]}]).encode("ascii")
    return (b"POST /lbc HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)) + body


def is_right(body, number):
    """Is it the object of that source?  Its function is named after the number."""
    answer = json.loads(body.decode("utf-8"))
    if answer.get("code") != 200 or answer["res"][0].get("log") != "ok.":
        return str(answer)[:200]
    data = base64.b64decode(answer["res"][0]["obj"])
    return None if data[:4] == b"\x7fELF" and b"probe_%d\0" % number in data else "another object"


class Client(object):
    """One connection with at most one request under way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.number, self.since, self.wanted = bytearray(), None, 0, 0

    def ask(self, number, data):
        """Send a request."""
        self.number, self.since, self.wanted = number, time.time(), 0
        self.socket.sendall(data)

    def receive(self):
        """Body of the answer when it is complete, else None.  EOFError."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise EOFError("the server closed the connection")
        self.data += piece
        if not self.wanted:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.wanted = end + 4 + int(re.search(br"Content-Length: (\d+)", self.data[:end]).group(1))
            self.start = end + 4
        if len(self.data) < self.wanted:
            return None
        body = bytes(self.data[self.start:self.wanted])
        del self.data[:self.wanted]
        return body


def run(port, clients, numbers, known, rate=0):
    """{"fresh": [seconds], "cached": [seconds]}, failures, seconds of all.  ``rate``: requests a second, whose times
    count from when they were due; 0: every client asks again as soon as it has its answer."""
    took, failures, pending, checked = {"fresh": [], "cached": []}, [], list(reversed(numbers)), {}
    requests = {number: request(number) for number in set(numbers)}
    poll, by_fd = select.epoll(), {}
    for _ in range(clients):
        client = Client(port)
        by_fd[client.socket.fileno()] = client
        poll.register(client.socket.fileno(), select.EPOLLIN)
    start, left, sent, heard, idle = time.time(), len(numbers), 0, time.time(), list(by_fd.values())
    while left:
        now = time.time()
        while idle and pending and (not rate or start + sent / rate <= now):
            number, client = pending.pop(), idle.pop()
            client.ask(number, requests[number])
            if rate:
                client.since = start + sent / rate
            sent += 1
        events = poll.poll(60 if not rate else max(0.0, min(60, start + sent / rate - now)) if pending and idle else 1)
        heard = time.time() if events else heard
        if time.time() - heard > 60:
            failures.append("no answer for 60 s, %d are missing" % left)
            break
        for fd, _what in events:
            client = by_fd[fd]
            try:
                body = client.receive()
            except (EOFError, OSError) as error:
                failures.append(str(error))
                left -= client.number is not None
                poll.unregister(fd)
                continue
            if body is None:
                continue
            number, client.wanted = client.number, 0
            took["cached" if number in known else "fresh"].append(time.time() - client.since)
            if checked.get(number) != body:     # looked into once, afterwards the same bytes are wanted
                wrong = is_right(body, number) if number not in checked else "another answer than before"
                checked.setdefault(number, body)
                if wrong:
                    failures.append("source %d: %s" % (number, wrong))
            left -= 1
            client.number = None
            idle.append(client)
    seconds = time.time() - start
    for client in by_fd.values():
        client.socket.close()
    poll.close()
    return took, failures, seconds


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000 if values else 0.0


def report(name, result, rows):
    """Print one run."""
    took, failures, seconds = result
    both = took["fresh"] + took["cached"]
    row = {"run": name, "requests": len(both), "seconds": round(seconds, 2), "per_second": round(len(both) / seconds),
           "failures": len(failures)}
    for kind in ("cached", "fresh"):
        if took[kind]:
            row[kind] = {"count": len(took[kind]), "p50_ms": round(quantile(took[kind], 0.5), 2),
                         "p99_ms": round(quantile(took[kind], 0.99), 2), "max_ms": round(max(took[kind]) * 1000, 2)}
    rows.append(row)
    print(json.dumps(row))
    for failure in failures[:5]:
        print("    failure:", failure)
    sys.stdout.flush()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(port, process):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                sys.exit("server_load: the server ended with status %d" % process.returncode)
            time.sleep(0.1)
    sys.exit("server_load: the server does not answer")


def workers_of(pid):
    """Pids of the server's children."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as stream:
        return [int(word) for word in stream.read().split()]


def trouble(port, pid, options, stop):
    """Sends bombs and kills workers until ``stop`` is set; counts them."""
    count, generator = {"bombs": 0, "killed": 0}, random.Random(7)

    def bomb():
        while not stop.is_set():
            source = BOMBS[count["bombs"] % len(BOMBS)] + "\n/* %d */" % count["bombs"]
            count["bombs"] += 1
            body = json.dumps([{"cmd": "obj", "code": source, "ver": os.uname()[2], "arch": os.uname()[4]}])
            try:
                # another address than the other clients': 127.0.0.0/8 is all local
                with socket.create_connection(("127.0.0.1", port), 60, ("127.0.0.2", 0)) as stream:
                    stream.sendall(("POST /lbc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                                    % (len(body), body)).encode("ascii"))
                    while stream.recv(65536):
                        pass
            except OSError:
                pass

    def kill():
        while not stop.wait(1.0):
            children = workers_of(pid)
            if children:
                try:
                    os.kill(generator.choice(children), signal.SIGKILL)
                    count["killed"] += 1
                except OSError:
                    pass
    threads = [threading.Thread(target=bomb) for _ in range(3 if options.bombs else 0)]
    threads += [threading.Thread(target=kill)] if options.kill else []
    for thread in threads:
        thread.daemon = True
        thread.start()
    return count, threads


def left_over(cache):
    """Files of the cache that are not whole."""
    wrong = []
    sys.path.insert(0, ROOT)
    from lbc.server.store import Store
    store = Store(cache)
    for folder, _folders, names in os.walk(os.path.join(cache, "answers")):
        wrong += [name for name in names if store.get(name) is None]
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--fresh", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second of the paced run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gunicorn", action="store_true")
    parser.add_argument("--bombs", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    folder, rows, generator = tempfile.mkdtemp(), [], random.Random(1)
    cache, port = os.path.join(folder, "cache"), free_port()
    known = list(range(50))
    cached = [generator.choice(known) for _ in range(options.requests)]

    def mixed(start):
        count = int(options.requests * options.fresh / 100)
        numbers = [generator.choice(known) for _ in range(options.requests - count)] + list(range(start, start + count))
        generator.shuffle(numbers)
        return numbers
    with open(os.path.join(folder, "log"), "wb") as log:
        process = subprocess.Popen(
            [
                options.python,
                "-m",
                "lbc",
                "server",
                "-l",
                "127.0.0.1:%d" % port,
                "-c",
                cache,
                "-w",
                str(options.workers),
            ],
            cwd=ROOT,
            stderr=log,
        )
    failed = False
    try:
        wait(port, process)
        report("warm up", run(port, 8, known, ()), rows)
        report("cached", run(port, options.clients, cached, known), rows)
        report("cached, %d/s" % options.rate, run(port, options.clients, cached, known, float(options.rate)), rows)
        report("mixed", run(port, options.clients, mixed(1000), known), rows)
        if options.bombs or options.kill:
            stop = threading.Event()
            count, threads = trouble(port, process.pid, options, stop)
            report("mixed, bombs and kills", run(port, options.clients, mixed(100000), known), rows)
            stop.set()
            rows[-1].update(count)
            print("    bombs: %(bombs)d, workers killed: %(killed)d" % count)
        process.send_signal(signal.SIGTERM)
        process.wait()
        wrong = left_over(cache)
        print("damaged answers in the cache: %d" % len(wrong))
        failed = bool(wrong) or any([row["failures"] for row in rows])
        if options.gunicorn:
            port = free_port()
            environ = dict(os.environ, LBC_SERVER_CACHE=cache)
            environ["PYTHONPATH"] = os.pathsep.join([ROOT] + [p for p in [os.environ.get("PYTHONPATH")] if p])
            process = subprocess.Popen([options.python, "-m", "gunicorn", "-b", "127.0.0.1:%d" % port, "-w",
                                        str(options.workers), "--threads", "100", "--keep-alive", "60",
                                        "lbc.server.wsgi:application"], env=environ, stderr=subprocess.DEVNULL)
            wait(port, process)
            report("gunicorn, warm up", run(port, 8, known * 4, ()), rows)
            report("gunicorn, cached", run(port, options.clients, cached, known), rows)
            failed = failed or any([row["failures"] for row in rows])
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        if options.json:
            with open(options.json, "w") as stream:
                json.dump(rows, stream, indent=1)
        shutil.rmtree(folder, True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
