"""The independent units of designs of prompts, seeds and samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from corelm.reports.metrics.intervals import effective_number, share_interval
from corelm.reports.metrics.sums import by_unit, units


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
    """How alike the texts are is measured by ten prompts: by as much less as Student's t says."""
    known = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 9)) ** 2
    alike = [10, 0] * 5  # of ten texts of each of ten prompts
    assert effective_number(alike, [10] * 10) == pytest.approx(10 * known, rel=0.01)
    apart = [5, 4, 6, 5, 5, 4, 6, 5, 5, 5]
    assert effective_number(apart, [10] * 10) == pytest.approx(100 * known, rel=0.01)
    between = effective_number([8, 2, 7, 3, 6, 4, 8, 2, 7, 3], [10] * 10)
    assert 10 * known < between < 100 * known


def test_each_text_counts_if_each_has_a_prompt_of_its_own():
    assert effective_number([1, 0] * 5, [1] * 10) == 10


def test_a_share_that_few_prompts_decide_is_held():
    """Some 15 % of the prompts make most texts loop: before, 92 % of these studies held it."""
    rng, truth, held = np.random.default_rng(3), 0.15 * 0.7 + 0.85 * 0.01, []
    for _ in range(600):
        hits = rng.binomial(64, np.where(rng.random(50) < 0.15, 0.7, 0.01))
        low, high = share_interval(hits.sum() / 3200, effective_number(hits, [64] * 50))
        held.append(low <= truth <= high)
    assert 0.94 <= np.mean(held) <= 0.98
