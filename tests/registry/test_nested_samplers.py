"""Samplers as parameters of samplers: read, written, checked, explained."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import corelm
from corelm import Context, ParameterError, Sampler, Switch, hookimpl, lint, param, sampler
from corelm.contracts.declarations import READABLE
from corelm.errors import ExpressionError, UnknownNameError
from corelm.questions.portability import is_portable
from corelm.runs import Expression, plugins
from corelm.testing import ToyModel

GREEDY, COLD = sampler("greedy"), sampler("temperature(t=0.5)")


class Early(Switch):
    """One sampler for the first n tokens of a text, another for the others."""

    reads = frozenset({"tokens"})
    is_argmax_invariant = True

    n: int = param(1, ge=0)
    first: Sampler = param(GREEDY, "the sampler at the beginning", aliases=("one",))
    then: Sampler = param(COLD)

    def choose(self, context):
        acts = self.first if context.tokens.shape[1] < self.n else self.then
        return [acts] * context.batch


PLUGIN = SimpleNamespace(corelm_samplers=hookimpl(lambda: {"early": Early}))


@pytest.fixture(autouse=True)
def _registered():
    plugins.registry.cache_clear()
    plugins.registry().register(PLUGIN, "corelm-early")
    yield
    plugins.registry.cache_clear()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("early(n=2)", Early(n=2)),
        ("early(then=greedy)", Early(then=GREEDY)),
        ("early(1, greedy, greedy,)", Early(then=GREEDY)),
        ("early(one=temperature(t=0.5))", Early(first=COLD)),
        ("early(first = greedy|temperature(t=0.5), n=3)", Early(3, GREEDY | COLD)),
        ("early(then=corelm:temperature(t=0.5))", Early(then=COLD)),
        ("early(then=ban(words=['|', ')', ',']) | greedy)",
         Early(then=sampler("ban", words=["|", ")", ","]) | GREEDY)),
        ("early(then=early(n=2, then=early(n=3)))", Early(then=Early(2, then=Early(3)))),
        ("early(then='temperature(t=0.5)')", Early(then=COLD)),
        ("early | early(first=greedy) | greedy", Early() | Early() | GREEDY),
    ],
)  # fmt: skip
def test_an_expression_nests(expression, expected):
    read = sampler(expression)
    assert read == expected
    assert hash(read) == hash(expected)
    assert sampler(str(read)) == read
    assert pickle.loads(pickle.dumps(read)) == copy.deepcopy(read) == read


def test_the_expression_of_a_nested_sampler():
    nested = Early(2, then=GREEDY | COLD)
    expected = "early(n=2, first=greedy, then=greedy | temperature(t=0.5))"
    assert str(nested) == expected
    assert str(nested | GREEDY) == f"{expected} | greedy"
    assert Early(2) != nested


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("early(then=3)", ParameterError, "then must be a sampler, not 3"),
        ("early(then=nobody)", UnknownNameError, "there is no sampler 'nobody'"),
        ("early(then=temperature(t=-1))", ParameterError, "t must be at least 0, not -1.0"),
        ("early(then=temperature(t=)", ExpressionError, "cannot read the parameters of early: 'th"),
        ("early(then=temperature(t=[)", ExpressionError, "cannot read the parameters of "),
        ("early(then=greedy || greedy)", ExpressionError, "cannot read the parameters of early"),
        ("early(last=greedy)", ParameterError, "early has no parameter 'last'; it has: n, first"),
        ("early(n=greedy)", ExpressionError, "cannot read the parameters of early: 'n=greedy'"),
        ("early(1, greedy, greedy, greedy)", ParameterError, "early takes fewer than 4 values"),
        ("early(then=greedy, 1)", ExpressionError, "cannot read the parameters of early"),
        ("early(then=" * 17 + "greedy" + ")" * 17, ExpressionError, "samplers in an expression ne"),
        ("early(then=" * 800 + ")" * 800, ExpressionError, "samplers in an expression nest at"),
    ],
)
def test_a_nested_sampler_that_cannot_be_read(expression, error, message):
    with pytest.raises(error) as caught:
        sampler(expression)
    assert str(caught.value).startswith(message)
    assert error is not ExpressionError or len(str(caught.value)) < 250


def test_the_deepest_nesting_is_read_back():
    deep = GREEDY
    for _ in range(Expression.DEEPEST):
        deep = Early(then=deep)
    assert sampler(str(deep)) == deep


# What follows from the nested ones


def test_the_declarations_follow_from_the_nested_samplers():
    nested = Early(then=sampler("repetition_penalty(penalty=2) | mirostat"))
    assert nested.reads == {"tokens", "surprisal"}
    assert not nested.is_shift_invariant
    assert not nested.is_argmax_invariant
    assert Early().is_argmax_invariant
    assert Early().is_shift_invariant
    assert Early(then=sampler("min_length")).reads == {"tokens", "position", "vocabulary"}
    assert Early.reads == {"tokens"}
    assert Early(then=nested | GREEDY).reads == {"tokens", "surprisal"}


def test_a_sampler_that_declares_nothing_reads_everything():
    class Holder(Sampler):
        inner: Sampler = param(GREEDY)

        def __call__(self, logits, context):
            return self.inner(logits, context)

    assert Holder().reads == READABLE
    assert not Holder().is_argmax_invariant


class InNumPy(Sampler):
    def __call__(self, logits, context):
        return np.asarray(logits) / 2


def test_it_runs_on_other_libraries_if_the_nested_samplers_do():
    pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    assert is_portable(Early(then=sampler("top_p(p=0.5)")))
    assert not is_portable(Early(n=9, first=InNumPy()))


# Lint and explanation


@pytest.mark.parametrize(
    ("expression", "places"),
    [
        ("early", []),
        ("early(then=temperature(t=2))", []),
        ("early(then=temperature(t=2) | min_p(p=0.1))", ["early then"]),
        ("early(then=temperature(t=2)) | min_p(p=0.1)", ["early then"]),
        ("early(then=early(first=temperature(t=2))) | min_p(p=0.1)", ["early then, early first"]),
        # where greedy does not act, the other stage does
        ("early(first=greedy) | temperature(t=0.5)", []),
        ("min_p(p=0.1) | early(then=greedy | top_k(k=1))", ["early then"]),
    ],
)
def test_a_note_says_in_which_parameter(expression, places):
    assert [note.split(":")[0] for note in lint(sampler(expression))] == places


def test_an_explanation_shows_the_branch_that_acts():
    chain = Early(1, then=Early(9, first=sampler("top_k(k=2) | temperature(t=0.5)"))) | GREEDY
    explanation = corelm.explain(ToyModel(), "the", chain)
    assert [(stage.branch, str(stage.sampler)) for stage in explanation.stages] == [
        ("", "None"),
        ("early then, early first", "top_k(k=2)"),
        ("early then, early first", "temperature(t=0.5)"),
        ("", "greedy"),
    ]


def test_text_is_a_sampler_too():
    assert Early(then="top_k(k=2) | greedy").then == sampler("top_k(k=2) | greedy")
    with pytest.raises(UnknownNameError):
        Early(then="nobody")


def test_a_call_calls_the_nested_sampler():
    logits = np.log([[0.5, 0.25, 0.25]])
    early = Early(1)
    assert early(logits, Context.of([[]]))[0].argmax() == 0
    assert np.isfinite(early(logits, Context.of([[0]]))).all()
