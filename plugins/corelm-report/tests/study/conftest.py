"""Fixtures of studies: a home of their own, two toy models, and a file to write."""

from __future__ import annotations

from pathlib import Path

import pytest

STUDY = """
title = "Cats"
models = ["cats", "dogs"]
samplers = ["top_p(p=0.5,0.9)", "temperature(t=0.7)"]
prompts = ["the", "a cat"]
n = 4
length = 6
seeds = [1, 2]

[write]
folder = "results"
forms = ["json", "csv", "latex"]
plots = []
"""


@pytest.fixture
def study(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a small study, in an empty home."""
    killed.touch()
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    return file
