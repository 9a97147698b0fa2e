"""The kernels on rows of logits as functions that return new arrays.

Rows are (batch, vocabulary) in float32, C-contiguous and aligned. Each function takes the arguments
of its definition in `corelm.numerics`; `corelm.native.backend` calls it in the definition's place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from corelm.native import loaded

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]

FLOAT64, INT64 = np.dtype(np.float64), np.dtype(np.int64)
LAYOUT: tuple[Literal["C"], Literal["ALIGNED"]] = ("C", "ALIGNED")


def rows_are_valid(rows: Rows) -> bool:
    return loaded().rows_are_valid(rows)


def mask_tokens(rows: Rows, tokens: Ids) -> bool:
    return loaded().mask_tokens(rows, _ids(tokens), rows)


def apply_temperature(rows: Rows, t: float | Doubles) -> Rows:
    out = np.empty_like(rows)
    loaded().apply_temperature(rows, t if isinstance(t, float) else _doubles(t), out)
    return out


def draw(rows: Rows, uniforms: Doubles) -> tuple[Ids, Doubles, bool]:
    tokens, surprisal = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    return tokens, surprisal, loaded().draw(rows, _doubles(uniforms), tokens, surprisal)


def surprisals(rows: Rows, tokens: Ids) -> Doubles:
    out = np.empty(len(rows))
    loaded().surprisals(rows, _ids(tokens), out)
    return out


def surprisals_and_entropy(rows: Rows, tokens: Ids) -> tuple[Doubles, Doubles]:
    nats, entropy = np.empty(len(rows)), np.empty(len(rows))
    loaded().surprisals_and_entropy(rows, _ids(tokens), nats, entropy)
    return nats, entropy


def min_entropy(rows: Rows) -> Doubles:
    out = np.empty(len(rows))
    loaded().min_and_shannon_entropy(rows, out, None)
    return out


def min_and_shannon_entropy(rows: Rows) -> tuple[Doubles, Doubles]:
    smallest, shannon = np.empty(len(rows)), np.empty(len(rows))
    loaded().min_and_shannon_entropy(rows, smallest, shannon)
    return smallest, shannon


def logit_std(rows: Rows) -> Doubles:
    out = np.empty(len(rows))
    loaded().logit_std(rows, out)
    return out


def greedy(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    loaded().greedy(rows, out)
    return out


def within_nats(rows: Rows, nats: float | Doubles) -> Rows:
    out = np.empty_like(rows)
    if not isinstance(nats, float):
        nats = np.full(len(rows), nats, FLOAT64)  # whole numbers and arrays of one, too
    loaded().within_nats(rows, nats, out)
    return out


def top_k(rows: Rows, k: int) -> Rows:
    out = np.empty_like(rows)
    loaded().top_k(rows, k, out)
    return out


def top_p(rows: Rows, p: float) -> Rows:
    out = np.empty_like(rows)
    loaded().top_p(rows, p, out)
    return out


def top_h(rows: Rows, h: float) -> Rows:
    out = np.empty_like(rows)
    loaded().top_h(rows, h, out)
    return out


def typical(rows: Rows, p: float) -> Rows:
    out = np.empty_like(rows)
    loaded().typical(rows, p, out)
    return out


def softmax(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    loaded().softmax(rows, out)
    return out


def quadratic(rows: Rows, factor: float, curve: float) -> Rows:
    out = np.empty_like(rows)
    loaded().quadratic(rows, factor, curve, out)
    return out


def xtc(rows: Rows, probability: float, threshold: float, protected: Collection[int] = ()) -> Rows:
    out, tokens = np.empty_like(rows), np.fromiter(protected, np.int64)
    loaded().xtc(rows, probability, threshold, tokens, out)
    return out


def compare_rows(rows: Rows, model: Any, tokens: Ids) -> tuple[Doubles, bool]:
    # model: `corelm.reports.divergences.ModelRows`, which keeps what every call needs.
    out = np.empty((len(rows), 11))
    logits = np.require(model.logits, rows.dtype, LAYOUT)
    return out, loaded().divergence(rows, logits, model.stats, _ids(tokens), out)


def moments(rows: Rows, temperatures: Doubles) -> Doubles:
    out = np.empty((len(rows), len(temperatures), 3))
    loaded().moments(rows, _doubles(temperatures), out)
    return out


def _doubles(numbers: Doubles) -> Doubles:
    return numbers if _is_ready(numbers, FLOAT64) else np.require(numbers, FLOAT64, LAYOUT)


def _ids(tokens: Ids) -> Ids:
    return tokens if _is_ready(tokens, INT64) else np.require(tokens, INT64, LAYOUT)


def _is_ready(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether an array can be passed on; `np.require` would take a microsecond to see it."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        return False
    return array.flags.c_contiguous and array.flags.aligned
