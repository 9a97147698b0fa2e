"""The page of a report: its content, and that nothing else can get in."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import re
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
from documents import EVIL, every_number, full, hostile, report_of, tables_of, visible
from page_reader import Cell, Reader, note_of, rows_of, table_of

import corelm
from corelm.errors import ReportError
from corelm_report import schema

Document = dict[str, Any]
ENTROPY, DIVERGENCE, LIKELIHOOD, VARIETY = "teacher-forced", "divergence", "likely", "varied"
"""The tables of the page."""


def page(document: Document) -> str:
    return report_of(document).to_html()


@pytest.fixture(scope="module")
def whole(made: Document) -> str:
    """The page of a report."""
    return page(made)


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
    assert targets == [*(f"#{name}" for name in parts), "#definitions"]
    assert "definitions" in [tag.get("id") for tag in read.all("div")]


def test_the_summary_comes_first(made, read):
    summary = report_of(made).summary
    assert 0 < read.text.index(summary) < read.text.index("The figures")


def test_headings_go_down_one_level_at_a_time(read):
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_a_tenth_of_human_words_is_outside_their_band_by_definition(document):
    own = document["reference"]["generated_texts"]
    for value, low, said in ((0.1, 0.0986, True), (0.1, 0.05, True), (0.2, 0.1986, False)):
        own["outside_human_band"], own["ci95"]["outside_human_band"] = value, [low, 2 * value - low]
        assert ("by definition" in page(document)) is said


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


def test_the_human_row_is_first_and_every_sampler_below(made, whole):
    measured = [row["sampler"] for row in made["samplers"] if not row["error"]]
    for table in (DIVERGENCE, LIKELIHOOD, VARIETY):
        assert [*rows_of(whole, table)] == ["human text", *measured]
        assert len({tuple(cells) for cells in rows_of(whole, table).values()}) == 1
    assert [*rows_of(whole, ENTROPY)] == measured
    assert whole.count('<tr class="human">') == 3


def test_a_cell_has_its_figure_its_interval_and_its_difference_to_people(document):
    row = next(row for row in document["samplers"] if row["name"] == "temperature")
    row["teacher_forced"]["entropy"].update(
        mean=1, ci95=[0.9, 1.25], median=1.1, p05=0.25, p95=2.25
    )
    row["teacher_forced"]["expected_surprisal"] = 1.0
    row["teacher_forced"]["ci95"]["expected_surprisal"] = [0.9, 1.25]
    difference = row["differences"]["teacher_forced"]["expected_surprisal"]
    difference.update(value=-0.5, ci95=[-0.71, -0.29], p=1e-6, units=32)
    text = tables_of(document)
    cells = rows_of(text, ENTROPY)["temperature(t=0.5)"]
    figure = "1.00+0.25\N{MINUS SIGN}0.10"
    assert cells["entropy"] == Cell(figure, "", "", bold=False)
    assert cells["bits"].figure.startswith("1.44")
    assert cells["choices"].figure.startswith("2.7")
    assert cells["median"] == Cell("1.100.25\N{EN DASH}2.25", "", "", bold=False)
    other = rows_of(text, DIVERGENCE)["temperature(t=0.5)"]["expected surprisal"]
    assert other == Cell(figure, "", "\N{MINUS SIGN}0.5±0.2", bold=True)
    greatest = document["bounds"]["max"]
    at, low, high = (round(100 * nats / greatest, 1) for nats in (1.0, 0.25, 2.25))
    assert f'style="--at:{at}%;--low:{low}%;--high:{high}%"' in text


def test_rows_and_tables_without_figures_are_left_out(document):
    greedy, *others = document["samplers"]
    greedy["teacher_forced"] = None  # as for a decoder
    text = tables_of(document)
    assert [*rows_of(text, ENTROPY)] == ["temperature(t=0.5)", "uniform"]
    absent = "Without these figures: <bdi>human text</bdi>, <bdi>greedy</bdi>."
    assert absent in table_of(text, ENTROPY)
    for row in others:
        row["teacher_forced"] = None
    assert 'id="teacher-forced"' not in tables_of(document)


def test_the_number_of_texts_is_said_once_and_where_it_differs(document):
    text = tables_of(document)
    caption = "<var>n</var> = 16 (8 independent) unless a row says otherwise."
    assert caption in table_of(text, VARIETY)
    assert note_of(text, VARIETY, "human text") == "n = 8"
    assert note_of(text, VARIETY, "uniform") == ""


def test_figures_of_sets_name_the_size_of_the_sets(document):
    """Distinct-n of 2,496 human texts is of sets as large as the samplers', not of all at once."""
    texts = document["reference"]["generated_texts"]
    texts |= {"n": 2496, "set_size": 64, "units": None}
    varied, likely = (
        note_of(tables_of(document), each, "human text") for each in (VARIETY, LIKELIHOOD)
    )
    assert "n = 2,496 in sets of 64" in varied
    assert "n = 2,496" in likely
    assert "sets" not in likely


