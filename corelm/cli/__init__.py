"""The command line: the only place that imports typer or rich."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `corelm`; by default those of this process.
    """
    atexit.register(gc.freeze)  # or Python would look for garbage at its exit, for 10 ms
    try:
        from corelm.cli.app import run

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # Ctrl-C during the imports
        return 130
