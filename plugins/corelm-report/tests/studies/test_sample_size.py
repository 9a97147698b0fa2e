"""The size of a study: right in simulations, and read from the intervals of a pilot."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.content import Document
from corelm_report.studies.study_output import sample_sizes, texts_needed

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel


def pilot(against="temperature(t=1.0)", n=200):
    report = corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.5)"], prompts="the", n=n, length=8,
        against=against, texts="all", reference=["the cat sat on the mat"],
    )  # fmt: skip
    return Document.from_dict(report.to_dict())


@pytest.mark.parametrize(("deviation", "size", "power"), [(1.0, 0.25, 0.8), (3.0, 0.5, 0.95)])
def test_that_many_texts_find_the_difference_as_often_as_asked(deviation, size, power):
    n = texts_needed(deviation, size, power)
    draws = np.random.default_rng(5).normal(size, deviation, size=(4000, n))
    error = draws.std(axis=1, ddof=1) / np.sqrt(n)
    found = np.mean(np.abs(draws.mean(axis=1)) > 1.96 * error)
    assert found == pytest.approx(power, abs=0.02)


def test_the_deviation_is_that_of_paired_texts():
    document = pilot()
    first, second = (
        np.array([text.figures["rep_2"] for text in entry.texts], dtype=float)
        for entry in document.samplers
    )
    [size] = sample_sizes(document, "rep_2", 0.05, 0.8)
    assert size.sampler == "temperature(t=0.5)"
    assert size.deviation == pytest.approx(np.nanstd(second - first, ddof=1), rel=0.15)
    assert size.texts == texts_needed(size.deviation, 0.05, 0.8)


@pytest.mark.parametrize(
    ("figure", "against", "message"),
    [
        ("rep_2", "human", "differences between samplers, whose texts are pairs: name one"),
        ("zipf", "temperature(t=1.0)", "zipf is a figure of a whole set of texts"),
        ("rep2", "temperature(t=1.0)", "no interval of a difference of 'rep2'.*rep_2"),
    ],
)
def test_what_cannot_be_planned_is_refused(figure, against, message):
    with pytest.raises(UsageError, match=message):
        list(sample_sizes(pilot(against, n=24), figure, 0.1, 0.8))


def test_a_row_of_fewer_texts_is_not_planned():
    """As beam search has, which writes one text for each prompt: they are no pairs."""
    document = pilot(n=24)
    document.samplers[1].generated_texts.n = 12
    with pytest.raises(UsageError, match="no interval of a difference of 'rep_2'"):
        list(sample_sizes(document, "rep_2", 0.1, 0.8))
