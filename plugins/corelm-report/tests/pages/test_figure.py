"""The text of numbers, intervals and differences, as readers of a page and of Markdown meet it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from documents import report_of, tables_of
from page_reader import rows_of

Document = dict[str, Any]
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def with_rows(document: Document, count: int) -> list[Document]:
    """Give the report this many copies of one sampler, each with a name of its own."""
    row = document["samplers"][1] | {"texts": []}
    document["samplers"] = [copy.deepcopy(row) | {"sampler": f"row {i}"} for i in range(count)]
    return document["samplers"]


FIGURES = [
    # figure, value, its interval, the text on the page
    ("surprisal", 4.17, (4.09, 4.26), "4.17±0.09"),  # the farther end
    ("surprisal", 4.17, (4.09, 4.40), f"4.17+0.23{MINUS}0.08"),
    ("surprisal", 4.17, (4.17, 4.17), "4.17"),
    ("surprisal", 4.17, (4.2, 4.4), f"4.174.20{DASH}4.40"),  # outside
    ("surprisal", 1234.0, (1134.0, 1334.0), "1,230±100"),
    ("surprisal", 0.0, None, "0.00"),
    ("surprisal", 999.99, None, "999.99"),
    ("surprisal", 1000.0, None, "1,000"),
    ("surprisal", 999999.0, None, "999,999"),
    ("surprisal", 1e6, None, "1e+06"),
    ("rep_2", 0.5, (0.4, 0.6), "50%±10"),
    ("rep_2", 0.0031, (0.0011, 0.0051), "0.3%±0.2"),
    ("rep_2", 0.0031, (0.0, 0.057), f"0.3%+5.4{MINUS}0.3"),
    ("rep_2", 1.0, (0.9, 1.0), f"100%{MINUS}10"),
    ("rep_2", 0.9, (0.25, 0.5), f"90.0%25.0{DASH}50.0%"),
    ("rep_2", 0.9, (0.0, 0.5), f"90.0%0{DASH}50.0%"),
    ("rep_2", 0.0, None, "0"),
    ("rep_2", 0.00009, None, "<0.01%"),
    ("rep_2", 0.0001, None, "0.01%"),
    ("rep_2", 0.0099, None, "0.99%"),
    ("rep_2", 0.01, None, "1.0%"),
    ("rep_2", 0.999, None, "99.9%"),
    ("rep_2", 0.9999, None, "99.9%"),
    ("entropy_drift", 0.01, (0.005, 0.015), "1.0±0.5"),  # over a hundred tokens
    ("entropy_drift", 0.05, (-0.01, 0.01), f"5.00{MINUS}1.00 to 1.00"),
    ("entropy_drift", 0.05, (-0.02, -0.01), f"5.00{MINUS}2.00 to {MINUS}1.00"),
    ("entropy_drift", -0.0123, None, f"{MINUS}1.23"),
    ("entropy_drift", -0.00004, None, "0.00"),
    ("entropy_drift", -12.345, None, f"{MINUS}1,234"),
    ("entropy_drift", -2e4, None, f"{MINUS}2e+06"),
]


def test_a_figure_and_its_interval_as_distances_from_it(document):
    rows = with_rows(document, len(FIGURES))
    for row, (figure, value, ends, _) in zip(rows, FIGURES, strict=True):
        row["generated_texts"].update({figure: value, "ci95": {figure: ends and [*ends]}})
    cells = rows_of(tables_of(document), "likely")
    titles = {"surprisal": "surprisal", "rep_2": "rep-2", "entropy_drift": "drift"}
    shown = [cells[f"row {i}"][titles[case[0]]].figure for i, case in enumerate(FIGURES)]
    assert shown == [case[3] for case in FIGURES]


ENTROPIES = [
    (math.log(8), None, "3.00", "8.0"),
    (0.0, (-0.1, 0.2), f"0.00+0.29{MINUS}0.14", f"1.00+0.22{MINUS}0.10"),
    (math.log(3.25), None, None, "3.2"),
    (math.log(99.96), None, None, "100.0"),
    (math.log(100.4), None, None, "100"),
    (math.log(1234.2), None, None, "1,234"),
    (math.log(1.1e6), None, None, "1e+06"),
    (1e308, None, None, "1e+304"),
]


def test_entropies_as_bits_and_as_choices(document):
    rows = with_rows(document, len(ENTROPIES))
    for row, (nats, ends, _, _) in zip(rows, ENTROPIES, strict=True):
        row["teacher_forced"]["entropy"].update(mean=nats, ci95=ends and [*ends])
    cells = rows_of(tables_of(document), "teacher-forced")
    for i, (_, _, bits, choices) in enumerate(ENTROPIES):
        assert cells[f"row {i}"]["choices"].figure == choices
        assert bits in (None, cells[f"row {i}"]["bits"].figure)


DIFFERENCES = [
    # figure, value, its interval, the text on the page, the text in Markdown
    ("surprisal", 0.5, (0.4, 0.6), "+0.50±0.10", "+0.50"),
    ("surprisal", -0.5, None, f"{MINUS}0.50", f"{MINUS}0.50"),
    ("surprisal", 0.001, None, "0.00", "0.00"),
    ("surprisal", -0.105, (-0.209, -0.001), f"{MINUS}0.105±0.104", f"{MINUS}0.105"),  # not to 0
    ("surprisal", 0.105, (0.001, 0.225), f"+0.105+0.120{MINUS}0.104", "+0.105"),  # ±0.120 holds 0
    ("surprisal", 0.54, (0.11, 1.0), f"+0.5+0.5{MINUS}0.4", "+0.5"),  # nor does 0.5±0.5
    ("surprisal", 0.5, (0.4, 4e10), f"+0.50+4e+10{MINUS}0.10", "+0.50"),
    ("rep_2", 0.25, None, "+25.0 pp", None),
    ("rep_2", -0.25, (-0.35, -0.15), f"{MINUS}25±10 pp", None),
    ("rep_2", -0.3, (-0.31, -0.05), f"{MINUS}30.0+25.0{MINUS}1.0 pp", None),
    ("rep_2", -0.00001, None, "<0.01 pp", None),
    ("rep_2", 0.0, None, "0", None),
]


def test_a_difference_has_its_sign(document):
    rows = with_rows(document, len(DIFFERENCES))
    for row, (figure, value, ends, _, _) in zip(rows, DIFFERENCES, strict=True):
        row["differences"]["generated_texts"] = {figure: {"value": value, "ci95": ends}}
    cells = rows_of(tables_of(document), "likely")
    lines = report_of(document).to_markdown().splitlines()
    for i, (figure, _, _, page, markdown) in enumerate(DIFFERENCES):
        title = {"surprisal": "surprisal", "rep_2": "rep-2"}[figure]
        assert cells[f"row {i}"][title].difference == page
        [line] = [line for line in lines if line.startswith(f"| `row {i}` |")]
        assert markdown is None or f" {markdown} " in line


@pytest.mark.parametrize(
    ("figure", "target", "words", "short"),
    [
        ("entropy", 3, "a mean entropy of 3.00 nats", "entropy 3.00"),
        ("kl_to_model", 0.1, "a mean KL divergence from the model of 0.10 nats",
         "kl to model 0.10"),
        ("jensen_shannon", 0.0123, "a mean Jensen-Shannon divergence of 0.0123 nats",
         "jensen shannon 0.0123"),
        ("expected_surprisal", 0, "a mean surprisal of 0.00 nats", "surprisal 0.00"),
        ("varentropy", 2.5, "a mean varentropy of 2.50 nats squared", "varentropy 2.50"),
        ("mass_kept", 0.9, "a mean mass kept of 90.0%", "mass kept 90.0%"),
        ("tokens_kept", 12, "a mean number of tokens kept of 12.00", "tokens kept 12.00"),
        ("mine:new", 0.5, "a mine:new of 0.50", "mine:new 0.50"),
    ],
)  # fmt: skip
def test_a_matched_figure(document, figure, target, words, short):
    """The target is in a sentence and in the row that was matched, and in no other row."""
    match = {"figure": figure, "asked": "", "target": target}
    document["header"]["matched"] = [match]
    document["samplers"][1]["matched"] = {"open": "", **match}
    text = report_of(document).to_markdown()
    assert f"Open parameters were matched to {words}." in text.replace("\\", "")
    lines = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert f" {short} " in lines["temperature(t=0.5)"]
    assert short not in lines["greedy"]
