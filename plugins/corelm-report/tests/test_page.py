"""The page of a report: its content, and that nothing else can get in."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import re
from contextlib import nullcontext
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest
from corelm_report.document.figure import DIVERGENCE, ENTROPY, LIKELIHOOD, TABLES, VARIETY, visible
from corelm_report.document.schema import check, schema
from corelm_report.document.summary import summary
from corelm_report.render import overview, tables
from corelm_report.render import page as page_module
from corelm_report.render.bibtex import to_bibtex
from corelm_report.render.markdown import to_markdown
from corelm_report.render.page import FILES, PAGES, TEMPLATE, page
from documents import EVIL, every_number, full, hostile, typed

from corelm.errors import ReportError

Document = dict[str, Any]
Attributes = dict[str, str | None]
ABSENT = ("constraint", "scorer", "scorer surprisal", "model calls", "tokens read")
"""The columns of figures that need a mask, a second scorer or a decoder; the report has none."""


class Reader(HTMLParser):
    """The elements of a page and what is written in each; unbalanced ones are an error."""

    EMPTY = ("meta", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, *tags: str) -> list[Attributes]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def whole(made: Document) -> str:
    """The page of a report."""
    return page(typed(made))


@pytest.fixture(scope="module")
def read(whole: str) -> Reader:
    return Reader(whole)


@pytest.mark.slow
def test_the_sections_are_in_the_order_of_a_reader(read):
    ids = [section["id"] for section in read.all("section")]
    first = ["surprisal-against-temperature", "surprisal-against-diversity"]
    others = ["recall-against-mass-kept", "entropy-by-position", "mass-kept-by-position"]
    parts = ["table", "texts", "pictures", "try", "settings"]
    assert ids == ["summary", *first, *parts[:3], *others, *parts[3:]]
    targets = [link["href"] for link in read.all("a")]
    assert targets == [*(f"#{name}" for name in first + parts), "#definitions"]
    assert [tag["id"] for tag in read.all("h3") if "id" in tag] == ["definitions"]


def test_the_summary_comes_first(made, read):
    assert summary(typed(made)) in read.text
    assert read.text.index(summary(typed(made))) < read.text.index("The figures")


def test_headings_go_down_one_level_at_a_time(read):
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_only_the_page_s_own_script_and_style_are_allowed(whole, read):
    [policy] = [meta["content"] for meta in read.all("meta") if "http-equiv" in meta]
    for kind, directive in (("script", "script-src"), ("style", "style-src")):
        [content] = re.findall(f"<{kind}>(.*?)</{kind}>", whole, re.DOTALL)
        checksum = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{checksum}';" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert whole.index("http-equiv") < whole.index("<style")


def test_nothing_comes_from_anywhere(whole, read):
    loading = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "ping"}
    for tag, attributes in read.elements:
        for name in loading & set(attributes):
            assert attributes[name].startswith("#"), (tag, name)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", whole)


def test_no_attribute_runs_a_script(read):
    assert not [name for _, attributes in read.elements for name in attributes if name[:2] == "on"]


def test_the_human_row_is_first_and_every_sampler_below(made, read):
    for table in TABLES:
        lines = list(tables.lines(typed(made), table))
        assert lines[0].human
        measured = [row["sampler"] for row in made["samplers"] if not row["error"]]
        assert [line.name for line in lines[1:]] == measured
        titles = [column.title for column in overview.columns_of(table, typed(made))]
        titles = [title for title in titles if title not in ABSENT]
        assert all([cell.title for cell in line.cells] == titles for line in lines)


def test_a_cell_has_its_figure_its_interval_and_its_difference_to_people(document):
    row = next(row for row in document["samplers"] if row["name"] == "temperature")
    row["teacher_forced"]["entropy"].update(
        mean=1, ci95=[0.9, 1.25], median=1.1, p05=0.25, p95=2.25
    )
    row["teacher_forced"]["expected_surprisal"] = 1.0
    row["teacher_forced"]["ci95"]["expected_surprisal"] = [0.9, 1.25]
    difference = row["differences"]["teacher_forced"]["expected_surprisal"]
    difference.update(value=-0.5, ci95=[-0.75, -0.25], p=1e-6)
    found, line = _cells_of(document, ENTROPY, "temperature(t=0.5)")
    ends = ("+0.25", "\u22120.10")
    assert found["entropy"] == tables.Cell("entropy", tables.Amount("1.00", ends), first=True)
    assert found["bits"].figure.text == "1.44"
    assert found["choices"].figure.text == "2.7"
    between = tables.Amount("1.10", ("0.25\N{EN DASH}2.25",))
    assert found["median"] == tables.Cell("median", between)
    other, _ = _cells_of(document, DIVERGENCE, "temperature(t=0.5)")
    assert other["expected surprisal"] == tables.Cell(
        "expected surprisal",
        tables.Amount("1.00", ends),
        difference=tables.Amount("\u22120.50", ("\u00b10.25",)),
        clear=True,
        first=True,
    )
    greatest = document["bounds"]["max"]
    places = [round(100 * nats / greatest, 1) for nats in (1.0, 0.25, 2.25)]
    assert line.strip == tables.RangeStrip(*places)


def _cells_of(document, table, name):
    """The cells of a line by their titles, and the line."""
    line = next(line for line in tables.lines(typed(document), table) if line.name == name)
    return {cell.title: cell for cell in line.cells}, line


def test_the_interval_of_a_share_and_its_difference_are_in_percentage_points(document):
    row = next(row for row in document["samplers"] if row["name"] == "temperature")
    row["generated_texts"]["rep_2"] = 0.25
    row["generated_texts"]["ci95"]["rep_2"] = [0.125, 0.375]
    row["differences"]["generated_texts"]["rep_2"] = {"value": -0.3, "ci95": [-0.31, -0.05]}
    found, _ = _cells_of(document, LIKELIHOOD, "temperature(t=0.5)")
    assert found["rep-2"].figure == tables.Amount("25.0%", ("\u00b112.5",))
    assert found["rep-2"].difference == tables.Amount("\u221230.0", ("+25.0", "\u22121.0"), "pp")


def test_rows_and_tables_without_figures_are_left_out(document):
    greedy, *others = document["samplers"]
    greedy["teacher_forced"] = None  # as for a decoder
    shown = tables.table(typed(document), ENTROPY)
    names = [line.name for block in shown.blocks for line in block.lines]
    assert names == ["temperature(t=0.5)", "uniform"]
    assert shown.absent == ["human text", "greedy"]
    for row in others:
        row["teacher_forced"] = None
    assert tables.table(typed(document), ENTROPY) is None
    assert 'id="teacher-forced"' not in page(typed(document))


def test_the_number_of_texts_is_said_once_and_where_it_differs(document):
    shown = tables.table(typed(document), VARIETY)
    assert (shown.n, shown.mixed) == ("16 (8 independent)", True)
    notes = {line.name: line.note for block in shown.blocks for line in block.lines}
    assert notes["human text"] == "n = 8"
    assert notes["uniform"] == ""


def test_figures_of_sets_name_the_size_of_the_sets(document):
    """Distinct-n of 2,496 human texts is of sets as large as the samplers', not of all at once."""
    texts = document["reference"]["generated_texts"]
    texts |= {"n": 2496, "set_size": 64, "units": None}
    [human, *_] = tables.table(typed(document), VARIETY).blocks[0].lines
    assert "n = 2,496 in sets of 64" in human.note
    [human, *_] = tables.table(typed(document), LIKELIHOOD).blocks[0].lines
    assert "n = 2,496" in human.note
    assert "sets" not in human.note


