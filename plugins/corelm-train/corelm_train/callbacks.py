"""Keras callbacks: a text at every temperature after each epoch, progress and checkpoints."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from corelm import LanguageModel, generate
from corelm_train.devices import undistributed

if TYPE_CHECKING:
    from corelm_train.run import TrainingRun


class TextGeneration(keras.callbacks.Callback):
    """Write a text at every temperature after each epoch, as the chapter's callback does.

    Unlike the chapter's, it continues a prompt of any number of words, and uses the temperature.
    It works for any Keras model that `KerasLanguageModel` can wrap.

    Args:
        model: the language model around the network that is being trained.
        prompt: the beginning of every text.
        temperatures: the temperatures; one text is written at each.
        length: the number of tokens per text.
        report: called with the epoch, from 1, and a dictionary from temperature to text.
        seed: the random seed, the same for each temperature and epoch.
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


class ProgressAndCheckpoints(keras.callbacks.Callback):
    """Report each step and epoch, and write checkpoints at the set interval."""

    def __init__(self, run: TrainingRun, texts: TextGeneration) -> None:
        super().__init__()
        self._run, self._texts = run, texts

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        run = self._run
        run.steps_done += 1
        run.report.step(run.steps_done, run.steps, float((logs or {}).get("loss", np.nan)))
        if run.steps_done % run.settings.checkpoint_steps == 0:
            run.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._run.end_epoch(float((logs or {}).get("loss", np.nan)))
        with undistributed():
            self._texts.on_epoch_end(epoch)
        if self._run.is_over:
            self.model.stop_training = True


class FinishSteps(keras.callbacks.Callback):
    """Hold Ctrl-C back until a step is done; a context around Keras's `fit`.

    JAX donates the weights to a step, and an interrupted step does not return them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held, self._handler = False, signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        self._acts = main and callable(self._handler) and keras.backend.backend() == "jax"

    def __enter__(self) -> FinishSteps:
        return self

    def __exit__(self, *error: object) -> None:
        if self._acts:
            signal.signal(signal.SIGINT, self._handler)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            signal.signal(signal.SIGINT, self._hold)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            signal.signal(signal.SIGINT, self._handler)
            if self._held:
                signal.raise_signal(signal.SIGINT)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._held = True
