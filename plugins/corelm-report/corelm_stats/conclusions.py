"""Conclusions from several figures: p-values corrected for their number, the closest, the best.

The kinds of statements share one level: in at most 5 % of all reports some statement is false, of
any kind, because each kind has an equal part of the 5 % (Bonferroni): 1 % for all its
statements in a report together. Intervals make no such statement; each has 95 % of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm_stats.estimates import Estimate
from corelm_stats.intervals import LEVEL, Interval

KINDS = (
    "bold differences",
    "significant permutation tests",
    "the closest to human text",
    "differences from human text",
    "figures above a limit",
)
EACH = LEVEL / len(KINDS)
"""The level of each kind of statement: the chance that a report has a false one of this kind; of
bold differences, the largest average share of false ones among them (the false discovery rate)."""
CONFIDENCE = f"{100 * (1 - EACH):g}%"
"""The confidence in all statements of a kind, in words."""


Test = TypeVar("Test", bound=Any)
"""A dataclass with a p-value, or None, and a place for the corrected one."""


def confidence(rows: int) -> float:
    """Return the level of each of several intervals that hold together at 99 % (Bonferroni).

    Example:
        >>> round(confidence(1), 4), round(confidence(10), 4)
        (0.99, 0.999)
    """
    return 1 - EACH / max(rows, 1)


def simultaneous(estimates: Sequence[Estimate | None], further: int = 0) -> list[Interval | None]:
    """Return intervals that all hold the truth in 99 of 100 reports.

    Args:
        estimates: the figures, or differences.
        further: the number of further statements of the same kind in the report.

    Example:
        >>> one = Estimate.of_ratio("texts", [1.0, 2.0, 3.0, 4.0] * 4, [1.0] * 16)
        >>> [low] = [ends[0] for ends in simultaneous([one])]
        >>> low > simultaneous([one] * 20)[0][0]
        True
    """
    level = confidence(sum(each is not None for each in estimates) + further)
    return [None if each is None else each.interval(level) for each in estimates]


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction, which bounds the chance of any false finding.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


def with_holm(tests: Sequence[Test]) -> list[Test]:
    """Return tests with `p_holm`, Holm's correction of their `p` for all that have one."""
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p_holm=next(adjusted)) for test in tests]


def discoveries(values: Iterable[float]) -> float:
    """Return the largest p-value that is significant at the false discovery rate `EACH`.

    It is -1 if none is.

    Source: Benjamini and Hochberg 1995, Controlling the false discovery rate: a practical and
    powerful approach to multiple testing, doi 10.1111/j.2517-6161.1995.tb02031.x.

    Example:
        >>> discoveries([0.001, 0.004, 0.04, 0.9]), discoveries([0.9])
        (0.004, -1.0)
    """
    ordered = sorted(values)
    return max((p for n, p in enumerate(ordered, 1) if p <= EACH * n / len(ordered)), default=-1.0)


def closest_set(settings: Mapping[str, Estimate], target: Estimate) -> list[str]:
    """Return the settings among which the closest one is, in 99 % of all studies.

    A setting is left out if another one is significantly closer: the figures differ, and the target
    is on the other's side of their midpoint. Both must be significant (Berger 1982, Multiparameter
    hypothesis testing and acceptance sampling). The error of the target is part of the second test.
    The level of each test is divided by the number of the other settings (Bonferroni).

    Args:
        settings: the figure of each setting.
        target: the value to come close to.

    Source: Hsu 1996, Multiple comparisons: theory and methods (multiple comparisons with the best);
    Hansen, Lunde and Nason 2011, The model confidence set, doi 10.3982/ECTA5771.

    Example:
        >>> import numpy as np
        >>> texts = np.array([1.0, 2.0, 3.0, 4.0] * 16)
        >>> near, far = (Estimate.of_ratio("texts", texts + by, np.ones(64)) for by in (0, 9))
        >>> target = Estimate(3.0, noise=0.01)
        >>> closest_set({"near": near, "far": far}, target)
        ['near']
    """
    level = EACH / max(len(settings) - 1, 1)
    return [
        name
        for name, own in settings.items()
        if not any(
            other is not own and _is_closer(other, own, target, level)
            for other in settings.values()
        )
    ]


def _is_closer(first: Estimate, second: Estimate, target: Estimate, level: float) -> bool:
    """Return True if the first figure is closer to the target than the second, beyond chance."""
    apart, beyond = first - second, target - first.middle(second)
    if apart.value < 0:
        apart, beyond = (each.moved(-1.0, -each.value) for each in (apart, beyond))
    return apart.is_above(level) and beyond.is_above(level)


SEED, ROUNDS = 0, 1000
"""The random seed of the resampling, and the number of resampled sets."""


def best_of(settings: Sequence[Estimate], target: float) -> tuple[int, float, Interval] | None:
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
        The index of the setting, and its mean and the interval of its mean without the gain by
        chance; None if a setting has no interval, or if their units differ.

    Source: the concern is from Turning Down the Heat, arXiv 2506.13681; Efron 2014, Estimation
    and accuracy after model selection; Efron 1979, Bootstrap methods: another look at the
    jackknife.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0] * 2)
        >>> settings = [Estimate.of_ratio("texts", values + by, np.ones(8)) for by in (0, 9)]
        >>> best_of(settings, 3.0)[0]
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
    shrunk = math.sqrt(max(1 - noise / spread, 0)) if spread else 0.0
    centres = values.mean() + shrunk * (values - values.mean())
    chosen = np.abs(centres + errors - target).argmin(axis=1)
    gained = float(errors[np.arange(len(errors)), chosen].mean())
    index = int(np.abs(values - target).argmin())
    ends = settings[index].interval()
    if ends is None:
        return None
    # A selected figure varies less than a fixed one, especially if many settings are about equally
    # good; but their number is unknown, so the interval keeps its width.
    return index, settings[index].value - gained, [end - gained for end in ends]


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
