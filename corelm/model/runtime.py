"""A model of corelm's own kinds in plain NumPy: one token at a time, with a memory.

It needs neither Keras nor TensorFlow. A row's logits are the same to the last bit whichever
other rows are decoded with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.distributions import Array, softmax
from corelm.model.networks import NETWORKS, Network, Weights
from corelm.model.presets import Architecture
from corelm.model.vocabulary import WordVocabulary
from corelm.model.weights import check
from corelm.model.window import Window


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
        self.context_length = architecture.context_length
        self._network = NETWORKS[architecture.kind](architecture, weights)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """(batch, time) ids to (batch, vocabulary) probabilities."""
        return softmax(self.start(tokens).logits)

    def start(self, tokens: ArrayLike) -> NumpySession:
        """A decoding session for (batch, time) ids."""
        return NumpySession(self._network, Window(tokens, self.vocabulary, self.context_length))


class NumpySession:
    """Decoding under way: the window of each row, and what the network remembers of it."""

    def __init__(self, network: Network, window: Window) -> None:
        self._network = network
        self._window = window
        batch, time = window.tokens.shape
        self._memory = network.memory(batch)
        self.logits = network.read(window.tokens, time, self._memory)
        """(batch, vocabulary): the scores of the next token of each row."""

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        new = self._window.extend(tokens)
        if new:
            self.logits = self._network.read(self._window.tokens, new, self._memory)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        kept: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        if np.array_equal(kept, np.arange(len(self.logits))):
            return
        self._memory = self._network.select(self._memory, kept, self._window.tokens.shape[1])
        self._window.select(kept)
        self.logits = self.logits[kept]
