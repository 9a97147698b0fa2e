"""corelm's server next to llama.cpp's own, with the same weights, in one run.

    python tests/benchmarks/servers.py [--clients 1 8 64] [--llama-server build/bin/llama-server]

Each server gets the network of `peers.gpt2` and the same requests, from clients that ask again as
soon as they have their answer. With plugins/corelm-llama-cpp, corelm's server also runs the GGUF
file of the others, in llama.cpp. All draw from the model's own distribution. The table has requests
and tokens a second, of whole answers, and the time to the first token, of streamed ones.

It needs gguf, httpx2 and the package plugins/corelm-serve. llama-server writes as many texts at
once as there are clients. Without `--llama-server` the comparison is with the server of
llama-cpp-python[server], which answers one request after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2 as httpx
from peers import gpt2

from corelm.models.bundle import Bundle
from corelm.models.export.gguf import files

PROMPT = "The acting was good and the plot of this movie"
LENGTH = 48
"""Tokens of a text."""
REQUESTS = 4
"""Requests of each client, of each of both kinds."""
FEWEST = 16
"""Requests of all clients."""
SOON = 60
BODY = {"prompt": PROMPT, "max_tokens": LENGTH, "temperature": 1.0, "top_p": 1.0}
LLAMA = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
"""What llama.cpp would do otherwise."""
HEADER = """\
| server | clients | requests/s | tokens/s | first token, median | 99th percentile |
|---|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        name: its name in the table.
        url: its address.
        body: the fields of a request.
    """

    name: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """The figures of a server under a load; times in milliseconds."""

    requests: float
    tokens: float
    median: float
    late: float

    def row(self, name: str, clients: int) -> str:
        """Return a row of the table."""
        return (
            f"| {name} | {clients} | {self.requests:.1f} | {self.tokens:,.0f} | "
            f"{self.median:.0f} ms | {self.late:.0f} ms |"
        )


@contextmanager
def started(name: str, command: list[str], body: dict[str, Any], health: str) -> Iterator[Server]:
    """Start a server on a free port, and end it.

    Args:
        name: its name in the table.
        command: its command; `{port}` stands for the port.
        body: the fields of a request.
        health: a path that answers when the server does.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [part.format(port=port) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + SOON
            while not _answers(url + health):
                if time.monotonic() > end or process.poll() is not None:
                    raise SystemExit(f"{name} didn't start: {' '.join(command)}")
                time.sleep(0.2)
            yield Server(name, url, body)
        finally:
            process.send_signal(signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def commands(folder: Path, most: int, llama_server: str | None) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `started` for each server.

    Args:
        folder: where the weights are written.
        most: the largest number of clients.
        llama_server: the program of llama.cpp; None to leave it out.
    """
    bundle, weights = gpt2.bundle(), str(folder / "model.gguf")
    Bundle.write(folder / "model", bundle.architecture, bundle.vocabulary, bundle.weights, {}, {},
          dtype="float32")  # fmt: skip
    Path(weights).write_bytes(files(bundle, gpt2.vocabulary()))
    corelm = [sys.executable, "-m", "corelm", "serve", "--no-token", "--port", "{port}"]
    yield (
        "corelm serve", [*corelm, "--model", f"model={folder / 'model'}"],
        BODY | {"model": "model"}, "/health",
    )  # fmt: skip
    if find_spec("corelm_llama_cpp"):
        yield (
            "corelm serve, the GGUF file", [*corelm, "--model", f"model=gguf:{weights}"],
            BODY | {"model": "model"}, "/health",
        )  # fmt: skip
    if llama_server:
        context = str(most * gpt2.SHAPE.context_length)
        yield (
            "llama-server",
            [llama_server, "-m", weights, "--port", "{port}", "-np", str(most), "-c", context,
             "-t", str(os.cpu_count())],
            BODY | LLAMA, "/health",
        )  # fmt: skip
        return
    if not find_spec("sse_starlette"):
        print("without llama-cpp-python's server: pip install 'llama-cpp-python[server]'")
        return
    yield (
        "llama-cpp-python's server",
        [sys.executable, "-m", "llama_cpp.server", "--model", weights, "--port", "{port}",
         "--interrupt_requests", "False", "--n_ctx", str(gpt2.SHAPE.context_length)],
        BODY | LLAMA, "/v1/models",
    )  # fmt: skip


async def load(server: Server, clients: int, requests: int = REQUESTS) -> Figures:
    """Return the figures of a server that several clients ask at once."""
    # A connection for each request: llama-server closes some that a client may use again.
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits) as http:
        await _whole(http, server, 1)
        begun = time.monotonic()
        drawn = sum(await asyncio.gather(*(_whole(http, server, requests) for _ in range(clients))))
        seconds = time.monotonic() - begun
        lists = await asyncio.gather(*(_first(http, server, requests) for _ in range(clients)))
    first = sorted(1000 * each for of_client in lists for each in of_client)
    late = first[min(int(0.99 * len(first)), len(first) - 1)]
    return Figures(clients * requests / seconds, drawn / seconds, statistics.median(first), late)


async def _whole(http: httpx.AsyncClient, server: Server, requests: int) -> int:
    """Ask for whole answers; return the number of tokens."""
    drawn = 0
    for _ in range(requests):
        response = await http.post("/v1/completions", json=server.body)
        drawn += response.raise_for_status().json()["usage"]["completion_tokens"]
    return drawn


async def _first(http: httpx.AsyncClient, server: Server, requests: int) -> list[float]:
    """Ask for streams; return the seconds to the first event of each."""
    times, body = [], server.body | {"stream": True}
    for _ in range(requests):
        begun, seen = time.monotonic(), False
        async with http.stream("POST", "/v1/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not seen and line.startswith("data: {"):
                    assert "error" not in json.loads(line.removeprefix("data: ")), line
                    times.append(time.monotonic() - begun)
                    seen = True
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--llama-server", metavar="PROGRAM")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = commands(folder, max(options.clients), options.llama_server)
        servers = [stack.enter_context(started(*each)) for each in found]
        print(HEADER)
        for clients in options.clients:
            for server in servers:
                requests = max(options.requests, FEWEST // clients)
                figures = asyncio.run(load(server, clients, requests))
                print(figures.row(server.name, clients), flush=True)


if __name__ == "__main__":
    main()
