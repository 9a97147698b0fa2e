"""The cases on which the laws examine a sampler, and the checks and messages of its results."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from corelm.contracts.context import Context
from corelm.contracts.language_model import Vocabulary
from corelm.contracts.sampling import Sampler
from corelm.contracts.validation import fault_of_array, fault_of_result, first_invalid_row
from corelm.errors import UsageError
from corelm.numerics.distributions import Array
from corelm.text.printable import message_of

SHAPES = ((1, 1), (3, 2), (2, 5), (4, 300))
"""The (batch, vocabulary) of the cases, if no vocabulary is given."""
BATCHES = (1, 3)
"""The numbers of rows of the cases with a vocabulary."""
FLOATS = (np.float32, np.float64)
SHOWN = 6
"""The most logits of a row that a message shows."""

Shape = tuple[int, int]
Kind = Callable[[Generator, Shape, Any], Array]
"""A function that makes logits of a shape for a float type; the caller converts them to it."""


@dataclass(frozen=True)
class Case:
    """An input of a sampler: logits, and the context before them."""

    logits: Array
    context: Context

    def __str__(self) -> str:
        rows, tokens = self.logits.shape
        return f"{rows} x {tokens} logits in {self.logits.dtype} at step {self.context.position}"

    def rows(self, order: Sequence[int]) -> Case:
        """Return the case with some of the rows, in this order."""
        past = {
            name: getattr(self.context, name)[order]
            for name in ("tokens", "surprisal", "model_surprisal")
        }
        return Case(self.logits[order], replace(self.context, **past))


@cache
def cases(*kinds: Kind, vocabulary: Vocabulary | None = None) -> tuple[Case, ...]:
    """Return cases of some kinds, in both float types, with and without a past.

    Args:
        *kinds: such as `eighths` and `ties`.
        vocabulary: the vocabulary of the contexts; without one, the numbers of tokens vary.
    """
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
    """Make most tokens impossible, but leave at least one in each row possible."""
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
    """Make logits with a single possible token in each row, which is therefore certain."""
    logits = np.full(shape, -np.inf)
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = rng.integers(-9, 9)
    return logits


MODEST: tuple[Kind, ...] = (eighths, ties, holes)
ALL: tuple[Kind, ...] = (*MODEST, large)


class InvalidResultError(AssertionError):
    """A sampler raised or returned an invalid result, so most laws can't be examined."""


WAYS_OUT = {
    "instead of an array": "Return the new logits as a NumPy array.",
    "the shape": "Keep (batch, vocabulary): reduce with axis=-1 and keepdims=True.",
    "float": "Compute in any precision you like, and return `.astype(logits.dtype)`.",
    "NaN": "Subtract the largest logit of the row first; -inf - -inf and 0 * inf are NaN.",
    "+infinity": "A logit is finite or minus infinity; subtract the largest of the row first.",
    "impossible": "A filter keeps at least the most likely token; add it to the mask.",
}
"""The way out for each invalid result, by a phrase of its description."""


def call(sampler: Sampler, logits: Array, context: Context, case: Case) -> Array:
    try:
        return sampler(logits, context)
    except Exception as error:
        raise raised(sampler, error, case) from error


def raised(sampler: Sampler, error: Exception, case: Case) -> InvalidResultError:
    way_out = "Answer every batch, vocabulary and context, an empty one too; warnings count."
    if isinstance(error, UsageError) and case.context.vocabulary is None:
        way_out = (
            "If it names words, give the laws a vocabulary: "
            "obeys_the_laws(..., vocabulary=ToyModel().vocabulary)."
        )
    what = f"raised {type(error).__name__}: {message_of(error)}"
    return InvalidResultError(message(sampler, what, case, way_out))


def answer(sampler: Sampler, case: Case, way_out: str = "") -> Array:
    """Call a sampler and return its result; raise if it is not a valid distribution."""
    result = call(sampler, case.logits.copy(), case.context, case)
    fault = fault_of_result(result, case.logits)
    if fault:
        hints = (hint for word, hint in WAYS_OUT.items() if word in fault)
        what = f"returned {fault}"
        if np.shape(result) == case.logits.shape and not fault_of_array(result, case.logits):
            what += changed_row(case, result, np.arange(len(result)) == first_invalid_row(result))
        raise InvalidResultError(message(sampler, what, case, way_out or next(hints)))
    return result


def changed_row(case: Case, result: Array, wrong: NDArray[np.bool_]) -> str:
    """Return the first wrong row, before and after, as the end of a message.

    Args:
        case: the input.
        result: (batch, vocabulary) logits that the sampler returned.
        wrong: True for wrong rows, or for wrong tokens.
    """
    row = int(wrong.reshape(len(wrong), -1).any(axis=-1).argmax())
    token = int(wrong[row].argmax()) if wrong.ndim > 1 else 0
    start = max(0, min(token, len(result[row]) - SHOWN))  # so that the wrong token is shown
    before, after = (
        np.array2string(logits[row][start : start + SHOWN], precision=4, separator=", ")
        for logits in (case.logits, result)
    )
    tokens = "" if len(result[row]) <= SHOWN else f", tokens {start} to {start + SHOWN - 1}"
    return f"; row {row}{tokens}: {before} became {after}"


def message(sampler: Sampler, what: str, case: Case, way_out: str) -> str:
    return f"{sampler!r} {what} (asked about {case}). {way_out}"


_ALWAYS = {"batch", "vocabulary_size"}
"""The parts of a context that do not depend on the text."""

_NEEDS = {
    "drawn": {"tokens"},
    "past": {"tokens"},
    "prompt_length": {"tokens", "position", "surprisal", "model_surprisal"},
}
"""The parts of a context that follow from other parts: to declare one of these is enough."""


class ContextGuard:
    """A context that raises at access to undeclared parts, and records these parts."""

    def __init__(self, context: Context, reads: frozenset[str]) -> None:
        self._context, self._reads = context, reads
        self.refused: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in _ALWAYS and not _NEEDS.get(name, {name}) & self._reads:
            self.refused.append(name)
            raise UsageError(f"the sampler does not declare that it reads {name}")
        return getattr(self._context, name)

    def copy(self) -> ContextGuard:
        """Return the guard itself, which already protects the context."""
        return self

    def with_vocabulary_size(self, size: int) -> ContextGuard:
        """Return the guard of the same context for rows of this many logits."""
        self._context = self._context.with_vocabulary_size(size)
        return self


def log(p: Array) -> Array:
    """Return ln p, minus infinity where p is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p))


def differ(one: Array, other: Array, rtol: float, atol: float) -> NDArray[np.bool_]:
    """Return True where two arrays are not close, as `np.allclose` says it."""
    return ~np.isclose(one, other, rtol=rtol, atol=atol)


def global_random_state() -> tuple[Any, ...]:
    """Return the state of the global generators, which no sampler may use."""
    _, key, position, *rest = np.random.get_state()
    return (random.getstate(), np.asarray(key).tobytes(), position, *rest)


def rounding(logits: Array) -> float:
    """Return the relative error that rounding makes in a probability, between 1e-5 and 1e-3.

    A temperature that depends on a sum over the vocabulary differs in its last bit if the order of
    the sum does. Divided by a low temperature, the logits are large, and so is their rounding
    error.
    """
    largest = np.abs(logits, where=np.isfinite(logits), out=np.zeros_like(logits)).max()
    return float(np.clip(4 * np.finfo(logits.dtype).eps * largest, 1e-5, 1e-3))
