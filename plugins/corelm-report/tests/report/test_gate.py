"""Conditions under which a report fails."""

from __future__ import annotations

import pytest
from documents import tripped as of
from documents import typed

from corelm.errors import UsageError
from corelm_report.document.gate import condition

ROWS = [
    ("greedy", "greedy"),
    ("temperature(t=0.2)", "temperature"),
    ("temperature(t=0.7)", "temperature"),
    ("top_k(k=5) | temperature(t=0.7)", "top_k | temperature"),
    ("top_p", "top_p"),
]


def read(text):
    found = condition(text, ROWS)
    return found.sampler, found.metric, found.operator, found.bound


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("temperature(t=0.2).loops > 0.3", ("temperature(t=0.2)", "loops", ">", 0.3)),
        ("temperature(t=0.2).loops>0.3", ("temperature(t=0.2)", "loops", ">", 0.3)),
        ("  greedy.entropy <= 1e-3 ", ("greedy", "entropy", "<=", 0.001)),
        ("greedy.entropy.mean >= -1", ("greedy", "entropy.mean", ">=", -1)),
        ("temperature(0.7).rep_4 < .5", ("temperature(t=0.7)", "rep_4", "<", 0.5)),
        (
            "top_k(k=5)|temperature(t=0.7) . loops > 0".replace(" . ", "."),
            ("top_k(k=5) | temperature(t=0.7)", "loops", ">", 0),
        ),
        ("top_k | temperature.zipf > 1", ("top_k(k=5) | temperature(t=0.7)", "zipf", ">", 1)),
        ("top_p.mass_kept < 0.5", ("top_p", "mass_kept", "<", 0.5)),
    ],
)
def test_conditions_are_parsed(text, parts):
    assert read(text) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the condition ''; write SAMPLER.METRIC > NUMBER"),
        ("greedy.loops", "cannot read the condition 'greedy.loops'"),
        ("greedy.loops > x", "cannot read the condition"),
        ("greedy.loops = 1", "cannot read the condition"),
        ("greedy.loops > 1.2.3", "'1.2.3' in 'greedy.loops > 1.2.3' is not a number"),
        ("greedy.loops > 1 > 2", "names no metric"),
        ("greedy > 1", "'greedy > 1' names no metric; the metrics are: entropy, "),
        ("greedy.lops > 1", "names no metric; did you mean 'loops'?"),
        (
            "temperature.loops > 1",
            "'temperature' matches 2 rows; name one of them: temperature(t=0.2), temperature(t=0.",
        ),
        ("temperature(t=0.3).loops > 1", "matches no row; name one of: greedy, "),
        ("uniform.loops > 1", "'uniform' matches no row"),
        ("a" * 5000 + ".loops > 1", "matches no row"),
    ],
)  # fmt: skip
def test_wrong_conditions_are_refused_before_anything_is_measured(text, message):
    with pytest.raises(UsageError) as refused:
        condition(text, ROWS)
    assert message in str(refused.value)


def test_a_condition_that_does_not_hold_passes(document):
    assert of(document, "greedy.entropy > 0") == ""
    assert of(document, "uniform.entropy < 2.39789") == ""


@pytest.mark.parametrize(
    ("operator", "holds"),
    [("<", [True, False, False]), ("<=", [True, True, False]),
     (">", [False, False, True]), (">=", [False, True, True])],
)  # fmt: skip
def test_the_operators_at_and_around_the_bound(document, operator, holds):
    document["samplers"][0]["generated_texts"]["zipf"] = 0.5
    bounds = (0.75, 0.5, 0.25)
    assert [bool(of(document, f"greedy.zipf {operator} {bound}")) for bound in bounds] == holds


def test_one_that_holds_reports_the_figure_and_its_interval(document):
    own = document["samplers"][0]["generated_texts"]
    own["loops"], own["ci95"]["loops"] = 0.41, [0.3, 0.52]
    assert of(document, "greedy.loops > 0.3") == (
        "greedy.loops > 0.3: it is 0.41, 95% interval 0.3 to 0.52"
    )
    own["loops"] = 0.4100032
    assert ": it is 0.4100032, 95%" in of(document, "greedy.loops > 0.410003")
    own["ci95"]["loops"] = None
    assert of(document, "greedy.loops>0.3") == "greedy.loops>0.3: it is 0.41"


def test_a_figure_that_was_not_measured_fails(document):
    document["samplers"][0]["generated_texts"]["zipf"] = None
    assert of(document, "greedy.zipf > 5") == "greedy.zipf > 5: it was not measured"
    failed = of(document, "breaks.loops > 0.3")
    assert failed.startswith("breaks.loops > 0.3: breaks(at=5) failed at step 5: ValueError")


def test_a_matched_row_is_named_by_the_expression_given(document):
    """The rows before it are `temperature`, the row after it is `temperature(t=0.5)`."""
    gate = condition("temperature.entropy > 0", [("temperature", "temperature"), *ROWS[:1]])
    assert gate.tripped(typed(document)).startswith("temperature.entropy > 0: it is ")


def test_every_metric_of_a_report_can_be_named(document):
    """All measured figures; of the others, nothing was measured."""
    row = document["samplers"][2]
    for view in ("teacher_forced", "generated_texts"):
        for name, value in row[view].items():
            if isinstance(value, float):
                assert of(document, f"uniform.{name} > -99").startswith(
                    f"uniform.{name} > -99: it is "
                )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("greedy.loops.high > 0.3", ("greedy", "loops", "high")),
        ("greedy.entropy.mean.low > 0.3", ("greedy", "entropy.mean", "low")),
        ("temperature(t=0.2).zipf.difference < 0", ("temperature(t=0.2)", "zipf", "difference")),
        ("greedy.entropy.difference.low > 0", ("greedy", "entropy", "difference.low")),
        ("human.loops > 0", ("human", "loops", "")),
    ],
)  # fmt: skip
def test_a_condition_may_be_on_a_part_and_on_human_text(text, part):
    found = condition(text, ROWS)
    assert (found.sampler, found.metric, found.part) == part


def test_the_ends_of_an_interval_and_of_a_difference_count(document):
    entry = document["samplers"][0]
    own = entry["generated_texts"]
    own["loops"], own["ci95"]["loops"] = 0.41, [0.3, 0.52]
    assert of(document, "greedy.loops.low > 0.31") == ""
    assert of(document, "greedy.loops.high > 0.5").endswith(
        "its high end is 0.52, 95% interval 0.3 to 0.52"
    )
    entry["differences"] = {
        "against": "human",
        "generated_texts": {"loops": {"value": 0.2, "ci95": [0.1, 0.3]}},
        "teacher_forced": {"entropy.mean": {"value": -1.0, "ci95": None}},
    }
    assert of(document, "greedy.loops.difference > 0.25") == ""
    assert of(document, "greedy.loops.difference.low > 0.05") == (
        "greedy.loops.difference.low > 0.05: its low end is 0.1, 95% interval 0.1 to 0.3"
    )
    assert of(document, "greedy.entropy.difference < 0").endswith("it is -1")
    assert of(document, "greedy.entropy.difference.high < 0").endswith("it has no interval")
    document["samplers"][2]["differences"] = None
    assert of(document, "uniform.loops.difference > 9").endswith("it was not measured")


def test_human_text_may_fail_a_report(document):
    assert of(document, "human.surprisal > 0").startswith("human.surprisal > 0: it is ")
    document["reference"] = None
    assert of(document, "human.surprisal > 0").endswith("it was not measured")
