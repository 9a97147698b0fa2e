"""The console script, installed as `corelm_launcher`.

A package of its own can be imported without corelm, so that it catches Ctrl-C while corelm and
NumPy are being imported.
"""

from __future__ import annotations

import gc
import os

SELDOM = 30_000
"""The number of new objects after which garbage is looked for; Python's own is 700 to 2,000."""

SOON = 20
"""How soon an idle thread of OpenBLAS sleeps: after 2 to this power of the processor's ticks, less
than a millisecond. By default such threads, which NumPy starts when it is imported, keep each
further processor busy for a tenth of a second, as long as the whole of a short command."""


def main() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        # Imports make many objects and no garbage: looking for it, now and at the exit, would take
        # a tenth of a short command. Commands import more, so it is looked for seldom from then on.
        gc.disable()
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", str(SOON))
        from corelm.cli.app import main as command_line

        gc.freeze()
        gc.set_threshold(SELDOM)
        gc.enable()
        return command_line()
    except KeyboardInterrupt:
        return 130
