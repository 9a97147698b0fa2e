"""Strategies of earlier requests: building one takes as long as many tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from corelm.runs import Strategy
from corelm_serve.requests.sampling import SETTINGS, Sampling, strategy_of
from corelm_serve.requests.trials import is_plain

KEPT = 256
"""The number of strategies that are kept."""
KEYS = ("sampler", "preset", "decoder", "n", *(set(SETTINGS) - {"logit_bias"}))
"""The fields of a plain body that decide its strategy."""
LONGEST = 512
"""Characters of a key, so that the cache takes little memory."""

Found = tuple[Strategy, dict[str, Any]]
"""A strategy, and notes for the answer."""


class StrategyCache:
    """The strategies of plain requests, the least recently used ones dropped first.

    Samplers and decoders are immutable, so requests may share them.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[str, Found] = OrderedDict()

    def knows(self, body: Any) -> bool:
        """Return True if the strategy of a body needn't be built."""
        return _key(body) in self._found

    def of(self, body: Any, request: Sampling, rest: Mapping[str, Any]) -> Found:
        """Return the strategy of a body as `strategy_of` does.

        Args:
            body: the body.
            request: the same body, read.
            rest: fields that the request doesn't declare.
        """
        key = _key(body)
        found = self._found.get(key) if key else None
        if found is None:
            found = strategy_of(request, dict(rest))
        if key:
            # Several threads may be here: each call is one operation of the dictionary.
            self._found.pop(key, None)
            self._found[key] = found
            if len(self._found) > KEPT:
                self._found.popitem(last=False)
        return found


def _key(body: Any) -> str | None:
    """Return the settings of a plain body as a text; None for other bodies."""
    if not is_plain(body) or body.get("logit_bias"):
        return None
    # A text, since 1, 1.0 and True are equal keys.
    key = repr([body.get(name) for name in KEYS])
    return key if len(key) <= LONGEST else None
