"""A thread that makes all calls of one engine's model.

An engine with OpenMP keeps a pool of threads for each thread that calls it. With two pools there
are more threads than processors, so that waiting threads sleep instead of spinning: on an idle
machine, a step of llama.cpp took 17.6 ms on the thread that had loaded the model, and 108 ms on
another. (On a busy machine it is the other way round.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, Context, LanguageModel, Session
from corelm.abilities import SessionWrapper
from corelm.errors import CorelmError
from corelm.interop import DrawsAhead

Draws = tuple[Any, NDArray[np.float64], bool]
"""A plan, (tokens, batch) uniform numbers for the tokens to draw with it, `measured`."""


class EngineThread:
    """A thread that makes all calls of one model.

    A call that never returns holds up those after it: engines can't be called twice at once. It
    doesn't hold up the end of the process, as a thread of an executor would.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        Thread(target=self._run, name="corelm-serve-engine", daemon=True).start()

    def call(self, work: Callable[..., Any], *values: Any) -> Any:
        """Return the result of some work, or raise its exception."""
        return self.begin(work, *values).result()

    def begin(self, work: Callable[..., Any], *values: Any) -> Future[Any]:
        """Begin some work after all work that was begun before; return its future result."""
        result: Future[Any] = Future()
        self._calls.put((result, partial(work, *values)))
        return result

    @property
    def is_idle(self) -> bool:
        """True if no work waits, apart from what the thread does now."""
        return self._calls.empty()

    def _run(self) -> None:
        while True:
            result, work = self._calls.get()
            try:
                result.set_result(work())
            except BaseException as error:  # of a plugin; this thread must go on
                result.set_exception(error)
            del result, work  # or the last session would live on


class OneThreadModel:
    """A model whose calls are all made on one thread.

    Args:
        model: the model.
        thread: the thread.
    """

    def __init__(self, model: LanguageModel, thread: EngineThread) -> None:
        self._model, self._thread = model, thread
        self.vocabulary, self.context_length = model.vocabulary, model.context_length

    def start(self, tokens: Any) -> OneThreadSession:
        """Return a session that starts with ids."""
        return OneThreadSession(self._thread.call(self._model.start, tokens), self._thread)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the probabilities after ids."""
        probabilities: Array = self._thread.call(self._model.next_token_distribution, tokens)
        return probabilities

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while there is no `_model` yet, as in a copy
            raise AttributeError(name)
        return getattr(self._model, name)  # such as `manifest`, which needs no engine


BEGIN = 3e-4
"""The most seconds that the caller of a step waits for the engine to begin it. Two threads that
compute in Python take turns, so that the engine, which then computes without the interpreter, would
begin twice as late: nothing is gained by what the caller does meanwhile."""


class Block(NamedTuple):
    """The tokens that an engine drew at a time, or the logits of the next one."""

    drawn: list[Any]
    goes_on: bool = False
    """The engine's session has the last token too, and draws more after it."""
    following: Future[Block] | None = None
    """The next block, if it has begun."""
    logits: Array | None = None
    """Of the next token, where none was drawn."""


