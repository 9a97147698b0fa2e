"""Self-BLEU: how much the texts of a set resemble each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from corelm.metrics.ngrams import Ids, Texts, ngrams

Floats = NDArray[np.float64]

ORDER = 4
SMOOTHING = 0.1
"""What counts as found where nothing was, so that its logarithm is finite."""


def self_bleu(texts: Texts) -> float | None:
    """BLEU-4 of each text with all others as its references, the mean over texts.

    1 where all texts are the same. None for less than two texts. Chen and Cherry's first
    smoothing, with 0.1, as Texygen has it: what NLTK computes, in one pass over the n-grams.

    Source: Zhu et al. 2018, Texygen, arXiv 1802.01886; Papineni et al. 2002; Chen and
    Cherry 2014, A systematic comparison of smoothing techniques for sentence-level BLEU.

    Example:
        >>> round(self_bleu([[3, 4, 5, 6, 7], [3, 4, 5, 6, 8]]), 4)
        0.6687
    """
    if len(texts) < 2:
        return None
    return float(np.mean([scores[i] for i, scores in enumerate(_scores(texts))]))


def self_bleu_left_out(texts: Texts) -> list[float | None]:
    """Self-BLEU of the set with each text left out in turn: what a jackknife is made of.

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


def _scores(texts: Texts) -> Iterator[Floats]:
    """For each text its BLEU against all others but one, for each one; its own place: all others.

    A text that is left out matters where it alone holds the largest count of an n-gram.
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
    """How many n-grams of each text are in the others, no oftener than in one of them."""

    def __init__(self, texts: Texts, n: int) -> None:
        grams, owners = ngrams(texts, n)
        pairs, counts = np.unique(grams * len(texts) + owners, return_counts=True)
        grams, owners = np.divmod(pairs, max(len(texts), 1))
        order = np.lexsort((-counts, grams))  # of each n-gram, the text that has most of it first
        grams, owners, counts = grams[order], owners[order], counts[order]
        first = np.searchsorted(grams, grams)
        rank = np.arange(len(grams)) - first
        best, next_best = first + (rank == 0), first + 1 + (rank <= 1)  # of the other texts

        def clipped(at: Ids) -> Ids:
            """The counts, or those in the text at another place of the same n-gram."""
            at_most = np.append(counts, 0)[np.minimum(at, len(counts))]
            same = np.append(grams, -1)[np.minimum(at, len(grams))] == grams
            return np.minimum(counts, np.where(same, at_most, 0))

        kept, without = clipped(best), clipped(next_best)
        self._found = np.bincount(owners, kept, minlength=len(texts))
        lost = np.flatnonzero(kept > without)
        lost = lost[np.argsort(owners[lost], kind="stable")]
        self._holders, self._lost = owners[best[lost]], (kept - without)[lost]
        self._starts = np.searchsorted(owners[lost], np.arange(len(texts) + 1))

    def found(self, i: int) -> Floats:
        """(texts,): the n-grams of text i found in all others but each; its own place: in all."""
        mine = slice(self._starts[i], self._starts[i + 1])
        lost = np.bincount(self._holders[mine], self._lost[mine], minlength=len(self._found))
        return np.asarray(self._found[i] - lost)


def _brevity_penalty(lengths: Ids, i: int) -> Floats:
    """(texts,): the penalty of text i against all others but each; its own place: against all.

    The reference that is closest in length counts, the shorter one of two.
    """
    length = lengths[i]
    distance = 2 * np.abs(lengths - length) + (lengths > length)
    distance[i] = np.iinfo(distance.dtype).max
    best, second = np.argsort(distance, kind="stable")[[0, 1]]
    closest = np.where(np.arange(len(lengths)) == best, lengths[second], lengths[best])
    return np.asarray(np.exp(np.minimum(1 - closest / max(length, 1), 0)))
