"""One seed gives the same texts in any process: with every registered sampler and decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small_models import SMALL, numbered_words, random_weights
from test_statistics import EXAMPLES
from test_statistics import NAMES as SAMPLERS

from corelm.bundles import Bundle, WordVocabulary
from corelm.cli.app import main
from corelm.runs import plugins
from corelm_report.measure.journal import Journal

DECODERS = sorted(
    {offer.name for offer in plugins.registry().offers("corelm_decoders")} - {"ancestral"}
)
STRATEGIES = [EXAMPLES.get(name, name) for name in SAMPLERS] + DECODERS
SMALL_RUN = ["-n", "3", "--length", "6", "--contexts", "2", "--seed", "5", "--texts", "all"]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a report of all strategies on a small model; return its document without the time."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    if find_spec("distributed"):  # on a busy machine a worker takes a minute to start
        monkeypatch.setattr("corelm.scaling.dask_cluster.PATIENCE", 300)
    words = [*numbered_words(29, end=True).words, "7"]  # a number is JSON
    vocabulary, a = WordVocabulary(words, "symbols"), SMALL["default"]
    Bundle.write(tmp_path / "m", a, vocabulary, random_weights(a), training={}, figures={})
    (tmp_path / "prompts.txt").write_text("w1 w2\n", "utf-8")

    def make(*options: str, code: int = 0) -> dict[str, Any]:
        out = tmp_path / "r.json"
        paths = {"model": "m", "prompts": "prompts.txt", "json": "r.json"}
        fixed = [f"--{name}={tmp_path / path}" for name, path in paths.items()]
        assert main(["report", *STRATEGIES, *fixed, *SMALL_RUN, *options]) == code
        if code:
            return {}
        document: dict[str, Any] = json.loads(out.read_text("utf-8"))
        for name in ("created", "command"):
            del document["header"][name]
        assert [row["error"] for row in document["samplers"]] == [None] * len(STRATEGIES)
        return document

    return make


@pytest.mark.slow
def test_texts_are_the_same_on_workers_and_after_an_interruption(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make()
    if find_spec("distributed"):
        assert make("--workers", "2") == expected
    units = []
    keep = Journal.keep

    def interrupt(journal: Journal, *unit: Any) -> Any:
        units.append(keep(journal, *unit))
        if len(units) in (20, 50):
            raise KeyboardInterrupt
        return units[-1]

    monkeypatch.setattr(Journal, "keep", interrupt)
    make(code=130)
    make("--resume", code=130)
    assert make("--resume") == expected
    assert len(units) > 50
