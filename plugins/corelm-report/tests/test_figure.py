"""The text of numbers, cells and matched figures, by examples and as a reader meets them."""

from __future__ import annotations

import math

import pytest
from corelm_report.document.content import MatchedTo, SamplerEntry
from corelm_report.document.figure import (
    DASH,
    MINUS,
    choices,
    count,
    in_bits,
    interval,
    interval_of_difference,
    listed,
    margins,
    number,
    per_hundred,
    share,
    signed,
)
from corelm_report.render.overview import TARGET, in_short, in_words, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.0, "3"), (3.25, "3.2"), (99.96, "100.0"), (100.4, "100"), (1234.5, "1,234"),
     (999999.0, "999,999"), (1e6, "1e+06")],
)  # fmt: skip
def test_a_number_of_things(value, text):
    assert count(value) == text


def test_nats_as_bits_as_choices_and_over_a_hundred_tokens():
    assert in_bits(math.log(8)) == "3.00"
    assert choices(math.log(3.25)) == "3.2"
    assert choices(1e308) == "1e+304"
    assert per_hundred(-0.0123) == "-1.23"


@pytest.mark.parametrize(
    ("form", "low", "high", "text"),
    [
        (number, 1.0, 1.001, ""),
        (number, 0.5, 1.5, f"0.50{DASH}1.50"),
        (number, -1.0, 1.0, f"{MINUS}1.00 to 1.00"),
        (number, -2.0, -1.0, f"{MINUS}2.00 to {MINUS}1.00"),
        (share, 0.25, 0.5, f"25.0{DASH}50.0%"),
        (share, 0.0, 0.5, f"0{DASH}50.0%"),
        (share, 0.0, 0.0, ""),
    ],
)
def test_an_interval(form, low, high, text):
    assert interval(form, low, high) == text


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (number, 0.5, "+0.50"),
        (number, -0.5, f"{MINUS}0.50"),
        (number, 0.001, "0.00"),
        (share, 0.25, "+25.0 pp"),
        (share, -0.25, f"{MINUS}25.0 pp"),
        (share, -0.00001, "<0.01 pp"),
        (share, 0.0, "0"),
    ],
)
def test_a_difference_has_its_sign(form, value, text):
    assert signed(form, value) == text
    assert signed(form, value, minus="-") == text.replace(MINUS, "-")


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
