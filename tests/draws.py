"""Draws of a sampler, counted, and the test of their distribution."""

from __future__ import annotations

import numpy as np
from scipy import stats

from corelm import Context, RandomStream, Sampler, draw
from corelm.runs import chain_stages

INF = float("inf")
N = 100_000
VOCABULARY = 300  # more than two blocks of the draw
NOWHERE = Context.of([[0]])


def example_logits() -> np.ndarray:
    """Logits of widely different tokens, a third of them impossible."""
    logits = np.random.default_rng(11).normal(0, 2, VOCABULARY)
    logits[::3] = -INF
    return logits.astype(np.float32)


def draws_of(
    sampler: Sampler, logits: np.ndarray, seed: int, context: Context = NOWHERE
) -> np.ndarray:
    """Count each token in N draws, with the random streams of a thousand samples."""
    changed = chain_stages.apply(sampler, logits[None, :], context)
    rows = np.broadcast_to(changed, (1000, len(logits)))
    stream = RandomStream(seed, range(1000))
    counts = np.zeros(len(logits), dtype=np.int64)
    for position in range(N // 1000):
        counts += np.bincount(draw(rows, stream.at(position))[0], minlength=len(logits))
    return counts


def g_test(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """The p-value of a likelihood-ratio test; rare tokens are counted together."""
    expected = probabilities.astype(np.float64) * counts.sum()
    assert counts[expected == 0].sum() == 0, "a token of probability zero was drawn"
    common = expected >= 5
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    if len(wanted) == 1:
        return 1.0
    wanted *= observed.sum() / wanted.sum()
    return float(stats.power_divergence(observed, wanted, lambda_="log-likelihood").pvalue)
