"""Score rows of tokens with a Keras network."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from corelm.language_model import never_drawn
from corelm.model.training.human_baseline import Scores
from corelm.model.training.rows import TokenRows
from corelm.model.vocabularies import StoredVocabulary

ROWS_AT_ONCE = 50

LEAST_PROBABILITY = 1e-30
"""Stands for a probability that rounded to 0, so that its surprisal is finite."""


class Scorer:
    """A compiled function that scores rows with one network.

    Make one for each run: TensorFlow compiles every such function again, and warns if there are
    many.

    Args:
        network: a Keras network from `corelm.model.keras_layers.build`.
        vocabulary: its tokens; those that are never drawn have the first ids.
    """

    def __init__(self, network: Any, vocabulary: StoredVocabulary) -> None:
        self._network = network
        self._first_drawn = len(never_drawn(vocabulary))
        self._probabilities = gives_probabilities(network)
        self._compiled = tf.function(self._score, autograph=False, reduce_retracing=True)

    def __call__(self, rows: TokenRows) -> Scores:
        """Score (rows, context + 1) token ids; `Scores` leaves padding out."""
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = rows[start : start + ROWS_AT_ONCE].astype(np.int32)
            parts.append([np.asarray(part) for part in self._compiled(tf.constant(batch))])
        surprisal, entropy, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Scores(rows[:, 1:], surprisal, entropy, kept)

    def _score(self, batch: Any) -> Any:
        scores = tf.cast(self._network(batch[:, :-1], training=False), tf.float32)
        if self._probabilities:
            scores = tf.math.log(tf.maximum(scores, LEAST_PROBABILITY))
        surprisal = tf.nn.sparse_softmax_cross_entropy_with_logits(batch[:, 1:], scores)
        drawn = scores[:, :, self._first_drawn :]
        log_p = tf.nn.log_softmax(drawn)
        entropy = -tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)
        kept = tf.reduce_logsumexp(drawn, -1) - tf.reduce_logsumexp(scores, -1)
        return surprisal, entropy, kept


def gives_probabilities(network: Any) -> bool:
    """Return True for a network that ends with a softmax, False for one that returns logits."""
    return bool(network.layers[-1].name == "probabilities")
