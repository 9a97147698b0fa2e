"""Detect a watermark: compare the marks of a text with chance."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import corelm
from corelm.errors import UsageError
from corelm.runs import ModelLogits
from corelm_watermark.watermark import Watermark


@dataclass(frozen=True)
class Detection:
    """The evidence for a watermark in a text.

    Attributes:
        tokens: the tokens of the text.
        scored: the number of distinct n-grams that count.
        score: the mean mark of these: the share of green tokens, the weighted mean of the bits, or
            the mean of -ln(1 - u).
        chance: the expected score of a text without the watermark.
        z: the number of standard deviations by which the score exceeds chance.
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

    Without the watermark, each mark of an n-gram is a draw from a known distribution, since the key
    is not related to the text. Equal n-grams have equal marks, so they count once. For
    `green_list`, with one mark per token, the count is binomial, and for `gumbel_max` the marks are
    exponential, so these p-values are exact. The bits of `synthid` are averaged with weights that
    fall from 10 to 1, and the p-value is the normal distribution's.

    Args:
        sampler: a watermark, or a chain or an expression with one of them.
        text: the text, or its token ids.
        vocabulary: the vocabulary of the model that may have written it.

    Raises:
        UsageError: no watermark in the sampler, or a text too short to score one n-gram.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model, key = ToyModel(end=False), "green_list(key='an example', delta=5)"
        >>> [text] = corelm.generate(model, "the", sampler=key, length=40, seed=1)
        >>> detection = detect(key, text.text, model.vocabulary)
        >>> detection.scored, round(detection.score, 2), round(detection.z, 1)
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
    score, z, p_value = watermark.evidence(watermark.marks(grams, size), size)
    chance = watermark.chance(size)
    return Detection(len(tokens), len(grams), score, chance, z, p_value)


def watermark_of(sampler):
    """Return the stage of a sampler that is a watermark."""
    watermarks = [stage for stage in sampler.stages if isinstance(stage, Watermark)]
    if len(watermarks) != 1:
        raise UsageError(
            "expected one watermark, green_list, gumbel_max or synthid, "
            f"not {len(watermarks)} in a chain of {len(sampler.stages)}"
        )
    return watermarks[0]


def _scored(watermark, tokens, vocabulary):
    """Return the n-grams that count: distinct, and without [UNK] and padding."""
    width = watermark.context + 1
    if watermark.marks_the_start:
        tokens = np.concatenate([np.full(watermark.context, -1), tokens])
    if len(tokens) < width:
        return np.empty((0, width), dtype=np.int64)
    grams = sliding_window_view(tokens, width)
    grams = grams[~np.isin(grams, ModelLogits(vocabulary).never).any(axis=1)]
    # synthid and gumbel_max mark the first token after a context, and not the later ones.
    same = grams[:, :-1] if watermark.once_per_context else grams
    _, first = np.unique(same, axis=0, return_index=True)
    return grams[np.sort(first)]
