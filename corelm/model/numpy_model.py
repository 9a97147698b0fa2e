"""A model of corelm's own kinds without Keras: one token at a time, with a memory.

It needs neither Keras nor TensorFlow. A row's logits are the same to the last bit whichever
other rows are decoded with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import native
from corelm.model.architectures import Architecture
from corelm.model.networks import NETWORKS
from corelm.model.networks.base import Ahead, Network
from corelm.model.networks.layers import Matrix, Weights
from corelm.model.sliding_window import SlidingWindow
from corelm.model.vocabulary import WordVocabulary
from corelm.model.weights import check
from corelm.numerics.distributions import Array, softmax
from corelm.threads import spread

ROWS = 2
"""Rows of which reading a token is worth another core."""


class NumpyModel:
    """A language model from an architecture and its weights.

    Args:
        architecture: the shape of the network.
        vocabulary: its tokens.
        weights: float32 arrays by name, as `weights.shapes` lists them.
        manifest: what its bundle says of `training` and `figures`; empty where there is none.

    Raises:
        ModelFileError: weights or a vocabulary that are not those of the architecture.

    Example:
        >>> from corelm.model.weights import shapes
        >>> tiny = Architecture("rnn", vocabulary_size=4, width=2, dense=2)
        >>> zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes(tiny).items()}
        >>> model = NumpyModel(tiny, WordVocabulary(["", "[UNK]", "good", "bad"], "words"), zeros)
        >>> model.next_token_distribution([[2]]).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(
        self,
        architecture: Architecture,
        vocabulary: WordVocabulary,
        weights: Weights,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        check(architecture, vocabulary, weights)
        self.architecture = architecture
        self.vocabulary = vocabulary
        self.manifest = dict(manifest or {})
        self.default_prompt: str | None = self.manifest.get("prompt")
        self.context_length = architecture.context_length
        self._network = NETWORKS[architecture.kind](architecture, weights)

    @property
    def matrices(self) -> list[Matrix]:
        """What every new token is multiplied with."""
        return self._network.matrices

    def products(self, batch: int) -> list[list[Callable[[], object]]]:
        """Return the matrix products of a step on their own, for benchmarks.

        Args:
            batch: the number of texts.
        """
        from corelm.model.networks.products import bare_products

        return bare_products(self.matrices, batch)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """(batch, time) ids to (batch, vocabulary) probabilities."""
        return softmax(self.start(tokens).next_logits())

    def start(self, tokens: ArrayLike) -> NumpySession:
        """A decoding session for (batch, time) ids."""
        return NumpySession(
            self._network, SlidingWindow(tokens, self.vocabulary, self.context_length)
        )


class NumpySession:
    """Decoding under way: the texts, and what the network remembers of their window.

    Tokens are read when something is asked about them, so that a session may be extended,
    rewound and cut down without reading what is not needed. Only where all earlier ones were read,
    as in decoding, is one more token read at once, by another thread.
    """

    def __init__(self, network: Network, window: SlidingWindow) -> None:
        self._network = network
        self._window = window
        self._memory = network.memory(len(window.texts))
        self._start = self._read = 0  # the memory is that of this part of the texts
        self._outputs: Array = np.empty((len(window.texts), 0, 0), dtype=np.float32)
        self._logits: Array | None = None
        self._ahead: Ahead | None = None  # what is being read

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        The array is handed over, not copied; asked again, the session computes it again.
        """
        logits, self._logits = self._kept_logits(), None
        return logits

    def last_logits(self, count: int) -> Array:
        """(batch, count, vocabulary): the scores after each of the last tokens."""
        return self._network.logits(self.hidden_states(count))

    def hidden_states(self, count: int) -> Array:
        """(batch, count, width): the last hidden states at each of the last tokens."""
        return self._network.hidden(self._outputs_of(count))

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        self._settle()
        before = self._window.length
        self._window.extend(tokens)
        if self._window.length > before:
            self._outputs, self._logits = self._outputs[:, :0], None
        if self._window.length == before + 1 and self._read == before:
            start, stop, asked = next(self._window.spans(1))
            texts, new = self._unread(start, stop, asked)
            self._ahead = self._network.begin(texts, new, self._memory, asked)
            if self._ahead:
                self._start, self._read = start, stop

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._settle()
        self._window.rewind(count)
        self._read = min(self._read, self._window.length)
        if self._read <= self._start:
            self._start = self._read = 0
        if count:
            self._outputs, self._logits = self._outputs[:, :-count], None

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        kept: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        batch = len(self._window.texts)
        if np.array_equal(kept, np.arange(batch)):
            return
        self._settle()
        # Forks share the logits of their row: compute them once, before the fork.
        logits = self._kept_logits() if len(kept) > batch else self._logits
        self._memory = self._network.select(self._memory, kept, self._read - self._start)
        self._window.select(kept)
        self._outputs = self._outputs[kept]
        self._logits = None if logits is None else logits[kept]

    def _kept_logits(self) -> Array:
        """Return the logits of the next token, and keep them."""
        self._settle()
        if self._logits is None:
            self._outputs_of(1)  # which may bring them
        if self._logits is None:
            self._logits = self.last_logits(1)[:, 0]
        return self._logits

    def _settle(self) -> None:
        """Wait for what is being read."""
        ahead, self._ahead = self._ahead, None
        if ahead:
            self._read, read = self._start, self._read  # should it fail
            ahead.wait()
            self._read, self._logits = read, ahead.logits[:, 0]
            self._outputs = ahead.outputs[:, -1:]  # others were seen through another window

    def _outputs_of(self, count: int) -> Array:
        """What came out for each of the last tokens, which are read if they were not."""
        self._settle()
        if not 1 <= count <= self._outputs.shape[1]:
            parts = [self._see(*span) for span in self._window.spans(count)]
            self._outputs = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return self._outputs[:, -count:]

    def _see(self, start: int, stop: int, asked: int) -> Array:
        """Read a window as far as it was not read yet; returns the last `asked` outputs."""
        (texts, new), memory = self._unread(start, stop, asked), self._memory
        if native.kernels:  # which see to the cores themselves
            last = int(stop == self._window.length)
            outputs, logits = self._network.advance(texts, new, memory, last)
            self._logits = logits[:, 0] if last else None
        else:
            outputs = np.concatenate(
                spread(
                    lambda some: self._network.read(texts[some], new, memory[some]),
                    len(texts),
                    ROWS,
                )
            )
        self._start, self._read = start, stop
        return outputs[:, -asked:]

    def _unread(self, start: int, stop: int, asked: int) -> tuple[NDArray[np.int64], int]:
        """A window, and how many tokens at its end are to be read."""
        read = self._read if start == self._start else start
        return self._window.texts[:, start:stop], stop - min(read, stop - asked)
