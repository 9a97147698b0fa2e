"""A training run on disk: one file, written whole or not at all.

Weights, optimizer state, and the identity of the run stand in the same safetensors file, so that
neither can be there without the other. Where in the data the run stands is read off the
optimizer's own count of steps.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from corelm.errors import TrainingError

KEY = "corelm"


class Checkpoint:
    """The checkpoint of one run.

    Args:
        path: the file.
        identity: settings, vocabulary and data of the run; only the same run may resume it.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity

    def save(self, variables: list[Any], seconds: float) -> None:
        """Write Keras variables and the time that they took, in seconds."""
        arrays = {f"{i:04d}": np.asarray(v) for i, v in enumerate(variables)}
        state = json.dumps(
            {"identity": self._identity, "seconds": seconds, "sha256": _digest(arrays.values())}
        )
        partial = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, partial, {KEY: state})
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, self.path)

    def load(self, variables: list[Any]) -> float:
        """Assign the saved values to the variables; returns the seconds spent so far.

        Raises:
            TrainingError: no checkpoint, a damaged one, or one of another run.
        """
        if not self.path.is_file():
            raise TrainingError(
                f"there is nothing to resume: no {self.path.name} beside the output"
            )
        try:
            with safe_open(self.path, "numpy") as file:
                state = json.loads((file.metadata() or {})[KEY])
                self._refuse_other(state["identity"])
                names = sorted(file.keys())
                arrays = [file.get_tensor(name) for name in names]
            if state["sha256"] != _digest(arrays):
                raise ValueError("its weights are not those that were written")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"the checkpoint {self.path.name} is damaged: {error}") from error
        if [a.shape for a in arrays] != [tuple(v.shape) for v in variables]:
            raise TrainingError(f"the checkpoint {self.path.name} holds another network")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return float(state["seconds"])

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _refuse_other(self, saved: dict[str, Any]) -> None:
        differing = [
            f"{name} was {saved.get(name)!r} and is {value!r}"
            for name, value in self._identity.items()
            if saved.get(name) != json.loads(json.dumps(value))
        ]
        if differing:
            raise TrainingError("the checkpoint is of another run: " + "; ".join(differing))


def _digest(arrays: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def fingerprint(content: bytes) -> str:
    """The sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
