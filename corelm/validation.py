"""Check the declarations of a sampler; run its stages and check the logits between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm.context import Context
from corelm.errors import ModelOutputError, PluginError, SamplerError, UsageError
from corelm.numerics.distributions import Array, greedy, rows_are_valid
from corelm.printable import message_of

if TYPE_CHECKING:
    from corelm.sampler import Sampler


KINDS = ("temperature", "filter", "penalty", "mask", "other")
READABLE = frozenset({"tokens", "step", "surprisal", "model_surprisal", "vocabulary"})
"""The parts of a context that a sampler can declare in `reads`."""


def check_attributes(cls: type[Sampler]) -> None:
    """Refuse class attributes outside the contract, and freeze the others."""
    wrong = f"not a sampler: {cls.__name__}"
    if cls.kind not in KINDS:
        raise PluginError(f"{wrong}.kind must be one of {', '.join(KINDS)}, not {cls.kind!r}")
    if not isinstance(cls.reads, Set) or not cls.reads <= READABLE:
        raise PluginError(
            f"{wrong}.reads must be a set of {', '.join(sorted(READABLE))}, not {cls.reads!r}"
        )
    names = [field.name for field in dataclasses.fields(cls)]
    if not isinstance(cls.neutral, Mapping) or not set(cls.neutral) <= set(names):
        has = ", ".join(names) or "none"
        raise PluginError(
            f"{wrong}.neutral must map parameters to values, not be {cls.neutral!r}; "
            f"the parameters are: {has}"
        )
    for flag in ("is_argmax_invariant", "is_shift_invariant"):
        if not isinstance(getattr(cls, flag), bool):
            raise PluginError(f"{wrong}.{flag} must be True or False, not {getattr(cls, flag)!r}")
    cls.reads = frozenset(cls.reads)
    cls.neutral = MappingProxyType(dict(cls.neutral))


def apply(sampler: Sampler, logits: Array, context: Context) -> Array:
    """Call a sampler and check every result, the last one too.

    Stages at their neutral values are skipped.

    Args:
        sampler: a sampler or a chain.
        logits: (batch, vocabulary), each row a valid distribution.
        context: the past of each row.

    Returns:
        (batch, vocabulary) logits to draw from; `logits` itself where every stage is neutral.

    Raises:
        SamplerError: a stage raised or returned invalid logits; names stage, step and row.
        UsageError: a stage cannot do its work here, such as find a word; names the stage.

    Example:
        >>> import corelm, numpy
        >>> greedy = corelm.sampler("greedy")
        >>> apply(greedy, numpy.array([[0.0, 1.0]]), corelm.Context.of([[0]])).tolist()
        [[-inf, 0.0]]
    """
    result = run_stages(sampler, logits, context)
    if result is not logits:
        check_result(sampler, result, context)
    return result


def run_stages(sampler: Sampler, logits: Array, context: Context) -> Array:
    """Call a sampler stage by stage; leave the rows of the last result for the caller to check.

    `apply` checks them with `check_result`. The decoding loop leaves that to the draw, which
    finds invalid rows as a by-product.

    Args, returns and raises: as for `apply`.
    """
    model_logits, stages = logits, sampler.active_stages
    for i, stage in enumerate(stages):
        if i:  # the logits of the model, which come first, were checked before
            check_result(stages[i - 1], logits, context)
        logits = run_stage(stage, logits, model_logits, context)
    return logits


def run_stage(stage: Sampler, logits: Array, model_logits: Array, context: Context) -> Array:
    """Call one stage of a chain; leave the rows of the result for the caller to check.

    A mask removes tokens by the context alone, so it allows what it leaves of the model's own
    distribution. Where earlier stages kept nothing that it allows, the model's likeliest allowed
    token is left, so that a mask is never broken.

    Args:
        stage: the stage.
        logits: (batch, vocabulary), those that the stages before it returned.
        model_logits: (batch, vocabulary), those that the first stage took.
        context: the past of each row.

    Raises:
        SamplerError, UsageError: as for `apply`.
    """
    if stage.kind != "mask" or logits is model_logits:
        return _call(stage, logits, context)
    allowed = _call(stage, model_logits, context)
    kept: Array = np.where(allowed > -np.inf, logits, -np.inf).astype(logits.dtype, copy=False)
    emptied = kept.max(axis=-1) == -np.inf
    if emptied.any():
        kept[emptied] = greedy(allowed[emptied])
    return kept


def check_result(sampler: Sampler, logits: Array, context: Context) -> None:
    """Refuse what the last stage of a sampler returned unless each row is a valid distribution."""
    if not rows_are_valid(logits):
        raise invalid_result(sampler, logits, context.step)


def invalid_result(sampler: Sampler, logits: Array, step: int) -> SamplerError:
    """The error for invalid rows that the last stage of a sampler returned."""
    stage = (sampler.active_stages or sampler.stages)[-1]
    fault = fault_of_rows(logits)
    return SamplerError(f"{stage} returned {fault} at step {step}, row {first_invalid_row(logits)}")


def _call(stage: Sampler, logits: Array, context: Context) -> Array:
    """Call one stage on a read-only view, and check the type, shape and dtype of its result."""
    view = logits.view()  # the array itself stays writeable for its owner
    view.flags.writeable = False
    try:
        result = stage(view, context)
    except UsageError as error:  # such as a word that the vocabulary lacks
        raise UsageError(f"{stage.name}: {message_of(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's SystemExit must not end the program
        reason = f"{type(error).__name__}: {message_of(error)}"
        raise SamplerError(f"{stage} failed at step {context.step}: {reason}") from error
    fault = fault_of_array(result, logits)
    if fault:
        raise SamplerError(f"{stage} returned {fault} at step {context.step}")
    array: Array = result
    return array


def fault_of_result(result: Any, logits: Array) -> str:
    """Name what is wrong with the result of a sampler; empty if nothing is.

    Args:
        result: any object that a sampler returned.
        logits: (batch, vocabulary), the input of that sampler.
    """
    return fault_of_array(result, logits) or fault_of_rows(result)


def fault_of_array(result: Any, logits: Array) -> str:
    """Name the difference in type, shape or dtype to the input; empty if there is none."""
    if not isinstance(result, np.ndarray):
        return f"{type(result).__name__} instead of an array"
    if result.shape != logits.shape:
        return f"the shape {result.shape} instead of {logits.shape}"
    if result.dtype != logits.dtype:
        return f"{result.dtype} instead of {logits.dtype}"
    return ""


def fault_of_rows(logits: Array) -> str:
    """Name what is wrong with the first invalid row; empty if each row is a valid distribution.

    The maximum decides: it is NaN, +infinity or -infinity exactly where the row is invalid.
    """
    if rows_are_valid(logits):
        return ""
    largest = logits[first_invalid_row(logits)].max()
    if np.isnan(largest):
        return "NaN"
    return "+infinity" if largest > 0 else "a row in which every token is impossible"


def first_invalid_row(logits: Array) -> int:
    """The index of the first row that has no finite maximum."""
    return int(np.flatnonzero(~np.isfinite(logits.max(axis=-1)))[0])


def check_logits(logits: Array, where: str = "the logits") -> None:
    """Refuse logits that no sampler could use.

    Args:
        logits: (batch, vocabulary).
        where: the subject of the message, in the plural.

    Raises:
        ModelOutputError: NaN, +infinity, or a row of minus infinity; names the row.
    """
    fault = fault_of_rows(logits)
    if fault:
        raise ModelOutputError(f"{where} hold {fault} in row {first_invalid_row(logits)}")
