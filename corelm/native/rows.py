"""The kernels on rows of logits as functions that return new arrays, and draws of several steps.

Rows are (batch, vocabulary) in float32, C-contiguous and aligned. Each function takes the arguments
of its definition in `corelm.numerics`; `corelm.native.backend` calls it in the definition's place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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


class Draws(NamedTuple):
    """Draws of some tokens of each row, one after the other."""

    never: Ids
    """Tokens that are never drawn."""
    stages: tuple[Call, ...]
    """As for `sample`, the same for each token."""
    stops: Ids
    """Tokens after which nothing more is drawn."""
    uniforms: Doubles
    """(tokens, batch)"""
    measured: bool
    """Whether the figures of each token are wanted."""


class Taken(NamedTuple):
    """The next token of each row, as `sample` returns it, with the model's masked logits."""

    model_logits: Rows
    logits: Rows
    tokens: Ids
    surprisal: Doubles
    goes_on: bool
    """Whether more tokens are drawn after it."""
    figures: tuple[Doubles, ...] | None = None
    """As `sample` takes them; None if they aren't wanted."""


class Ahead:
    """Tokens that are drawn in the background, each after a step of a network.

    They come in blocks: to take a few at a time, while the next ones are drawn, is faster than to
    change from one to the other at each token.

    Args:
        plan: the network.
        window: (batch, time) ids, with room for all tokens but the last one.
        kv_cache: the cache of the tokens before the first step's.
        widths: the width of the network's states, and the number of logits.
        draws: how they are drawn.
        block: how many tokens make a block, from 1 to `MOST`.
        times: (batch,) the length of each row in the first step; None if all have one length.
    """

    MOST = 8

    def __init__(
        self,
        plan: Any,
        window: Ids,
        kv_cache: Rows,
        widths: tuple[int, int],
        draws: Draws,
        block: int,
        times: Ids | None = None,
    ) -> None:
        self._network, self._window, self._widths = (plan, kv_cache), window, widths
        self._times, self._rows = None if times is None else times.copy(), np.arange(len(window))
        self._draws, self._block, self._stops = draws, block, {*draws.stops.tolist()}
        self._time = window.shape[1] - len(draws.uniforms) + 1  # of the first step
        self._drawn = 0  # tokens of the blocks that are done
        self._ready: deque[Taken] = deque()
        self._begin()

    def take(self, more: bool = True) -> Taken | None:
        """Return the next token of each row, and wait for it; None if there is none.

        Nothing is drawn from logits that are no distribution.

        Args:
            more: False to take what is drawn, and draw no more.
        """
        if not self._ready and self._run:
            self._ready = self._end_block(more)
        return self._ready.popleft() if self._ready else None

    @property
    def is_ready(self) -> bool:
        """True if the next tokens are there, so that nothing is waited for."""
        return bool(self._ready)

    def stop(self) -> int:
        """Draw nothing more; return how many tokens of each row were drawn."""
        return self._drawn + (loaded().end_ahead(self._run, False) if self._run else 0)

    def _begin(self) -> None:
        draws, first, (width, size) = self._draws, self._drawn, self._widths
        uniforms = draws.uniforms[first : first + self._block]
        count, batch = uniforms.shape
        # Arrays of their own, as large as those of single steps: the allocator has such at hand.
        logits = tuple([np.empty((batch, size), np.float32) for _ in range(count)])
        results = tuple(map(np.empty_like, logits)) if draws.stages else logits
        tokens, surprisals = np.empty((count, batch), np.int64), np.empty((count, batch))
        figures = np.empty((3, count, batch)) if draws.measured else None
        self._arrays = logits, results, tokens, surprisals, figures
        (plan, kv_cache), states = self._network, np.empty((batch, 1, width), np.float32)
        self._run = loaded().begin_ahead(
            plan, self._window[:, : self._time + first + count - 1], kv_cache, states, self._times,
            uniforms, tokens, surprisals, figures, logits, results, draws.never, draws.stages,
            draws.stops,
        )  # fmt: skip

    def _end_block(self, more: bool) -> deque[Taken]:
        """Wait for the block in the background, begin the next one, and return its tokens."""
        logits, results, tokens, surprisals, figures = self._arrays
        drawn, self._run = loaded().end_ahead(self._run, more), None
        self._drawn += drawn
        goes_on = drawn == len(tokens) and self._stops.isdisjoint(tokens[-1].tolist())
        if goes_on := more and goes_on and self._drawn < len(self._draws.uniforms):
            self._append(tokens[-1])
            self._begin()
        of_steps: list[NDArray[Any]] = [*logits, *results, tokens, surprisals]
        for array in of_steps:  # a step then needs no views
            array.flags.writeable = False
        follows = [*[True] * (drawn - 1), goes_on][:drawn]  # the shortest of what is joined
        measured = [] if figures is None else [zip(*figures, strict=True)]
        return deque(map(Taken, logits, results, tokens, surprisals, follows, *measured))

    def _append(self, tokens: Ids) -> None:
        if self._times is None:
            self._window[:, self._time + self._drawn - 1] = tokens
        else:
            self._window[self._rows, self._times] = tokens
            self._times += 1


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


