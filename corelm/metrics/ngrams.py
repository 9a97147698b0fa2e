"""The n-grams of a set of texts as arrays of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Texts = Sequence[Sequence[int]]
"""Token ids, one sequence for each text."""
Ids = NDArray[np.int64]


def ngrams(texts: Texts, n: int) -> tuple[Ids, Ids]:
    """Every n-gram of every text, as a number that equal n-grams share, and its text's index.

    Example:
        >>> grams, owners = ngrams([[7, 8, 7, 8], [7, 8]], 2)
        >>> grams.tolist(), owners.tolist()
        ([0, 1, 0, 0], [0, 0, 0, 1])
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    words, tokens = np.unique(flat(texts), return_inverse=True)
    grams = tokens
    for more in range(1, n):
        pairs = grams[: len(tokens) - more] * len(words) + tokens[more:]
        grams = np.unique(pairs, return_inverse=True)[1]
    first, last = owners[: len(grams)], owners[len(owners) - len(grams) :]
    return grams[first == last], first[first == last]


def flat(texts: Texts) -> Ids:
    """The tokens of all texts, one after the other.

    Example:
        >>> flat([[7, 8], [9]]).tolist()
        [7, 8, 9]
    """
    return np.fromiter(chain.from_iterable(texts), dtype=np.int64)
