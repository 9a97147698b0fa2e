"""The human entry, measured on human texts or taken from the manifest of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corelm import LanguageModel
from corelm.models.identity import manifest_of
from corelm.reports.document.content import (
    EntropySummary,
    GeneratedTexts,
    HumanContexts,
    HumanEntry,
)
from corelm.reports.document.figures import GENERATED, OF_SETS, OF_TEXTS, of_view
from corelm.reports.document.numbers import share
from corelm.reports.document.schema import fault
from corelm.reports.measure import generated_texts
from corelm.reports.measure.contexts import Contexts
from corelm.reports.measure.entries import model_on_contexts
from corelm.reports.measure.plan import Plan
from corelm.reports.measure.scoring import Score, count_bytes
from corelm.reports.measure.text_set import TextSet
from corelm.reports.metrics.positions import Band
from corelm.toolkit import Offer

Record = Mapping[str, Any]
Scorer = Callable[[Sequence[generated_texts.Record]], Sequence[Score]]


def from_texts(
    model: LanguageModel,
    contexts: Contexts,
    record: Record,
    some: int,
    offered: Sequence[Offer] = (),
    scorer: Scorer | None = None,
    set_size: int | None = None,
) -> HumanEntry:
    """Measure the human entry on human texts.

    Args:
        model: the language model.
        contexts: the human texts.
        record: the part `model` of `on_contexts.measure` on them, merged.
        some: the number of texts, the first ones, that are the contexts of the samplers.
        offered: the metrics of plugins to measure too.
        scorer: returns the scores of texts under a second model, if there is one.
        set_size: the number of texts that each sampler writes, for figures that depend on it.
    """
    on_contexts = model_on_contexts({key: values[:some] for key, values in record.items()})
    texts = [_text(model, contexts, record, i) for i in range(len(contexts.texts))]
    scores = scorer(texts) if scorer else ()
    measured = TextSet(texts, band(on_contexts), offered, scores, set_size=set_size)
    of_texts = measured.summary()
    positions = sum(map(len, record["surprisal"]))
    of_texts.figures["unknown"] = sum(text["unknown"] for text in texts) / positions
    of_texts.by_position = []
    return HumanEntry(
        description=f"{len(texts)} texts: {contexts.description}{_note(of_texts)}",
        teacher_forced=on_contexts,
        generated_texts=of_texts,
        failed_metrics=measured.failures,
    )


def _note(texts: GeneratedTexts) -> str:
    """Say what becomes of words that the model does not know."""
    unknown = texts.figures["unknown"]
    if not unknown:
        return ""
    return (
        f"; {share(unknown)} of their tokens are words that the model does not know: they stay in "
        "its contexts, and are left out of the figures and of what a second scorer and metrics read"
    )


def written(model: LanguageModel, contexts: Contexts) -> list[str]:
    """Return human texts as the human entry has them: without tokens that cannot be drawn."""
    return [model.vocabulary.decode(_known(model, text)) for text in contexts.texts]


def _known(model: LanguageModel, text: Sequence[int]) -> list[int]:
    return [token for token in text if token != model.vocabulary.unknown]


def _text(
    model: LanguageModel, contexts: Contexts, record: Record, i: int
) -> generated_texts.Record:
    """Return the record of a human text as if it had been drawn, without tokens that can't be."""
    tokens, prompt = _known(model, contexts.texts[i]), contexts.prompt_lengths[i]
    own = contexts.texts[i][prompt:], record["surprisal"][i], record["entropy"][i]
    scored = [each for each in zip(*own, strict=True) if each[1] is not None]
    entropies = [entropy for _, _, entropy in scored]
    return generated_texts.Record(
        prompt="",
        seed=0,
        sample=i,
        text=model.vocabulary.decode(tokens),
        tokens=tokens,
        end=None,
        finish_reason="end",
        unknown=len(record["surprisal"][i]) - len(scored),
        bytes=count_bytes(
            model.vocabulary, contexts.texts[i][:prompt], [token for token, _, _ in scored]
        ),
        words=[],
        surprisal=[nats for _, nats, _ in scored],
        sampler_surprisal=[],
        entropy=entropies,
        model_entropy=entropies,
        constraint_cost=None,
        model_calls=None,
        tokens_read=None,
        details=[],
    )


def from_manifest(plan: Plan) -> HumanEntry | None:
    """Return the human entry from the manifest of the model, or None if that has no figures.

    Figures that depend on the number of texts or on their length are left out unless the report
    measures the same number and the same length.
    """
    figures = manifest_of(plan.model).get("figures")
    human = _at(figures, "human")
    if _number(human, "surprisal") is None:
        return None
    entry = HumanEntry(
        description="texts that the model has not seen, measured when it was trained",
        teacher_forced=_teacher_forced(human, _at(figures, "held_out", "tokens")),
        generated_texts=_generated_texts(human, plan),
    )
    # A manifest is a file that anybody may have edited.
    return None if fault(entry.to_dict(), "reference") else entry


def _teacher_forced(human: Any, n: Any) -> HumanContexts:
    low, high = _pair(human, "entropy", "band")
    return HumanContexts(
        n=n,
        model_entropy=EntropySummary(
            mean=_number(human, "entropy", "mean"),
            ci95=_at(human, "entropy", "ci95"),
            median=_number(human, "entropy", "median"),
            p05=low,
            p95=high,
        ),
        figures={"surprisal": _number(human, "surprisal")},
        ci95={"surprisal": _at(human, "ci95", "surprisal")},
        by_position=_at(human, "by_position") or [],
    )


def _generated_texts(human: Any, plan: Plan) -> GeneratedTexts:
    of = {key: _at(human, "sets", key) for key in ("sets", "texts", "length")}
    left_out: tuple[str, ...] = ()
    if of["length"] != plan.length:
        left_out = OF_SETS + OF_TEXTS
    elif of["texts"] != plan.set_size:
        left_out = OF_SETS
    names = [figure.name for figure in of_view(GENERATED)]
    figures = {name: None if name in left_out else _number(human, name) for name in names}
    ci95 = {name: _at(human, "ci95", name) for name in names if figures[name] is not None}
    surprisal = figures["surprisal"]
    # Two figures that a manifest has under a different name, or that follow from a third.
    figures["perplexity"] = None if surprisal is None else math.exp(surprisal)
    figures["model_entropy"] = _number(human, "entropy", "mean")
    n = None if None in of.values() else of["sets"] * of["texts"]
    size = None if left_out else of["texts"]
    return GeneratedTexts(n=n, set_size=size, figures=figures, ci95=ci95)


def band(human: HumanContexts | None) -> Band | None:
    """Return the 5th and the 95th percentile of the model's entropy on human text, if known."""
    if human is None or human.model_entropy.p05 is None or human.model_entropy.p95 is None:
        return None
    return human.model_entropy.p05, human.model_entropy.p95


def _at(value: Any, *keys: str) -> Any:
    """Return the value at the end of a path of keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: Any, *keys: str) -> float | None:
    found = _at(value, *keys)
    # exp of more than 709 overflows, and no honest figure of a manifest is as large.
    known = isinstance(found, (int, float)) and not isinstance(found, bool)
    return found if known and abs(found) < 700 else None


def _pair(value: Any, *keys: str) -> tuple[Any, Any]:
    found = _at(value, *keys)
    return tuple(found) if isinstance(found, list) and len(found) == 2 else (None, None)
