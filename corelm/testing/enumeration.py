"""Every text of a small model with its probability, and a test of counts against probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from corelm.contracts.language_model import LanguageModel
from corelm.contracts.sampling import Sampler
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import DecodingTask
from corelm.numerics.distributions import softmax
from corelm.registry.expressions import sampler as read_sampler

Text = tuple[int, ...]


def text_probabilities(
    model: LanguageModel, prompt: str, *, sampler: Sampler | str, length: int
) -> dict[Text, float]:
    """Return the probability of every text in ancestral sampling.

    A text ends with an end token or at the length, so the probabilities sum to 1.

    Args:
        model: a model of few tokens: the number of texts grows with their power `length`.
        prompt: the prompt.
        sampler: a sampler, a registered name or an expression.
        length: the largest number of tokens.

    Example:
        >>> from corelm.testing import ToyModel
        >>> coin = ToyModel(["heads", "tails"], logits=[0, 0, 0, 0], end=False)
        >>> text_probabilities(coin, "heads", sampler="stochastic", length=2)
        {(2, 2): 0.25, (2, 3): 0.25, (3, 2): 0.25, (3, 3): 0.25}
    """
    ids = np.array(model.vocabulary.encode(prompt), dtype=np.int64)
    stream = RandomStream(0, [0])  # unused random numbers: every branch is followed
    decoding = DecodingTask(model, ids, read_sampler(sampler), stream, length).start()
    result: dict[Text, float] = {(): 1.0} if length == 0 else {}
    p = np.ones(1)
    for position in range(length):
        q = softmax(decoding.next().logits.astype(np.float64))
        rows, tokens = np.nonzero(q)
        # One row for each text so far: a row forks into each of its possible tokens.
        p = p[rows] * q[rows, tokens]
        decoding.select(rows)
        texts = np.column_stack([decoding.context.drawn, tokens])
        ended = decoding.is_end(tokens) | (position + 1 == length)
        result |= zip(map(tuple, texts[ended].tolist()), p[ended].tolist(), strict=True)
        if ended.all():
            break
        p = p[~ended]
        decoding.select(~ended)
        decoding.advance(tokens[~ended])
    return result


def g_test(counts: Mapping[Text, int], probabilities: Mapping[Text, float]) -> float:
    """Return the p-value of a likelihood-ratio test of counts against probabilities.

    Outcomes that are expected fewer than five times are counted together. The chi-square
    distribution is Wilson and Hilferty's approximation.

    Source: Wilson and Hilferty 1931, The distribution of chi-square.

    Args:
        counts: how often each outcome occurred.
        probabilities: the probability of each outcome; an outcome that isn't here has none.

    Example:
        >>> fair = {(2,): 0.5, (3,): 0.5}
        >>> [round(g_test({(2,): n, (3,): 100 - n}, fair), 3) for n in (52, 60, 70)]
        [0.691, 0.042, 0.0]
    """
    if any(not probabilities.get(outcome) for outcome, count in counts.items() if count):
        return 0.0  # an outcome that is impossible
    total = sum(counts.values())
    expected = np.array([p * total for p in probabilities.values()])
    observed = np.array([counts.get(outcome, 0) for outcome in probabilities])
    common = expected >= 5  # the chi-square approximation is poor below that
    expected = np.append(expected[common], expected[~common].sum())
    observed = np.append(observed[common], observed[~common].sum())
    freedom = np.count_nonzero(expected) - 1
    if freedom == 0:
        return 1.0
    seen = observed > 0
    g = 2 * float(np.sum(observed[seen] * np.log(observed[seen] / expected[seen])))
    variance = 2 / (9 * freedom)
    normal = ((max(g, 0.0) / freedom) ** (1 / 3) - 1 + variance) / math.sqrt(variance)
    return math.erfc(normal / math.sqrt(2)) / 2
