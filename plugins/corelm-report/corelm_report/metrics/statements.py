"""The kinds of statements that a report makes, which share one level.

In at most 5 % of all reports some statement is false, of whatever kind, because each kind has an
equal part of the 5 % (Bonferroni): 1 % for all its statements in a report together. Intervals
make no such statement; each has 95 % of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corelm_report.metrics.estimates import LEVEL, Estimate, Interval

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
CONFIDENCE = f"{100 * (1 - EACH):g} %"
"""The confidence in all statements of a kind, in words."""


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
