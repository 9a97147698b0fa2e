"""Samplers on arrays of any library: which ones are portable."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import corelm
from corelm import Sampler
from corelm.errors import MissingDependencyError
from corelm.filters import array_namespace, change_logits, remove_tokens
from corelm.runs import plugins
from corelm.testing import LAWS

IN_NUMPY = {
    "adaptive_p",
    "ban",
    "dry",
    "force",
    "length_bias",
    "logit_bias",
    "min_length",
    "no_repeat_ngram",
    "phase",
    "schedule",
}
"""Built-in samplers that are not portable at their defaults, which do nothing or need words."""


def is_portable(sampler):
    try:
        for law in LAWS["portable"]:
            law(sampler)
    except AssertionError:
        return False
    return True


def test_the_built_in_samplers_are_portable_as_they_come_but_for_some():
    built_in = {
        offer.name
        for offer in plugins.registry().offers("corelm_samplers")
        if offer.value.__module__.startswith("corelm_s")
    }
    found = {name for name in built_in if not is_portable(corelm.sampler(name))}
    assert found == IN_NUMPY


def test_penalties_biases_and_the_adaptive_target_are_portable_where_they_act():
    acting = (
        "repetition_penalty(penalty=2, normalised=True)",
        "presence_penalty(penalty=0.5)",
        "frequency_penalty(penalty=0.5)",
        "dry(multiplier=1.0, allowed_length=1)",
        "logit_bias(bias={0: 1.5, 1: -1e999})",
        "adaptive_p(target=0.4)",
        "mirostat(tau=0.5)",
        "phase(start=0, end=1, inside=top_k(k=1))",
        "schedule(first=temperature(t=2), last=temperature(t=1), over=4)",
    )
    assert [each for each in acting if not is_portable(corelm.sampler(each))] == []


@pytest.mark.engines("torch")
def test_a_gradient_flows_through_a_changed_logit_once():
    import torch

    logits = torch.tensor([[4.0, -1.0, 2.0], [-np.inf, 1.0, 3.0]], requires_grad=True)
    changed = change_logits(logits, [0, 0, 0, 1], [0, 1, 0, 0], lambda logit: logit * 2)
    assert changed.tolist() == [[8.0, -2.0, 2.0], [-np.inf, 1.0, 3.0]]
    changed[changed > -np.inf].sum().backward()
    assert logits.grad.tolist() == [[2.0, 2.0, 1.0], [0.0, 1.0, 1.0]]


@pytest.mark.engines("jax")
def test_logits_of_jax_are_changed_and_removed_as_numpys_are():
    import jax.numpy as jnp

    logits = np.array([[4.0, -1.0, 2.0], [-np.inf, 1.0, -np.inf]], dtype=np.float32)
    removed = remove_tokens(jnp.asarray(logits), [0, 1], [0, 1])
    assert removed.tolist() == remove_tokens(logits, [0, 1], [0, 1]).tolist()
    changed = change_logits(jnp.asarray(logits), [0], [1], lambda logit: logit - 1)
    assert changed.tolist() == [[4.0, -2.0, 2.0], [-np.inf, 1.0, -np.inf]]


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
