"""The n-grams of a set of texts, as arrays of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Texts = Sequence[Sequence[int]]
"""The token ids of each text."""
Ids = NDArray[np.int64]


def ngrams(texts: Texts, n: int) -> tuple[Ids, Ids]:
    """Return a number for each n-gram, the same for equal ones, and the index of its text.

    Example:
        >>> grams, owners = ngrams([[7, 8, 7, 8], [7, 8]], 2)
        >>> grams.tolist(), owners.tolist()
        ([0, 1, 0, 0], [0, 0, 0, 1])
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    words, tokens = np.unique(flat(texts), return_inverse=True)
    grams = tokens
    # Number the n-grams of each length by those one shorter and the next token: the numbers stay
    # below the number of tokens, so that no product overflows.
    for more in range(1, n):
        pairs = grams[: len(tokens) - more] * len(words) + tokens[more:]
        grams = np.unique(pairs, return_inverse=True)[1]
    first, last = owners[: len(grams)], owners[len(owners) - len(grams) :]
    return grams[first == last], first[first == last]


def flat(texts: Texts) -> Ids:
    """Join the tokens of all texts.

    Example:
        >>> flat([[7, 8], [9]]).tolist()
        [7, 8, 9]
    """
    return np.fromiter(chain.from_iterable(texts), dtype=np.int64)
