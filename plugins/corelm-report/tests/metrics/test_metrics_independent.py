"""Figures of texts against independent code, and alone against among others."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.metrics.text_figures import by_text, repetition
from hypothesis import given
from hypothesis import strategies as st
from long_programs import long_program

TEXTS = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=6)


def test_repetition_does_not_depend_on_the_neighbours():
    assert repetition([[9, 8], [0, 1], [5, 6]], 2).tolist() == [0.0, 0.0, 0.0]


@given(TEXTS)
def test_figures_of_a_text_are_the_same_alone_as_among_others(texts):
    among = by_text(texts)
    for i, text in enumerate(texts):
        for name, [alone] in by_text([text]).items():
            np.testing.assert_equal(among[name][i], alone, err_msg=name)


@pytest.mark.slow
def test_figures_equal_independent_code_on_random_sets():
    assert long_program("independent_figures").disagreements(sets=200) == []
