"""Biases of token ids, which engines write as a list of pairs or as a mapping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from corelm_presets.engine_settings.setting import NoCounterpartError


def finite(biases: Any) -> dict[str, dict[int, float]] | None:
    """Return the parameters of `logit_bias`: the biases that are numbers.

    Example:
        >>> finite([[7, 1.5], [8, False]])
        {'bias': {7: 1.5}}
        >>> finite({"7": -2})
        {'bias': {7: -2}}
    """
    found = {token: bias for token, bias in _pairs(biases) if bias > -math.inf}
    return {"bias": found} if found else None


def banned(biases: Any) -> dict[str, tuple[int, ...]] | None:
    """Return the parameters of `ban`: the tokens whose bias is false or minus infinity.

    Example:
        >>> banned([[7, 1.5], [8, False]])
        {'words': (8,)}
    """
    found = tuple(token for token, bias in _pairs(biases) if bias == -math.inf)
    return {"words": found} if found else None


def listed(tokens: str) -> dict[str, tuple[int, ...]] | None:
    """Return the parameters of `ban`: the tokens in a text of ids.

    Example:
        >>> listed("7, 8")
        {'words': (7, 8)}
    """
    found = tuple(int(token) for token in tokens.split(",") if token.strip())
    return {"words": found} if found else None


def ids(tokens: Iterable[Any]) -> list[int]:
    """Convert tokens to ids.

    Raises:
        NoCounterpartError: a token is a word, which vocabularies may split differently.
    """
    found = list(tokens)
    if any(isinstance(token, str) for token in found):
        raise NoCounterpartError("it takes token ids, not words")
    return found


def _pairs(biases: Any) -> Iterable[tuple[int, float]]:
    pairs = biases.items() if isinstance(biases, Mapping) else biases
    for token, bias in pairs:
        if isinstance(token, str) and not token.isdecimal():
            raise NoCounterpartError("corelm takes token ids, not texts of any length")
        if bias is not False and (isinstance(bias, bool) or not isinstance(bias, (int, float))):
            raise TypeError
        yield int(token), -math.inf if bias is False else bias  # llama.cpp's false bans a token
