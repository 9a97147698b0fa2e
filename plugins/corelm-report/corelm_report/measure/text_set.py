"""The figures of one sampler's texts, and their differences from another sampler's texts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel
from corelm.runs import plugins
from corelm_report.document.content import Difference, GeneratedTexts, SeedSpread
from corelm_report.document.figures import SHARES, SURPRISAL
from corelm_report.document.lookup import LIMITS, scale_of
from corelm_report.measure import plugin_metrics
from corelm_report.measure.generated_texts import logits_of
from corelm_report.measure.text_records import (
    Score,
    TextRecord,
    are_copies,
    by_position,
    ratios,
    without_end,
)
from corelm_stats import text_figures as metrics
from corelm_stats.estimates import FEWEST, Estimate, perplexity
from corelm_stats.inference import (
    GENERATED,
    HUMAN,
    Inference,
    of_sets,
    of_subsets,
    paired_sums,
    subsets,
)
from corelm_stats.intervals import (
    LEVEL,
    Band,
    Interval,
    KnownByInterval,
    Sums,
    of_difference,
    ratio,
)
from corelm_stats.ngrams import sharing
from corelm_stats.study_design import VarianceParts
from corelm_stats.text_figures import WholeSet

SELF_BLEU, LOOPS, PERPLEXITY = "self_bleu_4", "loops", "perplexity"


class TextSet:
    """The texts of one sampler, or human texts, and their figures.

    A figure that is undefined for these texts is None. With several seeds, means are over all
    texts, and a figure of a whole set, which depends on the number of texts, is the mean over the
    sets of each seed.

    Args:
        records: the records of all texts, one seed after the other.
        human_band: the 5th and the 95th percentile, in nats, of the model's entropy at the
            positions of human text.
        offered: the metrics of plugins to measure too.
        scores: the scores of the texts under a second scorer, if there is one.
        human: human texts, for metrics that compare with them.
        set_size: the number of texts for figures of a whole set, by default all of a seed. Of a
            larger set, such a figure is the mean over random subsets of this size; a smaller one
            has none.
        model: the report's model, for metrics of its next-token distributions.
        source: `GENERATED`, or `HUMAN` for human texts that continue no prompts: there a text that
            occurs twice is one unit.
        clusters: the cluster of each prompt, if prompts have some.
        anytime: intervals are confidence sequences, for a report that grows.

    Attributes:
        records: the records of all texts.
        set_size: the number of texts behind a figure of a whole set.
        ratios: the figures that are ratios of two sums over texts, as the two sums.
        inference: the independent units of the texts.
        are_copies: True if a sampler wrote the same text of a prompt each time, as `greedy` does.
            Copies count once in its own intervals.
        of_set: the figures of `metrics.text_figures`, and the metrics of plugins by full name.
        failures: the reason of each metric of a plugin that failed, by full name.

    Example:
        >>> from corelm_report.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy, Texts
        >>> texts = Texts("the", Strategy.of("greedy"), length=9, n=2, seed=1, endings=Endings())
        >>> summary = TextSet(draw(ToyModel(), texts, range(2))).summary()
        >>> summary.n, summary.tokens, summary.figures["self_bleu_4"], summary.figures["loops"]
        (2, 18, 1.0, 0.0)
    """

    def __init__(
        self,
        records: Sequence[TextRecord],
        human_band: Band | None = None,
        offered: Sequence[plugins.Offer] = (),
        scores: Sequence[Score] = (),
        human: plugin_metrics.HumanTexts | None = None,
        set_size: int | None = None,
        model: LanguageModel | None = None,
        source: str = GENERATED,
        clusters: Mapping[str, str] | None = None,
        anytime: bool = False,
    ) -> None:
        self.records, self._source, self._clusters = records, source, clusters
        self._anytime, self._offered, self._human = anytime, offered, human
        self._tokens = [record["tokens"] for record in records]
        self.ratios = ratios(records, human_band, scores)
        values, self.failures = metrics.by_text(self._tokens), dict[str, str]()
        if offered:
            read = logits_of(model, records) if model else None
            written = [record["text"] for record in records]
            added, self.failures = plugin_metrics.of_texts(offered, self._tokens, written, read)
            values |= added
        self._limits = LIMITS | {offer.full_name: offer.value.limits for offer in offered}
        starts = (at for at, (a, b) in enumerate(pairwise(records), 1) if a["seed"] != b["seed"])
        self._parts = [slice(*ends) for ends in pairwise([0, *starts, len(records)])]
        self.inference = self._inference(range(len(records)))
        self.are_copies = are_copies(records)
        self.set_size = set_size or self._parts[0].stop - self._parts[0].start
        # Each seed is a set; a single set that is too large is cut into random subsets.
        self._are_subsets = self.set_size < len(records) and len(self._parts) == 1
        n = len(records)
        indices = [np.arange(n)[part] for part in self._parts]
        if self._are_subsets:
            indices = subsets(n, self.set_size)
        self._sets = [self._set_of(some, values) for some in indices]
        for each in self._sets:
            self.failures |= each.failures
        # Figures of a whole set are not comparable if it has fewer texts than the other sets.
        enough = self.set_size <= len(records)
        self.of_set = {
            name: metrics.mean(values[name])
            if name in values
            else _mean(self._of_sets(name) if enough else [None])
            for name in self._sets[0].values
        }
        # Figures of a whole set aren't means; leaving out one unit at a time shows their variation.
        self._per_text: dict[str, Sums] = {
            name: (np.nan_to_num(each).tolist(), (~np.isnan(each)).tolist())
            for name, each in values.items()
        }
        self._means = self.ratios | self._per_text
        self._estimates: dict[str, Estimate | None] = {}

    def _set_of(self, some: NDArray[np.intp], values: Mapping[str, metrics.Floats]) -> WholeSet:
        """Measure the texts with these indices as a set."""
        tokens, written = [self._tokens[i] for i in some], [self.records[i]["text"] for i in some]
        own, of_each = self._inference(some.tolist()), {n: each[some] for n, each in values.items()}
        figures = metrics.text_figures(tokens, written, of_each)
        left_out = metrics.left_out_of_set(tokens, written, own.groups)
        whole = WholeSet(own, figures, left_out, sharing(tokens))
        if not self._offered:
            return whole
        return plugin_metrics.with_plugins(whole, self._offered, tokens, written, self._human)

    @property
    def figures_of_sets(self) -> Collection[str]:
        """The figures that depend on the number of texts, and compare only at an equal number."""
        return self._sets[0].left_out.keys()

    def _inference(self, texts: Iterable[int]) -> Inference:
        """Return the units of some of the texts."""
        some = [self.records[i] for i in texts]
        if self._source == HUMAN:
            return Inference.of_texts([tuple(record["tokens"]) for record in some])
        samples = [(r["prompt"], r["seed"], r["sample"]) for r in some]
        return Inference.of_design(samples, clusters=self._clusters, anytime=self._anytime)

    def units_with(self, name: str) -> int:
        """Return the number of independent units that have a mean, as empty texts have none."""
        return sum(map(bool, self.inference.by_unit(self._means[name])[1]))

    def estimate(self, name: str) -> Estimate | None:
        """Return a figure with the influence of each unit; None if it is undefined."""
        if name not in self._estimates:
            self._estimates[name] = self._estimated(name)
        return self._estimates[name]

    def _estimated(self, name: str) -> Estimate | None:
        if name == PERPLEXITY:
            if (surprisal := self.estimate(SURPRISAL)) is None:
                return None
            value = perplexity(surprisal.value)
            return surprisal.moved(value, value)
        if name in self._means:
            return self.inference.estimate(self._means[name])
        if name not in self._sets[0].left_out or self.of_set[name] is None:
            return None
        left_out = [each.left_out[name] for each in self._sets]
        if self._are_subsets:
            texts = len(self.records) / self.set_size
            estimate = of_subsets(self._of_sets(name), left_out, texts)
        else:
            parts = [each.inference for each in self._sets]
            estimate = of_sets(self.inference, parts, self._of_sets(name), left_out)
        if estimate is None:
            return None
        # The variance of a figure due to its own random numbers.
        noise = math.fsum(each.noise.get(name, 0.0) for each in self._sets) / len(self._sets) ** 2
        return replace(estimate.with_noise(noise), anytime=self._anytime)

    def _set_interval(self, name: str) -> Interval | None:
        """Return the interval of a figure of a whole set."""
        estimate = None if self.are_copies else self.estimate(name)
        if estimate is None or not self._is_decided(name):
            return None
        limits = self._limits.get(name)
        ends = estimate.interval(scale=scale_of(name, limits), limits=limits)
        return None if self._is_too_narrow(ends) else ends

    def _is_decided(self, name: str) -> bool:
        """Return False for self-BLEU if it depends more on its smoothing than on the texts."""
        sharing = sum(each.sharing for each in self._sets)
        # Random subsets contain each text several times.
        held = len(self._sets) * self.set_size
        return name != SELF_BLEU or sharing * len(self.records) >= FEWEST * held

    def _of_sets(self, name: str) -> list[float | None]:
        """Return a set figure for each seed's texts."""
        return [each.values[name] for each in self._sets]

    def of_text(self, at: int) -> dict[str, float | None]:
        """Return the figures of one text, without figures of a whole set.

        Drift is left out: it is relative to the mean position of all texts.
        """
        sums = {n: s for n, s in (self.ratios | self._per_text).items() if n != "entropy_drift"}
        return {"tokens": len(self.records[at]["surprisal"])} | {
            name: ratio(([tops[at]], [bottoms[at]])) for name, (tops, bottoms) in sums.items()
        }

    def summary(self) -> GeneratedTexts:
        """Return the figures with their intervals."""
        means = {name: ratio(sums) for name, sums in self.ratios.items()}
        ci95 = {name: self.interval(name) for name in self._means}
        ends, surprisal = ci95[SURPRISAL], means[SURPRISAL]
        ci95[PERPLEXITY] = ends and [perplexity(end) for end in ends]
        for name in self._sets[0].left_out:
            ci95[name] = self._set_interval(name)
        return GeneratedTexts(
            n=len(self.records),
            units=len(self._own_inference),
            set_size=self.set_size,
            texts_used=self._texts_used(),
            tokens=sum(len(record["surprisal"]) for record in self.records),
            figures={
                "perplexity": None if surprisal is None else perplexity(surprisal),
                **means,
                **self.of_set,
            },
            ci95=ci95,
            by_seed=self._by_seed() if len(self._parts) > 1 else None,
            by_position=by_position(
                {
                    name: [without_end(record, name) for record in self.records]
                    for name in ("entropy", "model_entropy")
                }
            ),
        )

    def _texts_used(self) -> dict[str, int]:
        """Return the number of texts that have a figure, for each figure that some texts lack."""
        both = self.ratios | self._per_text
        used = {name: sum(map(bool, counts)) for name, (_, counts) in both.items()}
        used[PERPLEXITY] = used[SURPRISAL]
        return {name: n for name, n in used.items() if n < len(self.records)}

    @cached_property
    def _own_inference(self) -> Inference:
        """The units for intervals of these texts only, in which copies of a text are one unit."""
        if not self.are_copies:
            return self.inference
        clusters = self._clusters or {}
        names = [clusters.get(each["prompt"], each["prompt"]) for each in self.records]
        return replace(Inference.of_names(names), about_prompts=True, anytime=self._anytime)

    def interval(self, name: str, level: float = 1 - LEVEL) -> Interval | None:
        """Return the interval of a mean over texts or tokens; None if it has none."""
        own, limits, sums = self._own_inference, self._limits.get(name), self._means[name]
        if name == LOOPS:
            # The score interval has a width even for a share near 0 or 1.
            return own.share(sums, level).ends
        estimate = self.estimate(name) if own is self.inference else own.estimate(sums)
        if estimate is None:
            return None
        ends = estimate.interval(level, scale_of(name, limits), limits)
        if name not in self._per_text or (ends and not self._is_too_narrow(ends)):
            return ends
        return own.common_share(sums, level) if limits == SHARES else None

    def _is_too_narrow(self, ends: Interval | None) -> bool:
        """Return True if an interval has no width although the texts differ."""
        # Even if no text has repetitions, the next one may have some.
        return ends is not None and ends[0] == ends[1] and len(set(map(tuple, self._tokens))) > 1

    def _by_seed(self) -> dict[str, SeedSpread]:
        """Return the figures of each seed's texts, and their standard deviation."""
        figures = {
            name: [ratio((tops[part], bottoms[part])) for part in self._parts]
            for name, (tops, bottoms) in self.ratios.items()
        }
        figures[PERPLEXITY] = [n if n is None else perplexity(n) for n in figures[SURPRISAL]]
        figures |= {name: self._of_sets(name) for name in self.of_set}
        return {
            name: SeedSpread(sd=_deviation(values), values=values)
            for name, values in figures.items()
        }

    def differences(self, other: TextSet) -> dict[str, Difference]:
        """Return each figure minus the figure of a second set, with its interval and p-value.

        Sets whose units have the same names are paired: their texts share a prompt, or a prompt and
        random numbers. Other sets, such as those of a deterministic decoder, are independent.
        Figures of a whole set are compared at an equal number of texts only.
        """
        names = [*self.ratios, *self.of_set]
        if self.set_size != other.set_size:
            names = [name for name in names if name not in self.figures_of_sets]
        pairs = {name: (self.estimate(name), other.estimate(name)) for name in names}
        return {
            name: self.difference(other, name)
            for name, (own, their) in pairs.items()
            if own is not None and their is not None
        }

    def difference(self, other: TextSet, name: str) -> Difference:
        """Return a figure minus the same figure of a second set, which both have."""
        own, their = self.estimate(name), other.estimate(name)
        if own is None or their is None:
            return Difference.of(None)
        if name == LOOPS:
            # If no text loops, no pair differs, so combine the score intervals.
            return self.difference_of_shares(name, other.by_interval(name))
        apart = own - their
        # Pairs that all differ by the same amount say nothing about the next pair, unless the
        # samplers always write the same texts.
        varies = apart.variance > 0 or (self.are_copies and other.are_copies)
        decided = varies and self._is_decided(name) and other._is_decided(name)
        # Human texts are an independent sample unless they continue the same prompts.
        alone = own.influence.keys().isdisjoint(their.influence)
        parts = self.parts(name, None if alone else other)
        scale = of_difference(scale_of(name, self._limits.get(name)))
        difference = Difference.of(apart, parts, their.variance if alone else None, scale)
        common = self.is_common(name), other.is_common(name)
        if any(common) if alone else all(common):
            shares = self.difference_of_shares(name, other.by_interval(name))
            return replace(difference, ci95=shares.ci95, p=shares.p)
        return difference if decided else replace(difference, ci95=None, p=None)

    def parts(self, name: str, other: TextSet | None) -> VarianceParts | None:
        """Split the variance of a mean or of a paired difference: between and within prompts.

        None if the figure isn't a mean, or if each prompt has one text.
        """
        if name not in self._means:
            return None
        if other is None:
            return self.inference.parts(self._means[name])
        paired = self._samples() == other._samples()
        sums = paired_sums(self._means[name], other._means[name]) if paired else ([], [])
        return self.inference.parts(sums)

    def difference_of_shares(self, name: str, other: KnownByInterval) -> Difference:
        """Return a share minus another share, from their intervals."""
        own = self.by_interval(name) - other
        return Difference(value=own.value, ci95=own.ends, p=own.p_value(), units=own.units)

    def by_interval(self, name: str) -> KnownByInterval:
        """Return a mean over texts with its interval."""
        units = len(self._own_inference)
        return KnownByInterval(ratio(self._means[name]), self.interval(name), units)

    def is_common(self, name: str) -> bool:
        """Return True for a mean share that nearly all of many units have, but not all texts."""
        is_share = name in self._per_text and self._limits.get(name) == SHARES
        own = self.estimate(name) if is_share and not self.are_copies else None
        ends = own and own.interval()
        return bool(own and (own.units or 0) >= FEWEST and (not ends or self._is_too_narrow(ends)))

    def _samples(self) -> list[tuple[str, int, int]]:
        return [(r["prompt"], r["seed"], r["sample"]) for r in self.records]


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if len(defined) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.std(defined, ddof=1)) if len(defined) == len(values) > 1 else None
