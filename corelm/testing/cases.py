"""The inputs on which the laws examine a sampler: logits of many shapes, and contexts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator

from corelm.context import Context
from corelm.language_model import Vocabulary
from corelm.numerics.distributions import Array

SHAPES = ((1, 1), (3, 2), (2, 5), (4, 300))
"""(batch, vocabulary) of the cases, where no vocabulary is given."""
BATCHES = (1, 3)
"""Rows of the cases with a vocabulary."""
FLOATS = (np.float32, np.float64)

Shape = tuple[int, int]
Kind = Callable[[Generator, Shape, Any], Array]
"""A function that makes logits of a shape for a float type; the caller converts them to it."""


@dataclass(frozen=True)
class Case:
    """One question to a sampler: logits and the context that they follow."""

    logits: Array
    context: Context

    def __str__(self) -> str:
        rows, tokens = self.logits.shape
        return f"{rows} x {tokens} logits in {self.logits.dtype} at step {self.context.step}"

    def rows(self, order: Sequence[int]) -> Case:
        """Return the same question about some of the rows."""
        past = {
            name: getattr(self.context, name)[order]
            for name in ("tokens", "surprisal", "model_surprisal")
        }
        return Case(self.logits[order], replace(self.context, **past))

    def renumbered(self, order: Array) -> Case:
        """Return the same question with other ids: token `order[i]` becomes token i."""
        tokens = np.argsort(order)[self.context.tokens]
        return Case(self.logits[:, order], replace(self.context, tokens=tokens))


def cases(*kinds: Kind, vocabulary: Vocabulary | None = None) -> tuple[Case, ...]:
    """Return questions of some kinds, in both float types, with and without a past.

    Args:
        *kinds: such as `eighths` and `ties`.
        vocabulary: the vocabulary of the contexts; without one, the numbers of tokens vary.
    """
    return _cases(kinds, vocabulary)  # type: ignore[arg-type]  # hashed by identity


@cache
def _cases(kinds: tuple[Kind, ...], vocabulary: Any) -> tuple[Case, ...]:
    rng = np.random.default_rng(1)
    shapes = SHAPES if vocabulary is None else [(rows, len(vocabulary)) for rows in BATCHES]
    return tuple(
        Case(kind(rng, shape, dtype).astype(dtype), _past(rng, shape, prompt, drawn, vocabulary))
        for kind in kinds
        for shape in shapes
        for dtype in FLOATS
        for prompt, drawn in ((0, 0), (5, 7))
    )


def _past(
    rng: Generator, shape: Shape, prompt: int, drawn: int, vocabulary: Vocabulary | None
) -> Context:
    """Make a context of few different tokens, so that some of it repeats.

    With a vocabulary they are the last ones: the first are often special, the last are words.
    """
    batch, size = shape
    least, most = (0, min(size, 3)) if vocabulary is None else (max(size - 5, 0), size)
    time = (batch, prompt + drawn)
    drawn_from, model = rng.exponential(2.0, (2, *time))
    drawn_from[:, :prompt] = model[:, :prompt] = np.nan  # the prompt is not drawn
    return Context(rng.integers(least, most, time), drawn_from, model, prompt, vocabulary)


def eighths(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make logits from -8 to 8 that a constant can be added to without rounding."""
    return np.asarray(rng.integers(-64, 65, shape) / 8)


def ties(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make logits of two values."""
    return rng.integers(0, 2, shape).astype(np.float64)


def distinct(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make logits without ties."""
    return rng.permuted(np.tile(np.arange(shape[1]) / 8, (shape[0], 1)), axis=1)


def holes(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make most tokens impossible, but one of each row at least not."""
    logits = np.where(rng.random(shape) < 0.6, -np.inf, eighths(rng, shape, dtype))
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = 1.5
    return logits


def large(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make logits that are far apart, and some that are almost 0."""
    return rng.choice([1e30, -1e30, 1e4, -1e4, 1e-40, -1e-40, 0.0], shape)


def ends(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make logits of the largest and smallest numbers of a type, some of them impossible."""
    info = np.finfo(dtype)
    small = float(info.smallest_subnormal)
    values = [float(info.max), float(info.min), float(info.tiny), small, -small, 0.0, -np.inf]
    logits = rng.choice(values, shape)
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = 0.0
    return logits


def point_mass(rng: Generator, shape: Shape, dtype: Any) -> Array:
    """Make one token of each row possible, and so certain."""
    logits = np.full(shape, -np.inf)
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = rng.integers(-9, 9)
    return logits


MODEST: tuple[Kind, ...] = (eighths, ties, holes)
ALL: tuple[Kind, ...] = (*MODEST, large)
