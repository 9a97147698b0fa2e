"""The figures that plugins add to a set of texts, each able to fail alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any

from corelm import LanguageModel, Metric
from corelm.errors import PluginError
from corelm.reports.metrics.text_figures import left_out
from corelm.toolkit import Offer, plugin_errors, shown

Function = Callable[[Sequence[int]], Any]
TokensAndText = tuple[tuple[int, ...], str]
"""The token ids of a text, and the text; neither can be changed by a plugin."""


@dataclass(frozen=True)
class PluginFigures:
    """The figures of one set of texts, by the full name of the metric.

    Attributes:
        values: the figures; None if undefined or failed.
        left_out: the figures of the set without each of its parts, as `left_out` returns them.
        failures: the reason of each metric that failed.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    left_out: dict[str, list[float | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HumanTexts:
    """The human texts that texts are compared with, and the model that reads both.

    Attributes:
        texts: the human texts.
        scorer: the model that reads both.
    """

    texts: Sequence[str]
    scorer: LanguageModel


def measure(
    metrics: Sequence[Offer],
    tokens: Sequence[Sequence[int]],
    written: Sequence[str],
    human: HumanTexts | None = None,
) -> PluginFigures:
    """Measure a set of texts with the metrics of plugins.

    Args:
        metrics: the metrics, as plugins offer them.
        tokens: the token ids of each text.
        written: the same texts as text.
        human: for metrics that compare with human texts, which are undefined without it.

    Example:
        >>> from corelm import Metric
        >>> from corelm.plugins.offers import Source
        >>> count = Metric("the number of tokens", lambda tokens, texts: sum(map(len, tokens)))
        >>> offer = Offer("count", count, Source("corelm-count", "1", "count"))
        >>> figures = measure([offer], [[3, 4], [3]], ["the cat", "the"])
        >>> figures.values, figures.left_out
        ({'corelm-count:count': 3.0}, {'corelm-count:count': [1.0, 2.0]})
    """
    # Tuples: a plugin cannot change the texts of the next one.
    texts = list(zip(map(tuple, tokens), written, strict=True))
    every, found = range(len(texts)), PluginFigures()
    for offer in metrics:
        name = offer.full_name
        found.values[name], found.left_out[name] = None, []
        try:
            with plugin_errors():
                figure = partial(_number, _figure(offer.value, texts, human))
                parts = left_out(figure, every)
                found.values[name] = figure(every)
            found.left_out[name] = parts
        except PluginError as error:
            found.failures[name] = str(error)
    return found


def _figure(metric: Metric, texts: Sequence[TokensAndText], human: HumanTexts | None) -> Function:
    """Return the function from the indices of some texts to the metric's value."""
    figure, compare = metric.figure, metric.compare
    if compare is None:
        return lambda rows: figure(*map(list, zip(*(texts[i] for i in rows), strict=True)))  # type: ignore[misc]
    if human is None:
        return lambda rows: None
    return compare([text for _, text in texts], human.texts, human.scorer)


def _number(figure: Function, rows: Sequence[int]) -> float | None:
    """Return the figure of some texts; of none it is undefined."""
    value = figure(rows) if rows else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise PluginError(f"it returned {shown(value)}; expected a finite number, or None")
    return float(value)
