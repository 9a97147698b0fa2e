"""A public name has two independent users or a how-to page, the names in public modules too."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import corelm

ROOT = Path(corelm.__file__).parents[1]
MODULES = (
    *("corelm", "corelm.abilities", "corelm.filters", "corelm.testing", "corelm.interop"),
    *("corelm.interop.testing", "corelm.commands", "corelm.runs", "corelm.bundles"),
)
"""The modules whose names are public; the errors are what a program catches, used or not."""

MOST = 150
"""Public names today. Take one away for a new one, or say in the commit why there is one more."""

REPUBLISH = ("corelm.scaling", "corelm.registry.plugins")
"""Modules of the heart that only republish names."""
HEART = "the heart"
FOR_TESTS = ("corelm.testing.", "corelm.interop.testing.")

RECORDED = {
    "documented as part of a contract": {
        "corelm.API_VERSION", "corelm.reweight_distribution",
    },
    "the argument of a function that users write": {"corelm.interop.EngineDraw"},
    "a part of what its module does for the heart, which one package needs as well": {
        "corelm.interop.special_tokens",
    },
    "the report's figures on compiled kernels, which are the heart's": {"corelm.runs.ModelRows"},
}  # fmt: skip
"""Public names with fewer users, by the reason."""


@cache
def public_names() -> dict[str, str]:
    """Return the names that can be reached as public, each with the place that defines it.

    Of an exported module these are the names that it lists.
    """
    return dict(pair for module in MODULES for pair in _named(importlib.import_module(module)))


def _named(module: ModuleType, path: str = "") -> Iterator[tuple[str, str]]:
    path = path or module.__name__
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield from _named(value, f"{path}.{name}")
        else:
            home = getattr(value, "__module__", "")
            home = home if home.startswith("corelm.") else module.__name__  # a constant has none
            yield f"{path}.{name}", f"{home}.{name}"


def used_in(tree: ast.AST) -> set[str]:
    """Return the dotted names of corelm in a program: imported, or attributes of an import."""
    bound = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("corelm.")
        for alias in node.names
    }
    plain = any(
        alias.name.split(".")[0] == "corelm" and not alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    )

    def dotted(node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return bound.get(node.id, "corelm" if plain and node.id == "corelm" else None)
        value = dotted(node.value) if isinstance(node, ast.Attribute) else None
        return value and f"{value}.{node.attr}"

    attributes = (dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {*bound.values(), *filter(None, attributes)}


def programs() -> Iterator[tuple[str, Path]]:
    """Yield the programs outside the heart: a sampler, a package or the stranger, and its file."""
    for file in (ROOT / "samplers").glob("*.py"):
        yield file.stem, file
    for file in (ROOT / "plugins").glob("*/**/*.py"):
        if "build" not in file.parts:
            yield file.relative_to(ROOT / "plugins").parts[0], file
    for file in (ROOT / "tests" / "stranger").rglob("*.py"):
        yield "stranger", file


def is_test(file: Path) -> bool:
    return "plugins" in file.parts and ("tests" in file.parts or file.name.startswith("test_"))


def in_pages() -> Iterator[str]:
    """Yield the names in how-to pages and the README, in their Python and in their text."""
    for page in [*(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "README.md"]:
        text = page.read_text("utf-8")
        yield from re.findall(r"\bcorelm(?:\.\w+)+", text)
        for block in re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL):
            try:
                yield from used_in(ast.parse(textwrap.dedent(block)))
            except SyntaxError:  # a session, or a part of a program
                continue


@cache
def users() -> dict[str, set[str]]:
    """Return the users of each public name; a how-to page counts as two."""
    found: dict[str, set[str]] = defaultdict(set)
    for user, file in programs():
        for name in used_in(ast.parse(file.read_text("utf-8"))):
            if not is_test(file) or name.startswith(FOR_TESTS):
                found[name].add(user)
    for name in in_pages():
        found[name] |= {"a page", "its readers"}
    in_heart = in_the_heart()
    for name, home in public_names().items():
        if {name, home} & in_heart:
            found[name].add(HEART)
    return found


def in_the_heart() -> set[str]:
    """Return the names that the heart uses, each by the module that defines it."""
    found = set()
    for file in (ROOT / "corelm").rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        if module not in (*MODULES, *REPUBLISH):
            names = used_in(ast.parse(file.read_text("utf-8")))
            found |= {name for name in names if name.rpartition(".")[0] != module}
    return found


def with_few_users() -> set[str]:
    return {name for name in public_names() if len(users()[name]) < 2}


@pytest.mark.packages
def test_a_public_name_has_two_users_or_a_recorded_reason():
    few, recorded = with_few_users(), set().union(*RECORDED.values())
    assert few <= recorded, f"one user or none, make it private or move it: {few - recorded}"
    assert recorded <= few, f"these have their users now: {recorded - few}"


@pytest.mark.packages
def test_there_are_no_more_public_names_than_before():
    assert len(public_names()) <= MOST


def test_the_names_in_a_program_are_found():
    program = (
        "import corelm\nfrom corelm.runs import printable as p, Texts\n"
        "corelm.filters.top_k(p.shown(1))\nother.Texts.made\n"
    )
    assert used_in(ast.parse(program)) == {
        *("corelm.runs.printable", "corelm.runs.Texts", "corelm.runs.printable.shown"),
        *("corelm.filters", "corelm.filters.top_k"),
    }
