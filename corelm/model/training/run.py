"""Train a network with Keras's `fit`: recipes, checkpoints, the text after each epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from corelm.errors import TrainingError
from corelm.machine import platform_name
from corelm.model import bundle
from corelm.model.architectures import Architecture
from corelm.model.corpus import corpus
from corelm.model.keras_layers import build
from corelm.model.keras_model import KerasLanguageModel
from corelm.model.training.batches import ShuffledBatches
from corelm.model.training.checkpoint import Checkpoint, fingerprint
from corelm.model.training.human_baseline import human_figures
from corelm.model.training.optimizers import optimizer
from corelm.model.training.precision import precision
from corelm.model.training.progress import Reporter
from corelm.model.training.recipes import Recipe
from corelm.model.training.rows import TokenRows, opening_rows, packed_rows, padded_rows
from corelm.model.training.scoring import gives_probabilities, score
from corelm.model.training.settings import TrainingSettings
from corelm.model.training.text_generation import TextGeneration
from corelm.model.training.vectorization import learn_vocabulary
from corelm.native.cpu import cpu_limit

MEASURED = 2500
"""Held-out texts to measure on, at most."""


class _Progress(keras.callbacks.Callback):
    """Tell the reporter of each step, and the checkpoint when it is due."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        run = self._run
        run.report.step(run.steps_done, run.steps, float((logs or {}).get("loss", np.nan)))
        if run.steps_done % run.settings.checkpoint_steps == 0:
            run.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._run.save()
        self._run.report.measured(epoch + 1, self._run.perplexity())


def train(settings: TrainingSettings, report: Reporter, resume: bool = False) -> Path:
    """Train a model and write its bundle.

    Args:
        settings: what to train.
        report: is told of every step, measurement and text.
        resume: go on from the checkpoint that an interrupted run left beside `settings.out`.

    Returns:
        The folder of the bundle, `settings.out`.

    Raises:
        UsageError, DataError: settings or data that cannot be used.
        TrainingError: nothing to resume, or a checkpoint of other settings, vocabulary or data.
        KeyboardInterrupt: interrupted; a checkpoint was kept.
    """
    architecture, recipe = settings.resolve()
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(settings.seed)
    try:
        keras.config.set_dtype_policy(precision(settings.precision))
        run = Run(settings, architecture, recipe, report)
        run.begin(resume)
        run.fit()
        return run.finish()
    finally:
        keras.config.set_dtype_policy(policy)


