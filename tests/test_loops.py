"""A text that ends by repeating one phrase."""

from __future__ import annotations

import pytest

from corelm.runs import Endings
from corelm_stats.text_figures import loops


@pytest.mark.parametrize(
    ("tokens", "most"),
    [
        ([], 1),
        ([3], 1),
        ([3, 4, 3, 4], 2),
        ([9, 3, 4, 3, 4, 3, 4], 3),
        ([4, 3, 4, 3, 4, 3, 4], 3),  # breaks off inside the phrase 4 3
        ([3, 4, 3, 4, 3, 4, 9], 1),
        ([3] * 5, 2),  # a phrase has two tokens
        ([3] * 6, 3),
        ([3] * 8, 4),
        ([3, 4, 5, 6] * 5, 5),
        ([3, 3, 4] * 4, 4),
        ([3, 4, 5, 3, 4, 6] * 2, 2),
    ],
)
def test_the_number_of_repeats_of_the_last_phrase(tokens, most):
    """A text ends in a loop of up to so many repeats, and of no more."""
    repeats = range(2, 8)
    assert [Endings.in_loop(tokens, n) for n in repeats] == [n <= most for n in repeats]
    assert loops([tokens]).tolist() == [most >= 3]
