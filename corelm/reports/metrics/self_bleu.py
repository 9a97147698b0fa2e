"""Self-BLEU: the likeness of the texts of a set to each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from corelm.reports.metrics.ngrams import Ids, Texts, ngrams

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
    return float(np.mean([scores[i] for i, scores in enumerate(_scores(texts))]))


def self_bleu_left_out(texts: Texts) -> list[float | None]:
    """Return self-BLEU of the set without each text in turn, for a jackknife.

    Example:
        >>> [round(score, 4) for score in self_bleu_left_out([[3] * 4, [3] * 4, [5] * 4])]
        [0.0, 0.0, 1.0]
    """
    if len(texts) < 3:
        return [None] * len(texts)
    totals = np.zeros(len(texts))
    for i, scores in enumerate(_scores(texts)):
        scores[i] = 0
        totals += scores
    return [float(total) for total in totals / (len(texts) - 1)]


def sharing(texts: Texts) -> int:
    """Return the number of texts with a phrase of four tokens that a different text has too.

    The smoothing alone decides the self-BLEU of the others, and a set with few of these says
    little about how many there are in the next set.

    Example:
        >>> sharing([[3, 4, 5, 6, 7], [9, 3, 4, 5, 6], [3, 4, 5]])
        2
    """
    grams, owners = ngrams(texts, ORDER)
    pairs = np.unique(np.stack([grams, owners], axis=1), axis=0)
    several = np.bincount(pairs[:, 0])[pairs[:, 0]] > 1
    return len(np.unique(pairs[several, 1]))


def _scores(texts: Texts) -> Iterator[Floats]:
    """Yield for each text its BLEU without each other text among the references: (texts,).

    At its own index it has its BLEU against all others. Leaving a text out changes a score only
    if that text alone holds the largest count of some n-gram, so each score is that against all
    others less a few counts, instead of a new comparison for each pair of texts.
    """
    lengths = np.array([len(text) for text in texts])
    orders = [_Overlap(texts, n) for n in range(1, ORDER + 1)]
    for i, length in enumerate(lengths.tolist()):
        found = np.array([order.found(i) for order in orders])  # (orders, texts)
        possible = np.maximum(length - np.arange(ORDER), 1)[:, None]
        logs = np.log(np.where(found == 0, SMOOTHING, found) / possible)
        scores = np.exp(logs.mean(axis=0)) * _brevity_penalty(lengths, i)
        yield np.where(found[0] == 0, 0.0, scores)


class _Overlap:
    """The clipped counts of BLEU for one n: n-grams of each text that other texts have too.

    BLEU counts an n-gram at most as often as the reference with most of it does. So it is enough
    to know, for each n-gram, the text that has most of it and the one that comes second.
    """

    def __init__(self, texts: Texts, n: int) -> None:
        grams, owners = ngrams(texts, n)
        pairs, counts = np.unique(grams * len(texts) + owners, return_counts=True)
        grams, owners = np.divmod(pairs, max(len(texts), 1))
        order = np.lexsort((-counts, grams))  # by n-gram, the text with most of it first
        grams, owners, counts = grams[order], owners[order], counts[order]
        first = np.searchsorted(grams, grams)
        rank = np.arange(len(grams)) - first
        best, next_best = first + (rank == 0), first + 1 + (rank <= 1)  # among the other texts

        def clipped(at: Ids) -> Ids:
            """Return the counts, clipped to a different text with the same n-gram, or else 0."""
            at_most = np.append(counts, 0)[np.minimum(at, len(counts))]
            same = np.append(grams, -1)[np.minimum(at, len(grams))] == grams
            return np.minimum(counts, np.where(same, at_most, 0))

        # Leaving a text out matters only where it is the one with most of an n-gram: then the
        # second one clips the count. Store that loss by text, to subtract it in `found`.
        kept, without = clipped(best), clipped(next_best)
        self._found = np.bincount(owners, kept, minlength=len(texts))
        lost = np.flatnonzero(kept > without)
        lost = lost[np.argsort(owners[lost], kind="stable")]
        self._holders, self._lost = owners[best[lost]], (kept - without)[lost]
        self._starts = np.searchsorted(owners[lost], np.arange(len(texts) + 1))

    def found(self, i: int) -> Floats:
        """Return the n-grams of text i found without each other text: (texts,)."""
        mine = slice(self._starts[i], self._starts[i + 1])
        lost = np.bincount(self._holders[mine], self._lost[mine], minlength=len(self._found))
        return np.asarray(self._found[i] - lost)


def _brevity_penalty(lengths: Ids, i: int) -> Floats:
    """Return the brevity penalty of text i without each other text among the references: (texts,).

    It depends on the reference closest in length, the shorter one of two equally close.
    """
    length = lengths[i]
    # Twice the distance leaves room for a tie-break: the longer of two equally close ones adds 1.
    distance = 2 * np.abs(lengths - length) + (lengths > length)
    distance[i] = np.iinfo(distance.dtype).max
    best, second = np.argsort(distance, kind="stable")[[0, 1]]
    closest = np.where(np.arange(len(lengths)) == best, lengths[second], lengths[best])
    return np.asarray(np.exp(np.minimum(1 - closest / max(length, 1), 0)))
