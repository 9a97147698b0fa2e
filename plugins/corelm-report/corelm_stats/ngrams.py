"""The n-grams of a set of texts, and self-BLEU, which measures how many they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Texts = Sequence[Sequence[int]]
"""The token ids of each text."""
Ids = NDArray[np.int64]


def ngrams(texts: Texts, n: int) -> tuple[Ids, Ids]:
    """Return a number for each n-gram, equal for equal n-grams, and the index of its text.

    Example:
        >>> grams, owners = ngrams([[7, 8, 7, 8], [7, 8]], 2)
        >>> grams.tolist(), owners.tolist()
        ([0, 1, 0, 0], [0, 0, 0, 1])
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    words, tokens = np.unique(flat(texts), return_inverse=True)
    grams = tokens
    # Number n-grams by the number of the n-gram one shorter and the next token: numbers stay below
    # the number of tokens, so no product overflows.
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


Floats = NDArray[np.float64]

ORDER = 4
SMOOTHING = 0.1
"""The count used in place of zero, so that its logarithm is finite."""


def self_bleu(texts: Texts) -> float | None:
    """Return the mean over texts of BLEU-4 with all other texts as references.

    1 if all texts are the same; None for fewer than two texts. Smoothed by Chen and Cherry's
    first method with 0.1, as in Texygen. The result is NLTK's, from one pass over the n-grams.

    Source: Zhu et al. 2018, Texygen: a benchmarking platform for text generation models,
    arXiv 1802.01886; Papineni et al. 2002, BLEU: a method for automatic evaluation of machine
    translation, doi 10.3115/1073083.1073135; Chen and Cherry 2014, A systematic comparison of
    smoothing techniques for sentence-level BLEU, doi 10.3115/v1/W14-3346.

    Example:
        >>> round(self_bleu([[3, 4, 5, 6, 7], [3, 4, 5, 6, 8]]), 4)
        0.6687
    """
    if len(texts) < 2:
        return None
    return float(np.mean([score for score, _, _ in _scores(texts)]))


def self_bleu_left_out(texts: Texts) -> list[float | None]:
    """Return self-BLEU of the set without each text in turn, for a jackknife.

    Example:
        >>> [round(score, 4) for score in self_bleu_left_out([[3] * 4, [3] * 4, [5] * 4])]
        [0.0, 0.0, 1.0]
    """
    if len(texts) < 3:
        return [None] * len(texts)
    totals = np.zeros(len(texts))
    for i, (score, others, scores) in enumerate(_scores(texts)):
        without = np.full(len(texts), score)
        without[others], without[i] = scores, 0
        totals += without
    return [float(total) for total in totals / (len(texts) - 1)]


def sharing(texts: Texts) -> int:
    """Return the number of texts with a phrase of four tokens that another text also has.

    For all other texts, self-BLEU depends only on its smoothing, so a set with few sharing texts
    says little about the next set.

    Example:
        >>> sharing([[3, 4, 5, 6, 7], [9, 3, 4, 5, 6], [3, 4, 5]])
        2
    """
    grams, owners = ngrams(texts, ORDER)
    pairs = np.unique(np.stack([grams, owners], axis=1), axis=0)
    several = np.bincount(pairs[:, 0])[pairs[:, 0]] > 1
    return len(np.unique(pairs[several, 1]))


def _scores(texts: Texts) -> Iterator[tuple[float, Ids, Floats]]:
    """Yield each text's BLEU against all others, and the texts without which it changes.

    Leaving a text out changes a score only if that text alone has the largest count of some n-gram,
    or is the closest in length, which few texts do. The third part has the score without each of
    these, so no pairs of texts are compared.
    """
    lengths = np.array([len(text) for text in texts])
    orders = [_Overlap(texts, n) for n in range(1, ORDER + 1)]
    # The three texts closest in length, for the brevity penalty; shorter ones first.
    nearest = {
        length: np.argsort(2 * np.abs(lengths - length) + (lengths > length), kind="stable")[:3]
        for length in set(lengths.tolist())
    }
    for i, length in enumerate(lengths.tolist()):
        near = [other for other in nearest[length].tolist() if other != i][:2]
        closest, second = near[0], near[-1]
        others = np.unique(np.concatenate([[closest], *(order.holders(i) for order in orders)]))
        # The last column is for no text left out.
        clipped = np.array(
            [order.clipped_counts(i, others) for order in orders]
        )  # (orders, others + 1)
        possible = np.maximum(length - np.arange(ORDER), 1)[:, None]
        logs = np.log(np.where(clipped == 0, SMOOTHING, clipped) / possible)
        reference = lengths[np.where(np.append(others, -1) == closest, second, closest)]
        brevity = np.exp(np.minimum(1 - reference / max(length, 1), 0))
        scores = np.where(clipped[0] == 0, 0.0, np.exp(logs.mean(axis=0)) * brevity)
        yield float(scores[-1]), others, scores[:-1]


class _Overlap:
    """BLEU's clipped counts for one n: each text's n-grams that other texts also have.

    BLEU counts an n-gram at most as often as it occurs in the reference with the most occurrences.
    So for each n-gram, the texts with the largest and second largest counts are enough.
    """

    def __init__(self, texts: Texts, n: int) -> None:
        grams, owners = ngrams(texts, n)
        pairs, counts = np.unique(grams * len(texts) + owners, return_counts=True)
        grams, owners = np.divmod(pairs, max(len(texts), 1))
        # Sorted by n-gram, the text with the largest count first.
        order = np.lexsort((-counts, grams))
        grams, owners, counts = grams[order], owners[order], counts[order]
        first = np.searchsorted(grams, grams)
        rank = np.arange(len(grams)) - first
        best, next_best = first + (rank == 0), first + 1 + (rank <= 1)  # among the other texts

        def clipped(at: Ids) -> Ids:
            """Return the counts, clipped to another text's count of the n-gram, or 0."""
            at_most = np.append(counts, 0)[np.minimum(at, len(counts))]
            same = np.append(grams, -1)[np.minimum(at, len(grams))] == grams
            return np.minimum(counts, np.where(same, at_most, 0))

        # Leaving a text out matters only where it has the largest count of an n-gram: then the
        # second largest clips. Store that loss by text, to subtract it in `clipped_counts`.
        largest, without = clipped(best), clipped(next_best)
        self._clipped = np.bincount(owners, largest, minlength=len(texts))
        lost = np.flatnonzero(largest > without)
        lost = lost[np.argsort(owners[lost], kind="stable")]
        self._holders, self._lost = owners[best[lost]], (largest - without)[lost]
        self._starts = np.searchsorted(owners[lost], np.arange(len(texts) + 1))

    def holders(self, i: int) -> Ids:
        """Return the texts whose counts limit text i's n-grams; a text may occur several times."""
        return np.asarray(self._holders[self._starts[i] : self._starts[i + 1]])

    def clipped_counts(self, i: int, others: Ids) -> Floats:
        """Return text i's clipped counts without each of some texts, and with all texts.

        Args:
            i: the index of the text.
            others: the texts left out one by one, in order, with all `holders`.
        """
        lost = self._lost[self._starts[i] : self._starts[i + 1]]
        places = np.searchsorted(others, self.holders(i))
        return np.asarray(self._clipped[i] - np.bincount(places, lost, minlength=len(others) + 1))
