"""Measure all samplers on the model's distributions at the same positions, in one pass.

The same pass measures the curve: entropy and expected surprisal at each temperature. A unit of work
covers some of the texts, and its result is a JSON document. The documents of all units are merged
before figures are computed, so these don't depend on how the work was divided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import Array, LanguageModel, Sampler
from corelm.errors import SamplerError, UsageError
from corelm.runs import ModelRows, Strategy
from corelm_report.document.parts import Curve
from corelm_report.measure.contexts import (
    LEAST,
    ContextGroup,
    ContextPosition,
    Contexts,
    SamplerReader,
    groups,
    read,
)
from corelm_report.measure.journal import failure

Record = dict[str, Any]
"""Measurements of some texts: their indices under `text`, and a list as long under each key."""

TOKEN_SURPRISAL = "token_surprisal"
"""The key of the surprisal of each position's next token under the sampler, in nats."""


def merge(units: Sequence[Record]) -> Record:
    """Merge the documents of units into one, in the order of the texts.

    A sampler that failed on any text counts as failed.
    """
    samplers = zip(*(unit["samplers"] for unit in units), strict=True)
    return {
        "model": _merged([unit["model"] for unit in units]),
        "samplers": [_merged(records) for records in samplers],
        "curve": _merged([unit["curve"] for unit in units]),
    }


@dataclass(frozen=True)
class MeasureOnContexts:
    """Measure all samplers at every position of some of the contexts.

    The result is a JSON document: `model` has the record of the model's own distributions and of
    the next token of each position; `samplers` has a record of each sampler, or {"error": {"type",
    "message"}} if it failed; `curve` has the record that the function `curve` reads.

    Attributes:
        stage: the stage of the report.
        first: the index of the first text among all contexts.
        contexts: the contexts of this unit alone.
        samplers: the samplers.
        temperatures: the temperatures of the curve; none for no curve.

    Example:
        >>> from corelm_report.measure.contexts import human_contexts
        >>> from corelm.testing import ToyModel
        >>> texts = human_contexts(ToyModel(), ["the cat sat"], "a fable")
        >>> unit = MeasureOnContexts("a stage", 0, texts, (Strategy.of("greedy"),), ())
        >>> unit(ToyModel())["samplers"][0]["entropy"]
        [[0.0, 0.0, 0.0]]
    """

    stage: str
    first: int
    contexts: Contexts
    samplers: tuple[Strategy, ...]
    temperatures: tuple[float, ...]

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"{self.stage} {self.first}"

    def __call__(self, model: LanguageModel) -> Record:
        samplers = [each.sampler for each in self.samplers]
        some = groups(model, self.contexts, self.first)
        return merge([_measure(model, group, samplers, self.temperatures) for group in some])


def _merged(records: Sequence[Record]) -> Record:
    failed = [record for record in records if "error" in record]
    if failed:
        return failed[0]
    # Groups have texts of one prompt length. In the order of the texts, sums round equally however
    # the work was divided.
    order = sorted(
        (text, at, row)
        for at, record in enumerate(records)
        for row, text in enumerate(record["text"])
    )
    return {key: [records[at][key][row] for _, at, row in order] for key in records[0]}


def _measure(
    model: LanguageModel,
    group: ContextGroup,
    samplers: Sequence[Sampler],
    temperatures: Sequence[float],
) -> Record:
    own = _RecordColumns(group, ("entropy", "surprisal"))
    curve = CurveSums(group, temperatures)
    readers = [SamplerReader(sampler, group) for sampler in samplers]
    columns = [_RecordColumns(group, (*ModelRows.names, TOKEN_SURPRISAL)) for _ in samplers]
    failures: dict[int, Record] = {}
    for position in read(model, group):
        # All samplers share the entropies and weights of the model's rows.
        rows = ModelRows(position.logits, model.vocabulary.ends)
        surprisal = group.model_surprisal[position.rows, position.time]
        own.add(position, np.column_stack([rows.entropy, surprisal]))
        curve.add(position, surprisal)
        for at, reader in enumerate(readers):
            if at not in failures:  # a sampler stops at its first failure
                try:
                    compared = reader.compare(position, rows)
                except (SamplerError, UsageError) as error:
                    failures[at] = failure(error)
                    continue
                figures = np.column_stack([compared.figures, compared.surprisal])
                columns[at].add(position, figures)
    return {
        "model": own.record,
        "samplers": [failures.get(at) or each.record for at, each in enumerate(columns)],
        "curve": curve.record,
    }