def test_the_settings_of_a_sweep_are_a_block_of_their_own(document):
    _, temperature, *others = document["samplers"]
    temperature["sweep"] = "temperature(t=1..3/3)"
    settings = [temperature | {"sampler": f"temperature(t={t})"} for t in (1.0, 2.0, 3.0)]
    document["samplers"] = settings + others
    blocks = tables.table(typed(document), VARIETY).blocks
    assert [block.title for block in blocks] == ["", "temperature(t=1..3/3)", ""]
    assert [len(block.lines) for block in blocks] == [1, 3, 1]


def test_every_picture_has_its_data(made, read):
    data = [figure["data-csv"] for figure in read.all("figure")]
    assert len(data) == 5
    assert all(text.count("\n") >= 4 for text in data)
    row = made["samplers"][1]
    diversity = row["generated_texts"]["diversity"]
    assert f"temperature(t=0.5),{diversity:.6g}," in data[1]


@pytest.mark.slow
def test_a_front_that_all_are_on_is_not_a_list_of_all(document):
    names = [row["sampler"] for row in document["samplers"] if not row["error"]]
    front = {"view": "generated_texts", "larger": "diversity", "smaller": "surprisal"}
    document["fronts"] = [front | {"rows": names}]
    assert "in this sample none of the 3 rows beats another in both" in page(typed(document))
    document["fronts"] = [front | {"rows": names[:2]}]
    assert "beaten in both: uniform" in page(typed(document))


