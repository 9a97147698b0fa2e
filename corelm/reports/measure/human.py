"""The human row, measured on human texts or taken from the manifest of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corelm import LanguageModel
from corelm.models.identity import manifest_of
from corelm.reports.document.lookup import HUMAN, OF_SETS, OF_TEXTS
from corelm.reports.document.schema import fault, schema
from corelm.reports.measure import generated_texts, on_contexts
from corelm.reports.measure.contexts import Contexts
from corelm.reports.measure.scoring import Score, count_bytes
from corelm.reports.measure.settings import Settings
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
) -> dict[str, Any]:
    """Measure the human row on human texts.

    Args:
        model: the language model.
        contexts: the human texts.
        record: the part `model` of `on_contexts.measure` on them, merged.
        some: the number of texts, the first ones, that are the contexts of the samplers.
        offered: the metrics of plugins to measure too.
        scorer: returns the scores of texts under a second model, if there is one.
    """
    same = on_contexts.model_summary({key: values[:some] for key, values in record.items()})
    texts = [_text(model, contexts, record, i) for i in range(len(contexts.texts))]
    scores = scorer(texts) if scorer else ()
    of_texts = TextSet(texts, band({"teacher_forced": same}), offered, scores)
    own = of_texts.summary()
    positions = sum(map(len, record["surprisal"]))
    own |= {"unknown": sum(text["unknown"] for text in texts) / positions, "by_position": []}
    row = _row(f"{len(texts)} texts: {contexts.description}", same, own)
    return row | {"failed_metrics": of_texts.failures}


def written(model: LanguageModel, contexts: Contexts) -> list[str]:
    """Return human texts as the human row has them: without tokens that cannot be drawn."""
    return [model.vocabulary.decode(_known(model, text)) for text in contexts.texts]


def _known(model: LanguageModel, text: Sequence[int]) -> list[int]:
    return [token for token in text if token != model.vocabulary.unknown]


def _text(
    model: LanguageModel, contexts: Contexts, record: Record, i: int
) -> generated_texts.Record:
    """The record of a human text, as if it had been drawn, without tokens that cannot be."""
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


def from_manifest(settings: Settings) -> dict[str, Any] | None:
    """Return the human row from the manifest of the model, or None if that has no figures.

    Figures that depend on the number of texts or on their length are left out unless the report
    measures the same number and the same length.
    """
    figures = manifest_of(settings.model).get("figures")
    people = _at(figures, "human")
    if _number(people, "surprisal") is None:
        return None
    row = _row("texts that the model has not seen, measured when it was trained", {}, {})
    row["teacher_forced"] = _teacher_forced(people, _at(figures, "held_out", "tokens"))
    row["generated_texts"] = _generated_texts(people, settings)
    return None if fault(row, "reference") else row


def _teacher_forced(people: Any, n: Any) -> dict[str, Any]:
    low, high = _pair(people, "entropy", "band")
    entropy = {
        "mean": _number(people, "entropy", "mean"),
        "ci95": _at(people, "entropy", "ci95"),
        "median": _number(people, "entropy", "median"),
        "p05": low,
        "p95": high,
    }
    return {
        "n": n,
        "entropy": entropy,
        "surprisal": _number(people, "surprisal"),
        "ci95": {"surprisal": _at(people, "ci95", "surprisal")},
        "by_position": _at(people, "by_position") or [],
    }


def _generated_texts(people: Any, settings: Settings) -> dict[str, Any]:
    of = {key: _at(people, "sets", key) for key in ("sets", "texts", "length")}
    left_out: tuple[str, ...] = ()
    if of["length"] != settings.length:
        left_out = OF_SETS + OF_TEXTS
    elif of["texts"] != settings.n * len(settings.prompts):
        left_out = OF_SETS
    surprisal = _number(people, "surprisal")
    names = schema()["$defs"]["generated_texts"]["properties"]
    own = {name: None if name in left_out else _number(people, name) for name in names}
    return own | {
        "n": None if None in of.values() else of["sets"] * of["texts"],
        "perplexity": None if surprisal is None else math.exp(surprisal),
        "model_entropy": _number(people, "entropy", "mean"),
        "ci95": {name: _at(people, "ci95", name) for name in names if own[name] is not None},
        "by_position": [],
    }


def band(people: Mapping[str, Any] | None) -> Band | None:
    """Return the 5th and the 95th percentile of the model's entropy on human text, if known."""
    low, high = (_number(people, "teacher_forced", "entropy", key) for key in ("p05", "p95"))
    return None if low is None or high is None else (low, high)


def share_of_the_models_entropy(people: Mapping[str, Any] | None) -> float | None:
    """Return the surprisal of human text divided by the model's mean entropy on the same text.

    The model finds its own texts easier or harder than those of people, so nats measured on the
    one do not compare with nats measured on the other; this share does.
    """
    surprisal = _number(people, "teacher_forced", "surprisal")
    mean = _number(people, "teacher_forced", "entropy", "mean")
    return None if surprisal is None or not mean else surprisal / mean


def _row(description: str, same: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": HUMAN,
        "description": description,
        "teacher_forced": same,
        "generated_texts": own,
    }


def _at(value: Any, *keys: str) -> Any:
    """The value at the end of a path of keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: Any, *keys: str) -> float | None:
    found = _at(value, *keys)
    known = isinstance(found, (int, float)) and not isinstance(found, bool)
    return found if known and abs(found) < 700 else None


def _pair(value: Any, *keys: str) -> tuple[Any, Any]:
    found = _at(value, *keys)
    return tuple(found) if isinstance(found, list) and len(found) == 2 else (None, None)
