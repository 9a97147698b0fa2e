"""The console script, installed as `corelm_launcher`.

A package of its own can be imported without corelm, so that it catches Ctrl-C while corelm and
NumPy are being imported.
"""

from __future__ import annotations

import gc


def main() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        # Imports make many objects and no garbage: looking for it, now and at the exit, would take
        # a tenth of a short command.
        gc.disable()
        from corelm.cli.app import main as command_line

        gc.freeze()
        gc.enable()
        return command_line()
    except KeyboardInterrupt:
        return 130
