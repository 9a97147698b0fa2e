"""The kinds of statements of a report share 5 %."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.summary import LOOPING
from corelm_report.measure.comparisons import SHARES
from corelm_report.metrics.estimates import LEVEL
from corelm_report.metrics.intervals import share_interval
from corelm_report.metrics.statements import CONFIDENCE, EACH, KINDS, confidence, holm
from corelm_report.render.significance import p_value
from scipy import stats


def test_all_kinds_together_have_5_percent():
    assert len(KINDS) * EACH == pytest.approx(LEVEL)
    assert CONFIDENCE == "99 %"


def named_by_chance(texts, level, rows=8):
    """The chance that one of some rows, whose true share is the limit, is said to be above it."""
    ends = [share_interval(hits / texts, texts, level) for hits in range(texts + 1)]
    above = [hits for hits, (low, _) in enumerate(ends) if low > LOOPING]
    return 1 - (1 - stats.binom.pmf(above, texts, LOOPING).sum()) ** rows


@pytest.mark.parametrize("texts", [8, 64, 128, 256, 512, 1024])
def test_loops_at_the_limit_are_seldom_said_to_be_above_it(texts):
    """Exact: single intervals would name one of eight rows in every tenth report or more."""
    assert named_by_chance(texts, 1 - LEVEL) > 0.02
    assert named_by_chance(texts, confidence(len(SHARES) * 8)) <= EACH


@pytest.mark.parametrize(("level", "most"), [(0.95, 3), (0.99, 13), (0.999, 21)])
def test_the_lower_limits_of_few_hits_are_those_of_scipy(level, most):
    n = 100_000
    for hits in range(1, most + 1):
        expected = stats.chi2.ppf(1 - level, 2 * hits) / 2
        assert share_interval(hits / n, n, level)[0] * n == pytest.approx(expected, rel=1e-6)


def test_a_test_among_four_hundred_can_be_significant():
    """With 9,999 exchanges no p-value is below 1 in 10,000, so that Holm's is 4 %."""
    p = p_value(np.random.default_rng(1).normal(2, 1, size=64))
    assert holm([p, *[0.5] * 400])[0] <= EACH
