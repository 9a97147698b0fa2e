"""The files that interrupted training and downloads leave, for `corelm clean`."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import hookimpl
from corelm.commands import Leftovers
from corelm_train import checkpoint, imdb


@hookimpl
def corelm_leftovers() -> Mapping[str, Leftovers]:
    return {
        "models": Leftovers(
            r"[^.].*\.checkpoint",
            "interrupted training",
            lambda path: checkpoint.lock_path(path.with_suffix("")),
        ),
        "data": Leftovers(
            r".+\.part", "interrupted download", lambda part: imdb.lock_path(part.parent)
        ),
    }
