"""What a report says in words: right for any set of samplers."""

from __future__ import annotations

import pytest

from corelm.report.document.lookup import rows as named_rows
from corelm.report.document.summary import sentence

HUMAN = {"same_contexts": None, "own_texts": {"surprisal": 4.2}}
FAILED = {
    "error": {"type": "SamplerError", "message": "x"},
    "same_contexts": None,
    "own_texts": None,
}


def figures(**own):
    """A row that has these figures of its own texts, and nothing else."""
    return {"error": None, "same_contexts": None, "own_texts": own}


def on_contexts(expected, model=4.0, **own):
    """A row that has these figures on the same contexts."""
    same = {"expected_surprisal": expected, "model_entropy": model}
    return {"error": None, "same_contexts": same, "own_texts": own}


def test_the_nearest_to_human_text(rows):
    document = rows(
        HUMAN, a=figures(surprisal=1.5), b=figures(surprisal=4.0), c=figures(surprisal=9)
    )
    assert sentence(document) == (
        "Nearest to human text is b, with 4.00 nats of surprisal per token; people's has 4.20."
    )


def test_the_nearest_may_be_two_at_once(rows):
    same = figures(surprisal=4.1)
    assert sentence(rows(HUMAN, a=same, b=same)).startswith("Nearest to human text are a and b, ")


def test_without_human_text_nothing_is_nearest(rows):
    assert sentence(rows(None, a=figures(surprisal=1.5, loops=0.0))) == "It does not end in a loop."


def test_which_repeat_and_which_loop(rows):
    document = rows(
        None,
        a=figures(rep_4=0.5, loops=0.735),
        b=figures(rep_4=0.1, loops=0.0),
        c=figures(rep_4=0.02, loops=0.015),
        d=figures(rep_4=0.0, loops=0.009),
    )
    assert sentence(document) == (
        "a (50.0% of 4-grams) and b (10.0% of 4-grams) repeat themselves. "
        "a (73.5% of texts) and c (1.5% of texts) end in loops."
    )


def test_when_nothing_loops(rows):
    document = rows(None, a=figures(rep_4=0.0, loops=0.0), b=figures(rep_4=0.0, loops=0.0))
    assert sentence(document) == "None of them ends in a loop."


def test_which_draw_from_the_tail(rows):
    document = rows(
        None, a=on_contexts(4.0), b=on_contexts(5.0), c=on_contexts(5.01), d=on_contexts(9)
    )
    assert sentence(document) == (
        "c (5.01) and d (9.00) draw from the tail, by the surprisal to be expected of a token; "
        "the model itself has 4.00."
    )


def test_one_alone_is_told_of_in_the_singular(rows):
    document = rows(None, a=on_contexts(9, rep_4=0.5, loops=0.5), b=FAILED)
    assert sentence(document) == (
        "a (50.0% of 4-grams) repeats itself. a (50.0% of texts) ends in loops. a (9.00) draws "
        "from the tail, by the surprisal to be expected of a token; the model itself has 4.00. "
        "b failed."
    )


@pytest.mark.parametrize(
    ("samplers", "says"),
    [
        ({}, "No sampler was measured."),
        ({"a": FAILED}, "Every sampler failed."),
        ({"a": FAILED, "b": FAILED}, "Every sampler failed."),
        ({"a": figures(surprisal=None, loops=None, rep_4=None)}, ""),
    ],
)
def test_where_there_is_little_to_say(rows, samplers, says):
    assert sentence(rows(HUMAN, **samplers)) == says
    assert sentence(rows(None, **samplers)) == says


def test_of_a_whole_report(made):
    text = sentence(made)
    assert text.startswith("Nearest to human text is temperature(t=0.5), with ")
    assert text.endswith("breaks(at=5) failed.")
    assert [name for name, _ in named_rows(made)] == [
        "human", "greedy", "temperature(t=0.5)", "uniform",
    ]  # fmt: skip
