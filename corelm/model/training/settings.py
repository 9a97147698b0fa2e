"""What to train, on what, and how: no Keras, so that the command line can check it at once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from corelm.errors import UsageError
from corelm.model.architectures import Architecture
from corelm.model.training.presets import PRESETS
from corelm.model.training.recipes import Recipe
from corelm.model.vocabulary import STYLES

SAID_APART = {
    *("data", "preset", "epochs", "seed"),  # always said, and first
    *("out", "prompt", "temperatures", "length", "checkpoint_steps"),  # no part of the result
}
"""Settings that `TrainingSettings.command` does not list among those that differ."""


@dataclass(frozen=True)
class TrainingSettings:
    """What to train, on what, and how. `None` means: as the preset has it.

    Attributes:
        data: `imdb`, or a folder or file of texts.
        out: the folder to write the model to.
        preset: a key of `corelm.model.training.presets.PRESETS`.
        epochs: how often to go through the data.
        seed: decides the first weights and the order of the rows.
        prompt, temperatures, length: the texts to write after each epoch.
        tokens, vocabulary_size, context_length, batch, learning_rate: differ from the preset.
        held_out: share of the texts to hold out, where the data has no test half.
        precision: `float32`, `mixed_bfloat16`, or `auto`: whichever is faster here.
        checkpoint_steps: steps between two checkpoints.
    """

    data: str
    out: Path
    preset: str = "default"
    epochs: int = 1
    seed: int = 0
    prompt: str = "This movie"
    temperatures: tuple[float, ...] = (0.2, 0.5, 0.7, 1.0, 1.5)
    length: int = 50
    tokens: str | None = None
    vocabulary_size: int | None = None
    context_length: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    held_out: float = 0.05
    precision: str = "auto"
    checkpoint_steps: int = 500

    def resolve(self) -> tuple[Architecture, Recipe]:
        """The architecture and the recipe: the preset with what differs.

        Raises:
            UsageError: an unknown preset or style of tokens, or a size that makes no sense.
        """
        if self.preset not in PRESETS:
            raise UsageError(f"there is no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        if self.tokens is not None and self.tokens not in STYLES:
            raise UsageError(f"there are no tokens {self.tokens!r}; there are {', '.join(STYLES)}")
        sizes = {
            "epochs": self.epochs,
            "vocabulary_size": self.vocabulary_size,
            "context_length": self.context_length,
            "batch": self.batch,
            "checkpoint_steps": self.checkpoint_steps,
        }
        for name, size in sizes.items():
            if size is not None and size < (3 if name == "vocabulary_size" else 1):
                raise UsageError(f"{name.replace('_', ' ')} is too small: {size}")
        preset = PRESETS[self.preset]
        names = ("vocabulary_size", "context_length")
        architecture = replace(preset.architecture, **self._given(names))
        return architecture, replace(
            preset.recipe, **self._given(("tokens", "batch", "learning_rate"))
        )

    def command(self, corpus: str) -> str:
        """The command line that trains the same on a corpus of this name."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SAID_APART}
        default = {f.name: f.default for f in fields(self)}
        options = [
            f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
            for name, value in said.items()
            if value != default[name]
        ]
        preset = f"--preset {self.preset} --epochs {self.epochs} --seed {self.seed}"
        return " ".join([f"corelm train --data {shlex.quote(corpus)} {preset}", *options])

    def _given(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
