"""A model of corelm's own kinds in NumPy, without Keras, with a key/value cache.

A row's logits are the same to the last bit whichever other rows are decoded with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import native
from corelm.contracts.language_model import Session
from corelm.errors import UsageError
from corelm.models.contents import StoredVocabulary, check_fit
from corelm.models.draws_ahead import DrawsAhead, NextDraws, TokenBlocks
from corelm.models.networks.base import Architecture, Network
from corelm.models.networks.kinds import NETWORKS
from corelm.models.networks.layers import BackgroundStep, Matrix, Weights, bare_products
from corelm.models.sliding_window import Pass, SlidingWindow, cached_time, last_pass, passes_of
from corelm.native.rows import loaded
from corelm.numerics.distributions import Array
from corelm.registry.models import DisplayableModel

Ids = NDArray[np.int64]


class NumpyModel(DisplayableModel):
    """A language model from an architecture and its weights.

    Args:
        architecture: the shape of the network.
        vocabulary: its tokens.
        weights: float32 arrays by name, as `weights.shapes` lists them.
        manifest: the manifest of its bundle; empty if there is none.

    Attributes:
        default_prompt: the prompt of its manifest; None if it has none.

    Raises:
        ModelFileError: weights or a vocabulary that do not fit the architecture.

    Example:
        >>> from corelm.models.word_vocabulary import WordVocabulary
        >>> from corelm.models.contents import shapes
        >>> tiny = Architecture("rnn", vocabulary_size=4, width=2, dense=2)
        >>> zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes(tiny).items()}
        >>> model = NumpyModel(tiny, WordVocabulary(["", "[UNK]", "good", "bad"], "words"), zeros)
        >>> model.next_token_distribution([[2]]).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(
        self,
        architecture: Architecture,
        vocabulary: StoredVocabulary,
        weights: Weights,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        check_fit(architecture, vocabulary, weights)
        self.architecture = architecture
        self.vocabulary = vocabulary
        self.manifest: dict[str, Any] = dict(manifest or {})
        self.default_prompt: str | None = self.manifest.get("prompt")
        self.context_length: int = architecture.context_length
        self._network = NETWORKS[architecture.kind](architecture, weights)

    def _facts(self) -> dict[str, str]:
        return {"architecture": self.architecture.kind} | super()._facts()

    @property
    def matrices(self) -> list[Matrix]:
        """The matrices that every new token is multiplied with."""
        return self._network.matrices

    def products(self, batch: int) -> list[list[Callable[[], object]]]:
        """Return the matrix products of a step on their own, for benchmarks.

        Args:
            batch: the number of texts.
        """
        return bare_products(self.matrices, batch)

    def start(self, tokens: ArrayLike) -> NumpySession:
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        return NumpySession(
            self._network, SlidingWindow(tokens, self.vocabulary, self.context_length)
        )


class NumpySession(DrawsAhead):
    """A decoding session: the texts of a batch, and the cache of their window.

    Tokens are processed only when a result depends on them, so it costs nothing to extend, rewind
    or reduce a session. One exception: a single new token after processed ones, as in decoding, is
    processed at once in the background. Forks of one text are processed as one text until their
    tokens differ, so all the time under a greedy sampler.
    """

    def __init__(self, network: Network, window: SlidingWindow) -> None:
        self._network = network
        self._window = window
        self._copies = 1  # the rows of each text; more than 1 only if there is just one text
        self._cache = network.new_cache(len(window.texts))
        # The cache ends at this position of the longest text, and as far from the end of every
        # other text. It begins where the windows began at the length `_cached_at`.
        self._processed = self._cached_at = 0
        self._outputs: Array = np.empty((len(window.texts), 0, 0), dtype=np.float32)
        self._logits: Array | None = None
        self._background: BackgroundStep | None = None
        # The draws of `_blocks` in the background and their process; None without any. The length
        # of the texts that the first draws read.
        self._drawing: tuple[Any, int] | None = None
        self._ahead_from = 0

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        The array is handed over, not copied; a second call computes it again.
        """
        logits, self._logits = self._stored_logits(), None
        return self._by_row(logits)

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        return self._by_row(self._network.logits(self._hidden(count)))

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at each of the last tokens."""
        return self._by_row(self._hidden(count))

    def _append(self, tokens: ArrayLike, following: NextDraws | None) -> None:
        self._finish_background()  # the background step reads the window and writes the cache
        self._make_room()
        if self._copies > 1:
            tokens = self._of_texts(np.asarray(tokens))
        before = self._window.length
        self._window.extend(tokens)
        if self._window.length > before:
            self._outputs, self._logits = self._outputs[:, :0], None
        # One token after processed ones, as in decoding: begin at once, while the caller works.
        # Several tokens may still be rewound before logits are needed.
        if self._window.length == before + 1 and self._processed == before:
            self._begin(following)

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._finish_background()
        self._window.rewind(count)
        self._processed = min(self._processed, self._window.length)
        if count:
            self._outputs, self._logits = self._outputs[:, :-count], None

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        batch = len(self._window.texts) * self._copies
        selected: Ids = np.arange(batch)[np.asarray(rows, dtype=np.int64)]
        if np.array_equal(selected, np.arange(batch)):
            return
        # Forks of a single text stay one text until their tokens differ: a prompt for 64 samples
        # is processed once, and its cache is not copied before the first draw.
        self._stop_ahead()
        if len(self._window.texts) == 1 and len(selected):
            self._copies = len(selected)
            return
        self._finish_background()
        # Forks share the logits of their row: compute them once, before the fork.
        if len(selected) > batch:
            self._stored_logits()
        self._copies = 1
        self._select_texts(selected)

    def join(self, other: Session) -> None:
        """Append the rows of another session of this model.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        self.join_many(other)

    def join_many(self, *others: Session) -> None:
        """Append the rows of other sessions of this model; no row is copied more than once.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        sessions = [self]
        for other in others:
            if other is self or getattr(other, "_network", None) is not self._network:
                raise UsageError("join takes another session of the same model")
            assert isinstance(other, NumpySession)
            sessions.append(other)
        for session in sessions:
            session._finish_background()
            length = session._window.length
            if session._cached_at != length:  # the cache may be a later window's
                session._outputs = session._outputs[:, :0]
            if not session._processed == session._cached_at == length:
                session._last_outputs(1)
            session._copies_to_texts()
        self._make_room()  # the other rows are copied from wherever they are
        times = [session._cached_time() for session in sessions]
        self._cache = self._network.join([session._cache for session in sessions], times)
        self._window.join(*(session._window for session in sessions[1:]))
        self._processed = self._cached_at = self._window.length
        # What a session no longer has, such as logits that were handed over, is computed again only
        # on request.
        logits = [session._logits for session in sessions if session._logits is not None]
        self._logits = np.concatenate(logits) if len(logits) == len(sessions) else None
        outputs = [session._outputs[:, -1:] for session in sessions]
        are_there = all(each.size for each in outputs)
        nothing: Array = np.empty((len(self._cache), 0, 0), dtype=np.float32)
        self._outputs = np.concatenate(outputs) if are_there else nothing

    def fork(self) -> NumpySession:
        """Return a copy of the session; a change to one of the two leaves the other as it is."""
        self._stored_logits()  # before the fork, so that they are computed once
        other, time = copy(self), self._cached_time()
        other._window = self._window.fork()
        # Without room for more tokens: forks of short prompts that wait in a cache would otherwise
        # hold a whole window each, 0.6 MB for 4 tokens of imdb.
        other._cache = self._cache[..., :time, :].copy()
        other._outputs = self._outputs[:, -1:].copy()
        other._logits = None if self._logits is None else self._logits.copy()
        return other

    def _make_room(self) -> None:
        """Enlarge the cache of a fork to a whole window."""
        cache, time = self._cache, self._cache.shape[-2]
        if time < self._network.cache_time:
            self._cache = self._network.new_cache(len(cache))
            self._cache[..., :time, :] = cache

    def _stored_logits(self) -> Array:
        """Return the logits of the next token, computed once and stored."""
        self._finish_background()
        if self._logits is None:
            self._last_outputs(1)  # the kernels compute the logits in the same call
        if self._logits is None:
            self._logits = self._network.logits(self._hidden(1))[:, 0]
        return self._logits

    def _hidden(self, count: int) -> Array:
        return self._network.hidden(self._last_outputs(count))

    def _by_row(self, of_texts: Array) -> Array:
        """Return an array with an entry for each row from one with an entry for each text."""
        return of_texts if self._copies == 1 else np.repeat(of_texts, self._copies, axis=0)

    def _of_texts(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """Return the tokens of each text; copies with different tokens become separate texts."""
        if tokens.shape[:1] == (self._copies,) and (tokens == tokens[0]).all():
            return tokens[:1]
        self._copies_to_texts()
        return tokens

    def _copies_to_texts(self) -> None:
        """Turn the rows that share one text into separate texts."""
        copies, self._copies = self._copies, 1
        if copies > 1:
            self._select_texts(np.zeros(copies, dtype=np.int64))

    def _select_texts(self, selected: Ids) -> None:
        self._cache = self._network.select(self._cache, selected, self._cached_time())
        before = self._window.length
        self._window.select(selected)
        gone = before - self._window.length  # if the longest text was dropped
        self._processed, self._cached_at = self._processed - gone, self._cached_at - gone
        self._outputs = self._outputs[selected]
        self._logits = None if self._logits is None else self._logits[selected]

    def _begin(self, following: NextDraws | None) -> None:
        """Start to process one token of each row in the background, if possible."""
        window = self._window
        last = last_pass(window, self._cached_at, self._processed)
        if last is None:
            return
        texts, new, times = last
        may_draw = new == self._copies == 1 and (times is None or window.is_whole)
        if may_draw and self._begin_ahead(following, texts.shape[1], times):
            return
        self._background = self._network.begin(texts, new, self._cache, 1, times)
        if self._background:
            self._processed = self._cached_at = window.length

    def _begin_ahead(self, following: NextDraws | None, time: int, times: Ids | None) -> bool:
        """Draw tokens in the background, after windows of this length; False if impossible."""
        size = self._network.most_ahead(len(self._window.texts))
        blocks = self._new_blocks(following, size, time, times) if size > 1 else None
        if blocks is None or len(blocks) < 2:
            return False
        self._begin_block(blocks)
        if self._drawing is not None:
            self._blocks, self._ahead_from = blocks, self._window.length
        return self._drawing is not None

    def _begin_block(self, blocks: TokenBlocks) -> None:
        window, times = blocks.window, blocks.times
        passes = self._network.passes(window, self._cache, times, len(blocks))
        self._drawing = (blocks.begin(passes), os.getpid()) if passes else None

    def _end_block(self, blocks: TokenBlocks, more: bool) -> int:
        drawing, self._drawing = self._drawing, None
        # In a forked child no thread draws, and passes that were begun can't be made again.
        if drawing is None or drawing[1] != os.getpid():
            return 0
        return loaded().end_ahead(drawing[0], more)

    def _stop_ahead(self) -> None:
        blocks = self._blocks
        super()._stop_ahead()
        if blocks is not None:
            self._processed = 0  # if it fails
            drawn = blocks.count + self._end_block(blocks, more=False)
            # Before a token is drawn, a step has read the one before it.
            read = self._ahead_from + drawn - 1
            self._processed = self._cached_at = min(read, self._window.length)

    def _finish_background(self) -> None:
        """Wait for the background step, if there is one, and store its results."""
        self._stop_ahead()
        background, self._background = self._background, None
        if background:
            # If waiting fails, nothing counts as processed.
            self._processed, processed = 0, self._processed
            background.wait()
            self._processed, self._logits = processed, background.logits[:, 0]
            # The earlier outputs may belong to another position of the window.
            self._outputs = background.outputs[:, -1:]

    def _last_outputs(self, count: int) -> Array:
        """Return the network's outputs at the last tokens; process these first if necessary."""
        self._finish_background()
        if not 1 <= count <= self._outputs.shape[1]:
            runs = self._window.runs
            passes = passes_of(self._window, count, self._cached_at, self._processed)
            self._make_room()
            # Empty until all are processed: an exception may interrupt the loop.
            self._processed = 0
            if count == 1 and len(runs) > 1:
                self._outputs = self._process_last(passes)
            else:
                parts = [*map(self._process, runs, passes)]
                self._outputs = parts[0] if len(parts) == 1 else np.concatenate(parts)
            self._processed = self._cached_at = self._window.length
        return self._outputs[:, -count:]

    def _process(self, rows: slice, passes: Iterable[Pass]) -> Array:
        """Process rows of one length; return the outputs at their last tokens.

        Args:
            rows: the rows.
            passes: from `passes_of`.
        """
        parts = []
        for start, stop, new, asked in passes:
            texts = self._window.texts[rows, start:stop]
            # Only a pass over all rows up to their last token gives the session's logits.
            last = int(self._window.is_equal and stop == self._window.length)
            parts.append(self._run(texts, new, self._cache[rows], last)[:, -asked:])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _process_last(self, passes: Iterable[Iterable[Pass]]) -> Array:
        """Process rows of different lengths; return the outputs at the last token of each.

        One call processes the last tokens of all rows. Where windows slid or prompts were not read,
        the tokens before the last are processed first.

        Args:
            passes: from `passes_of`, over the last token.
        """
        window = self._window
        for rows, ((start, stop, new, _),) in zip(window.runs, passes, strict=True):
            if new > 1:
                self._run(window.texts[rows, start : stop - 1], new - 1, self._cache[rows], 0)
        starts = window.starts(window.length)
        times = window.lengths - starts
        return self._run(window.windows(starts), 1, self._cache, 1, times)

    def _run(
        self, texts: Ids, new: int, cache: Array, asked: int, times: Ids | None = None
    ) -> Array:
        """Process the last tokens of rows; store the logits after the last `asked` tokens."""
        if not native.kernels:
            return self._network.process(texts, new, cache, times)
        # The logits cost little in the same call.
        outputs, logits = self._network.process_with_logits(texts, new, cache, asked, times)
        self._logits = logits[:, 0] if asked else None
        return outputs

    def _cached_time(self) -> int:
        """Return the length of the longest cached range."""
        return cached_time(self._window, self._cached_at, self._processed)
