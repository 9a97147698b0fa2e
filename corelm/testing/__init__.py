"""For authors of plugins: the laws that every sampler obeys, and a toy model to write with.

    @obeys_the_laws(TopP(), TopP(p=0.1))
    def test_law(sampler, law):
        law(sampler)

Each law is a function that takes a sampler and raises an AssertionError, which says what is
wrong and what to do about it. They are the same for built-in samplers and for strangers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator

from corelm.context import Context
from corelm.errors import UsageError
from corelm.numerics.distributions import Array, softmax
from corelm.sampler import Sampler
from corelm.testing.toy_model import ToyModel as ToyModel  # what authors import it from
from corelm.validation import fault_of_result

if TYPE_CHECKING:
    import pytest

SHAPES = ((1, 1), (3, 2), (2, 5), (4, 300))
FLOATS = (np.float32, np.float64)
REPEATS = 20
CONSTANTS = (-16.0, 0.5, 128.0)
Shape = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One question to a sampler: logits and the context that they follow."""

    logits: Array
    context: Context

    def __str__(self) -> str:
        rows, tokens = self.logits.shape
        return f"{rows} x {tokens} logits in {self.logits.dtype} at step {self.context.step}"

    def rows(self, order: Sequence[int]) -> Case:
        """The same question about some of the rows."""
        c = self.context
        surprisals = (c.surprisal[order], c.model_surprisal[order])
        return Case(self.logits[order], Context(c.tokens[order], *surprisals, c.prompt_length))


def _eighths(rng: Generator, shape: Shape) -> Array:
    """Logits between -8 and 8 to which the constants can be added without rounding."""
    return np.asarray(rng.integers(-64, 65, shape) / 8)


def _ties(rng: Generator, shape: Shape) -> Array:
    return rng.integers(0, 2, shape).astype(np.float64)


def _holes(rng: Generator, shape: Shape) -> Array:
    """Most tokens impossible, at least one of each row not."""
    logits = np.where(rng.random(shape) < 0.6, -np.inf, _eighths(rng, shape))
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = 1.5
    return logits


def _extremes(rng: Generator, shape: Shape) -> Array:
    return rng.choice([1e30, -1e30, 1e4, -1e4, 1e-40, -1e-40, 0.0], shape)


