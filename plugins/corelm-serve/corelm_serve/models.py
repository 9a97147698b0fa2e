"""The models that a server was started with, and its limits.

A model of another engine is loaded and called on a thread of its own. An engine with OpenMP keeps a
pool of threads for each thread that calls it. With two pools there are more threads than
processors, so that waiting threads sleep instead of spinning: on an idle machine, a step of
llama.cpp took 17.6 ms on the thread that had loaded the model, and 108 ms on another. (On a busy
machine it is the other way round.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import corelm
from corelm import Array, LanguageModel, Session
from corelm.abilities import FullVocabulary, SessionWrapper
from corelm.runs import NamedModel, printable
from corelm_serve.errors import ApiError


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from using up the machine.

    Attributes:
        body: bytes of a request.
        prompt: tokens of a prompt.
        length: tokens drawn for a text.
        prompts: prompts in a request.
        total: tokens of all prompts of a request, and tokens drawn for all of its texts.
        entries: log-probabilities in an answer.
        rows: texts that a model writes at once, and texts of one prompt.
        waiting: requests that wait for a model; more are refused with 429.
        seconds: the time of a request, from its arrival to its last token.
        stall: seconds that one step of one request may take before it is given up.
        piece: tokens of a prompt that are read between two steps.
        prefixes: tokens of prompts that each model keeps, to read equal beginnings once.
        grace: seconds that running requests get to end when the server stops.
    """

    body: int = 2**20
    prompt: int = 32_768
    length: int = 4_096
    prompts: int = 128
    total: int = 2**18
    entries: int = 2**20
    rows: int = 64
    waiting: int = 256
    seconds: float = 600.0
    stall: float = 30.0
    piece: int = 512
    prefixes: int = 8_192
    grace: float = 10.0


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model under the name that requests use."""

    name: str
    model: LanguageModel
    created: int = field(default_factory=lambda: int(time.time()))
    source: str | None = None
    """The model as given with `--model`; None if clients may not see it, since it may be a
    folder."""

    @property
    def context_length(self) -> int | None:
        """The largest number of tokens that the model attends to; None if it doesn't say."""
        length = getattr(self.model, "context_length", None)
        return length if isinstance(length, int) else None

    def ids(self, prompt: str | tuple[int, ...], *, may_be_empty: bool = False) -> list[int]:
        """Return the ids of a prompt.

        Ids stay as they are: an echoed prompt has a log-probability for each that was sent.

        Raises:
            ApiError: an id that the vocabulary doesn't have, or an empty prompt that can't begin
                a text.
        """
        vocabulary = self.model.vocabulary
        is_text = isinstance(prompt, str)
        ids = FullVocabulary(vocabulary).prompt_ids(prompt) if is_text else list(prompt)
        size = len(vocabulary)
        if wrong := [i for i in ids if i >= size]:
            message = f"there is no token {wrong[0]}; the ids are 0 to {size - 1}"
            raise ApiError(message, param="prompt", code="invalid_value")
        if not ids and vocabulary.start is None and not may_be_empty:
            message = "this model cannot continue an empty text; the prompt needs a token"
            raise ApiError(message, param="prompt", code="invalid_value")
        return ids


def find(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """Return the model of a name; without one, the only model.

    Raises:
        ApiError: no such model. Only the names given when the server started count, never paths.
    """
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None or name not in models:
        hint = printable.did_you_mean(name or "", models)
        what = (
            "model is missing"
            if name is None
            else f"there is no model {printable.shown(name)}{hint}"
        )
        message = f"{what} (there are: {', '.join(models)})"
        raise ApiError(message, 404 if name else 400, param="model", code="model_not_found")
    return models[name]


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


BEGIN = 3e-4
"""The most seconds that the caller of a step waits for the engine to begin it. Two threads that
compute in Python take turns, so that the engine, which then computes without the interpreter, would
begin twice as late: nothing is gained by what the caller does meanwhile."""


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
        is_step = ids.ndim == 1 or ids.shape[1] == 1
        # One call for both: to wake a thread takes as long as some tokens.
        begun = self._thread.begin(self._step if is_step else super().extend, ids)
        self._extended.append(begun)
        self._logits = begun if is_step else None
        if is_step:
            with suppress(TimeoutError):
                begun.exception(BEGIN)

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

    def fork(self) -> OneThreadSession:
        """Return a copy."""
        other = copy(self)
        other.wrapped, other._extended, other._logits = self._call(self.wrapped.fork), [], None
        return other

    def hidden_states(self, count: int) -> Array:
        """Return the last hidden states."""
        return self._call(super().hidden_states, count)

    def _step(self, tokens: NDArray[Any]) -> Array:
        super().extend(tokens)
        return super().next_logits()

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
