"""Describes a sampler or decoder from its class and its docstring."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

from corelm.params import Parameter, Parameterized
from corelm.plugins.offers import Source

_SECTION = re.compile(r"^(Sources?|Related|Examples?|Args|Returns|Raises):", re.MULTILINE)


def definition(cls: type[Parameterized]) -> str:
    """Return the docstring up to its first section."""
    return _SECTION.split(_docstring(cls))[0].strip()


def source_of(cls: type[Parameterized]) -> str:
    """Return the source that the docstring names: a paper, a pull request."""
    return _section(cls, "Sources?")


def related(cls: type[Parameterized]) -> list[str]:
    """Return the names that the docstring lists as related."""
    return [name for part in _section(cls, "Related").split(",") if (name := part.strip(" ."))]


def _section(cls: type[Parameterized], title: str) -> str:
    """Return a section of the docstring on one line; empty if there is none."""
    pattern = rf"^{title}:\s*(.*?)\s*(?:\n\n|\Z)"
    found = re.search(pattern, _docstring(cls), re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def example_expression(cls: type[Parameterized], name: str) -> str:
    """Return the first call in the docstring as an expression, or the bare name."""
    name_in_code, nested = re.escape(cls.__name__), r"\([^()\n]*\)"
    found = re.search(rf"\b{name_in_code}(\((?:[^()\n]|{nested})*\))", _docstring(cls))
    return f"{name}{found[1]}" if found else name


def signature(cls: type[Parameterized]) -> str:
    """Return the parameters with their defaults, such as `t=1.0`."""
    return ", ".join(f"{p.name}={p.default}" for p in cls.parameters())


def origin(source: Source) -> str:
    """Return the distribution of a plugin, with its version."""
    return f"{source.distribution} {source.version}".strip()


def plugin_as_json(source: Source) -> dict[str, str]:
    """Return the source of a plugin for JSON."""
    return {
        "distribution": source.distribution,
        "version": source.version,
        "entry_point": source.entry_point,
        "module": source.value,
    }


def parameter_as_json(parameter: Parameter) -> dict[str, Any]:
    """Return a declared parameter for JSON."""
    return {
        "name": parameter.name,
        "type": parameter.type_name,
        "default": _default(parameter.default),
        "rule": str(parameter.rule),
        "help": parameter.rule.help,
        "aliases": parameter.rule.aliases,
    }


def _default(value: Any) -> Any:
    """Return a default for JSON; infinity and samplers become text."""
    exact = isinstance(value, (bool, int, str, tuple, dict))
    exact = exact or (isinstance(value, float) and math.isfinite(value))
    return value if exact else str(value)


def _docstring(cls: type[Parameterized]) -> str:
    """Return the author's docstring; the one that `dataclass` generates counts as none."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return "" if text.startswith(f"{cls.__name__}(") else text
