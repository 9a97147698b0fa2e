"""Some of the time, leave out the most likely of several good tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Coin, Context, Sampler, Vocabulary, hookimpl, mask_logits, param
from corelm.filters import (
    KernelSampler,
    TokenNames,
    array_namespace,
    compiled,
    min_entropy,
    surprisal_of_probability,
    widen,
    within_nats,
)


class Xtc(KernelSampler, Coin):
    """Exclude top choices: with a probability, drop all good tokens but the least likely one.

    Good tokens have at least the threshold's probability and aren't in `special`; one of them, the
    last in falling order, stays. The coin and the draw after it are one draw from the mixture of
    the cut and the uncut distribution; later stages act on each of the two before they are mixed.
    probability = 0 switches it off. A word of `special` that the model's vocabulary lacks is
    skipped; `end` means the end tokens, and `newline` the token of a line break.

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
    example = {"probability": 0.5}
    reads = frozenset({"vocabulary"})  # only where `special` holds words

    probability: float = param(0.0, "how often it acts; 0 is off", ge=0, le=1)
    threshold: float = param(0.1, "the least probability of a good token", ge=0, le=1)
    special: tuple[int | str, ...] = param(
        (),
        "tokens that it leaves alone: words, ids, end and newline for the ends of texts and lines",
    )

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(xtc, self.probability, self.threshold, self._protected(context.vocabulary, size))]

    def toss(self, logits: Array, context: Context) -> tuple[Array, Array, Array]:
        xp, protected = (
            array_namespace(logits),
            self._protected(context.vocabulary, logits.shape[-1]),
        )
        # The mixture of the cut alone has the tokens that stay, but not their logits.
        stays = xtc(logits, 1.0, self.threshold, protected) > -np.inf
        acts = xp.any((logits > -np.inf) & ~stays, axis=-1)
        return xp.where(acts, self.probability, 0.0), mask_logits(logits, stays), logits

    def _protected(self, vocabulary: Vocabulary | None, size: int) -> NDArray[np.int64]:
        return np.array(sorted(self._ids(vocabulary, size)), dtype=np.int64)

    def _ids(self, vocabulary: Vocabulary | None, size: int) -> set[int]:
        named = {"end", "newline"}.intersection(self.special)
        names = TokenNames(vocabulary, size)
        ids = names.existing(token for token in self.special if token not in named)
        if vocabulary is None:
            return ids
        ends = vocabulary.ends if "end" in named else ()
        # Some tokenizers put the mark of a space before it; the line break is the last token.
        breaks = vocabulary.encode("\n")[-1:] if "newline" in named else []
        return ids.union(ends, set(breaks) - {vocabulary.unknown})


@compiled("xtc", by_row=False)
@np.errstate(over="ignore")
def xtc(
    logits: Array, probability: float, threshold: float, protected: Collection[int] = ()
) -> Array:
    """Mix each row with a copy that lacks all good tokens but the last one.

    Let m be the mass of the tokens that the copy keeps. In the mixture a token that the copy lacks
    has (1 - probability) times its probability, every other one (probability / m + 1 - probability)
    times. The result has log-probabilities, except in rows with nothing to drop.

    Args:
        logits: (batch, vocabulary).
        probability: of the copy in the mixture, 0 to 1.
        threshold: the least probability of a good token, 0 to 1.
        protected: ids that are never good.
    """
    xp = array_namespace(logits)
    least = min_entropy(logits)
    good = within_nats(logits, surprisal_of_probability(threshold) - least) > -np.inf
    # `arange` would need the shape and the device as arguments; counting true values inherits both.
    ids = _running_count(logits == logits) - 1
    for token in map(int, protected):
        good = good & (ids != token)
    # The last good token stays; on ties the one with the highest id.
    lowest = xp.min(xp.where(good, logits, np.inf), axis=-1, keepdims=True)
    tied = _running_count(good & (logits == lowest))
    dropped = good & ~((logits == lowest) & (tied == tied[..., -1:]))
    rest = mask_logits(logits, ~dropped)
    rest_least = min_entropy(rest)
    # ln m, from the largest logits and the min-entropies before and after.
    apart = widen(xp.max(rest, axis=-1)) - widen(xp.max(logits, axis=-1))
    ln_mass = apart + rest_least - least
    cut, uncut = -surprisal_of_probability(probability), -surprisal_of_probability(1 - probability)
    # Among the kept tokens a probability is 1 / m times as large, which turns the factor of the
    # docstring into probability + m (1 - probability): no division by a mass that may be tiny.
    stays = xp.logaddexp(xp.zeros_like(ln_mass) + cut, ln_mass + uncut) - rest_least
    mixed = xp.where(
        dropped, _shifted(logits, logits, uncut - least), _shifted(logits, rest, stays)
    )
    return xp.where(xp.any(dropped, axis=-1, keepdims=True), mixed, logits)


def _running_count(mask: Any) -> Any:
    xp = array_namespace(mask)
    return xp.cumulative_sum(xp.astype(mask, xp.int32), axis=-1)


def _shifted(logits: Array, like: Array, nats: Array) -> Array:
    """Return the logits minus the maximum of each row of `like`, plus (batch,) nats."""
    xp = array_namespace(logits)
    return logits - xp.max(like, axis=-1, keepdims=True) + xp.astype(nats, logits.dtype)[..., None]


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"xtc": Xtc}
