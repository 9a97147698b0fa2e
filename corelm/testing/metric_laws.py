"""The laws that every metric obeys.

A law is a function that takes a metric and raises an AssertionError that names the fault and the
way out. The docstring of a law is the law.
"""

from __future__ import annotations

import random
from collections import UserList
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from corelm.contracts.context import read_only
from corelm.contracts.metric import HumanMetric, Metric, SetMetric, TokenMetric
from corelm.numerics.distributions import Array
from corelm.registry.offers import check_meaning
from corelm.testing.cases import global_random_state
from corelm.testing.law import Law, law_maker
from corelm.testing.toy_model import ToyModel
from corelm.text.printable import shown

TEXTS = ("the cat", "the dog sat on the mat", "") * 2
"""Texts, each of them twice: a text in another place has the same figures."""
HUMAN = tuple("the cat saw the dog and the cat ran under the mat"[: 7 * i] for i in range(7, 0, -1))
SETS = ((0,), (1,), (2,), (0, 1), (2, 1), (0, 1, 2))
"""Indices of some of the first three texts."""

Complaints = Iterator[str]
METRIC_LAWS: list[Law] = []
"""The laws of metrics, the simplest first; each takes a metric."""

_law = law_maker(METRIC_LAWS, lambda metric: [metric], lambda metric, text: f"{metric!r} {text}")


class _Rows(UserList[int]):
    """Indices that count the looks at them; their number alone decides no figure."""

    looks = 0

    def __getitem__(self, i: Any) -> Any:
        self.looks += 1
        return super().__getitem__(i)


def _logits() -> Array:
    """Return read-only rows of logits, in which some tokens are never drawn."""
    vocabulary = ToyModel().vocabulary
    logits = ToyModel().start(np.arange(3, 11)[:, None]).next_logits()
    logits[:, [vocabulary.padding, vocabulary.unknown]] = -np.inf
    return read_only(logits)


def _figure(metric: Metric) -> Callable[[Sequence[int]], Any]:
    """Return a function from the indices of some texts to their figure, or to the last one's."""
    ids, logits = [ToyModel().vocabulary.encode(text) for text in TEXTS], _logits()

    def of_last(rows: Sequence[int]) -> Any:
        own: Sequence[Any] = ids[rows[-1]]
        if isinstance(metric, TokenMetric) and own:
            own = metric.of_tokens(logits[: len(own)])
        return metric.of_text(own, TEXTS[rows[-1]])  # type: ignore[attr-defined]

    def of_set(rows: Sequence[int]) -> Any:
        return metric.figure([[*ids[i]] for i in rows], [TEXTS[i] for i in rows])  # type: ignore[attr-defined]

    if isinstance(metric, HumanMetric):
        return metric.compare([*TEXTS], [*HUMAN], ToyModel())
    return of_set if isinstance(metric, SetMetric) else of_last


@_law("Keep nothing between calls, and draw from a generator that the metric seeds in each call.")
def returns_figures(metric: Metric) -> Complaints:
    """Have a meaning; return a number in the limits, or None, the same for the same texts."""
    check_meaning(f"{metric!r}", metric.meaning)
    random.random(), np.random.random()  # or a seed that an earlier call set would not show
    figure, before = _figure(metric), global_random_state()
    first = [metric.numbers(figure(rows)) for rows in SETS]
    # In reverse, so that a figure which depends on the calls before it differs.
    again = [metric.numbers(figure(rows)) for rows in reversed(SETS)]
    for one, other in zip(first, reversed(again), strict=True):
        if one != other:
            yield f"returned {one} and then {other} for the same texts"
    if global_random_state() != before:
        yield "drew random numbers of the whole program"


@_law("Reduce over the vocabulary alone: give every sum, mean and maximum axis=-1.")
def treats_rows_alone(metric: Metric) -> Complaints:
    """Give a token the same number in any batch, if the metric is of tokens."""
    if not isinstance(metric, TokenMetric):
        return
    logits = _logits()
    together = metric.of_tokens(logits)
    alone = [metric.of_tokens(logits[i : i + 1])[0] for i in range(len(logits))]
    if not np.allclose(alone, together, rtol=1e-4, atol=1e-6):
        yield f"returned {shown(together)} for some rows, and {shown(alone)} for each alone"


@_law("The figure is that of `[texts[i] for i in rows]`: leave the texts in their order.")
def follows_the_rows(metric: Metric) -> Complaints:
    """Return the figure of the rows asked for, if the metric compares with human text."""
    if not isinstance(metric, HumanMetric):
        return
    figure = _figure(metric)
    for rows in SETS:
        one, other = (metric.numbers(figure([i + by for i in rows])) for by in (0, 3))
        if not np.allclose(one or 0, other or 0):
            yield f"returned {one} for the texts {list(rows)}, and {other} for the same in rows + 3"
    watched = _Rows((0, 1))
    before = watched.looks
    if figure(watched) is not None and watched.looks == before:
        yield "returned a figure without a look at the rows"
