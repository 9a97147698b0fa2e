"""The recipe of a training run: plain numbers, without Keras."""

from __future__ import annotations

from dataclasses import dataclass, replace

STEPS_PER_EPOCH = 16
"""Steps in an epoch of little text, if it has as many rows."""


@dataclass(frozen=True)
class Recipe:
    """The recipe of a training run.

    Attributes:
        optimizer: `rmsprop` (the chapter's) or `muon`.
        learning_rate: constant for rmsprop, the peak of a warm-up and cosine for muon.
        batch: rows per step.
        tokens: the style of tokens, a key of `corelm.models.vocabularies.TOKENS`.
        packed: True to train on every token of every text in full rows, False for one text a
            row, cut or padded.
    """

    optimizer: str
    learning_rate: float
    batch: int
    tokens: str
    packed: bool

    def for_rows(self, rows: int) -> Recipe:
        """Return the recipe with a batch that gives `STEPS_PER_EPOCH` steps, or the recipe's.

        Example:
            >>> recipe = Recipe("muon", 0.007, 64, "words", packed=True)
            >>> recipe.for_rows(100).batch, recipe.for_rows(100_000).batch
            (6, 64)
        """
        return replace(self, batch=max(1, min(self.batch, rows // STEPS_PER_EPOCH)))
