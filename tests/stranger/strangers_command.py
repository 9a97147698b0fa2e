"""A command, in a module of its own."""

from dataclasses import replace
from typing import Annotated

import numpy as np
import typer

import corelm
from corelm.abilities import can


def shout(
    prompt: Annotated[str, typer.Argument(help="The beginning of a text.")],
    model: Annotated[str, typer.Option(help="A model.")] = "alphabet",
) -> None:
    """Print a text in capitals."""
    found = corelm.load(model)
    task = corelm.DecodingTask(
        found, np.array(found.vocabulary.encode(prompt)), corelm.sampler("greedy"),
        corelm.RandomStream(1, [0]), length=4,
    )  # fmt: skip
    steps = list(corelm.Ancestral()(replace(task, length=3)))
    session = task.start().session
    typer.echo(found.vocabulary.decode([int(s.tokens[0]) for s in steps]).upper())
    typer.echo(f"rewinds: {can(session, 'rewind')}")


@corelm.hookimpl
def corelm_commands():
    app = typer.Typer()
    app.command()(shout)
    return {"shout": app}