def test_the_settings_of_a_sweep_are_a_block_of_their_own(document):
    _, temperature, *others = document["samplers"]
    temperature["sweep"] = "temperature(t=1..3/3)"
    settings = [temperature | {"sampler": f"temperature(t={t})"} for t in (1.0, 2.0, 3.0)]
    document["samplers"] = settings + others
    blocks = table_of(tables_of(document), VARIETY).split("<tbody>")[1:]
    assert [block.count('<th scope="row"') for block in blocks] == [1, 3, 1]
    titles = [re.findall(r'colspan="99"><bdi>(.*?)</bdi>', block) for block in blocks]
    assert titles == [[], ["temperature(t=1..3/3)"], []]


def test_every_picture_has_its_data(made, read):
    data = [figure["data-csv"] for figure in read.all("figure")]
    assert len(data) == 5
    assert all(text.count("\n") >= 4 for text in data)
    row = made["samplers"][1]
    diversity = row["generated_texts"]["diversity"]
    assert f"temperature(t=0.5),{diversity:.6g}," in data[1]


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
    [about] = re.findall(
        rf'tabindex="0">{re.escape(token["token"].strip())}<span>(.*?)<i>(.*?)</i></span>',
        html.unescape(whole[whole.index(f"<bdi>{made['samplers'][1]['sampler']}</bdi></h4>") :]),
        re.DOTALL,
    )[:1]
    assert f"rank {token['rank']}" in about[0]
    assert [line.split("\t")[0] for line in about[1].splitlines()] == [
        word.strip() for word, _ in token["alternatives"]
    ]


def test_a_text_from_right_to_left_is_shown_so(made):
    document = copy.deepcopy(made)
    text = document["samplers"][1]["texts"][0]
    for i, token in enumerate(text["tokens"]):
        token["token"] = ("!", " كان", " IMDb")[min(i, 2)]
    shown = re.findall(r'<p class="words[a-z ]*"( dir="rtl")?>', page(document))
    assert len(shown) > shown.count(' dir="rtl"') == 1


def test_every_heading_of_a_figure_has_its_definition(whole):
    meaning = (
        r'<bdi>([^<]*)</bdi><span role="tooltip">\s*<b><bdi>(.*?)</bdi></b>(, [^<]*)?'
        r".*?<bdi>([^<]*)</bdi></span>"
    )
    headings = re.findall(meaning, whole, re.DOTALL)
    assert len(headings) == whole.count('role="tooltip"') == 30
    definitions = whole[whole.index('id="definitions"') :]
    for title, again, unit, text in headings:
        assert title == again
        assert unit or title in ("self-BLEU-4", "Zipf", "compression")
        assert text.endswith(".")
        assert text in definitions


def test_formulas_have_variables_and_minus_signs(whole):
    entropy = "<var>H</var>(<var>q</var>) = \N{MINUS SIGN}\u03a3 <var>q</var> ln <var>q</var>"
    assert f"<i>{entropy}</i>" in whole
    assert "(1 \N{MINUS SIGN} rep-2)(1" in whole
    assert "&lt;" not in whole[whole.index("<i>words with") :][:40]


def test_figures_of_other_texts_say_so(document):
    text = tables_of(document)
    cells = rows_of(text, DIVERGENCE)["human text"]
    assert note_of(text, DIVERGENCE, "human text") == ""
    assert cells["expected surprisal"].note == "of the words written"
    document["header"]["contexts"]["source"] = "model"
    text = tables_of(document)
    notes = {row: note_of(text, DIVERGENCE, row) for row in rows_of(text, DIVERGENCE)}
    assert notes.pop("human text") == "measured on other texts"
    assert not any(notes.values())


