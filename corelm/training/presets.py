"""The networks that `corelm train --preset` names, each with its recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

from corelm.models.networks import Architecture

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


@dataclass(frozen=True)
class Preset:
    """A network and its recipe."""

    architecture: Architecture
    recipe: Recipe
    help: str


PRESETS = {
    "book": Preset(
        Architecture("book"),
        Recipe("rmsprop", 0.001, 256, "words", packed=False),
        "the chapter's network and recipe, 9.8 million weights",
    ),
    "default": Preset(
        Architecture("default", dense=1024, heads=4, blocks=3),
        Recipe("muon", 0.007, 64, "words+punctuation", packed=True),
        "pre-norm blocks, tied embeddings, Muon: better and faster",
    ),
    "small": Preset(
        Architecture("default", width=64, dense=256, blocks=2),
        Recipe("muon", 0.007, 64, "words+punctuation", packed=True),
        "`default` with a quarter of its width, for little text",
    ),
    "gpt2": Preset(
        Architecture("gpt2", 4096, 256, width=128, dense=512, heads=4, blocks=4),
        Recipe("muon", 0.007, 32, "byte-pairs", packed=True),
        "GPT-2's architecture and tokens, small; it can be exported to other engines",
    ),
    "rnn": Preset(
        Architecture("rnn", dense=512, heads=1),
        Recipe("rmsprop", 0.001, 64, "words", packed=False),
        "a recurrent network (GRU)",
    ),
}

LITTLE_TEXT_BYTES = 300_000
"""Bytes; for less text `small` is about as good as `default`, and learns several times faster."""


def preset_for(size: int) -> str:
    """Return the name of the preset for this many bytes of text."""
    return "small" if size < LITTLE_TEXT_BYTES else "default"
