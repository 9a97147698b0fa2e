"""Markdown and CSV: complete, readable by other tools, harmless."""

from __future__ import annotations

import csv
import io

import pytest
from documents import report_of


def lines(document):
    return list(csv.DictReader(io.StringIO(report_of(document).to_csv(), newline="")))


# CSV


def test_every_figure_has_a_line(made):
    found = {(line["sampler"], line["view"], line["metric"]): line for line in lines(made)}
    assert len(found) == len(lines(made))
    for row in made["samplers"][:3]:
        for view in ("teacher_forced", "generated_texts"):
            for name, value in row[view].items():
                if isinstance(value, float):
                    line = found[row["sampler"], view, name]
                    assert float(line["value"]) == value
                    used = row[view].get("texts_used", {}).get(name, row[view]["n"])
                    assert int(line["n"]) == used


def test_an_interval_is_on_the_line_of_its_figure(made):
    [line] = [
        line
        for line in lines(made)
        if (line["sampler"], line["metric"]) == ("uniform", "surprisal")
    ]
    own = made["samplers"][2]["generated_texts"]
    assert [float(line["low"]), float(line["high"])] == own["ci95"]["surprisal"]
    assert float(line["low"]) < float(line["value"]) < float(line["high"])


def test_people_come_first_and_failures_are_left_out(made):
    names = list(dict.fromkeys(line["sampler"] for line in lines(made)))
    assert names == ["human", "greedy", "temperature(t=0.5)", "uniform"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1", "\r\n=1"])
def test_no_cell_is_a_formula(document, name):
    document["samplers"][0]["sampler"] = name
    document["samplers"][0]["generated_texts"][name] = 0.5
    for column in ("sampler", "metric"):
        cells = {line[column] for line in lines(document)}
        assert f"'{name.strip()}" in cells
        assert name not in cells


def test_names_with_commas_and_quotes_survive(document):
    name = "ban(words=('a', \"b\"))"
    document["samplers"][0]["sampler"] = name
    assert name in {line["sampler"] for line in lines(document)}


# Markdown


def cells(line):
    """The cells of a row of a GitHub table, which escaped bars do not divide."""
    return [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]


def test_the_table(made):
    rows = [
        cells(line) for line in report_of(made).to_markdown().splitlines() if line.startswith("|")
    ]
    assert len({len(row) for row in rows}) == 1
    assert [row[0] for row in rows[2:]] == [
        "`human`", "`greedy`", "`temperature(t=0.5)`", "`uniform`", "`breaks(at=5)`",
    ]  # fmt: skip
    assert rows[2][1] == "-"  # human text has no entropy
    assert rows[3][1] == "0.00"
    assert rows[5][1] == "2.40"
    assert any(cell.startswith("+") for cell in rows[5])


def test_a_failure_has_its_reason_on_one_line(made):
    [line] = [line for line in report_of(made).to_markdown().splitlines() if "breaks" in line[:20]]
    assert "no more \\| \\`words\\` here" in line


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("top_p(p=0.9) | temperature(t=0.7)", "`top_p(p=0.9) \\| temperature(t=0.7)`"),
        ("ban(words=('`',))", "`` ban(words=('`',)) ``"),
        ("ban(words=('```',))", "```` ban(words=('```',)) ````"),
        ("a\nb", "`a b`"),
    ],
)
def test_a_name_is_code(document, name, written):
    document["samplers"][0]["sampler"] = name
    assert f"\n| {written} | " in report_of(document).to_markdown()


def test_a_prompt_stays_text(document):
    document["header"]["prompts"] = ["<script>alert(1)</script> *a* [b](c) ![d](e)"]
    written = report_of(document).to_markdown()
    assert "\\<script\\>alert(1)\\</script\\> \\*a\\* \\[b\\](c) \\!\\[d\\](e)" in written
    assert "<script" not in written.replace("\\<", "")


def test_the_settings_are_stated(document):
    document["header"]["prompts"] = list("abcde")
    said = report_of(document).to_markdown()
    prompts = 'prompts "a", "b", "c" and 2 more, seed 1, 8 independent units for intervals. Model: '
    assert prompts in said
    assert "over the same 37 positions of 8 texts (8 texts given)" in said


@pytest.mark.parametrize("value", [0, 1e-300, -0.5, 12.345, 99999.5, -1e9, 1e300])
def test_numbers_of_every_size_are_short(document, value):
    document["samplers"][0]["generated_texts"].update(surprisal=value, rep_4=abs(value) % 1)
    [line] = [each for each in report_of(document).to_markdown().splitlines() if "`greedy`" in each]
    assert max(len(cell) for cell in cells(line)[1:]) <= 8


def test_a_setting_that_differs_from_its_default_is_stated(document):
    document["header"]["settings"] = {"top_patience": 4}
    assert "Top patience: 4." in report_of(document).to_markdown()
    assert "<dt><bdi>Top patience</bdi></dt><dd><bdi>4</bdi></dd>" in report_of(document).to_html()
