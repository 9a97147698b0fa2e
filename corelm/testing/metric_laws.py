"""The laws that every metric obeys.

A law is a function that takes a metric and raises an AssertionError that names the fault and the
way out. The docstring of a law is the law.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections import UserList
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
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

TEXTS = (
    "the cat", "the dog sat on the mat", "", "cat", "the the", "under on under saw ran",
) * 2  # fmt: skip
"""Texts, each of them twice: a text in another place has the same figures.

Of two texts with as many letters, one has other words, or another number of them.
"""
COPY = len(TEXTS) // 2
"""From a text to the same one."""
HUMAN = tuple(
    "the cat saw the dog and the cat ran under the mat"[: 4 * i] for i in range(len(TEXTS), 0, -1)
)
"""As many human texts, of which each is another."""
SETS = ((0,), (1,), (2,), (0, 1), (2, 1), (0, 1, 2), (3,), (4,), (5,), (3, 5), (4, 5, 3))
"""Indices of some of the first half of the texts."""

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


def _call(metric: Metric, rows: Sequence[int]) -> tuple[Callable[..., Any], list[Any]]:
    """Return a function for the figure of some texts, or of the last, and its arguments."""
    if isinstance(metric, HumanMetric):
        model = ToyModel()
        of_rows = lambda texts, human, rows: metric.compare(texts, human, model)(rows)  # noqa: E731
        return of_rows, [[*TEXTS], [*HUMAN], [*rows]]
    texts = [TEXTS[i] for i in rows]
    ids: list[Any] = [[*ToyModel().vocabulary.encode(text)] for text in texts]
    if isinstance(metric, SetMetric):
        return metric.figure, [ids, texts]
    own = ids[-1]
    if isinstance(metric, TokenMetric) and own:
        own = metric.of_tokens(_logits()[: len(own)])
    return metric.of_text, [own, texts[-1]]  # type: ignore[attr-defined]


def _figure(metric: Metric) -> Callable[[Sequence[int]], Any]:
    """Return a function from the indices of some texts to their figure, or to the last one's."""

    def figure(rows: Sequence[int]) -> Any:
        call, arguments = _call(metric, rows)
        return call(*arguments)

    if isinstance(metric, HumanMetric):
        return metric.compare([*TEXTS], [*HUMAN], ToyModel())
    return figure


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
        one, other = (metric.numbers(figure([i + by for i in rows])) for by in (0, COPY))
        if not np.allclose(one or 0, other or 0):
            same = f"the same in rows + {COPY}"
            yield f"returned {one} for the texts {list(rows)}, and {other} for {same}"
    watched = _Rows((0, 1))
    before = watched.looks
    if figure(watched) is not None and watched.looks == before:
        yield "returned a figure without a look at the rows"


@_law("Sort or change a copy: others may read the same list.")
def leaves_its_arguments(metric: Metric) -> Complaints:
    """Change none of the lists that it is given."""
    for rows in SETS:
        call, arguments = _call(metric, rows)
        before = deepcopy(arguments)
        call(*arguments)
        for one, other in zip(before, arguments, strict=True):
            if one != other:
                yield f"was given {shown(one)} and changed it to {shown(other)}"


@_law("Keep nothing between calls, and use neither `hash` nor the order of a set.")
def is_the_same_elsewhere(metric: Metric) -> Complaints:
    """Return the same figures in two other processes, which ask in reverse and hash otherwise.

    A class that such a process can't import, as one of a notebook or in a function, is left out.
    """
    cls = type(metric)
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        return
    figure = _figure(metric)
    here = [metric.numbers(figure(rows)) for rows in SETS]
    with ThreadPoolExecutor() as pool:
        answers = [*pool.map(partial(_elsewhere, metric), ("1", "2"))]
    for done in answers:
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[-1]
            yield f"failed in another process: {shown(reason)}"
            return
        there = json.loads(done.stdout.splitlines()[-1])
        for rows, one, other in zip(SETS, here, there, strict=True):
            if not np.allclose(one or 0, other or 0):
                yield f"returned {one} for the texts {list(rows)}, and {other} in another process"


def _elsewhere(metric: Metric, seed: str) -> subprocess.CompletedProcess[bytes]:
    """Run `_answer` in a process whose hashes have another seed.

    Two fixed seeds, because the order of a set may be that of one other process by chance.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as laws; laws._answer()"
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed},
        input=pickle.dumps(metric), capture_output=True, check=False,
    )  # fmt: skip


def _answer() -> None:
    """Write the figures of the metric of standard input, the last set's first."""
    metric = pickle.load(sys.stdin.buffer)  # from the process that started this one
    figure = _figure(metric)
    answers = [metric.numbers(figure(rows)) for rows in reversed(SETS)]
    print("\n" + json.dumps(answers[::-1]))
