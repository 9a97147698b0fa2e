"""Combinations of settings that try every pair of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import combinations, product, takewhile
from typing import Any

import numpy as np

_Pair = tuple[tuple[str, Any], tuple[str, Any]]
"""Two factors, each with a value."""
SAMPLERS = (
    "min_length(n=6)",
    "length_bias(weight=-2.0)",
    "repetition_penalty(penalty=1.5, skip_prompt=True)",
    "min_length(n=4) | dry(multiplier=2.0, allowed_length=1)",
    "mirostat(tau=3.0)",
    "top_p(p=0.9)",
)
"""Samplers of every kind that an engine must tell apart, a factor of its plan."""


def until(tokens: Iterable[int], ends: Container[int]) -> list[int]:
    """Return the tokens before an end."""
    return [*takewhile(lambda token: token not in ends, tokens)]


class PairwisePlan:
    """Combinations that hold every pair of values of two factors, greedily chosen.

    Args:
        factors: the values of each factor.
        runs: takes a combination and returns whether it can be run.

    Attributes:
        combinations: each the values of all factors.
        ids: the name of each combination, for a test.
        pairs: every pair of values.
        left_out: the pairs that are in no combination, as none that has them can be run.
    """

    def __init__(self, factors: Mapping[str, Sequence[Any]], runs: Callable[..., bool]) -> None:
        self.combinations: list[dict[str, Any]] = _covering(factors, runs)
        self.ids: list[str] = [
            ", ".join(f"{key}={value}" for key, value in each.items()) for each in self.combinations
        ]
        self.pairs: set[_Pair] = {
            ((one, value), (other, second))
            for one, other in combinations(factors, 2)
            for value, second in product(factors[one], factors[other])
        }
        held = (combinations(each.items(), 2) for each in self.combinations)
        self.left_out: set[_Pair] = self.pairs.difference(*held)


def _covering(
    factors: Mapping[str, Sequence[Any]], runs: Callable[..., bool]
) -> list[dict[str, Any]]:
    """Return combinations with every pair that can be run."""
    every = [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]
    every = [combination for combination in every if runs(**combination)]
    numbers: dict[Any, int] = {}
    rows = []
    for combination in every:
        pairs = combinations(combination.items(), 2)
        rows.append([numbers.setdefault(pair, len(numbers)) for pair in pairs])
    held, missing, plan = np.array(rows), np.ones(len(numbers), dtype=bool), []
    while missing.any():
        best = int(missing[held].sum(axis=1).argmax())
        missing[held[best]] = False
        plan.append(every[best])
    return plan
