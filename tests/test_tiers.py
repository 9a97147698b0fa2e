"""The fast tier installs every plugin without an engine, and a test says which engine it needs."""

from __future__ import annotations

import pytest
from programs import load_program
from tiers import PROJECTS, ROOT, dependencies, engine_plugins, mark_engines


@pytest.mark.packages
def test_plugins_txt_lists_every_plugin_without_an_engine() -> None:
    lines = (ROOT / "tests" / "plugins.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if line.startswith("./")]
    folders = [file.parent for file in PROJECTS if file.parent not in engine_plugins()]
    assert listed == [f"./plugins/{folder.name}" for folder in folders]


def test_a_plugin_with_an_engine_is_told_by_its_dependencies() -> None:
    names = {folder.name for folder in engine_plugins()}
    assert {"corelm-transformers", "corelm-llama-cpp", "corelm-keras-hub"} <= names
    assert not {"corelm-beam", "corelm-grammar", "corelm-mauve"} & names
    watermark = ROOT / "plugins" / "corelm-watermark" / "pyproject.toml"
    assert dependencies(watermark) == {"corelm", "numpy", "scipy", "typer"}


@pytest.mark.parametrize(
    ("module", "reason"), [("keras_hub", "pip install keras-hub"), ("os", None)]
)
def test_a_test_without_its_engine_says_what_to_install(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, module: str, reason: str | None
) -> None:
    monkeypatch.setattr("tiers.find_spec", {"os": "there"}.get)
    item = request.node
    item.add_marker(pytest.mark.engines(module))
    mark_engines(item)
    skipped = item.get_closest_marker("skip")
    assert (skipped and skipped.kwargs["reason"]) == reason


def test_the_tests_that_are_run_in_each_environment_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORELM_PASSED", "passed.txt")
    once = load_program(ROOT / "tests" / "once.py")
    assert [start for start in once.REPEATED if not list(ROOT.glob(f"{start}*"))] == []
