"""The number of texts that a difference of a given size needs, from the report of a pilot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

from corelm.errors import UsageError
from corelm.reports.document.content import Document
from corelm.reports.document.figures import GENERATED, HUMAN, OF_SETS
from corelm.reports.document.lookup import against, difference
from corelm.toolkit import did_you_mean, shown

NORMAL = NormalDist()
LEVEL = 0.05
"""The two-sided level of the tests, that of the intervals of a report."""


@dataclass(frozen=True)
class SampleSize:
    """The size of a study in which one difference is found.

    Attributes:
        sampler: the sampler whose difference it is.
        deviation: the standard deviation of the paired difference of a text.
        texts: the texts that each sampler must write.
    """

    sampler: str
    deviation: float
    texts: int


def texts_needed(deviation: float, difference: float, power: float) -> int:
    """Return how many pairs of texts show a difference with a given probability.

    Args:
        deviation: the standard deviation of the paired difference of a text.
        difference: the true mean difference, above 0.
        power: the probability that the 95 % interval does not include 0.

    Example:
        >>> texts_needed(1.0, 0.5, 0.8)
        32
    """
    reach = NORMAL.inv_cdf(1 - LEVEL / 2) + NORMAL.inv_cdf(power)
    return max(2, math.ceil((reach * deviation / difference) ** 2))


def sample_sizes(pilot: Document, figure: str, size: float, power: float) -> Iterator[SampleSize]:
    """Yield the size of a study for each sampler of a pilot.

    The deviation is that of the pilot's paired interval, which holds what texts of one prompt have
    in common.

    Args:
        pilot: a report with few texts.
        figure: a figure of texts that is a mean over them.
        size: the difference to find, above 0.
        power: the probability of finding it.

    Raises:
        UsageError: the pilot has no paired intervals of this figure.
    """
    if against(pilot) == HUMAN:
        raise UsageError(
            "the size is planned for differences between samplers, whose texts are pairs: name one "
            'of them, such as against = "temperature(t=1.0)"'
        )
    if figure in OF_SETS:
        raise UsageError(f"{figure} is a figure of a whole set of texts, which has no mean")
    found = list(_sizes(pilot, figure, size, power))
    if not found:
        named = {name for each in pilot.samplers if each.differences
                 for name, d in each.differences.generated_texts.items() if d.ci95}  # fmt: skip
        hint = did_you_mean(figure, named) or f"; there are: {', '.join(sorted(named)) or 'none'}"
        raise UsageError(f"the pilot has no interval of a difference of {shown(figure)}{hint}")
    yield from found


def _sizes(pilot: Document, figure: str, size: float, power: float) -> Iterator[SampleSize]:
    for entry in pilot.samplers:
        found = difference(entry, figure, GENERATED)
        n = entry.generated_texts.n if entry.generated_texts else None
        if found is not None and found.low is not None and found.high is not None and n:
            error = (found.high - found.low) / 2 / NORMAL.inv_cdf(1 - LEVEL / 2)
            deviation = error * math.sqrt(n)
            yield SampleSize(entry.sampler, deviation, texts_needed(deviation, size, power))