class OneThreadSession(SessionWrapper):
    """A session whose calls are all made on one thread.

    `extend` returns at once, and after a single token for each row, as in decoding, the engine
    draws the next tokens or computes their logits while the caller works. The next call raises what
    `extend` raised.

    Args:
        wrapped: the session.
        thread: the thread.
    """

    def __init__(self, wrapped: Session, thread: EngineThread) -> None:
        super().__init__(wrapped)
        self._thread = thread
        self._extended: list[Future[Any]] = []  # since the last result, which raises their errors
        self._following: Draws | None = None  # of the tokens after the next call of `extend`
        self._forget_draws()

    def _forget_draws(self) -> None:
        # How the tokens after the caller's are drawn; None if the engine draws none ahead. The
        # fields below belong to these draws.
        self._draws: Draws | None = None
        self._block: Future[Block] | None = None  # the next one, or the logits of the next token
        self._ready: deque[Any] = deque()  # from blocks that were taken, not appended yet
        self._goes_on = False  # the engine draws more after those of the blocks
        self._more = True  # it may begin another block while the caller works
        self._taken = 0  # blocks
        self._accepted = 0  # tokens that the caller appended after the first of the blocks began
        self._appended = 0  # tokens that the engine's session got there; written on the thread

    def next_logits(self) -> Array:
        """Return the logits of the next token of each row."""
        if self._draws is None and self._block is not None:
            block, self._block = self._result(self._block), None
            logits: Array | None = block.logits
            if logits is not None:
                return logits
        result: Array = self._call(super().next_logits)
        return result

    # Made of `_drawn_ahead`, `next_logits` and `_following`, which are its own.
    draw, expect = DrawsAhead.draw, DrawsAhead.expect

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens to the rows."""
        if self._accepts(tokens):
            return
        following = self._following
        self._forget()
        ids = np.array(tokens)  # the caller may change its own
        if not (ids.ndim == 1 or ids.shape[1] == 1):
            self._extended.append(self._thread.begin(super().extend, ids))
            return
        if following is not None and following[0].kernels is not None and len(following[1]):
            self._draws, self._goes_on = following, True
        # One call for all: to wake a thread takes as long as some tokens.
        self._block = self._thread.begin(self._step, ids)
        self._extended.append(self._block)
        with suppress(TimeoutError):
            self._block.exception(BEGIN)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows."""
        self._call(super().select, rows)

    def last_logits(self, count: int) -> Array:
        """Return the logits after each of the last tokens."""
        logits: Array = self._call(super().last_logits, count)
        return logits

    def rewind(self, count: int) -> None:
        """Drop the last tokens."""
        self._call(super().rewind, count)

    def join(self, other: Session) -> None:
        """Add the rows of another session."""
        if isinstance(other, OneThreadSession):
            other._forget()
        self._call(super().join, other)

    def fork(self) -> OneThreadSession:
        """Return a copy."""
        wrapped = self._call(self.wrapped.fork)
        other = copy(self)
        other.wrapped, other._extended = wrapped, []
        other._forget_draws()
        return other

    def hidden_states(self, count: int) -> Array:
        """Return the last hidden states."""
        states: Array = self._call(super().hidden_states, count)
        return states

    def _drawn_ahead(self, plan: Any, uniforms: NDArray[np.float64]) -> Any:
        """Return the next token of each row if the engine draws it with this plan and numbers."""
        if self._draws is None or self._draws[0] is not plan:
            return None
        numbers = self._draws[1][self._accepted : self._accepted + 1]
        if not len(numbers) or not np.array_equal(numbers[0], uniforms[0]):
            return None
        self._more = len(uniforms) > 1
        if not self._ready:
            self._take_block()
        return self._ready[0] if self._ready else None

    def _accepts(self, tokens: ArrayLike) -> bool:
        """Append tokens that the engine's session has already, or has as soon as it draws more."""
        is_last = len(self._ready) == 1 and not self._goes_on
        if not self._ready or is_last or not np.array_equal(self._ready[0].tokens, tokens):
            return False
        self._ready.popleft()
        self._accepted += 1
        return True

    def _take_block(self) -> None:
        """Wait for the next block of tokens, if there is one."""
        if self._block is None and self._goes_on and self._more:
            self._block = self._thread.begin(self._draw_block, self._taken + 1)
        if self._block is None:
            return
        block = self._result(self._block)
        if not block.drawn:  # `next_logits` takes the logits
            self._draws, self._goes_on = None, False
            return
        self._ready.extend(block.drawn)
        self._block, self._taken = block.following, self._taken + 1
        self._goes_on = block.goes_on
        if self._block is None and self._goes_on and self._more:
            self._block = self._thread.begin(self._draw_block, self._taken + 1)

    def _forget(self) -> None:
        """Drop the tokens that were drawn ahead and not appended, and logits computed ahead."""
        self._following, block = None, self._block
        try:
            if self._draws is not None:
                self._more = False  # the thread begins no further block
                while block is not None:
                    block = self._result(block).following
                if count := self._appended - self._accepted:
                    self._result(self._thread.begin(super().rewind, count))
        finally:
            self._forget_draws()

    def _step(self, tokens: NDArray[Any]) -> Block:
        """Append tokens, and draw the next ones or compute their logits; on the thread."""
        if self._draws is not None:
            self.wrapped.expect(*self._draws)
        super().extend(tokens)
        if self._draws is not None:
            with suppress(CorelmError):  # the caller's own draw has the same, at its position
                return self._draw_block(1)
        return Block([], logits=super().next_logits())

    def _draw_block(self, number: int) -> Block:
        """Draw the tokens of a block, and begin the next one; on the thread.

        The next one begins at once: the caller, which wakes meanwhile, would have the interpreter
        first. It doesn't where other work waits, or the caller has yet to take the one before.

        Args:
            number: of the block, from 1 on.
        """
        assert self._draws is not None
        plan, uniforms, measured = self._draws
        drawn: list[Any] = []
        while not drawn or drawn[-1].ready:
            if drawn:
                self._append(drawn[-1])
            left = uniforms[self._appended :]
            # These draws read no context, and the caller meets their errors again.
            drawn.append(self.wrapped.draw(plan, left, lambda: Context.of([[]]), measured))
        goes_on = (
            drawn[-1].ready is not None
            and self._appended + 1 < len(uniforms)
            and set(plan.stops.tolist()).isdisjoint(drawn[-1].tokens.tolist())
        )
        if goes_on:
            self._append(drawn[-1])
        may_begin = self._more and self._thread.is_idle and number < self._taken + 2
        if not (goes_on and may_begin):
            return Block(drawn, goes_on)
        return Block(drawn, goes_on, self._thread.begin(self._draw_block, number + 1))

    def _append(self, drawn: Any) -> None:
        self.wrapped.extend(drawn.tokens)
        self._appended += 1

    def _call(self, work: Callable[..., Any], *values: Any) -> Any:
        self._forget()
        return self._result(self._thread.begin(work, *values))

    def _result(self, future: Future[Any]) -> Any:
        extended, self._extended = self._extended, []
        for earlier in extended:
            earlier.result()
        return future.result()
