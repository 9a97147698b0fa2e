"""Score rows of tokens with a Keras network."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from corelm.model.training.human_baseline import Scores
from corelm.model.training.rows import TokenRows
from corelm.model.vocabulary import WordVocabulary

CONTEXTS_AT_ONCE = 50


def score(network: Any, rows: TokenRows, vocabulary: WordVocabulary) -> Scores:
    """How a network takes the tokens of rows: (rows, context + 1) ids, padding left out."""
    logits = not gives_probabilities(network)

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def of(batch: Any) -> Any:
        outputs = tf.cast(network(batch[:, :-1], training=False), tf.float32)
        scores = outputs if logits else tf.math.log(tf.maximum(outputs, 1e-30))
        surprisal = tf.nn.sparse_softmax_cross_entropy_with_logits(batch[:, 1:], scores)
        # What can be drawn: neither padding nor the unknown word, ids 0 and 1.
        drawable = tf.nn.log_softmax(scores[:, :, 2:])
        entropy = -tf.reduce_sum(tf.exp(drawable) * drawable, axis=-1)
        kept = tf.reduce_logsumexp(scores[:, :, 2:], -1) - tf.reduce_logsumexp(scores, -1)
        return surprisal, entropy, kept

    parts = []
    for start in range(0, len(rows), CONTEXTS_AT_ONCE):
        batch = rows[start : start + CONTEXTS_AT_ONCE].astype(np.int32)
        parts.append([np.asarray(part) for part in of(tf.constant(batch))])
    surprisal, entropy, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Scores(rows[:, 1:], surprisal, entropy, kept)


def gives_probabilities(network: Any) -> bool:
    return bool(network.layers[-1].name == "probabilities")
