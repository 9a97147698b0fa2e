"""The command line: the only place that imports typer or rich."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `corelm`; by default the words of this process.
    """
    try:
        from corelm.cli.app import run

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # Ctrl-C during the imports
        return 130
    finally:
        if arguments is None:
            _end_output()


def _end_output() -> None:
    """Redirect standard output to standard error: plugins' threads and exit functions run later."""
    if sys.stdout is None or sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.dup2(2, 1)
    sys.stdout = sys.stderr
