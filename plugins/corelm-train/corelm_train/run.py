"""Train a network with Keras's `fit`, with checkpoints and a text after each epoch."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from corelm.bundles import Architecture, Bundle, Corpus
from corelm.errors import ModelFileError, TrainingError
from corelm.interop import quiet_tensorflow
from corelm.runs import SafeFile, machine
from corelm_stats.human_baseline import human_figures
from corelm_train.callbacks import FinishSteps, ProgressAndCheckpoints, TextGeneration
from corelm_train.checkpoint import Checkpoint, checkpoint_path, only_run
from corelm_train.devices import Devices, connect, memory_errors, undistributed
from corelm_train.keras_layers import build
from corelm_train.keras_model import KerasLanguageModel
from corelm_train.learning import Scorer, ShuffledBatches, gives_probabilities, optimizer
from corelm_train.material import prepare
from corelm_train.network_weights import set_weights, weights_of
from corelm_train.progress import LossHistory, Reporter, TrainingPlan, before_training
from corelm_train.settings import Recipe, TrainingSettings, choose_precision


def train(settings: TrainingSettings, report: Reporter, resume: bool = False) -> Path:
    """Train a model and write its bundle.

    Args:
        settings: the data, the network and the recipe.
        report: receives every step, measurement and text.
        resume: continue from the checkpoint that an interrupted run left next to `settings.out`;
            `settings.epochs` may be higher than in that run.

    Returns:
        The folder of the bundle, `settings.out`.

    Raises:
        UsageError, DataError: settings or data that cannot be used.
        ModelFileError: a target that can't be written.
        TrainingError: nothing to resume, a checkpoint of other settings, vocabulary or data,
            another run into the same folder, too little memory, or a loss that isn't a number.
        MissingDependencyError: a backend of Keras that cannot train, or not on several devices.
        KeyboardInterrupt: Ctrl-C; a checkpoint is kept once a step is done.
    """
    architecture, recipe = settings.resolve()
    devices = connect(settings.distribute)
    saved = Checkpoint(checkpoint_path(settings.out), {}).saved_precision() if resume else None
    with (
        only_run(settings.out),
        _dtype_policy(choose_precision(settings.precision, saved)),
        memory_errors(),
        devices.scope(),
    ):
        Bundle.check_target(settings.out)
        for path in (settings.out, checkpoint_path(settings.out)):
            SafeFile(path).remove_leftovers()  # of killed runs
        with quiet_tensorflow():  # this imports JAX if it is the backend
            keras.utils.set_random_seed(settings.seed)
        run = TrainingRun(settings, architecture, recipe, report, devices)
        run.begin(resume)
        try:
            run.fit()
            run.finish()
        except KeyboardInterrupt:
            run.keep()
            raise
        return settings.out


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class TrainingRun:
    """One training run: its data, its network, its checkpoint."""

    def __init__(
        self,
        settings: TrainingSettings,
        architecture: Architecture,
        recipe: Recipe,
        report: Reporter,
        devices: Devices | None = None,
    ) -> None:
        self.settings, self.recipe, self.report = settings, recipe, report
        self.devices = devices or Devices()
        start = Bundle.read(settings.start_from) if settings.start_from else None
        material = prepare(settings, architecture, recipe, start, report)
        self.corpus, self.vocabulary = material.corpus, material.vocabulary
        self.rows, self.opening = material.rows, material.opening
        self.measured, self.prompt = material.measured, material.prompt
        self.architecture = replace(architecture, vocabulary_size=len(self.vocabulary))
        if settings.batch is None:
            self.recipe = recipe.for_rows(len(self.rows))
        self.steps_per_epoch = -(-len(self.rows) // self.recipe.batch)
        self.steps = self.steps_per_epoch * settings.epochs
        self.network, self.steps_done = self._network(start), 0
        self.measured_network = self.network
        if self.devices.is_shared:  # measured on one device
            with undistributed():
                self.measured_network = build(self.architecture)
        self.scorer = Scorer(self.measured_network, self.vocabulary)
        self.identity = self._identity(start)
        self.checkpoint = Checkpoint(checkpoint_path(settings.out), self.identity)
        self.losses, self.best_weights = LossHistory(), dict[str, NDArray[np.float32]]()
        self.seconds_before, self.started = 0.0, time.monotonic()

    def _network(self, start: Bundle | None) -> Any:
        network = build(self.architecture)
        if start is not None:
            set_weights(network, start.weights)
        network.compile(
            optimizer=optimizer(self.recipe, self.steps),
            loss=keras.losses.SparseCategoricalCrossentropy(
                from_logits=not gives_probabilities(network),
                # Full rows have no padding, except for rows that fill up a batch for all devices.
                ignore_class=None if self.recipe.packed and not self.devices.is_shared else 0,
            ),
            # oneDNN's bfloat16 products are twice as fast as XLA's on a CPU.
            jit_compile=keras.backend.backend() != "tensorflow",
        )
        network.optimizer.build(network.trainable_variables)
        return network

    def _identity(self, start: Bundle | None) -> dict[str, Any]:
        """Return the settings and checksums that must be equal to resume a checkpoint."""
        identity = {
            "architecture": self.architecture.to_dict(),
            "recipe": asdict(self.recipe),
            "epochs": self.settings.epochs,
            "seed": self.settings.seed,
            "precision": keras.config.dtype_policy().name,
            "backend": keras.backend.backend(),
            "vocabulary": hashlib.sha256(self.vocabulary.dumps().encode()).hexdigest(),
            "data": hashlib.sha256(self.rows.tobytes()).hexdigest(),
        }
        if start is not None:
            identity["start"] = start.manifest["checksum"]
        return identity

    @property
    def seconds(self) -> float:
        """The training time in seconds, interrupted runs included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def plan(self) -> TrainingPlan:
        """The size of the run."""
        return TrainingPlan(
            weights=self.network.count_params(),
            vocabulary=len(self.vocabulary),
            texts=len(self.corpus.train),
            tokens=self._tokens_per_epoch(),
            rows=len(self.rows),
            steps_per_epoch=self.steps_per_epoch,
            epochs=self.settings.epochs,
            steps=self.steps,
            steps_done=self.steps_done,
            precision=self.identity["precision"],
            preset=self.settings.preset,
        )

    def _tokens_per_epoch(self) -> int:
        return int(np.count_nonzero(self.rows[:, 1:]))

    def begin(self, resume: bool) -> None:
        """Load the checkpoint; without `resume`, raise TrainingError if there is one."""
        if resume:
            self._load()
        elif self.checkpoint.path.exists():
            raise TrainingError(
                f"{self.checkpoint.path.name} is left from an interrupted run; "
                "continue it with --resume, or delete it to start again"
            )
        else:
            weights = weights_of(self.network).values()
            size = sum(np.asarray(each).nbytes for each in [*self._variables(), *weights])
            self.checkpoint.check_room(2 * size)  # with the weights of the best epoch
            for warning in before_training(self.plan, len(self.measured)):
                self.report.warn(warning)
        self.report.started(self.plan)

    def _load(self) -> None:
        variables = self._variables()
        weights = weights_of(self.network)
        self.seconds_before, self.losses, arrays, best = self.checkpoint.load(
            [tuple(variable.shape) for variable in variables], [w.shape for w in weights.values()]
        )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.best_weights = dict(zip(weights, best, strict=True)) if best else {}
        self.steps_done = self._steps_of_optimizer()

    def _steps_of_optimizer(self) -> int:
        """Return the optimizer's count of steps, which always matches the weights."""
        return int(self.network.optimizer.iterations)

    def save(self) -> None:
        """Write the checkpoint."""
        self._sync()
        best = list(self.best_weights.values())
        self.checkpoint.save(self._variables(), self.seconds, self.losses, best)

    def _sync(self) -> None:
        if keras.backend.backend() == "jax":
            self.network.jax_state_sync()  # until then the variables are empty

    def keep(self) -> None:
        """Write the checkpoint of an interrupted run, if it has done a step."""
        self.steps_done = self._steps_of_optimizer()
        if self.steps_done:
            self.save()
            self.report.kept(self.checkpoint.path, self.steps_done, self.steps)

    def _variables(self) -> list[Any]:
        return [*self.network.variables, *self.network.optimizer.variables]

    def fit(self) -> None:
        """Run Keras's `fit` until the last epoch or `is_over`; finish a begun epoch first."""
        epoch, skip = divmod(self.steps_done, self.steps_per_epoch)
        # The run was interrupted between an epoch's last step and its end.
        if epoch > self.losses.epochs:
            self.end_epoch(None)
        ends = [epoch + 1, self.settings.epochs] if skip else [self.settings.epochs]
        for end in ends:
            if epoch < end and not self.is_over:
                self._fit(epoch, end, skip)
            epoch, skip = end, 0
        self.report.finished(self.losses, self.settings.patience)

    @property
    def is_over(self) -> bool:
        """Return True if the held-out loss has not improved for as long as `patience` allows."""
        return self.losses.epochs_since_best >= self.settings.patience

    def end_epoch(self, loss: float | None) -> None:
        """Measure the network after an epoch, keep its weights if they are the best, and save.

        Args:
            loss: the mean loss of the epoch's steps; None if an interruption lost it.

        Raises:
            TrainingError: the first held-out loss isn't a number.
        """
        self._sync()
        with undistributed():
            perplexity = self.perplexity()
        if not (self.losses.epochs or math.isfinite(perplexity)):
            self.checkpoint.delete()
            raise TrainingError(
                "the held-out loss isn't a number after the first epoch: "
                "choose a smaller --learning-rate"
            )
        losses, best = self.losses.followed_by(loss, math.log(perplexity)), self.best_weights
        if losses.epochs_since_best == 0:
            best = weights_of(self.network)
        self.losses, self.best_weights = losses, best  # both or neither, even if Ctrl-C comes now
        self.report.measured(self.losses.epochs, perplexity)
        self.save()

    def _fit(self, epoch: int, end: int, skip: int) -> None:
        settings, report = self.settings, self.report.texts
        texts = TextGeneration(
            self.language_model(), self.prompt, settings.temperatures, settings.length, report
        )
        with FinishSteps() as finish_steps:
            self.network.fit(
                ShuffledBatches(
                    self.rows, self.recipe.batch, settings.seed, epoch, skip, self.devices.fill
                ),
                initial_epoch=epoch,
                epochs=end,
                shuffle=False,
                verbose=0,
                callbacks=[finish_steps, ProgressAndCheckpoints(self, texts)],
            )

    def language_model(self) -> KerasLanguageModel:
        """Return the network with its current weights as a language model."""
        return KerasLanguageModel(
            self.measured_network,
            self.vocabulary,
            self.architecture.context_length,
            probabilities=gives_probabilities(self.network),
            causal=True,
        )

    def perplexity(self) -> float:
        """Return the perplexity of the beginnings of the held-out texts."""
        if self.measured_network is not self.network:
            set_weights(self.measured_network, weights_of(self.network))
        return self.scorer(self.opening).perplexity

    def finish(self) -> None:
        """Write the bundle of the best epoch with its figures, and remove the checkpoint.

        Raises:
            TrainingError: the bundle cannot be written; the checkpoint stays.
        """
        try:
            self._write_bundle()
        except ModelFileError as error:
            raise TrainingError(
                f"{error}; the training is kept in {str(self.checkpoint.path)!r}: "
                "make room, then continue with --resume"
            ) from error
        self.checkpoint.delete()

    def _write_bundle(self) -> None:
        weights = self.best_weights
        # The figures describe the weights in the file, which are rounded.
        rounded = {name: w.astype(np.float16).astype(np.float32) for name, w in weights.items()}
        with _dtype_policy("float32"), undistributed():
            network = build(self.architecture)
            set_weights(network, rounded)
            scores = Scorer(network, self.vocabulary)(self.opening)
        Bundle.write(
            self.settings.out,
            self.architecture,
            self.vocabulary,
            weights,
            training=self._training(),
            figures=human_figures(scores, self.measured, self.vocabulary),
            prompt=self.prompt,
        )

    def _training(self) -> dict[str, Any]:
        here = machine.facts()
        return {
            "command": self.settings.command(self.corpus.name),
            "machine": f"{here['platform']}, {here['cores']} cores",
            **self.identity,
            "corpus": self.corpus.name,
            "texts": len(self.corpus.train),
            # So that a report sees that its human texts are the ones learned from.
            "texts_digest": Corpus.digest(self.corpus.train),
            "held_out": self.settings.held_out,
            "tokens_per_epoch": self._tokens_per_epoch(),
            "steps": self._steps_of_optimizer(),
            "kept_epoch": self.losses.best_epoch,
            "losses": asdict(self.losses),
            "seconds": round(self.seconds),
            "preset": self.settings.preset,
            "keras": keras.__version__,
            self.identity["backend"]: version(self.identity["backend"]),
            "devices": self.devices.count,
        }
