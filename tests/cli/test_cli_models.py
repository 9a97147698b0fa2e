"""`corelm models`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import SMALL, numbered_words, random_weights, write

from corelm.interop.testing import tiny_gpt2

Run = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one model, called tiny, that has a held-out perplexity."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))
    positions = [{"position": 0, "entropy": 2.125}]
    human = {"entropy": {"band": [1.5, 2.5]}, "by_position": positions}
    figures = {"held_out": {"perplexity": 92.625}, "human": human}
    training = {"architecture": {"kind": "rnn"}, "recipe": {"batch": 32}, "seconds": 3600}
    write(tmp_path / "models" / "tiny", figures=figures, training=training)
    return tmp_path


def words_of(path: Path) -> list[str]:
    """A path, which may have spaces, as the words of a line."""
    return str(path).split()


def test_the_list(home: Path, run: Run) -> None:
    lines = run("models").out.splitlines()
    assert lines[0].split() == ["model", "network", "vocabulary", "perplexity", "source"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["toy"] == ["corelm-toy:toy"]
    assert rows["tiny"] == ["rnn", "4", "symbols", "92.6", *words_of(home / "models" / "tiny")]


def test_the_list_as_json(home: Path, run: Run) -> None:
    models = {model["name"]: model for model in run("models", "--json").json}
    assert models["toy"] == {"name": "toy", "source": "corelm-toy:toy", "path": None}
    tiny = models["tiny"]
    assert tiny["path"] == str(home / "models" / "tiny")
    assert (tiny["architecture"]["kind"], tiny["tokens"]) == ("rnn", "symbols")
    assert tiny["figures"]["held_out"]["perplexity"] == 92.625


def test_a_damaged_model_is_in_the_list_with_its_reason(home: Path, run: Run) -> None:
    write(home / "models" / "broken")
    (home / "models" / "broken" / "config.json").write_text("{")
    result = run("models")
    assert result.code == 0
    [row] = [line for line in result.out.splitlines() if line.startswith("broken")]
    assert "FAILED: " in row
    assert "config.json" in row
    assert "\ntiny " in result.out
    [document] = [m for m in run("models", "--json").json if m["name"] == "broken"]
    assert "config.json" in document["failure"]


@pytest.mark.parametrize("words", [("tiny",), ("show", "tiny")])
def test_one_model(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # however long the path is
    lines = [line.split() for line in run("models", *words).out.splitlines()]
    assert lines[0] == ["tiny"]
    assert ["source", *words_of(home / "models" / "tiny")] in lines
    assert ["kind", "rnn"] in lines
    assert ["tokens", "symbols"] in lines
    assert ["recipe", "batch", "32"] in lines
    assert ["seconds", "3,600"] in lines
    assert ["held", "out", "perplexity", "92.625"] in lines
    assert ["human", "entropy", "band", "1.5", "to", "2.5"] in lines
    assert not any("position" in line for line in lines)  # a table, for reports
    assert ["architecture", "kind", "rnn"] not in lines


def test_one_model_by_path_and_as_json(home: Path, run: Run) -> None:
    path = str(home / "models" / "tiny")
    assert run("models", path, "--json").json["architecture"]["width"] == 2


def test_a_model_without_a_folder(home: Path, run: Run) -> None:
    lines = [line.split() for line in run("models", "toy").out.splitlines()]
    assert ["source", "corelm-toy:toy"] in lines
    assert ["vocabulary", "13"] in lines
    assert ["context", "length", "100"] in lines


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("nope",), 2, "there is no model 'nope'"),
        (("./nope",), 1, "there is no model at 'nope'"),
        (
            ("export", "tiny"),
            2,
            "give the file to write: corelm models export tiny --to tiny.keras",
        ),
        (
            ("export", "tiny", "--to", "gguf"),
            2,
            "give the path to write: corelm models export tiny --to gguf tiny.gguf",
        ),
        (
            ("export", "tiny", "--to", "tiny.onnx"),
            2,
            "--to takes transformers, keras_hub, gguf or a file that ends with .keras, not",
        ),
        (("export", "tiny", "--to", "tiny.keras", "out"), 2, "give one path: 'tiny.keras' is a"),
        (
            ("export", "tiny", "--to", "transformers", "out"),
            2,
            "this model has the network rnn and the tokens symbols; only gpt2 with byte-pairs",
        ),
        (("export", "toy", "--to", "toy.keras"), 2, "toy is not a model in a folder"),
        (("export", "nope", "--to", "nope.keras"), 2, "there is no model 'nope'"),
        (("export",), 2, "Missing argument"),
    ],
)
def test_impossible_requests_are_refused(
    home: Path, run: Run, words: tuple[str, ...], code: int, sentence: str
) -> None:
    result = run("models", *words)
    assert (result.code, result.out) == (code, "")
    assert result.err.splitlines()[-1].startswith(f"error: {sentence}")


# Keras converts its variables the way of NumPy 1.
@pytest.mark.slow
def test_an_exported_model_writes_the_same(tmp_path: Path, call: Run) -> None:
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    a = SMALL["book"]
    weights, words = random_weights(a), numbered_words(a.vocabulary_size)
    folder = write(tmp_path / "small", architecture=a, vocabulary=words, weights=weights)
    target = tmp_path / "small.keras"
    words = ("models", "export", str(folder), "--to", str(target))
    assert call(*words)[:2] == (0, f"{target}\n")
    sample = ("sample", "w1 w2", "--seed", "1", "--length", "9", "--model")
    texts = [call(*sample, str(model)) for model in (folder, target)]
    assert texts[0][:2] == texts[1][:2] == (0, texts[0].out)
    again = call(*words)
    assert (again.code, "already exists" in again.err) == (2, True)


def test_a_model_is_exported_to_another_engine(tmp_path: Path, call: Run) -> None:
    folder, target = tiny_gpt2(tmp_path / "tiny"), tmp_path / "out"
    words = ("models", "export", str(folder), "--to", "transformers", str(target))
    assert call(*words)[:2] == (0, f"{target}\n")
    assert (target / "model.safetensors").is_file()
    again = call(*words)
    assert (again.code, "already exists" in again.err) == (2, True)
    assert call(*words, "--overwrite").code == 0


def test_a_model_in_the_home_is_removed(run: Run, home: Path) -> None:
    folder = home / "models" / "tiny"
    refused = run("models", "remove", "tiny")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.endswith(
        "error: nothing was deleted; to delete tiny, answer y or add --yes\n"
    )
    assert folder.is_dir()
    removed = run("models", "remove", "tiny", "--yes")
    assert (removed.code, removed.out) == (0, f"{folder}\n")
    assert not folder.exists()


def test_models_of_plugins_and_other_folders_are_never_removed(run: Run, home: Path) -> None:
    elsewhere = home / "elsewhere"
    shutil.copytree(home / "models" / "tiny", elsewhere)
    for name, reason in (
        ("imdb", "imdb comes with a plugin (corelm:imdb) and cannot be removed"),
        ("toy", "toy comes with a plugin (corelm-toy:toy) and cannot be removed"),
        (str(elsewhere), f"{elsewhere} is not in {home / 'models'}: corelm removes only "),
        ("no-such", "there is no model 'no-such'"),
    ):
        result = run("models", "remove", name, "--yes")
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines()[-1].startswith(f"error: {reason}")
    assert elsewhere.is_dir()


def test_a_sampler_as_a_folder_for_transformers(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "generate"
    words = ("models", "export-generate", "min_p(0.05) | temperature(t=0.8)", str(folder))
    assert run(*words).out == f"{folder}\n"
    code = (folder / "custom_generate" / "generate.py").read_text()
    assert "SAMPLER = 'min_p(p=0.05) | temperature(t=0.8)'\n" in code
    assert (folder / "custom_generate" / "requirements.txt").exists()
    again = run(*words)
    assert (again.code, again.out) == (2, "")
    assert "already exists" in again.err
    again = run(*words, "--overwrite")
    assert (again.code, again.err) == (0, "")


def test_a_secret_in_a_folder_for_transformers_is_named(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("corelm_watermark", reason="pip install ./plugins/corelm-watermark")
    chain = "temperature(t=0.5) | phase(end=9, inside=green_list(key='secret'))"
    result = run("models", "export-generate", chain, str(tmp_path / "generate"))
    assert result.code == 0
    assert "key of green_list: whoever gets the folder can read it" in result.err


@pytest.mark.parametrize("sampler", ["nope", "min_p(p=2)", "min_p(p=0.1) |", "__import__('os')"])
def test_a_sampler_that_is_not_one_is_not_written(run: Run, tmp_path: Path, sampler: str) -> None:
    folder = tmp_path / "generate"
    result = run("models", "export-generate", sampler, str(folder))
    assert (result.code, result.out) == (2, "")
    assert not folder.exists()
