"""`corelm decoders`: list the decoders, or show one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from corelm.cli.applications import TextCommand
from corelm.cli.options.parameters import RESERVED, Chosen, decoder_names
from corelm.cli.output import describe
from corelm.cli.output.messages import Output
from corelm.registry.offers import citation_of
from corelm.registry.registry import registry

SHORT_HELP = "List the decoders, or show one."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("decoders", cls=TextCommand, short_help=SHORT_HELP)(decoders)


def decoders(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=decoder_names,
            help="A decoder to show, such as ancestral.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List the decoders, or show one of them.

    A sampler decides the distribution of one token, a decoder the order in which tokens are
    drawn and kept: one after the other (ancestral), or several texts at a time (beam search).

    \b
    corelm decoders
    corelm sample --decoder ancestral
    """
    with Output.open() as out:
        if name is None:
            describe.write_list(out, "decoder", registry().decoders(), json)
            return
        name = name.strip()
        cls = registry().decoder(name)
        offer = registry().find("corelm_decoders", name)
        if json:
            more = {"definition": describe.definition(cls), "source": citation_of(cls)}
            out.json(describe.as_json(name, offer) | more)
            return
        options = Chosen.of("decoder", cls, RESERVED).names
        out.show(*describe.page(name, offer, options, f"corelm sample --decoder {name}"))
