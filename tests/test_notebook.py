"""The notebook of the documentation shows what its cells give."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from programs import python

pytest.importorskip("IPython", reason="pip install ipython")
nbformat = pytest.importorskip("nbformat", reason="pip install nbformat")
pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = DOCS / "scripts" / "notebook.py"
NOTEBOOK = DOCS / "four-strategies.ipynb"


def test_the_outputs_are_those_of_the_cells():
    done = python(SCRIPT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_output_is_found_and_a_picture_of_another_version_is_none():
    spec = importlib.util.spec_from_file_location("notebook", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for old, new, differs in (("116.7", "116.8", True), ("iVBOR", "iVBOS", False)):
        changed = NOTEBOOK.read_text("utf-8").replace(old, new)
        assert changed != NOTEBOOK.read_text("utf-8")
        lines = script.differences(notebook, nbformat.reads(changed, as_version=4))
        assert bool(lines) is differs


def test_it_names_what_a_reader_sees_first():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells)
    for strategy in ("greedy", "stochastic", "temperature", "uniform"):
        assert strategy in text
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")