def test_tables_have_captions_and_scopes(read):
    tables, captions = read.all("table"), read.all("caption")
    assert len(tables) == len(captions) == 6
    assert all("scope" in head for head in read.all("th"))


def test_a_failed_sampler_has_its_reason_once_and_no_text(whole):
    assert whole.count("no more | `words`\nhere") == 1
    assert whole.count("No text: the sampler failed.") == 10  # two prompts of five samples


def test_every_word_can_be_reached_and_has_its_figures(made, whole):
    written = [text for row in made["samplers"] for text in row["texts"]]
    tokens = sum(len(text["tokens"]) for text in written)
    headings = whole.count('<span class="term"')
    assert whole.count('tabindex="0">') == tokens + headings + 5  # and the tables that scroll
    token = made["samplers"][1]["texts"][0]["tokens"][0]
    shown = page_module.word(token)
    inner = f"{shown.text}<span>{shown.about}<i>{shown.likely}</i></span>"
    assert html.unescape(inner) in html.unescape(whole)


def test_every_heading_of_a_figure_has_its_definition(made, read):
    shown = [column for table in TABLES for column in tables.shown_columns(typed(made), table)]
    meanings = [each for each in read.all("span") if each.get("role") == "tooltip"]
    assert len(meanings) == len(shown) == len({(c.view, c.title) for c in shown})
    for column in overview.all_columns(typed(made)):
        assert column.text.endswith(".")
        assert column.text in read.text or column.title in ABSENT
        assert column.unit or column.title in ("self-BLEU-4", "Zipf", "compression")


def test_formulas_have_variables_and_minus_signs(whole):
    entropy = "<var>H</var>(<var>q</var>) = \N{MINUS SIGN}\u03a3 <var>q</var> ln <var>q</var>"
    assert f"<i>{entropy}</i>" in whole
    assert "(1 \N{MINUS SIGN} rep-2)(1" in whole
    assert "&lt;" not in whole[whole.index("<i>words with") :][:40]


def test_figures_of_other_texts_say_so(document):
    row = next(iter(tables.lines(typed(document), DIVERGENCE)))
    assert row.note == ""
    assert [c.note for c in row.cells if c.title == "expected surprisal"] == [
        "of the words written"
    ]
    document["header"]["contexts"]["source"] = "model"
    lines = list(tables.lines(typed(document), ENTROPY))
    assert lines[0].note == "measured on other texts"
    assert not any(line.note for line in lines[1:])


def test_levels_of_surprisal_are_those_of_the_legend():
    likely = {"token": " a", "rank": 1, "q": 0.5, "entropy": 1.0, "alternatives": []}
    by_p = {0.5: 0, 0.13: 1, 0.01: 2, 0.001: 3, 0.0002: 4, 0.00001: 5, 0.0: 5}
    assert {p: page_module.word(likely | {"p": p}).level for p in by_p} == by_p
    assert [text for _, text in page_module.surprisal_levels()] == [
        "below 2", "2 to 4", "4 to 6", "6 to 8", "8 to 10", "10 or more",
    ]  # fmt: skip


def test_texts_of_one_prompt_and_sample_stand_side_by_side(made):
    groups = page_module.text_groups(typed(made))
    assert [(group.prompt, group.sample) for group in groups] == [
        (prompt, sample) for prompt in ("the", "the cat") for sample in range(5)
    ]
    for group in groups:
        assert [text.sampler for text in group.texts] == [r["sampler"] for r in made["samplers"]]


@pytest.mark.slow
def test_malicious_strings_stay_text(made):
    evil = hostile(made)
    check(evil)
    written = page(typed(evil))
    reader = Reader(written)
    assert len(reader.all("script")) == 1
    assert not reader.all("img")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", written)
    assert visible(EVIL) in reader.text
    assert "{{7*7}}" in reader.text
    names = {name for _, attributes in reader.elements for name in attributes}
    assert names <= {
        name for _, attributes in Reader(page(typed(made))).elements for name in attributes
    }