class Run:
    """One training run: its data, its network, its checkpoint."""

    def __init__(
        self,
        settings: TrainingSettings,
        architecture: Architecture,
        recipe: Recipe,
        report: Reporter,
    ) -> None:
        self.settings, self.recipe, self.report = settings, recipe, report
        report.note(f"reading {settings.data}")
        self.corpus = corpus(settings.data, settings.held_out)
        report.note(f"learning the vocabulary of {len(self.corpus.train):,} texts")
        self.vocabulary = learn_vocabulary(
            self.corpus.train, recipe.tokens, architecture.vocabulary_size, end=recipe.packed
        )
        self.architecture = replace(architecture, vocabulary_size=len(self.vocabulary))
        self.rows = self._rows()
        self.measured = _spread(self.corpus.held_out)
        self.opening = opening_rows(
            self.measured, self.vocabulary, self.architecture.context_length
        )
        self.steps_per_epoch = -(-len(self.rows) // recipe.batch)
        self.steps = self.steps_per_epoch * settings.epochs
        self.network = self._network()
        self.identity = self._identity()
        self.checkpoint = Checkpoint(checkpoint_path(settings.out), self.identity)
        self.seconds_before, self.started = 0.0, time.monotonic()

    def _rows(self) -> TokenRows:
        cut = packed_rows if self.recipe.packed else padded_rows
        rows = cut(self.corpus.train, self.vocabulary, self.architecture.context_length)
        if not len(rows):
            raise TrainingError(
                f"the texts are too short: together they need more than "
                f"{self.architecture.context_length} tokens"
            )
        return rows

    def _network(self) -> Any:
        network = build(self.architecture)
        network.compile(
            optimizer=optimizer(self.recipe, self.steps),
            loss=keras.losses.SparseCategoricalCrossentropy(
                from_logits=not gives_probabilities(network),
                ignore_class=None if self.recipe.packed else 0,
            ),
            jit_compile=False,  # oneDNN's bfloat16 products are twice as fast as XLA's on a CPU
        )
        network.optimizer.build(network.trainable_variables)
        return network

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be resumed."""
        return {
            "architecture": self.architecture.to_dict(),
            "recipe": asdict(self.recipe),
            "epochs": self.settings.epochs,
            "seed": self.settings.seed,
            "precision": keras.config.dtype_policy().name,
            "vocabulary": fingerprint(self.vocabulary.dumps().encode()),
            "data": fingerprint(self.rows.tobytes()),
        }

    @property
    def steps_done(self) -> int:
        """Read off the optimizer, so that weights and place in the data cannot disagree."""
        return int(self.network.optimizer.iterations)

    @property
    def seconds(self) -> float:
        """Time spent on training, interrupted runs included."""
        return self.seconds_before + time.monotonic() - self.started

    def begin(self, resume: bool) -> None:
        """Load the checkpoint, or make sure that none is overwritten by mistake."""
        if resume:
            self.seconds_before = self.checkpoint.load(self._variables())
        elif self.checkpoint.path.exists():
            raise TrainingError(
                f"{self.checkpoint.path.name} is left from an interrupted run; "
                "go on with --resume, or delete it to start again"
            )

    def save(self) -> None:
        """Write the checkpoint."""
        self.checkpoint.save(self._variables(), self.seconds)

    def _variables(self) -> list[Any]:
        return [*self.network.variables, *self.network.optimizer.variables]

    def fit(self) -> None:
        """Run Keras's `fit` to the last epoch, the begun epoch first."""
        epoch, skip = divmod(self.steps_done, self.steps_per_epoch)
        ends = [epoch + 1, self.settings.epochs] if skip else [self.settings.epochs]
        try:
            for end in ends:
                if epoch < end:
                    self._fit(epoch, end, skip)
                epoch, skip = end, 0
        except KeyboardInterrupt:
            self.save()
            raise

    def _fit(self, epoch: int, end: int, skip: int) -> None:
        self.network.fit(
            ShuffledBatches(self.rows, self.recipe.batch, self.settings.seed, epoch, skip),
            initial_epoch=epoch,
            epochs=end,
            shuffle=False,
            verbose=0,
            callbacks=[_Progress(self), self._texts()],
        )

    def _texts(self) -> TextGeneration:
        return TextGeneration(
            self.language_model(),
            self.settings.prompt,
            self.settings.temperatures,
            self.settings.length,
            self.report.texts,
        )

    def language_model(self) -> KerasLanguageModel:
        """The network, as it stands, as a language model."""
        return KerasLanguageModel(
            self.network,
            self.vocabulary,
            self.architecture.context_length,
            probabilities=gives_probabilities(self.network),
            causal=True,
        )

    def perplexity(self) -> float:
        """Of the beginnings of the held-out texts."""
        return score(self.network, self.opening, self.vocabulary).perplexity

    def finish(self) -> Path:
        """Write the bundle with its figures, and drop the checkpoint."""
        weights = bundle.weights_of(self.network)
        rounded = {name: w.astype(np.float16).astype(np.float32) for name, w in weights.items()}
        keras.config.set_dtype_policy("float32")
        network = build(self.architecture)
        bundle.set_weights(network, rounded)
        scores = score(network, self.opening, self.vocabulary)
        bundle.write(
            self.settings.out,
            self.architecture,
            self.vocabulary,
            weights,
            training=self._training(),
            figures=human_figures(scores, self.measured, self.vocabulary),
        )
        self.checkpoint.delete()
        return self.settings.out

    def _training(self) -> dict[str, Any]:
        return {
            "command": self.settings.command(self.corpus.name),
            "machine": f"{platform_name()}, {cpu_limit()} cores",
            **self.identity,
            "corpus": self.corpus.name,
            "texts": len(self.corpus.train),
            "tokens_per_epoch": int(np.count_nonzero(self.rows[:, 1:])),
            "steps": self.steps,
            "seconds": round(self.seconds),
            "preset": self.settings.preset,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        }


def _spread(texts: Sequence[str]) -> list[str]:
    """At most `MEASURED` of the texts, drawn with a fixed seed."""
    if len(texts) <= MEASURED:
        return list(texts)
    chosen = np.random.default_rng(0).choice(len(texts), MEASURED, replace=False)
    return [texts[i] for i in sorted(chosen.tolist())]


def checkpoint_path(out: Path) -> Path:
    """Where a run that writes to this folder keeps its checkpoint."""
    return out.with_name(out.name + ".checkpoint")
