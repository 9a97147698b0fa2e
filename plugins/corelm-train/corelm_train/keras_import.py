"""Import Keras, or explain in one line how to install it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corelm.errors import MissingDependencyError
from corelm.interop import quiet_tensorflow

LEAST_KERAS = "3.15.1"

INSTALL = 'pip install "corelm[train]"'

IMPORT_FAILURES = (ImportError, AttributeError, ValueError)
"""The errors if Keras is missing, too old for a layer, or set to an unknown backend."""


def import_keras(purpose: str) -> Any:
    """Import Keras, register corelm's layers with it, and return the module.

    Args:
        purpose: the beginning of the message if it fails, such as "a .keras file".

    Raises:
        MissingDependencyError: Keras or its backend is missing, too old or broken.
    """
    with needs_keras(purpose):
        import keras

        from corelm_train import keras_layers  # noqa: F401  registers the layers
    return keras


@contextmanager
def needs_keras(purpose: str) -> Iterator[None]:
    """Run a block that imports Keras, silently unless the environment sets TensorFlow's log level.

    Args:
        purpose: as for `import_keras`.

    Raises:
        MissingDependencyError: Keras or its backend is missing, too old or broken.
    """
    try:
        with quiet_tensorflow():
            yield
    except IMPORT_FAILURES as error:
        raise keras_is_missing(purpose, error) from error


def keras_is_missing(purpose: str, error: Exception) -> MissingDependencyError:
    """Return the error for a failed import of Keras: the purpose, the reason, the command."""
    reason = _reason(error).split("\n")[0].rstrip(".")
    if isinstance(error, ValueError) and "KERAS_BACKEND" in os.environ:
        return MissingDependencyError(
            f"{purpose} needs Keras with the backend tensorflow ({reason}): "
            "set KERAS_BACKEND=tensorflow"
        )
    return MissingDependencyError(
        f"{purpose} needs Keras {LEAST_KERAS} or later and TensorFlow ({reason}); "
        f"install them with: {INSTALL}"
    )


def _reason(error: Exception) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("keras")
    except PackageNotFoundError:
        return "Keras is not installed"
    if _numbers(installed) < _numbers(LEAST_KERAS):
        return f"the installed Keras is {installed}"
    return str(error) or type(error).__name__


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
