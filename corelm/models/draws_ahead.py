"""Sessions that draw tokens before they are asked for, several in one call of the kernels.

A call makes a pass of the network, the draw, the next pass, and so on. The passes are those of
corelm's own networks, or of an engine: see `corelm/native/src/corelm_pass.h`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.context import Context
from corelm.contracts.step import Drawn, Figures
from corelm.decoding.draws import DrawPlan
from corelm.models.sliding_window import SlidingWindow
from corelm.native.rows import loaded
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]
Doubles = NDArray[np.float64]

MOST_AHEAD = 8
"""The most tokens of each row to draw in one call."""

NextDraws = tuple[DrawPlan, Doubles, bool]
"""A plan, (tokens, batch) uniform numbers for the tokens to draw with it, `measured`."""


class TokenBlocks:
    """The next tokens of each row, drawn a block of a few at a time.

    To take a few tokens at a time is faster than to change between the network and the caller at
    each.

    Args:
        draws: how the tokens are drawn; the kernels of the plan don't depend on the text.
        window: (batch, time) ids, with room for all tokens but the last one.
        times: (batch,) the length of each row in the first pass; None if all have one length.
        size: how many tokens make a block, from 1 to `MOST_AHEAD`.

    Attributes:
        tokens: (count, batch) the ids of the block in progress.
        count: how many tokens of each row the finished blocks have.
        ready: the tokens that are drawn and not appended yet, in order.
        goes_on: True while another block is to be drawn after those that are finished.
    """

    def __init__(self, draws: NextDraws, window: Ids, times: Ids | None, size: int) -> None:
        self._plan, uniforms, self._measured = draws
        self._uniforms, self._size = np.ascontiguousarray(uniforms), size
        self._window, self._times = window, times
        self._time = window.shape[1] - len(uniforms) + 1  # of the longest row in the first pass
        self.count = self._accepted = 0  # `ready` begins with the token after the accepted ones
        self.ready: deque[Drawn] = deque()
        self.goes_on = True
        self._new_block()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def window(self) -> Ids:
        """(batch, time) the window, with room for all tokens of the block but the last one."""
        return self._window[:, : self._time + self.count + len(self) - 1]

    @property
    def texts(self) -> Ids:
        """(batch, time) the window up to the block."""
        return self._window[:, : self._time + self.count]

    @property
    def times(self) -> Ids | None:
        """(batch,) the length of each row before the block; None if all have one length."""
        return None if self._times is None else self._times + self.count

    @property
    def lengths(self) -> Ids:
        """(batch,) the length of each row before the block."""
        times = self.times
        return np.full(len(self._window), self._time + self.count) if times is None else times

    def draw(self, passes: Any) -> int:
        """Draw the block; return how many tokens of each row: fewer after a stop or a bad row.

        Args:
            passes: the capsule of a `struct corelm_pass`.
        """
        return loaded().draw_ahead(passes, *self._arguments)

    def begin(self, passes: Any) -> Any:
        """Start `draw` in the background; return what `end_ahead` of the kernels takes."""
        return loaded().begin_ahead(passes, *self._arguments)

    def finish(self, drawn: int) -> None:
        """Add the tokens of a block to `ready`, write them into the window, and begin another one.

        Args:
            drawn: how many of each row were drawn.
        """
        before, self.count = self.count, self.count + drawn
        self.goes_on = (
            drawn == len(self)
            and self.count < len(self._uniforms)
            and self._stops.isdisjoint(self.tokens[-1].tolist())
        )
        if (appended := drawn - (not self.goes_on)) > 0:
            tokens = self.tokens[:appended].T
            if self._times is None:
                first = self._time + before
                self._window[:, first : first + appended] = tokens
            else:
                rows, places = np.arange(len(self._window)), np.arange(before, before + appended)
                self._window[rows[:, None], self._times[:, None] + places] = tokens
        self._add_ready(drawn)
        if self.goes_on:
            self._new_block()

    def continues(self, plan: DrawPlan, uniforms: Doubles) -> bool:
        """Return True if the next token is drawn with this plan and these (batch,) numbers."""
        at = self._accepted
        # Bytes, as here and below `np.array_equal` takes a tenth of the time between two tokens.
        return (
            plan is self._plan
            and at < len(self._uniforms)
            and uniforms.tobytes() == self._uniforms[at].tobytes()
        )

    def accept(self, tokens: ArrayLike) -> bool:
        """Take the next token from `ready`, if it is this one of each row and others follow it."""
        if not self.ready or not (len(self.ready) > 1 or self.goes_on):
            return False
        if self.ready[0].tokens.tobytes() != np.asarray(tokens).tobytes():
            return False
        self.ready.popleft()
        self._accepted += 1
        return True

    def _new_block(self) -> None:
        plan, uniforms = self._plan, self._uniforms[self.count : self.count + self._size]
        (count, batch), vocabulary = uniforms.shape, plan.size
        # Arrays of their own, as large as those of single steps: the allocator has such at hand.
        logits = tuple([np.empty((batch, vocabulary), np.float32) for _ in range(count)])
        results = tuple(map(np.empty_like, logits)) if plan.kernels else logits
        self.tokens: Ids = np.empty((count, batch), np.int64)
        surprisals = np.empty((count, batch))
        figures = np.empty((3, count, batch)) if self._measured else None
        self._stops = {*plan.stops.tolist()}
        self._arguments: tuple[Any, ...] = (
            uniforms, self.tokens, surprisals, figures, logits, results, plan.never,
            plan.kernels or (), plan.stops,
        )  # fmt: skip

    def _add_ready(self, drawn: int) -> None:
        _, tokens, surprisals, figures, logits, results, *_ = self._arguments
        for array in (*logits, *results, tokens, surprisals):  # a step then needs no views
            array.flags.writeable = False
        for i in range(drawn):
            of_token = None if figures is None else Figures(*figures[:, i])
            self.ready.append(
                Drawn(
                    logits[i], results[i], tokens[i], surprisals[i],
                    figures=of_token, ready=drawn - 1 - i,
                )
            )  # fmt: skip


class DrawsAhead(ABC):
    """A session that draws tokens before they are asked for, several in one call.

    Appending the tokens that `draw` returned costs nothing then. Any other call forgets the tokens
    that were drawn and not appended. A subclass has its texts in `_window` and can be rewound; it
    calls `_stop_ahead` first in its other methods.
    """

    _window: SlidingWindow
    # The tokens after the texts in `_window`; None where none are drawn ahead.
    _blocks: TokenBlocks | None = None
    # How the tokens after the next call of `extend` are drawn; None after other calls.
    _following: NextDraws | None = None

    @abstractmethod
    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""

    def draw(
        self,
        plan: DrawPlan,
        uniforms: Doubles,
        context: Callable[[], Context],
        measured: bool = False,
    ) -> Drawn:
        """Draw the next token of each row; see `corelm.abilities.SessionAbilities`."""
        drawn = self._drawn_ahead(plan, uniforms)
        if drawn is None:
            drawn = plan.draw(self.next_logits(), uniforms[0], context, measured)
        self.expect(plan, uniforms[1:], measured)
        return drawn

    def expect(self, plan: DrawPlan, uniforms: Doubles, measured: bool = False) -> None:
        """Say how the tokens after the next call of `extend` are drawn."""
        self._following = plan, uniforms, measured

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        if self._blocks is not None and self._blocks.accept(tokens):
            self._window.accept()
            return
        following = self._following
        self._stop_ahead()
        self._append(tokens, following)

    @abstractmethod
    def _append(self, tokens: ArrayLike, following: NextDraws | None) -> None:
        """Append tokens, and prepare to draw those after them, as `_new_blocks` does."""

    def _drawn_ahead(self, plan: DrawPlan, uniforms: Doubles) -> Drawn | None:
        blocks = self._blocks
        if blocks is None or not blocks.continues(plan, uniforms[0]):
            return None
        if not blocks.ready and blocks.goes_on:
            more = len(uniforms) > 1
            blocks.finish(self._end_block(blocks, more))
            blocks.goes_on &= more
            if blocks.goes_on:
                self._begin_block(blocks)
        return blocks.ready[0] if blocks.ready else None

    def _begin_block(self, blocks: TokenBlocks) -> None:  # noqa: B027 (an engine draws later)
        """Start to draw a block in the background, while the caller takes the one before."""

    @abstractmethod
    def _end_block(self, blocks: TokenBlocks, more: bool) -> int:
        """Wait for a block, or draw it; return how many tokens of each row there are.

        Args:
            blocks: the block.
            more: False if the caller wants no token but the next one.
        """

    def _new_blocks(
        self, draws: NextDraws | None, size: int, time: int, times: Ids | None
    ) -> TokenBlocks | None:
        """Return blocks that end where a window slides; None if the tokens can't be drawn ahead.

        Args:
            draws: how the tokens are drawn.
            size: the most tokens of each row in a call; 0 for none.
            time: the length of the longest window.
            times: (batch,) the length of each window; None if all have one length.
        """
        if draws is None or size < 1 or draws[0].kernels is None or not len(draws[1]):
            return None
        plan, uniforms, measured = draws
        texts = self._window.ahead(len(uniforms) - 1)
        room = texts.shape[1] - time + 1
        block = min(size, MOST_AHEAD)
        return TokenBlocks((plan, uniforms[:room], measured), texts, times, block)

    def _stop_ahead(self) -> None:
        """Draw nothing more, and forget the tokens that were not appended."""
        self._blocks = self._following = None
