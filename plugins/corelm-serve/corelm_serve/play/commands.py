"""`corelm play`: the live page, opened in the browser."""

from __future__ import annotations

import json
import logging
import secrets
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

import corelm
from corelm.errors import UsageError
from corelm_serve.commands import DEFAULT, Device, Dtype, listen, loaded, source_of, url_of

if TYPE_CHECKING:
    from corelm_serve.play.classroom import Classroom

HOST, ANYWHERE = "127.0.0.1", "0.0.0.0"
SAMPLER = "temperature(t=0.7)"
SMALL = "gpt2"
"""The model of a page of one file."""
LESSONS = 5
"""The number of lessons of the page, which are in `steps.js`."""
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
        str | None,
        typer.Option(
            metavar="EXPRESSION", help="The chain to begin with. Default: temperature(t=0.7)."
        ),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompt is a message to a chat model.")
    ] = False,
    lesson: Annotated[
        int | None,
        typer.Option(min=1, max=LESSONS, help="A lesson to begin with: predict, then see."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed to begin with.")] = 1,
    of_class: Annotated[
        bool,
        typer.Option("--class", help="Listen on the local network, for students with a code."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the page with its model to a file, which needs no server. Default of "
            "--model then: gpt2.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    device: Device = None,
    dtype: Dtype = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Open a page that shows what each stage of a chain does to the next word.

    The page is served on this machine alone. Its URL is written to standard output; it has a token,
    so that other users of the machine can't open it. With --class, students open the address on
    standard error from their own devices and type the code; each has a page of their own.

    \b
    corelm play
    corelm play "the best movie" --sampler "top_k(k=10) | temperature(t=1.2)"
    corelm play --lesson 4
    corelm play --class
    corelm play --html page.html
    """
    from corelm_serve.scheduling.scheduler import Limits
    from corelm_serve.security import Access
    from corelm_serve.server import serve
    from corelm_serve.service import Service

    state = _first_state(prompt, sampler, lesson, seed) | ({"chat": True} if chat else {})
    if html is not None:
        _write_page(html, model or [SMALL], state)
        return
    token = secrets.token_urlsafe(24)
    host = ANYWHERE if of_class else HOST
    with listen(host, port) as socket:
        port = socket.getsockname()[1]
        logging.getLogger("corelm.serve").setLevel(logging.WARNING)  # no line for each request
        names = model or [DEFAULT]
        models = loaded(names, device, dtype)
        sources = dict(zip(models, map(source_of, names), strict=True))
        room = _open_class(port) if of_class else None
        # A source may be a folder of the teacher's.
        public = None if room else sources
        service = Service(models, Limits(stall=STALL), sources=public, classroom=room)
        url = f"{url_of(HOST, port, token, 'play')}#{quote(json.dumps(state))}"
        typer.echo(url)
        if browser:
            webbrowser.open(url)  # the socket listens already, so the page waits for the server
        serve(service, replace(Access.to(host, port, [token]), classroom=room), socket)


def _write_page(html: Path, models: list[str], state: dict[str, Any]) -> None:
    """Write the page of one file, and say how large it is."""
    from corelm_serve.play.one_file import one_file

    if len(models) > 1:
        raise UsageError("a page of one file has one model")
    page = one_file(models[0], corelm.load(models[0]), state)
    html.write_text(page, encoding="utf-8")
    typer.echo(f"wrote {html} ({len(page.encode()) / 1e6:.1f} MB); open it in a browser", err=True)


def _open_class(port: int) -> Classroom:
    """Open a class, and write how to join it."""
    from corelm_serve.play.classroom import Classroom, local_address

    room = Classroom(f"http://{local_address()}:{port}")
    typer.echo(f"students open {room.address}/join and type {room.code}", err=True)
    typer.echo(
        "warning: every device of the network can reach this page, and texts travel unencrypted",
        err=True,
    )
    return room


def _first_state(
    prompt: str | None, sampler: str | None, lesson: int | None, seed: int
) -> dict[str, Any]:
    """Return the state that the page begins with, in the form that its links use.

    Raises:
        UsageError: the expression cannot be read.
    """
    if lesson is None and sampler is None:
        sampler = SAMPLER
    if sampler is not None:
        corelm.sampler(sampler)
    number = None if lesson is None else lesson - 1
    state = {"prompt": prompt, "sampler": sampler, "lesson": number, "seed": seed}
    return {name: value for name, value in state.items() if value is not None}


@corelm.hookimpl
def corelm_commands() -> dict[str, typer.Typer]:
    app = typer.Typer()
    app.command(short_help="See what a sampler does to the next word, live.")(play)
    return {"play": app}
