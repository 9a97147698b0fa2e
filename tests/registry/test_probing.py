"""The probes: what a few calls show about a sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest

from corelm import Sampler, param, sampler
from corelm.questions.linting import has_effect
from corelm.runs import Strategy

INF = float("inf")


class Heat(Sampler):
    """Divide by a number of another name."""

    kind = "temperature"
    reads = frozenset()

    heat: float = param(2.0)

    def __call__(self, logits, context):
        return (logits / self.heat).astype(logits.dtype)


@pytest.mark.parametrize(
    ("expression", "t"),
    [
        ("greedy", 0),
        ("stochastic", 1),
        ("uniform", math.inf),
        ("temperature(t=0)", 0),
        ("temperature(t=0.33)", 0.33),
        ("temperature(t=1)", 1),
        ("temperature(t=1.5)", 1.5),
        ("temperature(t=inf)", math.inf),
        ("temperature(t=0.33) | temperature(t=2)", 0.66),
        ("dynamic_temperature(t_min=0.5, t_max=1.5)", None),
        ("dynamic_temperature(t_min=0.7, t_max=0.7)", 0.7),
        ("edt(t=0.7, theta=0.5)", None),
        ("edt(t=0.7, theta=0)", 0.7),
        ("temperature(t=0.5) | top_k(k=2)", None),
        ("top_k(k=1)", None),
        ("repetition_penalty(penalty=2)", None),
    ],
)
def test_the_temperature_of_a_sampler(expression, t):
    assert Strategy(sampler(expression)).temperature == t


def test_the_temperature_of_a_plugins_sampler_is_found_from_its_results():
    assert Strategy(Heat(heat=0.25)).temperature == 0.25
    assert Strategy(Heat() | Heat(heat=3)).temperature == 6


class Silent(Sampler):
    """A temperature that declares nothing but its kind; `past` makes it read the context."""

    kind = "temperature"
    past: bool = param(False)

    def __call__(self, logits, context):
        return (logits / (2 + self.past * context.tokens.shape[1])).astype(logits.dtype)


def test_a_sampler_that_does_not_declare_what_it_reads_is_asked_with_two_pasts():
    assert Strategy(Silent()).temperature == 2
    assert Strategy(Silent() | sampler("temperature(t=0.5)")).temperature == 1
    assert Strategy(Silent(past=True)).temperature is None
    assert has_effect(Silent()) is True
    assert has_effect(Silent(past=True)) is None


def made(kind, call):
    """A sampler of a kind that reads nothing, from a function of the logits."""
    members = {"kind": kind, "reads": frozenset(), "__call__": lambda _, logits, __: call(logits)}
    return type("Made", (Sampler,), members)()


def test_some_samplers_of_the_kind_temperature_have_none():
    assert Strategy(made("temperature", lambda rows: -rows)).temperature is None
    assert (
        Strategy(made("temperature", lambda rows: np.where(rows > 3, rows, -INF))).temperature
        is None
    )
    assert Strategy(made("temperature", lambda rows: rows - rows**2)).temperature is None


def test_probes_cause_no_warnings():
    overflowing = made("filter", lambda rows: np.where(np.exp(rows * 1e30) > 0, rows, rows))
    assert has_effect(overflowing) is False


@pytest.mark.parametrize(
    ("early", "late", "acts"),
    [
        (None, "top_k(k=200000)", True),
        (None, "top_k(k=1000000)", False),
        (None, "stochastic", False),
        (None, "mirostat", None),
        ("mirostat", "top_k(k=40)", None),
        ("epsilon(epsilon=0.05)", "top_k(k=20)", False),
        ("epsilon(epsilon=0.05)", "top_k(k=19)", True),
        ("top_p(p=0.9)", "top_p(p=0.95)", True),
        ("min_p(p=0.1)", "top_n_sigma(n=3)", True),
        ("top_k(k=50)", "top_n_sigma(n=3)", True),
        ("top_k(k=50)", "top_p(p=0.999)", True),
        ("top_p(p=0.95)", "min_p(p=0.05)", True),
        ("top_n_sigma(n=1)", "min_p(p=0.02)", True),
    ],
)
def test_whether_a_sampler_has_an_effect(early, late, acts):
    assert has_effect(sampler(late), early and sampler(early)) is acts
