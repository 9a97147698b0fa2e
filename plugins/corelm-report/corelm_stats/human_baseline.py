"""The figures of human text under a model, stored in the model's manifest for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corelm_stats import BEGINNING, LENGTH, TEXTS
from corelm_stats.inference import Inference
from corelm_stats.intervals import Interval, Sums, along_texts, ratio
from corelm_stats.ngrams import Texts
from corelm_stats.text_figures import loops, text_figures

if TYPE_CHECKING:
    from corelm.bundles import StoredVocabulary

PERCENTILES = (5, 50, 95)
DIGITS = 5


@dataclass(frozen=True)
class ModelScores:
    """Scores of given tokens under a model; all arrays are (texts, positions), in nats.

    Attributes:
        targets: the tokens; 0 is padding and never counts.
        surprisal: of each token under the model's whole distribution.
        entropy: of the model's distribution over the tokens that can be drawn.
        log_mass: log of the total probability of the tokens that can be drawn.
    """

    targets: NDArray[Any]
    surprisal: NDArray[np.float32]
    entropy: NDArray[np.float32]
    log_mass: NDArray[np.float32]

    def behind(self, first: int) -> ModelScores:
        """Return the scores from a position on."""
        columns = self.targets, self.surprisal, self.entropy, self.log_mass
        return ModelScores(*(each[:, first:] for each in columns))

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprisal; [UNK] counts as a word."""
        return float(np.exp(self.surprisal[self.real].mean(dtype=np.float64)))

    @property
    def real(self) -> NDArray[np.bool_]:
        """True at tokens, False at padding."""
        return np.asarray(self.targets != 0)

    def rows(self, values: NDArray[Any], where: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        """Return the chosen values of each text."""
        pairs = zip(values.astype(np.float64), where, strict=True)
        return [row[chosen] for row, chosen in pairs]


def human_figures(
    scores: ModelScores, texts: Sequence[str], vocabulary: StoredVocabulary
) -> dict[str, Any]:
    """Measure human texts under the model, and by themselves.

    `held_out` has the model's figures for all their tokens. `human` is the row to compare
    samplers with: how the texts go on after their first `beginning` tokens, as far as the model
    sees, under the distribution of the tokens that can be drawn. (If no text is longer, whole
    texts count.) Words that the model does not know are left out of the surprisal and of the
    texts. Values are in nats; intervals are 95 %.

    - `surprisal`, `entropy` with its `band` (percentiles 5 and 95 of the positions),
      `entropy_drift` and `outside_human_band`: intervals over texts, as in a report.
    - `continuation`: the surprisal of the first 1, 2, 3, ... of these tokens, with its interval,
      for texts of any length.
    - `distinct_1` to `compression`: means over disjoint sets of texts. `sets` has their number,
      their `texts` and `length`: such figures depend on the size of a set. Intervals are by the
      standard error over the sets.
    - `by_position`: the entropy at each position, 0 for the first token of a text.
    """
    unknown = vocabulary.unknown
    # Without a start token, the first token of a text has no distribution.
    first = BEGINNING - (vocabulary.start is None)
    is_long = bool(scores.real[:, first:].any())
    beginning, own = (BEGINNING, scores.behind(first)) if is_long else (0, scores)
    encoded = [vocabulary.encode(text)[beginning:] for text in texts]
    ids = [[i for i in text if i != unknown] for text in encoded]
    sets = figures_of_sets(ids, vocabulary.decode, TEXTS, LENGTH - beginning)
    entropy = _summary(own.entropy[own.real])
    low, high = entropy["band"]
    words = own.real & ~_is(unknown, own.targets)
    surprisals = own.surprisal + own.log_mass
    # The figures that are quotients of two sums over texts.
    rows = own.rows(surprisals, words), own.rows(own.entropy, own.real)
    sums = along_texts(*rows, (low, high))
    entropy["ci95"] = _interval(sums.pop("model_entropy"))
    means = {name: ratio(of_texts) for name, of_texts in sums.items()}
    ci95 = {name: _interval(of_texts) for name, of_texts in sums.items()}
    return {
        "held_out": _held_out(scores, unknown),
        "human": _rounded(
            {
                **means,
                "entropy": entropy,
                **sets,
                "ci95": {**ci95, **sets["ci95"]},
                "beginning": beginning,
                "tokens": int(own.real.sum()),
                "continuation": _continuations(surprisals, words),
                "by_position": _by_position(scores),
            }
        ),
    }


def _held_out(scores: ModelScores, unknown: int | None) -> dict[str, Any]:
    tokens = scores.targets[scores.real]
    return {
        "perplexity": round(scores.perplexity, 3),
        "texts": len(scores.targets),
        "tokens": len(tokens),
        "first_tokens": scores.targets.shape[1],
        "unknown_share": round(float(_is(unknown, tokens).mean()), DIGITS),
    }


def _is(id: int | None, tokens: NDArray[Any]) -> NDArray[np.bool_]:
    """Return True where a token has this id; all False if the id is None."""
    return np.zeros(tokens.shape, dtype=bool) if id is None else np.asarray(tokens == id)


def _continuations(surprisals: NDArray[np.float32], words: NDArray[np.bool_]) -> list[Any]:
    """Return the mean surprisal of the first 1, 2, 3, ... tokens: its value, and its interval."""
    nats = np.where(words, surprisals.astype(np.float64), 0)
    sums = zip(nats.cumsum(axis=1).T.tolist(), words.cumsum(axis=1).T.tolist(), strict=True)
    texts = Inference.of_names(range(len(nats)))
    means = [texts.estimate(each) for each in sums]
    return [mean and [mean.value, mean.interval()] for mean in means]


def _summary(values: NDArray[np.float32]) -> dict[str, Any]:
    low, middle, high = np.percentile(values, PERCENTILES).tolist()
    return {"mean": float(values.mean(dtype=np.float64)), "median": middle, "band": [low, high]}


def _by_position(scores: ModelScores) -> list[dict[str, Any]]:
    """Return the entropy at each position, over the texts that are long enough."""
    columns = zip(scores.entropy.T, scores.real.T, strict=True)
    values = [entropy[there] for entropy, there in columns if there.any()]
    rows = [(len(each), _summary(each)) for each in values]
    return [
        {"position": i, "n": n, "entropy": of["mean"], "p05": of["band"][0], "p95": of["band"][1]}
        for i, (n, of) in enumerate(rows)
    ]


def _rounded(value: Any) -> Any:
    """Round all numbers in a document."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def figures_of_sets(
    texts: Texts, decode: Callable[[Sequence[int]], str], size: int, length: int
) -> dict[str, Any]:
    """Divide texts into disjoint sets, and return the mean of each figure over the sets.

    `ci95` has the intervals, `sets` the number of sets, of texts in each, and of tokens in a text.

    A set consists of texts that are far apart in the given order, because neighbours are often
    about the same thing. Too few texts for a set make one smaller set.

    Args:
        texts: token ids of the texts, without tokens that a model never draws.
        decode: the function from ids to text.
        size: the number of texts in a set.
        length: the number of tokens of a text that count, from its beginning.

    Example:
        >>> measured = figures_of_sets([[3, 4], [3, 5], [6, 6], [7, 8]], str, size=2, length=2)
        >>> measured["distinct_1"], measured["sets"]
        (0.875, {'sets': 2, 'texts': 2, 'length': 2})
    """
    cut = [text[:length] for text in texts]
    count = max(len(cut) // size, 1)
    sets = [cut[first::count][:size] for first in range(count)]
    measured = [text_figures(some, [decode(text) for text in some]) for some in sets]
    columns = {name: [figures[name] for figures in measured] for name in measured[0]}
    means = {name: ratio(_defined(values)) for name, values in columns.items()}
    ci95 = {name: _interval(_defined(values)) for name, values in columns.items()}
    looping = loops([text for some in sets for text in some])
    of_texts = Inference.of_names(range(len(looping)))
    ci95["loops"] = of_texts.share((looping.tolist(), [1.0] * len(looping))).ends
    return {
        **means,
        "ci95": ci95,
        "sets": {"sets": count, "texts": len(sets[0]), "length": length},
    }


def _defined(values: Sequence[float | None]) -> Sums:
    """Return the sums for the mean over the sets that have a value."""
    defined = [value for value in values if value is not None]
    return defined, [1.0] * len(defined)


def _interval(sums: Sums) -> Interval | None:
    """Return the interval of a mean, with the texts or the sets as units."""
    estimate = Inference.of_names(range(len(sums[0]))).estimate(sums)
    return None if estimate is None else estimate.interval()
