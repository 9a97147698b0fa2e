"""Models of other engines, each loaded and called on a thread of its own.

An engine with OpenMP keeps a pool of threads for each thread that calls it. With two pools there
are more threads than processors, so that waiting threads sleep instead of spinning: on an idle
machine, a step of llama.cpp took 17.6 ms on the thread that had loaded the model, and 108 ms on
another. (On a busy machine it is the other way round.)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import corelm
from corelm import Array, LanguageModel, Session
from corelm.abilities import SessionAbilities, SessionWrapper
from corelm.runs import NamedModel

OWN = "corelm"
"""The distribution of corelm's own models, whose kernels have one pool for all threads."""


def load(name: str, device: str | None, dtype: str | None) -> LanguageModel:
    """Load a model; another engine's model gets a thread of its own."""
    source = NamedModel.plugin_of(name)
    if source is None or source.distribution == OWN:
        return corelm.load(name, device=device, dtype=dtype)
    thread = EngineThread()
    model = thread.call(lambda: corelm.load(name, device=device, dtype=dtype))
    return OneThreadModel(model, thread)


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


class OneThreadSession(SessionWrapper):
    """A session whose calls are all made on one thread.

    `extend` returns at once, and after a single token for each row, as in decoding, the logits are
    computed while the caller works. The next call raises what `extend` raised.

    Args:
        wrapped: the session.
        thread: the thread.
    """

    def __init__(self, wrapped: Session, thread: EngineThread) -> None:
        super().__init__(wrapped)
        self._thread = thread
        self._extended: list[Future[Any]] = []
        self._logits: Future[Any] | None = None

    def next_logits(self) -> Array:
        """Return the logits of the next token of each row."""
        return self._call(super().next_logits) if self._logits is None else self._taken()

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens to the rows."""
        ids = np.array(tokens)  # the caller may change its own
        self._extended.append(self._thread.begin(super().extend, ids))
        is_step = ids.ndim == 1 or ids.shape[1] == 1
        self._logits = self._thread.begin(super().next_logits) if is_step else None

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
        self._call(super().join, other)

    def fork(self) -> SessionAbilities:
        """Return a copy."""
        other = copy(self)
        other.wrapped, other._extended, other._logits = self._call(self.wrapped.fork), [], None
        return other

    def hidden_states(self, count: int) -> Array:
        """Return the last hidden states."""
        return self._call(super().hidden_states, count)

    def _taken(self) -> Array:
        """Return the logits that were computed in advance."""
        found, self._logits = self._logits, None
        assert found is not None
        return self._result(found)

    def _call(self, work: Callable[..., Any], *values: Any) -> Any:
        self._logits = None
        return self._result(self._thread.begin(work, *values))

    def _result(self, found: Future[Any]) -> Any:
        extended, self._extended = self._extended, []
        for earlier in extended:
            earlier.result()
        return found.result()
