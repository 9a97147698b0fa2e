"""The human entry, measured on human texts or taken from the manifest of the model.

The maximum-likelihood temperature makes human words likeliest: at it, words drawn from the model
have on average the same surprisal as human words. The likelihood is concave in 1/t, so there is
only one such temperature. As human words never end a text, the likelihood is conditional on no end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel
from corelm.runs import identity, printable
from corelm_report.document.content import (
    EntropySummary,
    GeneratedTexts,
    HumanContexts,
    HumanEntry,
    TemperatureFit,
)
from corelm_report.document.figures import GENERATED, OF_SETS, OF_TEXTS, TEACHER_FORCED, of_view
from corelm_report.document.lookup import estimate
from corelm_report.document.numbers import share
from corelm_report.document.schema import fault
from corelm_report.measure.contexts import Contexts
from corelm_report.measure.entries import model_on_contexts
from corelm_report.measure.human_halves import human_against_human
from corelm_report.measure.on_contexts import Record, curve_mean
from corelm_report.measure.text_records import Score, TextRecord, count_bytes
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.estimates import Interval
from corelm_report.metrics.inference import GENERATED as FROM_PROMPTS
from corelm_report.metrics.inference import HUMAN, Inference
from corelm_report.metrics.sums import Band
from corelm_report.plan.plan import Plan

Scorer = Callable[[Sequence[TextRecord]], Sequence[Score]]


class People(NamedTuple):
    """The human part of a report.

    Attributes:
        entry: its entry.
        texts: the texts.
        halves: the entry that compares one half of them with the other; None with too few texts.
    """

    entry: HumanEntry
    texts: TextSet
    halves: HumanEntry | None


def from_texts(plan: Plan, contexts: Contexts, record: Record, some: int, scorer: Scorer) -> People:
    """Measure the human entry on human texts.

    Args:
        plan: the plan of the report.
        contexts: the human texts.
        record: the part `model` of `on_contexts.measure` on them, merged.
        some: the number of texts at the beginning that are the contexts of the samplers.
        scorer: returns the scores of texts under the second scorer; an empty list without one.
    """
    on_contexts = model_on_contexts(
        {key: values[:some] for key, values in record.items()},
        Inference.of_texts(contexts.texts[:some]),
    )
    texts = [_text(plan, contexts, record, i) for i in range(len(contexts.texts))]
    scores = scorer(_as_scored(plan, contexts, texts))
    source = FROM_PROMPTS if plan.human_prompt_length else HUMAN
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
        f"{_note_on_copies(contexts)}{_note(plan, of_texts)}",
        teacher_forced=on_contexts,
        generated_texts=of_texts,
        failed_metrics=measured.failures,
    )
    floor = human_against_human(plan, texts, scores, band(on_contexts))
    return People(entry, measured, floor)


def _note_on_copies(contexts: Contexts) -> str:
    """Return a note on texts that occur several times in the reference."""
    different = len(set(contexts.texts))
    if different == len(contexts.texts):
        return ""
    return f"; only {different} of them are different, and copies of a text are one unit"


def _note(plan: Plan, texts: GeneratedTexts) -> str:
    """Return a note on the words that the model does not know."""
    unknown = texts.figures["unknown"]
    if not unknown:
        return ""
    share_of = f"; {share(unknown)} of their tokens are words that the model does not know"
    if _scorer_reads_unknown(plan):
        return (
            f"{share_of}: they stay in its contexts and in those of the second scorer, and are "
            "left out of the figures and of what metrics read"
        )
    return (
        f"{share_of}: they stay in its contexts, and are left out of the figures and of what a "
        "second scorer and metrics read"
    )


def _scorer_reads_unknown(plan: Plan) -> bool:
    """Return True if the second scorer has an unknown token too, and reads the model's as it."""
    unknown = plan.model.vocabulary.unknown
    if plan.scorer is None or unknown is None:
        return False
    own = plan.scorer.model.vocabulary
    return list(own.encode(plan.model.vocabulary.decode([unknown]))) == [own.unknown]


def _as_scored(plan: Plan, contexts: Contexts, texts: Sequence[TextRecord]) -> list[TextRecord]:
    """Return human texts for the second scorer: as the model read them, if it can read that."""
    if not _scorer_reads_unknown(plan):
        return list(texts)
    found = []
    for record, whole in zip(texts, contexts.texts, strict=True):
        read = record.copy()
        read["text"] = _behind_prompt(plan, whole, known_only=False)
        found.append(read)
    return found


