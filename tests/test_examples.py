"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiers import PACKAGES, PROJECTS, missing_packages, of_an_engine

NEEDS = {
    "corelm.interop.chat_template": "jinja2",
    "corelm.interop.testing": "transformers",
    "corelm.interop.tokenizer_vocabulary": "transformers",
    "corelm_train.callbacks": "tensorflow",
    "corelm_train.keras_layers": "tensorflow",
    "corelm_train.learning": "tensorflow",
    "corelm_train.run": "tensorflow",
}
"""The libraries that the examples of some modules need."""


def modules_with_examples() -> list[str]:
    """Return the modules of corelm, its samplers and its packages that have an example."""
    modules = []
    for package in ("corelm", "corelm_samplers", *sorted({*PACKAGES} - missing_packages())):
        root = Path(importlib.import_module(package).__file__ or "").parent
        modules += [f"{package}.{name}" if name else package for name in _with_examples(root)]
    return modules


def modules_of_plugins() -> list[Any]:
    """Return the modules of the plugins with a wheel of their own that have an example."""
    return [
        pytest.param(name, marks=[pytest.mark.engines] * of_an_engine(project))
        for project in PROJECTS
        for name in _with_examples(project.parent)
        if name.startswith("corelm_")
    ]


def _with_examples(root: Path) -> Iterator[str]:
    """Yield the dotted names, below a folder, of the files that have an example."""
    for file in sorted(root.rglob("*.py")):
        if ">>> " in file.read_text(encoding="utf-8"):
            parts = file.relative_to(root).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.engines("transformers")] * (need == "transformers"))
        for name, need in ((name, NEEDS.get(name)) for name in modules_with_examples())
    ],
)
def test_the_examples_run(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    run_examples(importlib.import_module(name))


@pytest.mark.parametrize("name", modules_of_plugins())
def test_the_examples_of_plugins_run(name: str) -> None:
    run_examples(pytest.importorskip(name, exc_type=ImportError))


def run_examples(module: ModuleType) -> None:
    options = doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE
    failed, attempted = doctest.testmod(module, optionflags=options)
    assert attempted > 0
    assert failed == 0
