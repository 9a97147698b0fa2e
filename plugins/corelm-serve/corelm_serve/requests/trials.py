"""Try what a client wrote in a child process, before the server builds it.

A grammar of 600 characters can take minutes and gigabytes, and a pattern can hold Python's lock.
What a child finishes within its bounds, the server does again by itself: it takes as long, and its
errors have the server's own plugins and words.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import corelm
from corelm import TextPatterns, from_settings
from corelm.errors import UsageError
from corelm.runs import BoundedCalls, TooMuchError, refuse_local, strategy
from corelm_serve.errors import ApiError

CALLS = BoundedCalls(seconds=1.0)
"""With a bound for each expression; ordinary ones take less than a millisecond."""
KEPT = 1_024
"""What was tried within the bounds, and needn't be again."""
PLAIN = re.compile(r"[\w\s|().,=:+-]*")
"""Expressions of names and numbers, which build nothing large."""

ORDINARY = frozenset(
    (
        *("model", "prompt", "max_tokens", "n", "best_of", "seed", "stop", "stop_loop", "logprobs"),
        *("echo", "stream", "stream_options", "user", "unknown", "sampler", "decoder", "preset"),
        *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
        *("logit_bias", "repetition_penalty", "min_tokens"),
        *("tokens", "add_special_tokens", "return_token_strs"),
    )
)
"""Fields that need no child process, but for expressions."""

_known: OrderedDict[str, None] = OrderedDict()


def is_plain(body: Any) -> bool:
    """Return True if nothing in a body of a completion can need a child process, or wait."""
    if not isinstance(body, dict) or "prompt" not in body or not body.keys() <= ORDINARY:
        return False
    texts = [body.get(name) or "" for name in ("sampler", "decoder")]
    return all(isinstance(text, str) and PLAIN.fullmatch(text) for text in texts)


def try_expression(text: str, param: str) -> None:
    """Raise if an expression takes too much to build.

    Raises:
        ApiError: it does; other errors are left to whoever builds it.
    """
    if not PLAIN.fullmatch(text):
        _try(param, "expression", text)


def _has_texts(values: Mapping[str, Any]) -> bool:
    """Return True if some value is more than a number, so that what it builds may be large."""
    return any(isinstance(value, (str, list, tuple, dict)) for value in values.values())


def try_settings(settings: Mapping[str, Any], engine: str | None) -> None:
    """Raise if the settings of an engine take too much to build, such as its grammar."""
    if _has_texts(settings):
        _try("settings", "settings", dict(settings), engine)


def try_patterns(patterns: str | tuple[str, ...]) -> None:
    """Raise if regular expressions are invalid, or take too much to prepare.

    Raises:
        ApiError: they are or do; nothing of the server's plugins is in them.
    """
    if patterns:
        _try("stop_regex", "patterns", patterns)


def try_stages(stages: Sequence[Mapping[str, Any]]) -> None:
    """Raise if stages take too much to build; those of numbers alone, as of sliders, do not."""
    if any(_has_texts(stage["parameters"]) for stage in stages):
        _try("stages", "stages", [*stages])


def try_sampler(param: str, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise if a sampler, such as one with a grammar, takes too much to build."""
    _try(param, "sampler", name, dict(parameters))


def _try(param: str, kind: str, *arguments: Any) -> None:
    key = json.dumps([kind, *arguments])
    if key in _known:
        return
    try:
        CALLS.call(f"{__name__}:build", kind, *arguments)
    except TooMuchError as error:
        message = f"{param} can't be used: {error}; write it more simply"
        raise ApiError(message, param=param, code="too_large") from None
    except UsageError as error:
        raise ApiError(str(error), param=param, code="invalid_value") from None
    _known[key] = None
    while len(_known) > KEPT:
        _known.popitem(last=False)


# ---- in the child ----


def build(kind: str, *arguments: Any) -> None:
    """Build something, and leave its errors to the server."""
    with refuse_local():
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
            strategy(*arguments)
        case "sampler":
            corelm.sampler(arguments[0], **arguments[1])
        case "settings":
            from_settings(*arguments)
        case "patterns":
            TextPatterns(patterns=arguments[0])
        case "stages":
            from corelm_serve.play.chains import built  # which imports this module

            built(*arguments)
