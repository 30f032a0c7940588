"""A server that answers from the rows of conformance.py, and servers that answer nonsense."""
from __future__ import absolute_import

import copy
import random

import pytest

from lbc.errors import InputError, LbcError, NotFoundError, RemoteError
from lbc.resolvers.base import FuncQuery
from lbc.resolvers.remote import RemoteResolver
from tests.httpkit import Server

from . import conformance


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "LBC_SERVER"):
        monkeypatch.delenv(name, raising=False)


def resolver_of(server, **options):
    return RemoteResolver(server.address, "5.10.0", "x86_64", **options)


class Client(object):
    """Stands where wire.Client does: ``answer(request) -> answer``, without a network."""
    url = "http://test:7655/lbc"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask_one(self, request):
        self.asked.append(request)
        answer = self.answer(request)
        if answer.get("log") != "ok.":
            raise RemoteError("server says %.50r" % (answer.get("log"),), self.url)
        return answer


def faked(answer):
    return RemoteResolver(None, "5.10.0", "x86_64", Client(answer))


@pytest.mark.parametrize("thing", [conformance.OURS, conformance.REFERENCE], ids=["ours", "reference"])
def test_conformance(thing):
    with Server(lambda requests: [conformance.serve(request, thing) for request in requests]) as server:
        with resolver_of(server) as resolver:
            conformance.check(resolver, param_names=False, modules=False)
            function, = resolver.functions("thing_open")
            assert (function.file, function.line) == ("things.c", 73)


def test_questions_are_asked_once():
    with faked(conformance.serve) as resolver:
        for _ in range(3):
            conformance.check_members(resolver)
            resolver.functions("thing_open")
            assert resolver.record("struct", "nothing") is None
        asked = [tuple(sorted(request.items())) for request in resolver.client.asked]
        assert len(asked) == len(set(asked)) and len(asked) < 25
        assert resolver.client.asked[0] == {"cmd": "struct", "struct": "struct thing", "ver": "5.10.0",
            "arch": "x86_64"}


def test_names_that_are_patterns_are_not_asked_for_as_names():
    with faked(conformance.serve) as resolver:
        assert resolver.functions("thing_%") == [] and resolver.record("struct", "th%") is None
        assert resolver.client.asked == []


def test_near_names():
    with faked(conformance.serve) as resolver:
        with pytest.raises(NotFoundError) as caught:
            resolver.get_functions("thing_fimd")
        assert caught.value.near[0] == "thing_find" and "the server http://test" in str(caught.value)
        with pytest.raises(NotFoundError) as caught:
            resolver.type("struct thingy *")
        assert caught.value.near == ["thing"]


def test_modules_where_a_server_tells_them():
    row = {"func": "f", "args": ["int"], "ret": "int", "line": 1, "file": "f.c"}
    with faked(lambda request: {"log": "ok.", "res": [dict(row, module="nf-nat"), dict(row, module="vm")]}) as resolver:
        assert [f.module for f in resolver.functions("f")] == ["nf_nat", ""]
        assert [f.module for f in resolver.functions("f", "nf_nat")] == ["nf_nat"]


def test_it_is_opened_late_and_needs_a_server(monkeypatch):
    with pytest.raises(InputError):
        RemoteResolver()
    resolver = RemoteResolver("127.0.0.1:1", "5.10.0", "i686")
    resolver.client.tries = 1
    assert resolver.pointer_size == 4
    with pytest.raises(RemoteError) as caught:
        resolver.record("struct", "x")
    assert "127.0.0.1:1" in str(caught.value) and "\n" not in str(caught.value)


WRONG = [None, True, False, -1, 0, 1 << 70, 1.5, float("inf"), "", "x", "%", "[", "-3", "struct {", "int (", "\0",
    u"\xe9", [], {},
         [[]], [None], ["int ("], {"a": 1}, "x[", "x[3", "x[-1]", "a.b.c[2].d", "0:4", ":", "9" * 30, "*" * 5000,
         ["..."] * 3]


def paths(value, path=()):
    """Every place in an answer."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for each in paths(inner, path + (key,)):
            yield each


def changed(answer, path, value):
    answer = copy.deepcopy(answer)
    place = answer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return answer


@pytest.mark.parametrize("request_", [{"cmd": "func", "func": "thing_open"}, {"cmd": "func", "func": "thing_%"},
                                      {"cmd": "struct", "struct": "struct thing"},
                                      {"cmd": "struct", "struct": "struct %"},
                                      {"cmd": "type", "type": "cookie_t"}, {"cmd": "type", "type": "atomic_t"}],
                         ids=lambda request: "%s-%s" % tuple(sorted(request.values())))
def test_wrong_values_of_every_field(request_):
    """A value or an LbcError that is one line, whatever stands in whatever place."""
    good = conformance.serve(dict(request_, ver="5", arch="x86_64"))
    rng, outcomes = random.Random(11), set()
    places = [path for path in paths(good) if path]
    if len(places) > 60:
        places = rng.sample(places, 60)
    for path in places:
        for value in rng.sample(WRONG, 5):
            bad = changed(good, path, value)
            same = [key for key in request_ if key != "cmd"][0]

            def answer(request):
                hit = request["cmd"] == request_["cmd"] and request[same] == request_[same]
                return bad if hit else conformance.serve(request)
            try:
                with faked(answer) as resolver:
                    conformance.explore(resolver)
                    resolver.functions("thing_open")
                    resolver.search_functions(FuncQuery("thing_%"))
                    resolver.search_records("struct %")
                outcomes.add("fine")
            except LbcError as error:
                assert len(str(error)) < 700 and "\n" not in str(error).partition("\nhint: ")[0]
                outcomes.add("refused")
    assert "refused" in outcomes


def test_answers_of_many_rows():
    cells = [{"type": "int", "name": "m%d" % number, "offset": 4 * number, "size": 4, "bits": ""}
        for number in range(1 << 17)]
    with faked(lambda request: {"log": "ok.", "res": {"name": "struct x", "members": 1, "size": 4,
            "cell": cells}}) as resolver:
        with pytest.raises(RemoteError) as caught:
            resolver.record("struct", "x")
        assert "131072 members" in str(caught.value)
    with faked(lambda request: {"log": "ok.", "res": [{}] * (1 << 17)}) as resolver:
        with pytest.raises(RemoteError):
            resolver.functions("x")