def _point_mass(rng: Generator, shape: Shape) -> Array:
    """One token possible in each row, and so certain."""
    logits = np.full(shape, -np.inf)
    logits[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = rng.integers(-9, 9)
    return logits


MODEST = (_eighths, _ties, _holes)
ALL = (*MODEST, _extremes)


@cache
def _cases(*kinds: Callable[..., Array]) -> tuple[Case, ...]:
    rng = np.random.default_rng(1)
    return tuple(
        Case(kind(rng, shape).astype(dtype), _past(rng, shape, prompt, drawn))
        for kind in kinds
        for shape in SHAPES
        for dtype in FLOATS
        for prompt, drawn in ((0, 0), (5, 7))
    )


def _past(rng: Generator, shape: Shape, prompt: int, drawn: int) -> Context:
    """A context of few different tokens, so that some of it repeats."""
    batch, vocabulary = shape
    time = (batch, prompt + drawn)
    drawn_from, model = rng.exponential(2.0, (2, *time))
    drawn_from[:, :prompt] = model[:, :prompt] = np.nan
    return Context(rng.integers(0, min(vocabulary, 3), time), drawn_from, model, prompt)


Law = Callable[[Sampler], None]


def _law(way_out: str) -> Callable[[Callable[[Sampler], Iterator[tuple[Case, str]]]], Law]:
    """Make a law of a generator of complaints: the first one is raised, with the way out."""

    def decorate(complaints: Callable[[Sampler], Iterator[tuple[Case, str]]]) -> Law:
        @wraps(complaints)
        def law(sampler: Sampler) -> None:
            for case, complaint in complaints(sampler):
                raise _broken(sampler, complaint, case, way_out)

        return law

    return decorate


WAYS_OUT = {
    "instead of an array": "Return the new logits as a NumPy array.",
    "the shape": "Keep (batch, vocabulary): reduce with axis=-1 and keepdims=True.",
    "float": "Compute in what precision you like, and return `.astype(logits.dtype)`.",
    "NaN": "Subtract the largest logit of the row first; -inf - -inf and 0 * inf are NaN.",
    "+infinity": "A logit is finite or minus infinity; subtract the largest of the row first.",
    "impossible": "A filter keeps at least the likeliest token; or it into the mask.",
}
"""What to do about a result that is no distribution, by a word of what is wrong with it."""


def is_a_distribution(sampler: Sampler) -> None:
    """It returns logits of the same shape and dtype, each row with a finite entry, none NaN."""
    for case in _cases(*ALL):
        _answer(sampler, case)


@_law("Work on a copy: use `keep`, `np.where`, or `logits.copy()`.")
def leaves_its_input_alone(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """It does not write into the logits that it is given."""
    for case in _cases(*ALL):
        logits = case.logits.copy()
        _call(sampler, logits, case)
        if not np.array_equal(logits, case.logits):
            yield case, "wrote into its input"


@_law(
    "A sampler keeps nothing and draws nothing: compute what varies from `context`, and return "
    "the distribution itself (a coin before the draw is a mixture of the two outcomes)."
)
def repeats_itself(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """It gives the same answer to the same question: it keeps nothing and draws nothing."""
    cases, luck_before = _cases(*ALL), _global_luck()
    first = [_answer(sampler, case) for case in cases]
    for _ in range(REPEATS):
        for case, before in zip(cases, first, strict=True):
            if not np.array_equal(_answer(sampler, case), before):
                yield case, "gave two answers to one question"
    if _global_luck() != luck_before:
        yield cases[0], "drew random numbers"


@_law(
    "Reduce over the vocabulary alone: give every sum, mean, maximum and sort axis=-1 "
    "(and keepdims=True), and match the rows of `context` to those of `logits`."
)
def treats_rows_alone(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """A row gets the same answer alone as among others, in any order."""
    for case in _cases(*ALL):
        together = softmax(_answer(sampler, case))
        batch = range(len(together))
        for rows in ([*batch][::-1], *([row] for row in batch)):
            apart = softmax(_answer(sampler, case.rows(rows)))
            if not np.allclose(apart, together[rows], rtol=1e-5, atol=1e-7):
                yield case, f"answered rows {rows} in another way among other rows"


@_law("Minus infinity means never: pass the result through `keep(result, logits > -np.inf)`.")
def never_revives_a_token(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """A token of probability zero stays at probability zero."""
    for case in _cases(_holes, _point_mass):
        revived = (case.logits == -np.inf) & (_answer(sampler, case) > -np.inf)
        for row, token in np.argwhere(revived):
            yield case, f"revived token {token} of row {row}, which was impossible"


ALONE = "The entropy and the deviation of one token are 0; keep the likeliest token in any case."


@_law(ALONE)
def survives_a_point_mass(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """Where one token alone is possible, it stays possible."""
    for case in _cases(_point_mass):
        certain = case.logits > -np.inf
        if (_answer(sampler, case, ALONE)[certain] == -np.inf).any():
            yield case, "removed the one token that was possible"


@_law(
    "Logits are unnormalised: look at their differences, at `logits - logits.max(axis=-1, "
    "keepdims=True)` or at `softmax(logits)`. Where the published definition wants the raw ones, "
    "set `is_shift_invariant = False` in the class."
)
def ignores_a_constant(sampler: Sampler) -> Iterator[tuple[Case, str]]:
    """Adding a constant to a row changes nothing, unless `is_shift_invariant` is False."""
    if not sampler.is_shift_invariant:
        return
    for case in _cases(*MODEST):
        before = softmax(_answer(sampler, case))
        for constant in CONSTANTS:
            shifted = Case(case.logits + case.logits.dtype.type(constant), case.context)
            if not np.allclose(softmax(_answer(sampler, shifted)), before, rtol=1e-3, atol=1e-5):
                yield case, f"changed its mind when {constant:g} was added to every logit"


LAWS: tuple[Law, ...] = (
    is_a_distribution,
    leaves_its_input_alone,
    repeats_itself,
    treats_rows_alone,
    never_revives_a_token,
    survives_a_point_mass,
    ignores_a_constant,
)
"""Every law, for use without pytest: `for law in LAWS: law(sampler)`."""


def obeys_the_laws(*samplers: Sampler) -> pytest.MarkDecorator:
    """Make one test for each sampler and law of a function that calls `law(sampler)`, for pytest.

    The tests are called `Temperature(t=0.2)-repeats_itself` and so on.

    Args:
        *samplers: samplers with the parameters to try; their edge values are worth it.

    Raises:
        UsageError: no sampler, or something that is none, such as the class itself.

    Example:
        >>> import corelm
        >>> from corelm.testing import LAWS, obeys_the_laws
        >>> @obeys_the_laws(corelm.sampler("temperature", t=0.2))
        ... def test_law(sampler, law):
        ...     law(sampler)
        >>> for law in LAWS:  # the same without pytest
        ...     law(corelm.sampler("temperature", t=0.2))
    """
    import pytest

    if not samplers:
        raise UsageError("obeys_the_laws needs at least one sampler, or nothing would be tested")
    for sampler in samplers:
        if not isinstance(sampler, Sampler):
            raise UsageError(f"obeys_the_laws takes samplers, such as TopP(p=0.9), not {sampler!r}")
    cases = [(sampler, law) for sampler in samplers for law in LAWS]
    ids = [f"{sampler!r}-{law.__name__}" for sampler, law in cases]
    return pytest.mark.parametrize(("sampler", "law"), cases, ids=ids)


def _call(sampler: Sampler, logits: Array, case: Case) -> Array:
    try:
        return sampler(logits, case.context)
    except Exception as error:
        way_out = "Answer every batch, vocabulary and context, an empty one too; warnings count."
        raise _broken(sampler, f"raised {type(error).__name__}: {error}", case, way_out) from error


def _answer(sampler: Sampler, case: Case, way_out: str = "") -> Array:
    """What a sampler returns, when it is a distribution."""
    result = _call(sampler, case.logits.copy(), case)
    fault = fault_of_result(result, case.logits)
    if fault:
        hints = (hint for word, hint in WAYS_OUT.items() if word in fault)
        raise _broken(sampler, f"returned {fault}", case, way_out or next(hints))
    return result


def _global_luck() -> tuple[Any, ...]:
    """The state of the generators that a sampler might be tempted to use."""
    _, key, position, *rest = np.random.get_state()
    return (random.getstate(), np.asarray(key).tobytes(), position, *rest)


def _broken(sampler: Sampler, what: str, case: Case, way_out: str) -> AssertionError:
    return AssertionError(f"{sampler!r} {what} (asked about {case}). {way_out}")
