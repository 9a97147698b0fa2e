"""A training run on disk: its checkpoint, and the lock of its output folder.

A checkpoint is one safetensors file, written whole or not at all. It holds the weights, the
optimizer's state, the best epoch's weights, the losses and the identity of the run, so that they
always belong together. The position in the data follows from the optimizer's count of steps.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from corelm.errors import TrainingError
from corelm.runs import SafeFile
from corelm_train.progress import LossHistory

KEY, SHA256 = "corelm", "sha256"
"""The metadata of the file: the state as JSON, and the checksum of the state and the arrays."""

EPOCHS = "epochs"
"""The only part of the identity that may be larger when a run is continued."""


Shapes = Sequence[tuple[int, ...]]


Arrays = list[NDArray[Any]]


class Checkpoint:
    """The checkpoint of one run.

    Args:
        path: the file.
        identity: settings, vocabulary and data of the run; only the same run may resume it, or
            one with more epochs.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity

    def save(
        self,
        variables: Sequence[Any],
        seconds: float,
        losses: LossHistory | None = None,
        best: Sequence[Any] = (),
    ) -> None:
        """Write the state of the run, whole or not at all.

        Args:
            variables: Keras variables.
            seconds: the training time so far.
            losses: the losses of the epochs so far.
            best: the weights of the best epoch.

        Raises:
            TrainingError: a full disk, a read-only folder; an earlier checkpoint stays.
        """
        # Named by number: Keras's names may repeat, and the sorted numbers give the order back.
        arrays = {f"{i:04d}": np.asarray(v, order="C") for i, v in enumerate([*variables, *best])}
        # In one file with the arrays, so that a kill can't leave a state without its weights.
        state = json.dumps(
            {
                "identity": self._identity,
                "seconds": seconds,
                "losses": asdict(losses or LossHistory()),
            }
        )
        metadata = {KEY: state, SHA256: _digest(state, arrays.values())}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            SafeFile(self.path).write(save(arrays, metadata))
        except OSError as error:
            way_out = "make room, then start again"
            if self.path.exists():
                way_out = "the earlier one is unchanged: make room, then continue with --resume"
            raise TrainingError(
                f"the checkpoint {str(self.path)!r} could not be written: "
                f"{error.strerror or error}; {way_out}"
            ) from error

    def check_room(self, size: int) -> None:
        """Raise if the disk is too full for a checkpoint, before the training is lost.

        Args:
            size: its size in bytes; an earlier checkpoint is kept until the new one is whole.

        Raises:
            TrainingError: there is less free space.
        """
        free = shutil.disk_usage(self.path.parent).free
        if free < size:
            raise TrainingError(
                f"the checkpoint {str(self.path)!r} needs {size / 1e6:,.1f} MB, where "
                f"{free / 1e6:,.1f} MB are free; make room, or choose another --out"
            )

    def load(
        self, shapes: Shapes, best_shapes: Shapes = ()
    ) -> tuple[float, LossHistory, Arrays, Arrays]:
        """Read a checkpoint.

        Args:
            shapes: the shapes of the variables.
            best_shapes: the shapes of the best epoch's weights.

        Returns:
            The seconds of training, the losses of the epochs, the values of the variables, and the
            best epoch's weights, none before the end of the first.

        Raises:
            TrainingError: no checkpoint, a damaged one, or one of another run.
        """
        state, arrays = self._read()
        # Another run is a mistake of the user, and no damage.
        self._refuse_other(state["identity"])
        losses = LossHistory(**state["losses"])
        best = best_shapes if losses.epochs else ()
        if [a.shape for a in arrays] != [*shapes, *best]:
            raise TrainingError(f"the checkpoint {self.path.name} holds another network")
        count = len(shapes)
        return state["seconds"], losses, arrays[:count], arrays[count:]

    def saved_precision(self) -> str | None:
        """Return the precision of the saved run; None without a readable checkpoint."""
        try:
            precision: str | None = self._read()[0]["identity"].get("precision")
        except TrainingError:  # `load` reports it
            return None
        return precision

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], Arrays]:
        if not self.path.is_file():
            raise TrainingError(
                f"there is nothing to resume: no {self.path.name} next to the output; "
                "to train a finished model further, give it with --from"
            )
        try:
            with safe_open(self.path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = [file.get_tensor(name) for name in sorted(file.keys())]
            # The checksum is ours, as safetensors has none; what it covers, `save` wrote.
            if metadata[SHA256] != _digest(metadata[KEY], arrays):
                raise ValueError("its content differs from its checksum")
            return json.loads(metadata[KEY]), arrays
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"the checkpoint {self.path.name} is damaged: {error}; "
                "delete it, and start again without --resume"
            ) from error

    def _refuse_other(self, saved: dict[str, Any]) -> None:
        # Through JSON, as the saved one was: tuples become lists.
        now = json.loads(json.dumps(self._identity))
        differing = [
            f"{name} was {was!r} and is {value!r}"
            for name, value in now.items()
            # Not isinstance: True is an int, too.
            if (was := saved.get(name)) != value
            and not (name == EPOCHS and type(was) is int and was < value)
        ]
        if differing:
            raise TrainingError("the checkpoint is of another run: " + "; ".join(differing))


def _digest(state: str, arrays: Iterable[Any]) -> str:
    digest = hashlib.sha256(state.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def checkpoint_path(out: Path) -> Path:
    """Return the path of the checkpoint of a run that writes to this folder."""
    return out.with_name(out.name + ".checkpoint")


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder; the system releases it when the process ends.

    The lock file `.NAME.lock` stays next to the folder: if it were removed, two runs could lock two
    different files of that name.

    Raises:
        TrainingError: another run holds it, or the lock file cannot be written.
    """
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            alone = stack.enter_context(SafeFile(out.with_name(f".{out.name}.lock")).lock())
        except OSError as error:
            reason = error.strerror or error
            raise TrainingError(f"cannot write next to {str(out)!r}: {reason}") from error
        if not alone:
            raise TrainingError(
                f"another run is writing to {str(out)!r}; wait for it, or choose another folder"
            )
        yield
