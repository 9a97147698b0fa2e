"""The recipe of a training run: plain numbers, without Keras."""

from __future__ import annotations

from dataclasses import dataclass


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
