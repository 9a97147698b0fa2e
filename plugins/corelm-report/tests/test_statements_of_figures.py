"""The statements of a report are true: a small sample of `tests/long/statements_of_figures.py`."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.render.permutation_tests import p_value
from long_programs import long_program


@pytest.fixture(scope="module")
def simulation():
    return long_program("statements_of_figures")


@pytest.mark.slow
@pytest.mark.parametrize("design", [(8, 4), (2, 8)])
def test_statements_are_false_in_few_reports(simulation, design):
    """At 1 % each, more than 2 of 20 reports have a false one of a kind once in 1,000 times."""
    found = [simulation.false_statements_of_figures("unlike", design, i) for i in range(20)]
    for column in zip(*found, strict=True):
        known = [each for each in column if each is not None]
        assert sum(known) <= 2


def test_the_p_values_are_those_of_a_report(simulation):
    apart = np.random.default_rng(1).normal(0.3, 1, size=(20, 3))
    assert simulation.p_values(apart).tolist() == [p_value(column) for column in apart.T]
    few = apart[:8]
    assert simulation.p_values(few).tolist() == [p_value(column) for column in few.T]
