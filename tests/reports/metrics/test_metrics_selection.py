"""Pareto fronts: no other row is better in both figures."""

from __future__ import annotations

import pytest

from corelm.reports.document.content import GeneratedTexts, SamplerEntry, TeacherForced
from corelm.reports.measure.entries import fronts
from corelm.reports.metrics.selection import front


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([], []),
        ([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)], [(0.1, 1.0), (0.9, 3.0)]),
        ([(0.5, 4.0), (0.9, 3.0), (0.1, 1.0)], [(0.1, 1.0), (0.9, 3.0)]),
        ([(0.5, 1.0), (0.9, 1.0)], [(0.9, 1.0)]),  # as small, and larger
        ([(0.5, 1.0), (0.5, 2.0)], [(0.5, 1.0)]),  # as large, and smaller
        ([(0.5, 1.0), (0.5, 1.0)], [(0.5, 1.0)]),
    ],
)
def test_the_front_of_some_points(points, best):
    assert front(points) == best


def row(name, diversity=None, surprisal=None, recall=None, mass=None):
    return SamplerEntry(
        sampler=name,
        generated_texts=GeneratedTexts(figures={"diversity": diversity, "surprisal": surprisal}),
        teacher_forced=TeacherForced(figures={"human_recall": recall, "mass_kept": mass}),
    )


def test_each_pair_of_figures_has_a_front_of_the_rows_that_have_both():
    rows = [row("a", 0.2, 2.0, 0.8, 0.9), row("b", 0.2, 2.0, 0.9, 0.95), row("c", 0.1, 3.0),
            row("d", 0.9), row("e", None, 1.0, 0.7, 0.92)]  # fmt: skip
    assert [each.to_dict() for each in fronts(rows)] == [
        {"view": "generated_texts", "larger": "diversity", "smaller": "surprisal",
         "rows": ["a", "b"]},
        {"view": "teacher_forced", "larger": "human_recall", "smaller": "mass_kept",
         "rows": ["a", "b"]},
    ]  # fmt: skip
    assert fronts([row("d", 0.9)]) == []
