"""Numbers and matched figures as a reader meets them."""

from __future__ import annotations

import pytest
from corelm_report.document.content import MatchedTo, SamplerEntry
from corelm_report.document.numbers import (
    choices,
    interval_of_difference,
    listed,
    margins,
    number,
    per_hundred,
    share,
)
from corelm_report.render.overview import TARGET, in_short, in_words, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00009, "<0.01%"), (0.0001, "0.01%"), (0.0099, "0.99%"), (0.01, "1.0%"),
     (0.999, "99.9%"), (0.9999, "99.9%"), (1, "100%")],
)  # fmt: skip
def test_a_share(value, text):
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (-0.004, "0.00"), (-0.006, "-0.01"), (999.99, "999.99"), (1000, "1,000"),
     (-1234.5, "-1,234"), (999999, "999,999"), (1e6, "1e+06"), (-2e6, "-2e+06")],
)  # fmt: skip
def test_a_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("names", "text"), [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")]
)
def test_a_list_of_names(names, text):
    assert listed(list(names)) == text


@pytest.mark.parametrize(
    ("figure", "value", "words", "short"),
    [
        ("entropy", 3, "a mean entropy of 3.00 nats", "entropy 3.00"),
        ("kl_to_model", 0.1, "a mean KL divergence from the model of 0.10 nats",
         "kl to model 0.10"),
        ("jensen_shannon", 0.0123, "a mean Jensen-Shannon divergence of 0.0123 nats",
         "jensen shannon 0.0123"),
        ("expected_surprisal", 0, "a mean surprisal of 0.00 nats", "surprisal 0.00"),
        ("varentropy", 2.5, "a mean varentropy of 2.50 nats squared", "varentropy 2.50"),
        ("mass_kept", 0.9, "a mean mass kept of 90.0%", "mass kept 90.0%"),
        ("tokens_kept", 12, "a mean number of tokens kept of 12.00", "tokens kept 12.00"),
        ("mine:new", 0.5, "a mine:new of 0.50", "mine:new 0.50"),
    ],
)  # fmt: skip
def test_a_matched_figure(figure, value, words, short):
    assert in_words(figure, value) == words
    assert in_short(MatchedTo(open="", figure=figure, asked="", target=value)) == short


def test_a_sampler_that_was_not_matched():
    assert text_of(TARGET, SamplerEntry(sampler="greedy")) == ""


@pytest.mark.parametrize(
    ("form", "value", "ends", "texts"),
    [
        (number, 4.17, (4.09, 4.26), ("±0.09",)),  # the farther end
        (number, 4.17, (4.09, 4.40), ("+0.23", "\N{MINUS SIGN}0.08")),
        (number, 4.17, (4.17, 4.17), ("±0",)),
        (number, 4.17, (4.2, 4.4), ("4.20\N{EN DASH}4.40",)),  # outside
        (number, 1234.0, (1134.0, 1334.0), ("±100",)),
        (share, 0.5, (0.4, 0.6), ("±10.0",)),
        (share, 0.0031, (0.0011, 0.0051), ("±0.20",)),
        (share, 0.0031, (0.0, 0.057), ("+5.4", "\N{MINUS SIGN}0.3")),
        (share, 1.0, (0.9, 1.0), ("\N{MINUS SIGN}10.0",)),
        (share, -0.25, (-0.35, -0.15), ("±10.0",)),
        (per_hundred, 0.01, (0.005, 0.015), ("±0.50",)),
        (choices, 1.0, (0.9, 1.2), ("+0.6", "\N{MINUS SIGN}0.3")),
    ],
)
def test_an_interval_as_distances_from_its_value(form, value, ends, texts):
    assert margins(form, value, *ends) == texts


def test_the_interval_of_a_difference_of_shares_is_in_percentage_points():
    assert interval_of_difference(share, -0.2452, -0.2367) == (
        "\N{MINUS SIGN}24.5 to \N{MINUS SIGN}23.7 pp"
    )
    assert interval_of_difference(share, 0.1, 0.2) == "10.0\N{EN DASH}20.0 pp"
    assert interval_of_difference(number, 0.1, 0.2) == "0.10\N{EN DASH}0.20"
