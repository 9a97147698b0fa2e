"""The text of a cell, by examples."""

from __future__ import annotations

import math

import pytest
from corelm_report.document.numbers import (
    DASH,
    MINUS,
    choices,
    count,
    in_bits,
    interval,
    number,
    per_hundred,
    share,
    signed,
)


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
