"""The human entry, measured on human texts or taken from the manifest of the model.

The maximum-likelihood temperature makes human words likeliest: at it, words drawn from the model
have on average the same surprisal as human words. The likelihood is concave in 1/t, so there is
only one such temperature. As human words never end a text, the likelihood is conditional on no end.

Two samples of human text differ too. So no sampler can be expected to be closer to human text than
one half of the human texts is to the other, which has an entry as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from corelm import HumanMetric, LanguageModel
from corelm.runs import NamedModel, printable
from corelm_report.document.content import (
    Differences,
    EntropySummary,
    GeneratedTexts,
    HumanContexts,
    HumanEntry,
    HumanHalves,
)
from corelm_report.document.figures import GENERATED, HUMAN_HALVES, of_view
from corelm_report.document.lookup import OF_SETS, OF_TEXTS, share
from corelm_report.document.schema import fault
from corelm_report.measure.contexts import Contexts
from corelm_report.measure.entries import model_on_contexts
from corelm_report.measure.on_contexts import Record
from corelm_report.measure.plugin_metrics import HumanTexts
from corelm_report.measure.text_records import Score, TextRecord, count_bytes
from corelm_report.measure.text_set import TextSet
from corelm_report.plan.plan import Plan
from corelm_stats import BEGINNING
from corelm_stats.estimates import FEWEST, perplexity
from corelm_stats.inference import GENERATED as FROM_PROMPTS
from corelm_stats.inference import HUMAN, Inference
from corelm_stats.intervals import Band

Scorer = Callable[[Sequence[TextRecord]], Sequence[Score]]


def from_texts(
    plan: Plan, contexts: Contexts, record: Record, some: int, scorer: Scorer
) -> tuple[HumanEntry, TextSet, HumanHalves | None]:
    """Measure the human entry on human texts.

    Args:
        plan: the plan of the report.
        contexts: the human texts.
        record: the part `model` of `MeasureOnContexts` on them, merged.
        some: the number of texts at the beginning that are the contexts of the samplers.
        scorer: returns the scores of texts under the second scorer; an empty list without one.

    Returns:
        The entry, the texts, and the entry that compares one half of them with the other; None
        with too few texts.
    """
    on_contexts = model_on_contexts(
        {key: values[:some] for key, values in record.items()},
        Inference.of_texts(contexts.texts[:some]),
    )
    texts = [_text(plan, contexts, record, i) for i in range(len(contexts.texts))]
    scored = texts
    if _scorer_reads_unknown(plan):  # as the model read them
        scored = [
            {**each, "text": _behind_prompt(plan, contexts, i, known_only=False)}
            for i, each in enumerate(texts)
        ]
    scores = scorer(scored)
    source = FROM_PROMPTS if plan.continues_people else HUMAN
    measured = TextSet(
        texts, band(on_contexts), plan.metrics, scores, set_size=plan.set_size, model=plan.model,
        source=source,
    )  # fmt: skip
    # Unknown words have no surprisal, but count as tokens of the text.
    unknown = [text["unknown"] for text in texts]
    measured.ratios["unknown"] = unknown, [len(each) for each in record["surprisal"]]
    of_texts = measured.summary()
    of_texts.by_position = []  # the contexts already have the entropy by position
    entry = HumanEntry(
        description=f"{printable.counted(len(texts), 'text')}: {contexts.description}"
        f"{_notes(plan, contexts, of_texts)}",
        same_places=plan.has_human_places,
        compared=plan.compares_people(plan.has_human_places),
        teacher_forced=on_contexts,
        generated_texts=of_texts,
        failed_metrics=measured.failures,
    )
    floor = human_against_human(plan, texts, scores, band(on_contexts))
    return entry, measured, floor


def _notes(plan: Plan, contexts: Contexts, texts: GeneratedTexts) -> str:
    """Return notes on texts that occur several times, and on words that the model doesn't know."""
    different, unknown, copies = len(set(contexts.texts)), texts.figures["unknown"], ""
    if different < len(contexts.texts):
        copies = f"; only {different} of them are different, and copies of a text are one unit"
    if not unknown:
        return copies
    reads = _scorer_reads_unknown(plan)
    return copies + (
        f"; {share(unknown)} of their tokens are words that the model does not know: they stay in "
        f"its contexts{' and in those of the second scorer' if reads else ''}, and are left out of "
        f"the figures and of what {'' if reads else 'a second scorer and '}metrics read"
    )