class _RecordColumns:
    """A growing record: the values at the positions of each text of a group."""

    def __init__(self, group: ContextGroup, names: Sequence[str]) -> None:
        self._group = group
        self._names = names
        self._values = np.full((*group.tokens.shape, len(names)), np.nan)

    def add(self, position: ContextPosition, values: NDArray[np.float64]) -> None:
        """Store (rows, names) values."""
        self._values[position.rows, position.time] = values

    @property
    def record(self) -> Record:
        """The record so far; missing values are None."""
        group = self._group
        texts = [
            _plain(values[group.prompt_length : length].T)
            for values, length in zip(self._values, group.lengths.tolist(), strict=True)
        ]
        columns = zip(*texts, strict=True)
        return {"text": list(group.texts)} | dict(zip(self._names, map(list, columns), strict=True))


def _plain(values: NDArray[np.float64]) -> list[list[float | None]]:
    plain: list[list[float | None]] = values.tolist()
    # JSON has no nan; `tolist` is fast, and missing values are few.
    for row, column in np.argwhere(np.isnan(values)).tolist():
        plain[row][column] = None
    return plain


Floats = NDArray[np.float64]

GRID = (*(round(0.1 * i, 1) for i in range(1, 21)), 2.5, 3.0, 4.0, 6.0, 10.0)
"""The temperatures of a curve: dense in the usual range, sparse towards uniform."""

COLDEST = 0.01
"""The lowest temperature of a curve; in a plot, lower ones look like greedy."""


def temperatures(samplers: Iterable[Sampler]) -> list[float]:
    """Return the temperatures of a curve: the grid, and those of samplers that are temperatures.

    Example:
        >>> import corelm
        >>> 0.33 in temperatures([corelm.sampler("temperature(t=0.33)")])
        True
    """
    own = [t for sampler in samplers if (t := Strategy(sampler).temperature) is not None]
    return sorted({COLDEST, *GRID, *(t for t in own if COLDEST <= t <= GRID[-1])})


class CurveSums:
    """A growing record of the curve: for each text, sums over its positions.

    It also has the sums over the words that the model can draw, to compare with human words.

    Args:
        group: the texts.
        temperatures: the temperatures of the curve; none for no curve.
    """

    def __init__(self, group: ContextGroup, temperatures: Sequence[float]) -> None:
        self._temperatures, self._ends = temperatures, group.vocabulary.ends
        self._texts = group.texts
        self._positions, self._without_end = np.zeros((2, len(group.texts)), dtype=np.int64)
        self._sums = np.zeros((len(group.texts), 4, len(temperatures)))
        self._of_words = self._sums.copy()

    def add(self, position: ContextPosition, surprisal: Floats) -> None:
        """Add a position and the surprisal of its token, nan if that cannot be drawn."""
        self._positions[position.rows] += 1
        if self._temperatures:
            values = at_temperatures(position.logits, self._temperatures, self._ends)
            self._without_end[position.rows] += ~np.isnan(values[:, 2, 0])
            values = np.nan_to_num(values)
            self._sums[position.rows] += values
            values[np.isnan(surprisal)] = 0
            self._of_words[position.rows] += values

    @property
    def record(self) -> Record:
        """The record so far."""
        return {
            "text": list(self._texts),
            "positions": self._positions.tolist(),
            "entropy": self._sums[:, 0].tolist(),
            "slope": self._sums[:, 1].tolist(),
            "positions_without_end": self._without_end.tolist(),
            "surprisal": self._sums[:, 2].tolist(),
            "surprisal_slope": self._sums[:, 3].tolist(),
            "word_surprisal": self._of_words[:, 2].tolist(),
            "word_surprisal_slope": self._of_words[:, 3].tolist(),
        }


