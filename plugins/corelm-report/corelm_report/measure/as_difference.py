"""The difference of two estimates as a report has it."""

from __future__ import annotations

from corelm_report.document.content import Difference
from corelm_stats.estimates import Estimate
from corelm_stats.intervals import IDENTITY, FigureScale
from corelm_stats.study_design import VarianceParts


def as_difference(
    apart: Estimate | None,
    parts: VarianceParts | None = None,
    other: float | None = None,
    scale: FigureScale = IDENTITY,
) -> Difference:
    """Return a difference of estimates with its interval, its p-value and its units.

    Args:
        apart: the difference; None if a figure is undefined.
        parts: the parts of its variance, or of the sampler's own figure.
        other: the variance of the subtracted figure, if the texts are not paired.
        scale: the scale of its error.
    """
    if apart is None:
        return Difference(value=None, ci95=None)
    return Difference(
        value=apart.value,
        ci95=apart.interval(scale=scale),
        p=apart.p_value(scale),
        units=apart.units,
        between=parts.between if parts else None,
        within=parts.within if parts else None,
        other=other if parts else None,
    )
