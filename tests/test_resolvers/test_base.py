"""The chain of several sources, and what every source does alike."""
from __future__ import absolute_import

import os

import pytest

from lbc.errors import FormatError, NotFoundError
from lbc.resolvers import base, model
from lbc.resolvers.btf import BtfResolver

from . import conformance


class Fake(base.Resolver):
    """Answers from dicts; ``asked`` lists the questions."""

    def __init__(self, where, **answers):
        self.where, self.answers, self.asked, self.closed = where, answers, [], 0

    def _look_up(self, what, name, nothing=None):
        self.asked.append((what, name))
        return self.answers.get(what, {}).get(name, nothing)

    def functions(self, name, module=None):
        return self._look_up("functions", name, [])

    def search_functions(self, query):
        return self._look_up("search_functions", query.name, [])

    def record(self, keyword, name):
        return self._look_up("record", name)

    def enum(self, name):
        return self._look_up("enum", name)

    def named(self, name):
        return self._look_up("named", name)

    def enumerator(self, name):
        return self._look_up("enumerator", name)

    def variable(self, name):
        return self._look_up("variable", name)

    def search_records(self, pattern, limit=100):
        return self._look_up("search_records", pattern, [])

    def near(self, kind, name):
        return self._look_up("near", name, [])

    def close(self):
        self.closed += 1


def function(name, file=""):
    return model.Function(name, [], model.Void(), "", file, 0)


@pytest.fixture
def pair():
    first = Fake("a.db", functions={"both": [function("both", "a")], "one": [function("one", "a")]},
                 enumerator={"ZERO": 0}, record={"declared": model.Record("struct", "declared", None),
                                                 "both": model.Record("struct", "both", 1)},
                 search_functions={"%": [function("both", "a"), function("both", "a2"), function("one", "a")]},
                 search_records={"%": [("struct both", 1, 0)]}, near={"x": ["xa", "xb"]})
    second = Fake("b.db", functions={"both": [function("both", "b")], "two": [function("two", "b")]},
                  enumerator={"ZERO": 9, "TWO": 2}, record={"declared": model.Record("struct", "declared", 8),
                                                            "both": model.Record("struct", "both", 2)},
                  search_functions={"%": [function("both", "b"), function("two", "b")]},
                  search_records={"%": [("struct both", 2, 0), ("struct two", 4, 1)]}, near={"x": ["xb", "xc", "xd"]},
                  named={"t": model.Typedef("t", model.Void())}, enum={"e": model.Scalar("enum e", 4)},
                  variable={"v": model.Void()})
    return first, second


def test_the_first_that_knows_answers(pair):
    chain = base.Chain(pair)
    assert [chain.functions(name)[0].file for name in ("both", "one", "two")] == ["a", "a", "b"]
    assert chain.functions("none") == [] and chain.record("struct", "none") is None
    assert chain.record("struct", "both").size == 1
    assert chain.enumerator("ZERO") == 0 and chain.enumerator("TWO") == 2 and chain.enumerator("none") is None
    assert ("enumerator", "ZERO") not in pair[1].asked     # a zero is an answer
    assert chain.named("t").text == "t" and chain.enum("e").text == "enum e" and isinstance(chain.variable("v"),
        model.Void)
    assert chain.where == "a.db or b.db"


def test_a_declaration_does_not_hide_the_definition(pair):
    chain = base.Chain(pair)
    assert chain.record("struct", "declared").size == 8
    assert base.Chain(pair[:1]).record("struct", "declared").size is None


def test_searches_join(pair):
    chain = base.Chain(pair)
    query = base.FuncQuery("%")
    assert [(f.name, f.file) for f in chain.search_functions(query)] == [
        ("both", "a"), ("both", "a2"), ("one", "a"), ("two", "b")]
    assert len(chain.search_functions(query._replace(limit=2))) == 2
    assert chain.search_records("%") == [("struct both", 1, 0), ("struct two", 4, 1)]
    assert chain.near("struct", "x") == ["xa", "xb", "xc"]


def test_a_broken_source_is_an_error():
    class Broken(base.Resolver):
        def record(self, keyword, name):
            raise FormatError("damaged", "a.db")
    with pytest.raises(FormatError):
        base.Chain([Broken(), Fake("b")]).record("struct", "x")


def test_all_are_closed(pair):
    with base.Chain(pair):
        pass
    assert [one.closed for one in pair] == [1, 1]


def test_an_empty_resolver_knows_nothing():
    nothing = base.Resolver()
    assert nothing.functions("x") == [] == nothing.search_functions(base.FuncQuery("%")) == nothing.search_records("%")
    for answer in (nothing.record("struct", "x"), nothing.enum("x"), nothing.named("x"), nothing.enumerator("x"),
                   nothing.variable("x")):
        assert answer is None
    assert nothing.type("unsigned long").size == 8
    for question in (lambda: nothing.get_record("union", "x"), lambda: nothing.get_functions("x"),
                     lambda: nothing.type("struct x")):
        with pytest.raises(NotFoundError) as caught:
            question()
        assert "`x`" in str(caught.value) and caught.value.near == []
    assert base.Chain([]).where == "" and base.Chain([]).pointer_size == 8


def test_what_is_not_found_says_where_and_what_else(pair):
    chain = base.Chain(pair)
    with pytest.raises(NotFoundError) as caught:
        chain.get_functions("x", "nf_nat")
    assert str(caught.value) == "no function `x` in module nf_nat of a.db or b.db; did you mean `xa` or `xb` or `xc`?"
    assert chain.get_functions("one")[0].name == "one" and chain.get_record("struct", "both").size == 1


def test_queries():
    query = base.FuncQuery("tcp_%", arg="struct sock *")
    assert query == ("tcp_%", None, "struct sock *", 100) and query.limit == 100
    assert query._replace(limit=5) == base.FuncQuery("tcp_%", None, "struct sock *", 5)
    assert base.FuncQuery("x") != base.FuncQuery("y")


def test_conformance_through_a_chain(tmpdir):
    """A source that knows nothing before one that knows all changes nothing."""
    with base.Chain([Fake("nothing"), BtfResolver(os.path.join(conformance.DATA, "things.btf"))]) as chain:
        conformance.check(chain)
