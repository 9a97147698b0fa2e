"""Colours that tell samplers apart, and an axis of surprisal that points up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from corelm_report.document.content import EntropySummary, SamplerEntry, TeacherForced
from corelm_report.document.lookup import value
from corelm_report.render import curves
from corelm_report.render.canvas import HUMAN
from corelm_report.render.charts import charts
from corelm_report.render.curves import surprisal_against_diversity
from documents import typed


def entries(count):
    return [
        (f"sampler {i}", SamplerEntry(
            sampler=f"sampler {i}",
            teacher_forced=TeacherForced(entropy=EntropySummary(mean=float(i))),
        ))
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [2, 5, 6, 7, 12, 20])
def test_neighbours_in_entropy_have_colours_that_differ(count):
    """As top_p and typical are, of eight samplers."""
    found = list(curves._colours(entries(count)).values())
    assert all(first != second for first, second in pairwise(found))


def test_few_samplers_are_spread_over_the_colours():
    found = list(curves._colours(entries(2)).values())
    assert found == [curves.LINES[0], curves.LINES[3]]


def test_the_axis_of_surprisal_points_up_with_human_text_at_its_value(document):
    report = typed(document)
    [axes] = surprisal_against_diversity(report).axes
    low, high = axes.get_ylim()
    assert low < high
    [mark] = [line for line in axes.lines if line.get_marker() == "D"]
    assert mark.get_color() == HUMAN
    assert mark.get_ydata()[0] == value(report.human, "surprisal", "generated_texts")
    assert "surprisal" in axes.get_ylabel()
    [chart] = [each for each in charts(report) if each.name == "surprisal-against-diversity"]
    assert chart.caption.startswith("Texts further down are more likely to the model")
