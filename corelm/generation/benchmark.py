"""How fast a model and a sampler write on this machine, and how near that is to its limit.

The limit is what the machine would reach if a step were nothing but the products of the batch
with the weights of the network, by the faster of NumPy and corelm's own kernels.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, sleep
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.context import Context
from corelm.decoder import DecodingTask
from corelm.decoding.random_stream import RandomStream
from corelm.decoding.state import Decoding
from corelm.errors import UsageError
from corelm.generation.ancestral import Ancestral
from corelm.language_model import LanguageModel
from corelm.model.networks.layers import Matrix, Panels
from corelm.model.numpy_model import NumpyModel
from corelm.numerics.distributions import Array
from corelm.sampler import Sampler

PAUSE = 0.1
"""Seconds in which the threads of a BLAS, which wait for more work, fall asleep; else they would
take the cores from whatever is measured next."""


@dataclass(frozen=True)
class Speed:
    """How fast texts are written together; times are medians, in seconds.

    Attributes:
        batch: how many texts.
        rounds: how often they were written.
        tokens_per_second: of all texts together, the sampler and the draw included.
        step: one token of every text.
        sampler: what the sampler takes of a step.
        draw: what the draw takes of a step.
        products: the bare matrix products of a step; None where they are not known.
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
        """Tokens per second if a step were its matrix products alone."""
        return None if self.products is None else self.batch / self.products

    @property
    def share_of_limit(self) -> float | None:
        """What the matrix products take of a step."""
        return None if self.products is None else self.products / self.step


class Round(NamedTuple):
    """The figures of `Speed`, of one writing of all texts."""

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
    multiplied: Sequence[Matrix] = (),
    tell: Callable[[int, int], None] = lambda percent, whole: None,
) -> Speed:
    """Write the same texts again and again, and see how fast that is.

    Args:
        model: the language model.
        prompt: what the texts go on from. Reading it and drawing the first token is not measured.
        sampler: what reshapes the distributions.
        batch: how many texts are written together, at least 1.
        length: tokens to draw for each, at least 2.
        seconds: for how long; there are two rounds at least, the first of which does not count.
        multiplied: the matrices that a step multiplies with; of corelm's own models they are
            known.
        tell: is told after each round how many percent of the time have passed, and 100.

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
    task = TimedTask(model, ids, sampler, RandomStream(0, range(batch)), length)
    own = model.matrices if isinstance(model, NumpyModel) else ()
    products = Products(multiplied or own, batch)
    began = perf_counter()
    rounds: list[Round] = []
    while len(rounds) < 2 or perf_counter() < began + seconds:
        rounds.append(_round(task, products))
        passed = (perf_counter() - began) / seconds if seconds else 1
        tell(min(round(100 * passed), 100), 100)
    return _speed(batch, rounds[1:], known=bool(products))


def _round(task: TimedTask, products: Products) -> Round:
    steps = Ancestral()(task)
    next(steps)
    task.marks.clear()
    began, tokens = perf_counter(), 0
    for step in steps:
        tokens += len(step.tokens)
    if not task.marks:
        raise UsageError("every text ends with its first token: there is nothing to measure")
    seconds, count = task.marks[-1] - began, len(task.marks) // 3
    begun, sampled, drawn = (sum(task.marks[i::3]) for i in range(3))
    return Round(
        tokens_per_second=tokens / seconds,
        step=seconds / count,
        sampler=(sampled - begun) / count,
        draw=(drawn - sampled) / count,
        products=products.seconds(count),
    )


def _speed(batch: int, rounds: Sequence[Round], known: bool) -> Speed:
    figures = Round(*map(statistics.median, zip(*rounds, strict=True)))._asdict()
    return Speed(batch, len(rounds), **figures | ({} if known else {"products": None}))


@dataclass(frozen=True)
class TimedTask(DecodingTask):
    """A task whose decoding state notes when each part of a step ends."""

    marks: list[float] = field(default_factory=list)
    """Three times a step: the sampler starts, the draw starts, the draw ends."""

    def start(self) -> Decoding:
        """Return the timed decoding state."""
        return TimedDecoding(self)


class TimedDecoding(Decoding):
    """A decoding state that notes when the sampler starts, and when the draw starts and ends."""

    def __init__(self, task: TimedTask) -> None:
        super().__init__(
            task.model, task.prompt, task.sampler, task.random_stream, task.length,
            unknown=task.unknown,
        )  # fmt: skip
        self._marks = task.marks

    def model_logits(self, scores: Array | None = None) -> Array:
        """Return the model's logits; the sampler starts next."""
        logits = super().model_logits(scores)
        self._marks.append(perf_counter())
        return logits

    def _reshaped(self, model_logits: Array, context: Context) -> Array:
        logits = super()._reshaped(model_logits, context)
        self._marks.append(perf_counter())
        return logits

    def _draw_from(
        self, logits: Array, position: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        drawn = super()._draw_from(logits, position)
        self._marks.append(perf_counter())
        return drawn


class Products:
    """The products of a batch with matrices, and nothing else.

    Args:
        matrices: their shapes, and whether the kernels have them in half precision.
        batch: how many vectors are multiplied with each.
    """

    def __init__(self, matrices: Sequence[Matrix], batch: int) -> None:
        self._ways: list[list[Callable[[], object]]] = [[]]
        if native.kernels:
            self._ways.append([])
        for inputs, units, halves in matrices:
            x, out = _filled(1, batch, inputs), _filled(1, batch, units)
            number = 1 / 2 if halves else 1 / 3  # halves hold the one and not the other
            matrix = _filled(inputs, units, number=number)
            self._ways[0].append(partial(np.matmul, x, matrix, out=out))
            if native.kernels:
                self._ways[1].append(partial(Panels(matrix), x, None, 0, None, out))

    def __bool__(self) -> bool:
        return bool(self._ways[0])

    def seconds(self, times: int) -> float:
        """How long they take in the faster way: the mean of several times; 0 without matrices."""
        if not self:
            return 0.0
        return min(_mean(way, times) for way in self._ways)

    def seconds_in_numpy(self, times: int) -> float:
        """The same of `np.matmul` alone, which is whatever BLAS NumPy has."""
        return _mean(self._ways[0], times)


def _mean(calls: Sequence[Callable[[], object]], times: int) -> float:
    """As the time of a step is a mean, with whatever else there is to do on the machine."""
    _once(calls)  # which wakes the threads
    found = statistics.fmean(_once(calls) for _ in range(times))
    sleep(PAUSE)
    return found


def _once(calls: Sequence[Callable[[], object]]) -> float:
    began = perf_counter()
    for call in calls:
        call()
    return perf_counter() - began


def _filled(*shape: int, number: float = 0.5) -> Array:
    """Every array in memory of its own, as weights are."""
    return np.full(shape, number, dtype=np.float32)
