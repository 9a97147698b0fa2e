"""The settings to prefer: the best of several, the set that may be closest, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm_report.metrics.intervals import (
    FEWEST,
    Interval,
    bootstrap_ends,
    influence_of,
    mean_of,
    resampled_means,
)
from corelm_report.metrics.sums import Sums


class Best(NamedTuple):
    """The best of several settings.

    Attributes:
        chosen: the index of the setting.
        value: its mean, less what its choice has gained by chance.
        ends: the interval of its mean, moved by the same amount.
    """

    chosen: int
    value: float
    ends: Interval


def best_of(settings: Sequence[Sums], target: float) -> Best | None:
    """Return the setting whose mean is closest to a target, corrected for its having been chosen.

    The best of many settings owes a part of its figure to chance, the more the more were tried.
    The bootstrap repeats the choice: in every resampled set the best setting is chosen again, and
    the error of its mean is noted. The average of these errors is the gain; the mean and its
    interval are moved back by it. The true means of the settings differ less than the measured
    ones, whose noise adds to their variance; the resampled ones are centred accordingly.

    Args:
        settings: for each setting, (texts,) the sums and the counts of the same texts.
        target: the value that is best.

    Returns:
        None if a setting has no interval, or if the numbers of texts differ.

    Source: the concern is from Turning Down the Heat, arXiv 2506.13681; Efron 2014, Estimation
    and accuracy after model selection.

    Example:
        >>> texts = [1.0, 2.0, 3.0, 4.0] * 2
        >>> best_of([(texts, [1] * 8), ([value + 9 for value in texts], [1] * 8)], 3.0).chosen
        0
    """
    same = len({len(sums[0]) for sums in settings}) == 1
    if not same or min(np.count_nonzero(counts) for _, counts in settings) < FEWEST:
        return None
    columns = [resampled_means(*sums) for sums in settings]
    means, resampled = np.array([mean_of(*sums) for sums in settings]), np.column_stack(columns)
    errors = resampled - means
    noise = float(np.var(errors - errors.mean(axis=1, keepdims=True), axis=0).mean())
    spread = float(np.var(means))
    # Shrink the means until they vary as much as the true ones, without the noise.
    kept = math.sqrt(max(1 - noise / spread, 0)) if spread else 0.0
    centres = means.mean() + kept * (means - means.mean())
    chosen = np.abs(centres + errors - target).argmin(axis=1)
    gained = float(errors[np.arange(len(errors)), chosen].mean())
    index = int(np.abs(means - target).argmin())
    ends = bootstrap_ends(float(means[index]), resampled[:, index], influence_of(*settings[index]))
    if ends is None:
        return None
    # A chosen mean varies less than a fixed one, and less still if many settings are about as
    # good; but their number is unknown, so the interval keeps its width.
    return Best(index, float(means[index]) - gained, [end - gained for end in ends])


LEVEL = 0.05
"""The chance that the closest setting is not in the set, at most."""


@dataclass(frozen=True)
class _Mean:
    """A mean, and the share of each unit in its deviation, to first order."""

    value: float
    influence: NDArray[np.float64]

    @classmethod
    def of(cls, sums: Sums) -> _Mean | None:
        tops, bottoms = (np.asarray(each, np.float64) for each in sums)
        total = bottoms.sum()
        if not total:
            return None
        value = float(tops.sum() / total)
        return cls(value, (tops - value * bottoms) / total)


@dataclass(frozen=True)
class _Target:
    """The value to come close to, and its error."""

    value: float
    variance: float
    influence: NDArray[np.float64] | None

    def error_from(self, middle: NDArray[np.float64]) -> float:
        """Return the variance of its distance from a mean, from the influence of each unit."""
        if self.influence is None or len(self.influence) != len(middle):
            return float(np.sum(middle**2)) + self.variance
        return float(np.sum((self.influence - middle) ** 2))


def closest_set(
    settings: Mapping[str, Sums], target: float, variance: float, paired: Sums | None = None
) -> list[str]:
    """Return the settings that may be the closest one: it is among them in 95 % of all studies.

    A setting is left out if a different one is closer beyond chance: the means differ, and the
    target is on the other one's side of the middle between them. Both must be significant (Berger
    1982, Multiparameter hypothesis testing and acceptance sampling). The error of the target is
    part of the second test. The level of each test is divided by the number of the other settings
    (Bonferroni).

    Args:
        settings: for each setting, (units,) the sums and the counts; settings with the same number
            of units are paired.
        target: the estimate of the value to come close to.
        variance: the variance of this estimate.
        paired: the sums and the counts of the target, if it is a mean over the same units as the
            settings; the errors that they share then cancel.

    Source: Hsu 1996, Multiple comparisons: theory and methods (multiple comparisons with the best);
    Hansen, Lunde and Nason 2011, The model confidence set, doi 10.3982/ECTA5771.

    Example:
        >>> texts = [1.0, 2.0, 3.0, 4.0] * 16
        >>> far = [value + 9 for value in texts]
        >>> settings = {"near": (texts, [1] * 64), "far": (far, [1] * 64)}
        >>> closest_set(settings, 3.0, 0.01), closest_set(settings, 7.0, 4.0)
        (['near'], ['near', 'far'])
    """
    means = {name: mean for name, sums in settings.items() if (mean := _Mean.of(sums))}
    level = LEVEL / max(len(means) - 1, 1)
    own_mean = _Mean.of(paired) if paired else None
    aim = _Target(target, variance, own_mean.influence if own_mean else None)
    return [
        name
        for name, own in means.items()
        if not any(
            other is not own and _is_closer(other, own, aim, level) for other in means.values()
        )
    ]


def _is_closer(first: _Mean, second: _Mean, target: _Target, level: float) -> bool:
    """Return True if the first mean is closer to the target than the second, beyond chance."""
    apart = first.value - second.value
    beyond = target.value - (first.value + second.value) / 2
    if apart * beyond <= 0:
        return False
    one, other = first.influence, second.influence
    units = min(len(one), len(other))
    if len(one) == len(other):
        of_apart, of_beyond = np.sum((one - other) ** 2), target.error_from((one + other) / 2)
    else:
        of_apart = np.sum(one**2) + np.sum(other**2)
        of_beyond = of_apart / 4 + target.variance
    bound = student(1 - level, max(units - 1, 1)) * math.sqrt(units / max(units - 1, 1))
    return abs(apart) > bound * math.sqrt(of_apart) and abs(beyond) > bound * math.sqrt(of_beyond)


def student(share: float, freedom: float) -> float:
    """Return a quantile of Student's t from the normal quantile.

    Source: Wallace 1959, Bounds on normal approximations to Student's and the chi-square
    distributions.

    Example:
        >>> round(student(0.975, 10), 2), round(student(0.975, 1e6), 2)
        (2.23, 1.96)
    """
    z = NormalDist().inv_cdf(share) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.copysign(math.sqrt(freedom * math.expm1(min(z * z / freedom, 700.0))), z)


def normal_score(t: float, freedom: float) -> float:
    """Return the normal deviate with the same tail probability as a value of Student's t.

    Example:
        >>> round(normal_score(student(0.99, 7), 7), 6) == round(NormalDist().inv_cdf(0.99), 6)
        True
    """
    size = math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.copysign(size * (8 * freedom + 1) / (8 * freedom + 3), t)


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
