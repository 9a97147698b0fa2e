"""`corelm train`."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corelm_train.checkpoint import only_run
from programs import python

from corelm.cli.app import main

Call = Callable[..., Any]

SMALL = (
    "--preset", "book", "--context-length", "8", "--batch", "8", "--prompt", "the cat",
    "--temperatures", "0,1.5", "--length", "3", "--precision", "float32",
)  # fmt: skip


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of texts, and a home for what is made of it."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    words = ["the", "cat", "sat", "on", "a", "mat"]
    rng = random.Random(1)
    texts = [" ".join(rng.choices(words, k=20)) for _ in range(40)]
    file = tmp_path / "notes.txt"
    file.write_text("\n\n".join(texts))
    return file


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give the texts to train on: --data imdb, or a folder or a file"),
        (("own texts.txt",), "'own texts.txt' has no option: did you mean --data 'own texts.txt'?"),
        (("--data", "no/such/file"), "there is no file or folder no/such/file"),
        (("--data", "{notes}", "--patience", "0"), "patience must be at least 1, not 0"),
        (("--data", "{notes}", "--epochs", "x"), "epochs must be a whole number, not 'x'"),
        (("--data", "{notes}", "--temperatures", "1,x"), "temperatures must be a list"),
        (("--data", "{notes}", "--temperatures", "1,-1"), "t must be at least 0, not -1.0"),
        (("--data", "{notes}", "--held-out", "1"), "held_out must be above 0 and below 1, not 1.0"),
        (("--data", "{notes}", "--precision", "half"), "precision must be one of auto, float32"),
        (("--data", "{notes}", "--out", "{folder}"), "{folder} already exists; "),
        (
            ("--data", "{notes}", "--out", "/", "--overwrite"),
            "a model needs a folder with a name of",
        ),
        (("--data", "{notes}", "--out", ".", "--resume"), "a model needs a folder with a name of"),
        (("--data", "{notes}", "--out", "{folder}/.."), "a model needs a folder with a name of it"),
    ],
)
def test_wrong_usage_is_refused_before_heavy_imports(
    notes: Path, call: Call, words: tuple[str, ...], sentence: str
) -> None:
    filled = [word.format(notes=notes, folder=notes.parent) for word in words]
    written = call("train", *filled)
    assert (written.code, written.out) == (2, "")
    assert written.err.startswith(f"error: {sentence.format(folder=notes.parent)}")
    assert written.err.count("\n") == 1


def test_help_names_the_presets_and_the_tokens(call: Call) -> None:
    shown = call("train", "--help")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    assert "book: the chapter's network" in text
    assert "words+punctuation: " in text
    assert "[default: 0.2,0.5,0.7,1.0,1.5]" in text


@pytest.mark.slow
def test_a_model_is_trained_and_writes(notes: Path, call: Call) -> None:
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    written = call("train", "--data", str(notes), *SMALL)
    folder = notes.parent / "home" / "models" / "notes-book"
    assert (written.code, written.out) == (0, f"{folder}\n")
    lines = written.err.splitlines()
    assert lines[0] == f"reading {notes} ..."
    assert any(
        re.match(
            r"training [\d,]+ weights in float32 on [\d,]+ tokens of \d+ texts: 1 x 5 steps", line
        )
        for line in lines
    )
    assert any(line.startswith("step 1 of 5, loss ") for line in lines)
    assert any(line.startswith("epoch 1: held-out perplexity ") for line in lines)
    assert [line.split(": the cat ")[0] for line in lines[-2:]] == ["t=0", "t=1.5"]
    sample = call("sample", "the cat", "--model", "notes-book", "--seed", "1")
    assert (sample.code, sample.out[:8]) == (0, "the cat ")
    again = call("train", "--data", str(notes), *SMALL)
    assert again.code == 2
    assert "replace it with --overwrite" in again.err


@pytest.mark.slow
def test_a_short_text_has_the_small_preset_and_a_curve_at_the_end(notes: Path, call: Call) -> None:
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    words = ["--epochs", "40", "--patience", "2", "--temperatures", "", *SMALL[2:8]]
    written = call("train", "--data", str(notes), *words, "--precision", "float32")
    assert written[:2] == (0, f"{notes.parent / 'home' / 'models' / 'notes-small'}\n")
    assert written.err.replace("\n", "").isprintable()
    lines = written.err.splitlines()
    assert any(re.match(r"training .* steps \(preset small\)$", line) for line in lines)
    assert any(line.startswith("warning: this is little text (") for line in lines)
    assert any(line.startswith("warning: only 2 texts are held out") for line in lines)
    legend = lines.index("loss by epoch, in nats per token: o held-out, . training, * kept")
    assert re.fullmatch(r" +\d+\.\d\d \|[o.* ]+", lines[legend + 1])
    assert re.fullmatch(r" +1 +\d+", lines[legend + 10])
    assert lines[-2] == "stopped, because the held-out loss has not improved for 2 epochs"
    assert re.match(r"kept the weights of epoch \d+, with a held-out perplexity of ", lines[-1])


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_an_interrupted_run_keeps_a_checkpoint_and_continues(
    notes: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    command = ["train", "--data", str(notes), *SMALL]
    command += ["--epochs", "3", "--out", str(notes.parent / "model")]
    endless = [sys.executable, "-m", "corelm", *command, "--length", "1000000"]  # until Ctrl-C
    with subprocess.Popen(endless, stderr=subprocess.PIPE, text=True) as training:
        assert training.stderr
        assert training.stderr.readline() == f"reading {notes} ...\n"  # nothing of TensorFlow's
        for line in training.stderr:
            if line.startswith("step 2 "):
                training.send_signal(signal.SIGINT)
                break
        rest = training.stderr.read()
    lines = rest.splitlines()
    assert "stopping; this may take a moment ..." in lines
    assert any(
        re.match(r"stopped after step \d+ of 15; kept .*model\.checkpoint$", x) for x in lines
    )
    assert lines[-1].startswith("continue with: corelm train --data ")
    assert lines[-1].endswith(" --resume")
    assert training.returncode == 130
    assert "Traceback" not in rest
    resumed = call(*command, "--resume")
    assert resumed[:2] == (0, f"{notes.parent / 'model'}\n")
    first = next(line for line in resumed.err.splitlines() if line.startswith("step "))
    assert int(first.split()[1]) >= 3


KILLED = """
import os, signal, sys
from corelm.cli.app import main

