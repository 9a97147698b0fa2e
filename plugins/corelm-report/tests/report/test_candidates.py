"""Expressions that stand for several settings of a sampler."""

from __future__ import annotations

import pytest

import corelm
from corelm.errors import ExpressionError, UsageError
from corelm_report.plan.candidates import numbers_of, points_of


@pytest.mark.parametrize(
    ("expression", "settings"),
    [
        ("temperature(t=0.1..0.4/4)", ["temperature(t=0.1)", "temperature(t=0.2)",
                                       "temperature(t=0.3)", "temperature(t=0.4)"]),
        ("temperature(t=2..1/3)", ["temperature(t=2)", "temperature(t=1.5)", "temperature(t=1)"]),
        ("top_k(k=10..50/3)", ["top_k(k=10)", "top_k(k=30)", "top_k(k=50)"]),
        ("top_k(k=1..3)", ["top_k(k=1)", "top_k(k=2)", "top_k(k=3)"]),
        ("min_p(p=1e-4..3e-4/2)", ["min_p(p=0.0001)", "min_p(p=0.0003)"]),
        ("top_p(p=0.5, 0.8,0.9)", ["top_p(p=0.5)", "top_p(p=0.8)", "top_p(p=0.9)"]),
        ("top_p(p=0.5,0.8..0.9/2,)", ["top_p(p=0.5)", "top_p(p=0.8)", "top_p(p=0.9)"]),
        ("mirostat(tau=2,3, eta=0.1)", ["mirostat(tau=2, eta=0.1)", "mirostat(tau=3, eta=0.1)"]),
        ("mirostat(3, eta=0.1,0.2)", ["mirostat(3, eta=0.1)", "mirostat(3, eta=0.2)"]),
        ('ban(tokens=["a, b"], ["1..2"])', ['ban(tokens=["a, b"])', 'ban(tokens=["1..2"])']),
        ("f(inside=top_k(k=1,2) | greedy)", ["f(inside=top_k(k=1) | greedy)",
                                             "f(inside=top_k(k=2) | greedy)"]),
        ("f(inside=greedy, top_k(k=1,2))", ["f(inside=greedy)", "f(inside=top_k(k=1))",
                                            "f(inside=top_k(k=2))"]),
        ("top_k(k=1,2) | temperature(t=3,4)", [
            "top_k(k=1) | temperature(t=3)", "top_k(k=1) | temperature(t=4)",
            "top_k(k=2) | temperature(t=3)", "top_k(k=2) | temperature(t=4)"]),
    ],
)  # fmt: skip
def test_every_setting_of_a_sweep(expression, settings):
    assert [each.expression for each in points_of(expression)] == settings


def test_both_ends_and_the_values_between_are_exact():
    found = points_of("temperature(t=0.1..2.0/20)")
    t = [corelm.sampler(each.expression).t for each in found]
    assert t == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
        1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.7..0.8/4", ["0.7", "0.733333", "0.766667", "0.8"]),
        ("0..1/4", ["0", "0.333333", "0.666667", "1"]),
        ("0.123456789..0.2/2", ["0.123456789", "0.2"]),
        ("1e-9..4e-9/4", ["1e-09", "2e-09", "3e-09", "4e-09"]),
        ("1.0000001..1.0000002/3", ["1.0000001", "1.00000015", "1.0000002"]),
    ],
)
def test_numbers_between_the_ends_are_short_where_that_keeps_them_apart(text, numbers):
    assert numbers_of(text) == numbers


@pytest.mark.parametrize(
    "expression",
    [
        "temperature", " top_p(0.9)", "top_k( 40, )", 'ban(["1..2", "a, b"])', "no sampler (",
        "top_p(p=0.9) | temperature(t=.5)", f"a{'(a=b' * 20}{')' * 20}", "t" * 10_001,
    ],
)  # fmt: skip
def test_an_expression_without_a_sweep_is_one_setting_as_it_was_written(expression):
    [point] = points_of(expression)
    assert (point.expression, point.sweep) == (expression.strip(), None)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("temperature(t=0.1..2.0)", "cannot read the range '0.1..2.0'; write first..last/count"),
        ("temperature(t=0..inf/3)", "cannot read the range '0..inf/3'"),
        ("temperature(t=0..1e999999999/3)", "cannot read the range"),
        ("temperature(t=0..1/1)", "a range has at least 2 values, not '0..1/1'"),
        ("temperature(t=0..1/0)", "a range has at least 2 values"),
        ("temperature(0.1..2.0/20)", "'0.1..2.0/20' has no name before it; write a sweep behind"),
        ("top_k(k=1..1000000000000)", "has 1,000,000,000,000 values; give at most 1,000"),
        ("temperature(t=0..1/999999999)", "has 999,999,999 values; give at most 1,000"),
        ("top_k(k=1..40) | temperature(t=0..1/40)", "has 1,600 values; give at most 1,000"),
    ],
)
def test_a_sweep_that_cannot_be_read(expression, says):
    with pytest.raises(ExpressionError) as caught:
        points_of(expression)
    assert says in str(caught.value)


def test_the_largest_sweep():
    assert len(points_of("top_k(k=1..1000)")) == 1000


def test_lists_of_numbers():
    assert numbers_of("1..3,7, x") == ["1", "2", "3", "7", "x"]
    assert numbers_of("3..1") == ["3", "2", "1"]
    assert numbers_of("5..5") == ["5"]


@pytest.mark.parametrize(("deep", "settings"), [(16, 2), (17, 1), (1000, 1)])
def test_what_nests_too_deeply_is_left_to_the_reader_of_samplers(deep, settings):
    found = points_of("f(a=" * deep + "top_k(k=1,2)" + ")" * deep)
    assert len(found) == settings


def test_two_classes_of_one_name_are_refused():
    """As after a cell of a notebook was changed and run twice."""

    def halved(by):
        class Halved(corelm.Sampler):
            def __call__(self, logits, context):
                return logits / by

        return Halved()

    with pytest.raises(UsageError, match="two different classes are called halved"):
        corelm.compare("imdb", [halved(2), halved(3)], n=1, length=1)
