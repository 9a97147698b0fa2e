"""The maximum-likelihood temperature of human text: where expected and human surprisal are equal.

The temperature that makes human words likeliest is the one at which a word drawn from the model
has, on average, the surprisal under the model that human words have. The likelihood is concave in
1/t, so there is one such temperature. Human words end no text, so the likelihood is the one given
that the text goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.reports.document.content import HumanEntry, TemperatureFit
from corelm.reports.document.figures import TEACHER_FORCED
from corelm.reports.document.lookup import estimate
from corelm.reports.measure.temperature_curve import mean
from corelm.reports.metrics.intervals import (
    Interval,
    difference_interval,
    mean_interval,
)
from corelm.reports.metrics.sums import ratio

Record = dict[str, Any]
Floats = NDArray[np.float64]
HALVINGS = 50


def on_human_text(model: Record, curve: Record, t: Sequence[float]) -> TemperatureFit | None:
    """Fit the temperature on human contexts.

    Words that the model cannot draw are left out on both sides. The interval is over texts: it
    holds every temperature whose expected surprisal has a paired difference from human surprisal
    that may be 0.

    Source: Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.

    Args:
        model: the record of the model on the contexts, with the surprisal of the human words.
        curve: the record of the curve there.
        t: the temperatures of the curve.

    Returns:
        None if there is no word.
    """
    words = [[nats for nats in text if nats is not None] for text in model["surprisal"]]
    human = [math.fsum(text) for text in words], [len(text) for text in words]
    surprisal = ratio(human)
    if surprisal is None:
        return None
    expected = np.array(curve["word_surprisal"])  # (texts, temperatures)
    slopes = np.array(curve["word_surprisal_slope"]).sum(axis=0) / sum(human[1])
    columns = [(column.tolist(), human[1]) for column in expected.T]
    differences = [(ratio(column) or 0.0) - surprisal for column in columns]
    ends = [difference_interval(column, human) for column in columns]
    found = _Crossing(np.array(t), np.array(differences), slopes)
    return TemperatureFit(
        surprisal=surprisal, ci95=mean_interval(*human), t=found.at(), t_ci95=found.between(ends)
    )


def on_other_text(human: HumanEntry, curve: Record, t: Sequence[float]) -> TemperatureFit | None:
    """Estimate the temperature on contexts that the model wrote.

    The model finds its own texts easier or harder than human text, so human surprisal is converted
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
    expected, slopes = mean(curve, "surprisal"), mean(curve, "surprisal_slope")
    level = multiple * float(mean(curve, "entropy")[list(t).index(1.0)])
    return TemperatureFit(
        surprisal=level,
        ci95=measured.interval and [level * end / measured.value for end in measured.interval],
        t=_Crossing(np.array(t), expected - level, slopes).at(),
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

    def at(self, shift: Floats | None = None) -> float | None:
        """Return the place; the first temperature if it is lower, None if it is higher.

        Args:
            shift: (temperatures,) what is added to the curve.
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
        """Return the temperatures between which the curve may pass 0; None if that is unknown.

        Args:
            ends: the interval of each value of the curve.
        """
        known = [each for each in ends if each is not None]
        if len(known) < len(ends):
            return None
        lows, highs = np.array(known).T
        first, last = self.at(highs - self.values), self.at(lows - self.values)
        return None if first is None or last is None else [first, last]

    def _value(self, at: float, shift: Floats) -> float:
        """Return the cubic through the values with these slopes, plus the shift."""
        i = min(max(int(np.searchsorted(self.t, at)), 1), len(self.t) - 1)
        step = float(self.t[i] - self.t[i - 1])
        x = (at - float(self.t[i - 1])) / step
        (a, b), (p, q) = self.values[i - 1 : i + 1], self.slopes[i - 1 : i + 1] * step
        cubic = a + x * (p + x * (3 * (b - a) - 2 * p - q + x * (p + q - 2 * (b - a))))
        return float(cubic) + float(np.interp(at, self.t, shift))
