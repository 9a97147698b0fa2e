"""The surprisal of human text under a model, as the manifests of corelm's own models state it."""

from __future__ import annotations

import math
from typing import Any


def human_surprisal(model: Any) -> dict[str, float] | None:
    """Return the mean surprisal of human text in nats, and the ends of its 95 % interval.

    None if the model's manifest has no valid figures: anybody may have edited that file.

    Example:
        >>> import corelm
        >>> human_surprisal(corelm.load("imdb"))["mean"]
        4.20082
        >>> from corelm.testing import ToyModel
        >>> human_surprisal(ToyModel())
    """
    human = _at(getattr(model, "manifest", None), "figures", "human")
    mean, ends = _at(human, "surprisal"), _at(human, "ci95", "surprisal")
    low, high = ends if isinstance(ends, list) and len(ends) == 2 else (mean, mean)
    if not all(map(_is_number, (low, mean, high))) or not 0 <= low <= mean <= high:
        return None
    return {"mean": mean, "low": low, "high": high}


def _at(part: Any, *keys: str) -> Any:
    for key in keys:
        part = part.get(key) if isinstance(part, dict) else None
    return part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
