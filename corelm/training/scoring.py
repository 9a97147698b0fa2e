"""Score rows of tokens with a Keras network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from corelm.models.vocabularies import StoredVocabulary
from corelm.reports.human_baseline import Scores
from corelm.toolkit import never_drawn
from corelm.training.rows import TokenRows

ROWS_AT_ONCE = 50

LEAST_PROBABILITY = 1e-30
"""Stands for a probability that rounded to 0, so that its surprisal is finite."""


class Scorer:
    """A compiled function that scores rows with one network.

    Make one for each run: backends compile every such function again, and TensorFlow warns if
    there are many.

    Args:
        network: a Keras network from `corelm.models.keras_layers.build`.
        vocabulary: its tokens; those that are never drawn have the first ids.
    """

    def __init__(self, network: Any, vocabulary: StoredVocabulary) -> None:
        rows = keras.Input((None,), dtype="int32", name="rows")
        score = _TokenScores(len(never_drawn(vocabulary)), gives_probabilities(network))
        self._scored = keras.Model(rows, score(network(rows[:, :-1]), rows[:, 1:]))

    def __call__(self, rows: TokenRows) -> Scores:
        """Score (rows, context + 1) token ids; `Scores` leaves padding out."""
        parts = [
            self._scored.predict_on_batch(rows[start : start + ROWS_AT_ONCE].astype(np.int32))
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        surprisal, entropy, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Scores(rows[:, 1:], surprisal, entropy, kept)


class _TokenScores(keras.layers.Layer):
    """Surprisals, entropies and kept mass of next-token scores: the arrays of `Scores`."""

    def __init__(self, first_drawn: int, probabilities: bool) -> None:
        super().__init__(dtype="float32")
        self._first_drawn, self._probabilities = first_drawn, probabilities
        self.supports_masking = True

    def call(self, scores: Any, targets: Any) -> Any:
        if self._probabilities:
            scores = ops.log(ops.maximum(scores, LEAST_PROBABILITY))
        surprisal = ops.sparse_categorical_crossentropy(targets, scores, from_logits=True)
        drawn = scores[:, :, self._first_drawn :]
        log_p = ops.log_softmax(drawn)
        entropy = -ops.sum(ops.exp(log_p) * log_p, axis=-1)
        return surprisal, entropy, ops.logsumexp(drawn, -1) - ops.logsumexp(scores, -1)


def gives_probabilities(network: Any) -> bool:
    """Return True for a network that ends with a softmax, False for one that returns logits."""
    return bool(network.layers[-1].name == "probabilities")
