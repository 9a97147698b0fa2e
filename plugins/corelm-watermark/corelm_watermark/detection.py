"""Detect a watermark: compare the marks of a text with what chance gives."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import corelm
from corelm.errors import UsageError
from corelm_watermark.watermark import Watermark

HEAVIEST = 10.0
"""The weight of the first layer of a tournament, when the last one has 1; as in the paper."""


@dataclass(frozen=True)
class Detection:
    """The evidence for a watermark in a text.

    Attributes:
        tokens: the tokens of the text.
        scored: the n-grams that count, each once.
        score: their mean mark: the share of green tokens, or the weighted mean of the bits.
        chance: the expected score of a text without the watermark.
        z: by how many standard deviations the score exceeds it.
        p_value: the probability of such a score, or a higher one, in a text without the watermark.
    """

    tokens: int
    scored: int
    score: float
    chance: float
    z: float
    p_value: float


def detect(sampler, text, vocabulary):
    """Look for the watermark of a sampler in a text.

    Without the watermark, each mark of an n-gram is a draw with the probability `chance`, since the
    key is not related to the text. Equal n-grams have equal marks, so they count once. One mark a
    token, as `green_list` has it, is binomial, and the p-value is exact. Several, as `synthid` has
    them, are averaged with weights that fall from 10 to 1, and the p-value is the normal
    distribution's.

    Args:
        sampler: a `green_list` or a `synthid`, or a chain or an expression with one of them.
        text: the text, or its token ids.
        vocabulary: the vocabulary of the model that may have written it.

    Raises:
        UsageError: no watermark in the sampler, or a text too short to score one n-gram.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model, key = ToyModel(end=False), "green_list(key='an example', delta=5)"
        >>> [text] = corelm.generate(model, "the", sampler=key, length=40, seed=1)
        >>> found = detect(key, text.text, model.vocabulary)
        >>> found.scored, round(found.score, 2), round(found.z, 1)
        (21, 0.76, 5.4)
    """
    watermark = watermark_of(corelm.sampler(sampler) if isinstance(sampler, str) else sampler)
    tokens = np.array(vocabulary.encode(text) if isinstance(text, str) else text, dtype=np.int64)
    grams = _scored(watermark, tokens, vocabulary)
    if not len(grams):
        raise UsageError(
            f"the text is too short: {len(tokens)} tokens, and not {watermark.context + 1} "
            "known ones in a row"
        )
    size = len(vocabulary)
    marks, chance = watermark.marks(grams, size), watermark.chance(size)
    weights = np.linspace(HEAVIEST, 1, marks.shape[1]) if marks.shape[1] > 1 else np.ones(1)
    weights /= weights.sum()
    score = float((marks.mean(axis=0) * weights).sum())
    deviation = math.sqrt(chance * (1 - chance) * (weights**2).sum() / len(grams))
    z = (score - chance) / deviation
    if marks.shape[1] == 1:
        p_value = binomial_tail(int(marks.sum()), len(marks), chance)
    else:
        p_value = math.erfc(z / math.sqrt(2)) / 2
    return Detection(len(tokens), len(grams), score, chance, z, p_value)


def watermark_of(sampler):
    """Return the one stage of a sampler that watermarks."""
    found = [stage for stage in sampler.stages if isinstance(stage, Watermark)]
    if len(found) != 1:
        raise UsageError(
            f"expected one watermark, green_list or synthid, not {len(found)} in a chain of "
            f"{len(sampler.stages)}"
        )
    return found[0]


def _scored(watermark, tokens, vocabulary):
    """Return the n-grams that count: distinct, and without [UNK] and padding."""
    width = watermark.context + 1
    if len(tokens) < width:
        return np.empty((0, width), dtype=np.int64)
    grams = sliding_window_view(tokens, width)
    never = [i for i in (vocabulary.unknown, vocabulary.padding) if i is not None]
    grams = grams[~np.isin(grams, never).any(axis=1)]
    # synthid marks the first token after a context, and leaves the later ones alone.
    same = grams[:, :-1] if watermark.once_per_context else grams
    _, first = np.unique(same, axis=0, return_index=True)
    return grams[np.sort(first)]


def binomial_tail(successes, n, p):
    """Return the probability of at least this number of successes in n trials.

    Example:
        >>> round(binomial_tail(2, 3, 0.25), 6)  # 3/64 of two each, and 1/64 of all three
        0.15625
    """
    if successes <= n * p:  # the other tail is the small one, which does not underflow
        return 1.0 if successes <= 0 else 1 - binomial_tail(n - successes + 1, n, 1 - p)
    # In logarithms, because the binomial coefficients of long texts overflow.
    log = math.lgamma(n + 1) - math.lgamma(successes + 1) - math.lgamma(n - successes + 1)
    term = math.exp(log + successes * math.log(p) + (n - successes) * math.log1p(-p))
    total = 0.0
    for k in range(successes, n + 1):
        total += term
        term *= (n - k) / (k + 1) * p / (1 - p)
        if term < total * 1e-17:
            break
    return total
