"""`corelm bench`: what it shows, not how fast this machine is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small_models import SMALL, random_weights, write
from small_models import numbered_words as words

Run = Callable[..., Any]
QUICK = ("--seconds", "0", "--length", "3")
TOY = ("bench", "the", "--model", "toy", *QUICK)
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
NONE = {"type": "null"}
SCHEMA = {
    "type": "object",
    "required": [
        "corelm", "machine", "model", "sampler", "prompt", "length", "batches",
    ],
    "additionalProperties": False,
    "properties": {
        "corelm": {"type": "string"},
        "machine": {
            "type": "object",
            "required": ["processor", "cores", "platform", "python", "numpy"],
        },
        "model": {"const": "toy"},
        "sampler": {"const": "temperature(t=0.7)"},
        "prompt": {"const": "the"},
        "length": {"const": 3},
        "batches": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "batch", "rounds", "tokens_per_second", "step_seconds", "sampler_share",
                    "draw_share", "limit_tokens_per_second", "share_of_limit",
                ],
                "additionalProperties": False,
                "properties": {
                    "batch": {"type": "integer"},
                    "rounds": {"const": 1},
                    "tokens_per_second": POSITIVE,
                    "step_seconds": POSITIVE,
                    "sampler_share": SHARE,
                    "draw_share": SHARE,
                    "limit_tokens_per_second": NONE,
                    "share_of_limit": NONE,
                },
            },
        },
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of corelm's own, in a folder."""
    a = SMALL["default"]
    vocabulary = words(a.vocabulary_size)
    weights = random_weights(a, spread=0.1)
    write(tmp_path / "m", architecture=a, vocabulary=vocabulary, weights=weights)
    monkeypatch.chdir(tmp_path)
    return "./m"


def test_a_row_for_each_batch(run: Run, network: str) -> None:
    result = run("bench", "--model", network, *QUICK, "--batch", "2", "--batch", "1")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "./m, temperature(t=0.7), 3 tokens"
    assert re.search(r", \d+ cores, (kernels|NumPy only, no kernels)$", lines[1])
    assert re.split("  +", lines[3].strip()) == [
        "batch", "tokens/s", "a step", "sampler", "draw", "limit", "of the limit",
    ]  # fmt: skip
    row = r" *{} +[\d,]+ +[\d,.]+ ms +\d+% +\d+% +[\d,]+ +\d+%"
    assert [
        bool(re.fullmatch(row.format(n), line)) for n, line in zip("21", lines[4:], strict=True)
    ]
    assert result.err == "batch 2 ...\nbatch 1 ...\n"


def test_when_nothing_is_said_there_are_three(run: Run) -> None:
    text = run(*TOY).out
    assert re.findall(r"^ *(\d+)  ", text, re.MULTILINE) == ["1", "8", "64"]


def test_a_model_of_another_kind_says_that_it_has_no_limit(run: Run) -> None:
    text = run(*TOY, "--batch", "1").out
    assert "No limit is shown" in text
    assert re.search(r"^ *1 +[\d,]+ +[\d,.]+ ms +\d+% +\d+%$", text, re.MULTILINE)


@pytest.mark.parametrize("columns", ["80", "40", "20"])
def test_it_fits_its_terminal(
    run: Run, network: str, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for model in ("toy", network):
        result = run("bench", "the", "--model", model, *QUICK, "--batch", "1")
        assert result.code == 0
        assert "tokens/s" in result.out
        assert max(map(len, result.out.splitlines())) <= int(columns)


def test_as_json(run: Run) -> None:
    document = run(*TOY, "--batch", "2", "--batch", "3", "--json").json
    jsonschema.validate(document, SCHEMA)
    assert [one["batch"] for one in document["batches"]] == [2, 3]


def test_json_with_a_limit(run: Run, network: str) -> None:
    [one] = run("bench", "--model", network, *QUICK, "--batch", "2", "--json").json["batches"]
    seconds = 2 / one["limit_tokens_per_second"]
    assert one["share_of_limit"] == pytest.approx(seconds / one["step_seconds"])


@pytest.mark.packages
def test_the_sampler_is_chosen_as_in_sample(run: Run) -> None:
    ways = {
        ("--t", "0.5"): "temperature(t=0.5)",
        ("--sampler", "top_k", "--k", "3"): "top_k(k=3)",
        ("--sampler", "top_k(k=3) | greedy"): "top_k(k=3) | greedy",
        ("--preset", "keras-hub"): "temperature(t=1.0) | top_k(k=5)",
    }
    for given, sampler in ways.items():
        assert run(*TOY, "--batch", "1", "--json", *given).json["sampler"] == sampler


def test_the_options_of_a_sampler_are_called_as_in_sample(run: Run) -> None:
    assert "--sampler-length INTEGER" in run("bench", "--sampler", "everything", "--help").out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--batch", "0"), "batch must be at least 1 and at most 1048576, not 0"),
        (("--batch", "all"), "batch must be a whole number, not 'all'"),
        (("--length", "1"), "length must be at least 2 and at most 100000, not 1"),
        (("--length", "99999999999"),
         "length must be at least 2 and at most 100000, not 99999999999"),
        (("--seconds", "1e400"), "seconds must be at least 0 and at most 86400, not inf"),
        (("--seconds", "-1"), "seconds must be at least 0 and at most 86400, not -1.0"),
        (("--seconds", "nan"), "seconds must be a number, not nan"),
        (("--sampler", "greedy", "--t", "1"),
         "there is no option --t: the sampler greedy has no parameters"),
        (("--batchs", "1"), "there is no option --batchs; did you mean '--batch'?"),
        (("cat",), "one prompt, not 2: put it in quotation marks"),
        (("--decoder", "wide"), "there is no option --decoder: the sampler temperature has --t"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    run: Run, given: tuple[str, ...], sentence: str
) -> None:
    result = run(*TOY, *given)
    assert (result.code, result.out) == (2, "")
    assert result.err.removeprefix("printed at import\n") == f"error: {sentence}\n"


def test_a_sampler_that_fails_is_named(run: Run) -> None:
    result = run(*TOY, "--sampler", "fails(at=1)")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1].startswith("error: fails(at=1) failed at step 1")


def test_texts_that_end_at_once_are_wrong_usage(run: Run) -> None:
    """Of an unknown word the toy model knows nothing; the end is the first of equals."""
    result = run("bench", "zebra", "--model", "toy", *QUICK, "--sampler", "greedy")
    assert (result.code, result.out) == (2, "")
    assert "error: every text ends with its first token" in result.err
