"""The independent units of a design of prompts, seeds and samples: intervals are over these.

Texts of different prompts, seeds and samples have different random numbers, so they are
independent once the prompts are chosen. With many prompts an interval is about prompts like these:
the prompts are the units, as texts of one prompt have that prompt in common. With few prompts,
which say little about others, it is about these prompts: the units are the texts, each with the
texts of the other prompts that have its seed and sample.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from corelm.reports.metrics.positions import Sums

MANY = 8
"""The number of prompts from which an interval is about prompts like these."""

Sample = tuple[Hashable, int, int]
"""The prompt, the seed and the sample of a text."""


def units(samples: Sequence[Sample]) -> list[int]:
    """Return the number of the independent unit of each text.

    The prompts are the units if there are many.

    Source: Miller 2024, Adding error bars to evals, arXiv 2411.00640 (questions as clusters).

    Example:
        >>> [units([(p, 1, i) for p in range(n) for i in range(2)]) for n in (2, 8)]
        [[0, 1, 0, 1], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]]
    """
    keys: list[Hashable] = [(seed, sample) for _, seed, sample in samples]
    prompts: list[Hashable] = [prompt for prompt, _, _ in samples]
    if len(set(prompts)) >= MANY:
        keys = prompts
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def by_unit(sums: Sums, of: Sequence[int]) -> Sums:
    """Add up the sums of the texts of each unit.

    Args:
        sums: two numbers for each text.
        of: the number of the unit of each text.

    Example:
        >>> by_unit(([1.0, 2.0, 4.0], [1, 1, 1]), [0, 1, 0])
        ([5.0, 2.0], [2.0, 1.0])
    """
    numbers = np.asarray(of, np.intp)
    tops, bottoms = (np.bincount(numbers, np.asarray(each, np.float64)) for each in sums)
    return tops.tolist(), bottoms.tolist()
