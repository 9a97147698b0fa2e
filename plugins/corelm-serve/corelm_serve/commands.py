"""`corelm serve`: an OpenAI-compatible server."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

import corelm
from corelm.commands import application
from corelm.errors import UsageError
from corelm.runs import NamedModel

if TYPE_CHECKING:
    import socket

TOKEN = "CORELM_SERVE_TOKEN"
DEFAULT = "imdb"
OWN = "corelm"
"""The distribution of corelm's own models, whose kernels have one pool for all threads."""
LONGEST = 86_400
"""Seconds of an option: a day."""
BACKLOG = 512
"""Connections that wait to be accepted."""
GROUPS = {
    "The most important options": ("model", "host", "port", "device", "rows"),
    "Access": ("uds", "allow_host", "allow_origin", "no_token", "log_texts"),
    "Limits": ("waiting", "length", "prompt", "prefixes", "seconds", "stall", "grace"),
}
"""The options by the headings of the help."""
Device = Annotated[str | None, typer.Option(metavar="NAME", help="The device of engines' models.")]
Dtype = Annotated[
    str | None, typer.Option(metavar="NAME", help="The number format of their weights.")
]


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A model to serve; may be given more than once, as [NAME=]MODEL for another name "
            f"in requests. Default: {DEFAULT}.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    uds: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Listen on a Unix domain socket, for a proxy, in place of --host and --port.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another name of this machine in URLs, or of a proxy in front of it; may be given "
            "more than once.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web page's origin, such as https://example.org, whose scripts may ask; may be "
            "given more than once. Default: none.",
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for no token; on a loopback address only.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    rows: Annotated[
        int,
        typer.Option(
            min=1,
            help="Texts that a model writes at once; up to four times as many while others wait.",
        ),
    ] = 64,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that wait; more get 429.")] = 256,
    length: Annotated[int, typer.Option(min=1, help="Tokens drawn for a text, at most.")] = 4096,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of a prompt, at most.")] = 32768,
    prefixes: Annotated[
        int,
        typer.Option(
            min=0, help="Tokens of prompts kept, to read equal beginnings once; 0 for none."
        ),
    ] = 8192,
    seconds: Annotated[float, typer.Option(min=1, help="Time of a request, at most.")] = 600,
    stall: Annotated[
        float, typer.Option(min=0.1, help="Time of one step, at most; more with a long prompt.")
    ] = 30,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for running requests when the server stops.")
    ] = 10,
    log_texts: Annotated[
        bool, typer.Option("--log-texts", help="Log what clients send; by default only lengths.")
    ] = False,
) -> None:
    """Serve models to OpenAI-compatible clients, with corelm's samplers.

    The URL is written to standard output. It has a token, which clients send as their API key; set
    it with the environment variable CORELM_SERVE_TOKEN, or several, one a line. A request with a
    seed gets the text that `corelm sample` writes with it, no matter what else the server writes;
    from llama.cpp it may differ with the number of texts in a pass.

    \b
    corelm serve --model imdb
    corelm serve --model a=transformers:my-gpt2 --model gguf:b.gguf --port 8080
    """
    from corelm_serve.scheduling.scheduler import Limits
    from corelm_serve.security import Access, is_loopback
    from corelm_serve.server import serve as run
    from corelm_serve.service import Service

    if uds is not None:
        host, port = "localhost", 80  # what clients of such a socket write in URLs
    if no_token and not is_loopback(host):
        raise UsageError(f"--no-token is for a loopback address such as 127.0.0.1, not {host}")
    for name, value in {"seconds": seconds, "stall": stall, "grace": grace}.items():
        if not value <= LONGEST:  # not a number, too
            raise UsageError(f"--{name} must be at most {LONGEST:,} seconds, not {value}")
    limits = Limits(
        rows=rows, waiting=waiting, length=length, prompt=prompt, seconds=seconds, stall=stall,
        grace=grace, prefixes=prefixes,
    )  # fmt: skip
    tokens = [] if no_token else _tokens()
    with listen(host, port) if uds is None else listen_unix(uds) as listening:
        if uds is None:
            port = listening.getsockname()[1]
        access = Access.to(host, port, tokens, allow_host or (), allow_origin or ())
        service = Service(loaded(model or [DEFAULT], device, dtype), limits, log_texts)
        if not is_loopback(host):
            typer.echo(
                f"warning: every machine that reaches {host} can ask for the token's texts, and "
                "they travel unencrypted",
                err=True,
            )
        token = next(iter(tokens), None)
        typer.echo(url_of(host, port, token) if uds is None else f"unix:{uds}{_query(token)}")
        run(service, access, listening)


