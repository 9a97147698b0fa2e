"""Every sampler on the model's distributions at the same positions, in one pass of the model.

A unit of work is some of the texts. Its result is a plain document, which merges with those of
other texts. Figures are computed from the merged document alone, so they are the same however
the work was divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, LanguageModel, Sampler
from corelm.errors import SamplerError, UsageError
from corelm.lint.probing import temperature_of
from corelm.reports.divergences import DIVERGENCES, ModelRows, moments
from corelm.reports.document.content import Curve
from corelm.reports.measure.contexts import Contexts, Group, Position, Reader, groups, read

Record = dict[str, Any]
"""Measurements of some texts: their indices under `text`, and a list as long under each key."""

TOKEN_SURPRISAL = "token_surprisal"
"""The key of the surprisal of each position's next token under the sampler, in nats."""


def measure(
    model: LanguageModel,
    contexts: Contexts,
    samplers: Sequence[Sampler],
    texts: Sequence[int],
    temperatures: Sequence[float] = (),
) -> Record:
    """Measure samplers at every position of some of the texts.

    Args:
        model: the language model, which computes each position once.
        contexts: the texts.
        samplers: the samplers to measure.
        texts: the indices of the texts to measure.
        temperatures: the temperatures of the curve.

    Returns:
        A plain document: `model` has the record of the model's own distributions and of the next
        token of each position; `samplers` has a record of each sampler, or {"error": {"type",
        "message"}} if it failed; `curve` has the record that `curve` reads.

    Raises:
        ModelOutputError: the model returned logits that no sampler can use.

    Example:
        >>> import corelm
        >>> from corelm.reports.measure.contexts import human_contexts
        >>> from corelm.testing import ToyModel
        >>> texts = human_contexts(ToyModel(), ["the cat sat"], "a fable")
        >>> unit = measure(ToyModel(), texts, [corelm.sampler("greedy")], range(1))
        >>> unit["samplers"][0]["entropy"]
        [[0.0, 0.0, 0.0]]
    """
    return merge(
        [_measure(model, group, samplers, temperatures) for group in groups(model, contexts, texts)]
    )


def merge(units: Sequence[Record]) -> Record:
    """Merge the documents of some texts each into one, in the order of the texts.

    A sampler that failed on any of the texts failed.
    """
    samplers = zip(*(unit["samplers"] for unit in units), strict=True)
    return {
        "model": _merged([unit["model"] for unit in units]),
        "samplers": [_merged(records) for records in samplers],
        "curve": _merged([unit["curve"] for unit in units]),
    }


def numbered_from(first: int, unit: Record) -> Record:
    """Return the document of a unit with indices that begin at the first one of its texts.

    Args:
        first: the index of this text among all texts.
        unit: from `measure` on texts that were numbered from 0.
    """
    records = [unit["model"], *unit["samplers"], unit["curve"]]
    for record in records:
        if "error" not in record:
            record["text"] = [first + text for text in record["text"]]
    return unit


def failure(error: Exception) -> Record:
    """Return the record of a sampler that failed: it costs its row of the report, no more."""
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def _merged(records: Sequence[Record]) -> Record:
    failed = [record for record in records if "error" in record]
    if failed:
        return failed[0]
    # Groups hold texts of one prompt length. In the order of the texts, sums round alike however
    # the work was divided.
    order = sorted(
        (text, at, row)
        for at, record in enumerate(records)
        for row, text in enumerate(record["text"])
    )
    return {key: [records[at][key][row] for _, at, row in order] for key in records[0]}


def _measure(
    model: LanguageModel, group: Group, samplers: Sequence[Sampler], temperatures: Sequence[float]
) -> Record:
    own = _Columns(group, ("entropy", "surprisal"))
    curve = _Curve(group, temperatures)
    runs = [_SamplerRun(sampler, group) for sampler in samplers]
    for position in read(model, group):
        # All samplers share the entropies and weights of the model's rows.
        rows = ModelRows(position.logits)
        surprisal = group.model_surprisal[position.rows, position.time]
        own.add(position, np.column_stack([rows.entropy, surprisal]))
        curve.add(position, surprisal)
        for run in runs:
            run.measure(position, rows)
    return {
        "model": own.record,
        "samplers": [run.record for run in runs],
        "curve": curve.record,
    }


class _Columns:
    """A growing record: the values at the positions of each text of a group."""

    def __init__(self, group: Group, names: Sequence[str]) -> None:
        self._group = group
        self._names = names
        self._values = np.full((*group.tokens.shape, len(names)), np.nan)

    def add(self, position: Position, values: NDArray[np.float64]) -> None:
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


