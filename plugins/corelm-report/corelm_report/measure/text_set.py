"""The figures of one sampler's texts, and their differences from another sampler's texts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel
from corelm.runs import Offer
from corelm_report.document.content import GeneratedTexts, SeedSpread
from corelm_report.document.figures import LIMITS
from corelm_report.measure import plugin_metrics
from corelm_report.measure.generated_texts import logits_of
from corelm_report.measure.text_records import Score, TextRecord, are_copies, ratios, without_end
from corelm_report.metrics import text_figures as metrics
from corelm_report.metrics.intervals import (
    FEWEST,
    Interval,
    difference_interval,
    effective_number,
    independent_difference,
    jackknife,
    mean_interval,
    on_logit_scale,
    on_reciprocal_scale,
    perplexity,
    share_interval,
    widened,
    within,
)
from corelm_report.metrics.ngrams import sharing
from corelm_report.metrics.sets import interval_of_sets, subset_interval, subsets
from corelm_report.metrics.sums import Band, Sums, by_position, by_unit, ratio, units

SELF_BLEU = "self_bleu_4"


class WholeSet:
    """The figures of the texts of one seed, as a whole set.

    Args:
        tokens, written: the texts.
        values: the figures of each of these texts.
        offered: the metrics of plugins.
        human: human texts, for metrics that compare with them.

    Attributes:
        values: the figures of `metrics.of_set`, and the metrics of plugins.
        left_out: for a jackknife, the figures that are not means, without some of the texts.
        failures: the metrics that failed, with the reason.
        noise: the variances of metrics of plugins that their own random numbers cause.
        sharing: the number of texts that share a phrase of the longest n-grams of self-BLEU.
    """

    def __init__(
        self,
        tokens: Sequence[list[int]],
        written: Sequence[str],
        values: Mapping[str, NDArray[np.float64]],
        offered: Sequence[Offer],
        human: plugin_metrics.HumanTexts | None,
    ) -> None:
        of_plugins = plugin_metrics.measure(offered, tokens, written, human)
        self.values = metrics.of_set(tokens, written, values) | of_plugins.values
        self.failures, self.noise = of_plugins.failures, of_plugins.noise
        self.sharing = sharing(tokens)
        self.left_out = metrics.left_out_of_set(tokens, written) | of_plugins.left_out


SCALES = {SELF_BLEU: on_logit_scale, "compression": on_reciprocal_scale}
"""The figures whose interval is symmetric on a scale of its own."""


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

    Attributes:
        records: the records of all texts.
        set_size: the number of texts behind a figure of a whole set.
        ratios: the figures that are ratios of two sums over texts, as the two sums.
        units: the number of the independent unit of each text, which intervals of means are over.
        are_copies: True if a sampler wrote the same text of a prompt each time, as `greedy` does.
            Copies count once in its own intervals.
        of_set: the figures of `metrics.text_figures`, and the metrics of plugins by full name.
        failures: the reason of each metric of a plugin that failed, by full name.

    Example:
        >>> from corelm_report.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Texts, strategy
        >>> texts = Texts("the", strategy("greedy"), length=9, n=2, seed=1, endings=Endings())
        >>> found = TextSet(draw(ToyModel(), texts, range(2))).summary()
        >>> found.n, found.tokens, found.figures["self_bleu_4"], found.figures["loops"]
        (2, 18, 1.0, 0.0)
    """

    def __init__(
        self,
        records: Sequence[TextRecord],
        human_band: Band | None = None,
        offered: Sequence[Offer] = (),
        scores: Sequence[Score] = (),
        human: plugin_metrics.HumanTexts | None = None,
        set_size: int | None = None,
        model: LanguageModel | None = None,
    ) -> None:
        self.records = records
        self._tokens = [record["tokens"] for record in records]
        written = [record["text"] for record in records]
        self.ratios = ratios(records, human_band, scores)
        read = logits_of(model, records) if model else None
        of_plugins = plugin_metrics.of_texts(offered, self._tokens, written, read)
        values = metrics.by_text(self._tokens) | of_plugins.values
        self._limits = LIMITS | {offer.full_name: offer.value.limits for offer in offered}
        self._parts = _parts([record["seed"] for record in records])
        self.units = units(self._samples())
        self.are_copies = are_copies(records)
        self.set_size = set_size or self._parts[0].stop - self._parts[0].start
        # Several seeds are sets already; one set that is too large is cut into random subsets.
        self._are_subsets = self.set_size < len(records) and len(self._parts) == 1
        self._sets = [
            WholeSet(
                [self._tokens[i] for i in some],
                [written[i] for i in some],
                {name: each[some] for name, each in values.items()},
                offered,
                human,
            )
            for some in self._indices()
        ]
        failures = [of_plugins.failures, *(each.failures for each in self._sets)]
        self.failures = {n: why for each in failures for n, why in each.items()}
        # Figures of a whole set are not comparable if it has fewer texts than the other sets.
        enough = self.set_size <= len(records)
        self.of_set = {
            name: metrics.mean(values[name])
            if name in values
            else _mean(self._of_sets(name) if enough else [None])
            for name in self._sets[0].values
        }
        # Texts are independent, so means over them have the usual interval. Figures of the whole
        # set are not means: leaving out one text at a time shows how much they vary.
        self._per_text: dict[str, Sums] = {
            name: (np.nan_to_num(each).tolist(), (~np.isnan(each)).tolist())
            for name, each in values.items()
        }

    @property
    def figures_of_sets(self) -> Collection[str]:
        """The figures that depend on the number of texts: they compare at an equal one only."""
        return self._sets[0].left_out.keys()

    def _indices(self) -> list[NDArray[np.intp]]:
        """Return the indices of the texts of each set."""
        n = len(self.records)
        if self._are_subsets:
            return subsets(n, self.set_size)
        return [np.arange(n)[part] for part in self._parts]

    def _set_interval(self, name: str) -> Interval | None:
        """Return the interval of a figure of a whole set."""
        if self.are_copies or not self._is_decided(name):
            return None
        left_out = [each.left_out[name] for each in self._sets]
        if self._are_subsets:
            texts = len(self.records) / self.set_size
            ends = subset_interval(self._of_sets(name), left_out, texts)
        else:
            ends = interval_of_sets(self.of_set[name], self._of_sets(name), left_out)
        if name in SCALES:
            ends = SCALES[name](self.of_set[name], ends)
        return self._known(widened(ends, self._noise(name), self._limits.get(name)))

    def _is_decided(self, name: str) -> bool:
        """Return False for self-BLEU if its smoothing decides it more than the texts do."""
        sharing = sum(each.sharing for each in self._sets)
        # Random subsets hold each text several times.
        held = len(self._sets) * self.set_size
        return name != SELF_BLEU or sharing * len(self.records) >= FEWEST * held

    def _noise(self, name: str) -> float:
        """Return the variance of a figure that random numbers of its own cause."""
        return math.fsum(each.noise.get(name, 0.0) for each in self._sets) / len(self._sets) ** 2

    def _of_sets(self, name: str) -> list[float | None]:
        """Return a figure of a set for the texts of each seed."""
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
        both = self.ratios | self._per_text
        ci95 = {name: self._mean_interval(name, sums) for name, sums in both.items()}
        ends, surprisal = ci95["surprisal"], means["surprisal"]
        ci95["perplexity"] = ends and [perplexity(end) for end in ends]
        # A share near 0 or 1 needs an interval with a width there.
        _, ci95["loops"] = self._loops()
        for name in self._sets[0].left_out:
            ci95[name] = self._set_interval(name)
        return GeneratedTexts(
            n=len(self.records),
            units=len(set(self._own_units())),
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
        used["perplexity"] = used["surprisal"]
        return {name: n for name, n in used.items() if n < len(self.records)}

    def by_unit(self, sums: Sums) -> Sums:
        """Add up the sums of the texts of each unit."""
        return by_unit(sums, self.units)

    def _own_units(self) -> Sequence[int]:
        """Return the number of the unit of each text for intervals of these texts alone."""
        if not self.are_copies:
            return self.units
        numbers: dict[str, int] = {}
        return [numbers.setdefault(record["prompt"], len(numbers)) for record in self.records]

    def _mean_interval(self, name: str, sums: Sums) -> Interval | None:
        ends = mean_interval(*by_unit(sums, self._own_units()))
        ends = within(ends, self._limits.get(name))
        return self._known(ends) if name in self._per_text else ends

    def _known(self, ends: Interval | None) -> Interval | None:
        """Return an interval; None if it has no width although the texts differ."""
        # Texts that all have 0 repetitions may be followed by one that has some.
        alike = ends is not None and ends[0] == ends[1]
        return None if alike and len(set(map(tuple, self._tokens))) > 1 else ends

    def _by_seed(self) -> dict[str, SeedSpread]:
        """Return the figures of the texts of each seed, and their standard deviation."""
        found = {
            name: [ratio((tops[part], bottoms[part])) for part in self._parts]
            for name, (tops, bottoms) in self.ratios.items()
        }
        found["perplexity"] = [n if n is None else perplexity(n) for n in found["surprisal"]]
        found |= {name: self._of_sets(name) for name in self.of_set}
        return {
            name: SeedSpread(sd=_deviation(values), values=values) for name, values in found.items()
        }

    def differences(self, other: TextSet) -> dict[str, tuple[float, Interval | None]]:
        """Return each figure minus the figure of a second set, with the interval of the difference.

        Sets of the same samples are paired: their texts share a prompt and random numbers. A set
        of fewer samples, as beam search has, is compared as unrelated texts, and without the
        figures of a whole set, which depend on the number of texts.
        """
        # Pairing needs the same samples on both sides.
        if self._samples() != other._samples():
            return self._independent_differences(other)
        return self._paired_differences(other, self.of_set)

    def differences_by_prompt(self, other: TextSet) -> dict[str, tuple[float, Interval | None]]:
        """Return each figure minus the same figure of human continuations of the same prompts.

        The prompts are the units: their sums are paired, however many texts each set has. Figures
        of a whole set are left out unless each seed has one text for each prompt.
        """
        one_each = all(part.stop - part.start == len(other.records) for part in self._parts)
        found = self._paired_differences(other, self.of_set if one_each else self._per_text)
        own, their = (each.by_unit(each.ratios["surprisal"]) for each in (self, other))
        first, second = ratio(own), ratio(their)
        if first is not None and second is not None:
            value = perplexity(first) - perplexity(second)
            found["perplexity"] = value, difference_interval(own, their, exponential=True)
        return found

    def _paired_differences(
        self, other: TextSet, names: Iterable[str]
    ) -> dict[str, tuple[float, Interval | None]]:
        found = {}
        for name in self.ratios:
            found[name] = (
                _less(ratio(self.ratios[name]), ratio(other.ratios[name])),
                self._difference_interval(other, self.ratios[name], other.ratios[name]),
            )
        for name in names:
            value = _less(self.of_set[name], other.of_set[name])
            found[name] = value, self._paired(other, name, value)
        return {name: (value, ends) for name, (value, ends) in found.items() if value is not None}

    def _samples(self) -> list[tuple[str, int, int]]:
        return [(r["prompt"], r["seed"], r["sample"]) for r in self.records]

    def _independent_differences(self, other: TextSet) -> dict[str, tuple[float, Interval | None]]:
        mine, theirs = self.summary(), other.summary()
        found = {}
        names = [*self.ratios, *self.of_set]
        if self.set_size != other.set_size:
            names = [name for name in names if name not in self.figures_of_sets]
        for name in names:
            value = _less(mine.figures[name], theirs.figures[name])
            if value is not None:
                own, their = ((each.figures[name], each.ci95[name]) for each in (mine, theirs))
                found[name] = value, independent_difference(*own, *their)
        return found

    def _paired(self, other: TextSet, name: str, difference: float | None) -> Interval | None:
        if name == "loops":
            # Where no text loops, resampling finds no variation: combine the score intervals.
            return independent_difference(*self._loops(), *other._loops())
        if name in self._per_text:
            return self._difference_interval(other, self._per_text[name], other._per_text[name])
        if not (self._is_decided(name) and other._is_decided(name)):
            return None
        own, their = ([each.left_out[name] for each in both._sets] for both in (self, other))
        if len(own) > len(their):  # several seeds against one set of human text
            own = [[_mean(values) for values in zip(*own, strict=True)]]
            ends = jackknife(difference, _less_each(own[0], their[0]))
        else:
            pairs = zip(self._of_sets(name), other._of_sets(name), strict=True)
            left_out = [_less_each(*each) for each in zip(own, their, strict=True)]
            ends = interval_of_sets(difference, [_less(*pair) for pair in pairs], left_out)
        return widened(ends, self._noise(name) + other._noise(name))

    def _difference_interval(self, other: TextSet, own: Sums, their: Sums) -> Interval | None:
        return difference_interval(self.by_unit(own), other.by_unit(their))

    def _loops(self) -> tuple[float | None, Interval | None]:
        share = self.of_set["loops"]
        sums, own = self._per_text["loops"], self._own_units()
        # Texts of few prompts are independent, as the interval is about these prompts.
        of_prompts = len({record["prompt"] for record in self.records}) == len(set(own))
        n = effective_number(*(by_unit(sums, own) if of_prompts else sums))
        return share, share_interval(share, n)


def _parts(seeds: Sequence[int]) -> list[slice]:
    """Return the place of the texts of each seed; one place if there are no texts."""
    starts = [at for at, seed in enumerate(seeds) if at == 0 or seed != seeds[at - 1]] or [0]
    return [slice(*ends) for ends in pairwise([*starts, len(seeds)])]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == len(values) > 1 else None


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _less_each(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    return [_less(*pair) for pair in zip(first, second, strict=False)]
