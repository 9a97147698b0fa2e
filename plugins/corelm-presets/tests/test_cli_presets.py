"""`corelm presets`, and `--preset`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
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


# Settings, both ways


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """A function that writes a file of settings and returns its path."""

    def write(content: str) -> str:
        file = tmp_path / "settings"
        file.write_text(content)
        return str(file)

    return write


REQUEST = (
    '{"model": "m", "messages": [], "temperature": 0.7, "seed": 3, "max_tokens": 9, "colour": 1}'
)


def test_settings_as_json(run: Run, written: Run) -> None:
    assert run("presets", "--json", "--from", written(REQUEST)).json == {
        "engine": "openai",
        "sampler": "temperature(t=0.7)",
        "unsupported": {},
        "inexact": {},
        "idle": [],
        "other": {"model": "m", "messages": [], "seed": 3, "max_tokens": 9},
        "unknown": ["colour"],
    }


def test_a_setting_without_a_counterpart_is_part_of_a_failure(run: Run, written: Run) -> None:
    result = run(
        "presets", "--format", "transformers", "--from",
        written('{"num_beams": 4, "top_p": 0.5, "bad_words_ids": [[1, 2]]}'),
    )  # fmt: skip
    assert (result.code, result.out) == (3, "greedy\n")
    assert result.err.splitlines()[1:] == [
        "warning: no counterpart in corelm: num_beams, bad_words_ids (corelm bans one token by its "
        "id, not a sequence)",
        "without effect in transformers here: top_p",
    ]


def test_one_engine_in_the_words_of_another(run: Run, written: Run) -> None:
    result = run("presets", "--from", written("temp: 0.7\n"), "--format", "sillytavern",
                 "--to", "openai")  # fmt: skip
    assert result.code == 0
    assert result.json == corelm.to_settings("temperature(t=0.7)", "openai")
    flags = run("presets", "--sampler", "min_p(p=0.1)", "--to", "llama.cpp-cli")
    assert " --min-p 0.1 " in flags.out
    assert run("presets", "vllm", "--to", "vllm").json["top_p"] == 1.0


@pytest.mark.slow
def test_settings_from_standard_input(spawn: Run) -> None:
    result = spawn("presets", "--from", "-", input=b"--temp 0 --mlockk")
    assert (result.code, result.out) == (0, "greedy\n")
    assert "unknown to corelm, left out: --mlockk" in result.err
    broken = spawn("presets", "--from", "-", input=b"{")
    assert (broken.code, broken.out) == (1, "")
    assert broken.err.startswith(
        "error: cannot read the settings in standard input: it is not JSON"
    )


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("vllm", "--from", "x"), 2, "a NAME, --from or --sampler, not several of them"),
        (("--format", "vllm"), 2,
         "--format says which engine's the file of --from is; give --from too"),
        (("--to", "vllm"), 2, "--to writes a chain: give a NAME, --from or --sampler too"),
        (("--sampler", "greedy"), 2,
         "--sampler is for --to, which names the engine to write the chain for"),
        (("--from", "x", "--to", "vlm"), 2,
         "there is no engine 'vlm'; did you mean 'vllm'? (there are: transformers, llama.cpp, "
         "llama.cpp-cli, openai, vllm, mlx-lm, sillytavern, text-generation-webui, "
         "koboldcpp, ollama)"),
        (("--from", "no-such-file"), 1, "no-such-file: No such file or directory"),
        (("llamacpp",), 2,
         "there is no preset 'llamacpp'; did you mean 'llama.cpp'? (there are: llama.cpp, "
         "transformers, vllm, mlx-lm, keras-hub)"),
    ],
)  # fmt: skip
def test_wrong_names_and_options_that_do_not_go_together(
    run: Run, words: tuple[str, ...], code: int, sentence: str
) -> None:
    result = run("presets", *words)
    assert (result.code, result.out) == (code, "")
    assert result.err == f"error: {sentence}\n"


def test_hostile_keys_are_shortened_and_printable(run: Run, written: Run) -> None:
    keys = {f"{i}\x1b[31m" + "a" * 500: 1 for i in range(108)}
    result = run("presets", "--from", written(json.dumps({"temp": 1, **keys})))
    assert result.out == "stochastic\n"
    line = result.err.splitlines()[-1]
    assert line.endswith(" and 8 more (all with --json)")
    assert "\x1b" not in line
    assert len(line) < 8000


def test_every_key_of_a_long_preset_is_listed(run: Run, written: Run) -> None:
    keys = {f"key_{i}": 1 for i in range(30)}
    result = run("presets", "--from", written(json.dumps({"temp": 1, **keys})))
    assert result.err.splitlines()[-1] == f"warning: unknown to corelm, left out: {', '.join(keys)}"


def test_a_file_of_settings_as_a_preset_points_to_from(run: Run, written: Run) -> None:
    file = written('{"temp": 0.7}')
    result = run("sample", "--preset", file)
    assert (result.code, result.out) == (2, "")
    assert f"`corelm presets --from {file}` prints its settings as an expression" in result.err


MODELFILE = """\
# a comment
FROM llama3.2