def test_levels_of_surprisal_are_those_of_the_legend(document):
    by_p = {0.5: 0, 0.13: 1, 0.01: 2, 0.001: 3, 0.0002: 4, 0.00001: 5, 0.0: 5}
    [token, *_] = document["samplers"][0]["texts"][0]["tokens"]
    written = [token | {"token": f" p{i}", "p": p} for i, p in enumerate(by_p)]
    document["samplers"][0]["texts"][0]["tokens"] = written
    text = tables_of(document)
    levels = re.findall(r'<span(?: class="s(\d)")? tabindex="0">p\d<', text)
    assert [int(level or 0) for level in levels] == [*by_p.values()]
    [legend] = re.findall(r'class="legend".*?</p>', text)
    assert re.findall(r'class="s(\d)">(.*?)<', legend) == [
        ("0", "below 2"), ("1", "2 to 4"), ("2", "4 to 6"), ("3", "6 to 8"), ("4", "8 to 10"),
        ("5", "10 or more"),
    ]  # fmt: skip


def groups_of(text: str) -> list[tuple[str, list[str]]]:
    """The heading of each group of texts, and the samplers of its texts."""
    return [
        (re.search("<h3><bdi>(.*?)</h3>", group)[1], re.findall("<h4><bdi>(.*?)</bdi>", group))
        for group in text.split("<details")[1:]
        if "<h3><bdi>" in group
    ]


def test_texts_of_one_prompt_and_sample_stand_side_by_side(made, whole):
    samplers = [row["sampler"] for row in made["samplers"]]
    assert groups_of(whole) == [
        (f"{prompt}</bdi> <small>sample {sample}</small>", samplers)
        for prompt in ("the", "the cat")
        for sample in range(5)
    ]


@pytest.mark.slow
def test_malicious_strings_stay_text(made):
    written = corelm.Report(hostile(made)).to_html()
    reader = Reader(written)
    assert len(reader.all("script")) == 1
    assert not reader.all("img")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", written)
    assert visible(EVIL) in reader.text
    assert "{{7*7}}" in reader.text
    names = {name for _, attributes in reader.elements for name in attributes}
    assert names <= {name for _, attributes in Reader(page(made)).elements for name in attributes}


@pytest.mark.slow
def test_a_full_report_is_less_than_a_megabyte(made):
    size = len(page(full(made, samplers=7, texts=5, tokens=100)).encode())
    assert 500_000 < size < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(("samplers", "explained"), [(8, 5), (20, 2), (41, 1)])
def test_a_page_of_many_samplers_explains_the_words_of_the_first_samples_alone(
    made, samplers, explained
):
    large = full(made, samplers, texts=5, tokens=3)
    written = Reader(page(large))
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
        corelm.Report(
            strange
        )  # a report from a file; one that holds such numbers is drawn all the same
    assert Reader(page(strange)).all("section")


def test_no_entropy_of_human_text_is_shown(whole):
    assert "--human-at:" not in whole
    assert "Without these figures: <bdi>human text</bdi>." in table_of(whole, ENTROPY)
    surprisal = rows_of(whole, DIVERGENCE)["human text"]["expected surprisal"]
    assert surprisal.figure[0].isdigit()


@pytest.mark.slow
def test_a_report_without_people_without_texts_without_a_playground(document):
    for row in document["samplers"]:
        row["texts"] = []
        row["differences"] = None
    document.update(reference=None, try_it=None)
    written = corelm.Report(document).to_html()
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
    report = corelm.Report(earlier)
    assert Reader(report.to_html()).all("section")
    assert report.to_markdown()
    assert report.bibtex.count("@") == 1


def test_a_report_of_nothing(document):
    empty = copy.deepcopy(document) | {"samplers": [], "reference": None, "try_it": None}
    assert "No sampler wrote a text." in corelm.Report(empty).to_html()
    assert "Filter samplers" not in page(empty)


@pytest.mark.slow
@pytest.mark.parametrize("logits", ["no base64!", "AAAA", "", "AACAfw==", "AAAAAAAAgD8="])
def test_logits_that_rise_or_are_not_numbers_are_refused(document, logits):
    """Bad base64, three bytes, no bytes, infinity, and 0 before 1."""
    document["try_it"]["logits"] = logits
    with pytest.raises(ReportError, match=r"try_it\.logits"):
        page(document)
