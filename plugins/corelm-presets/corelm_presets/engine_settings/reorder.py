"""The same distribution from stages in another order, for engines that fix the order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

from corelm import Sampler
from corelm_presets.engine_settings.engine import is_own
from corelm_presets.engine_settings.setting import own

MOST = 100
"""The largest number of orders tried; chains that an engine can express need only a few."""
UNMOVED = ("top_k", "top_n_sigma")
"""Samplers that keep the same tokens at every temperature."""


def equal_chains(stages: Sequence[Sampler]) -> Iterator[list[Sampler]]:
    """Yield the same stages in other orders that have the same distribution, the nearest first.

    A temperature t divides the differences of logits by t and keeps their order. So `top_k` and
    `top_n_sigma` keep the same tokens before a temperature as after it, and min_p(p) before it
    keeps the tokens that min_p(p ** (1/t)) keeps after it. `top_k` and `min_p` each keep the tokens
    down to some rank; in either order, the higher of the two ranks decides.

    Example:
        >>> import corelm
        >>> chain = corelm.sampler("min_p(p=0.04) | temperature(t=0.5)")
        >>> [" | ".join(map(str, stages)) for stages in equal_chains(chain.stages)]
        ['temperature(t=0.5) | min_p(p=0.0016)']
    """
    first = tuple(range(len(stages)))
    waiting, orders = deque([(first, list(stages))]), {first}
    while waiting and len(orders) < MOST:
        order, chain = waiting.popleft()
        for i, (before, after) in enumerate(pairwise(chain)):
            swapped = (*order[:i], order[i + 1], order[i], *order[i + 2 :])
            pair = _swapped(before, after)
            if pair is not None and swapped not in orders:
                orders.add(swapped)
                waiting.append((swapped, [*chain[:i], *pair, *chain[i + 2 :]]))
                yield waiting[-1][1]


def _swapped(before: Sampler, after: Sampler) -> tuple[Sampler, Sampler] | None:
    """Swap two stages, adapted to keep the distribution the same; None if that is impossible."""
    if {_name(before), _name(after)} == {"top_k", "min_p"}:
        return after, before
    if _name(after) == "temperature":
        moved = _across(before, 1 / _t(after) if _t(after) else 0)
        return None if moved is None else (after, moved)
    if _name(before) == "temperature":
        moved = _across(after, _t(before))
        return None if moved is None else (moved, before)
    return None


def _across(stage: Sampler, power: float) -> Sampler | None:
    """Return the stage that does the same on the other side of a temperature; None if none does."""
    if _name(stage) in UNMOVED:
        return stage
    if _name(stage) != "min_p" or power <= 0:
        return None
    p = stage.p**power  # type: ignore[attr-defined]
    return own("min_p", p=p) if 0 < p < 1 else None  # rounded to 0, it would keep all


def _t(temperature: Sampler) -> float:
    t: float = temperature.t  # type: ignore[attr-defined]
    return t


def _name(stage: Sampler) -> str:
    """Return the name of a sampler that can be swapped; "" for any other."""
    for name in ("temperature", "min_p", *UNMOVED):
        if is_own(stage, name):
            return name
    return ""
