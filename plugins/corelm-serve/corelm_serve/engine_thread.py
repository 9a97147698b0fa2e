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

from corelm import Array, LanguageModel, Session
from corelm.abilities import SessionWrapper


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
        found: Future[Any] = Future()
        self._calls.put((found, partial(work, *values)))
        return found

    @property
    def is_idle(self) -> bool:
        """True if no work waits, apart from what the thread does now."""
        return self._calls.empty()

    def _run(self) -> None:
        while True:
            found, work = self._calls.get()
            try:
                found.set_result(work())
            except BaseException as error:  # of a plugin; this thread must go on
                found.set_exception(error)
            del found, work  # or the last session would live on


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

    def next_token_distribution(self, tokens: NDArray[Any]) -> Array:
        """Return the probabilities after ids."""
        found: Array = self._thread.call(self._model.next_token_distribution, tokens)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while there is no `_model` yet, as in a copy
            raise AttributeError(name)
        return getattr(self._model, name)  # such as `manifest`, which needs no engine


BEGIN = 3e-4
"""The most seconds that the caller of a step waits for the engine to begin it. Two threads that
compute in Python take turns, so that the engine, which then computes without the interpreter, would
begin twice as late: nothing is gained by what the caller does meanwhile."""


class Begun(NamedTuple):
    """The result of a step, or of a block of tokens that the engine draws ahead."""

    drawn: list[Any]
    """The tokens that were drawn, as `corelm.interop.DrawsAhead` returns them."""
    following: Future[Begun] | None = None
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
        self._extended: list[Future[Any]] = []
        self._begun: Future[Begun] | None = None
        # Tokens that were drawn ahead: the engine's session has them, the caller hasn't.
        self._ready: deque[Any] = deque()
        self._goes_on = False  # the engine can draw more after them
        self._more = True  # it may, while the caller works
        self._taken = 0  # blocks since the last tokens were appended

    def next_logits(self) -> Array:
        """Return the logits of the next token of each row."""
        begun, self._begun = self._begun, None
        found = Begun([]) if begun is None else self._result(begun)
        if found.logits is not None:
            return found.logits
        self._begun = begun
        logits: Array = self._call(super().next_logits)
        return logits

    def extend(self, tokens: ArrayLike, draws: Callable[[], Any] | None = None) -> None:
        """Append tokens to the rows.

        Args:
            tokens: the tokens.
            draws: as for `corelm.interop.DrawsAhead`.
        """
        self._forget()
        ids = np.array(tokens)  # the caller may change its own
        if not (ids.ndim == 1 or ids.shape[1] == 1):
            self._extended.append(self._thread.begin(super().extend, ids))
            return
        # One call for all: to wake a thread takes as long as some tokens.
        found = draws() if draws else None
        self._goes_on, self._taken = found is not None, 0
        self._begun = self._thread.begin(self._step, ids, found)
        self._extended.append(self._begun)
        with suppress(TimeoutError):
            self._begun.exception(BEGIN)

    def drawn_ahead(self, extend: bool, more: bool = True) -> Any:
        """Return the next tokens of those drawn ahead, as `corelm.interop.DrawsAhead` does.

        Args:
            extend: append them to the texts, unless nothing is drawn after them.
            more: False to take what is drawn, and draw no more.
        """
        self._more = more
        if not self._ready:
            self._take_block()
        if not self._ready:
            return None
        taken = self._ready[0]
        if taken.goes_on and not extend:
            self._forget()
            return taken._replace(goes_on=False)
        return self._ready.popleft()

    @property
    def has_drawn_ahead(self) -> bool:
        """True if `drawn_ahead` has tokens for which it need not wait."""
        return bool(self._ready)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows."""
        self._call(super().select, rows)

    def last_logits(self, count: int) -> Array:
        """Return the logits after each of the last tokens."""
        return self._call(super().last_logits, count)

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
        other.wrapped, other._extended, other._ready = wrapped, [], deque()
        return other

    def hidden_states(self, count: int) -> Array:
        """Return the last hidden states."""
        return self._call(super().hidden_states, count)

    def _take_block(self) -> None:
        """Wait for the next block of tokens, if there is one."""
        begun, self._begun = self._begun, None
        if begun is None and self._goes_on and self._more:
            begun = self._begin_block(self._taken + 1)
        if begun is None:
            return
        self._goes_on = False
        found = self._result(begun)
        if found.drawn:
            self._ready, self._begun = deque(found.drawn), found.following
            self._goes_on, self._taken = found.drawn[-1].goes_on, self._taken + 1
            if self._begun is None and self._goes_on and self._more:
                self._begun = self._begin_block(self._taken + 1)
        elif found.logits is not None:
            self._begun = begun  # for `next_logits`

    def _forget(self) -> None:
        """Drop the tokens that were drawn ahead and not taken, and logits computed ahead."""
        ready, self._ready = self._ready, deque()
        begun, self._begun = self._begun, None
        is_drawn, self._goes_on = bool(ready) or self._goes_on, False
        self._more = False
        while begun is not None and is_drawn:
            found = self._result(begun)
            ready += found.drawn
            begun = found.following
        self._more = True
        if count := sum(each.goes_on for each in ready):  # the engine's session has these
            self._result(self._thread.begin(super().rewind, count))

    def _step(self, tokens: NDArray[Any], draws: Any) -> Begun:
        """Append tokens, and draw the next ones or compute their logits; on the thread."""
        if draws is None:
            super().extend(tokens)
        else:
            self.wrapped.extend(tokens, lambda: draws)
            if (block := self._block(1)).drawn:
                return block
        return Begun([], logits=super().next_logits())

    def _begin_block(self, number: int) -> Future[Begun]:
        return self._thread.begin(self._block, number)

    def _block(self, number: int) -> Begun:
        """Take the tokens of a block, and begin the next one; on the thread.

        The next one begins at once: the caller, which wakes meanwhile, would have the interpreter
        first. It doesn't where other work waits, or the caller has yet to take the one before.

        Args:
            number: of the block, from 1 on.
        """
        drawn: list[Any] = []
        while not drawn or (drawn[-1].goes_on and self.wrapped.has_drawn_ahead):
            taken = self.wrapped.drawn_ahead(True)
            if taken is None:
                break
            drawn.append(taken)
        may_begin = self._more and self._thread.is_idle and number < self._taken + 2
        is_next = may_begin and drawn and drawn[-1].goes_on
        return Begun(drawn, self._begin_block(number + 1) if is_next else None)

    def _call(self, work: Callable[..., Any], *values: Any) -> Any:
        self._forget()
        return self._result(self._thread.begin(work, *values))

    def _result(self, found: Future[Any]) -> Any:
        extended, self._extended = self._extended, []
        for earlier in extended:
            earlier.result()
        return found.result()
