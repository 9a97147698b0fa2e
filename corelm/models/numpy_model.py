"""A model of corelm's own kinds in NumPy, without Keras, with a key/value cache.

A row's logits are the same to the last bit whichever other rows are decoded with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, native, softmax
from corelm.models.architectures import Architecture
from corelm.models.networks import NETWORKS
from corelm.models.networks.base import BackgroundStep, Network
from corelm.models.networks.layers import Matrix, Panels, Weights
from corelm.models.sliding_window import SlidingWindow
from corelm.models.vocabularies import StoredVocabulary
from corelm.models.weights import check_fit


class NumpyModel:
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
        >>> from corelm.word_vocabulary import WordVocabulary
        >>> from corelm.models.weights import shapes
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

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Map (batch, time) ids to (batch, vocabulary) probabilities."""
        return softmax(self.start(tokens).next_logits())

    def start(self, tokens: ArrayLike) -> NumpySession:
        """Start a decoding session for (batch, time) ids."""
        return NumpySession(
            self._network, SlidingWindow(tokens, self.vocabulary, self.context_length)
        )


class NumpySession:
    """A decoding session: the texts of a batch, and the cache of their window.

    Tokens are processed when an answer depends on them, so that a session may be extended, rewound
    and cut down at no cost. Only if all earlier tokens are processed, as in decoding, a single new
    token is processed at once in the background. Forks of one text are processed once for as long
    as they get the same tokens, as under a greedy sampler.
    """

    def __init__(self, network: Network, window: SlidingWindow) -> None:
        self._network = network
        self._window = window
        self._copies = 1  # the number of rows for each text; more than 1 only where there is one
        self._cache = network.new_cache(len(window.texts))
        self._start = self._processed = 0  # the cache covers this range of the texts
        self._outputs: Array = np.empty((len(window.texts), 0, 0), dtype=np.float32)
        self._logits: Array | None = None
        self._background: BackgroundStep | None = None

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        The array is handed over, not copied; asked again, the session computes it again.
        """
        logits, self._logits = self._kept_logits(), None
        return self._by_row(logits)

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        return self._by_row(self._network.logits(self._hidden(count)))

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at each of the last tokens."""
        return self._by_row(self._hidden(count))

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        self._finish_background()  # it reads the window and writes the cache
        if self._copies > 1:
            tokens = self._of_texts(np.asarray(tokens))
        before = self._window.length
        self._window.extend(tokens)
        if self._window.length > before:
            self._outputs, self._logits = self._outputs[:, :0], None
        # One token after processed ones, as in decoding: begin at once, while the caller works.
        # Several tokens may still be rewound before anybody asks for logits.
        if self._window.length == before + 1 and self._processed == before:
            start, stop, asked = next(self._window.spans(1))
            texts, new = self._unprocessed(start, stop, asked)
            self._background = self._network.begin(texts, new, self._cache, asked)
            if self._background:
                self._start, self._processed = start, stop

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._finish_background()
        self._window.rewind(count)
        self._processed = min(self._processed, self._window.length)
        # The window may now begin before the cached range, of which nothing is left.
        if self._processed <= self._start:
            self._start = self._processed = 0
        if count:
            self._outputs, self._logits = self._outputs[:, :-count], None

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        batch = len(self._window.texts) * self._copies
        kept: NDArray[np.int64] = np.arange(batch)[np.asarray(rows, dtype=np.int64)]
        if np.array_equal(kept, np.arange(batch)):
            return
        # Forks of a single text stay one text until their tokens differ: a prompt for 64 samples
        # is processed once, and its cache is not copied before the first draw.
        if len(self._window.texts) == 1 and len(kept):
            self._copies = len(kept)
            return
        self._finish_background()
        # Forks share the logits of their row: compute them once, before the fork.
        if len(kept) > batch:
            self._kept_logits()
        self._copies = 1
        self._select_texts(kept)

    def _kept_logits(self) -> Array:
        """Return the logits of the next token, and keep them."""
        self._finish_background()
        if self._logits is None:
            self._last_outputs(1)  # with kernels it also sets the logits
        if self._logits is None:
            self._logits = self._network.logits(self._hidden(1))[:, 0]
        return self._logits

    def _hidden(self, count: int) -> Array:
        return self._network.hidden(self._last_outputs(count))

    def _by_row(self, of_texts: Array) -> Array:
        """Return an array with an entry for each row from one with an entry for each text."""
        return of_texts if self._copies == 1 else np.repeat(of_texts, self._copies, axis=0)

    def _of_texts(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """Return the tokens of each text; copies that get different ones become texts."""
        if tokens.shape[:1] == (self._copies,) and (tokens == tokens[0]).all():
            return tokens[:1]
        copies, self._copies = self._copies, 1
        self._select_texts(np.zeros(copies, dtype=np.int64))
        return tokens

    def _select_texts(self, kept: NDArray[np.int64]) -> None:
        self._cache = self._network.select(self._cache, kept, self._processed - self._start)
        self._window.select(kept)
        self._outputs = self._outputs[kept]
        self._logits = None if self._logits is None else self._logits[kept]

    def _finish_background(self) -> None:
        """Wait for the step in the background, if there is one, and keep its results."""
        background, self._background = self._background, None
        if background:
            # If waiting fails, the step counts as not processed.
            self._processed, processed = self._start, self._processed
            background.wait()
            self._processed, self._logits = processed, background.logits[:, 0]
            # The earlier outputs may belong to another position of the window.
            self._outputs = background.outputs[:, -1:]

    def _last_outputs(self, count: int) -> Array:
        """Return the network's outputs at the last tokens, which it processes if need be."""
        self._finish_background()
        if not 1 <= count <= self._outputs.shape[1]:
            parts = [self._process(*span) for span in self._window.spans(count)]
            self._outputs = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return self._outputs[:, -count:]

    def _process(self, start: int, stop: int, asked: int) -> Array:
        """Process the rest of a window; return the outputs at its last `asked` tokens."""
        texts, new = self._unprocessed(start, stop, asked)
        if native.kernels:  # the logits cost little in the same call
            last = int(stop == self._window.length)
            outputs, logits = self._network.process_with_logits(texts, new, self._cache, last)
            self._logits = logits[:, 0] if last else None
        else:
            outputs = self._network.process(texts, new, self._cache)
        self._start, self._processed = start, stop
        return outputs[:, -asked:]

    def _unprocessed(self, start: int, stop: int, asked: int) -> tuple[NDArray[np.int64], int]:
        """Return a window, and the number of tokens at its end that are to be processed."""
        # A window that slid has new positions, so all of it is processed again. The asked tokens
        # are always processed: their outputs are wanted, not their cache.
        processed = self._processed if start == self._start else start
        return self._window.texts[:, start:stop], stop - min(processed, stop - asked)


def bare_products(matrices: Sequence[Matrix], batch: int) -> list[list[Callable[[], object]]]:
    """Return calls that multiply a batch with each matrix, by NumPy and by the kernels.

    Args:
        matrices: the shapes, and whether the kernels store them in half precision.
        batch: the number of vectors multiplied with each matrix.

    Returns:
        The calls of NumPy; then the calls of the kernels, if there are kernels.
    """
    in_numpy: list[Callable[[], object]] = []
    in_kernels: list[Callable[[], object]] = []
    for inputs, units, halves in matrices:
        x, out = _filled(1, batch, inputs), _filled(1, batch, units)
        number = 1 / 2 if halves else 1 / 3  # a half holds 1/2 exactly, and 1/3 not
        matrix = _filled(inputs, units, number=number)
        in_numpy.append(partial(np.matmul, x, matrix, out=out))
        if native.kernels:
            in_kernels.append(partial(Panels(matrix), x, None, 0, None, out))
    return [in_numpy, in_kernels] if native.kernels else [in_numpy]


def _filled(*shape: int, number: float = 0.5) -> Array:
    """Return an array in memory of its own, as weights are."""
    return np.full(shape, number, dtype=np.float32)
