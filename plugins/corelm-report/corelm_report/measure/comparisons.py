"""Comparisons with human text: the closest samplers, the best settings, the model's temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm_report.document.content import HumanEntry, TemperatureFit
from corelm_report.document.figures import EXPECTED, GENERATED, SURPRISAL, TEACHER_FORCED
from corelm_report.document.lookup import estimate, value
from corelm_report.document.parts import Best, Simultaneous
from corelm_report.measure.entries import Measured, surprisal_excess
from corelm_report.measure.on_contexts import Record, curve_mean
from corelm_report.measure.text_set import LOOPS, TextSet
from corelm_stats.conclusions import best_of, closest_set, confidence, simultaneous
from corelm_stats.estimates import FEWEST, STATED, Estimate, of_interval
from corelm_stats.inference import Inference
from corelm_stats.intervals import Interval, bisected

SHARES = ("rep_4", LOOPS)
"""The shares of which the summary says that they are above a limit."""
LIMITED = (*SHARES, EXPECTED)
"""All figures of which the summary says so."""


class Closest(NamedTuple):
    """The rows that may be the closest to human text by surprisal, and their differences.

    Attributes:
        rows: the rows that contain the closest one in 99 % of all reports.
        too_few: the rows with too few independent units to decide.
        too_short, too_long: the rows whose texts are not at the positions of human text.
        differences: the difference of every other row from human text, with simultaneous intervals.
    """

    rows: list[str]
    too_few: list[str]
    too_short: list[str]
    too_long: list[str]
    differences: list[Simultaneous]


UNLIKE = 2
"""Texts of a mean length beyond this multiple of human text's, or its inverse, don't compare."""


def closest(
    measured: Mapping[str, Measured],
    human: HumanEntry | None,
    length: int,
    people: TextSet | None = None,
) -> Closest:
    """Return the samplers that may be the closest to human text by surprisal, `closest_set`.

    There are none if the error of human text is unknown, or its texts are not compared. Surprisal
    depends on the position, so texts of a single token say nothing about how a text goes on.

    Args:
        measured: the measurements of the samplers, by entry.
        human: the human entry.
        length: the number of tokens of human texts that were measured earlier.
        people: the human texts, if they were measured.
    """
    own = human and human.compared and estimate(human, SURPRISAL, GENERATED)
    target = own and own.interval and of_interval(own.value, own.interval)
    target = people.estimate(SURPRISAL) if target and people else target
    if not target:
        return Closest([], [], [], [], [])
    usual = _mean_length(people) if people else length
    lengths = {name: _mean_length(each.texts) for name, each in measured.items()}
    short = [name for name, own in lengths.items() if own * UNLIKE < usual]
    long = [name for name, own in lengths.items() if own > UNLIKE * usual]
    texts = {name: each.texts for name, each in measured.items() if name not in {*short, *long}}
    # One unit has no variance, and a few units may by chance have almost none.
    enough = {name: each for name, each in texts.items() if each.units_with(SURPRISAL) >= FEWEST}
    settings = {n: mean for n, each in enough.items() if (mean := each.estimate(SURPRISAL))}
    apart = {name: each - target for name, each in settings.items()}
    # One further statement is about the model itself: `TemperatureFit.verdict`.
    ends = simultaneous(list(apart.values()), further=1)
    fewest = min([target.units or STATED, *(each.units or 0 for each in settings.values())])
    ends = ends if fewest >= STATED else [None] * len(ends)
    differences = [
        Simultaneous(sampler=name, figure=SURPRISAL, value=each.value, interval=interval)
        for (name, each), interval in zip(apart.items(), ends, strict=True)
    ]
    too_few = [name for name in texts if name not in settings]
    return Closest(closest_set(settings, target), too_few, short, long, differences)


def _mean_length(texts: TextSet) -> float:
    """Return the mean number of tokens of a text, without ends."""
    return sum(texts.ratios[SURPRISAL][1]) / max(len(texts.records), 1)


def shares(measured: Mapping[str, Measured]) -> list[Simultaneous]:
    """Return the shares of `SHARES` with intervals whose lower ends hold for all rows at once.

    Args:
        measured: the measurements of the samplers, by entry.
    """
    level = confidence(len(LIMITED) * len(measured))
    rows = []
    for name, each in measured.items():
        for figure in SHARES:
            value_ = each.texts.of_set[figure]
            if value_ is not None:
                ends = each.texts.interval(figure, level)
                are_all = each.texts.are_copies and not each.texts.inference.about_prompts
                if ends is None and are_all:
                    ends = [value_, value_]  # the sampler always writes these texts
                rows.append(Simultaneous(sampler=name, figure=figure, value=value_, interval=ends))
    return rows


def excess(measured: Mapping[str, Measured], words: Record | None) -> list[Simultaneous]:
    """Return the expected surprisal of each sampler, minus that of human words on the contexts.

    On contexts that are not human text, the surprisal of the model's own tokens is subtracted.

    Args:
        measured: the measurements of the samplers, by entry.
        words: the record of the model, if the contexts are human text.
    """
    level = confidence(len(LIMITED) * len(measured))
    rows = []
    for name, each in measured.items():
        apart = surprisal_excess(each, words) if each.record else None
        if apart is not None:
            ends = apart.interval(level)
            rows.append(
                Simultaneous(sampler=name, figure=EXPECTED, value=apart.value, interval=ends)
            )
    return rows


def best_settings(
    measured: Mapping[str, Measured], names: Mapping[str, str], human: HumanEntry | None
) -> list[Best]:
    """Return the setting closest to human text of each sampler that was tried with several.

    Args:
        measured: the measurements of the samplers, by entry.
        names: the registered name of each sampler, by entry.
        human: the human entry.
    """
    target = value(human, SURPRISAL, GENERATED) if human and human.compared else None
    settings: dict[str, list[str]] = {}
    for entry in measured:
        settings.setdefault(names[entry], []).append(entry)
    rows = []
    for name, tried in settings.items():
        if target is None or len(tried) < 2:
            continue
        surprisals = [measured[entry].texts.estimate(SURPRISAL) for entry in tried]
        estimates = [each for each in surprisals if each is not None]
        best = best_of(estimates, target) if len(estimates) == len(tried) else None
        if best is not None:
            index, corrected, ends = best
            rows.append(
                Best(
                    name=name, tried=len(tried), sampler=tried[index], figure=SURPRISAL,
                    target=target, corrected=corrected, ci95=ends,
                )
            )  # fmt: skip
    return rows


Floats = NDArray[np.float64]
HALVINGS = 50
FLAT = 1e-6
"""A curve that rises by less, in nats, doesn't make any temperature likelier than another."""


