"""Chains of stages as JSON: names, and parameters by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import corelm
from corelm import Sampler
from corelm.runs import Expression

UNCHANGED = "stochastic"


def built(stages: Sequence[Mapping[str, Any]]) -> Sampler:
    """Return the chain of stages."""
    if not stages:
        return corelm.sampler(UNCHANGED)
    return Expression(
        "", [(each["name"], [], {**_values(each["parameters"])}) for each in stages]
    ).build()


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters from JSON: nested samplers, infinity and lists as corelm takes them."""
    return {name: _value(value) for name, value in parameters.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"stages"}:
        return built(value["stages"])
    if isinstance(value, list):
        return tuple(map(_value, value))
    return (
        {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value
    )
