"""Check what a sampler returns, and rows of logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.context import Context
from corelm.errors import ModelOutputError, SamplerError
from corelm.numerics.distributions import Array, rows_are_valid
from corelm.text.printable import shown

FEW = 8
"""Tokens; rows of fewer logits may add up to 1 by chance."""


def fault_of_rows(logits: Array) -> str:
    """Describe what is wrong with the first invalid row; return "" if all rows are valid.

    The maximum decides: it is NaN, +infinity or -infinity exactly where the row is invalid.
    """
    if rows_are_valid(logits):
        return ""
    largest = logits[first_invalid_row(logits)].max()  # NaN spreads through a maximum
    if np.isnan(largest):
        return "NaN"
    return "+infinity" if largest > 0 else "a row in which every token is impossible"


def looks_like_probabilities(logits: Array) -> bool:
    """Return True if each row of many numbers from 0 on adds up to 1, as logits hardly do."""
    is_long = logits.shape[-1] >= FEW
    return is_long and logits.min() >= 0 and np.allclose(logits.sum(axis=-1), 1, atol=1e-3)


def first_invalid_row(logits: Array) -> int:
    """Return the index of the first row that has no finite maximum."""
    return int(np.flatnonzero(~np.isfinite(logits.max(axis=-1)))[0])


def fault_of_result(result: Any, logits: Array) -> str:
    """Describe what is wrong with a sampler's result for these logits; return "" if it is valid."""
    return fault_of_array(result, logits) or fault_of_rows(result)


def fault_of_array(result: Any, logits: Array) -> str:
    """Return the difference in type, shape or dtype from the input; empty if there is none."""
    return _fault(result, "an array", logits.shape, logits.dtype)


def fault_of_mask(allowed: Any, shape: tuple[int, ...]) -> str:
    """Describe what is wrong with a mask's result; return "" if it is valid.

    Args:
        allowed: any object that `Mask.allowed` returned, except None.
        shape: the shape of the logits, (batch, vocabulary).
    """
    return _fault(allowed, "an array of bool", shape, np.dtype(bool))


def _fault(result: Any, expected: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    kind = type(result)
    if not issubclass(kind, np.ndarray):
        return f"{kind.__name__} instead of {expected}"
    # A subclass may redefine arithmetic: a masked array still contains the numbers that it hides.
    if kind is not np.ndarray:
        own = f"{expected} of NumPy's own type"
        return f"{kind.__name__}, a subclass of np.ndarray, instead of {own}"
    if result.shape != shape:
        return f"the shape {result.shape} instead of {shape}"
    return "" if result.dtype == dtype else f"{result.dtype} instead of {dtype}"


def fault_of_toss(result: Any, batch: int) -> str:
    """Describe what is wrong with the probability of a coin; return "" if it is valid.

    Args:
        result: any object that `Coin.toss` returned.
        batch: the number of rows.
    """
    if not isinstance(result, tuple) or len(result) != 3:
        return f"{shown(result)} instead of a probability, heads and tails"
    p = result[0]
    if type(p) is not np.ndarray or p.shape != (batch,) or p.dtype.kind != "f":
        return f"{shown(p)} instead of an array of {batch} probabilities"
    return "" if ((p >= 0) & (p <= 1)).all() else f"a probability outside 0 to 1: {shown(p)}"


def check_logits(logits: Array, where: str = "the logits") -> None:
    """Raise if a row of logits is not a valid distribution.

    Args:
        logits: (batch, vocabulary).
        where: the subject of the message, in the plural.

    Raises:
        ModelOutputError: NaN, +infinity, or a row of minus infinity; names the row.
    """
    fault = fault_of_rows(logits)
    if fault:
        raise ModelOutputError(f"{where} hold {fault} in row {first_invalid_row(logits)}")


def check_result(stage: object, logits: Array, context: Context) -> None:
    """Raise if a stage returned a row that is not a valid distribution."""
    if not rows_are_valid(logits):
        raise invalid_result(stage, logits, context.position)


def invalid_result(stage: object, logits: Array, step: int) -> SamplerError:
    """Return the error for invalid rows that a stage returned."""
    fault = fault_of_rows(logits)
    return SamplerError(f"{stage} returned {fault} at step {step}, row {first_invalid_row(logits)}")


def restored_token(sampler: object, token: int, step: int, row: int | None = None) -> SamplerError:
    """Return the error for a sampler that made a token possible which the model rules out."""
    where = f"step {step}" if row is None else f"step {step}, row {row}"
    return SamplerError(
        f"{sampler} restored token {token}, which is never drawn, at {where}; pass the result "
        "through mask_logits(result, logits > -np.inf)"
    )


def check_stage(stage: object, result: Array, model_logits: Array, context: Context) -> None:
    """Raise if a stage restored a token that the model never draws, or returned probabilities.

    Both come of `return softmax(logits)`, which would be drawn from without a word.
    """
    never = np.flatnonzero(model_logits[0] == -np.inf)  # in row 0, then in all
    never = never[(model_logits[:, never] == -np.inf).all(axis=0)]
    restored = never[(result[:, never] > -np.inf).any(axis=0)]
    if restored.size:
        raise restored_token(stage, int(restored[0]), context.position)
    if looks_like_probabilities(result):
        raise SamplerError(
            f"{stage} returned probabilities at step {context.position}; return logits, such as "
            "np.log of them"
        )


def check_drawn(
    sampler: object, tokens: NDArray[np.int64], model_logits: Array, steps: Iterable[int]
) -> None:
    """Raise if a drawn token is one that the model rules out, such as padding.

    Args:
        sampler: the sampler that the tokens were drawn with.
        tokens: (batch,) ids.
        model_logits: (batch, vocabulary), with tokens that are never drawn at minus infinity.
        steps: the number of tokens before, of each row.

    Raises:
        SamplerError: such a token was drawn.
    """
    # Only the drawn tokens: looking for others would cost a pass over the vocabulary.
    for row, (token, step) in enumerate(zip(tokens.tolist(), steps, strict=False)):
        if model_logits[row, token] == -np.inf:
            raise restored_token(sampler, token, step, row)
