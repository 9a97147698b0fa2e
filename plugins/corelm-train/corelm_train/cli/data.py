"""`corelm data`: download texts to train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import TextCommand, TextGroup, product, progress
from corelm.errors import UsageError


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    group = typer.Typer(
        rich_markup_mode=None, cls=TextGroup, short_help="Download texts to train on."
    )
    group.callback()(data)
    group.command("imdb", cls=TextCommand, short_help="Download the IMDB movie reviews.")(imdb)
    return {"data": group}


def data() -> None:
    """Download texts to train on."""


def imdb(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="An archive on this machine: a tar file, compressed or not.",
        ),
    ] = None,
) -> None:
    """Download the IMDB movie reviews once, and print their folder.

    The original archive (84 MB) is downloaded and its checksum verified, unless a copy exists.
    Maas et al. 2011, Learning Word Vectors for Sentiment Analysis.
    """
    from corelm_train.imdb import fetch_imdb

    if source is not None and not Path(source).exists():
        raise UsageError(f"there is no file {source}")
    with product() as out:
        with progress.stages() as bar:
            folder = fetch_imdb(None if source is None else Path(source), bar)
        out.text(f"{folder}\n")
