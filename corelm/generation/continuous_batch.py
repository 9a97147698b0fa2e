"""Continuous batching: texts of several requests in one session, which join and leave at any step.

A text depends on its own prompt, sampler and random numbers alone: it is the one that `generate`
writes, whatever else is written with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from corelm.decoding.step import Step
from corelm.generation.ancestral import Ancestral
from corelm.generation.generate import BATCH, Texts
from corelm.generation.open_texts import OpenTexts
from corelm.generation.prompts import encoded
from corelm.generation.shared_session import SessionView, SharedSession, ViewedModel
from corelm.language_model import LanguageModel, Session

PIECE = 512
"""Tokens of prompts that are read in one step at most, so that a long prompt does not keep the
other texts waiting for their next token."""

AHEAD = 4 * BATCH
"""Requests that are added, at most, before the first of them has ended."""


class ContinuousBatch:
    """Write the texts of several requests together, a token of each in every step.

    Texts of ordinary (ancestral) decoding share one session, if the model's sessions can be joined:
    a step computes the logits of all their rows in one call. Others have a session of their own.

    Args:
        model: the language model.
        rows: the largest number of texts that grow at once; requests beyond it wait their turn.

    Example:
        >>> from corelm.generation.endings import Endings
        >>> from corelm.plugins.strategies import strategy
        >>> from corelm.testing import ToyModel
        >>> batch = ContinuousBatch(ToyModel())
        >>> for prompt in ("the", "the cat"):
        ...     _ = batch.add(Texts(prompt, strategy("greedy"), 3, 1, 1, Endings()))
        >>> while batch:
        ...     for request in batch.step():
        ...         if request.is_finished:
        ...             print(request.open_texts.generations()[0].text)
         cat sat on
         sat on the
    """

    def __init__(self, model: LanguageModel, rows: int = BATCH) -> None:
        self._model, self._rows = model, rows
        self._shared = SharedSession()
        self._waiting: deque[BatchedTexts] = deque()
        self._running: list[BatchedTexts] = []

    def __bool__(self) -> bool:
        """True if there is a text to write."""
        return bool(self._waiting or self._running)

    def add(
        self, texts: Texts, samples: Sequence[int] | None = None, measured: bool = False
    ) -> BatchedTexts:
        """Add a request, which begins when there are rows for it.

        Args:
            texts: the texts to write.
            samples: the indices of those to write; all by default.
            measured: keep a `TokenRecord` for each token; computing its entropies takes time.
        """
        samples = range(texts.n) if samples is None else samples
        request = BatchedTexts(self._model, texts, samples, measured)
        self._waiting.append(request)
        return request

    def step(self) -> list[BatchedTexts]:
        """Draw a token of each growing text; return the requests of these, and those that failed.

        An error of a sampler or decoder ends its own request; one of the model's session is raised.
        """
        self._running = [request for request in self._running if not request.is_finished]
        self._running += self._begin()
        changed = self._running
        self._shared.compute()
        for request in changed:
            request.draw()
        self._running = [request for request in changed if not request.is_finished]
        # Last, as the session may work in the background while the caller takes the tokens.
        self._shared.advance([request.view for request in self._running if request.view])
        return changed

    def _begin(self) -> list[BatchedTexts]:
        """Read prompts, up to `PIECE` tokens; return the requests whose prompt is read."""
        begun: list[BatchedTexts] = []
        left = PIECE
        while self._waiting and left > 0 and self._has_room(begun):
            request = self._waiting[0]
            left -= request.read(left, self._shared)
            if request.is_read or request.is_finished:
                begun.append(self._waiting.popleft())
        return begun

    def _has_room(self, begun: Sequence[BatchedTexts]) -> bool:
        """Return True if the next request fits; one that is too large for any batch is alone."""
        rows = sum(len(request.open_texts.samples) for request in (*self._running, *begun))
        return rows == 0 or rows + len(self._waiting[0].open_texts.samples) <= self._rows


class BatchedTexts:
    """The texts of one request of a `ContinuousBatch`.

    Attributes:
        texts: the request.
        open_texts: the growing texts.
        step: the step of the last round; None if there was none.
        is_finished: True if nothing is to come.
        error: the exception that ended the texts; None without one.
        is_read: True if the whole prompt is read.
        view: its rows in the shared session; None if it has none.
    """

    def __init__(
        self, model: LanguageModel, texts: Texts, samples: Sequence[int], measured: bool
    ) -> None:
        self.texts: Texts = texts
        self.open_texts: OpenTexts = texts.open(model, samples, measured)
        self.step: Step | None = None
        self.is_finished: bool = False
        self.error: Exception | None = None
        self.is_read: bool = False
        self.view: SessionView | None = None
        self._model = model
        ids = encoded(model.vocabulary, texts.prompt)
        self._unread: NDArray[np.int64] = np.array(ids, dtype=np.int64)
        self._session: Session | None = None  # while the prompt is read
        self._steps: Iterator[Step] = iter(())

    def read(self, most: int, shared: SharedSession) -> int:
        """Read a piece of the prompt; return the number of its tokens.

        Args:
            most: the largest number of tokens.
            shared: the session to join when the prompt is read.
        """
        decoder = self.texts.strategy.decoder
        if decoder is not None and type(decoder) is not Ancestral:
            self._begin(self._model)  # with a session of its own, which may rewind
            return len(self._unread)
        piece, self._unread = self._unread[:most], self._unread[most:]
        try:
            session = self._read_piece(piece)
        except Exception as error:  # a model's own, such as for an empty prompt
            self._fail(error)
            return len(piece)
        if not len(self._unread):
            self._session, self.view = None, SessionView(shared, session)
            self._begin(ViewedModel(self._model, self.view))
        return len(piece)

    def draw(self) -> None:
        """Draw the next token of each text."""
        self.step = None
        try:
            self.step = next(self._steps, None)
        except Exception as error:  # of a plugin: the other requests go on
            self._fail(error)
        if self.step is None or None not in self.open_texts.finish_reasons:
            self.finish()

    def finish(self) -> None:
        """End the texts as they are; their rows leave before the next step."""
        self.is_finished, self.view = True, None
        self._session, self._steps = None, iter(())

    def _read_piece(self, piece: NDArray[np.int64]) -> Session:
        if self._session is None:
            self._session = self._model.start(piece[None].copy())
        else:
            self._session.extend(piece[None].copy())
        if len(self._unread):
            self._session.next_logits()  # read it now: a session may wait until it is asked
        return self._session

    def _begin(self, model: LanguageModel) -> None:
        self.is_read = True
        steps = self.texts.steps(model, self.open_texts.samples)
        self._steps = self.open_texts.take(steps)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.finish()


def write_in_order(
    model: LanguageModel,
    requests: Iterable[tuple[Texts, Sequence[int]]],
    measured: bool = False,
) -> Iterator[BatchedTexts]:
    """Write the texts of requests together; yield each request in order, when it has ended.

    Args:
        model: the language model.
        requests: texts, and the indices of the samples to write of each.
        measured: keep a `TokenRecord` for each token.
    """
    batch, left = ContinuousBatch(model), iter(requests)
    order: deque[BatchedTexts] = deque()
    while True:
        more = islice(left, AHEAD - len(order))
        order += [batch.add(texts, samples, measured) for texts, samples in more]
        if not order:
            return
        batch.step()
        while order and order[0].is_finished:
            yield order.popleft()
