"""`corelm data`: texts to train on, and those that a training holds out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import TextCommand, TextGroup, messages, product, progress
from corelm.errors import UsageError
from corelm.runs import printable


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    group = typer.Typer(
        rich_markup_mode=None, cls=TextGroup, short_help="Download texts to train on."
    )
    group.callback()(data)
    group.command("imdb", cls=TextCommand, short_help="Download the IMDB movie reviews.")(imdb)
    group.command("held-out", short_help="Write the texts that training holds out.")(held_out)
    return {"data": group}


def data() -> None:
    """Download texts to train on."""


def held_out(
    texts: Annotated[
        str, typer.Argument(metavar="DATA", help="The texts, as for `corelm train --data`.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder, which gets one file a text.")
    ],
    share: Annotated[
        float,
        typer.Option("--held-out", min=0, max=1, help="The share, as of the training."),
    ] = 0.05,
) -> None:
    """Write the texts that `corelm train` holds out, to compare a model with.

    \b
    corelm data held-out tunes.txt tunes-held-out
    corelm report --model tunes --reference tunes-held-out
    """
    from corelm.bundles import Corpus

    if not 0 < share < 1:
        raise UsageError(f"--held-out must be above 0 and below 1, not {share}")
    if folder.exists():
        raise UsageError(f"{folder} already exists")
    with product() as out:
        found = Corpus.of(texts, share).held_out
        folder.mkdir(parents=True)
        width = len(str(len(found)))
        for i, text in enumerate(found):
            (folder / f"{i:0{width}}.txt").write_text(text, "utf-8", newline="")
        messages.note(f"{printable.counted(len(found), 'text')} that training doesn't learn from")
        out.text(f"{folder}\n")


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
