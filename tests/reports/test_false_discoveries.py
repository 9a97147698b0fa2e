"""Bold differences of the page control the false discovery rate over all of them."""

from __future__ import annotations

import pytest
from documents import TEXTS, compare, typed

from corelm.reports.document.figures import TABLES
from corelm.reports.metrics.intervals import NORMAL
from corelm.reports.render.html import tables
from corelm.reports.render.html.page import page
from corelm.reports.render.significance import Place, clear_differences, discoveries, p_values


@pytest.fixture(scope="module")
def document():
    return compare(["temperature(t=0.5)", "uniform"], reference=TEXTS * 3, n=12, length=10)


def with_differences(document, figures):
    """The report with these differences of its first sampler's texts, and no others."""
    first, *_ = document["samplers"]
    differences = {"against": "human", "teacher_forced": {}, "generated_texts": figures}
    return typed({**document, "samplers": [{**first, "differences": differences}]})


def z(value):
    """A difference of 1 whose interval is that of this normal deviate, of very many texts."""
    half = NORMAL / value
    return {"value": 1.0, "ci95": [1 - half, 1 + half]}


def test_a_difference_just_beyond_its_interval_is_bold_alone_only(document):
    document = {**document, "samplers": [dict(document["samplers"][0])]}
    texts = {**document["samplers"][0]["generated_texts"], "n": 10**9}
    document["samplers"][0]["generated_texts"] = texts
    [place] = clear_differences(with_differences(document, {"surprisal": z(2.0)}))
    assert place == Place("temperature(t=0.5)", "generated_texts", "surprisal")
    chance = {name: z(0.5) for name in ("loops", "rep_2", "rep_3", "rep_4", "diversity")}
    assert clear_differences(with_differences(document, {"surprisal": z(2.0), **chance})) == set()
    strong = clear_differences(with_differences(document, {"surprisal": z(4.0), **chance}))
    assert strong == {place}


def test_few_texts_have_wider_tails(document):
    """Beyond its interval at 5 %, a difference of few texts is less sure than the normal says."""
    both = [
        dict(p_values(with_differences(changed, {"surprisal": z(4.0)})))
        for changed in (document, with_n(document, 10**6))
    ]
    few, many = (next(iter(each.values())) for each in both)
    assert many == pytest.approx(6.3e-5, rel=0.01)
    assert few > 10 * many


def with_n(document, n):
    first = document["samplers"][0]
    texts = {**first["generated_texts"], "n": n}
    return {**document, "samplers": [{**first, "generated_texts": texts}]}


def test_certain_differences_are_bold_and_those_of_0_are_not(document):
    figures = {
        "surprisal": {"value": 1.0, "ci95": [1.0, 1.0]},
        "loops": {"value": 0.0, "ci95": [0.0, 0.0]},
        "rep_2": {"value": 0.5, "ci95": None},
    }
    found = with_differences(document, figures)
    assert {place.figure for place in clear_differences(found)} == {"surprisal"}
    assert {place.figure for place in dict(p_values(found))} == {"surprisal", "loops"}


def test_the_procedure_of_benjamini_and_hochberg():
    """A p-value may be above its own bound if a larger one is below its own."""
    chances = {Place(str(i), "", ""): p for i, p in enumerate((0.0125, 0.03, 0.0374, 0.9))}
    assert {place.entry for place in discoveries(chances)} == {"0", "1", "2"}
    assert discoveries({}) == set()


@pytest.mark.slow
def test_the_page_marks_them_says_how_and_leaves_unknown_words_out(document):
    found = typed(document)
    cells = [
        cell
        for table in TABLES
        for line in tables.lines(found, table)
        for cell in line.cells
        if cell.difference
    ]
    assert sum(cell.clear for cell in cells) == len(clear_differences(found)) > 0
    assert "[UNK]" not in {cell.title for cell in cells}
    said = page(found)
    assert f"of the {len(dict(p_values(found)))} on this page" in said
    assert "the false discovery rate, by Benjamini and Hochberg" in said
