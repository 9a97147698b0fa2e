"""The targets of matching: how they are read, how closely met, and the values that are tried."""

from __future__ import annotations

import pytest

from corelm_report.plan.targets import FreeParameter, Target, precision


@pytest.mark.parametrize(
    ("text", "figure", "value", "written"),
    [
        ("entropy=3", "entropy", 3.0, "entropy=3"),
        (" mass_kept = 0.90 ", "mass_kept", 0.9, "mass_kept=0.9"),
        ("mass_kept=1", "mass_kept", 1.0, "mass_kept=1"),
        ("tokens_kept=1.5e3", "tokens_kept", 1500.0, "tokens_kept=1500"),
        ("surprisal=2", "expected_surprisal", 2.0, "expected_surprisal=2"),
        ("surprisal=human", "expected_surprisal", None, "expected_surprisal=human"),
    ],
)
def test_a_target_is_read_and_written(text, figure, value, written):
    target = Target.read(text)
    assert target == Target(figure, value) == Target.read(written)
    assert str(target) == written


@pytest.mark.parametrize(
    ("figure", "value", "words", "expected"),
    [
        ("entropy", 3.0, 100, (0.01, 0.002)),
        ("varentropy", 3.0, 100, (0.01, 0.002)),
        ("mass_kept", 0.9, 100, (0.002, 0.0005)),
        ("tokens_kept", 50.0, 100, (0.5, 0.1)),
        ("tokens_kept", 0.5, 100, (0.01, 0.002)),
        ("human_recall", 0.9, 100, (0.01, 0.0005)),  # one word in a hundred
        ("human_recall", 0.9, 10_000, (0.002, 0.0005)),
    ],
)
def test_how_closely_a_target_is_met(figure, value, words, expected):
    assert precision(figure, value, words) == pytest.approx(expected)


RANGES = """
import corelm

class Ranged(corelm.Sampler):
    free: float = corelm.param(0.0)

    def __call__(self, logits, context):
        return logits

class Below(Ranged):
    free: float = corelm.param(0.0, lt=1)

class Open(Ranged):
    free: float = corelm.param(0.5, gt=0, lt=1)

class Whole(Ranged):
    free: int = corelm.param(3, ge=2, le=6)

@corelm.hookimpl
def corelm_samplers():
    return {cls.name: cls for cls in (Ranged, Below, Open, Whole)}
"""


def test_values_go_from_one_end_of_the_range_to_the_other(installed_plugin):
    names = ("ranged", "below", "open", "whole")
    installed_plugin("corelm-ranges", dict.fromkeys(names, "corelm_ranges"), RANGES)
    for expression, least, most in (
        ("top_p", 0, 1),
        ("temperature", 0, 1e6),
        ("top_k", 0, 1e6),
        ("below", 1 - 1e6, 1 - 1e-3),
        ("open", 1e-6, 1 - 1e-6),
        ("ranged", -1e6, 1e6),
    ):
        values = FreeParameter.of(expression).values()
        assert values == sorted(set(values))
        assert (values[0], values[-1]) == (least, most)
        assert len(values) > 12
    assert FreeParameter.of("whole").values() == [2, 3, 4, 5, 6]


def test_between_two_values():
    p, k = FreeParameter.of("top_p"), FreeParameter.of("top_k")
    assert p.between(0.2, 0.4, 0.25) == pytest.approx(0.25)
    assert p.between(0.4, 0.2, 0.25) == pytest.approx(0.35)
    assert p.between(0.2, 0.2, 0.5) is None
    assert k.between(3, 9, 0.01) == 4
    assert k.between(3, 9, 0.99) == 8
    assert k.between(3, 4, 0.5) is None


def test_shorter_numbers_come_first_and_keep_the_rule():
    p = FreeParameter.of("top_p")
    assert list(p.rounded(0.98765))[:4] == [1.0, 0.99, 0.988, 0.9877]
    assert next(FreeParameter.of("eta").rounded(0.98765)) == 0.99  # 1 is not below 1
    assert list(FreeParameter.of("top_k").rounded(93))[:2] == [90, 93]
