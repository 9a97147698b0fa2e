"""`corelm data`: fetch texts to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corelm.cli.output.product import product
from corelm.cli.output.progress import stages
from corelm.errors import UsageError


def data() -> None:
    """Fetch texts to train on."""


def imdb(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="An archive that you have: tar, however compressed."
        ),
    ] = None,
) -> None:
    """Fetch the IMDB movie reviews, once, and say where they are.

    The original (84 MB) is downloaded and checked, unless there is a local copy.
    Maas et al. 2011, Learning Word Vectors for Sentiment Analysis.
    """
    from corelm.model.imdb import fetch_imdb

    if source and not source.exists():
        raise UsageError(f"there is no file {source}")
    with product() as out:
        with stages() as progress:
            folder = fetch_imdb(source, progress)
        out.text(f"{folder}\n")
