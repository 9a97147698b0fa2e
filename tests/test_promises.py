"""Every promise of the page has tests."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "what-is-promised.md"
TESTS: dict[str, list[str]] = tomllib.loads((ROOT / "tests" / "promises.toml").read_text("utf-8"))


@cache
def names_in(file: str) -> set[str]:
    """Return the names of the tests in a file, by its source."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_has_tests() -> None:
    page = PAGE.read_text("utf-8")
    numbers = re.findall(r"^\| (\d+) \| .+ \| .+ \|$", page, re.MULTILINE)
    assert sorted(numbers, key=int) == [str(number + 1) for number in range(len(TESTS))]
    assert set(numbers) == set(TESTS)
    assert f"{len(TESTS)} kinds of faults" in page


def test_the_tests_of_each_promise_exist() -> None:
    for number, tests in TESTS.items():
        assert tests, number
        assert len(set(tests)) == len(tests), number
        pairs = [test.split("::")[:2] for test in tests]
        assert not [test for test in pairs if test[1] not in names_in(test[0])], number
