"""The plan of a chain: its last stages and the draw in one call of the kernels.

A decoding step of a small model takes less time than ten calls of NumPy. So the stages at the end
of a chain that are nothing but kernels, and the draw, become one call. What a stage reads of the
text becomes arguments of its kernels, at each step. Others, such as a stranger's sampler, run
before it, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.context import Context
from corelm.decoding.step import ModelLogits
from corelm.language_model import Vocabulary
from corelm.native import rows
from corelm.native.backend import FLOAT32, Recorder
from corelm.numerics.distributions import Array, draw_checked
from corelm.sampling import Chain, Sampler
from corelm.stages import StageResult, apply, check_drawn, invalid_result, run_stages

CONSTANT = {"vocabulary"}
"""The parts of the context that are the same at every step."""

NONE = np.empty(0, dtype=np.int64)


class Drawn(NamedTuple):
    """Tokens, and the distributions that they were drawn from.

    Attributes:
        model_logits: (batch, vocabulary) the model's, with tokens that are never drawn masked.
        logits: (batch, vocabulary) the sampler's.
        tokens: (batch,) ids.
        surprisal: (batch,) nats, of the tokens under the sampler's logits.
    """

    model_logits: Array
    logits: Array
    tokens: NDArray[np.int64]
    surprisal: NDArray[np.float64]


class DrawPlan:
    """A sampler's stages and the draw in few calls, with the bits of one call for each stage.

    Args:
        sampler: the sampler or chain.
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> chain = corelm.sampler("edt(t=2) | top_k(k=2) | temperature(t=0.5)")
        >>> plan = DrawPlan(chain, ToyModel().vocabulary)
        >>> str(plan.before), str(plan.after)
        ('edt(t=2.0, theta=0.1, base=0.8)', 'top_k(k=2) | temperature(t=0.5)')
    """

    def __init__(self, sampler: Sampler, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self.prepare = ModelLogits(vocabulary, unknown)
        stages = sampler.active_stages
        first = _first_of_last(stages, vocabulary)
        self._kernels, self._vocabulary = stages[first:], vocabulary
        self._known: tuple[int, list[Calls | None]] = -1, []
        self._sampler = sampler
        self.before: Sampler | None = _chain(stages[:first])
        """The stages that run one at a time, first."""
        self.after: Sampler | None = _chain(stages[first:])
        """The other stages, which are one call with the draw where there are kernels."""

    def draw(
        self,
        logits: Array,
        uniforms: NDArray[np.float64],
        position: int,
        context: Callable[[], Context],
        trace: list[StageResult] | None = None,
    ) -> Drawn:
        """Draw one token of each row.

        Args:
            logits: (batch, vocabulary) the model's, which are overwritten.
            uniforms: (batch,) numbers in [0, 1).
            position: the number of tokens drawn before.
            context: returns the past of each row.
            trace: gets the results of masks.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, its result is not a distribution, or the token drawn
                is one that the model rules out.
            UsageError: as for `corelm.stages.apply`.
        """
        logits = self.prepare.check(logits, len(uniforms))
        if self.before is None and (
            drawn := self._in_one_call(logits, self.prepare.never, uniforms, context)
        ):
            return Drawn(logits, *drawn)
        # Also after a call that found a row that is no distribution: what follows names the fault.
        result = model_logits = self.prepare(logits, position)
        if self.before is not None:
            result = apply(self.before, model_logits, context(), trace)
            if drawn := self._in_one_call(result, NONE, uniforms, context):
                return self._checked(Drawn(model_logits, *drawn), position)
        if self.after is not None:
            result = run_stages(self.after, result, context(), trace)
        tokens, surprisal, valid = draw_checked(result, uniforms)
        if not valid:
            raise invalid_result(self._sampler, result, position)
        return self._checked(Drawn(model_logits, result, tokens, surprisal), position)

    def _checked(self, drawn: Drawn, position: int) -> Drawn:
        if drawn.logits is not drawn.model_logits:
            check_drawn(self._sampler, drawn.tokens, drawn.model_logits, repeat(position))
        return drawn

    def _in_one_call(
        self,
        logits: Array,
        never: NDArray[np.int64],
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
    ) -> tuple[Array, NDArray[np.int64], NDArray[np.float64]] | None:
        """Return the logits drawn from, the tokens and their surprisals; None where it can't."""
        if native.kernels is None or logits.dtype is not FLOAT32:
            return None
        try:
            calls = self._calls(len(logits), context)
            out, tokens, surprisal, valid = rows.sample(logits, never, calls, uniforms)
        except Exception:  # what the kernels can't read or do; each stage by itself says what it is
            return None
        return (out, tokens, surprisal) if valid else None

    def _calls(self, batch: int, context: Callable[[], Context]) -> Calls:
        """Return the kernels of a step; those that don't depend on the text are kept."""
        if self._known[0] != batch:
            known = [
                calls_of(stage, self._vocabulary, batch) if stage.reads <= CONSTANT else None
                for stage in self._kernels
            ]
            self._known = batch, known
        calls, now = tuple[rows.Call, ...](), None
        for stage, found in zip(self._kernels, self._known[1], strict=True):
            if found is None:
                now = context() if now is None else now
                found = _recorded(stage, batch, now)
            calls += found
        return calls


Calls = tuple[rows.Call, ...]


def _recorded(stage: Sampler, batch: int, context: Context) -> Calls:
    result: Any = stage(Recorder((batch, context.vocabulary_size)), context)  # type: ignore[arg-type]
    calls: Calls = result.calls
    return calls


def _first_of_last(stages: Sequence[Sampler], vocabulary: Vocabulary) -> int:
    """Return where the longest end of a chain that consists of kernels begins."""
    if native.kernels is None:
        return 0
    first, room = len(stages), native.kernels.MOST_STAGES
    while first:
        calls = calls_of(stages[first - 1], vocabulary)
        room -= 0 if calls is None else max(len(calls), 1)
        if calls is None or room < 0:
            break
        first -= 1
    return first


def calls_of(stage: Sampler, vocabulary: Vocabulary, batch: int = 0) -> Calls | None:
    """Return the kernels that a stage consists of; None if it does anything else.

    Args:
        stage: a sampler that is no chain.
        vocabulary: the model's vocabulary.
        batch: the number of rows; each has a text of one drawn token.
    """
    if not stage._is_built_in or stage._acts_by != "call":
        return None
    nats = np.ones((batch, 2))
    context = Context(np.zeros((batch, 2), dtype=np.int64), nats, nats, 1, vocabulary)
    no_rows = np.empty((0, len(vocabulary)), dtype=np.float32)
    try:
        calls = _recorded(stage, batch, context)
        if not batch:
            rows.sample(no_rows, NONE, calls, np.empty(0))  # raises unless it knows the kernels
    except Exception:  # it looked at the logits, or its arguments are wrong, as a call will tell
        return None
    return calls


def _chain(stages: Sequence[Sampler]) -> Sampler | None:
    if len(stages) < 2:
        return stages[0] if stages else None
    return Chain(samplers=tuple(stages))
