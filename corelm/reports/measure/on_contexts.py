"""Every sampler on the model's distributions at the same positions, in one pass of the model.

A unit of work is some of the texts. Its result is a plain document, which merges with those of
other texts. Figures are computed from the merged document alone, so they are the same however
the work was divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel, Sampler
from corelm.errors import SamplerError, UsageError
from corelm.reports.measure.contexts import Contexts
from corelm.reports.measure.teacher_forcing import Group, Position, Reader, groups, read
from corelm.reports.measure.temperature_curve import at_temperatures
from corelm.reports.metrics.intervals import mean_interval
from corelm.reports.metrics.positions import by_position, total
from corelm.toolkit import DIVERGENCES, ModelRows

Record = dict[str, Any]
"""Measurements of some texts: their indices under `text`, and a list as long under each key."""

IN_NATS = ("entropy", "model_entropy", "kl_to_model", "expected_surprisal")
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
        samplers: the samplers.
        texts: the indices of the texts to measure.
        temperatures: those of the temperature curve.

    Returns:
        A plain document: `model` has the record of the model's own distributions and of the next
        token of each position; `samplers` has a record of each sampler, or {"error": {"type",
        "message"}} if it failed; `curve` has the record that `temperature_curve.curve` reads.

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
        curve.add(position)
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
    """A growing record of the temperature curve: for each text, sums over its positions."""

    def __init__(self, group: Group, temperatures: Sequence[float]) -> None:
        self._temperatures = temperatures
        self._texts = group.texts
        self._positions = np.zeros(len(group.texts), dtype=np.int64)
        self._sums = np.zeros((len(group.texts), 2, len(temperatures)))

    def add(self, position: Position) -> None:
        self._positions[position.rows] += 1
        if self._temperatures:
            self._sums[position.rows] += at_temperatures(position.logits, self._temperatures)

    @property
    def record(self) -> Record:
        return {
            "text": list(self._texts),
            "positions": self._positions.tolist(),
            "entropy": self._sums[:, 0].tolist(),
            "slope": self._sums[:, 1].tolist(),
        }


def summary(record: Record, people: Record | None = None) -> dict[str, Any]:
    """Compute the figures of one sampler on all contexts: `teacher_forced` of a report.

    Means are over positions, with intervals by bootstrap over texts. Entropies and surprisals are
    in nats; the key `bits` has their means in bits.

    Args:
        record: that of one sampler, from `measure`, merged.
        people: that of the model, if people wrote the contexts.
    """
    n = sum(map(len, record["entropy"]))
    means = {name: _mean(record[name]) for name in DIVERGENCES}
    entropy = entropy_summary(record)
    recall = human_recall(record, people) if people else {}
    return {
        "n": n,
        "entropy": entropy,
        "effective_choices": None if entropy["mean"] is None else math.exp(entropy["mean"]),
        **{name: means[name] for name in DIVERGENCES if name != "entropy"},
        **{name: _mean(values) for name, values in recall.items()},
        "bits": {name: _in_bits(means[name]) for name in IN_NATS},
        "ci95": {
            name: _interval(values)
            for name, values in ({name: record[name] for name in DIVERGENCES[1:]} | recall).items()
        },
        "by_position": by_position(
            {name: record[name] for name in ("entropy", "mass_kept", "model_entropy")}
        ),
    }


def human_recall(record: Record, people: Record) -> Record:
    """Tell of each word of people whether the sampler could have drawn it, and how likely it was.

    Words that the model itself cannot draw are left out. A filter that keeps a mass of 0.9 would
    keep 90 % of the words of people if the model were calibrated.

    Source: Meister et al. 2023, On the efficacy of sampling adapters, arXiv 2307.03749.
    """
    pairs = [
        [nats for nats, under_model in zip(*texts, strict=True) if under_model is not None]
        for texts in zip(record[TOKEN_SURPRISAL], people["surprisal"], strict=True)
    ]
    return {
        "human_recall": [[float(nats is not None) for nats in text] for text in pairs],
        "human_surprisal": [[nats for nats in text if nats is not None] for text in pairs],
    }


def model_summary(record: Record) -> dict[str, Any]:
    """Compute the model's figures on all contexts, and the surprisal of the tokens there.

    Args:
        record: that of the model, from `measure`, merged.

    Returns:
        `n`, `entropy` as in a summary, the mean `surprisal` of the tokens that can be drawn, with
        its interval in `ci95`, and `by_position`.
    """
    known = [[value for value in text if value is not None] for text in record["surprisal"]]
    return {
        "n": sum(map(len, record["entropy"])),
        "entropy": entropy_summary(record),
        "surprisal": _mean(known),
        "ci95": {"surprisal": _interval(known)},
        "by_position": by_position({"entropy": record["entropy"]}),
    }


def entropy_summary(record: Record) -> dict[str, Any]:
    """Return the mean entropy, its interval, and percentiles over the positions."""
    values = _flat(record["entropy"])
    spread = np.percentile(values, (5, 50, 95)).tolist() if values.size else [None] * 3
    return {
        "mean": _mean(record["entropy"]),
        "ci95": _interval(record["entropy"]),
        "median": spread[1],
        "p05": spread[0],
        "p95": spread[2],
    }


def _flat(texts: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array([value for text in texts for value in text], dtype=np.float64)


def _mean(texts: Sequence[Sequence[float]]) -> float | None:
    values = _flat(texts)
    return float(values.mean()) if values.size else None


def _interval(texts: Sequence[Sequence[float]]) -> list[float] | None:
    return mean_interval(*total(texts))


def _in_bits(nats: float | None) -> float | None:
    return None if nats is None else nats / math.log(2)
