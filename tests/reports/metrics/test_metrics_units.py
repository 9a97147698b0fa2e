"""The independent units of designs of prompts, seeds and samples."""

from __future__ import annotations

import pytest

from corelm.reports.metrics.intervals import effective_number
from corelm.reports.metrics.units import by_unit, units


@pytest.mark.parametrize(
    ("prompts", "seeds", "n", "expected"),
    [(1, 1, 8, 8), (2, 1, 9, 9), (7, 4, 2, 8), (8, 1, 1, 8), (8, 3, 64, 8), (50, 40, 1, 50)],
)
def test_the_number_of_units(prompts, seeds, n, expected):
    samples = [(p, s, i) for s in range(seeds) for p in range(prompts) for i in range(n)]
    assert len(set(units(samples))) == expected


def test_the_sums_of_units():
    assert by_unit(([1.0, 2.0, 4.0], [1, 2, 3]), [0, 1, 0]) == ([5.0, 2.0], [4.0, 2.0])


def test_texts_of_a_prompt_that_are_alike_count_less():
    alike = [10, 0] * 5  # of ten texts of each of ten prompts
    assert effective_number(alike, [10] * 10) == 10
    apart = [5, 4, 6, 5, 5, 4, 6, 5, 5, 5]
    assert effective_number(apart, [10] * 10) == 100
    between = effective_number([8, 2, 7, 3, 6, 4, 8, 2, 7, 3], [10] * 10)
    assert 10 < between < 100
