"""Samplers on arrays of any library: which ones are portable."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import corelm
from corelm import Sampler
from corelm.errors import MissingDependencyError
from corelm.filters import array_namespace
from corelm.numerics.portability import is_portable
from corelm.registry.registry import registry

READ_LOGITS_ONLY = {
    "dynamic_temperature",
    "edt",
    "epsilon",
    "eta",
    "greedy",
    "min_p",
    "quadratic",
    "stochastic",
    "tail_free",
    "temperature",
    "top_a",
    "top_h",
    "top_k",
    "top_n_sigma",
    "top_p",
    "typical",
    "uniform",
    "xtc",
}


def test_the_built_in_samplers_that_read_logits_only_are_portable():
    built_in = {
        offer.name
        for offer in registry().samplers()
        if offer.value.__module__.startswith("corelm_s")
    }
    found = {name for name in built_in if is_portable(corelm.sampler(name))}
    assert found == READ_LOGITS_ONLY


def test_a_chain_is_portable_if_every_stage_is():
    assert is_portable(corelm.sampler("temperature(t=0.5) | top_p(p=0.9)"))
    assert not is_portable(corelm.sampler("temperature(t=0.5) | repetition_penalty(penalty=2)"))


class Halves(Sampler):
    def __call__(self, logits, context):
        return logits / 2


class InNumPy(Sampler):
    def __call__(self, logits, context):
        return np.asarray(logits) / 2


class Different(Sampler):
    def __call__(self, logits, context):
        return logits / (2 if isinstance(logits, np.ndarray) else 3)


class Wider(Sampler):
    def __call__(self, logits, context):
        xp = array_namespace(logits)
        return logits if xp is np else xp.astype(logits, xp.float64)


class ReadsAndDoesNothing(Sampler):
    reads = frozenset({"tokens"})

    def __call__(self, logits, context):
        return logits


@pytest.mark.parametrize(
    ("sampler", "portable"),
    [
        (Halves(), True),
        (InNumPy(), False),
        (Different(), False),
        (Wider(), False),
        (ReadsAndDoesNothing(), False),
    ],
    ids=repr,
)
def test_portable_samplers(sampler, portable):
    assert is_portable(sampler) is portable
    assert is_portable(sampler) is portable


def test_without_array_api_strict_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    with pytest.raises(MissingDependencyError, match="pip install array-api-strict"):
        is_portable(Halves())


def test_an_object_that_is_not_an_array_has_no_namespace():
    with pytest.raises(corelm.CorelmError, match="expected an array, not list"):
        array_namespace([1.0])
