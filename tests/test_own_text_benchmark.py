"""The benchmark of little text, small: the best epoch is kept, and strategies write differently."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmark_scripts import script

pytest.importorskip("tensorflow")

from corelm_train.settings import PRESETS


@pytest.fixture
def own_text(monkeypatch):
    """The script as a module, with a network that learns by heart in seconds."""
    small = PRESETS["small"]
    monkeypatch.setitem(
        PRESETS,
        "small",
        replace(small, architecture=replace(small.architecture, width=32, dense=64, blocks=1)),
    )
    return script("own_text")


@pytest.mark.slow
def test_little_text_gives_the_best_model_that_was_seen(own_text, tmp_path):
    result = own_text.measure(tmp_path, 60, "small", epochs=30, patience=3)
    assert result.kept == pytest.approx(result.best, rel=0.01)  # float16 in the file
    assert result.best < result.last
    assert result.epochs == result.kept_epoch + 3 < 30
    assert len(set(result.texts)) == 3
    assert own_text.row(result).startswith("| 60 | `small` | 1 | ")
