"""Describe a sampler or decoder from its class and its docstring."""

from __future__ import annotations

import math
import re
from typing import Any

from corelm.docstrings import docstring, section
from corelm.errors import CorelmError
from corelm.params import Parameter, Parameterized
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.offers import Source
from corelm.sampler import Sampler

_SECTION = re.compile(r"^(Sources?|Related|Examples?|Args|Returns|Raises):", re.MULTILINE)


def definition(cls: type[Parameterized]) -> str:
    """Return the docstring up to its first section."""
    return _SECTION.split(docstring(cls))[0].strip()


def related(cls: type[Parameterized]) -> list[str]:
    """Return the names that the docstring lists as related."""
    return [name for part in section(cls, "Related").split(",") if (name := part.strip(" ."))]


def example_expression(cls: type[Parameterized], name: str) -> str:
    """Return the first call in the docstring as an expression, or the bare name."""
    # Brackets inside brackets, one level deep, as in `Ban(words=("a", "b"))`.
    name_in_code, nested = re.escape(cls.__name__), r"\([^()\n]*\)"
    found = re.search(rf"\b{name_in_code}(\((?:[^()\n]|{nested})*\))", docstring(cls))
    return f"{name}{found[1]}" if found else name


def example(cls: type[Sampler], name: str) -> Sampler:
    """Return a sampler with the values of its docstring's example, or with its defaults."""
    try:
        return read_sampler(example_expression(cls, name))
    except CorelmError:
        return cls()


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
