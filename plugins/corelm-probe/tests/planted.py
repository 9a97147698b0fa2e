"""Engines with planted faults: they draw from a chain that is not the one they are asked for."""

from __future__ import annotations

import numpy as np
from corelm_probe import CallableEngine

import corelm


def drawn(chain, model, prompt, n, seed, length):
    """Return texts from the exact distributions of a chain, (n, length)."""
    rng = np.random.default_rng(seed)
    tokens = np.broadcast_to(np.int64(prompt), (n, len(prompt)))
    for _ in range(length):
        context = corelm.Context.of(tokens, prompt_length=len(prompt))
        logits = np.asarray(chain(model.logits(tokens), context), dtype=np.float64)
        sums = np.cumsum(corelm.softmax(logits), axis=1)
        uniform = rng.random((n, 1)) * sums[:, -1:]
        tokens = np.column_stack([tokens, (sums <= uniform).sum(axis=1)])
    return tokens[:, len(prompt) :]


def engine_of(model, chain=None, *, change=None, format=None):
    """Return an engine that draws from `chain`, or from the stages asked for, as `change` has them.

    By default it is correct.
    """

    def draw(prompt, settings, n, seed, length):
        asked = chain or settings.get("sampler") or corelm.from_settings(settings, format).sampler
        real = corelm.sampler(asked) if isinstance(asked, str) else asked
        if change is not None:
            stages = tuple(change(list(real.active_stages)))
            real = corelm.Chain(stages) if stages else corelm.sampler("stochastic")
        return drawn(real, model, prompt, n, seed, length)

    return CallableEngine(draw, format=format)
