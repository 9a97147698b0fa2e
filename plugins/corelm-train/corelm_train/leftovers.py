"""The files that interrupted training and downloads leave, for `corelm clean`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corelm import hookimpl
from corelm.commands import Leftovers
from corelm_train import checkpoint, imdb


@hookimpl
def corelm_leftovers() -> Mapping[str, Leftovers]:
    return {
        "models": Leftovers(r"[^.].*\.checkpoint", "interrupted training", _lock_of_training),
        "data": Leftovers(r".+\.part", "interrupted download", _lock_of_download),
    }


def _lock_of_training(checkpointed: Path) -> Path:
    return checkpoint.lock_path(checkpointed.with_suffix(""))


def _lock_of_download(part: Path) -> Path:
    return imdb.lock_path(part.parent)