def _scorer_reads_unknown(plan: Plan) -> bool:
    """Return True if the second scorer has an unknown token too, and reads the model's as it."""
    unknown = plan.model.vocabulary.unknown
    if plan.scorer is None or unknown is None:
        return False
    own = plan.scorer.model.vocabulary
    return list(own.encode(plan.model.vocabulary.decode([unknown]))) == [own.unknown]


def written(plan: Plan, contexts: Contexts) -> list[str]:
    """Return the texts of the human entry: without tokens that cannot be drawn."""
    return [_behind_prompt(plan, contexts, i) for i in range(len(contexts.texts))]


def _behind_prompt(plan: Plan, contexts: Contexts, i: int, known_only: bool = True) -> str:
    """Return a human text without its prompt."""
    decode, text = plan.model.vocabulary.decode, contexts.texts[i]
    length = contexts.prompt_lengths[i] if plan.continues_people else 0
    own = _known_words(plan.model, text[length:]) if known_only else text[length:]
    if not length:
        return decode(own)
    # Decode it with its prompt, which decides the space before the first word.
    return decode([*text[:length], *own])[len(decode(text[:length])) :]


def _known_words(model: LanguageModel, text: Sequence[int]) -> list[int]:
    return [token for token in text if token != model.vocabulary.unknown]


