"""The first contract: a sampler maps one next-token distribution to another.

A sampler is a frozen dataclass with `__call__(logits, context) -> logits`. It draws nothing,
keeps nothing and changes nothing; the core draws once, from what it returns. `a | b` is a sampler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from corelm.context import Context
from corelm.errors import ModelOutputError, ParameterError, SamplerError, UsageError
from corelm.numerics.distributions import Array, rows_are_valid, softmax
from corelm.params import Parameterized


class Sampler(Parameterized, ABC):
    """A pure map from next-token logits to next-token logits.

    Subclassing makes a frozen dataclass of the class; `corelm.param` declares its fields.

    Example:
        >>> import corelm
        >>> class Cold(corelm.Sampler):
        ...     '''Sharpen the distribution.'''
        ...     t: float = corelm.param(0.5, "softmax temperature", gt=0)
        ...     def __call__(self, logits, context):
        ...         return logits / self.t
        >>> Cold(t=0.25)
        Cold(t=0.25)
        >>> str(Cold() | Cold(t=2))
        'cold(t=0.5) | cold(t=2.0)'
    """

    depends_on_scale: ClassVar[bool] = False
    """Whether adding a constant to a row changes the result (only the CTRL penalty may)."""

    @abstractmethod
    def __call__(self, logits: Array, context: Context) -> Array:
        """Return the logits to draw from.

        Args:
            logits: (batch, vocabulary), float32 or float64, read-only. Unnormalised; minus
                infinity means never; each row has at least one finite entry.
            context: the tokens so far; rows match those of `logits`.

        Returns:
            Logits of the same shape and dtype, each row with at least one finite entry.
        """

    @property
    def stages(self) -> tuple[Sampler, ...]:
        """The samplers that act one after the other: itself, or the links of a chain."""
        return (self,)

    def __or__(self, other: Sampler) -> Chain:
        """First this sampler, then the other one, on what this one returned."""
        if not isinstance(other, Sampler):
            return NotImplemented
        return Chain(self.stages + other.stages)


class Chain(Sampler):
    """Samplers one after the other, in the order given."""

    samplers: tuple[Sampler, ...] = ()

    def __post_init__(self) -> None:
        flat = tuple(stage for sampler in self.samplers for stage in sampler.stages)
        object.__setattr__(self, "samplers", flat)
        if not flat:
            raise ParameterError("a chain needs at least one sampler")

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply(self, logits, context)

    @property
    def stages(self) -> tuple[Sampler, ...]:
        return self.samplers

    @property
    def expression(self) -> str:
        return " | ".join(stage.expression for stage in self.samplers)

    def __repr__(self) -> str:
        return self.expression


def apply(sampler: Sampler, logits: Array, context: Context, *, unchecked: bool = False) -> Array:
    """Call a sampler with its input protected and its output checked, stage by stage.

    Args:
        sampler: a sampler or a chain.
        logits: (batch, vocabulary).
        context: the past of each row.
        unchecked: whether the caller sees to it that what the last stage returned are
            distributions, as `DecodingTask.draw` does by the way.

    Raises:
        SamplerError: a stage raised or returned no distribution; names stage, step and row.
        UsageError: a stage was asked for what cannot be done here; names stage.
    """
    *others, last = sampler.stages
    for stage in others:
        logits = _checked(stage, logits, context)
    return _called(last, logits, context) if unchecked else _checked(last, logits, context)


def _checked(stage: Sampler, logits: Array, context: Context) -> Array:
    result = _called(stage, logits, context)
    if not rows_are_valid(result):
        raise refusal(stage, result, context.step)
    return result


def refusal(stage: Sampler, result: Array, step: int) -> SamplerError:
    """Why what a stage returned, which is no distribution, cannot be drawn from."""
    fault = fault_of_logits(result, "returned ")
    return SamplerError(f"{stage} {fault} at step {step}, row {bad_row(result)}")


def _called(stage: Sampler, logits: Array, context: Context) -> Array:
    """What a stage returns, an array like that which it was given."""
    view = logits.view()
    view.flags.writeable = False
    try:
        result = stage(view, context)
    except UsageError as error:  # such as a word that the vocabulary lacks
        raise UsageError(f"{stage.name}: {error}") from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SamplerError(f"{stage} failed at step {context.step}: {reason}") from error
    fault = fault_of_array(result, logits)
    if fault:
        raise SamplerError(f"{stage} {fault} at step {context.step}")
    array: Array = result
    return array


def fault_of_result(result: Any, logits: Array) -> str:
    """What makes a sampler's result no distribution; empty when nothing does."""
    return fault_of_array(result, logits) or fault_of_logits(result, "returned ")


def fault_of_array(result: Any, logits: Array) -> str:
    """What makes a sampler's result no array like what it was given; empty when nothing does."""
    if not isinstance(result, np.ndarray):
        return f"returned {type(result).__name__} instead of an array"
    if result.shape != logits.shape:
        return f"returned the shape {result.shape} instead of {logits.shape}"
    if result.dtype != logits.dtype:
        return f"returned {result.dtype} instead of {logits.dtype}"
    return ""


def fault_of_logits(logits: Array, verb: str = "") -> str:
    """Why no sampler could use these logits; empty when each row is a distribution.

    One pass decides: the maximum of a row is nan, infinite or finite as the row is.
    """
    if rows_are_valid(logits):
        return ""
    first = logits[bad_row(logits)].max()
    if np.isnan(first):
        return f"{verb}NaN"
    return f"{verb}+infinity" if first > 0 else f"{verb}a row in which every token is impossible"


def bad_row(logits: Array) -> int:
    """The first row that is no distribution."""
    return int(np.flatnonzero(~np.isfinite(logits.max(axis=-1)))[0])


def sampling_distribution(
    sampler: Sampler, logits: ArrayLike, tokens: ArrayLike | None = None
) -> Array:
    """The distribution that a sampler draws from, exactly.

    Args:
        sampler: a sampler or a chain.
        logits: (vocabulary,) or (batch, vocabulary); minus infinity means never.
        tokens: the context as ids, (time,) or (batch, time); none means an empty one.

    Returns:
        Probabilities in the shape and dtype of the logits; rows sum to 1.

    Raises:
        ModelOutputError: logits with NaN, +infinity or an empty row.
        SamplerError: the sampler raised or returned no distribution.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(corelm.sampler("greedy"), [1.0, 3.0, 2.0]).tolist()
        [0.0, 1.0, 0.0]
    """
    array = np.asarray(logits)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise UsageError(f"logits must be (vocabulary,) or (batch, vocabulary), not {array.shape}")
    rows = np.atleast_2d(array)
    check_logits(rows)
    result = softmax(apply(sampler, rows, _context_for(len(rows), tokens)))
    return result.reshape(array.shape)


def check_logits(logits: Array, where: str = "the logits") -> None:
    """Refuse logits that no sampler could use, (batch, vocabulary)."""
    fault = fault_of_logits(logits)
    if fault:
        raise ModelOutputError(f"{where} hold {fault} in row {bad_row(logits)}")


def _context_for(batch: int, tokens: ArrayLike | None) -> Context:
    if tokens is None:
        return Context.of(np.empty((batch, 0), dtype=np.int64))
    ids = np.atleast_2d(np.asarray(tokens, dtype=np.int64))
    if ids.ndim != 2 or len(ids) not in (1, batch):
        raise UsageError(f"tokens must be (time,) or ({batch}, time), not {ids.shape}")
    return Context.of(np.broadcast_to(ids, (batch, ids.shape[1])))
