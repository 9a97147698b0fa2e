"""Wherever the disk is full while something is written, the earlier thing stays whole."""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corelm_train.checkpoint import Checkpoint
from small_models import some_weights, write

from corelm import atomic_files
from corelm.bundles import Bundle
from corelm.errors import ModelFileError, TrainingError


class FullDisk:
    """A disk that is full at the n-th act of writing: a file made, bytes, a sync, a rename."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.acts, self._at = 0, at
        for owner, name in ((Path, "mkdir"), (Path, "rename"), (Path, "replace"), (os, "fsync")):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))
        patch.setattr(atomic_files, "open", self._open, raising=False)

    def _act(self) -> None:
        self.acts += 1
        if self.acts == self._at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self._act()
            return function(*arguments, **named)

        return counted

    def _open(self, path: Path, mode: str) -> Any:
        if "r" in mode:
            return builtins.open(path, mode)
        self._act()
        return _TwoWrites(path, mode, self._act)


class _TwoWrites(io.FileIO):
    """A file that writes its bytes in two halves, with an act in between."""

    def __init__(self, path: Path, mode: str, between: Callable[[], None]) -> None:
        super().__init__(path, mode)
        self._between = between

    def write(self, content: bytes) -> int:  # type: ignore[override]
        half = len(content) // 2
        written = super().write(content[:half])
        self._between()
        return written + super().write(content[half:])


def write_model(folder: Path, value: float) -> None:
    write(folder / "model", value)


def write_checkpoint(folder: Path, value: float) -> None:
    Checkpoint(folder / "model.checkpoint", {"seed": 1}).save(
        [w for _, w in sorted(some_weights(value=value).items())], seconds=1.0
    )


def read_model(folder: Path) -> Any:
    return Bundle.read(folder / "model").weights


def read_checkpoint(folder: Path) -> Any:
    shapes = [w.shape for _, w in sorted(some_weights().items())]
    arrays = Checkpoint(folder / "model.checkpoint", {"seed": 1}).load(shapes)[2]
    return dict(zip(sorted(some_weights()), arrays, strict=True))


@pytest.mark.parametrize(
    ("save", "load", "error", "message"),
    [
        (write_model, read_model, ModelFileError, "model' ?: No space left on device; the earlier"),
        (write_checkpoint, read_checkpoint, TrainingError, "make room, then continue with --resum"),
    ],
    ids=["model", "checkpoint"],
)
def test_a_disk_that_is_full_at_any_write_leaves_the_earlier_one_whole(
    tmp_path: Path, save: Any, load: Any, error: type[Exception], message: str
) -> None:
    save(tmp_path, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        whole = FullDisk(patch, at=0)
        save(tmp_path, 0.5)
    failures = 0
    for at in range(1, whole.acts + 1):
        save(tmp_path, 0.5)
        raised = None
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, at)
            try:
                save(tmp_path, 0.25)
            except error as caught:
                raised = caught
        expected = some_weights(value=0.25 if raised is None else 0.5)
        found = load(tmp_path)
        assert all((found[name] == weight).all() for name, weight in expected.items())
        assert raised is None or re.search(message, str(raised))
        failures += raised is not None
        names = {path.name for path in tmp_path.iterdir()}
        assert names <= {"model", "model.checkpoint"}, f"left over at act {at}"
    assert failures >= 5