def fit_on_human_text(
    model: Record,
    curve: Record,
    t: Sequence[float],
    inference: Inference | None = None,
    further: int = 0,
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
        further: the number of rows whose differences from human text are stated too.

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
    crossing = _Crossing(np.array(t), np.array([each.value for each in apart]), slopes)
    return TemperatureFit(
        surprisal=human.value,
        ci95=human.interval(),
        t=None if crossing.beyond else crossing.at(),
        t_ci95=None if crossing.beyond else crossing.between(ends),
        beyond=crossing.beyond,
        verdict=_verdict(apart[list(t).index(1.0)], further) if 1.0 in t else None,
    )


def _verdict(model: Estimate, further: int) -> str | None:
    """Say whether the model is over- or underconfident; None if it cannot be told.

    Args:
        model: the expected surprisal of a token that the model draws, minus human surprisal.
        further: the number of other differences from human text in the report.
    """
    [ends] = simultaneous([model], further)
    if ends is None or ends[0] <= 0 <= ends[1]:
        return None
    return "overconfident" if ends[1] < 0 else "underconfident"


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
    measured, multiple = estimate(human, SURPRISAL, TEACHER_FORCED), surprisal_per_entropy(human)
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
    surprisal = estimate(human, SURPRISAL, TEACHER_FORCED) if human else None
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

    @property
    def beyond(self) -> str | None:
        """The end of the curve beyond which it passes 0: above, below, undetermined, or None."""
        low, high = (self._value(float(end), 0 * self.values) for end in self.t[[0, -1]])
        if high - low < FLAT:
            return "undetermined"
        # Texts of only the likeliest words have the surprisal of the lowest temperature.
        return "above" if high < 0 else "below" if low > -FLAT else None

    def at(self, shift: Floats | None = None) -> float | None:
        """Return where the curve crosses 0; its first temperature if below, None if above the last.

        Args:
            shift: (temperatures,) a shift of the curve.
        """
        moved = np.zeros(len(self.t)) if shift is None else shift
        low, high = float(self.t[0]), float(self.t[-1])
        if self._value(high, moved) < 0:
            return None
        return sum(bisected(low, high, lambda t: self._value(t, moved) >= 0, HALVINGS)) / 2

    def between(self, ends: Sequence[Interval | None]) -> Interval | None:
        """Return the interval of temperatures at which the curve may pass 0; None if unknown.

        Args:
            ends: the interval of each value of the curve.
        """
        intervals = [each for each in ends if each is not None]
        if len(intervals) < len(ends):
            return None
        # The interval begins at the temperature at which the upper end is 0.
        lows, highs = np.array(intervals).T
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
