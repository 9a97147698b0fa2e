"""A program that trains a tiny network on JAX; `test_distributed_training.py` runs it.

    KERAS_BACKEND=jax python train_on_jax.py TEXTS FOLDER

It trains on all devices, stops in the middle as Ctrl-C does, and resumes. Then it trains once more
on one device. It writes the weights in float32 to `shared.npz` and `alone.npz`.
"""

from __future__ import annotations

import sys

sys.modules["tensorflow"] = None  # type: ignore[assignment]  # JAX learns byte pairs without it

from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from corelm_train import PRESETS, TrainingRun, TrainingSettings, train, weights_of  # noqa: E402
from corelm_train.progress import Reporter  # noqa: E402


class Stop(Reporter):
    """Interrupts a run at a step."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at

    def step(self, done: int, total: int, loss: float) -> None:
        if done == self._at:
            raise KeyboardInterrupt


def settings(texts: str, out: Path, distribute: str | None) -> TrainingSettings:
    return TrainingSettings(
        data=texts, out=out, preset="rnn", vocabulary_size=265, prompt="a b", length=2,
        temperatures=(1.0,), precision="float32", checkpoint_steps=2, distribute=distribute,
    )  # fmt: skip


def main(texts: str, folder: Path) -> None:
    preset = PRESETS["rnn"]
    network = replace(preset.architecture, context_length=6, width=8, dense=16)
    recipe = replace(preset.recipe, batch=4, tokens="byte-pairs", packed=True)
    PRESETS["rnn"] = replace(preset, architecture=network, recipe=recipe)
    finish = TrainingRun.finish

    def keep_weights(run: TrainingRun) -> None:
        assert len(run.rows) % 4 == 3, "the last batch should not be divisible"
        np.savez(run.settings.out.with_suffix(".npz"), **weights_of(run.network))
        finish(run)

    TrainingRun.finish = keep_weights
    shared = settings(texts, folder / "shared", "data")
    try:
        train(shared, Stop(at=3))
    except KeyboardInterrupt:
        train(shared, Stop(), resume=True)
    train(settings(texts, folder / "alone", None), Stop())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
