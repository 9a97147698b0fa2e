"""`corelm.plot`: the pictures of reports, explanations and texts as figures of matplotlib."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
from pictures import axes_of
from programs import python

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

CHARTS = {"entropy": "entropy-by-position", "frontier": "surprisal-against-diversity"}
CHAIN = "top_k(k=4) | temperature(t=0.5)"


@pytest.fixture(scope="module")
def report():
    names = ["greedy", "temperature(t=0.5)", "top_k(k=2)", "uniform"]
    return corelm.compare(ToyModel(), names, prompts="the", n=4, length=8)


@pytest.fixture(scope="module")
def explained():
    return corelm.explain(ToyModel(), "the", CHAIN)


@pytest.fixture(scope="module")
def generation():
    [text] = corelm.generate(ToyModel(), "the", sampler="stochastic", length=12, seed=1)
    return text


@pytest.fixture
def axes():
    figure, axes = plt.subplots(figsize=(6, 4), dpi=100)
    yield axes
    plt.close(figure)


@pytest.mark.parametrize("name", CHARTS)
def test_a_picture_of_a_report_is_the_reports_own(report, name):
    [own], [axes] = axes_of(report.to_dict(), CHARTS[name]), getattr(corelm.plot, name)(report).axes
    for each, expected in zip(axes.lines, own.lines, strict=True):
        assert each.get_xydata().tolist() == expected.get_xydata().tolist()
        assert each.get_color() == expected.get_color()
    for each, expected in zip(axes.texts, own.texts, strict=True):
        assert each.get_text() == expected.get_text()
        assert (each.get_position(), each.get_fontsize()) == (
            expected.get_position(),
            expected.get_fontsize(),
        )


@pytest.mark.parametrize("name", CHARTS)
def test_a_picture_of_a_report_is_drawn_in_given_axes(report, name, axes):
    draw = getattr(corelm.plot, name)
    alone = draw(report).axes[0]
    assert draw(report, ax=axes) is axes.get_figure()
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        line.get_xydata().tolist() for line in alone.lines
    ]
    assert {text.get_text() for text in axes.texts} == {text.get_text() for text in alone.texts}
    assert (axes.get_figure().dpi, [*axes.get_figure().get_size_inches()]) == (100, [6, 4])
    axes.get_figure().canvas.draw()
    frame = axes.get_figure().bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= frame.width


def test_many_names_take_room_from_given_axes_and_leave_the_figure_as_it_is(axes):
    names = [f"top_k(k={k})" for k in range(1, 13)] + ["greedy", "uniform", "stochastic"]
    many = corelm.compare(ToyModel(), names, prompts="the", n=2, length=4)
    before = axes.get_position().width
    corelm.plot.frontier(many, ax=axes)
    assert axes.get_position().width < before
    assert [*axes.get_figure().get_size_inches()] == [6, 4]


class Raises(corelm.Sampler):
    """Fail always."""

    def __call__(self, logits, context):
        raise ValueError("no")


def test_a_report_without_figures_is_refused():
    failed = corelm.compare(ToyModel(), [Raises()], prompts="the", n=2, length=3)
    with pytest.raises(UsageError, match="no entropies"):
        corelm.plot.entropy(failed)
    with pytest.raises(UsageError, match="no texts"):
        corelm.plot.frontier(failed)


@pytest.mark.parametrize("given", [False, True])
def test_an_explanation_has_a_column_for_each_stage(explained, axes, given):
    figure = corelm.plot.explanation(explained, top=3, ax=axes if given else None)
    axes = figure.axes[0]
    tokens = explained.likeliest(3)
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert words == [one.text.strip() for one in tokens]
    shown = {text.get_text() for text in axes.texts}
    assert shown >= {"model", "top_k 4", *(f"{s.entropy:.2f} nats" for s in explained.stages)}
    widths = [bar.get_width() for bar in axes.patches]
    expected = [p for one in tokens for p in one.probabilities]
    assert widths == pytest.approx([p * widths[0] / expected[0] for p in expected])
    assert max(widths) < 1


def test_the_names_of_stages_do_not_meet():
    chain = " | ".join(["repetition_penalty(penalty=1.25)"] * 3)
    figure = corelm.plot.explanation(corelm.explain(ToyModel(), "the", chain))
    figure.canvas.draw()
    names = [text for text in figure.axes[0].texts if text.get_weight() == "bold"]
    boxes = [name.get_window_extent() for name in names]
    assert len(boxes) == 4
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize("given", [False, True])
def test_a_text_has_a_bar_for_each_token(generation, axes, given):
    figure = corelm.plot.surprisal(generation, ax=axes if given else None)
    [axes] = figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([step.model_surprisal for step in generation.steps])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        step.text.strip() for step in generation.steps
    ]


def test_a_long_text_and_an_impossible_token_are_drawn(generation):
    impossible = generation.steps[0].__class__(3, " x", math.inf, math.inf, 1.0, 1.0)
    long = corelm.Generation("the", 0, 1, "", [3] * 80, "length", [impossible] * 80)
    corelm.plot.surprisal(long).savefig(io.BytesIO(), format="svg")
    with pytest.raises(UsageError, match="no tokens"):
        corelm.plot.surprisal(corelm.Generation("the", 0, 1, "", [], "length", []))


def test_a_notebook_shows_a_picture_without_pyplot(explained):
    assert corelm.plot.explanation(explained)._repr_png_().startswith(b"\x89PNG")


def test_it_is_imported_when_it_is_asked_for_and_says_what_is_missing():
    program = (
        "import sys, corelm\n"
        "assert 'matplotlib' not in sys.modules and 'corelm_pages.plot' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "try:\n    corelm.plot\n"
        "except corelm.CorelmError as error:\n    print(error)\n"
    )
    done = python("-c", program)
    assert 'pip install "corelm[report]"' in done.stdout, done.stderr
