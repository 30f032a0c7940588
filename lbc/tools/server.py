"""server: compiles BPF C and answers questions about types for other hosts (lbc surftrace -r HOST, LBC_SERVER=HOST).

usage: python -m lbc server [options]

  -l, --listen HOST:PORT   127.0.0.1:7655; 0.0.0.0:7655 serves the network (think of --token)
  -H, --hive DIR           kernels other than this machine's: ARCH/{btf,head,db,vmlinux}/DISTRIBUTION/ (docs/server.md)
  -c, --cache DIR          what was compiled (~/.cache/lbc/server); several servers may share it
  -t, --token FILE         clients must send the text in FILE: Authorization: Bearer TEXT
      --cert FILE          TLS certificate;   --key FILE   its key
  -w, --workers COUNT      compilers at a time (one for each CPU)
      --queue COUNT        requests that may wait (256)
      --clang FILE         the compiler ($CLANG, else the newest clang on PATH)
      --sandbox KIND       bwrap, root, user or chroot; the best that works here is taken
      --unsafe             compile without a sandbox where none works: only where all clients are trusted
      --cpu-seconds COUNT, --wall-seconds COUNT, --memory MIB    of one compiler (10, 20, 1024)
      --no-own-kernel      answer only for what is in the hive
  -q, --quiet              no log line for each request

The compiler sees itself, its headers and nothing else: no file of this machine, no network, no other process.

    $ python -m lbc server --hive /srv/hive &
    {"address": "127.0.0.1:7655", "event": "start", "sandbox": "root", ...}
    $ curl -s 127.0.0.1:7655/lbc -d '[{"cmd": "type", "type": "pid_t", "ver": "6.1.0-13-amd64", "arch": "x86_64"}]'
    {"result":"success","status":true,"code":200,"res":[{"log": "ok.", "res": {"name": "pid_t", "type": "int", "size":
    4}}]}

POST /lbc, GET /healthz, GET /metrics (Prometheus).  The log is JSON lines on stderr.  SIGTERM ends it when what is
under
way is done.  Exit status 0; 1 when it cannot start, 2 for wrong usage.
"""
from __future__ import absolute_import

import os
import sys

from .._py23 import signal
from ..errors import InputError, NotSupported
from . import _cli

__all__ = ["main"]

OPTIONS = (
    ("-l", "--listen", "listen", str, "127.0.0.1:7655"),
    ("-H", "--hive", "hive", str, None),
    ("-c", "--cache", "cache", str, None),
    ("-t", "--token", "token", str, None),
    ("--cert", "--cert", "cert", str, None),
    ("--key", "--key", "key", str, None),
    ("-w", "--workers", "workers", _cli.positive_int, 0),
    ("--queue", "--queue", "queue", _cli.positive_int, 256),
    ("--clang", "--clang", "clang", str, None),
    ("--sandbox", "--sandbox", "sandbox", str, None),
    ("--unsafe", "--unsafe", "unsafe", None, None),
    ("--cpu-seconds", "--cpu-seconds", "cpu_seconds", _cli.positive_int, 10),
    ("--wall-seconds", "--wall-seconds", "wall_seconds", _cli.positive_int, 20),
    ("--memory", "--memory", "memory", _cli.positive_int, 1024),
    ("--no-own-kernel", "--no-own-kernel", "no_own", None, None),
    ("-q", "--quiet", "quiet", None, None),
)


def read_token(path):
    """The token in a file that only we may read.  InputError."""
    try:
        with open(path) as stream:
            facts, text = os.fstat(stream.fileno()), stream.read(4096).strip()
    except (EnvironmentError, UnicodeError) as error:
        raise InputError("cannot read the token %s: %s" % (path, getattr(error, "strerror", None) or error))
    if facts.st_mode & 0o077:
        raise InputError("the token %s can be read by others" % path, hint="chmod 600 %s" % path)
    if len(text) < 16 or not min(text) > " " or not max(text) < "\x7f":
        raise InputError("the token %s is no line of 16 or more printable ASCII characters" % path,
                         hint="python3 -c 'import secrets; print(secrets.token_hex(24))' > %s" % path)
    return text


def _compiler(settings):
    """Facts about the compiler for /healthz; a server without one still answers about types."""
    from ..server.compiling import Compiler, find_clang
    try:
        clang = find_clang(settings.clang)
    except NotSupported as error:
        if settings.clang:
            raise
        return {"compiler": None, "why": error.what}
    sandbox = Compiler(settings).ready()    # refuses to start without one
    settings.sandbox = sandbox.kind     # workers need not try them all again
    return {"compiler": clang, "sandbox": sandbox.kind}


def main(argv=None):
    """Exit status.  Raises LbcError (see _cli.run_main)."""
    options = _cli.parse(__doc__, argv, OPTIONS)
    if bool(options.cert) != bool(options.key):
        raise _cli.UsageError("--cert and --key go together")
    from ..server.front import Front, listen, tls_context
    from ..server.metrics import Log
    from ..server.settings import Settings
    from ..server.store import Store
    settings = Settings(hive=options.hive, cache=options.cache, clang=options.clang, sandbox=options.sandbox,
                        unsafe=options.unsafe, workers=options.workers, queue=options.queue,
                        cpu_seconds=options.cpu_seconds, wall_seconds=options.wall_seconds,
                        memory=options.memory << 20, own_kernel=not options.no_own)
    token = read_token(options.token) if options.token else None
    tls = tls_context(options.cert, options.key) if options.cert else None
    Store(settings.cache).prepare()
    facts = _compiler(settings)
    listener = listen(options.listen)
    host, port = listener.getsockname()[:2]
    log = Log(quiet=options.quiet)
    front = Front(settings, listener, token, tls, facts, log)
    log.event("start", address="%s:%d" % (host, port), hive=settings.hive, cache=settings.cache, tls=tls is not None,
              token=token is not None, workers=settings.workers, **facts)
    if settings.sandbox == "none":
        log.event("warning", why="--unsafe: whoever can reach this server can read the files of this user")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_words: front.stop())
    front.run()
    log.event("stop")
    log.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run_main("server", main))
