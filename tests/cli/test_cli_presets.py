"""`corelm presets`, and `--preset`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import corelm

Run = Callable[..., Any]
NAMES = ["llama.cpp", "transformers", "vllm", "mlx-lm", "keras-hub"]
TOY = ("--model", "toy", "the")


def test_every_preset_with_its_expression(run: Run) -> None:
    lines = run("presets").out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == NAMES
    assert "  temperature(t=1.0) | top_k(k=5)" in lines


@pytest.mark.parametrize("columns", ["80", "40", "20"])
def test_the_list_fits_its_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, run("presets").out.splitlines())) <= int(columns)


@pytest.mark.parametrize("name", NAMES)
def test_one_preset_is_an_expression_that_can_be_read_back(run: Run, name: str) -> None:
    result = run("presets", name)
    assert result.code == 0
    assert result.out == corelm.presets()[name] + "\n"
    assert corelm.sampler(result.out) == corelm.preset(name)


def test_the_engine_is_described_on_standard_error(run: Run) -> None:
    assert run("presets", "keras-hub").err == (
        "The sampler that CausalLM.compile() takes by itself, TopKSampler.\n"
    )


def test_as_json(run: Run) -> None:
    documents = run("presets", "--json").json
    assert [document["name"] for document in documents] == NAMES
    assert run("presets", "keras-hub", "--json").json == documents[-1]
    assert documents[-1]["sampler"] == "temperature(t=1.0) | top_k(k=5)"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["sample", "explain"])
def test_a_preset_is_a_sampler(run: Run, command: str, name: str) -> None:
    result = run(command, *TOY, "--preset", name, "--json")
    assert result.code == 0
    assert result.json["sampler"] == str(corelm.preset(name))
    assert "note: " not in result.err


def test_an_expression_that_was_changed(run: Run) -> None:
    expression = run("presets", "keras-hub").out.replace("k=5", "k=2")
    stages = run("explain", *TOY, "--sampler", expression, "--json").json["stages"]
    assert stages[-1]["kept"] == 2


@pytest.mark.parametrize("command", ["sample", "explain"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--preset", "vllm", "--sampler", "greedy"),
         "--sampler or --preset, not both: `corelm presets vllm` prints an expression that you can "
         "edit and pass to --sampler"),
        (("--preset", "vllm", "--t", "2"),
         "there is no option --t; a preset holds its own parameters: `corelm presets NAME` "
         "prints it as an expression that you can edit and pass to --sampler"),
        (("--preset", ""),
         "there is no preset '' (there are: llama.cpp, transformers, vllm, mlx-lm, keras-hub)"),
    ],
)  # fmt: skip
def test_wrong_usage(run: Run, command: str, words: tuple[str, ...], sentence: str) -> None:
    result = run(command, *TOY, *words)
    assert (result.code, result.out) == (2, "")
    assert re.sub("^printed at import\n", "", result.err) == f"error: {sentence}\n"


def test_a_preset_that_there_is_not(run: Run) -> None:
    result = run("presets", "llamacpp")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(
        "error: there is no preset 'llamacpp'; did you mean 'llama.cpp'? (there are: llama.cpp, "
    )
