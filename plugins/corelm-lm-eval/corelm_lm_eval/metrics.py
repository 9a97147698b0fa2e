"""The metrics of corelm's plugins as metrics of lm-evaluation-harness, under `corelm_NAME`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lm_eval.api import metrics as _of_the_harness  # noqa: F401 - registers its own ones first
from lm_eval.api import registry as harness

from corelm import HumanMetric, LanguageModel, SetMetric, TextMetric, TokenMetric
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import ForcedTokens, plugins
from corelm_lm_eval.scoring import prefix

Metric = SetMetric | TextMetric | TokenMetric | HumanMetric

Answer = tuple[str, str]
"""The target of a document, and the text that the model wrote."""


class Evaluated:
    """The model under evaluation, whose vocabulary encodes the texts for metrics.

    It is global because lm-evaluation-harness passes only texts to metrics.
    """

    model: LanguageModel | None = None


def register_metrics() -> None:
    """Register the metrics of plugins that aren't registered yet, with their default parameters."""
    for offer in plugins.registry().offers("corelm_metrics"):
        name = f"corelm_{offer.name.replace('-', '_')}"
        if name not in harness.metric_registry:
            harness.register_aggregation(name)(partial(_of_answers, offer.value))
            harness.register_metric(metric=name, higher_is_better=True, aggregation=name)(_answer)


def _answer(references: Sequence[str], predictions: Sequence[str], **_: Any) -> Answer:
    """Return the target and the text of one document; the metrics combine all documents."""
    return references[0], predictions[0]


def _of_answers(metric: type[Metric], answers: Sequence[Answer]) -> float:
    return of_answers(metric(), answers)


def of_answers(metric: Metric, answers: Sequence[Answer]) -> float:
    """Return a metric of the texts of all documents; nan if it is undefined.

    Metrics that compare with human text compare with the targets.

    Raises:
        UsageError: the model is not one of corelm's.
    """
    model = Evaluated.model
    if model is None:
        raise UsageError("corelm's metrics read texts with the model `corelm`: evaluate this one")
    targets, texts = zip(*answers, strict=True)
    tokens = [model.vocabulary.encode(text) for text in texts]
    if isinstance(metric, TextMetric | TokenMetric):
        of_texts = isinstance(metric, TextMetric)
        first = tokens if of_texts else _numbers(metric.of_token, texts, model)
        pairs = zip(first, texts, strict=True)
        return _mean([value for pair in pairs if (value := metric.of_text(*pair)) is not None])
    if isinstance(metric, HumanMetric):
        return _mean(metric.compare(texts, targets, model)(range(len(texts))))
    return _mean(metric.figure(tokens, texts))


def _numbers(
    of_token: Callable[[Any], Any], texts: Sequence[str], model: LanguageModel
) -> list[list[float]]:
    """Return a metric's number for each token of texts, which the model reads without prompts."""
    before = prefix(model.vocabulary)
    numbers: list[list[float]] = [[] for _ in texts]
    ids = [before + FullVocabulary(model.vocabulary).prompt_ids(text) for text in texts]
    for some in ForcedTokens.of(model, ids, [len(before)] * len(ids)):
        for text, number in zip(some.texts.tolist(), of_token(some.logits), strict=True):
            numbers[text].append(float(number))
    return numbers


def _mean(values: Any) -> float:
    """Return the mean over a figure's repetitions, or over the texts that have it."""
    values = [values] if isinstance(values, (int, float)) else values or []
    return math.fsum(values) / len(values) if len(values) else math.nan
