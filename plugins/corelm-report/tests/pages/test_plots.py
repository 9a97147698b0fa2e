"""The plots of a report show the figures of its document."""

from __future__ import annotations

import copy
import io
import json
import re
import textwrap
import zlib
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from documents import NOTHING, hostile, report_of
from pictures import axes_of, chart_of, marks, names_of
from PIL import Image
from programs import python

import corelm
from corelm.testing import ToyModel
from corelm_pages.labels import leaders
from corelm_pages.placement import Box, pieces, shared

Document = dict[str, Any]
NAMES = (
    "surprisal-against-temperature",
    "surprisal-against-diversity",
    "recall-against-mass-kept",
    "entropy-by-position",
    "mass-kept-by-position",
)

EMPTY_CURVE: Document = {"t": [], "entropy": [], "slope": [], "surprisal": []}


@pytest.fixture
def drawn(document: Document):
    """A function that draws one plot of the document."""

    return lambda name: axes_of(document, name)[0]


def figures(document: Document, sampler: str) -> Document:
    return next(row for row in document["samplers"] if row["sampler"] == sampler)["teacher_forced"]


@pytest.fixture
def plotted(run, tmp_path):
    """A function that writes the plots of a document, and returns their bytes by name."""

    def plot(document: Document, folder: str = "plots") -> dict[str, bytes]:
        (tmp_path / "report.json").write_text(json.dumps(document))
        words = ("--from", str(tmp_path / "report.json"), "--plots", str(tmp_path / folder))
        assert run("report", *words).code == 3  # since one of its samplers failed
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    return plot


