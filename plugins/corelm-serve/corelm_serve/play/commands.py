"""`corelm play`: the live page, opened in the browser."""

from __future__ import annotations

import json
import logging
import secrets
import webbrowser
from typing import Annotated, Any
from urllib.parse import quote

import typer

import corelm
from corelm_serve.commands import DEFAULT, Device, Dtype, loaded, source_of, url_of

HOST = "127.0.0.1"
STALL = 10
"""Seconds that a chain may take for one answer."""


def play(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The text to begin with.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH", help="A model; may be given more than once. Default: imdb."
        ),
    ] = None,
    sampler: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="The chain to begin with.")
    ] = "temperature(t=0.7)",
    seed: Annotated[int, typer.Option(min=0, help="The seed to begin with.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    device: Device = None,
    dtype: Dtype = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Open a page that shows what each stage of a chain does to the next word.

    The page is served on this machine alone. Its URL is written to standard output; it has a token,
    so that other users of the machine can't open it.

    \b
    corelm play
    corelm play "the best movie" --sampler "top_k(k=10) | temperature(t=1.2)"
    """
    from corelm_serve.security import Access
    from corelm_serve.server import listen, serve
    from corelm_serve.service import Service
    from corelm_serve.settings import Limits

    corelm.sampler(sampler)  # raises for a mistake before anything opens
    token = secrets.token_urlsafe(24)
    with listen(HOST, port) as socket:
        port = socket.getsockname()[1]
        logging.getLogger("corelm.serve").setLevel(logging.WARNING)  # no line for each request
        given = model or [DEFAULT]
        models = loaded(given, device, dtype)
        sources = dict(zip(models, map(source_of, given), strict=True))
        service = Service(models, Limits(stall=STALL), sources=sources)
        state: dict[str, Any] = {"sampler": sampler, "seed": seed}
        if prompt is not None:
            state["prompt"] = prompt
        url = f"{url_of(HOST, port, token, 'play')}#{quote(json.dumps(state))}"
        typer.echo(url)
        if browser:
            webbrowser.open(url)  # the socket listens already, so the page waits for the server
        serve(service, Access.to(HOST, port, token), socket)


@corelm.hookimpl
def corelm_commands() -> dict[str, typer.Typer]:
    app = typer.Typer()
    app.command(short_help="See what a sampler does to the next word, live.")(play)
    return {"play": app}