class _SamplerRun:
    """The run of one sampler over a group; it stops at the first failure."""

    def __init__(self, sampler: Sampler, group: Group) -> None:
        self._reader = Reader(sampler, group)
        self._columns = _Columns(group, (*DIVERGENCES, TOKEN_SURPRISAL))
        self._error: Record | None = None

    @property
    def record(self) -> Record:
        """The record so far, or the error."""
        return self._error or self._columns.record

    def measure(self, position: Position, model: ModelRows) -> None:
        """Measure the sampler at one position, on the model's distributions there."""
        if self._error is not None:
            return
        try:
            found = self._reader.compare(position, model)
        except (SamplerError, UsageError) as error:
            self._error = failure(error)
            return
        self._columns.add(position, np.column_stack([found.figures, found.surprisal]))
        self._reader.store(position, found.surprisal)


class _Curve:
    """A growing record of the temperature curve: for each text, sums over its positions.

    There are sums over the positions of words that the model can draw too, to compare with these.
    """

    def __init__(self, group: Group, temperatures: Sequence[float]) -> None:
        self._temperatures = temperatures
        self._texts = group.texts
        self._positions = np.zeros(len(group.texts), dtype=np.int64)
        self._sums = np.zeros((len(group.texts), 3, len(temperatures)))
        self._of_words = self._sums.copy()

    def add(self, position: Position, surprisal: NDArray[np.float64]) -> None:
        """Add a position, and the surprisal of the token there; nan if it cannot be drawn."""
        self._positions[position.rows] += 1
        if self._temperatures:
            found = at_temperatures(position.logits, self._temperatures)
            self._sums[position.rows] += found
            found[np.isnan(surprisal)] = 0
            self._of_words[position.rows] += found

    @property
    def record(self) -> Record:
        return {
            "text": list(self._texts),
            "positions": self._positions.tolist(),
            "entropy": self._sums[:, 0].tolist(),
            "slope": self._sums[:, 1].tolist(),
            "surprisal": self._sums[:, 2].tolist(),
            "word_slope": self._of_words[:, 1].tolist(),
            "word_surprisal": self._of_words[:, 2].tolist(),
        }


GRID = (*(round(0.1 * i, 1) for i in range(1, 21)), 2.5, 3.0, 4.0, 6.0, 10.0)
"""The temperatures of a curve: dense where people use them, sparse towards uniform."""

COLDEST = 0.01
"""The lowest temperature of a curve; below it no plot can tell it from greedy."""


def temperatures(samplers: Iterable[Sampler]) -> list[float]:
    """Return the temperatures of a curve: the grid, and samplers that are a temperature.

    Example:
        >>> import corelm
        >>> 0.33 in temperatures([corelm.sampler("temperature(t=0.33)")])
        True
    """
    own = [t for sampler in samplers if (t := temperature_of(sampler)) is not None]
    return sorted({COLDEST, *GRID, *(t for t in own if COLDEST <= t <= GRID[-1])})


def at_temperatures(logits: Array, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """Return the entropy at each temperature, its derivative, and the expected surprisal.

    The derivative is the variance of the logits under the distribution at that temperature,
    over the temperature cubed. It is never below 0, so the entropy never falls. The expected
    surprisal is that of a token drawn at this temperature, under the model; its derivative is the
    temperature times that of the entropy.

    Args:
        logits: (rows, vocabulary), the model's.
        temperatures: above 0.

    Returns:
        (rows, 3, temperatures): nats, nats per unit of temperature, nats.

    Example:
        >>> even = np.log([[0.25] * 4])
        >>> at_temperatures(even, [0.5, 2.0]).round(4).tolist()
        [[[1.3863, 1.3863], [0.0, 0.0], [1.3863, 1.3863]]]
    """
    t = np.array([*temperatures, 1.0], dtype=np.float64)
    rest, first, second = np.moveaxis(moments(logits, t), -1, 0)
    mean, square = first / (1 + rest), second / (1 + rest)
    # A variance: rounding may take a tiny one below 0.
    slope = np.maximum(square - mean**2, 0.0) / t**3
    entropy = np.log1p(rest) - mean / t
    # ln p of a token is its logit, less the largest one, less ln of the sum of weights at t = 1.
    surprisal = np.log1p(rest[:, -1:]) - mean
    return np.stack([entropy, slope, surprisal], axis=1)[:, :, :-1]


def curve(record: Record, temperatures: Sequence[float]) -> Curve:
    """Return the mean entropy over all positions at each temperature, its slope, and surprisal.

    Args:
        record: the part `curve` of `measure`, merged.
        temperatures: the temperatures of the measurement.
    """
    positions = max(sum(record["positions"]), 1)
    entropy, slope, surprisal = (
        (np.sum(record[key], axis=0).reshape(-1) / positions).tolist()
        for key in ("entropy", "slope", "surprisal")
    )
    return Curve(t=list(temperatures), entropy=entropy, slope=slope, surprisal=surprisal)
