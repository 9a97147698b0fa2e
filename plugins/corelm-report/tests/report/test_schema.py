"""The schema of a report, and the check of documents against it."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from programs import python

import corelm
from corelm.errors import ReportError
from corelm_report import schema


def test_it_is_a_json_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_report_follows_it(document):
    jsonschema.validate(document, schema())
    corelm.Report(document)


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with another value at a path; `...` removes the key."""
    if not path:
        return value
    copied = copy.copy(document)
    if len(path) == 1 and value is ...:
        del copied[path[0]]
    else:
        copied[path[0]] = changed(copied[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("units",), "bits", "units: expected 'nats', got 'bits'"),
        (
            ("samplers", 0, "generated_texts", "loops"),
            "x",
            "samplers[0].generated_texts.loops: expected a number or null, got 'x'",
        ),
        (("curve",), ..., "curve is missing"),
        (
            ("samplers", 0, "texts", 0, "tokens", 0, "alternatives", 0),
            ["a"],
            "samplers[0].texts[0].tokens[0].alternatives[0]: expected 2 items, got 1",
        ),
        (("header", "n"), -1, "header.n: expected at least 0, got -1"),
        (
            ("header", "contexts", "source"),
            "x",
            "header.contexts.source: expected 'human' or 'model', got 'x'",
        ),
        (("bounds", "max"), 10**400, "bounds.max: expected a number, got "),
        (("bounds", "max"), float("nan"), "bounds.max: expected a number, got nan"),
        (("reference",), [], "reference: expected an object, got an array"),
    ],
)  # fmt: skip
def test_the_first_fault_is_named(document, path, value, message):
    other = changed(document, path, value)
    with pytest.raises(ReportError) as refused:
        corelm.Report(other)
    assert str(refused.value).startswith(f"it does not follow corelm.report/4: {message}")


def test_a_value_that_names_no_schema():
    for value in ([], "report", None, {}, {"samplers": []}):
        with pytest.raises(ReportError, match="it names no schema, so corelm did not write it"):
            corelm.Report(value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("generated_texts", "loops"),
            1.2,
            "generated_texts.loops: expected at most 1.000001, got",
        ),
        (("generated_texts", "distinct_1"), -0.1, "distinct_1: expected at least 0, got -0.1"),
        (("teacher_forced", "mass_kept"), 2, "teacher_forced.mass_kept: expected at most 1.000001"),
        (("generated_texts", "n"), -1, "generated_texts.n: expected at least 0, got -1"),
        (("generated_texts", "set_size"), -1, "generated_texts.set_size: expected at least 0"),
        (("texts", 0, "tokens", 0, "p"), 1.5, "p: expected at most 1.000001, got 1.5"),
        (
            ("generated_texts", "ci95", "surprisal"),
            [90.0, 91.0],
            r"generated_texts.surprisal: \d.* is outside its own interval, 90.0 to 91.0",
        ),
        (
            ("generated_texts", "ci95", "surprisal"),
            [9.0, 0.0],
            "expected an interval whose low end comes first, got 9.0 to 0.0",
        ),
        (
            ("teacher_forced", "entropy", "ci95"),
            [90.0, 91.0],
            "entropy.mean: .* is outside its own",
        ),
        (
            ("differences", "generated_texts", "surprisal", "ci95"),
            [90.0, 91.0],
            r"samplers\[2\].differences.generated_texts.surprisal.value: .* is outside its own",
        ),
    ],
)
def test_impossible_values_are_refused(document, path, value, message):
    with pytest.raises(ReportError, match=message):
        corelm.Report(changed(document, ("samplers", 2, *path), value))


def test_more_tokens_than_the_vocabulary_cannot_be_drawn(document):
    with pytest.raises(ReportError, match="drawable: expected at most the vocabulary, 13, got 14"):
        corelm.Report({**document, "drawable": 14})


def test_the_lists_of_a_curve_have_one_length(document):
    document["curve"]["slope"].pop()
    expected = r"curve: expected lists of the same length, got 26 in t, 26 in entropy, 25 in slope"
    with pytest.raises(ReportError, match=expected):
        corelm.Report(document)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("entropy", [1.0], r"by_token: expected lists of the same length, got 12 in token"),
        ("entropy", ["a"] * 12, r"samplers\[0\].texts\[0\].by_token.entropy: expected numbers"),
        ("text", [1] * 12, r"by_token.text: expected texts"),
    ],
)
def test_the_columns_of_a_text_fit_together(document, column, values, message):
    document["samplers"][0]["texts"][0]["by_token"][column] = values
    with pytest.raises(ReportError, match=message):
        corelm.Report(document)


@pytest.mark.slow
def test_sampling_does_not_import_the_validator():
    """It takes 0.2 s to import, which only a report is worth."""
    code = (
        "import sys; from corelm.cli.app import main\n"
        "main(['sample', 'This movie', '--length', '1', '--seed', '1'])\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
