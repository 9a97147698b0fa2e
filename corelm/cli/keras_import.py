"""Importing what takes seconds and writes of its own accord: Keras with TensorFlow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from corelm.errors import MissingDependencyError

LOG_LEVEL, SILENT = "TF_CPP_MIN_LOG_LEVEL", "3"


@contextmanager
def needs_keras(what: str) -> Iterator[None]:
    """A block that imports Keras, silently unless the environment asks TensorFlow to speak.

    The level alone does not silence what TensorFlow says before it has set up its log.

    Args:
        what: what needs it, to begin the message with.

    Raises:
        MissingDependencyError: it cannot be imported.
    """
    try:
        if os.environ.setdefault(LOG_LEVEL, SILENT) != SILENT or sys.stderr is None:
            yield
        else:
            with _hushed():
                yield
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs Keras and TensorFlow: {error}") from error


def import_keras(what: str) -> None:
    """Import Keras now, so that it is silent when it is needed."""
    with needs_keras(what):
        from corelm.model.keras_file import import_keras

        import_keras()


@contextmanager
def _hushed() -> Iterator[None]:
    """What C++ writes to standard error meanwhile goes nowhere; Python's exceptions still come."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
