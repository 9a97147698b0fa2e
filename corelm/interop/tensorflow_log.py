"""Import TensorFlow without its messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOG_LEVEL, SILENT = "TF_CPP_MIN_LOG_LEVEL", "3"


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Discard the messages of TensorFlow's import, unless the environment sets its log level.

    The log level alone does not silence TensorFlow, which writes before it has set up its log.
    Python's exceptions propagate.

    Example:
        >>> import os
        >>> with quiet_tensorflow():
        ...     written = os.write(2, b"a message of C++ code")
    """
    if os.environ.setdefault(LOG_LEVEL, SILENT) != SILENT or sys.stderr is None:
        yield
        return
    sys.stderr.flush()  # or earlier messages would be discarded too
    saved = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
