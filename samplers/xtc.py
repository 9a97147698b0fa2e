"""Some of the time, leave out the most likely of several good tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

from corelm import Array, Context, Sampler, Vocabulary, hookimpl, keep, log_softmax, param
from corelm.filters import (
    array_namespace,
    find_tokens,
    last_true,
    min_entropy,
    positions,
    surprisal,
    within_nats,
)


class Xtc(Sampler):
    """Exclude top choices: with a probability, drop all good tokens but the least likely one.

    Good are the tokens of at least the threshold's probability, without those of `special`; one of
    them, the last in falling order, stays. The coin and the draw after it are one draw from the
    mixture of the cut and the uncut distribution, and that mixture is returned. probability = 0
    switches it off. A word of `special` that the model's vocabulary lacks is skipped.

    Source: p-e-w 2024, Exclude top choices (XTC), text-generation-webui pull request 6335.

    Related: quadratic, adaptive_p.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.15, 0.1])
        >>> always = Xtc(probability=1, threshold=0.2)
        >>> corelm.sampling_distribution(always, logits).round(4).tolist()
        [0.0, 0.5, 0.3, 0.2]
        >>> half = Xtc(probability=0.5, threshold=0.2)
        >>> corelm.sampling_distribution(half, logits).round(4).tolist()
        [0.25, 0.375, 0.225, 0.15]
    """

    kind = "filter"
    neutral = {"probability": 0.0}
    reads = frozenset({"vocabulary"})  # only where `special` holds words

    probability: float = param(0.0, "how often it acts; 0 is off", ge=0, le=1)
    threshold: float = param(0.1, "the least probability of a good token", ge=0, le=1)
    special: tuple[int | str, ...] = param(
        (), "tokens that it leaves alone: words, ids, or end for the end token"
    )

    def __call__(self, logits: Array, context: Context) -> Array:
        xp = array_namespace(logits)
        nats = surprisal(self.threshold) - min_entropy(logits)
        good = within_nats(logits, nats) > -math.inf
        if self.special:
            place = positions(logits)
            for token in self._protected(context.vocabulary):
                good = good & (place != token)
        least = xp.min(xp.where(good, logits, math.inf), axis=-1, keepdims=True)
        dropped = good & ~last_true(good & (logits == least))
        several = xp.any(dropped, axis=-1, keepdims=True)
        return xp.where(several, self._mixture(logits, dropped), logits)

    def _protected(self, vocabulary: Vocabulary | None) -> set[int]:
        ids = find_tokens((token for token in self.special if token != "end"), vocabulary)
        end = None if vocabulary is None else vocabulary.end
        return ids | {end} if "end" in self.special and end is not None else ids

    def _mixture(self, logits: Array, dropped: Array) -> Array:
        """Return the logarithms of the mixed probabilities."""
        xp = array_namespace(logits)
        uncut, cut = log_softmax(logits), log_softmax(keep(logits, ~dropped))
        kept = xp.max(keep(uncut, ~dropped), axis=-1, keepdims=True)
        ln_mass = kept - xp.max(cut, axis=-1, keepdims=True)  # of the tokens that are not dropped
        acts, rests = -surprisal(self.probability), -surprisal(1 - self.probability)
        mixed = cut + xp.logaddexp(xp.zeros_like(ln_mass) + acts, ln_mass + rests)
        return xp.where(dropped, uncut + rests, mixed)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"xtc": Xtc}
