"""Targets of matching, read from text, and how closely they are met."""

from __future__ import annotations

import pytest

from corelm.errors import UsageError
from corelm.reports.plan.targets import Target, precision


@pytest.mark.parametrize(
    ("text", "target", "written"),
    [
        ("entropy=3", Target("entropy", 3.0), "entropy=3"),
        (" mass_kept = 0.90 ", Target("mass_kept", 0.9), "mass_kept=0.9"),
        ("mass_kept=1", Target("mass_kept", 1.0), "mass_kept=1"),
        ("mass_kept=0", Target("mass_kept", 0.0), "mass_kept=0"),
        ("tokens_kept=1.5e3", Target("tokens_kept", 1500.0), "tokens_kept=1500"),
        ("surprisal=2", Target("expected_surprisal", 2.0), "expected_surprisal=2"),
        ("surprisal=human", Target("expected_surprisal", None), "expected_surprisal=human"),
    ],
)
def test_a_target_is_read_and_written(text, target, written):
    assert Target.read(text) == target
    assert str(target) == written
    assert Target.read(written) == target


FORM = "write FIGURE=NUMBER, such as entropy=3 or mass_kept=0.9, or surprisal=human"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entropy", f"cannot read the target 'entropy'; {FORM}"),
        (3, f"cannot read the target 3; {FORM}"),
        ("entropi=3", "'entropi' cannot be matched; did you mean 'entropy'?"),
        ("xyz=3", "'xyz' cannot be matched; the figures are: surprisal, entropy, "),
        ("entropy=3=4", "entropy must be a number or 'human', not '3=4'"),
        ("entropy=-0.1", "entropy must be at least 0, not -0.1"),
        ("entropy=inf", "entropy must be at least 0, not inf"),
        ("entropy=nan", "entropy must be at least 0, not nan"),
        ("mass_kept=1.01", "mass_kept must be between 0 and 1, not 1.01"),
        ("mass_kept=human", "the mass_kept of human text is not known; only surprisal can be "
         "matched to it, and every figure to a number"),
        ("entropy=human", "human text has no entropy under a model, only a surprisal: use "
         "surprisal=human"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text, message):
    with pytest.raises(UsageError) as refused:
        Target.read(text)
    assert str(refused.value).startswith(message)


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
