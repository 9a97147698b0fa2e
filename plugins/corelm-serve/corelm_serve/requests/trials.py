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
from collections.abc import Mapping, Sequence
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
    """Raise if an expression takes too much to build.

    Raises:
        ApiError: it takes too much. Other errors are left to the caller that builds it.
    """
    if not PLAIN.fullmatch(text):
        _try(param, "expression", text)


def _has_texts(values: Mapping[str, Any]) -> bool:
    """Return True if some value isn't a number, so that building it may take much."""
    return any(isinstance(value, (str, list, tuple, dict)) for value in values.values())


def try_settings(settings: Mapping[str, Any], engine: str | None) -> None:
    """Raise if the settings of an engine take too much to build, such as its grammar."""
    if _has_texts(settings):
        _try("settings", "settings", dict(settings), engine)


def try_patterns(patterns: str | tuple[str, ...]) -> None:
    """Raise if regular expressions are invalid, or take too much to prepare.

    Raises:
        ApiError: an invalid pattern or one that takes too much; no plugin is involved.
    """
    if patterns:
        _try("stop_regex", "patterns", patterns)


def try_stages(stages: Sequence[Mapping[str, Any]]) -> None:
    """Raise if stages take too much to build; stages with numbers only never do."""
    if any(_has_texts(stage["parameters"]) for stage in stages):
        _try("stages", "stages", [*stages])


def try_sampler(param: str, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise if a sampler, such as one with a grammar, takes too much to build."""
    _try(param, "sampler", name, dict(parameters))


def _try(param: str, kind: str, *arguments: Any) -> None:
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


# ---- in the child ----


def build(kind: str, *arguments: Any) -> None:
    """Build an object, and ignore its errors: the server will raise them."""
    with Sampler.refuse_local():
        try:
            _build(kind, *arguments)
        except Exception as error:
            if kind == "patterns":
                raise
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, MemoryError):
                    raise MemoryError from error
                cause = cause.__cause__


def _build(kind: str, *arguments: Any) -> None:
    match kind:
        case "expression":
            Strategy.of(*arguments)
        case "sampler":
            corelm.sampler(arguments[0], **arguments[1])
        case "settings":
            from_settings(*arguments)
        case "patterns":
            TextPatterns(patterns=arguments[0])
        case "stages":
            built(*arguments)