@pytest.mark.slow
def test_a_full_report_is_less_than_a_megabyte(made):
    size = len(page(typed(full(made, samplers=7, texts=5, tokens=100))).encode())
    assert 500_000 < size < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(("samplers", "explained"), [(8, 5), (20, 2), (41, 1)])
def test_a_page_of_many_samplers_explains_the_words_of_the_first_samples_alone(
    made, samplers, explained
):
    large = full(made, samplers, texts=5, tokens=3)
    groups = page_module.text_groups(typed(large))
    assert [group.explained for group in groups] == [True] * explained + [False] * (5 - explained)
    written = Reader(page(typed(large)))
    rows = [each["class"] for each in written.all("p") if "words" in each.get("class", "")]
    plain = (5 - explained) * samplers
    assert rows == ["words"] * (explained * samplers) + ["words plain"] * plain
    every = "".join(token["token"] for token in large["samplers"][0]["texts"][0]["tokens"])
    assert written.text.count(every.strip()) == plain
    note = "only the words of sample "
    assert (note + ", ".join(map(str, range(explained))) in written.text) == (explained < 5)
    assert "{" not in written.text[written.text.find(note) :][:80]


@pytest.mark.slow
@pytest.mark.parametrize("number", [0.0, -1.0, 1e308, -1e308, 5e-324])
def test_any_numbers_can_be_shown(document, number):
    strange = every_number(document, number)
    possible = 0 <= number <= 1
    with (
        nullcontext() if possible else pytest.raises(ReportError, match=r"expected at (least|most)")
    ):
        check(strange)  # a report from a file; one that holds such numbers is drawn all the same
    assert Reader(page(typed(strange))).all("section")


@pytest.mark.slow
def test_no_entropy_of_human_text_is_shown(document):
    shown = page(typed(document))
    assert "--human-at:" not in shown
    entropy, _ = _cells_of(document, ENTROPY, "human text")
    assert not any(cell.figure for cell in entropy.values())
    surprisal, _ = _cells_of(document, DIVERGENCE, "human text")
    assert surprisal["expected surprisal"].figure


@pytest.mark.slow
def test_a_report_without_people_without_texts_without_a_playground(document):
    for row in document["samplers"]:
        row["texts"] = []
        row["differences"] = None
    document.update(reference=None, try_it=None)
    check(document)
    written = page(typed(document))
    assert "No sampler wrote a text." in written or "No text: the sampler failed." in written
    assert 'id="try"' not in written
    assert 'class="human"' not in written
    assert not any("human" in text for text in re.findall("<figcaption>(.*?)</", written))


@pytest.mark.slow
def test_a_report_with_nothing_but_what_the_schema_requires(document):
    """An earlier version of corelm wrote fewer keys."""
    definitions = schema()["$defs"]
    header, row = definitions["Header"]["required"], definitions["SamplerEntry"]["required"]
    document["header"] = {key: document["header"][key] for key in header}
    document["samplers"] = [{key: each[key] for key in row} for each in document["samplers"]]
    earlier = {key: document[key] for key in schema()["required"]}
    check(earlier)
    assert Reader(page(typed(earlier))).all("section")
    assert to_markdown(typed(earlier))
    assert to_bibtex(typed(earlier)).count("@") == 1


def test_a_report_of_nothing(document):
    empty = copy.deepcopy(document) | {"samplers": [], "reference": None, "try_it": None}
    check(empty)
    assert "No sampler wrote a text." in page(typed(empty))


@pytest.mark.slow
@pytest.mark.parametrize("logits", ["no base64!", "AAAA", "", "AACAfw==", "AAAAAAAAgD8="])
def test_logits_that_rise_or_are_not_numbers_are_refused(document, logits):
    """Bad base64, three bytes, no bytes, infinity, and 0 before 1."""
    document["try_it"]["logits"] = logits
    with pytest.raises(ReportError, match=r"try_it\.logits"):
        page(typed(document))


def test_the_page_s_files_are_in_the_package():
    folders = [resources.files(package).joinpath(folder) for package, folder in (TEMPLATE, PAGES)]
    names = {file.name for folder in folders for file in folder.iterdir()}
    parts = [name for kind in FILES.values() for name in kind]
    assert {"page.html.jinja", "definitions.html.jinja", *parts} <= names
