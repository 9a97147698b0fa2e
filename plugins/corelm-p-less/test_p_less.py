"""p-less: the numbers worked out by hand, and the laws."""

import numpy as np
import pytest
from corelm_p_less import PLess

import corelm
from corelm.testing import obeys_the_laws


@obeys_the_laws(PLess(), PLess(norm=True))
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("p", "expected", "normalised"),
    [
        # 0.16 + 0.1225 + 0.0225 + 0.01 = 0.315: two stay, and 0.4 : 0.35 is 8 : 7
        # normalised, (4 * 0.315 - 1) / 3 = 0.0867
        ([0.4, 0.35, 0.15, 0.1], [8 / 15, 7 / 15, 0, 0], [0.4, 0.35, 0.15, 0.1]),
        # 0.25 + 0.0625 + 0.015625 + 0.015625 = 0.34375
        # (4 * 0.34375 - 1) / 3 = 0.125: the last two meet the bar
        ([0.5, 0.25, 0.125, 0.125], [1, 0, 0, 0], [0.5, 0.25, 0.125, 0.125]),
        # 0.3025 + 0.1225 + 0.01 = 0.435; (3 * 0.435 - 1) / 2 = 0.1525
        ([0.55, 0.35, 0.1], [1, 0, 0], [11 / 18, 7 / 18, 0]),
        # 0.81 + 0.01 = 0.82; (3 * 0.82 - 1) / 2 = 0.73
        ([0.9, 0.1, 0], [1, 0, 0], [1, 0, 0]),
        # 10 times 0.01 = 0.1: nothing is cut where all are equally likely
        ([0.1] * 10, [0.1] * 10, [0.1] * 10),
        ([1, 0, 0], [1, 0, 0], [1, 0, 0]),
        ([1], [1], [1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_tokens_that_stay(p, expected, normalised, dtype):
    with np.errstate(divide="ignore"):
        logits, exact = np.log(np.array(p, dtype)), np.log(np.array(p))  # a bar may be a tie
    for sampler, row, stay in ((PLess(), logits, expected), (PLess(norm=True), exact, normalised)):
        q = corelm.sampling_distribution(sampler, row)
        assert q.tolist() == pytest.approx(stay, rel=1e-6)


def test_a_token_that_meets_the_bar_stays():
    # 0.16 + 0.09 + 0.04 + 0.01 = 0.3
    kept = corelm.sampling_distribution(PLess(), np.log([0.4, 0.3, 0.2, 0.1]))
    assert kept.tolist() == pytest.approx([4 / 7, 3 / 7, 0, 0])


@pytest.mark.parametrize("n", [3, 7, 10, 49, 1000])
def test_equal_tokens_all_stay_for_any_number(n):
    assert (corelm.sampling_distribution(PLess(), np.full(n, 0.3)) > 0).all()
