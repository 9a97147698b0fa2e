"""Figures of human text under a model: what a bundle's manifest carries for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.model.vocabulary import WordVocabulary


@dataclass(frozen=True)
class Scores:
    """How a model takes given tokens; all arrays are (texts, positions), values in nats.

    Attributes:
        targets: the tokens; 0 is padding and counts nowhere.
        surprisal: of each token under the model's whole distribution.
        entropy: of the model's distribution over the tokens that can be drawn.
        kept: log of the probability that can be drawn, of all.
    """

    targets: NDArray[Any]
    surprisal: NDArray[np.float32]
    entropy: NDArray[np.float32]
    kept: NDArray[np.float32]

    @property
    def perplexity(self) -> float:
        """exp of the mean surprisal, the unknown word counting as a word."""
        return float(np.exp(self.surprisal[self.targets != 0].mean(dtype=np.float64)))


def human_figures(
    scores: Scores, texts: Sequence[str], vocabulary: WordVocabulary
) -> dict[str, Any]:
    """What people's texts look like to the model, and by themselves.

    `surprisal` and `entropy` are in nats, under the distribution of what can be drawn; unknown
    words are left out. `entropy.band` is the 5th and 95th percentile of the positions.
    """
    real = scores.targets != 0
    known = real & (scores.targets != vocabulary.unknown)
    length = scores.targets.shape[1]
    ids = [
        [i for i in vocabulary.encode(text)[:length] if i != vocabulary.unknown] for text in texts
    ]
    return {
        "held_out": {
            "perplexity": round(scores.perplexity, 3),
            "texts": len(texts),
            "tokens": int(real.sum()),
            "first_tokens": length,
            "unknown_share": round(float((scores.targets[real] == vocabulary.unknown).mean()), 5),
        },
        "human": {
            "surprisal": _round((scores.surprisal + scores.kept)[known].mean(dtype=np.float64)),
            "entropy": _summary(scores.entropy[real]),
            **{f"distinct_{n}": _round(_distinct(ids, n)) for n in (1, 2, 3)},
            **{f"rep_{n}": _round(_repetition(ids, n)) for n in (2, 3, 4)},
        },
    }


def _summary(values: NDArray[np.float32]) -> dict[str, Any]:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {
        "mean": _round(values.mean(dtype=np.float64)),
        "median": _round(middle),
        "band": [_round(low), _round(high)],
    }


def _ngrams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return list(zip(*(ids[i:] for i in range(n)), strict=False))


def _distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """Different n-grams in all texts together, as a share of all."""
    grams = [gram for ids in texts for gram in _ngrams(ids, n)]
    return len(set(grams)) / max(len(grams), 1)


def _repetition(texts: Sequence[Sequence[int]], n: int) -> float:
    """Share of n-grams that repeat an earlier one of the same text, mean over texts."""
    shares = [1 - len(set(grams)) / len(grams) for ids in texts if (grams := _ngrams(ids, n))]
    return float(np.mean(shares)) if shares else 0.0


def _round(value: Any) -> float:
    return round(float(value), 5)
