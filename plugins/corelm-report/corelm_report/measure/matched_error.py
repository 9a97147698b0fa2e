"""The error of matching, as a part of the error of differences between matched samplers.

Samplers are matched on a sample of contexts, so on other contexts their entropies differ a little,
which accounts for a part of the difference between their texts. The size of that part is the paired
difference of the entropies times the change of surprisal with entropy along the temperature curve.
"""

from __future__ import annotations

import numpy as np

from corelm_report.document.content import Curve, Difference, SamplerEntry
from corelm_report.measure.entries import Measured
from corelm_report.measure.text_set import SURPRISAL
from corelm_report.metrics.intervals import total

ENTROPY = "entropy"


def surprisal_per_nat(curve: Curve, entropy: float) -> float | None:
    """Return the slope of expected surprisal against entropy, at an entropy of the curve.

    None if the curve does not reach this entropy.

    Example:
        >>> curve = Curve(t=[1, 2], entropy=[1.0, 3.0], slope=[2, 2], surprisal=[1.0, 2.0])
        >>> surprisal_per_nat(curve, 2.0)
        0.5
    """
    at, nats = np.array(curve.entropy), np.array(curve.surprisal)
    i = int(np.searchsorted(at, entropy))
    if not 0 < i < len(at) or at[i] <= at[i - 1]:
        return None
    return float((nats[i] - nats[i - 1]) / (at[i] - at[i - 1]))


def with_match_error(
    entries: list[SamplerEntry], measured: dict[str, Measured], curve: Curve
) -> None:
    """Widen the intervals of surprisal differences between samplers matched to one entropy."""
    named = {entry.sampler: entry for entry in entries}
    for entry in entries:
        against = entry.differences and named.get(entry.differences.against)
        first, second = entry.matched, against.matched if against else None
        if not entry.differences or not against or first is None or second is None:
            continue
        found = entry.differences.generated_texts.get(SURPRISAL)
        alike = first.figure == second.figure == ENTROPY and first.target == second.target
        if alike and found is not None and found.ci95 is not None:
            own, other = measured[entry.sampler], measured[against.sampler]
            entry.differences.generated_texts[SURPRISAL] = _widened(
                found, own, other, surprisal_per_nat(curve, first.target)
            )


def _widened(found: Difference, own: Measured, other: Measured, slope: float | None) -> Difference:
    mine, theirs = (each.inference.estimate(total(each.record[ENTROPY])) for each in (own, other))
    texts, others = own.texts.estimate(SURPRISAL), other.texts.estimate(SURPRISAL)
    if slope is None or not (mine and theirs and texts and others):
        return found
    # The contexts and the texts have random numbers of their own, so their errors are independent.
    noise = slope**2 * (mine - theirs).variance
    apart = (texts - others).with_noise(0.0 if np.isnan(noise) else noise)
    return Difference(
        value=found.value, ci95=apart.interval(), p=apart.p_value(), units=found.units,
        between=found.between, within=found.within, other=found.other,
    )  # fmt: skip
