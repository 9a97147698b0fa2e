"""Every sampler on the model's distributions at the same positions, in one pass of the model.

A unit of work is some of the texts. Its result is a plain document, which merges with those of
other texts. Figures are computed from the merged document alone, so they are the same however
the work was divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel, Sampler
from corelm.errors import SamplerError, UsageError
from corelm.reports.divergences import DIVERGENCES, ModelRows
from corelm.reports.measure.contexts import Contexts, Group, Position, Reader, groups, read
from corelm.reports.measure.temperature_curve import CurveSums

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
        "message"}} if it failed; `curve` has the record that
        `temperature_curve.curve` reads.

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
    curve = CurveSums(group, temperatures)
    runs = [_SamplerRun(sampler, group) for sampler in samplers]
    for position in read(model, group):
        # All samplers share the entropies and weights of the model's rows.
        rows = ModelRows(position.logits, model.vocabulary.ends)
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