@pytest.mark.slow
def test_the_files_are_pictures_for_a_paper(document, plotted):
    """A PDF fits into a column of 3.3 inches as it is, and a PNG has the size of half a page.

    Settings of matplotlib change no byte, and are not changed.
    """
    files = plotted(document)
    assert set(files) == {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")}
    for name, content in files.items():
        begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
        assert content.startswith(begins[name[-3:]]), name
        assert b"/Type3" not in content  # journals want the letters as TrueType
        assert b"date" not in content.lower()
    for name in NAMES:
        width = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", files[f"{name}.pdf"])
        assert float(width[1]) == pytest.approx(3.3 * 72, abs=1), name
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", files[f"{name}.pdf"], re.DOTALL)
        drawn = b"".join(zlib.decompress(each) for each in streams if each[:1] == b"x")
        sizes = {float(size) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", drawn)}
        assert 7 < min(sizes) <= max(sizes) < 8, name
    picture = Image.open(io.BytesIO(files["mass-kept-by-position.png"]))
    assert picture.size == pytest.approx((1320, 990), abs=1)  # versions of matplotlib round it
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.grid": True}):
        before = dict(mpl.rcParams)
        assert plotted(document, "again") == files
        assert dict(mpl.rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["nonsense", "module://not_installed.backend", ""])
def test_the_backend_of_the_environment_is_left_alone(backend, document, tmp_path):
    """Even one that matplotlib does not have."""
    (tmp_path / "report.json").write_text(json.dumps(document))
    program = """
        import os
        import corelm
        report = corelm.Report.read("report.json")
        corelm.plot.frontier(report).savefig(os.devnull, format="png")
        print(os.environ["MPLBACKEND"])
        """
    environment = {"MPLBACKEND": backend}
    done = python("-c", textwrap.dedent(program), cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, backend), done.stderr


def test_every_sampler_has_its_mark_on_the_curve(document, drawn):
    found = marks(drawn("surprisal-against-temperature"))
    assert list(found) == ["greedy", "t = 0.5", "uniform"]
    assert found["greedy"] == (0, figures(document, "greedy")["expected_surprisal"])
    t, nats = found["t = 0.5"]
    assert t == 0.5
    assert nats == figures(document, "temperature(t=0.5)")["expected_surprisal"]
    curve = document["curve"]
    assert np.interp(0.5, curve["t"], curve["surprisal"]) == pytest.approx(nats, abs=1e-6)


def test_other_samplers_lie_where_the_curve_has_their_surprisal(document, drawn):
    row = next(row for row in document["samplers"] if row["sampler"] == "greedy")
    row["teacher_forced"]["expected_surprisal"] = document["curve"]["surprisal"][4]
    t, nats = marks(drawn("surprisal-against-temperature"))["greedy"]
    assert (t, nats) == (document["curve"]["t"][4], document["curve"]["surprisal"][4])


class Heat(corelm.Sampler):
    """A temperature that corelm does not know."""

    kind = "temperature"
    neutral = {"heat": 1.0}

    heat: float = corelm.param(1.0, "softmax temperature", gt=0)

    def __call__(self, logits, context):
        return logits / self.heat


class Halved(corelm.Sampler):
    """A temperature of half its parameter."""

    kind = "temperature"
    neutral = {"double": 1.0}

    double: float = corelm.param(2.0, "twice the softmax temperature", gt=0)

    def __call__(self, logits, context):
        return logits / (self.double / 2)


class Keep(corelm.Sampler):
    """A filter that corelm does not know: keep the n likeliest tokens."""

    kind = "filter"
    neutral = {"n": 0}

    n: int = corelm.param(2, "tokens to keep", ge=1)

    def __call__(self, logits, context):
        kth = np.sort(logits, axis=-1)[:, [-self.n]]
        return np.where(logits >= kth, logits, -np.inf).astype(logits.dtype)


@pytest.fixture(scope="module")
def strange():
    """A report of samplers that belong to no plugin."""
    samplers = [Heat(heat=0.33), Heat(heat=40.0), Halved(double=0.8), Keep(), Keep() | Heat(heat=2)]
    return corelm.compare(ToyModel(), samplers, prompts="the", n=2, length=8).to_dict()


def test_a_plugins_temperature_lies_on_the_curve_at_its_value(strange):
    assert [row["temperature"] for row in strange["samplers"]] == [0.33, 40.0, 0.4, None, None]
    assert 0.33 in strange["curve"]["t"]
    axes = axes_of(strange, "surprisal-against-temperature")[0]
    found = marks(axes)
    temperatures = ["heat = 0.33", "heat = 40.0", "double = 0.8"]
    assert list(found) == [*temperatures, "keep 2", "keep 2 | heat = 2.0"]
    assert found["heat = 0.33"][0] == 0.33
    assert found["heat = 40.0"][0] == axes.get_xlim()[1]
    # It halves its parameter, so its temperature is 0.4.
    assert found["double = 0.8"][0] == pytest.approx(0.4, abs=1e-3)


def test_a_plugins_filter_has_its_label_and_its_colour(strange):
    axes = axes_of(strange, "mass-kept-by-position")[0]
    names = [text.get_text() for text in axes.texts]
    assert names == ["keep 2", "keep 2 | heat = 2.0", "all others"]
    colours = [line.get_color() for line in axes.lines]
    assert len(set(colours)) == 3


def test_a_sampler_above_the_curve_is_at_its_right_end(document, drawn):
    axes = drawn("surprisal-against-temperature")
    nats = figures(document, "uniform")["expected_surprisal"]
    assert marks(axes)["uniform"] == (axes.get_xlim()[1], nats)
    assert [line.get_marker() for line in axes.lines].count(">") == 1


def test_the_human_level_and_its_band_are_drawn_and_named(document, drawn):
    axes = drawn("surprisal-against-temperature")
    fit = document["reference"]["temperature"]
    level = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert fit["surprisal"] in level
    [band] = axes.patches
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx(fit["ci95"])
    written = " ".join(text.get_text() for text in axes.texts)
    assert f"human words (t = {fit['t']:.2f})" in written
    assert axes.get_ylim()[0] == 0


def test_quality_and_diversity_of_every_sampler_and_of_people(document, drawn):
    axes = drawn("surprisal-against-diversity")
    places = marks(axes)
    human, *rows = document["reference"], *document["samplers"][:3]
    names = ["human text", "greedy", "t = 0.5", "uniform"]
    for name, row in zip(names, (human, *rows), strict=True):
        own = row["generated_texts"]
        assert places[name] == (own["diversity"], own["surprisal"])
    low, high = axes.get_ylim()
    assert low < high
    assert "surprisal" in axes.get_ylabel()
    caption = chart_of(document, "surprisal-against-diversity").caption
    assert caption.startswith("Texts further down are more likely to the model")


@pytest.mark.parametrize("count", [2, 5, 6, 7, 12, 20])
def test_neighbours_in_entropy_have_colours_that_differ(document, count):
    row = document["samplers"][1]
    document["samplers"] = []
    for i in range(count):
        copied = copy.deepcopy(row) | {"sampler": f"sampler {i}"}
        copied["teacher_forced"]["entropy"]["mean"] = float(i)
        document["samplers"].append(copied)
    [axes] = axes_of(document, "entropy-by-position")
    colours = [line.get_color() for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(colours) == min(count, 12)  # more can't be told apart
    assert {"sampler 0", f"sampler {count - 1}"} <= {text.get_text() for text in axes.texts}
    assert ("At most 12 samplers are drawn" in report_of(document).to_html()) == (count > 12)
    assert all(first != second for first, second in pairwise(colours))


def test_lines_by_position_are_those_of_the_document(document, drawn):
    axes = drawn("entropy-by-position")
    lines = [line for line in axes.lines if len(line.get_xydata()) > 2]
    rows = [row for row in document["samplers"] if row["error"] is None]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        places = row["teacher_forced"]["by_position"]
        assert line.get_xdata().tolist() == [place["position"] + 1 for place in places]
        assert line.get_ydata().tolist() == [place["entropy"] for place in places]


def test_samplers_that_keep_all_mass_share_one_line(drawn):
    axes = drawn("mass-kept-by-position")
    assert [text.get_text() for text in axes.texts] == ["greedy", "all others"]
    assert axes.lines[1].get_ydata().min() > 0.9995 > axes.lines[0].get_ydata().max()


@pytest.fixture(scope="module")
def kinds(made: Document) -> dict[str, Document]:
    """Reports of default, matched, swept and crowded samplers, and one without human texts."""
    asked: dict[str, Any] = {"prompts": "the", "n": 8, "length": 8}
    people = asked | {
        "reference": [
            "the cat sat on the mat",
            "a dog ran",
            "the dog sat",
            "the cat ran",
            "the mat sat",
            "a cat saw the dog",
            "the dog ran to the mat",
            "a mat",
            "the dog saw a cat",
        ]
    }
    steps = [round(0.05 * i, 2) for i in range(1, 21)]
    found = {
        "default": corelm.compare(ToyModel(), **people),
        "matched": corelm.compare(ToyModel(), match="entropy=1", **people),
        "swept": corelm.compare(ToyModel(), [f"temperature(t={t})" for t in steps], **people),
        "twenty": corelm.compare(ToyModel(), [f"top_p(p={p})" for p in steps], **people),
        "machine's": corelm.compare(ToyModel(), ["greedy"], **asked),
    }
    documents = {name: report.to_dict() for name, report in found.items()}
    for row in documents["swept"]["samplers"]:
        row["sweep"] = "temperature(t=0.05..1.0/20)"
    return {"made": made, "one place": one_place(made), **documents}


def one_place(document: Document) -> Document:
    """A report of many samplers that have the same figures."""
    greedy, half, uniform, _ = copy.deepcopy(document["samplers"])
    rows = [copy.deepcopy(half) for _ in range(6)]
    for number, row in enumerate(rows):
        row["sampler"], row["name"] = f"top_k(k={number})", "top_k"
        row["teacher_forced"]["mass_kept"] = 0.5
    return copy.deepcopy(document) | {"samplers": [greedy, half, uniform, *rows]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["made", "one place", "default", "matched", "swept", "twenty"])
def test_no_label_lies_on_a_line_a_mark_or_another_label(kinds, kind):
    document = kinds[kind]
    drawn = names_of(document)
    assert len(drawn) >= 4
    for name in drawn:
        for axes in axes_of(document, name):
            figure = axes.figure
            figure.draw_without_rendering()
            texts = [_letters(text) for text in [*axes.texts, *_ticks(axes)] if _shown(text)]
            frame = Box(*axes.get_window_extent().extents)
            lines = [piece for line in axes.lines for piece in _line(line, frame)]
            alone = shared(texts, texts) - [shared([text], [text])[0] for text in texts]
            assert alone.max(initial=0) < 1e-6, name
            assert not shared(texts, lines).any(), name
            page = Box(0, 0, *figure.bbox.size)
            assert all(_inside(text, page) for text in texts), name


def _shown(text) -> bool:
    return bool(text.get_text()) and text.get_visible()


def _ticks(axes) -> list[Any]:
    """The numbers at the axes, and the names of the axes."""
    axes.figure.draw_without_rendering()
    numbers = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    inside = [text for text in numbers if axes.get_window_extent().contains(*_middle(text))]
    assert not inside
    return [axes.xaxis.label, axes.yaxis.label]


def _middle(text) -> tuple[float, float]:
    x0, y0, x1, y1 = _extents(text)
    return (x0 + x1) / 2, (y0 + y1) / 2


def _letters(text) -> Box:
    """The part of a label that its letters fill: of the height, about two thirds."""
    x0, y0, x1, y1 = _extents(text)
    return Box(x0, y0 + 2, x1, y1 - 2)


def _line(line, frame: Box) -> list[Box]:
    """The visible part of a line, in pieces."""
    points = line.get_transform().transform(line.get_xydata()).tolist()
    if len(points) == 1:
        return pieces(points, 4, 4)
    found = pieces(points, 8, 0.5)
    return [piece for piece, area in zip(found, shared(found, [frame]), strict=True) if area > 0]


def _inside(text: Box, page: Box) -> bool:
    return text.left >= page.left and text.right <= page.right and text.top <= page.top + 2


def _extents(text) -> tuple[float, float, float, float]:
    text.get_window_extent()  # puts it where it belongs, and measures the line to its mark too
    box = mpl.text.Text.get_window_extent(text)
    return box.x0, box.y0, box.x1, box.y1


def test_human_text_has_the_cross_of_its_intervals(document):
    """The error of few human texts is as much a part of the picture as the samplers'."""
    texts = document["reference"]["generated_texts"]
    texts["ci95"] |= {"surprisal": [1.0, 1.5], "diversity": [0.8, 0.9]}
    [axes] = axes_of(document, "surprisal-against-diversity")
    lines = [sorted(line.get_xdata()) + sorted(line.get_ydata()) for line in axes.lines]
    x, y = texts["diversity"], texts["surprisal"]
    assert [0.8, 0.9, y, y] in lines
    assert [x, x, 1.0, 1.5] in lines


@pytest.mark.parametrize("ends", [(0.9435, 0.9586), (0.9451, 0.9717), (0.9612, 0.9698)])
def test_a_narrow_panel_has_a_scale(kinds, ends):
    """One tick alone says nothing of the distance between two dots."""
    document = copy.deepcopy(kinds["matched"])
    for i, row in enumerate([document["reference"], *document["samplers"]]):
        if own := row["generated_texts"]:
            own["diversity"] = ends[i % 2]
            own["ci95"]["diversity"] = None
    axes = axes_of(document, "matched-samplers")[1]
    assert axes.get_xlabel() == "diversity"
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2


@pytest.mark.slow
def test_matched_samplers_have_a_dot_for_each_figure_first(kinds):
    document = kinds["matched"]
    assert names_of(document)[0] == "matched-samplers"
    panels = axes_of(document, "matched-samplers")
    assert [axes.get_xlabel() for axes in panels] == [
        "surprisal (nats)", "diversity", "self-BLEU-4", "mass kept",
    ]  # fmt: skip
    names = [text.get_text() for text in panels[0].get_yticklabels()]
    assert names[0] == "human text"
    assert len(names) == 1 + len([row for row in document["samplers"] if not row["error"]])
    for axes, metric in zip(panels[:3], ("surprisal", "diversity", "self_bleu_4"), strict=True):
        rows = [row["generated_texts"] for row in document["samplers"] if not row["error"]]
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in dots] == [row[metric] for row in rows]
        known = [tuple(row["ci95"][metric]) for row in rows if row["ci95"][metric]]
        assert all(axes.get_xlim()[0] < low for low, _ in known)
        ends = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
        assert set(known) <= set(ends)


@pytest.mark.slow
def test_the_curve_of_matched_samplers_shows_the_part_around_them(kinds):
    document = kinds["matched"]
    axes = axes_of(document, "surprisal-against-temperature")[0]
    low, high = axes.get_xlim()
    places = [x for x, _ in marks(axes).values()]
    assert low <= min(places) <= max(places) <= high
    whole = axes_of(kinds["default"], "surprisal-against-temperature")[0]
    assert high - low < whole.get_xlim()[1] / 2


def test_a_sweep_has_a_line_for_each_figure_first_and_names_only_at_its_ends(kinds):
    document = kinds["swept"]
    assert names_of(document)[0] == "figures-of-sweeps"
    rows = document["samplers"]
    panels = axes_of(document, "figures-of-sweeps")
    assert len(panels) == 3
    for axes, (view, metric) in zip(
        panels,
        [("teacher_forced", "entropy"), ("generated_texts", "surprisal"),
         ("generated_texts", "diversity")],
        strict=True,
    ):  # fmt: skip
        [line] = [line for line in axes.lines if len(line.get_xdata()) > 2]
        assert line.get_xdata().tolist() == [row["params"]["t"] for row in rows]
        figures = [row[view][metric] for row in rows]
        means = [each["mean"] if isinstance(each, dict) else each for each in figures]
        assert line.get_ydata().tolist() == means
    axes = axes_of(document, "surprisal-against-diversity")[0]
    named = {text.get_text() for text in axes.texts}
    assert named == {"t = 0.05", "t = 1.0", "human text"}
    assert len([line for line in axes.lines if line.get_marker() == "o"]) == 20


def test_sweeps_of_other_parameters_have_columns_and_of_the_same_share_one(kinds):
    document = copy.deepcopy(kinds["twenty"])
    for number, row in enumerate(document["samplers"]):
        row["sweep"] = f"top_p(p=...) {number % 2}"
    panels = axes_of(document, "figures-of-sweeps")
    assert len(panels) == 3
    assert [len(line.get_xdata()) for line in panels[0].lines].count(10) == 2
    for row in document["samplers"][:6]:
        row.update(sweep="k", stages=[{"name": "k", "params": {"k": row["params"]["p"] * 20}}])
    panels = axes_of(document, "figures-of-sweeps")
    assert [axes.get_xlabel() for axes in panels[4:]] == ["k", "p"]
    document["samplers"][0]["stages"][0]["params"]["other"] = 3  # two parameters differ
    assert len(axes_of(document, "figures-of-sweeps")) == 3


def test_recall_is_drawn_against_mass_kept_where_people_wrote_the_contexts(kinds):
    document = kinds["twenty"]
    axes = axes_of(document, "recall-against-mass-kept")[0]
    points = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"]
    rows = [row["teacher_forced"] for row in document["samplers"]]
    assert set(points) == {(row["mass_kept"], row["human_recall"]) for row in rows}
    assert [line for line in axes.lines if np.array_equal(line.get_xdata(), line.get_ydata())]
    positions = document["header"]["contexts"]["positions"]
    assert f"words at {positions} positions" in axes.get_ylabel()
    ends = [tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 2]
    known = [row["ci95"]["human_recall"] for row in rows if row["ci95"]["human_recall"]]
    assert known
    assert all(tuple(interval) in ends for interval in known)
    assert "recall-against-mass-kept" not in names_of(kinds["machine's"])


@pytest.mark.slow
def test_a_document_without_figures_has_no_empty_charts(document):
    for row in document["samplers"]:
        row.update(teacher_forced=None, generated_texts=None)
    empty = document | {"reference": None, "curve": EMPTY_CURVE}
    corelm.Report(empty)
    assert names_of(empty) == names_of(empty | {"samplers": []}) == []
    target = {"figure": "entropy", "asked": "1", "target": 1.0}
    assert names_of(empty | {"header": empty["header"] | {"matched": [target]}}) == []


@pytest.mark.slow
def test_a_name_is_neither_formula_nor_markup(document, plotted):
    files = plotted(hostile(document))
    assert files["entropy-by-position.png"].startswith(b"\x89PNG")
    for name, content in files.items():
        if name.endswith(".svg"):
            assert b"<script" not in content
            assert b"<img" not in content


@pytest.mark.slow
def test_drawings_in_a_page_take_its_colours_and_letters_and_share_no_id(document):
    page = report_of(document).to_html()
    svgs = re.findall("<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) == 5
    assert "breaks" not in "".join(svgs).lower()  # a failed sampler is not drawn
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for svg in svgs:
        assert svg.startswith('<svg viewBox="0 0 440 ')
        assert "var(--ink)" in svg
        assert not re.search("#[0-9a-f]{6}|DejaVu|<style|<metadata|xmlns|http", svg)
        for used in re.findall(r'(?:href="|url\()#([\w-]+)', svg):
            assert f'id="{used}"' in svg


def test_labels_are_short_and_different(document, drawn):
    row = document["samplers"][1]
    names = ["top_k(k=40) | temperature(t=0.7)", "logit_bias(bias={'movie': 2.0, 'film': 3.0})",
             *(f"ban(words=('{word}', 'and some more'))" for word in "aab")]  # fmt: skip
    document["samplers"] = [row | {"sampler": name, "stages": []} for name in names]
    for i, each in enumerate(document["samplers"]):
        each["generated_texts"] = each["generated_texts"] | {"diversity": 0.1 * i}
    labels = list(marks(drawn("surprisal-against-diversity")))[:-1]
    assert len(set(labels)) == 5
    assert labels[:2] == ["top_k 40 | temperature …", "logit_bias(bias={'movie…"]


def test_no_line_to_a_name_crosses_the_line_down_from_the_human_level():
    """Five marks next to each other on both sides of it: their names are in the margin."""
    matched = {"figure": "human_recall", "target": 0.95, "asked": "human_recall=0.95"}
    at = (0.81, 0.82, 0.83, 0.835, 0.85)
    samplers = [
        {"sampler": f"top_p(p={t})", "teacher_forced": {"n": 9, "expected_surprisal": 10 * t}}
        for t in at
    ]
    document = {
        "reference": {"name": "human", "temperature": {"surprisal": 8.36, "t": 0.836}},
        "curve": {"t": [0.5, 1.0], "entropy": [5, 9], "slope": [8, 8], "surprisal": [5.0, 10.0]},
        "samplers": samplers,
        "header": {**NOTHING["header"], "matched": [matched]},
    }
    axes = axes_of(document, "surprisal-against-temperature")[0]
    [dropped] = [line for line in axes.lines if set(line.get_xdata()) == {0.836}]
    (x, bottom), (_, top) = dropped.get_transform().transform(dropped.get_xydata())
    assert top > bottom
    across = [box for box in leaders(axes) if box.left < x < box.right]
    assert across
    assert all(box.bottom > top for box in across)
