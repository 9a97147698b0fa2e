"""Inputs without an end, or of a size that nobody means: refused in one line, within bounds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import corelm.models

Run = Callable[..., Any]
PRETRAINED = Path(corelm.models.__file__).with_name("pretrained")

COMMANDS = {
    "prompt": ["sample", "--model", "toy", "--prompt-file"],
    "prompts": ["report", "greedy", "--model", "toy", "--prompts"],
    "reference": ["report", "greedy", "--model", "toy", "--reference"],
    "report": ["report", "--from"],
    "settings": ["presets", "--from"],
    "archive": ["data", "imdb", "--from"],
    "model": ["sample", "--model"],
    "description": ["models"],
}
"""By what it reads: a command without its input."""


@pytest.mark.packages
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
@pytest.mark.parametrize("source", ["zeros", "sparse"])
@pytest.mark.parametrize("reads", COMMANDS)
def test_an_input_without_bounds_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: str, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("/dev/zero")
    if source == "sparse":
        file = tmp_path / "large"
        file.touch()
        os.truncate(file, 5 * 2**30)
    assert_refused(run(*COMMANDS[reads], str(file)), file)


@pytest.mark.parametrize(
    "name", ["manifest.json", "config.json", "vocabulary.txt", "model.safetensors"]
)
def test_a_model_with_a_file_of_five_gigabytes_is_refused(
    run: Run, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PRETRAINED / "gpt2", folder)
    os.truncate(folder / name, 5 * 2**30)
    assert_refused(run("sample", "--model", str(folder)), folder / name)


def assert_refused(result: Any, file: Path) -> None:
    """Check that a command failed with one line about a file."""
    assert result.code in (1, 2)
    [line] = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert str(file) in line
    assert "MemoryError" not in line
    assert "--debug" not in line
