"""The kernels on rows of logits as functions that return new arrays.

Rows are (batch, vocabulary) in float32, C-contiguous and aligned. Each function takes the arguments
of its definition in `corelm.numerics`; `corelm.native.backend` calls it in the definition's place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from corelm import native

if TYPE_CHECKING:
    from corelm.native.interface import Kernels

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

Call = tuple[Any, ...]
"""The name of a kernel from logits to logits, and its arguments after the logits."""

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)
LAYOUT: tuple[Literal["C"], Literal["ALIGNED"]] = ("C", "ALIGNED")


def loaded() -> Kernels:
    """Return the kernels; for callers that have checked that they are available."""
    assert native.kernels is not None, "the kernels are not compiled here"
    return native.kernels


def rows_are_valid(rows: Rows) -> bool:
    return loaded().rows_are_valid(rows)


def mask_tokens(rows: Rows, tokens: Ids) -> bool:
    return loaded().mask_tokens(rows, _ready(tokens, INT64), rows)


def apply_mask(rows: Rows, allowed: Mask, model_logits: Rows) -> tuple[Rows, Mask]:
    out, fell_back = np.empty_like(rows), np.empty(len(rows), dtype=bool)
    model = _ready(model_logits, FLOAT32)
    loaded().apply_mask(rows, _ready(allowed, BOOL), model, out, fell_back)
    return out, fell_back


def apply_temperature(rows: Rows, t: float | Doubles) -> Rows:
    out = np.empty_like(rows)
    loaded().apply_temperature(rows, t if isinstance(t, float) else _ready(t, FLOAT64), out)
    return out


def draw(rows: Rows, uniforms: Doubles) -> tuple[Ids, Doubles, bool]:
    tokens, surprisal = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    return tokens, surprisal, loaded().draw(rows, _ready(uniforms, FLOAT64), tokens, surprisal)


def sample(
    rows: Rows,
    never: Ids,
    stages: tuple[Call, ...],
    uniforms: Doubles,
    figures: tuple[Doubles, Doubles, Doubles] | tuple[None, None, None] = (None, None, None),
) -> tuple[Rows, Ids, Doubles, bool]:
    """Mask tokens in place, apply stages and draw: the logits drawn from, tokens, surprisals.

    `figures` take the entropies of these logits, the surprisals of the tokens under the model's
    logits, and the entropies of the model's. The last result is whether the rows are distributions,
    before and after each stage.
    """
    out = np.empty_like(rows) if stages else rows
    tokens, surprisal = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    valid = loaded().sample(rows, never, rows, stages, out, uniforms, tokens, surprisal, *figures)
    return out, tokens, surprisal, valid


def surprisals(rows: Rows, tokens: Ids) -> Doubles:
    out = np.empty(len(rows))
    loaded().surprisals(rows, _ready(tokens, INT64), out)
    return out


def surprisals_and_entropy(rows: Rows, tokens: Ids) -> tuple[Doubles, Doubles]:
    nats, entropy = np.empty(len(rows)), np.empty(len(rows))
    loaded().surprisals_and_entropy(rows, _ready(tokens, INT64), nats, entropy)
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


def _stage(name: str) -> Callable[..., Rows]:
    """Return a kernel from logits to logits, which gets its other arguments as they are."""

    def on_rows(rows: Rows, *arguments: Any) -> Rows:
        out = np.empty_like(rows)
        getattr(loaded(), name)(rows, *arguments, out)
        return out

    on_rows.__name__ = name
    return on_rows


greedy, softmax, log_softmax = map(_stage, ("greedy", "softmax", "log_softmax"))
within_min_entropy, within_std = map(_stage, ("within_min_entropy", "within_std"))
eta, top_k, top_p, top_h = map(_stage, ("eta", "top_k", "top_p", "top_h"))
typical, tail_free, quadratic = map(_stage, ("typical", "tail_free", "quadratic"))
edt, dynamic_temperature = map(_stage, ("edt", "dynamic_temperature"))
change_tokens = _stage("change_tokens")


def within_nats(rows: Rows, nats: float | Doubles) -> Rows:
    out = np.empty_like(rows)
    if not isinstance(nats, float):
        nats = np.full(len(rows), nats, FLOAT64)  # also for whole numbers and arrays of one number
    loaded().within_nats(rows, nats, out)
    return out


def peak_at(rows: Rows, target: Doubles, peak: float, sharpness: float, width: float) -> Rows:
    out = np.empty_like(rows)
    loaded().peak_at(rows, _ready(target, FLOAT64), peak, sharpness, width, out)
    return out


def subtract_counts(rows: Rows, ids: Ids, owners: Ids | int, each: float) -> Rows:
    out = np.empty_like(rows)
    loaded().subtract_counts(rows, _ready(ids, INT64), owners, each, out)
    return out


def forbid_tokens(rows: Rows, ids: Ids, owners: Ids | int) -> tuple[Rows, bool]:
    """Set tokens to minus infinity. The second result is whether the rows are distributions."""
    out = np.empty_like(rows)
    return out, loaded().forbid_tokens(rows, ids, owners, out)


def xtc(rows: Rows, probability: float, threshold: float, protected: Collection[int] = ()) -> Rows:
    out, tokens = np.empty_like(rows), np.fromiter(protected, np.int64)
    loaded().xtc(rows, probability, threshold, tokens, out)
    return out


def compare_rows(rows: Rows, model: Any, tokens: Ids) -> tuple[Doubles, bool]:
    # model: `corelm.questions.divergences.ModelRows`, which caches the model's side of each
    # comparison.
    out = np.empty((len(rows), 11))
    logits = _ready(model.logits, FLOAT32)
    return out, loaded().divergence(rows, logits, model.stats, _ready(tokens, INT64), out)


def moments(rows: Rows, temperatures: Doubles) -> Doubles:
    out = np.empty((len(rows), len(temperatures), 3))
    loaded().moments(rows, _ready(temperatures, FLOAT64), out)
    return out


def start_streams(seed: int, prompt: int, samples: Ids) -> Ids:
    """Return the states of streams of random numbers, (samples, 4), as NumPy would seed them."""
    streams = np.empty((len(samples), 4), dtype=np.int64)
    loaded().start_streams(seed, prompt, samples, streams)
    return streams


def next_uniforms(streams: Ids, count: int) -> Doubles:
    """Return the next (streams, count) numbers in [0, 1), and advance the streams."""
    out = np.empty((len(streams), count))
    loaded().next_uniforms(streams, out)
    return out


def _ready(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array, or a copy of it with a type and layout that a kernel can read."""
    # `np.require` would take a microsecond even if nothing is to be done.
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    return np.require(array, dtype, LAYOUT)
