"""Expressions that end in a decoder, and names that could be either."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from corelm import Ancestral, Decoder, ParameterError, Sampler, hookimpl, param, sampler
from corelm.errors import AmbiguousNameError, ExpressionError, UnknownNameError
from corelm.registry import expressions, strategies
from corelm.runs import Strategy, plugins


class Search(Decoder):
    """Search."""

    width: int = param(4, "beginnings", ge=1)
    inside: Sampler = param(sampler("greedy"), "another sampler")

    def __call__(self, task):
        yield from Ancestral()(task)


class Either(Sampler):
    """A sampler with the name of a decoder."""

    def __call__(self, logits, context):
        return logits


@pytest.fixture
def registry(monkeypatch):
    """The installed plugins and one more, for strategies and expressions."""
    registry = plugins.Registry()
    decoders = hookimpl(lambda: {"search": Search, "either": Search})
    registry.register(SimpleNamespace(corelm_decoders=decoders), "corelm-search")
    for module in (strategies, expressions):
        monkeypatch.setattr(module, "registry", lambda: registry)
    return registry


CHAIN = "top_k(k=5) | temperature(t=0.5)"


@pytest.mark.parametrize(
    ("expression", "expected", "text"),
    [
        ("top_k(k=5)", Strategy(sampler("top_k(k=5)")), "top_k(k=5)"),
        ("search", Strategy(sampler("stochastic"), Search()), "search(width=4, inside=greedy)"),
        ("search(2)", Strategy(sampler("stochastic"), Search(2)), "search(width=2, inside=greedy)"),
        (
            f"{CHAIN} | search(inside=min_p(p=0.1))",
            Strategy(sampler(CHAIN), Search(inside=sampler("min_p(p=0.1)"))),
            f"{CHAIN} | search(width=4, inside=min_p(p=0.1))",
        ),
        (Search(3), Strategy(sampler("stochastic"), Search(3)), "search(width=3, inside=greedy)"),
        (sampler("greedy"), Strategy(sampler("greedy")), "greedy"),
    ],
)
def test_the_last_stage_may_be_a_decoder(registry, expression, expected, text):
    found = Strategy.of(expression)
    assert found == expected
    assert str(found) == text
    assert Strategy.of(str(found)) == expected
    assert pickle.loads(pickle.dumps(found)) == expected


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("search | greedy", ExpressionError, "search is a decoder, which must be the last stage"),
        ("search | search", ExpressionError, "search is a decoder, which must be the last stage"),
        ("serch", UnknownNameError, "there is no sampler or decoder 'serch'"),
        ("search(width=0)", ParameterError, "width must be at least 1, not 0"),
        ("search(depth=1)", ParameterError, "search has no parameter 'depth'; it has: width, insi"),
    ],
)
def test_what_is_refused(registry, expression, error, message):
    with pytest.raises(error, match=message):
        Strategy.of(expression)


def test_a_name_of_both_kinds_is_refused_until_its_full_name_says_which(registry):
    samplers = hookimpl(lambda: {"either": Either})
    registry.register(SimpleNamespace(corelm_samplers=samplers), "corelm-either")
    expected = (
        "2 plugins offer 'either'; say which one: corelm-either:either or corelm-search:either"
    )
    with pytest.raises(AmbiguousNameError, match=expected):
        Strategy.of("either")


def test_a_package_with_one_name_for_both_cannot_be_understood(registry):
    both = SimpleNamespace(
        corelm_samplers=hookimpl(lambda: {"twin": Either}),
        corelm_decoders=hookimpl(lambda: {"twin": Search}),
    )
    registry.register(both, "corelm-twin")
    with pytest.raises(AmbiguousNameError, match="corelm-twin:twin is both a sampler and a deco"):
        Strategy.of("twin")
