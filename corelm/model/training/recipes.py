"""How a network is trained: plain numbers, without Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: `rmsprop` (the chapter's) or `muon`.
        learning_rate: the constant one of rmsprop, the peak of a warm-up and cosine for muon.
        batch: rows per step.
        tokens: the style of tokens.
        packed: every token of every text in full rows; else one text a row, cut or padded.
    """

    optimizer: str
    learning_rate: float
    batch: int
    tokens: str
    packed: bool
