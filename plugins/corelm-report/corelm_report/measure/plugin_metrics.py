"""Measure sets of texts with the metrics of plugins.

A plugin's metric that fails doesn't affect the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corelm import HumanMetric, LanguageModel, SetMetric, TextMetric, TokenMetric
from corelm.errors import PluginError
from corelm.runs import ForcedTokens, plugins, printable
from corelm_stats.text_figures import Floats, WholeSet, left_out

TokensAndText = tuple[tuple[int, ...], str]
"""The token ids of a text, and the text; neither can be changed by a plugin."""


@dataclass(frozen=True)
class HumanTexts:
    """The human texts that texts are compared with, and the model that reads both.

    Attributes:
        texts: the human texts.
        scorer: the model that reads both.
    """

    texts: Sequence[str]
    scorer: LanguageModel


def with_plugins(
    whole: WholeSet,
    metrics: Sequence[plugins.Offer],
    tokens: Sequence[Sequence[int]],
    written: Sequence[str],
    human: HumanTexts | None = None,
) -> WholeSet:
    """Return the figures of a set of texts with those of the metrics of plugins.

    Args:
        whole: corelm's own figures.
        metrics: the metrics, as plugins offer them.
        tokens: the token ids of each text.
        written: the same texts as text.
        human: human texts; without them, metrics that compare with them are undefined.

    Example:
        >>> class Count(SetMetric):
        ...     meaning = "the number of tokens"
        ...     def figure(self, tokens, texts):
        ...         return sum(map(len, tokens))
        >>> source = plugins.registry().source_of(Count)
        >>> offer = plugins.Offer("count", Count(), source)
        >>> from corelm_stats.inference import Inference
        >>> whole = WholeSet(Inference.of_names(range(2)), {}, {}, 0)
        >>> figures = with_plugins(whole, [offer], [[3, 4], [3]], ["the cat", "the"])
        >>> figures.values, figures.left_out
        ({'this process:count': 3.0}, {'this process:count': [1.0, 2.0]})
    """
    # Tuples, so that a plugin can't change the texts for the next one.
    texts = list(zip(map(tuple, tokens), written, strict=True))
    every, values, without = range(len(texts)), dict(whole.values), dict(whole.left_out)
    figures = replace(whole, values=values, left_out=without, noise={}, failures={})
    for offer in metrics:
        if not isinstance(offer.value, SetMetric | HumanMetric):
            continue
        name = offer.full_name
        figures.values[name], figures.left_out[name] = None, []
        try:
            with plugins.registry().guarded():
                figure = _figure(offer.value, texts, human)
                repetitions = figure(every)
                parts = [_mean(each) for each in left_out(figure, every, whole.inference.groups)]
                _check_repeats(repetitions, figure(every))
            figures.values[name], figures.left_out[name] = _mean(repetitions), parts
            if repetitions is not None and len(repetitions) > 1:
                # The variance of their mean.
                figures.noise[name] = float(np.var(repetitions, ddof=1)) / len(repetitions)
        except PluginError as error:
            figures.failures[name] = str(error)
    return figures


def of_texts(
    metrics: Sequence[plugins.Offer],
    tokens: Sequence[Sequence[int]],
    written: Sequence[str],
    logits: Iterable[ForcedTokens] | None = None,
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Measure each text with the metrics that are means over texts.

    Args:
        metrics: the metrics, as plugins offer them; the others are left out.
        tokens: the token ids of each text.
        written: the same texts as text.
        logits: the model's, before each token of the texts; without them, token metrics are
            undefined.

    Returns:
        By the full name of the metric: (texts,) its value for each text, nan if a text has none;
        the reason of each metric that failed.

    Example:
        >>> class Length(TextMetric):
        ...     meaning = "tokens of a text"
        ...     def of_text(self, tokens, text):
        ...         return len(tokens) or None
        >>> source = plugins.registry().source_of(Length)
        >>> offer = plugins.Offer("length", Length(), source)
        >>> of_texts([offer], [[3, 4], []], ["the cat", ""])[0]
        {'this process:length': array([ 2., nan])}
    """
    figures, failures = dict[str, Floats](), dict[str, str]()
    numbers = _of_tokens(metrics, len(tokens), logits, failures)
    for offer in metrics:
        name, metric = offer.full_name, offer.value
        if not isinstance(metric, TextMetric | TokenMetric):
            continue
        figures[name] = np.full(len(tokens), np.nan)
        if name in failures or (logits is None and isinstance(metric, TokenMetric)):
            continue
        try:
            with plugins.registry().guarded():
                of_text: Callable[[Any, str], Any] = metric.of_text
                pairs = list(zip(map(tuple, numbers.get(name, tokens)), written, strict=True))
                values = [_mean(metric.numbers(of_text(*pair))) for pair in pairs]
                for value, pair in zip(values[:1], pairs[:1], strict=True):
                    _check_repeats(value, _mean(metric.numbers(of_text(*pair))))
            figures[name] = np.array(values, dtype=np.float64)  # None becomes nan
        except PluginError as error:
            failures[name] = str(error)
    return figures, failures


def _of_tokens(
    metrics: Sequence[plugins.Offer],
    texts: int,
    logits: Iterable[ForcedTokens] | None,
    failures: dict[str, str],
) -> dict[str, list[list[float]]]:
    """Return the numbers that metrics give the tokens of each text; the model reads them once."""
    functions = {
        o.full_name: o.value.of_tokens for o in metrics if isinstance(o.value, TokenMetric)
    }
    by_metric: dict[str, list[list[float]]] = {
        name: [[] for _ in range(texts)] for name in functions
    }
    for index, some in enumerate(logits if logits is not None and functions else ()):
        some.logits.setflags(write=False)  # so that a plugin can't change them for the next one
        for name in functions.keys() - failures.keys():
            try:
                with plugins.registry().guarded():
                    numbers = functions[name](some.logits)
                    if index == 0:
                        _check_repeats(numbers, functions[name](some.logits))
            except PluginError as error:
                failures[name] = str(error)
                continue
            for text, number in zip(some.texts.tolist(), numbers, strict=True):
                by_metric[name][text].append(number)
    return by_metric


def _figure(
    metric: SetMetric | HumanMetric, texts: Sequence[TokensAndText], human: HumanTexts | None
) -> Callable[[Sequence[int]], list[float] | None]:
    """Return a function from the indices of some texts to the metric's value for each repetition.

    It is None without texts.
    """
    if isinstance(metric, SetMetric):
        return lambda rows: (
            metric.numbers(
                metric.figure([list(texts[i][0]) for i in rows], [texts[i][1] for i in rows])
            )
            if rows
            else None
        )
    if human is None:
        return lambda rows: None
    figure = metric.compare([text for _, text in texts], list(human.texts), human.scorer)
    return lambda rows: metric.numbers(figure(rows)) if rows else None


def _check_repeats(value: Any, again: Any) -> None:
    """Raise if a metric returned something else for the same texts."""
    if value != again:
        raise PluginError(
            f"it returned {printable.shown(value)} and then {printable.shown(again)} for the same "
            "texts: a metric keeps nothing between calls, and draws from a generator that it seeds"
        )


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else math.fsum(values) / len(values)
