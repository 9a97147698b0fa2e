"""Two classes of the project share a name as seldom as today; `pytest -s` lists those that do."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 18
"""The names that two classes or more have; it may only fall."""


def classes() -> dict[str, list[str]]:
    """Return the files of each class name. A leading underscore tells no names apart."""
    files = defaultdict(list)
    for folder in ("corelm", "samplers", "plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT).parts
            if {"tests", "build"}.isdisjoint(parts) and not file.name.startswith("test_"):
                for node in ast.parse(file.read_text("utf-8")).body:
                    if isinstance(node, ast.ClassDef):
                        files[node.name.lstrip("_")].append("/".join(parts))
    return files


def test_two_classes_of_the_heart_never_share_a_name() -> None:
    heart = {name: [f for f in files if f[:7] == "corelm/"] for name, files in classes().items()}
    assert {name: files for name, files in heart.items() if len(files) > 1} == {}


def test_no_more_class_names_occur_twice() -> None:
    twice = {name: files for name, files in classes().items() if len(files) > 1}
    print(*(f"{name}: {', '.join(files)}" for name, files in sorted(twice.items())), sep="\n")
    assert len(twice) <= MOST
