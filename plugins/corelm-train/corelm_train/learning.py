"""The optimizer of a recipe, shuffled batches of rows, and the scores of held-out rows.

A run passes them to Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from corelm.bundles import StoredVocabulary
from corelm.runs import ModelLogits
from corelm_stats.human_baseline import ModelScores
from corelm_train.material import TokenRows
from corelm_train.settings import Recipe

WARM_UP = 0.05
"""The share of the steps in which the learning rate rises to its peak."""
FINAL = 0.02
"""The learning rate at the last step, as a share of its peak."""
WEIGHT_DECAY = 0.05
UNDECAYED = ["scale", "gamma", "beta", "bias"]
"""Words in the names of variables without weight decay: norms and biases. Keras looks at a
variable's own name only, which doesn't say to which layer it belongs."""


def optimizer(recipe: Recipe, steps: int) -> Any:
    """Return the Keras optimizer of a recipe for a run of this many steps.

    Source: rmsprop as in the chapter; Muon, Jordan et al. 2024, with the scale of Liu et al.
    2025, arXiv 2502.16982, and a warm-up and cosine (Loshchilov & Hutter 2016, 1608.03983).
    """
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(recipe.learning_rate)
    warm_up = max(round(steps * WARM_UP), 1)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / warm_up,
        max(steps - warm_up, 1),
        alpha=FINAL,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    muon = keras.optimizers.Muon(
        rate,
        adam_beta_2=0.98,
        weight_decay=WEIGHT_DECAY,
        adam_weight_decay=WEIGHT_DECAY,
    )
    muon.exclude_from_weight_decay(var_names=UNDECAYED)
    return muon


class ShuffledBatches(keras.utils.PyDataset):
    """Batches of (inputs, targets) in an order that depends only on (seed, epoch).

    Args:
        rows: (rows, context + 1) token ids.
        batch: rows per batch.
        seed: decides the order.
        epoch: the number of the next epoch, from 0.
        skip: the number of batches of that epoch that are already done.
        fill: called with each batch of rows; adds rows of padding where devices share a batch.
    """

    def __init__(
        self,
        rows: TokenRows,
        batch: int,
        seed: int,
        epoch: int,
        skip: int = 0,
        fill: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._rows, self._batch, self._seed = rows, batch, seed
        self._epoch, self._skip, self._fill = epoch, skip, fill
        self._order = self._shuffle()

    def _shuffle(self) -> Any:
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._rows))

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch) - self._skip

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        start = (index + self._skip) * self._batch
        batch = self._rows[self._order[start : start + self._batch]].astype(np.int32)
        if self._fill is not None:
            batch = self._fill(batch)
        return batch[:, :-1], batch[:, 1:]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffle()


ROWS_AT_ONCE = 50

LEAST_PROBABILITY = 1e-30
"""Replaces a probability that was rounded to 0, so that its surprisal is finite."""


class Scorer:
    """A compiled function that scores rows with one network.

    Make one for each run: backends compile every such function again, and TensorFlow warns if
    there are many.

    Args:
        network: a Keras network from `corelm_train.keras_layers.build`.
        vocabulary: its tokens, with the tokens that are never drawn first.
    """

    def __init__(self, network: Any, vocabulary: StoredVocabulary) -> None:
        rows = keras.Input((None,), dtype="int32", name="rows")
        score = _TokenScores(len(ModelLogits(vocabulary).never), gives_probabilities(network))
        self._scored = keras.Model(rows, score(network(rows[:, :-1]), rows[:, 1:]))

    def __call__(self, rows: TokenRows) -> ModelScores:
        """Score (rows, context + 1) token ids; `ModelScores` leaves padding out."""
        parts = [
            self._scored.predict_on_batch(rows[start : start + ROWS_AT_ONCE].astype(np.int32))
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        surprisal, entropy, mass = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ModelScores(rows[:, 1:], surprisal, entropy, mass)


class _TokenScores(keras.layers.Layer):
    """A layer that computes the arrays of `ModelScores` from next-token scores."""

    def __init__(self, first_drawn: int, probabilities: bool) -> None:
        super().__init__(dtype="float32")
        self._first_drawn, self._probabilities = first_drawn, probabilities
        self.supports_masking = True

    def call(self, scores: Any, targets: Any) -> Any:
        if self._probabilities:
            scores = ops.log(ops.maximum(scores, LEAST_PROBABILITY))
        surprisal = ops.sparse_categorical_crossentropy(targets, scores, from_logits=True)
        drawn = scores[:, :, self._first_drawn :]
        log_p = ops.log_softmax(drawn)  # a sampler never draws the first tokens
        entropy = -ops.sum(ops.exp(log_p) * log_p, axis=-1)
        return surprisal, entropy, ops.logsumexp(drawn, -1) - ops.logsumexp(scores, -1)


def gives_probabilities(network: Any) -> bool:
    """Return True for a network that ends with a softmax, False for one that returns logits."""
    return bool(network.layers[-1].name == "probabilities")