PARAMETER temperature 0.7
parameter stop "User:"
PARAMETER stop "<|end|>"
PARAMETER mirostat 2
SYSTEM \"\"\"
temperature: 5
PARAMETER temperature 9
\"\"\"
PARAMETER num_predict 42
PARAMETER top_k 20
"""


@pytest.mark.parametrize(
    ("text", "expression", "notes"),
    [
        (REQUEST, "temperature(t=0.7)",
         ["the settings of openai; keys that are left out have its defaults",
          "not samplers, left out: model, messages, seed (--seed), max_tokens (--length)",
          "warning: unknown to corelm, left out: colour"]),
        (MODELFILE, "top_k(k=20) | top_p(p=0.9) | temperature(t=0.7)",
         ["the settings of ollama; keys that are left out have its defaults",
          "without effect in ollama here: mirostat",
          "not samplers, left out: from, stop (--stop), system, num_predict (--length)"]),
    ],
)  # fmt: skip
def test_settings_in_a_file_are_printed_as_an_expression(
    run: Run, written: Run, text: str, expression: str, notes: list[str]
) -> None:
    result = run("presets", "--from", written(text))
    assert (result.code, result.out) == (0, f"{expression}\n")
    assert result.err.splitlines() == notes


@pytest.mark.parametrize(
    ("text", "line"),
    [("FROM a\nPARAMETER temperature\n", 2), ('FROM a\n\nSYSTEM "no end\n', 3),
     ("FROM a\ntemperature 1\n", 2), ('FROM a\nSYSTEM """x\nPARAMETER top_k 1', 2)],
)  # fmt: skip
def test_a_modelfile_that_cannot_be_read(run: Run, written: Run, text: str, line: int) -> None:
    result = run("presets", "--from", written(text))
    assert (result.code, result.out) == (1, "")
    assert f"it is no Modelfile: line {line} is not a command with a value" in result.err


def test_an_export_in_part_names_what_is_lost(run: Run) -> None:
    words = ("presets", "--sampler", "min_p(p=0.05) | top_p(p=0.9)", "--to", "openai", "--json")
    whole = run(*words)
    assert (whole.code, whole.out) == (1, "")
    assert whole.err.endswith(
        "min_p(p=0.05) has no counterpart in openai; --partial writes the rest\n"
    )
    part = run(*words, "--partial")
    assert part.code == 3
    assert part.json["top_p"] == 0.9
    assert part.err == "warning: left out: min_p(p=0.05) has no counterpart in openai\n"
    assert run("presets", "llama.cpp", "--to", "llama.cpp", "--partial").code == 0
    assert run("presets", "llama.cpp", "--partial").code == 2