def _tokens() -> list[str]:
    """Return the tokens of the environment, one a line; a random one by default."""
    lines = os.environ.get(TOKEN, "").splitlines()
    tokens = [line for line in lines if line] or [secrets.token_urlsafe(24)]
    if not all(re.fullmatch("[!-~]+", token) for token in tokens):
        raise UsageError(f"{TOKEN} must have visible ASCII characters alone, as a header has")
    return tokens


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: the address or name.
        port: the port; 0 for any free one.

    Raises:
        UsageError: the address is taken or not this machine's.
    """
    import socket  # `corelm --help` needs none

    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        # `create_server` adds the address to the reason.
        reason = str(error.strerror or error).partition(" (while")[0]
        raise UsageError(f"cannot listen on {host}:{port}: {reason}") from None


def listen_unix(path: str) -> socket.socket:
    """Return a listening Unix domain socket, which replaces one that an ended server left.

    The umask decides who may connect.

    Raises:
        UsageError: a server listens there, or there can be no socket.
    """
    import socket

    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no Unix domain sockets; use --host and --port")
    listening = socket.socket(socket.AF_UNIX)
    listening.setblocking(False)
    try:
        if Path(path).is_socket() and listening.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)
        listening.bind(path)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"cannot listen at {path}: {error.strerror or error}") from None
    return listening


def loaded(
    names: list[str], device: str | None, dtype: str | None
) -> dict[str, corelm.LanguageModel]:
    """Return the models by the names that requests use, which show no folder."""
    by_name: dict[str, corelm.LanguageModel] = {}
    for argument in names:
        name, equals, model = argument.partition("=")
        if not equals:
            name, model = _public_name(argument), argument
        if not name or not model:
            raise UsageError(
                f"--model {argument} has an empty side; write NAME=MODEL, or the model"
            )
        if name in by_name:
            raise UsageError(f"two models are called {name}; name one with NAME={model}")
        by_name[name] = _load(model, device, dtype)
    return by_name


def _load(name: str, device: str | None, dtype: str | None) -> corelm.LanguageModel:
    """Load a model; another engine's model gets a thread of its own."""
    from corelm_serve.engine_thread import EngineThread, OneThreadModel

    source = NamedModel.plugin_of(name)
    if source is None or source.distribution == OWN:
        return corelm.load(name, device=device, dtype=dtype)
    thread = EngineThread()
    model = thread.call(lambda: corelm.load(name, device=device, dtype=dtype))
    return OneThreadModel(model, thread)


def source_of(argument: str) -> str:
    """Return the model of [NAME=]MODEL."""
    return argument.partition("=")[2] or argument


def _public_name(model: str) -> str:
    """Return the name of a model in requests: the last part of a path."""
    scheme, colon, rest = NamedModel.label(model).rpartition(":")
    last = rest.replace(os.sep, "/").rstrip("/").rpartition("/")[2]
    return last if "/" in rest or not colon else f"{scheme}{colon}{last}"


def url_of(host: str, port: int, token: str | None, page: str = "") -> str:
    """Return the URL of a page, with the token."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/{page}{_query(token)}"


def _query(token: str | None) -> str:
    return f"?token={quote(token, safe='')}" if token else ""


@corelm.hookimpl
def corelm_commands() -> dict[str, typer.Typer]:
    short_help = "Serve models to OpenAI-compatible clients."
    return {"serve": application(serve, short_help, groups=GROUPS)}