replace, checkpoints = os.replace, []

def replace_or_die(source, target):
    checkpoints.extend([target] * str(target).endswith(".checkpoint"))
    if len(checkpoints) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
main(sys.argv[1:])
"""
"""A command that dies before its second checkpoint takes the place of its first."""


def training_of(folder: Path) -> list[str]:
    """Return the words of `corelm train` for a small run of a folder's texts."""
    rng, words = random.Random(1), ["the", "cat", "sat", "on", "a", "mat"]
    folder.mkdir()
    (folder / "texts.txt").write_text(
        "\n\n".join(" ".join(rng.choices(words, k=20)) for _ in "x" * 40)
    )
    return [
        *("train", "--data", str(folder / "texts.txt"), "--out", str(folder / "model")),
        *("--preset", "rnn", "--precision", "float32", "--epochs", "3", "--context-length", "8"),
        *("--vocabulary-size", "20", "--batch", "8", "--checkpoint-steps", "2"),
        *("--temperatures", "1", "--length", "3", "--prompt", "the cat"),
    ]


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_a_training_killed_in_its_second_checkpoint_resumes_to_the_same_weights(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(training_of(whole)) == 0
    words = training_of(broken)
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (broken / "model.checkpoint").exists()
    assert main([*words, "--resume"]) == 0
    files = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, broken)]
    assert files[0] == files[1]
    names = {path.name for path in broken.iterdir()}
    assert names == {"model", ".model.lock", "texts.txt"}  # what the killed one left is gone


def test_a_second_run_into_one_folder_is_refused_without_importing_keras(
    notes: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    out = notes.parent / "model"
    with only_run(out):
        refused = call("train", "--data", str(notes), "--out", str(out))
    message = f"error: another run is writing to '{out}'; wait for it, or choose another folder\n"
    assert (refused.code, refused.err) == (1, message)


def test_a_place_that_cannot_be_written_is_refused_without_importing_keras(
    notes: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    folder = notes.parent / "mine"
    folder.mkdir()
    (folder / "notes.md").write_text("mine")
    refused = call("train", "--data", str(notes), "--out", str(folder), "--overwrite")
    assert refused.code == 1
    assert "the folder also holds 'notes.md'; choose another folder" in refused.err


@pytest.mark.slow
def test_without_tensorflow_it_says_what_it_needs(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "tensorflow.py").write_text("raise ImportError('it is not here')")
    monkeypatch.setenv("PYTHONPATH", str(site))
    done = python("-m", "corelm", "train", "--data", str(notes))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: training needs Keras 3.15.1 or later and TensorFlow (it is not here); "
        'install them with: pip install "corelm[train]"\n'
    )
