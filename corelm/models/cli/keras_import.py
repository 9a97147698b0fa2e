"""Imports Keras and TensorFlow, which takes seconds and writes to standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corelm.models import keras_import
from corelm.models.keras_import import IMPORT_FAILURES, keras_is_missing, quiet_tensorflow


@contextmanager
def needs_keras(what: str) -> Iterator[None]:
    """Run a block that imports Keras, silently unless the environment sets TensorFlow's log level.

    Args:
        what: the feature that needs Keras; it begins the message.

    Raises:
        MissingDependencyError: Keras or TensorFlow cannot be imported.
    """
    try:
        with quiet_tensorflow():
            yield
    except IMPORT_FAILURES as error:
        raise keras_is_missing(what, error) from error


def import_keras(what: str) -> None:
    """Import Keras now, so that its import is silent."""
    with needs_keras(what):
        keras_import.import_keras(what)
