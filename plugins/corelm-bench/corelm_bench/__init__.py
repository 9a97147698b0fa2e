"""Measure the speed of a model and a sampler on this machine, and its limit.

The limit is the speed if a step consisted only of the matrix products of the batch with the
network's weights, by the faster of NumPy and corelm's kernels.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter, sleep
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from corelm import (
    Ancestral,
    Array,
    Context,
    DecodingTask,
    LanguageModel,
    RandomStream,
    Sampler,
    Step,
)
from corelm.errors import UsageError
from corelm.runs import chain_stages

PAUSE = 0.1
"""Seconds after which the threads of a BLAS sleep; while they spin, they would slow down the next
measurement."""

Calls = Sequence[Callable[[], object]]


@runtime_checkable
class HasProducts(Protocol):
    """A model whose matrix products can be run on their own."""

    def products(self, batch: int) -> Sequence[Calls]:
        """Return the calls that do the products of a step, one list for each way to do them.

        Args:
            batch: the number of texts.
        """


@dataclass(frozen=True)
class Speed:
    """The speed of texts that are written together; times are medians, in seconds.

    Attributes:
        batch: the number of texts.
        rounds: how often the texts were written.
        tokens_per_second: of all texts together, the sampler and the draw included.
        step: the time for one token of every text.
        sampler: the sampler's time in a step, by its share of a step in which each part is alone;
            the kernels may do it and the draw at once, or while Python takes the tokens before.
        draw: the time of the draw, in the same way.
        products: the time of the bare matrix products of a step; None if the model does not
            offer them.
    """

    batch: int
    rounds: int
    tokens_per_second: float
    step: float
    sampler: float
    draw: float
    products: float | None

    @property
    def limit(self) -> float | None:
        """Tokens per second if a step consisted only of its matrix products."""
        return None if self.products is None else self.batch / self.products

    @property
    def share_of_limit(self) -> float | None:
        """The share of the matrix products in the time of a step."""
        return None if self.products is None else self.products / self.step


class Round(NamedTuple):
    """The figures of `Speed` for one round, in which each text is written once."""

    tokens_per_second: float
    step: float
    sampler: float
    draw: float
    products: float


def measure(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    *,
    batch: int,
    length: int = 50,
    seconds: float = 3,
    progress: Callable[[int, int], None] = lambda percent, whole: None,
) -> Speed:
    """Write the same texts repeatedly, and measure the speed.

    Args:
        model: the language model; the limit is measured if it has `products`.
        prompt: the beginning of the texts. Reading it and drawing the first token is not measured.
        sampler: the sampler.
        batch: the number of texts that are written together, at least 1.
        length: tokens to draw for each text, at least 2.
        seconds: the time to measure; at least two rounds are run, and the first does not count.
        progress: called at the start and after each round with the percentage of the measurement
            that has passed, and 100.

    Raises:
        UsageError: every text ends with its first token.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> speed = measure(ToyModel(), "the", corelm.sampler("greedy"), batch=2, seconds=0)
        >>> speed.rounds, speed.tokens_per_second > 0, speed.limit
        (1, True, None)
    """
    ids = np.array(model.vocabulary.encode(prompt), dtype=np.int64)
    task = DecodingTask(model, ids, sampler, RandomStream(0, range(batch)), length)
    products = Products(model.products(batch) if isinstance(model, HasProducts) else [])
    began = perf_counter()
    rounds: list[Round] = []
    progress(0, 100)  # a large model takes a minute for a round
    while len(rounds) < 2 or perf_counter() < began + seconds:
        rounds.append(_round(task, products))
        passed = (perf_counter() - began) / seconds if seconds else 1
        progress(min(round(100 * min(passed, len(rounds) / 2)), 100), 100)
    # The first round pays for page faults and for threads that wake up.
    figures = Round(*map(statistics.median, zip(*rounds[1:], strict=True)))._asdict()
    return Speed(batch, len(rounds) - 1, **figures | ({} if products else {"products": None}))


def _round(task: DecodingTask, products: Products) -> Round:
    tokens, count, seconds = _written(task)
    step, (sampler, draw) = seconds / count, _shares(task)
    return Round(
        tokens_per_second=tokens / seconds,
        step=step,
        sampler=sampler * step,
        draw=draw * step,
        products=products.seconds(count),
    )


def _written(task: DecodingTask) -> tuple[int, int, float]:
    """Write the texts as always; return the tokens, the steps and the seconds after the first."""
    steps = Ancestral()(task)
    next(steps)  # reads the prompt, which is not measured
    began = perf_counter()
    sizes = [len(step.tokens) for step in steps]
    seconds = perf_counter() - began
    if not sizes:
        raise UsageError("every text ends with its first token: there is nothing to measure")
    return sum(sizes), len(sizes), seconds


def _shares(task: DecodingTask) -> tuple[float, float]:
    """Time sampler and draw apart; return each one's share of a step.

    Each is alone here. Without a clock, the kernels do both at once, or for several steps in one
    call.
    """
    marks: list[float] = []  # three a step: the sampler starts, the draw starts, the draw ends
    steps = _steps(replace(task, sampler=_timed(task.sampler, marks)), marks)
    next(steps)
    marks.clear()
    began = perf_counter()
    for _ in steps:
        pass
    begun, sampled, drawn = (sum(marks[i::3]) for i in range(3))
    return (sampled - begun) / (marks[-1] - began), (drawn - sampled) / (marks[-1] - began)


def _timed(sampler: Sampler, marks: list[float]) -> Sampler:
    """Return a sampler that runs another one and records the times of its start and end."""

    class Timed(Sampler):
        # As the timed sampler declares: the core computes `model_surprisal` only if it is read.
        reads = frozenset[str]().union(*(stage.reads for stage in sampler.stages))

        def __call__(self, logits: Array, context: Context) -> Array:
            marks.append(perf_counter())
            result = chain_stages.apply(sampler, logits, context)
            marks.append(perf_counter())
            return result

    return Timed()


def _steps(task: DecodingTask, marks: list[float]) -> Iterator[Step]:
    """Yield the steps of ancestral sampling, and record the time at which each draw ends."""
    decoding = task.start()
    for position in range(task.length):
        step = decoding.draw()
        marks.append(perf_counter())
        unfinished = ~decoding.is_end(step.tokens)
        if unfinished.any() and position + 1 < task.length:
            decoding.select(unfinished)
            decoding.advance()
            yield step
        else:
            yield step
            return


class Products:
    """The matrix products of a step, timed.

    Args:
        ways: the calls that do them, one list for each way, NumPy's first.
    """

    def __init__(self, ways: Sequence[Calls]) -> None:
        self._ways = [way for way in ways if way]

    def __bool__(self) -> bool:
        return bool(self._ways)

    def seconds(self, times: int) -> float:
        """Return the mean time of the faster way over several runs; 0 without products."""
        return min((_mean(way, times) for way in self._ways), default=0.0)

    def seconds_in_numpy(self, times: int) -> float:
        """Return the mean time of `np.matmul`, which uses the BLAS that NumPy was built with."""
        return _mean(self._ways[0], times)


def _mean(calls: Calls, times: int) -> float:
    """Return the mean time of the calls, to compare with a step's mean under the same load."""
    _once(calls)  # a first call wakes the threads
    mean = statistics.fmean(_once(calls) for _ in range(times))
    sleep(PAUSE)
    return mean


def _once(calls: Calls) -> float:
    began = perf_counter()
    for call in calls:
        call()
    return perf_counter() - began
