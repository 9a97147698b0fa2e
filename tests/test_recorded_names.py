"""The public names and their signatures are the recorded ones: a change is a decision.

`python tests/test_recorded_names.py` records them again, for a change that is meant. The page
docs/reference/stability.md says what else such a change needs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import corelm

RECORDED = Path(__file__).with_name("recorded_names.txt")
MODULES = (
    *("corelm", "corelm.abilities", "corelm.filters", "corelm.testing", "corelm.interop"),
    *("corelm.commands", "corelm.runs", "corelm.bundles"),
)
"""The modules whose names are public."""


def names() -> Iterator[str]:
    """Yield a line for each public name, and for each public member of a class or a module."""
    for module in MODULES:
        yield from described(importlib.import_module(module), f"{module}.")
    for name in sorted(corelm._IN_PACKAGES):
        yield f"corelm.{name}{signature(getattr(corelm, name))}"


def described(module: ModuleType, prefix: str) -> Iterator[str]:
    """Yield a line for each public name of a module, and the lines of its members."""
    for name in sorted(module.__all__):
        value = getattr(module, name)
        yield f"{prefix}{name}{signature(value)}"
        if inspect.ismodule(value):
            yield from (f"    {line}" for line in described(value, "."))
        elif inspect.isclass(value):
            yield from (f"    {line}" for line in members(value))


def members(cls: type) -> Iterator[str]:
    """Yield the public members that a class of corelm defines or inherits from one of corelm's."""
    found = {
        name: member
        for base in reversed(cls.__mro__)
        if base.__module__.startswith("corelm")
        for name, member in vars(base).items()
        if not name.startswith("_")
    }
    for name in sorted(found):
        yield f".{name}{signature(getattr(cls, name, found[name]))}"


def signature(value: object) -> str:
    """Return the names of the parameters of a function, a * for keyword-only; empty for others."""
    if not inspect.isroutine(value) or not callable(value):
        return ""
    parts: list[str] = []
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in "".join(parts):
            parts.append("*")
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(
            parameter.kind, ""
        )
        optional = "" if parameter.default is parameter.empty else "?"
        parts.append(f"{prefix}{parameter.name}{optional}")
    return f"({', '.join(parts)})"


@pytest.mark.packages
def test_the_public_names_are_the_recorded_ones() -> None:
    found, recorded = [*names()], RECORDED.read_text("utf-8").splitlines()
    assert found == recorded, "record a change that is meant: python tests/test_recorded_names.py"


def test_a_changed_signature_is_seen() -> None:
    def before(logits, tokens=None, *, seed=None): ...

    def after(logits, *, seed=None, **fields): ...

    assert signature(before) == "(logits, tokens?, *, seed?)"
    assert signature(after) == "(logits, *, seed?, **fields)"


if __name__ == "__main__":
    RECORDED.write_text("".join(f"{line}\n" for line in names()), encoding="utf-8")
