"""Continuous batching: texts of several requests in one session, which join and leave at any step.

A text depends on its own prompt, sampler and random numbers alone: it is the one that `generate`
writes, independent of the other texts in the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from corelm.abilities.optional import FullVocabulary
from corelm.decoding.step import Step
from corelm.errors import CorelmError
from corelm.generation.drawn_rows import DrawnRows, DrawPlans, draw_together, treats_rows_alone
from corelm.generation.generate import BATCH, Ancestral, Texts, batches
from corelm.generation.open_texts import OpenTexts
from corelm.generation.shared_session import PrefixCache, SessionView, SharedSession, ViewedModel
from corelm.language_model import LanguageModel, Session
from corelm.registry.registry import registry

PIECE = 512
"""The most prompt tokens to read in one step, so that a long prompt does not keep the other texts
waiting for their next token."""

JOINING = 8
"""The prompt tokens that count for a request whose prompt was read before: to join the others takes
it as long as to read about so many."""

AHEAD = 4 * BATCH
"""The most requests to add before the first of them has ended."""


@dataclass(frozen=True)
class Turn:
    """A part of a step.

    Attributes:
        requests: the requests that it is for; none for the model's work for all of them.
        run: does the work.
    """

    requests: Sequence[BatchedTexts]
    run: Callable[[], object]


class ContinuousBatch:
    """Write the texts of several requests together, a token of each in every step.

    Texts of ordinary (ancestral) decoding share one session, if the model's sessions can be joined:
    a step computes the logits of all their rows in one call. Others have a session of their own.
    Requests with equal simple chains are drawn in one call too.

    Args:
        model: the language model.
        rows: the largest number of texts that grow at once; requests beyond it wait their turn.
        piece: the most prompt tokens to read in one step. A prompt longer than the model's context
            is read in one piece: the model sees only its last window.
        prefixes: prompts that were read before; by default none are kept.

    Example:
        >>> from corelm.generation.endings import Endings
        >>> from corelm.registry.strategies import Strategy
        >>> from corelm.testing import ToyModel
        >>> batch = ContinuousBatch(ToyModel())
        >>> for prompt in ("the", "the cat"):
        ...     _ = batch.add(Texts(prompt, Strategy.of("greedy"), 3, 1, 1, Endings()))
        >>> while batch:
        ...     for request in batch.step():
        ...         if request.is_finished:
        ...             print(request.open_texts.generations()[0].text)
         cat sat on
         sat on the
    """

    batches = staticmethod(batches)
    """The indices of n samples, in batches that are decoded together."""

    ROWS = BATCH
    """The number of texts that grow at once, by default."""

    def __init__(
        self,
        model: LanguageModel,
        rows: int = BATCH,
        piece: int = PIECE,
        prefixes: PrefixCache | None = None,
    ) -> None:
        self._model, self._rows, self._piece = model, rows, piece
        self._prefixes = prefixes or PrefixCache(0)
        self._plans = DrawPlans(model.vocabulary)
        self._shared = SharedSession()
        self._waiting: deque[BatchedTexts] = deque()
        self._running: list[BatchedTexts] = []
        self._changed: list[BatchedTexts] = []  # by the last step

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
        request = BatchedTexts(self._model, texts, samples, measured, self._plans)
        self._waiting.append(request)
        return request

    @classmethod
    def in_order(
        cls,
        model: LanguageModel,
        requests: Iterable[tuple[Texts, Sequence[int]]],
        measured: bool = False,
        rows: int = BATCH,
    ) -> Iterator[BatchedTexts]:
        """Write the texts of requests together; yield each request in order, when it has ended.

        Args:
            model: the language model.
            requests: texts, and the indices of the samples to write of each.
            measured: keep a `TokenRecord` for each token.
            rows: the largest number of texts that grow at once.
        """
        batch, left = cls(model, rows), iter(requests)
        order: deque[BatchedTexts] = deque()
        while True:
            more = islice(left, AHEAD - len(order))
            order += [batch.add(texts, samples, measured) for texts, samples in more]
            if not order:
                return
            batch.step()
            while order and order[0].is_finished:
                yield order.popleft()

    def step(self) -> list[BatchedTexts]:
        """Draw a token of each growing text; return their requests, and requests that failed.

        An error of a sampler or decoder ends its own request; one of the model's session is raised.
        """
        for turn in self.turns():
            turn.run()
        return self._changed

    def turns(self) -> Iterator[Turn]:
        """Yield the parts of a step, each to be run before the next one is asked for.

        A caller that can't wait for a part any longer may finish its request and continue.
        """
        self._running = _growing(self._running)
        yield from self._begin()
        changed = self._changed = self._running
        yield Turn((), self._draw)
        late = [request for request in changed if request.is_drawn]
        for request in changed:
            if not request.is_drawn and not request.is_finished:
                yield Turn([request], request.draw)
        yield Turn((), self._advance)
        # The session may work in the background while texts get their tokens.
        for together in _taken_together(late):
            if left := _growing(together):
                yield Turn(left, partial(_take, left))
        self._running = _growing(changed)

    def _begin(self) -> Iterator[Turn]:
        """Read prompts, up to `piece` tokens, in order of arrival."""
        left = self._piece
        while self._waiting and left > 0 and self._has_room(self._waiting[0]):
            first = self._waiting[0]
            if first.unread > left:
                left = yield from self._overtake(left)
            left -= yield from self._read(first, left)

    def _overtake(self, left: int) -> Generator[Turn, None, int]:
        """Read shorter prompts behind a long one, which gets half of each piece at least.

        Otherwise their first tokens would wait until the long prompt is read.

        Returns:
            The number of tokens that are left of the piece.
        """
        behind = sorted(islice(self._waiting, 1, None), key=lambda request: request.unread)
        for request in behind:
            if request.unread > left - self._piece // 2 or not self._has_room(request):
                break
            left -= yield from self._read(request, left)
        return left

    def _read(self, request: BatchedTexts, left: int) -> Generator[Turn, None, int]:
        """Read tokens of a prompt; return the number of them that count."""
        read = 0
        if not request.is_finished:
            yield Turn([request], partial(request.read, left, self._shared, self._prefixes))
            read = max(request.just_read, JOINING)
        if request.is_read or request.is_finished:
            self._waiting.remove(request)
            self._running.append(request)
        return read

    def _has_room(self, request: BatchedTexts) -> bool:
        """Return True if a request fits; one too large for any batch is written alone."""
        rows = sum(len(request.open_texts.samples) for request in self._running)
        return rows == 0 or rows + len(request.open_texts.samples) <= self._rows

    def _draw(self) -> None:
        """Compute the logits of all rows, and draw the tokens of requests with equal chains."""
        self._shared.compute()
        new, shared = [], []
        for request in self._running:
            rows = request.rows
            if rows is not None and rows.view is not None:
                if rows.view.own is None:
                    shared.append(rows)
                elif rows.view.is_read:
                    new.append(rows)
        for together in (new, shared):
            with suppress(CorelmError):  # each then draws alone, and fails by itself
                draw_together(self._shared, together)

    def _advance(self) -> None:
        """Append the drawn tokens of all rows to the session."""
        self._shared.advance([request.view for request in self._running if request.view])


def _taken_together(requests: Sequence[BatchedTexts]) -> Iterator[Sequence[BatchedTexts]]:
    """Divide requests into groups that take their drawn tokens in one turn.

    A turn for each would take as long as the work in it. Where code of others reads the tokens, or
    patterns are searched for, each has its own, so that the caller knows who takes long.
    """
    alone = requests
    if not registry().load_observers():
        yield [each for each in requests if not each.texts.endings.stop_regex]
        alone = [each for each in requests if each.texts.endings.stop_regex]
    for request in alone:
        yield [request]


def _take(requests: Sequence[BatchedTexts]) -> None:
    for request in requests:
        request.draw()


def _growing(requests: Sequence[BatchedTexts]) -> list[BatchedTexts]:
    return [request for request in requests if not request.is_finished]


class BatchedTexts:
    """The texts of one request of a `ContinuousBatch`.

    Attributes:
        texts: the request.
        open_texts: the growing texts.
        step: the step of the last round; None if there was none.
        is_finished: True if all its texts have ended.
        error: the exception that ended the texts; None without one.
        is_read: True if the whole prompt is read.
        unread: the number of tokens of the prompt that are not read.
        just_read: the number of tokens that the last call of `read` read.
        rows: its rows, if their tokens can be drawn in one call with other requests.
    """

    def __init__(
        self,
        model: LanguageModel,
        texts: Texts,
        samples: Sequence[int],
        measured: bool,
        plans: DrawPlans,
    ) -> None:
        self.texts: Texts = texts
        self.open_texts: OpenTexts = texts.open(model, samples, measured)
        self.step: Step | None = None
        self.is_finished: bool = False
        self.error: Exception | None = None
        self.is_read: bool = False
        self.rows: DrawnRows | None = None
        self._model, self._plans = model, plans
        self._ids: list[int] = FullVocabulary(model.vocabulary).prompt_ids(texts.beginning)
        self.unread: int = len(self._ids)
        self.just_read: int = 0
        self._view: SessionView | None = None
        self._session: Session | None = None  # while the prompt is read
        self._steps: Iterator[Step] = iter(())

    @property
    def view(self) -> SessionView | None:
        """Its rows in the shared session; None if it has none."""
        return self._view if self.rows is None else self.rows.view

    @property
    def is_drawn(self) -> bool:
        """True if the tokens of its next step are drawn."""
        return self.rows is not None and self.rows.is_drawn

    def read(self, most: int, shared: SharedSession, prefixes: PrefixCache) -> None:
        """Read a piece of the prompt.

        Args:
            most: the largest number of tokens.
            shared: the session to join when the prompt is read.
            prefixes: prompts that were read before.
        """
        decoder = self.texts.strategy.decoder
        if decoder is not None and type(decoder) is not Ancestral:
            # With a session of its own, which may rewind.
            self.just_read = self.unread
            self._begin(self.texts.steps(self._model, self.open_texts.samples))
            return
        try:
            session = self._read_piece(most, prefixes)
            if not self.unread:
                self._session, self._view = None, SessionView(shared, session)
                self._begin(self._shared_steps(self._view))
                if self.rows is not None:
                    self._view.read()
        except Exception as error:  # a model's own, such as for an empty prompt
            self._fail(error)

    def draw(self) -> None:
        """Draw the next token of each text, or take the tokens drawn in the common call."""
        self.step = None
        try:
            self.step = next(self._steps, None)
        except Exception as error:  # a plugin's error: the other requests continue
            self._fail(error)
        if self.step is None or None not in self.open_texts.finish_reasons:
            self.finish()

    def finish(self) -> None:
        """End the texts as they are; their rows leave before the next step."""
        self.is_finished, self._view, self.rows = True, None, None
        self._session, self._steps = None, iter(())

    def _read_piece(self, most: int, prefixes: PrefixCache) -> Session:
        ids, fits = self._ids, len(self._ids) < self._model.context_length
        if self._session is None and fits:
            self._session, known = prefixes.find(ids)
            self.unread -= known
        first = len(ids) - self.unread
        piece = np.array(ids[first : first + most if fits else None], dtype=np.int64)
        if self._session is None:
            self._session = self._model.start(piece[None].copy())
        elif len(piece):
            self._session.extend(piece[None].copy())
        self.just_read = len(piece)
        self.unread -= self.just_read
        if self.unread:
            self._session.next_logits()  # a session may read the tokens only now
        elif fits:
            prefixes.keep(ids, self._session)
        return self._session

    def _shared_steps(self, view: SessionView) -> Iterator[Step]:
        texts, samples = self.texts, self.open_texts.samples
        if texts.length and treats_rows_alone(texts.strategy.sampler):
            self.rows = DrawnRows(self._plans, texts, samples, view)
            return self.rows.steps()
        return texts.steps(ViewedModel(self._model, view), samples)

    def _begin(self, steps: Iterator[Step]) -> None:
        self.is_read, self.unread = True, 0
        self._steps = self.open_texts.take(steps)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.finish()
