"""A body -> the body of its answer: what the server of one host and the WSGI application have in common.

An answer is kept as the bytes that go out: an object on disk by the hash of all that it depends on (store), so that any
worker on any machine sends it again without looking into it.
"""
from __future__ import absolute_import

import os

from .._py23 import string_types, to_bytes, to_text
from ..errors import InputError, LbcError, NotFoundError
from ..wire import encode
from .compiling import Compiler
from .flags import parse_flags
from .hive import Hive, stamp
from .sources import Sources
from .store import Store

__all__ = ["Service", "Reply", "failure", "OK"]

OK = "ok."
_HEAD, _TAIL = b'{"result":"success","status":true,"code":200,"res":[', b"]}"
_BUSY_SECONDS = 30      # that a compile waits for another process to finish the same, or for a free compiler
_VERSION = b"lbc answers 1"     # of what is kept on disk


class Reply(object):
    """``body``: JSON bytes; ``keep``: the same question will have the same answer for a while; ``facts``: [(command,
    "ok", "failed" or "cached")]."""

    def __init__(self, body, keep, facts):
        self.body, self.keep, self.facts = body, keep, facts


def _dumps(value):
    import json
    return to_bytes(json.dumps(value))


def failure(code, log):
    """Body of the answer to what is no request of the protocol."""
    return _dumps({"result": "failed", "status": False, "code": code, "res": [{"log": log}]})


def _one_line(error):
    return " ".join(to_text(str(error)).split())[:1000]


