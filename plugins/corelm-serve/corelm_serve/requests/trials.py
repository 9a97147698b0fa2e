"""Build a client's input in a child process first, before the server builds it.

A grammar of 600 characters can take minutes and gigabytes, and a pattern can hold Python's lock.
If a child finishes within its limits, the server repeats the work: it takes as long, and the errors
come from the server's own plugins.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import corelm
from corelm import Sampler, TextPatterns, from_settings
from corelm.errors import TooMuchError, UsageError
from corelm.runs import BoundedCalls, Expression, Strategy
from corelm_serve.errors import ApiError

CALLS = BoundedCalls(seconds=1.0)
"""The child processes, with a limit per expression; ordinary ones take less than a millisecond."""
MOST_CACHED = 1_024
"""The number of cached trials that stayed within the limits."""
PLAIN = re.compile(r"[\w\s|().,=:+-]*")
"""Expressions of names and numbers, which build nothing large."""

UNCHANGED = "stochastic"
"""The sampler that changes nothing."""

_tried: OrderedDict[str, None] = OrderedDict()


def try_expression(text: str, param: str) -> None:
    """Raise as `try_to_build` does, unless the expression builds nothing large."""
    if not PLAIN.fullmatch(text):
        try_to_build(param, "expression", text)


def has_texts(values: Mapping[str, Any]) -> bool:
    """Return True if some value isn't a number, so that building it may take much."""
    return any(isinstance(value, (str, list, tuple, dict)) for value in values.values())


def try_settings(settings: Mapping[str, Any], engine: str | None) -> None:
    """Raise as `try_to_build` does for the settings of an engine, such as a grammar."""
    if has_texts(settings):
        try_to_build("settings", "settings", dict(settings), engine)


def try_to_build(param: str, kind: str, *arguments: Any) -> None:
    """Raise if an object takes too much to build.

    Args:
        param: the field that it comes from.
        kind: a key of `BUILDERS`.
        arguments: those of the builder, which JSON can hold.

    Raises:
        ApiError: it takes too much, or a pattern is invalid. Other errors are left to the caller
            that builds it.
    """
    key = json.dumps([kind, *arguments])
    if key in _tried:
        return
    try:
        CALLS.call(f"{__name__}:build", kind, *arguments)
    except TooMuchError as error:
        message = f"{param} can't be used: {error}; write it more simply"
        raise ApiError(message, param=param, code="too_large") from None
    except UsageError as error:
        raise ApiError(str(error), param=param, code="invalid_value") from None
    _tried[key] = None
    while len(_tried) > MOST_CACHED:
        _tried.popitem(last=False)


def built(stages: Sequence[Mapping[str, Any]]) -> Sampler:
    """Return the chain of stages."""
    if not stages:
        return corelm.sampler(UNCHANGED)
    calls: list[Any] = [
        (each["name"], [], {name: _value(value) for name, value in each["parameters"].items()})
        for each in stages
    ]
    return Expression("", calls).build()


def _value(value: Any) -> Any:
    """Return a value from JSON: nested samplers, infinity and lists as corelm takes them."""
    if isinstance(value, dict) and value.keys() == {"stages"}:
        return built(value["stages"])
    if isinstance(value, list):
        return tuple(map(_value, value))
    return (
        {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value
    )


# ---- in the child ----


def build(kind: str, *arguments: Any) -> None:
    """Build an object, and ignore its errors: the server will raise them."""
    with Sampler.refuse_local():
        try:
            BUILDERS[kind](*arguments)
        except Exception as error:
            if kind == "patterns":
                raise
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, MemoryError):
                    raise MemoryError from error
                cause = cause.__cause__


BUILDERS: Mapping[str, Callable[..., object]] = {
    "expression": Strategy.of,
    "sampler": lambda name, parameters: corelm.sampler(name, **parameters),
    "settings": from_settings,
    "patterns": lambda patterns: TextPatterns(patterns=patterns),
    "stages": built,
}
