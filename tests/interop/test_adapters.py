"""The test of an adapter's draws catches engines that draw wrongly on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import corelm
from corelm.interop.testing import check_draws

N = 20_000


def engine(change: str, n: int = N) -> Callable[[np.ndarray, str], np.ndarray]:
    """Return an engine that draws n tokens with a sampler that it changes."""

    def draw(logits: np.ndarray, sampler: str) -> np.ndarray:
        p = corelm.sampling_distribution(corelm.sampler(change.format(sampler)), logits)
        return np.random.default_rng(1).choice(len(p), n, p=p / p.sum())

    return draw


@pytest.mark.parametrize("vocabulary", [60, 1000])
def test_an_engine_that_draws_as_its_sampler_says_passes(vocabulary):
    check_draws(engine("{}"), vocabulary=vocabulary)


@pytest.mark.parametrize("vocabulary", [60, 1000])
@pytest.mark.parametrize(
    "change",
    ["{} | temperature(t=0.95)", "{} | temperature(t=1.05)", "{} | top_k(k=39)", "stochastic"],
)
def test_an_engine_that_draws_otherwise_is_caught(change, vocabulary):
    with pytest.raises(AssertionError, match="the draws have another distribution"):
        check_draws(engine(change), vocabulary=vocabulary)


def test_too_few_draws_prove_nothing():
    with pytest.raises(AssertionError, match="2000 draws are too few: they fit top_k"):
        check_draws(engine("{}", n=N // 10))
