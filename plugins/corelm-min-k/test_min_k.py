"""Min-k: the numbers worked out by hand, and the laws."""

import numpy as np
import pytest
from corelm_min_k import MinK

from corelm.testing import obeys_the_laws

INF = float("inf")


@obeys_the_laws(MinK(), MinK(tau=0), MinK(tau=40), MinK(tau=INF))
def test_law(sampler, law):
    law(sampler)


def kept(logits, tau=0.0, dtype=np.float64):
    """The ids of the tokens that stay."""
    result = MinK(tau=tau)(np.array([logits], dtype), None)[0]
    stay = np.flatnonzero(result > -INF)
    assert result[stay].tolist() == np.array(logits, dtype)[stay].tolist()
    return stay.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        # falls 1, 5, 1, weighed by 1, 1/2, 1/3: 1, 2.5, 0.33
        ([10, 9, 4, 3], [0, 1]),
        ([3, 10, 4, 9], [1, 3]),
        # falls 2, 3, 0: 2, 1.5, 0
        ([10, 8, 5, 5], [0]),
        # falls 0, 0, 6, 2: 0, 0, 2, 0.5
        ([9, 9, 9, 3, 1], [0, 1, 2]),
        # falls 1, 2, 3, all of weight 1: the first counts
        ([6, 5, 3, 0], [0]),
        # what is out of play neither falls nor counts in the range
        ([10, -INF, 9, 4, -INF, 3], [0, 2]),
        ([-INF, 2, -INF], [1]),
        # nothing falls
        ([7, 7, 7, -INF], [0, 1, 2]),
        ([5], [0]),
    ],
)
def test_the_cut_comes_after_the_steepest_fall(logits, expected, dtype):
    assert kept(logits, dtype=dtype) == expected


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        # falls 0.5, 0.25, 0.25: one token; the range is 1
        (0, [2]),
        (1, [2]),
        (2, [2, 1]),
        (2.9, [2, 1]),
        (3, [2, 1, 0]),
        (4, [2, 1, 0, 3]),
        (1000, [2, 1, 0, 3]),
    ],
)
def test_at_least_tau_by_the_range_stay(tau, expected):
    assert kept([0.25, 0.5, 1.0, 0.0], tau) == sorted(expected)


def test_the_cut_in_decimals():
    # 3 / 0.3 is ten tokens, although the falls of 0.03 are rounded
    logits = [*(1 + 0.03 * np.arange(11))]
    assert len(kept(logits, tau=3)) == 10


def test_of_equal_logits_at_the_cut_the_first_stay():
    assert kept([1.0, 0.5, 0.5, 0.5, 0.0], tau=3) == [0, 1, 2]


def reference(logits, tau):
    """The paper's algorithm, with a full sort."""
    order = np.argsort(-logits, kind="stable")
    falling = logits[order].astype(float)
    falls = (falling[:-1] - falling[1:]) / (falling[0] - falling[-1])
    cliff = int(np.argmax(falls / np.arange(1, len(falling)))) + 1
    return sorted(order[: max(cliff, int(tau / (falling[0] - falling[-1])))].tolist())


@pytest.mark.parametrize("vocabulary", [2, 1000, 20_000])
@pytest.mark.parametrize("spread", [1e-4, 0.01, 1.0, 30.0])
def test_it_is_the_papers_algorithm_however_large_the_vocabulary(vocabulary, spread):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=vocabulary) * spread
        logits[: seed * 2] += 3 * spread
        for tau in (0, 3):
            assert kept(logits, tau) == reference(logits, tau)


def test_a_slow_fall_from_the_top_is_followed_to_its_end():
    # the fall after 4,000 tokens weighs more than those before it: 200 / 4,000 against 0.01
    logits = np.concatenate([np.full(4000, 300.0), np.full(16_000, 100.0)])
    logits[0] += 0.01
    assert kept(logits) == list(range(4000))
