"""The console script, installed as `corelm_launcher`.

A package of its own can be imported without corelm, so that it catches Ctrl-C while corelm and
NumPy are being imported.
"""

from __future__ import annotations


def main() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        from corelm import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130
