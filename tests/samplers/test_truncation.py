"""The samplers that cut tokens off, with numbers that one can check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_filters import INF, NOWHERE, drawn_from, kept, kept_of

from corelm import sampler, sampling_distribution

HALF = [0.5, 0.25, 0.125, 0.125]  # 1, 2, 3 and 3 bits of surprisal, 1.75 of entropy
THREE, TWO, ONE = [4 / 7, 2 / 7, 1 / 7, 0], [2 / 3, 1 / 3, 0, 0], [1, 0, 0, 0]
FALLING = [0.4, 0.3, 0.2, 0.1]
# First differences -0.2, -0.1, -0.06, -0.03, second ones 0.1, 0.04, 0.03: shares 10, 4 and 3 of 17.
CURVE = [43 / 90, 23 / 90, 13 / 90, 7 / 90, 4 / 90]
CURVE_TWO, CURVE_THREE = [43 / 66, 23 / 66, 0, 0, 0], [43 / 79, 23 / 79, 13 / 79, 0, 0]


@pytest.mark.parametrize(
    ("expression", "p", "expected"),
    [
        ("epsilon(0.125)", HALF, HALF),
        ("epsilon(0.13)", HALF, TWO),
        ("epsilon(0.25)", HALF, TWO),
        ("epsilon(0.3)", HALF, ONE),
        ("epsilon(0.6)", HALF, ONE),
        # exp(-H) is 2 ** -1.75 = 0.2973
        ("eta(0.09)", HALF, HALF),  # 0.3 * 0.2973 = 0.0892, less than epsilon
        ("eta(0.16)", HALF, HALF),  # 0.4 * 0.2973 = 0.1189; sqrt(epsilon exp(-H)) = 0.218 would cut
        ("eta(0.25)", HALF, TWO),  # 0.5 * 0.2973 = 0.1487
        ("eta(0.64)", HALF, TWO),  # 0.8 * 0.2973 = 0.2378
        ("eta(0.81)", HALF, ONE),  # 0.9 * 0.2973 = 0.2676
        ("min_p(0.25)", HALF, HALF),
        ("min_p(0.26)", HALF, TWO),
        ("min_p(0.5)", HALF, TWO),
        ("min_p(0.51)", HALF, ONE),
        ("min_p(1)", HALF, ONE),
        # the cut is in the middle of the difference that exceeds z
        ("tail_free(0)", CURVE, [1, 0, 0, 0, 0]),
        ("tail_free(0.58)", CURVE, [1, 0, 0, 0, 0]),  # 10 / 17 is 0.588
        ("tail_free(0.59)", CURVE, CURVE_TWO),
        ("tail_free(0.82)", CURVE, CURVE_TWO),  # 14 / 17 is 0.8235
        ("tail_free(0.83)", CURVE, CURVE_THREE),
        ("tail_free(0.999)", CURVE, CURVE_THREE),
        ("tail_free(1)", CURVE, CURVE),
        ("top_a(0)", HALF, HALF),
        ("top_a(0.5)", HALF, HALF),  # the threshold is 0.125, and what is at it stays
        ("top_a(0.51)", HALF, TWO),
        ("top_a(1)", HALF, TWO),
        ("top_a(1.01)", HALF, ONE),
        ("top_a(50)", HALF, ONE),  # above every probability: the most likely token stays
        # the two likeliest tokens alone have 0.9183 bits, the three 1.3788
        ("top_h(0)", HALF, ONE),
        ("top_h(0.5)", HALF, ONE),  # 0.875
        ("top_h(0.53)", HALF, TWO),  # 0.9275
        ("top_h(0.78)", HALF, TWO),  # 1.365
        ("top_h(0.79)", HALF, THREE),  # 1.3825
        ("top_h(0.99)", HALF, THREE),
        ("top_h(1)", HALF, HALF),
        ("top_k(1)", FALLING, ONE),
        ("top_k(2)", FALLING, [4 / 7, 3 / 7, 0, 0]),
        ("top_k(3)", FALLING, [4 / 9, 3 / 9, 2 / 9, 0]),
        ("top_k(4)", FALLING, FALLING),
        ("top_k(5)", FALLING, FALLING),
        ("top_p(0)", HALF, ONE),
        ("top_p(0.5)", HALF, ONE),
        ("top_p(0.51)", HALF, TWO),
        ("top_p(0.75)", HALF, TWO),
        ("top_p(0.76)", HALF, THREE),
        ("top_p(0.875)", HALF, THREE),
        ("top_p(0.9)", HALF, HALF),
        ("top_p(1)", HALF, HALF),
        # the tokens are 0.75, 0.25, 1.25 and 1.25 bits off the entropy
        ("typical(0.2)", HALF, [0, 1, 0, 0]),
        ("typical(0.25)", HALF, [0, 1, 0, 0]),
        ("typical(0.26)", HALF, TWO),
        ("typical(0.75)", HALF, TWO),
        ("typical(0.8)", HALF, THREE),
        ("typical(0.875)", HALF, THREE),
        ("typical(0.9)", HALF, HALF),
        ("typical(1)", HALF, HALF),
    ],
)  # fmt: skip
def test_the_others_are_renormalised(expression, p, expected):
    assert drawn_from(sampler(expression), p).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "p", "value", "expected"),
    [
        # ties in decimals, and of the likeliest
        ("epsilon", [0.1] * 10, 0.1, range(10)),
        ("epsilon", [1 / 49] * 49, 1 / 49, range(49)),
        ("epsilon", [0.7, 0.2, 0.1], 0.1, range(3)),
        ("epsilon", [0.25] * 4, 0.3, [0]),  # none is likely enough: the likeliest, the lowest id
        ("epsilon", [0.2, 0.4, 0.4], 0.5, [1]),
        # eta is epsilon at low entropy: exp(-H) = 0.845, and 0.1 * 0.845 is more than 0.01
        ("eta", [0.97, 0.01, 0.01, 0.01], 0.01, range(4)),
        ("eta", [0.97, 0.01, 0.01, 0.01], 0.011, [0]),
        # a product of decimals that is met is enough
        ("min_p", [0.5, 0.1, 0.4], 0.2, range(3)),  # 0.1 is 0.2 times 0.5
        ("min_p", [0.6, 0.06, 0.34], 0.1, range(3)),
        ("min_p", [0.6, 0.3, 0.1], 0.5, [0, 1]),  # here the logarithms miss it by their last bit
        ("min_p", [0.8, 0.08, 0.12], 0.1, range(3)),
        ("min_p", [0.4, 0.08, 0.52 - 0.12, 0.12], 0.2, range(4)),
        ("min_p", [0.4, 0.4, 0.2], 1, [0, 1]),
        ("min_p", [0.1] * 10, 1, range(10)),
        ("min_p", [1.0], 1, [0]),
        ("tail_free", [0.5, 0.3, 0.2, 0.0], 0.5, [0, 1]),  # second differences 0.1 and -0.1
        ("tail_free", [0.5, 0.3, 0.2, 0.0], 0.49, [0]),
        # equal probabilities, or a line of them, have no tail
        ("tail_free", [1.0], 0.01, [0]),
        ("tail_free", [0.5, 0.5], 0.01, [0, 1]),
        ("tail_free", [0.9, 0.1], 0.01, [0, 1]),
        ("tail_free", [0.25] * 4, 0.01, range(4)),
        ("tail_free", [3 / 6, 2 / 6, 1 / 6], 0.01, range(3)),
        # the examples of top-a's author
        ("top_a", [0.9, 0.1], 0.2, [0]),  # 0.162
        ("top_a", [0.5, 0.05, 0.0495, *[0.4005 / 20] * 20], 0.2, [0, 1]),  # 0.05
        ("top_a", [0.1, 0.002, 0.00198, *[0.89602 / 20] * 20], 0.2, [0, 1, *range(3, 23)]),  # 0.002
        # of equal tokens the lowest ids stay
        ("top_k", [0.25] * 4, 2, [0, 1]),
        ("top_k", [0.1, 0.3, 0.3, 0.3], 2, [1, 2]),
        ("top_k", [0.2, 0.4, 0.2, 0.2], 2, [0, 1]),
        ("top_k", [0.2, 0.4, 0.2, 0.2], 3, [0, 1, 2]),
        ("top_k", [0.3, 0.1, 0.3, 0.3], 1, [0]),
        ("top_k", [1.0], 1, [0]),
        ("top_p", [0.125, 0.5, 0.125, 0.25], 0.76, [0, 1, 3]),
        ("top_p", [0.25] * 4, 0.5, [0, 1]),
        ("top_p", [0.25] * 4, 0, [0]),
        ("top_p", [0.2, 0.6, 0.2], 0.7, [0, 1]),
        ("top_p", [1.0], 0.3, [0]),
        # a sum of decimals that meets p is enough
        ("top_p", [0.1] * 10, 0.3, range(3)),  # 0.1 + 0.1 + 0.1 is more than 0.3
        ("top_p", [0.1] * 10, 0.8, range(8)),  # eight times 0.1 is less than 0.8
        ("top_p", [0.7, 0.1, 0.1, 0.1], 0.8, [0, 1]),  # and so is 0.7 + 0.1
        ("top_p", [0.01] * 100, 0.07, range(7)),
        ("top_p", [1 / 49] * 49, 48 / 49, range(48)),
        # surprisals 1.32 and 3.32 bits, entropy 2.52: the likeliest token is the odd one out
        ("typical", [0.4, *[0.1] * 6], 0.3, [1, 2, 3]),
        ("typical", [0.4, *[0.1] * 6], 0.6, range(1, 7)),
        ("typical", [0.4, *[0.1] * 6], 0.7, range(7)),
        # one bit and two bits are both half a bit off 1.5: a tie across the entropy
        ("typical", [0.5, 0.25, 0.25], 0.5, [0]),
        ("typical", [0.5, 0.25, 0.25], 0.6, [0, 1]),
        ("typical", [0.25, 0.5, 0.25], 0.2, [0]),
        ("typical", [0.25, 0.5, 0.25], 0.5, [0, 1]),
        ("typical", [0.25] * 4, 0.5, [0, 1]),
        ("typical", [0.1] * 10, 0.8, range(8)),
        ("typical", [1.0], 0.1, [0]),
    ],
)  # fmt: skip
def test_ties_and_decimals(name, p, value, expected):
    assert kept_of(sampler(f"{name}({value!r})"), p) == [*expected]


CERTAIN = np.array([0.0, -45.0, -45.0, -45.0, -45.0])
STEPS, PAIRS = np.array([4.0, 3, 2, 1]), np.array([2.0, 0, 0, 2])
WITH_HOLES = np.array([2, 0, -INF, -INF, 0, 2])
BOTH_EDGES = np.array([0.0, 5.0, 0.0, 5.0, 0.0, -INF])
TWO_OF_MANY = np.append(np.log([0.6, 0.4]), [-INF] * 50)


@pytest.mark.parametrize(
    ("expression", "row", "expected"),
    [
        ("epsilon(0.5)", np.array([1e30, 1e30, 0.0]), [0, 1]),
        ("epsilon(0.51)", np.array([1e30, 1e30, 0.0]), [0]),
        ("min_p(1e-300)", np.array([1e30, 1e30, 0.0, -INF]), [0, 1]),
        ("min_p(1e-300)", np.array([0.0, -690.0, -700.0]), [0, 1]),
        ("min_p(0.5)", np.array([3e38, -3e38], np.float32), [0]),
        # impossible tokens have probability 0: the second differences are 0.2 and 0.4
        ("tail_free(0.3)", TWO_OF_MANY[:4], [0]),
        ("tail_free(0.34)", TWO_OF_MANY[:4], [0, 1]),
        ("tail_free(0.34)", TWO_OF_MANY, [0, 1]),
        ("tail_free(0.3)", BOTH_EDGES, [1]),  # the differences at both edges are nearly equal
        ("tail_free(0.6)", BOTH_EDGES, [1, 3]),
        # nearly all probability on one token doesn't hide the ratio
        (f"top_a({math.exp(-45)})", np.array([0.0, -40.0, -50.0]), [0, 1]),
        # of n equal tokens the lowest ids: ln 2 is half of ln 4, ln 3 is 0.792 times ln 4
        *((f"top_h({h})", np.full(n, 0.3), range(count))
          for n, h, count in ((4, 0.49, 1), (4, 0.5, 2), (4, 0.79, 2), (4, 0.8, 3), (1, 0, 1),
                              (1000, 1 / 3, 10), (1000, 2 / 3, 100))),
        ("top_h(0.9)", np.array([0.0, -1e30, -INF]), [0]),
        # entropies of a few 1e-18, too small to be seen next to the certain token's weight
        *((f"top_h({h})", CERTAIN, range(count))
          for h, count in ((0.2, 1), (0.3, 2), (0.6, 3), (0.8, 4), (0.99, 4))),
        # 4, 3, 2, 1 deviate by the root of 1.25, which is 1.118; 2, 0, 0, 2 deviate by 1
        *((f"top_n_sigma({n})", STEPS, range(count))
          for n, count in ((0, 1), (0.5, 1), (1, 2), (2, 3), (3, 4))),
        ("top_n_sigma(0)", PAIRS, [0, 3]),
        ("top_n_sigma(1.9)", PAIRS, [0, 3]),
        ("top_n_sigma(2)", PAIRS, range(4)),
        ("top_n_sigma(1.9)", WITH_HOLES, [0, 5]),  # what is out of play does not count
        ("top_n_sigma(2)", WITH_HOLES, [0, 1, 4, 5]),
        # the population's deviation of 4 and 2 is 1; a sample's would be 1.41
        ("top_n_sigma(1.5)", np.array([4.0, 2.0]), [0]),
        ("top_n_sigma(2)", np.array([4.0, 2.0]), [0, 1]),
        ("top_n_sigma(0)", np.array([7.0]), [0]),
        ("top_n_sigma(0)", np.array([7.0, 7.0, 7.0]), range(3)),
        *((f"top_n_sigma({n})", np.array([huge, -huge], dtype), range(count))
          for dtype, huge in ((np.float32, 3e38), (np.float64, 1.7e308))
          for n, count in ((1, 1), (2.1, 2), (1e300, 2))),
    ],
)  # fmt: skip
def test_rows_at_the_edges(expression, row, expected):
    assert kept(sampler(expression), row) == [*expected]


def test_before_a_high_temperature_min_p_keeps_less_than_after():
    logits = [3.0, 2.0, 1.0, 0.0]
    last = sampling_distribution(sampler("temperature(t=1.5) | min_p(p=0.1)"), logits)
    first = sampling_distribution(sampler("min_p(p=0.1) | temperature(t=1.5)"), logits)
    assert ((last > 0).tolist(), (first > 0).tolist()) == ([True] * 4, [True] * 3 + [False])


def test_a_temperature_before_top_n_sigma_changes_nothing():
    row = np.random.default_rng(5).normal(0, 3, (1, 400))
    hot = sampler("temperature(t=4) | top_n_sigma(n=1)")(row, NOWHERE)
    assert np.flatnonzero(hot > -INF).tolist() == kept(sampler("top_n_sigma(n=1)"), row[0])


# One token, all tokens equally, and the model's distribution


@pytest.mark.parametrize(
    ("name", "logits", "expected"),
    [
        ("greedy", [1.0, 3.0, 2.0], [0, 1, 0]),
        ("greedy", [2.0, 3.0, 3.0], [0, 1, 0]),
        ("greedy", [7.0, 7.0, 7.0], [1, 0, 0]),
        ("greedy", [-INF, -1e30, -2e30], [0, 1, 0]),
        ("greedy", [0.0], [1]),
        ("uniform", [1.0, 3.0, 2.0, -7.0], [0.25] * 4),
        ("uniform", [1e30, -1e30, -INF, -INF], [0.5, 0.5, 0, 0]),
        ("uniform", [-INF, 5.0], [0, 1]),
        ("uniform", [0.0], [1]),
        ("stochastic", np.log([0.1, 0.2, 0.7]), pytest.approx([0.1, 0.2, 0.7], rel=1e-14)),
    ],
)
def test_the_distribution(name, logits, expected):
    assert sampling_distribution(sampler(name), logits).tolist() == expected
