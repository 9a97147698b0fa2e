"""Intervals of figures of a few short texts, in simulations with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.intervals import IDENTITY, RECIPROCAL, SYMMETRIC
from corelm_report.metrics.text_figures import (
    compression,
    compression_left_out,
    left_out,
    zipf,
    zipf_left_out,
)


def texts(rng, count=8):
    """Short texts of unlike length, of words with frequencies that fall."""
    p = 1 / np.arange(1, 31)
    return [(3 + rng.choice(30, rng.geometric(0.1), p=p / p.sum())).tolist() for _ in range(count)]


def studies(figure, without, count=250):
    """Return the figure of many sets with its error."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        some = texts(rng)
        found.append(Inference.of_names(range(8)).of_left_out(figure(some), without(some)))
    return found


def test_zipf_of_eight_texts_is_held_by_intervals_of_bounded_width():
    found = studies(zipf, zipf_left_out)
    truth, widths = np.mean([each.value for each in found]), {}
    for scale in (SYMMETRIC, IDENTITY):
        ends = np.array([each.interval(scale=scale) for each in found if each.is_decided])
        assert np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) >= 0.93
        widths[scale] = ends[:, 1] - ends[:, 0]
    assert widths[SYMMETRIC].max() < widths[IDENTITY].max() / 1.5


def test_the_p_value_on_a_symmetric_scale_is_below_5_percent_where_the_interval_excludes_0():
    for each in studies(zipf, zipf_left_out, 60):
        moved = each.moved(1.0, each.value - 1.0)
        low, high = moved.interval(scale=SYMMETRIC)
        assert (moved.p_value(SYMMETRIC) < 0.05) == (not low <= 0 <= high)


def test_the_error_of_compression_of_few_short_texts_is_that_of_the_studies():
    """To first order it was a third of that."""

    def words(some):
        return [" ".join(f"w{token}" for token in text) for text in some]

    found = studies(lambda s: compression(words(s)), lambda s: compression_left_out(words(s)))
    variance = np.var([each.value for each in found])
    assert np.mean([each.variance for each in found]) == pytest.approx(variance, rel=0.5)
    truth = np.mean([each.value for each in found])
    ends = filter(None, (each.interval(scale=RECIPROCAL) for each in found))
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.9


def test_a_small_set_is_compressed_again_without_each_text():
    some = ["a good film", "a bad film with a long title", "good"]
    assert compression_left_out(some) == left_out(compression, some)


def test_an_interval_without_an_end_is_none():
    """The reciprocal of a ratio may be 0: then nothing bounds the ratio."""
    values = np.array([1.0, 9.0] * 8)
    found = Inference.of_names(range(16)).estimate((values, np.ones(16)))
    assert found.interval(scale=RECIPROCAL) is not None
    wide = found.moved(3.0, found.value)
    assert wide.interval(scale=IDENTITY) is not None
    assert wide.interval(scale=RECIPROCAL) is None
