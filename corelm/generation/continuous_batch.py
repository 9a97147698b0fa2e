"""Continuous batching: texts of several requests in one session, which join and leave at any step.

A text depends on its own prompt, sampler and random numbers alone: it is the one that `generate`
writes, independent of the other texts in the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import ClassVar, NamedTuple

from corelm.contracts.language_model import LanguageModel
from corelm.generation.batched_texts import BatchedTexts
from corelm.generation.generate import BATCH, Texts, batches
from corelm.generation.prompts import PrefixCache
from corelm.generation.shared_session import SharedSession
from corelm.registry.registry import registry

PIECE = 512
"""The most prompt tokens to read in one step, so that a long prompt does not keep the other texts
waiting for their next token."""

JOINING = 8
"""The tokens that count for a prompt that was read before: joining the others takes as long."""

AHEAD = 4 * BATCH
"""The most requests to add before the first of them has ended."""


class StepPart(NamedTuple):
    """A part of a step.

    Attributes:
        requests: the requests that it is for; none for the model's work for all of them.
        run: does the work.
        tokens: the most tokens of prompts that it reads.
    """

    requests: Sequence[BatchedTexts]
    run: Callable[[], object]
    tokens: int = 0


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
        again: the most tokens to read again in a step, of texts whose windows slide: many slide in
            one step if they began together, and the others would wait. By default all are read.

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

    batches: ClassVar[Callable[[int], Iterator[range]]] = staticmethod(batches)
    """The indices of n samples, in batches that are decoded together."""

    ROWS = BATCH
    """The number of texts that grow at once, by default."""

    def __init__(
        self,
        model: LanguageModel,
        rows: int = BATCH,
        piece: int = PIECE,
        prefixes: PrefixCache | None = None,
        again: int | None = None,
    ) -> None:
        self._model, self._rows, self._piece, self._again = model, rows, piece, again
        self._prefixes = prefixes or PrefixCache(0)
        self._is_ahead = False  # the session has the tokens of the last step already
        context_length = model.context_length if again is not None else None
        self._shared = SharedSession(model.vocabulary, context_length)
        self._waiting: deque[BatchedTexts] = deque()
        self._running: list[BatchedTexts] = []
        self._new: list[BatchedTexts] = []  # just read; they join after their first token
        self._sliding: list[BatchedTexts] = []  # their windows are to be read again
        self._joining: list[BatchedTexts] = []  # new ones, after what is drawn ahead for the others
        self._changed: list[BatchedTexts] = []  # by the last step

    def __bool__(self) -> bool:
        """True if there is a text to write."""
        return bool(self._waiting or any(self._begun))

    @property
    def _begun(self) -> tuple[list[BatchedTexts], ...]:
        return self._running, self._new, self._sliding, self._joining

    def add(
        self,
        texts: Texts,
        samples: Sequence[int] | None = None,
        measured: bool = False,
        each_step: bool = True,
    ) -> BatchedTexts:
        """Add a request, which begins when there are rows for it.

        Args:
            texts: the texts to write.
            samples: the indices of those to write; all by default.
            measured: keep a `TokenRecord` for each token; computing its entropies takes time.
            each_step: its `step` is read after each token. If no request's is, a step may draw
                several tokens of each text, which takes less time.
        """
        opened = texts.open(self._model, range(texts.n) if samples is None else samples, measured)
        request = BatchedTexts(self._model, texts, opened, self._shared)
        request.each_step = each_step
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
            order += [batch.add(texts, samples, measured, False) for texts, samples in more]
            if not order:
                return
            batch.step()
            while order and order[0].is_finished:
                yield order.popleft()

    def step(self) -> list[BatchedTexts]:
        """Draw a token of each growing text; return their requests, and requests that failed.

        Where tokens are drawn ahead, it may be several of each; see `add`. An error of a sampler or
        decoder ends its own request; one of the model's session is raised.
        """
        for turn in self.turns():
            turn.run()
        return self._changed

    def turns(self) -> Iterator[StepPart]:
        """Yield the parts of a step, each to be run before the next one is asked for.

        A caller that can't wait for a part any longer may finish its request and continue.
        """
        self._running = _growing(self._running)
        yield from self._begin()
        # First tokens wait for no step of the model, and for no window that slid.
        first = yield from self._draw_first()
        yield from self._read_again()
        first += yield from self._draw_first()
        changed = self._changed = [*self._running, *self._new]
        yield StepPart((), self._draw)
        for each in changed:
            if not (each.is_drawn or each in first or each.is_finished):
                yield StepPart([each], each.draw)
        yield StepPart((), self._advance)
        late = yield from _taken(changed)
        is_watched = any(request.each_step or request.is_slow for request in late)
        if self._is_ahead and not (is_watched or registry().load_observers()):
            yield StepPart(late, partial(self._take_ready, late))
        self._running = [request for request in _growing(self._running) if request.is_read]

    def _begin(self) -> Iterator[StepPart]:
        """Read prompts, up to `piece` tokens, in order of arrival."""
        left = self._piece
        while self._waiting and left > 0 and self._has_room(self._waiting[0]):
            first = self._waiting[0]
            if first.unread > left:
                left = yield from self._overtake(left)
            left -= yield from self._read(first, left)

    def _overtake(self, left: int) -> Generator[StepPart, None, int]:
        """Read shorter prompts behind a long one; return the tokens that are left of the piece.

        Otherwise their first tokens would wait until the long prompt is read, which gets half of
        each piece at least.
        """
        behind = sorted(islice(self._waiting, 1, None), key=lambda request: request.unread)
        for request in behind:
            if request.unread > left - self._piece // 2 or not self._has_room(request):
                break
            left -= yield from self._read(request, left)
        return left

    def _read(self, request: BatchedTexts, left: int) -> Generator[StepPart, None, int]:
        """Read tokens of a prompt; return the number of them that count."""
        read = 0
        if not request.is_finished:
            read_piece = partial(request.read, left, self._prefixes)
            yield StepPart([request], read_piece, request.unread)
            read = max(request.just_read, JOINING)
        if request.is_read or request.is_finished:
            self._waiting.remove(request)
            self._new.append(request)
        return read

    def _read_again(self) -> Iterator[StepPart]:
        """Read windows that slid, one at least, up to `again` tokens while others wait."""
        left = most = (self._again or 0) if self._running else self._piece
        self._sliding = _growing(self._sliding)
        while self._sliding and (left == most or self._sliding[0].unread <= left):
            request = self._sliding.pop(0)
            left -= request.unread
            yield StepPart([request], request.read_again, request.unread)
            self._new.append(request)

    def _has_room(self, request: BatchedTexts) -> bool:
        """Return True if a request fits; one too large for any batch is written alone."""
        rows = sum(len(each.open_texts.samples) for each in chain(*self._begun))
        return rows == 0 or rows + len(request.open_texts.samples) <= self._rows

    def _draw_first(self) -> Generator[StepPart, None, list[BatchedTexts]]:
        """Draw the next tokens of texts that were just read; return their requests."""
        new = [each for each in self._new if each.rows and each.view and each.view.is_read]
        rows = [each.rows for each in new if each.rows and each.rows.key]
        if not rows:
            return []
        draw = partial(self._shared.draw_apart, rows)
        yield StepPart((), draw, sum(each.just_read for each in new))  # a session may read only now
        return (yield from _taken(new))

    def _draw(self) -> None:
        """Compute the logits of all rows, and draw the tokens of requests with equal chains."""
        rows = [each.rows for each in self._running if each.rows]
        are_all, more = len(rows) == len(self._running), not (self._new or self._joining)
        self._is_ahead = self._shared.draw(rows, are_all=are_all, more=more)

    def _advance(self) -> None:
        """Append the drawn tokens of all rows to the session, unless it has them."""
        new = [*_growing(self._joining), *self._new]
        self._joining, self._new = (new, []) if self._is_ahead else ([], [])
        if self._is_ahead:
            return
        self._running = [*self._running, *new]
        if self._again is not None:
            self._sliding += [request for request in self._running if request.leave()]
        read = [request for request in self._running if request.is_read and request.view]
        views = self._shared.arrange([request.view for request in read if request.view])
        if all(request.rows for request in _growing(self._running)):
            self._shared.expect([request.rows for request in read if request.rows])
        self._shared.advance(views)

    def _take_ready(self, requests: Sequence[BatchedTexts]) -> None:
        """Take the tokens that are drawn ahead, as long as no text ends and none is waited for.

        Args:
            requests: all that share the session.
        """
        # All of them grow: a request that ends leaves the loop.
        while self._shared.are_ready and len(_growing(requests)) == len(requests):
            self._draw()
            self._advance()
            _take(requests)


def _taken(requests: Sequence[BatchedTexts]) -> Generator[StepPart, None, list[BatchedTexts]]:
    """Yield turns in which requests take their tokens, where these are drawn; return them."""
    # One for all, unless others' code reads the tokens, or patterns are searched for, which may
    # take long: the caller then knows whose does.
    is_observed, drawn = registry().load_observers(), [each for each in requests if each.is_drawn]
    for each in drawn:
        if is_observed or each.is_slow:
            yield StepPart([each], each.draw)
    if left := [each for each in _growing(drawn) if not (is_observed or each.is_slow)]:
        yield StepPart(left, partial(_take, left))
    return drawn


def _take(requests: Sequence[BatchedTexts]) -> None:
    for request in requests:
        request.draw()


def _growing(requests: Sequence[BatchedTexts]) -> list[BatchedTexts]:
    return [request for request in requests if not request.is_finished]
