"""XTC: leave out the likeliest of several good tokens, some of the time."""

from __future__ import annotations

import numpy as np
import pytest
import reference_filters as plain
from corelm_samplers.xtc import Xtc
from hypothesis import given
from reference_filters import (
    INF,
    NOWHERE,
    ROWS,
    SHARES,
    drawn_from,
    random_rows,
)

from corelm import Context, sampling_distribution, softmax
from corelm.errors import UsageError
from corelm.testing import ToyModel

P = [0.5, 0.25, 0.15, 0.1]


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        # good are 0.5 and 0.25: the larger goes, and the rest is renormalised by 1 / 0.5
        (1, 0.2, [0, 0.5, 0.3, 0.2]),
        (0.5, 0.2, [0.25, 0.375, 0.225, 0.15]),
        (0.1, 0.2, [0.45, 0.275, 0.165, 0.11]),
        # good are three: 0.5 and 0.25 go
        (1, 0.12, [0, 0, 0.6, 0.4]),
        (0.5, 0.12, [0.25, 0.125, 0.375, 0.25]),
        # 0.1 is at least 0.1: only the last one is left
        (1, 0.1, [0, 0, 0, 1]),
        (0.5, 0.1, [0.25, 0.125, 0.075, 0.55]),
        (1, 0, [0, 0, 0, 1]),
        # one good token alone, or none, stays
        (1, 0.3, P),
        (1, 0.5, P),
        (1, 0.9, P),
    ],
)
def test_it_returns_the_mixture_of_the_cut_and_the_uncut(probability, threshold, expected):
    p = drawn_from(Xtc(probability=probability, threshold=threshold), P)
    assert p.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("p", "threshold", "special", "expected"),
    [
        (P, 0.2, (0,), P),  # one good token is left
        (P, 0.12, (1,), [0, 0.5, 0.3, 0.2]),
        (P, 0.12, (2,), [0, 0.5, 0.3, 0.2]),
        (P, 0.12, (3, 99), [0, 0, 0.6, 0.4]),
        ([0.25] * 4, 0.2, (), [0, 0, 0, 1]),  # the last in falling order has the highest id
        ([0.2, 0.4, 0.2, 0.2], 0.2, (), [0, 0, 0, 1]),
        ([0.2, 0.4, 0.2, 0.2], 0.2, (3,), [0, 0, 0.5, 0.5]),
    ],
)
def test_protected_tokens_and_ties(p, threshold, special, expected):
    sampler = Xtc(probability=1, threshold=threshold, special=special)
    assert drawn_from(sampler, p).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_mixture_is_exact_if_the_remaining_tokens_are_nearly_impossible():
    sampler = Xtc(probability=0.25, threshold=0)
    for row in ([0.0, -1e30], [0.0, -800.0], [1e30, -1e30]):
        assert sampling_distribution(sampler, row).tolist() == pytest.approx([0.75, 0.25])
    p = sampling_distribution(Xtc(probability=1, threshold=0), [0.0, -1e30, -INF])
    assert p.tolist() == [0, 1, 0]


def test_the_logits_are_unchanged_if_nothing_is_cut():
    row = np.log([[0.9, 0.05, 0.05]])
    assert np.array_equal(Xtc(probability=0.5)(row, NOWHERE), row)


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        # of the good tokens 2 (the end), 3 (so) and 4 (no) all but the last go, and the protected
        # ones stay: 0.4, 0.4, 0.2 without one of 0.4 is 2/3, 1/3
        ((), [0, 0, 0, 0, 1]),
        (("so",), [0, 0, 0, 2 / 3, 1 / 3]),
        (("end",), [0, 0, 2 / 3, 0, 1 / 3]),
        (("end", "so"), [0, 0, 0.4, 0.4, 0.2]),
        ((2, 3), [0, 0, 0.4, 0.4, 0.2]),
        (("unheard-of",), [0, 0, 0, 0, 1]),
    ],
)
def test_special_tokens_are_words_ids_or_the_end(special, expected):
    context = Context.of([[3]], vocabulary=ToyModel(["so", "no"]).vocabulary)
    with np.errstate(divide="ignore"):
        logits = np.log([[0, 0, 0.4, 0.4, 0.2]])
    result = softmax(Xtc(probability=1, threshold=0.1, special=special)(logits, context))
    assert result[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_newline_is_the_token_of_a_line_break():
    class Lines:
        unknown, ends = None, ()

        def __len__(self):
            return 8

        def encode(self, text):
            assert text == "\n"
            return [7, 1]  # the mark of a space, and the line break

    context = Context.of([[3]], vocabulary=Lines())
    found = Xtc(probability=1, threshold=0.1, special=("newline",))(
        np.log([[0.4, 0.4, 0.2]]), context
    )
    assert softmax(found)[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3])


def test_a_model_without_line_breaks_has_no_newline():
    context = Context.of([[3]], vocabulary=ToyModel(["so", "no"]).vocabulary)
    logits = np.log([[0.4, 0.4, 0.2 / 3, 0.2 / 3, 0.2 / 3]])
    by_name, plain = (Xtc(probability=1, special=special) for special in (("newline",), ()))
    assert np.array_equal(by_name(logits, context), plain(logits, context))


def test_a_special_word_needs_a_vocabulary_and_end_does_not():
    with pytest.raises(UsageError, match="the word 'so' has no id where there is no vocabulary"):
        drawn_from(Xtc(probability=1, special=("so",)), P)
    assert drawn_from(Xtc(probability=1, threshold=0.2, special=("end",)), P)[0] == 0


def plain_mixture(row, probability, threshold):
    """The distribution of a coin and a draw after it, from the definition."""
    p = plain.probabilities(row)
    cut = p.copy()
    good = [i for i in plain.falling_order(row) if p[i] >= threshold * (1 - plain.SLACK)]
    cut[good[:-1]] = 0
    return (1 - probability) * p + probability * cut / cut.sum()


@pytest.mark.parametrize("threshold", [1e-4, 0.01, 0.1])
def test_it_is_the_mixture_of_random_rows(threshold):
    for row in random_rows():
        p = sampling_distribution(Xtc(probability=0.4, threshold=threshold), row)
        eps = 1e-5 if row.dtype == np.float32 else 1e-9
        assert np.allclose(p, plain_mixture(row, 0.4, threshold), rtol=eps, atol=1e-30)


@given(ROWS, SHARES, SHARES)
def test_it_is_the_mixture_on_edges(row, probability, threshold):
    p = sampling_distribution(Xtc(probability=probability, threshold=threshold), row)
    assert np.allclose(p, plain_mixture(row, probability, threshold), rtol=1e-9, atol=1e-30)