def _text(plan: Plan, contexts: Contexts, record: Record, i: int) -> TextRecord:
    """Return a human text's record, like a generated text's, without tokens that can't be drawn."""
    whole, prompt = contexts.texts[i], contexts.prompt_lengths[i]
    length = prompt if plan.continues_people else 0
    own = whole[prompt:], record["surprisal"][i], record["entropy"][i]
    scored = [each for each in zip(*own, strict=True) if each[1] is not None]
    entropies = [entropy for _, _, entropy in scored]
    return TextRecord(
        prompt=plan.prompts[i] if length else "",
        seed=0,
        sample=i,
        text=_behind_prompt(plan, contexts, i),
        tokens=_known_words(plan.model, whole[length:]),
        end=None,
        finish_reason="end",
        unknown=len(record["surprisal"][i]) - len(scored),
        bytes=count_bytes(plan.model.vocabulary, whole[:prompt], [token for token, _, _ in scored]),
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
    """Return the human entry from the model's manifest; None if that has no figures.

    Figures that depend on the number of texts or on their length are left out unless the report
    measures the same number and the same length.
    """
    figures: Any = NamedModel(plan.model).manifest.get("figures")
    # Anybody may have edited the manifest.
    try:
        human = figures["human"]
        same_places = plan.beginnings is not None and human.get("beginning") == BEGINNING
        entry = HumanEntry(
            description="texts that the model has not seen, measured when it was trained",
            same_places=same_places,
            compared=plan.compares_people(same_places),
            teacher_forced=_contexts_of_manifest(human),
            generated_texts=_texts_of_manifest(human, plan),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return None if fault(entry.to_dict(), "HumanEntry") else entry


def _contexts_of_manifest(human: Any) -> HumanContexts:
    entropy = human["entropy"]
    low, high = entropy["band"]
    return HumanContexts(
        n=human.get("tokens"),
        model_entropy=EntropySummary(
            mean=entropy["mean"],
            ci95=entropy.get("ci95"),
            median=entropy.get("median"),
            p05=low,
            p95=high,
        ),
        figures={"surprisal": human["surprisal"]},
        ci95={"surprisal": human.get("ci95", {}).get("surprisal")},
        by_position=human.get("by_position", []),
    )


def _texts_of_manifest(human: Any, plan: Plan) -> GeneratedTexts:
    of = human.get("sets", {})
    left_out: tuple[str, ...] = ()
    if of.get("length") != plan.length:
        left_out = OF_SETS + OF_TEXTS
    elif of.get("texts") != plan.set_size:
        left_out = OF_SETS
    names = [figure.name for figure in of_view(GENERATED)]
    figures: dict[str, Any] = {n: None if n in left_out else human.get(n) for n in names}
    intervals = human.get("ci95", {})
    ci95 = {name: intervals.get(name) for name in names if figures[name] is not None}
    # Of as many tokens as the samplers write.
    continuation = human.get("continuation", [])
    if 0 < plan.length <= len(continuation):
        figures["surprisal"], ci95["surprisal"] = continuation[plan.length - 1]
    # Two figures have another name in a manifest, or follow from a third.
    figures["perplexity"] = perplexity(figures["surprisal"])
    figures["model_entropy"] = human["entropy"]["mean"]
    n = of["sets"] * of["texts"] if of else None
    size = None if left_out else of["texts"]
    return GeneratedTexts(n=n, set_size=size, figures=figures, ci95=ci95)


def band(human: HumanContexts | None) -> Band | None:
    """Return the 5th and the 95th percentile of the model's entropy on human text, if known."""
    if human is None or human.model_entropy.p05 is None or human.model_entropy.p95 is None:
        return None
    return human.model_entropy.p05, human.model_entropy.p95


SEED = 0
"""The random seed of the halves."""


def halves(texts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]] | None:
    """Return the indices of two random halves, with all copies of a text in one of them.

    None if a half would have fewer than 8 different texts.

    Example:
        >>> first, second = halves([[i] for i in range(16)])
        >>> len(first), len(second), len({*first, *second})
        (8, 8, 16)
    """
    units = Inference.of_texts(map(tuple, texts))
    half = len(units) // 2
    if half < FEWEST:
        return None
    # The halves are random, because neighbouring texts are often about the same thing.
    chosen = set(np.random.default_rng(SEED).permutation(len(units))[:half].tolist())
    first = [i for i, unit in enumerate(units.of) if unit in chosen]
    second = [i for i, unit in enumerate(units.of) if unit not in chosen]
    return first, second


def human_against_human(
    plan: Plan, records: Sequence[TextRecord], scores: Sequence[Score], band: Band | None
) -> HumanHalves | None:
    """Return the entry of one half of the human texts, compared with the other half.

    Args:
        plan: the plan of the report.
        records: the human texts.
        scores: their scores under the second scorer, if there is one.
        band: the human entropy band.

    Returns:
        None if there are too few texts.
    """
    indices = halves([record["tokens"] for record in records])
    if indices is None:
        return None
    size = min(plan.set_size, *map(len, indices))
    scorer = plan.scorer.model if plan.scorer else plan.model
    first, second = (
        TextSet(
            [records[i] for i in mine], band, plan.metrics, [scores[i] for i in mine if scores],
            HumanTexts([records[i]["text"] for i in others], scorer), size, plan.model, HUMAN,
        )
        for mine, others in (indices, indices[::-1])
    )  # fmt: skip
    summary = first.summary()
    summary.by_position = []
    # Metrics that compare with human text are already distances, so they have no difference.
    distances = {each.full_name for each in plan.metrics if isinstance(each.value, HumanMetric)}
    apart = {n: each for n, each in first.differences(second).items() if n not in distances}
    return HumanHalves(
        name=HUMAN_HALVES,
        description="a random half of the human texts, compared with the other half",
        generated_texts=summary,
        failed_metrics=first.failures,
        differences=Differences(against=HUMAN, generated_texts=apart),
    )