def greedy(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    loaded().greedy(rows, out)
    return out


def within_nats(rows: Rows, nats: float | Doubles) -> Rows:
    out = np.empty_like(rows)
    if not isinstance(nats, float):
        nats = np.full(len(rows), nats, FLOAT64)  # also for whole numbers and arrays of one number
    loaded().within_nats(rows, nats, out)
    return out


def eta(rows: Rows, nats: float) -> Rows:
    out = np.empty_like(rows)
    loaded().eta(rows, nats, out)
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


def tail_free(rows: Rows, z: float) -> Rows:
    out = np.empty_like(rows)
    loaded().tail_free(rows, z, out)
    return out


def peak_at(rows: Rows, target: Doubles, peak: float, sharpness: float, width: float) -> Rows:
    out = np.empty_like(rows)
    loaded().peak_at(rows, _ready(target, FLOAT64), peak, sharpness, width, out)
    return out


def softmax(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    loaded().softmax(rows, out)
    return out


def log_softmax(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    loaded().log_softmax(rows, out)
    return out


def edt(rows: Rows, t: float, theta: float, base: float) -> Rows:
    out = np.empty_like(rows)
    loaded().edt(rows, t, theta, base, out)
    return out


def dynamic_temperature(rows: Rows, t_min: float, t_max: float, exponent: float) -> Rows:
    out = np.empty_like(rows)
    loaded().dynamic_temperature(rows, t_min, t_max, exponent, out)
    return out


def quadratic(rows: Rows, factor: float, curve: float) -> Rows:
    out = np.empty_like(rows)
    loaded().quadratic(rows, factor, curve, out)
    return out


def change_tokens(
    rows: Rows, ids: Ids, owners: Ids | int, divide: float, subtract: float | Doubles
) -> Rows:
    out = np.empty_like(rows)
    loaded().change_tokens(rows, ids, owners, divide, subtract, out)
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
    # model: `corelm.divergences.ModelRows`, which caches the model's side of each
    # comparison.
    out = np.empty((len(rows), 11))
    logits = _ready(model.logits, FLOAT32)
    return out, loaded().divergence(rows, logits, model.stats, _ready(tokens, INT64), out)


def moments(rows: Rows, temperatures: Doubles) -> Doubles:
    out = np.empty((len(rows), len(temperatures), 3))
    loaded().moments(rows, _ready(temperatures, FLOAT64), out)
    return out


def _ready(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array, or a copy of it with a type and layout that a kernel can read."""
    # `np.require` would take a microsecond even if nothing is to be done.
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    return np.require(array, dtype, LAYOUT)
