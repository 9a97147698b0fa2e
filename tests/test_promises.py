"""Every fault has a test, and the page states what the tests try."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import promises  # noqa: E402

WRITE_IT = "write it again with: python docs/scripts/promises.py"


@cache
def names_in(file: str) -> set[str]:
    """Return the names of the tests in a file, by its source."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_faults_are_numbered_without_a_gap() -> None:
    lines = [fault["line"] for fault in promises.faults()]
    assert lines == list(range(1, len(lines) + 1))


def test_every_fault_has_tests() -> None:
    for fault in promises.faults():
        tests, line = fault["tests"], fault["line"]
        assert isinstance(tests, list), line
        assert tests, line
        assert len(set(tests)) == len(tests), line
        files_and_names = [test.split("::")[:2] for test in tests]
        assert not [test for test in files_and_names if test[1] not in names_in(test[0])], line


def test_the_page_is_that_of_the_promises() -> None:
    text = promises.PAGE.read_text("utf-8")
    assert text == promises.page(promises.counts_on_the_page()), WRITE_IT


@pytest.mark.packages
def test_the_page_counts_the_variants_that_are_tried(variants: Counter[str]) -> None:
    """Of the tests that this session has collected: all of them in a run of the whole suite."""
    stated = promises.counts_on_the_page()
    tried = {test: variants[test] for test in stated if test in variants}
    assert tried == {test: stated[test] for test in tried}, WRITE_IT
