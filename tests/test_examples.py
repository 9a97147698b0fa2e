"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from tiers import PACKAGES, missing_packages

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
        for file in sorted(root.rglob("*.py")):
            if ">>> " in file.read_text(encoding="utf-8"):
                parts = file.relative_to(root).with_suffix("").parts
                modules.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return modules


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
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert attempted > 0
    assert failed == 0
