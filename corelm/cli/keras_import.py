"""Imports Keras and TensorFlow, which takes seconds and writes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from corelm.model import keras_import
from corelm.model.keras_import import IMPORT_FAILURES, keras_is_missing

LOG_LEVEL, SILENT = "TF_CPP_MIN_LOG_LEVEL", "3"


@contextmanager
def needs_keras(what: str) -> Iterator[None]:
    """Run a block that imports Keras, silently unless the environment sets TensorFlow's log level.

    The log level alone does not silence TensorFlow, which writes before it has set up its log.

    Args:
        what: the feature that needs Keras; it begins the message.

    Raises:
        MissingDependencyError: Keras or TensorFlow cannot be imported.
    """
    try:
        if os.environ.setdefault(LOG_LEVEL, SILENT) != SILENT or sys.stderr is None:
            yield
        else:
            with _muted_stderr():
                yield
    except IMPORT_FAILURES as error:
        raise keras_is_missing(what, error) from error


def import_keras(what: str) -> None:
    """Import Keras now, so that its import is silent."""
    with needs_keras(what):
        keras_import.import_keras(what)


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Discard what C++ code writes to standard error; Python exceptions still propagate."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