def written(plan: Plan, contexts: Contexts) -> list[str]:
    """Return the texts of the human entry: without tokens that cannot be drawn."""
    return [_behind_prompt(plan, text) for text in contexts.texts]


def _behind_prompt(plan: Plan, text: Sequence[int], known_only: bool = True) -> str:
    """Return a human text without its prompt."""
    decode, length = plan.model.vocabulary.decode, plan.human_prompt_length
    own = _known(plan.model, text[length:]) if known_only else text[length:]
    if not length:
        return decode(own)
    # Decode it with its prompt, which decides the space before the first word.
    return decode([*text[:length], *own])[len(decode(text[:length])) :]


def _known(model: LanguageModel, text: Sequence[int]) -> list[int]:
    return [token for token in text if token != model.vocabulary.unknown]


def _text(plan: Plan, contexts: Contexts, record: Record, i: int) -> TextRecord:
    """Return a human text's record, like a generated text's, without tokens that can't be drawn."""
    whole, prompt = contexts.texts[i], contexts.prompt_lengths[i]
    length = plan.human_prompt_length
    own = whole[prompt:], record["surprisal"][i], record["entropy"][i]
    scored = [each for each in zip(*own, strict=True) if each[1] is not None]
    entropies = [entropy for _, _, entropy in scored]
    return TextRecord(
        prompt=plan.prompts[i] if length else "",
        seed=0,
        sample=i,
        text=_behind_prompt(plan, whole),
        tokens=_known(plan.model, whole[length:]),
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
    figures = identity.manifest_of(plan.model).get("figures")
    human = _at(figures, "human")
    if _number(human, "surprisal") is None:
        return None
    entry = HumanEntry(
        description="texts that the model has not seen, measured when it was trained",
        teacher_forced=_contexts_of_manifest(human, _at(figures, "held_out", "tokens")),
        generated_texts=_texts_of_manifest(human, plan),
    )
    # Validate: anybody may have edited the manifest.
    return None if fault(entry.to_dict(), "reference") else entry


def _contexts_of_manifest(human: Any, n: Any) -> HumanContexts:
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


def _texts_of_manifest(human: Any, plan: Plan) -> GeneratedTexts:
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
    # Two figures have another name in a manifest, or follow from a third.
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
    # exp of more than 709 overflows, and no valid figure of a manifest is as large.
    known = isinstance(found, (int, float)) and not isinstance(found, bool)
    return found if known and abs(found) < 700 else None


def _pair(value: Any, *keys: str) -> tuple[Any, Any]:
    found = _at(value, *keys)
    return tuple(found) if isinstance(found, list) and len(found) == 2 else (None, None)


Floats = NDArray[np.float64]
HALVINGS = 50
FLAT = 1e-6
"""A curve that rises by less, in nats, doesn't make any temperature likelier than another."""


def fit_on_human_text(
    model: Record, curve: Record, t: Sequence[float], inference: Inference | None = None
) -> TemperatureFit | None:
    """Fit the temperature on human contexts.

    Words that the model cannot draw are left out on both sides. The interval, over texts, has all
    temperatures whose expected surprisal may equal human surprisal, by the paired difference.

    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.

    Args:
        model: the record of the model on the contexts, with the surprisal of the human words.
        curve: the record of the curve there.
        t: the temperatures of the curve.
        inference: the units of the contexts; by default each is one.

    Returns:
        None if there is no word.
    """
    words = [[nats for nats in text if nats is not None] for text in model["surprisal"]]
    counts = [len(text) for text in words]
    own = inference or Inference.of_names(range(len(words)))
    human = own.estimate(([math.fsum(text) for text in words], counts))
    if human is None:
        return None
    expected = np.array(curve["word_surprisal"])  # (texts, temperatures)
    slopes = np.array(curve["word_surprisal_slope"]).sum(axis=0) / sum(counts)
    columns = [own.estimate((column.tolist(), counts)) for column in expected.T]
    apart = [column - human for column in columns if column is not None]
    ends = [each.interval() for each in apart]
    found = _Crossing(np.array(t), np.array([each.value for each in apart]), slopes)
    return found.fit(human.value, human.interval(), ends)


def fit_on_other_text(
    human: HumanEntry, curve: Record, t: Sequence[float]
) -> TemperatureFit | None:
    """Estimate the temperature on contexts that the model wrote.

    The model finds its own texts easier or harder than human text, so human surprisal is scaled
    first: it stays the same multiple of the model's entropy. The temperature has no interval,
    because the error of this conversion is not known.

    Args:
        human: the human entry, whose texts were measured elsewhere.
        curve: the record of the curve on the contexts.
        t: the temperatures of the curve.

    Returns:
        None if the entropy or the surprisal is not known.
    """
    measured, multiple = estimate(human, "surprisal", TEACHER_FORCED), surprisal_per_entropy(human)
    if measured is None or multiple is None or 1.0 not in t:
        return None
    expected, slopes = curve_mean(curve, "surprisal"), curve_mean(curve, "surprisal_slope")
    level = multiple * float(curve_mean(curve, "entropy")[list(t).index(1.0)])
    return TemperatureFit(
        surprisal=level,
        ci95=measured.interval and [level * end / measured.value for end in measured.interval],
        t=(crossing := _Crossing(np.array(t), expected - level, slopes)).at(),
        beyond=crossing.beyond,
        estimated=True,
    )


def surprisal_per_entropy(human: HumanEntry | None) -> float | None:
    """Return human surprisal divided by the model's mean entropy on human text, if known."""
    surprisal = estimate(human, "surprisal", TEACHER_FORCED) if human else None
    there = human.teacher_forced if human else None
    mean = there.model_entropy.mean if there else None
    return surprisal.value / mean if surprisal and surprisal.value and mean else None


@dataclass(frozen=True)
class _Crossing:
    """The point at which a rising curve passes 0.

    Attributes:
        t: (temperatures,), in rising order.
        values: (temperatures,) the curve.
        slopes: (temperatures,) its derivative.
    """

    t: Floats
    values: Floats
    slopes: Floats

    def fit(
        self, surprisal: float, ci95: Interval | None, ends: Sequence[Interval | None]
    ) -> TemperatureFit:
        """Return the temperature at which the curve passes 0, with its interval.

        Args:
            surprisal: the surprisal of human text.
            ci95: its interval.
            ends: the interval of each value of the curve.
        """
        if self.beyond:
            return TemperatureFit(surprisal=surprisal, ci95=ci95, beyond=self.beyond)
        return TemperatureFit(
            surprisal=surprisal, ci95=ci95, t=self.at(), t_ci95=self.between(ends)
        )

    @property
    def beyond(self) -> str | None:
        """The end of the curve beyond which it passes 0: above, below, undetermined, or None."""
        low, high = (self._value(float(end), 0 * self.values) for end in self.t[[0, -1]])
        if high - low < FLAT:
            return "undetermined"
        # Texts of only the likeliest words have the surprisal of the lowest temperature.
        return "above" if high < 0 else "below" if low > -FLAT else None

    def at(self, shift: Floats | None = None) -> float | None:
        """Return the crossing; the first temperature if it is lower, None if it is higher.

        Args:
            shift: (temperatures,) a shift of the curve.
        """
        moved = np.zeros(len(self.t)) if shift is None else shift
        low, high = float(self.t[0]), float(self.t[-1])
        if self._value(high, moved) < 0:
            return None
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._value(middle, moved) >= 0 else (middle, high)
        return (low + high) / 2

    def between(self, ends: Sequence[Interval | None]) -> Interval | None:
        """Return the interval of temperatures at which the curve may pass 0; None if unknown.

        Args:
            ends: the interval of each value of the curve.
        """
        known = [each for each in ends if each is not None]
        if len(known) < len(ends):
            return None
        # The interval begins at the temperature at which the upper end is 0.
        lows, highs = np.array(known).T
        first, last = self.at(highs - self.values), self.at(lows - self.values)
        return None if first is None or last is None else [first, last]

    def _value(self, at: float, shift: Floats) -> float:
        """Interpolate the values with a cubic of these slopes, and add the shift."""
        # Linear interpolation would bend the curve at each temperature.
        i = min(max(int(np.searchsorted(self.t, at)), 1), len(self.t) - 1)
        step = float(self.t[i] - self.t[i - 1])
        x = (at - float(self.t[i - 1])) / step
        (a, b), (p, q) = self.values[i - 1 : i + 1], self.slopes[i - 1 : i + 1] * step
        cubic = a + x * (p + x * (3 * (b - a) - 2 * p - q + x * (p + q - 2 * (b - a))))
        return float(cubic) + float(np.interp(at, self.t, shift))