class Service(object):
    """Answers bodies.  Threads may share it."""

    def __init__(self, settings):
        self.settings = settings
        self.hive, self.sources = Hive(settings.hive, settings.own_kernel), Sources()
        self.store = Store(settings.cache, settings.most_cache)
        self.compiler = Compiler(settings)

    def close(self):
        """Give files back."""
        self.sources.close()

    # -- bodies --------------------------------------------------------------------------------------------------------
    def reply(self, body):
        """Reply to a body (bytes).  Raises nothing."""
        try:
            requests = self._requests(body)
        except InputError as error:
            return Reply(failure(500, error.what), False, [("unreadable", "failed")])
        answers, facts, keep, total = [], [], True, 0
        for request in requests:
            answer, fact, kept = self._answer(request)
            total += len(answer)
            if total > self.settings.most_answer:
                answer, kept = _dumps({"log": "the answers together have more than %d bytes: ask for less at a time"
                                       % self.settings.most_answer}), False
                fact, total = (fact[0], "failed"), total - len(answer)
            answers.append(answer)
            facts.append(fact)
            keep = keep and kept
        return Reply(_HEAD + b",".join(answers) + _TAIL, keep, facts)

    def _requests(self, body):
        import json
        if len(body) > self.settings.most_body:
            raise InputError("the request has more than %d bytes" % self.settings.most_body)
        try:
            found = json.loads(body.decode("utf-8"), parse_int=_integer)
        except (ValueError, RuntimeError, MemoryError) as error:    # RuntimeError: nested deeper than Python goes
            raise InputError("the request is no JSON: %s" % _one_line(error)[:200])
        if not isinstance(found, list):
            raise InputError("the request is no JSON list of requests")
        if len(found) > self.settings.most_requests:
            raise InputError("%d requests at once, %d are allowed" % (len(found), self.settings.most_requests))
        return found

    def _answer(self, request):
        """(bytes, (command, outcome), may it be kept) of one request."""
        command = "unknown"
        try:
            if not isinstance(request, dict):
                raise InputError("a request is no JSON object")
            name = self._text(request, "cmd")
            if name not in _COMMANDS:
                raise InputError("no command `%s`: there are %s" % (name[:40], ", ".join(sorted(_COMMANDS))))
            command = name
            answer, outcome, keep = _COMMANDS[name](self, request)
            return answer, (command, outcome), keep
        except LbcError as error:
            return _dumps({"log": _one_line(error)}), (command, "failed"), False
        except Exception as error:  # a mistake of ours: the other requests of the body still have their answers
            if os.environ.get("LBC_DEBUG") == "1":
                raise
            return (_dumps({"log": "internal error: %s: %s" % (type(error).__name__, _one_line(error)[:200])}),
                    (command, "failed"), False)

    @staticmethod
    def _text(request, field, default=None):
        value = request.get(field, default)
        if value is None and default is None:
            raise InputError("the request has no `%s`" % field)
        if not isinstance(value, string_types):
            raise InputError("`%s` is no text" % field)
        try:
            return to_text(value)
        except UnicodeError:    # 2.7: lone surrogates
            raise InputError("`%s` is no text" % field)

    def _kernel(self, request):
        return self.hive.kernel(self._text(request, "ver"), self._text(request, "arch", "x86_64"))

    # -- types ---------------------------------------------------------------------------------------------------------
    def _func(self, request):
        rows = self.sources.functions(self._kernel(request), self._text(request, "func", ""),
                                      self._text(request, "ret", ""), self._text(request, "arg", ""))
        return _dumps({"log": OK, "res": rows}), "ok", True

    def _struct(self, request):
        found = self.sources.record(self._kernel(request), self._text(request, "struct"))
        return _dumps({"log": OK, "res": found}), "ok", True

    def _type(self, request):
        found = self.sources.type(self._kernel(request), self._text(request, "type"))
        return _dumps({"log": OK, "res": found}), "ok", True

    def _btf(self, request):
        kernel = self._kernel(request)
        if kernel.btf is None:
            raise NotFoundError("BTF of kernel", kernel.release, "this server")
        return _dumps({"log": OK, "btf": encode(self._btf_bytes(kernel.btf))}), "ok", True

    def _btf_bytes(self, path):
        """The file when it is small: raw BTF or an ELF with little else; only the BTF of a whole vmlinux."""
        most = self.settings.most_answer * 3 // 4 - 1024
        facts = stamp(path)
        if facts is not None and facts[1] <= 16 << 20:
            from .. import host
            try:
                return host.read_file(path)
            except EnvironmentError as error:
                raise InputError("cannot read the BTF: %s" % error.strerror, error)
        from ..btf.parse import open_btf
        btf = open_btf(path)
        try:
            raw = bytes(btf.raw[:])
        finally:
            btf.close()
        if len(raw) > most:
            raise InputError("the BTF has %d bytes, more than an answer may have" % len(raw))
        return raw

    # -- objects -------------------------------------------------------------------------------------------------------
    def _obj(self, request):
        code = to_bytes(self._text(request, "code"))
        if len(code) > self.settings.most_code:
            raise InputError("the source has %d bytes, %d are allowed" % (len(code), self.settings.most_code))
        if b"\0" in code:
            raise InputError("the source holds a zero byte")
        flags = parse_flags(self._text(request, "env", ""))
        kernel = self._kernel(request)
        if kernel.head is None and kernel.btf is None:
            raise NotFoundError("vmlinux.h or BTF of kernel", kernel.release, "this server")
        self.compiler.ready()
        self.store.prepare()
        key = self._key(b"obj", code, repr(flags).encode("utf-8"), kernel.machine.encode("ascii"),
                        repr(stamp(kernel.head or kernel.btf)).encode("utf-8"), self.compiler.identity)
        found = self.store.get(key)
        if found is not None:
            return found, "cached", True
        with self._held(self.store.lock(key, _BUSY_SECONDS), "the same source is being compiled for too long"):
            found = self.store.get(key)     # another one was quicker
            if found is not None:
                return found, "cached", True
            with self._held(self.store.slot(2 * self.settings.workers, _BUSY_SECONDS), "all compilers are busy"):
                return self._compile(key, code, flags, kernel)

    def _compile(self, key, code, flags, kernel):
        header = self._header(kernel) if b"include" in code else None
        outcome = self.compiler.compile(code, flags, kernel.machine, header)
        if outcome.reason is None:
            answer = _dumps({"log": OK, "obj": encode(outcome.data), "clog": outcome.log})
        else:
            answer = _dumps({"log": outcome.reason, "clog": outcome.log})
        if outcome.keep:
            self.store.put(key, answer)
        return answer, "ok" if outcome.reason is None else "failed", outcome.keep

    @staticmethod
    def _held(lock, why):
        if lock is None:
            raise InputError("the server is busy: %s; try again in a moment" % why)
        return lock

    @staticmethod
    def _key(*parts):
        from hashlib import sha256
        from .. import __version__
        known = sha256(_VERSION + to_bytes(__version__))
        for part in parts:
            known.update(to_bytes("%d:" % len(part)) + part)
        return known.hexdigest()

    def _header(self, kernel):
        """Path of the kernel's vmlinux.h, alone in a folder; made from BTF where the hive has none."""
        source = kernel.head or kernel.btf
        key = self._key(b"head", repr(stamp(source)).encode("utf-8"))[:32]
        folder = os.path.join(self.store.root, "heads", key)
        path = os.path.join(folder, "vmlinux.h")
        if os.path.isfile(path):
            return path
        with self._held(self.store.lock(key, _BUSY_SECONDS), "vmlinux.h is being made"):
            if not os.path.isfile(path):
                text = _read(kernel.head) if kernel.head else _header_of(kernel.btf)
                if not os.path.isdir(folder):
                    os.makedirs(folder, 0o755)
                os.chmod(folder, 0o755)     # whatever the umask: the compiler is not the same user
                self.store.write(path, text, 0o644)
        return path

    # -- what is not there yet -----------------------------------------------------------------------------------------
    def _c(self, request):
        raise InputError("command c: this server does not make shared libraries; it makes objects (command obj)")

    def _ko(self, request):
        from .modules import database
        answer = database(self._kernel(request), request.get("kos"), self.settings)
        return _dumps({"log": OK, "db": encode(answer)}), "ok", False


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except EnvironmentError as error:
        raise InputError("cannot read vmlinux.h: %s" % error.strerror, error)


def _header_of(path):
    """vmlinux.h (bytes) of BTF."""
    from ..btf import dump_all
    from ..btf.parse import open_btf
    btf = open_btf(path)
    try:
        return to_bytes(dump_all.header(btf))
    finally:
        btf.close()


def _integer(digits):
    """int of a number in JSON; the time that a million digits take grows with their square."""
    if len(digits) > 40:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)


_COMMANDS = {"func": Service._func, "struct": Service._struct, "type": Service._type, "btf": Service._btf,
             "obj": Service._obj, "c": Service._c, "ko": Service._ko}
