"""`corelm data`: texts to train on, and those that a training holds out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import Output, application, messages
from corelm.errors import UsageError
from corelm.runs import params, printable

SHARE = params.Parameter.of("held-out", float, 0.05, gt=0, lt=1)


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    commands = {
        "imdb": (imdb, "Download the IMDB movie reviews."),
        "held-out": (held_out, "Write the texts that training holds out."),
    }
    return {"data": application(data, "Download texts to train on.", commands)}


def data() -> None:
    """Download texts to train on."""


def held_out(
    texts: Annotated[
        str, typer.Argument(metavar="DATA", help="The texts, as for `corelm train --data`.")
    ],
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A new folder, which gets one file a text.")
    ],
    share: Annotated[
        str,
        typer.Option(
            "--held-out", metavar="NUMBER", help=f"The share, as of the training ({SHARE.rule})."
        ),
    ] = str(SHARE.default),
) -> None:
    """Write the texts that `corelm train` holds out, to compare a model with.

    \b
    corelm data held-out tunes.txt tunes-held-out
    corelm report --model tunes --reference tunes-held-out
    """
    from corelm.bundles import Corpus

    with Output.open() as out:
        part, place = SHARE.convert(share), Path(folder)
        if place.exists():
            raise UsageError(f"{folder} already exists")
        texts_held_out = Corpus.of(texts, part).held_out
        place.mkdir(parents=True)
        width = len(str(len(texts_held_out)))
        for i, text in enumerate(texts_held_out):
            (place / f"{i:0{width}}.txt").write_text(text, "utf-8", newline="")
        messages.tell(
            f"{printable.counted(len(texts_held_out), 'text')} that training doesn't learn from",
            "note",
        )
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
    with Output.open() as out:
        with messages.stages() as bar:
            folder = fetch_imdb(None if source is None else Path(source), bar)
        out.text(f"{folder}\n")
