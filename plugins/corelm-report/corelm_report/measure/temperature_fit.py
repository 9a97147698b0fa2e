"""The temperature at which a model is as surprising as human text, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm_report.document.content import (
    HumanEntry,
    TemperatureFit,
)
from corelm_report.document.figure import TEACHER_FORCED
from corelm_report.document.lookup import estimate
from corelm_report.measure.on_contexts import Record, curve_mean
from corelm_report.metrics.conclusions import simultaneous
from corelm_report.metrics.estimates import Estimate, Interval
from corelm_report.metrics.inference import Inference

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
    found = _Crossing(np.array(t), np.array([each.value for each in apart]), slopes)
    fit = found.fit(human.value, human.interval(), ends)
    return replace(fit, verdict=_verdict(apart[list(t).index(1.0)], further) if 1.0 in t else None)


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
