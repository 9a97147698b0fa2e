"""Leave out the likeliest of several good tokens, some of the time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    by_rows,
    hookimpl,
    log_softmax,
    min_entropy,
    param,
    tokens_within,
)


class Xtc(Sampler):
    """Exclude top choices: with a probability, drop all good tokens but the least likely one.

    Good are the tokens of at least the threshold's probability; one of them, the last in
    falling order, stays. The coin and the draw after it are one draw from the mixture of the
    cut and the uncut distribution, which is what is returned. probability = 0 switches it off.

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
    reads = frozenset()

    probability: float = param(0.0, "how often it acts; 0 is off", ge=0, le=1)
    threshold: float = param(0.1, "probability from which a token is good", ge=0, le=1)
    special: tuple[int, ...] = param((), "ids that it leaves alone, such as the end token's")

    def __call__(self, logits: Array, context: Context) -> Array:
        return by_rows(logits, self._mix)

    def _mix(self, rows: Array, out: Array) -> None:
        out[...] = rows
        vocabulary = rows.shape[1]
        good = tokens_within(rows, -_ln(self.threshold) - min_entropy(rows))
        good = good[np.isin(good % vocabulary, self.special, invert=True)]
        several = np.flatnonzero(np.bincount(good // vocabulary) > 1)
        for i in several:
            tokens = good[good // vocabulary == i] % vocabulary
            least = np.flatnonzero(rows[i, tokens] == rows[i, tokens].min())[-1]
            out[i] = self._mixture(rows[i], np.delete(tokens, least))

    def _mixture(self, row: Array, dropped: Array) -> Array:
        """Logarithms of the mixed probabilities, from those of either distribution."""
        rest = row.copy()
        rest[dropped] = -np.inf
        uncut, cut = log_softmax(row), log_softmax(rest)
        likeliest = rest.argmax()
        share = float(uncut[likeliest]) - float(cut[likeliest])  # ln of what is not dropped
        left_alone = _ln(1 - self.probability)
        mixed = cut + float(np.logaddexp(_ln(self.probability), left_alone + share))
        mixed[dropped] = uncut[dropped] + left_alone
        return mixed


def _ln(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"xtc": Xtc}