def curve(record: Record, temperatures: Sequence[float]) -> Curve:
    """Return the mean entropy over all positions at each temperature, its slope, and surprisal.

    Args:
        record: the part `curve` of the results of `MeasureOnContexts`, merged.
        temperatures: the temperatures of the measurement.
    """
    names = ("entropy", "slope", "surprisal")
    means = {name: curve_mean(record, name).tolist() for name in names}
    return Curve(t=list(temperatures), **means)


def curve_mean(record: Record, name: str) -> Floats:
    """Return the mean of a column of the record at each temperature: (temperatures,).

    Surprisal is averaged over the positions where a token other than an end can be drawn.
    """
    count = record["positions_without_end" if name.startswith("surprisal") else "positions"]
    total: Floats = np.sum(record[name], axis=0).reshape(-1)
    return total / max(sum(count), 1)


class _Weights(NamedTuple):
    """The weights exp(logit / t) of some tokens at each temperature: (rows, temperatures).

    Attributes:
        log_sum: the logarithm of their sum.
        mean: of the logits under these weights.
        variance: of the logits under these weights.
    """

    log_sum: Floats
    mean: Floats
    variance: Floats


def at_temperatures(
    logits: Array, temperatures: Sequence[float], ends: Collection[int] = ()
) -> Floats:
    """Return the entropy at each temperature, the expected surprisal, and their derivatives.

    The derivative of the entropy is the variance of the logits under the distribution at that
    temperature, over the temperature cubed. It is never below 0, so the entropy never falls. The
    expected surprisal is the mean surprisal under the model of a token drawn at this temperature
    that ends no text; its derivative is the variance of the logits over the temperature squared.

    Args:
        logits: (rows, vocabulary), the model's.
        temperatures: above 0.
        ends: the tokens that end a text.

    Returns:
        (rows, 4, temperatures): the entropy in nats and its derivative, then the surprisal and its
        derivative, which are nan where only an end can be drawn.

    Example:
        >>> even = np.log([[0.25] * 4])
        >>> at_temperatures(even, [0.5, 2.0], ends=[0]).round(4).tolist()
        [[[1.3863, 1.3863], [0.0, 0.0], [1.3863, 1.3863], [0.0, 0.0]]]
    """
    t = np.array([*temperatures, 1.0], dtype=np.float64)
    largest = logits.max(axis=1).astype(np.float64)
    if not ends:
        others = every = _weights(logits, largest, t)
    else:
        at = np.array(list(ends), dtype=np.int64)
        without = logits.copy()
        without[:, at] = -np.inf
        only_ends = without.max(axis=1) == -np.inf
        without[only_ends] = LEAST  # all other weights are 0 compared with the ends'
        others = _weights(without, largest, t)
        every = _union(others, _weights(np.maximum(logits[:, at], LEAST), largest, t))
        others.mean[only_ends] = np.nan
    # ln p of a token is its logit minus the log-sum of all weights at t = 1.
    surprisal, slope = every.log_sum[:, -1:] - others.mean, others.variance / t**2
    entropy = every.log_sum - every.mean / t
    return np.stack([entropy, every.variance / t**3, surprisal, slope], axis=1)[:, :, :-1]


def _weights(logits: Array, largest: Floats, t: Floats) -> _Weights:
    """Return the weights of all tokens of these rows.

    Args:
        logits: (rows, tokens).
        largest: (rows,) the logit that all of them are relative to.
        t: (temperatures,).
    """
    rest, first, second = np.moveaxis(ModelRows(logits).moments(t), -1, 0)
    mean, square = first / (1 + rest), second / (1 + rest)
    top = (logits.max(axis=1) - largest)[:, None]
    # Rounding may take a tiny variance below 0.
    return _Weights(top / t + np.log1p(rest), top + mean, np.maximum(square - mean**2, 0.0))


def _union(one: _Weights, other: _Weights) -> _Weights:
    """Combine the weights of two sets of tokens."""
    log_sum = np.logaddexp(one.log_sum, other.log_sum)
    shares = [np.exp(each.log_sum - log_sum) for each in (one, other)]
    mean = shares[0] * one.mean + shares[1] * other.mean
    # By the law of total variance: within the sets, and between their means.
    variance = sum(
        share * (each.variance + (each.mean - mean) ** 2)
        for share, each in zip(shares, (one, other), strict=True)
    )
    return _Weights(log_sum, mean, np.asarray(variance))
