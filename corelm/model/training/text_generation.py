"""A Keras callback that writes a text at every temperature after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from corelm.generation.generate import generate
from corelm.language_model import LanguageModel


class TextGeneration(keras.callbacks.Callback):
    """After each epoch, write a text at every temperature: the chapter's callback, mended.

    Works for any Keras model that `KerasLanguageModel` can wrap.

    Args:
        model: the language model around the network that is being trained.
        prompt: what the texts go on from, of any number of words.
        temperatures: one text each.
        length: tokens per text.
        report: called with the epoch, from 1, and a dictionary from temperature to text.
        seed: decides the luck; the same for each temperature and epoch.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: str = "This movie",
        temperatures: Sequence[float] = (0.2, 0.5, 0.7, 1.0, 1.5),
        length: int = 50,
        report: Any = print,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.language_model = model
        self.prompt, self.temperatures = prompt, tuple(temperatures)
        self.length, self.report, self.seed = length, report, seed

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.report(epoch + 1, {t: self._text(t) for t in self.temperatures})

    def _text(self, temperature: float) -> str:
        [text] = generate(
            self.language_model,
            self.prompt,
            sampler=f"temperature(t={temperature!r})",
            length=self.length,
            seed=self.seed,
        )
        return self.prompt + text.text
