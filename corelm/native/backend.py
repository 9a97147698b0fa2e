"""Choose between a compiled kernel and the plain definition of a function.

A function on logits is defined once, for any array library. `@kernel("top_p")` on the definition
puts the compiled kernel in its place wherever the kernel can read the logits: float32 in the
processor's memory, held by NumPy or by a tensor of torch, which is lent without a copy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from corelm import native

F = TypeVar("F", bound=Callable[..., Any])
Rows = NDArray[np.float32]
Adapter = Callable[..., Any]

FLOAT32 = np.dtype(np.float32)


def kernel(
    name: str, check: Callable[..., None] | None = None, *, in_place: bool = False
) -> Callable[[F], F]:
    """Serve a definition by a kernel wherever the kernel can read the logits.

    Args:
        name: of an entry of `KERNELS`.
        check: refuses arguments outside their range; called with all of them, so that the
            kernel and the definition refuse the same ones with the same words.
        in_place: the function writes into the logits, so that a copy of them would not do.
    """
    adapter = KERNELS[name]

    def decorate(definition: F) -> F:
        @wraps(definition)
        def serve(logits: Any, *arguments: Any, **named: Any) -> Any:
            if check is not None:
                check(logits, *arguments, **named)
            if native.kernels is None or not _can_read(logits, in_place):
                return definition(logits, *arguments, **named)
            run = _on_rows if type(logits) is np.ndarray else _on_tensor
            return run(adapter, logits, arguments, named)

        return cast("F", serve)

    return decorate


def _can_read(logits: Any, in_place: bool) -> bool:
    """Return whether the kernels can read an array, or a copy of it unless `in_place`."""
    if type(logits) is np.ndarray:
        if logits.dtype != FLOAT32 or not logits.size:
            return False
        return not in_place or _is_behaved(logits)
    if type(logits).__module__ != "torch" or logits.dtype != sys.modules["torch"].float32:
        return False
    return logits.device.type == "cpu" and not logits.requires_grad and logits.numel() > 0


def _is_behaved(logits: Rows) -> bool:
    flags = logits.flags
    return flags.c_contiguous and flags.aligned


def _on_rows(adapter: Adapter, logits: Rows, arguments: Any, named: Any) -> Any:
    if not _is_behaved(logits):
        logits = np.require(logits, requirements=("C", "ALIGNED"))
    if logits.ndim == 2:
        return adapter(logits, *arguments, **named)
    shape = logits.shape[:-1]
    result = adapter(logits.reshape(-1, logits.shape[-1]), *arguments, **named)
    return _each_array(result, lambda array: array.reshape(shape + array.shape[1:]))


def _on_tensor(adapter: Adapter, logits: Any, arguments: Any, named: Any) -> Any:
    result = _on_rows(adapter, logits.numpy(), arguments, named)
    return _each_array(result, sys.modules["torch"].from_numpy)


def _each_array(result: Any, change: Callable[[Any], Any]) -> Any:
    """Change every array of a result, which is an array, a flag, or a tuple of them."""
    if isinstance(result, tuple):
        return tuple(_each_array(part, change) for part in result)
    return change(result) if isinstance(result, np.ndarray) else result


# One adapter a kernel: from (batch, vocabulary) logits and the arguments to new arrays.


def _new_logits(name: str) -> Adapter:
    def call(rows: Rows, *arguments: Any, **named: Any) -> Rows:
        out = np.empty_like(rows)
        getattr(native.kernels, name)(rows, *arguments, *named.values(), out)
        return out

    return call


def _within_nats(rows: Rows, nats: Any) -> Rows:
    out, each = np.empty_like(rows), np.empty(len(rows))
    each[:] = nats
    native.kernels.within_nats(rows, each, out)
    return out


def _apply_temperature(rows: Rows, t: Any) -> Rows:
    out = np.empty_like(rows)
    if not isinstance(t, float):
        t = np.ascontiguousarray(t, dtype=np.float64)
    native.kernels.apply_temperature(rows, t, out)
    return out


def _mask_tokens(rows: Rows, tokens: NDArray[np.int64]) -> bool:
    return bool(native.kernels.mask_tokens(rows, tokens, rows))


def _rows_are_valid(rows: Rows) -> bool:
    return bool(native.kernels.rows_are_valid(rows))


def _min_entropy(rows: Rows) -> NDArray[np.float64]:
    least = np.empty(len(rows))
    native.kernels.min_and_shannon_entropy(rows, least, None)
    return least


def _min_and_shannon_entropy(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    least, usual = np.empty(len(rows)), np.empty(len(rows))
    native.kernels.min_and_shannon_entropy(rows, least, usual)
    return least, usual


def _logit_std(rows: Rows) -> NDArray[np.float64]:
    out = np.empty(len(rows))
    native.kernels.logit_std(rows, out)
    return out


def _surprisals(rows: Rows, tokens: Any) -> NDArray[np.float64]:
    nats = np.empty(len(rows))
    native.kernels.surprisals(rows, np.ascontiguousarray(tokens, dtype=np.int64), nats)
    return nats


def _draw(rows: Rows, uniforms: Any) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    tokens, surprisal = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    uniforms = np.ascontiguousarray(uniforms, dtype=np.float64)
    return tokens, surprisal, native.kernels.draw(rows, uniforms, tokens, surprisal)


KERNELS: dict[str, Adapter] = {
    "apply_temperature": _apply_temperature,
    "draw": _draw,
    "greedy": _new_logits("greedy"),
    "logit_std": _logit_std,
    "mask_tokens": _mask_tokens,
    "min_and_shannon_entropy": _min_and_shannon_entropy,
    "min_entropy": _min_entropy,
    "rows_are_valid": _rows_are_valid,
    "surprisals": _surprisals,
    "top_k": _new_logits("top_k"),
    "top_p": _new_logits("top_p"),
    "typical": _new_logits("typical"),
    "within_nats": _within_nats,
}
"""What serves each definition."""
