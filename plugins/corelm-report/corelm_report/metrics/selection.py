"""Select settings: the best of several, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm_report.metrics.estimates import Estimate, Interval

SEED, ROUNDS = 0, 1000
"""The random seed of the resampling, and the number of resampled sets."""


class Best(NamedTuple):
    """The best of several settings.

    Attributes:
        chosen: the index of the setting.
        value: its mean, minus the gain by chance from its selection.
        ends: the interval of its mean, moved by the same amount.
    """

    chosen: int
    value: float
    ends: Interval


def best_of(settings: Sequence[Estimate], target: float) -> Best | None:
    """Return the setting whose figure is closest to a target, corrected for its selection.

    The best of many settings owes part of its figure to chance, and more of it the more settings
    were tried. The bootstrap repeats the selection: it selects the best setting of every resampled
    set, and records the error of its figure. The average error is the gain by chance; the figure
    and its interval are moved back by it. The true figures differ less than the measured ones, to
    which noise adds variance; the resampled figures are centred accordingly.

    Args:
        settings: the figure of each setting, over the same units.
        target: the value that is best.

    Returns:
        None if a setting has no interval, or if their units differ.

    Source: the concern is from Turning Down the Heat, arXiv 2506.13681; Efron 2014, Estimation
    and accuracy after model selection; Efron 1979, Bootstrap methods: another look at the
    jackknife.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0] * 2)
        >>> settings = [Estimate.of_ratio("texts", values + by, np.ones(8)) for by in (0, 9)]
        >>> best_of(settings, 3.0).chosen
        0
    """
    samples = {tuple(each.influence) for each in settings}
    if len(samples) != 1 or len(next(iter(samples))) != 1:
        return None
    if not all(each.is_decided for each in settings):
        return None
    influence = np.column_stack([next(iter(each.influence.values())) for each in settings])
    values = np.array([each.value for each in settings])
    errors = _resampled(len(influence)) @ influence
    noise = float(np.var(errors - errors.mean(axis=1, keepdims=True), axis=0).mean())
    spread = float(np.var(values))
    # Shrink the figures to the variance of the true ones, without the noise.
    kept = math.sqrt(max(1 - noise / spread, 0)) if spread else 0.0
    centres = values.mean() + kept * (values - values.mean())
    chosen = np.abs(centres + errors - target).argmin(axis=1)
    gained = float(errors[np.arange(len(errors)), chosen].mean())
    index = int(np.abs(values - target).argmin())
    ends = settings[index].interval()
    if ends is None:
        return None
    # A selected figure varies less than a fixed one, especially if many settings are about equally
    # good; but their number is unknown, so the interval keeps its width.
    return Best(index, settings[index].value - gained, [end - gained for end in ends])


@lru_cache(maxsize=2)
def _resampled(units: int) -> NDArray[np.float64]:
    """Return each unit's count in each resampled set, minus 1: (sets, units)."""
    times = np.random.default_rng(SEED).multinomial(units, np.full(units, 1 / units), ROUNDS)
    return np.asarray(times - 1.0, np.float64)


Point = tuple[float, float]


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other point beats in both: first value larger, second smaller.

    Example:
        >>> front([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)])
        [(0.1, 1.0), (0.9, 3.0)]
    """
    best: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[1], -point[0])):
        if not best or x > best[-1][0]:
            best.append((x, y))
    return best
