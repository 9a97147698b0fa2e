"""Engines with planted faults: they draw from a chain that is not the one they are asked for."""

from __future__ import annotations

import functools

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


def speculative_engine(model, draft, accepts, *, propose="", residual=True):
    """Return an engine that verifies three tokens of a draft at a time, after an ordinary first.

    Args:
        model: the model.
        draft: the draft's model.
        accepts: from p / q to the probability of accepting a token.
        propose: the draft's chain; by default the settings'.
        residual: draw from the residual after a rejected token, as lossless decoding does.
    """

    def draw(prompt, settings, n, seed, length):
        chains = settings["sampler"], propose or settings["sampler"]
        rows = (each.logits([prompt])[0] for each in (model, draft))
        p, q = map(corelm.sampling_distribution, chains, rows)
        rest = np.maximum(p - q, 0) if residual and (p != q).any() else p
        rng = np.random.default_rng(seed)
        token = functools.partial(rng.choice, len(p))
        texts = []
        for _ in range(n):
            text = [token(p=p)]
            while len(text) < length:
                guesses = [*token(size=3, p=q)]
                while guesses and rng.random() < accepts(p[guesses[0]] / q[guesses[0]]):
                    text.append(guesses.pop(0))
                text.append(token(p=rest / rest.sum() if guesses else p))
            texts.append(text[:length])
        return np.array(texts)

    return CallableEngine(draw)
