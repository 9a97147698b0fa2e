"""Draws of several tokens of each text in one call of the kernels: a pass, the draw, the next pass.

The passes are those of corelm's own networks, or of an engine: see `native/src/corelm_pass.h`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.native.rows import Call, Doubles, Ids, Rows, loaded


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


class Block:
    """A few tokens of each row that one call draws, and the arrays that it writes.

    Args:
        draws: how they are drawn.
        first: how many tokens of `draws` were drawn before.
        count: the largest number of tokens.
        vocabulary: the number of logits of a row.

    Attributes:
        tokens: (count, batch)
    """

    def __init__(self, draws: Draws, first: int, count: int, vocabulary: int) -> None:
        uniforms = draws.uniforms[first : first + count]
        count, batch = uniforms.shape
        # Arrays of their own, as large as those of single steps: the allocator has such at hand.
        logits = tuple([np.empty((batch, vocabulary), np.float32) for _ in range(count)])
        results = tuple(map(np.empty_like, logits)) if draws.stages else logits
        self.tokens: Ids = np.empty((count, batch), np.int64)
        surprisals = np.empty((count, batch))
        self._figures = np.empty((3, count, batch)) if draws.measured else None
        self._arguments = (
            uniforms, self.tokens, surprisals, self._figures, logits, results, draws.never,
            draws.stages, draws.stops,
        )  # fmt: skip
        self._of_steps = logits, results, self.tokens, surprisals

    def __len__(self) -> int:
        return len(self.tokens)

    def draw(self, passes: Any) -> int:
        """Draw the tokens; return how many of each row: fewer after a stop, or without a draw.

        Args:
            passes: the capsule of a `struct corelm_pass`.
        """
        return loaded().draw_ahead(passes, *self._arguments)

    def begin(self, passes: Any) -> Any:
        """Start `draw` in the background; return what `end_ahead` of the kernels takes."""
        return loaded().begin_ahead(passes, *self._arguments)

    def taken(self, drawn: int, goes_on: bool) -> deque[Taken]:
        """Return the tokens that were drawn.

        Args:
            drawn: how many of each row.
            goes_on: more are drawn after the last of them.
        """
        logits, results, tokens, surprisals = self._of_steps
        of_steps: list[NDArray[Any]] = [*logits, *results, tokens, surprisals]
        for array in of_steps:  # a step then needs no views
            array.flags.writeable = False
        follows = [*[True] * (drawn - 1), goes_on][:drawn]  # the shortest of what is joined
        measured = [] if self._figures is None else [zip(*self._figures, strict=True)]
        return deque(map(Taken, logits, results, tokens, surprisals, follows, *measured))


class Ahead(ABC):
    """Tokens that are drawn in blocks.

    To take a few at a time is faster than to change from one to the other at each token.

    Args:
        window: (batch, time) ids, with room for all tokens but the last one.
        vocabulary: the number of logits of a row.
        draws: how they are drawn.
        block: how many tokens make a block, from 1 to `MOST`.
        times: (batch,) the length of each row in the first pass; None if all have one length.
    """

    MOST = 8

    def __init__(
        self, window: Ids, vocabulary: int, draws: Draws, block: int, times: Ids | None = None
    ) -> None:
        self._window, self._vocabulary = window, vocabulary
        self._times, self._rows = None if times is None else times.copy(), np.arange(len(window))
        self._draws, self._size, self._stops = draws, block, {*draws.stops.tolist()}
        self._time = window.shape[1] - len(draws.uniforms) + 1  # of the first pass
        self._drawn = 0  # tokens of the blocks that are done
        self._ready: deque[Taken] = deque()

    def take(self, more: bool = True) -> Taken | None:
        """Return the next token of each row, and wait for it; None if there is none.

        Nothing is drawn from logits that are no distribution.

        Args:
            more: False to take what is drawn, and draw no more.
        """
        if not self._ready:
            self._ready = self._next(more)
        return self._ready.popleft() if self._ready else None

    @property
    def is_ready(self) -> bool:
        """True if the next tokens are there, so that nothing is waited for."""
        return bool(self._ready)

    def stop(self) -> int:
        """Draw nothing more; return how many tokens of each row were drawn."""
        return self._drawn

    @abstractmethod
    def _next(self, more: bool) -> deque[Taken]:
        """Return the tokens of the next block; none if there is none."""

    def _new_block(self) -> Block:
        return Block(self._draws, self._drawn, self._size, self._vocabulary)

    def _note(self, block: Block, drawn: int) -> bool:
        """Count the tokens of a block; return True if more may be drawn after them."""
        self._drawn += drawn
        is_whole = drawn == len(block) and self._stops.isdisjoint(block.tokens[-1].tolist())
        return is_whole and self._drawn < len(self._draws.uniforms)

    def _append(self, tokens: Ids, place: int) -> None:
        """Write tokens into the window.

        Args:
            tokens: (batch,) ids.
            place: how many were drawn before them.
        """
        if self._times is None:
            self._window[:, self._time + place] = tokens
        else:
            self._window[self._rows, self._times] = tokens
            self._times += 1


class NetworkAhead(Ahead):
    """Tokens that are drawn in the background by a network of corelm's own.

    Args:
        plan: the network.
        kv_cache: the cache of the tokens before the first step's.
        width: the width of the network's states.
        window: as for `Ahead`, like the others.
        vocabulary: the number of logits of a row.
        draws: how they are drawn.
        block: how many tokens make a block.
        times: the length of each row.
    """

    def __init__(
        self,
        plan: Any,
        kv_cache: Rows,
        width: int,
        window: Ids,
        vocabulary: int,
        draws: Draws,
        block: int,
        times: Ids | None = None,
    ) -> None:
        super().__init__(window, vocabulary, draws, block, times)
        self._network, self._width = (plan, kv_cache), width
        self._run: Any = None
        self._begin()

    def stop(self) -> int:
        """Draw nothing more; return how many tokens of each row were drawn."""
        return self._drawn + (loaded().end_ahead(self._run, False) if self._run else 0)

    def _begin(self) -> None:
        self._block = block = self._new_block()
        count, batch = block.tokens.shape
        (plan, kv_cache), states = self._network, np.empty((batch, 1, self._width), np.float32)
        window = self._window[:, : self._time + self._drawn + count - 1]
        self._run = block.begin(
            loaded().window_pass(plan, window, kv_cache, states, self._times, count)
        )

    def _next(self, more: bool) -> deque[Taken]:
        """Wait for the block in the background, begin the next one, and return its tokens."""
        if not self._run:
            return deque()
        block, drawn, self._run = self._block, loaded().end_ahead(self._run, more), None
        goes_on = self._note(block, drawn) and more
        if goes_on:
            self._append(block.tokens[-1], self._drawn - 1)
            self._begin()
        return block.taken(drawn, goes_on)


class EngineAhead(Ahead):
    """Tokens that are drawn when the first of their block is taken, by an engine.

    Args:
        draw: takes a `Block`, the texts so far and the length of each; draws the block after them,
            and returns how many tokens of each row that were.
        window: as for `Ahead`, like the others.
        vocabulary: the number of logits of a row.
        draws: how they are drawn.
        block: how many tokens make a block.
        times: the length of each row.
    """

    def __init__(
        self,
        draw: Callable[[Block, Ids, Ids], int],
        window: Ids,
        vocabulary: int,
        draws: Draws,
        block: int,
        times: Ids | None = None,
    ) -> None:
        super().__init__(window, vocabulary, draws, block, times)
        self._draw, self._goes_on = draw, True

    def _next(self, more: bool) -> deque[Taken]:
        if not (more and self._goes_on):
            return deque()
        block, first, time = self._new_block(), self._drawn, self._time + self._drawn
        times = np.full(len(self._rows), time) if self._times is None else self._times
        drawn = self._draw(block, self._window[:, :time], times)
        self._goes_on = self._note(block, drawn)
        for place, tokens in enumerate(block.tokens[: drawn - (not self._goes_on)], first):
            self._append(tokens, place)
        return block.taken(drawn, self._goes_on)
