"""corelm's server next to llama.cpp's own, with the same weights, in one run.

    python tests/benchmarks/servers.py [--clients 1 8 64] [--llama-server build/bin/llama-server]
    python tests/benchmarks/servers.py --uneven
    python tests/benchmarks/servers.py --many

Each server gets the network of `peers.gpt2` and the same requests, from clients that ask again as
soon as they have their answer. With plugins/corelm-llama-cpp, corelm's server also runs the GGUF
file of the others, in llama.cpp. All draw from the model's own distribution. The table has requests
and tokens a second, and microseconds of a processor for a token without those of the clients, of
whole answers; and the time to the first token, of streamed ones. The first row is `corelm.generate`
in this process, with as many texts at once.

With `--uneven`, half of the clients ask for texts of 8 tokens and half for 72, from the first
server alone; the table has the time to the first token of the short ones. With `--many`, one client
asks for 64 texts at a time beside those who ask for one.

It needs gguf, psutil and the package plugins/corelm-serve. llama-server writes as many texts at
once as there are clients. Without `--llama-server` the comparison is with the server of
llama-cpp-python[server], which answers one request after the other. Observers, which plugins may
have, are left out: they read every token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from peers import gpt2
from timing import head, line

import corelm
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
SHORT, LONG = 8, 72
"""Tokens of the texts of uneven clients."""
MANY = 64
"""Texts of the request of one client beside others."""
OWN_PLUGINS = "corelm,corelm-serve,corelm-llama-cpp,corelm-presets"
TITLES = ("server", "clients", "requests/s", "tokens/s", "processor a token",
          "first token, median", "99 %")  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        name: its name in the table.
        port: its port on this machine.
        body: the fields of a request.
        process: its process.
    """

    name: str
    port: int
    body: dict[str, Any]
    process: psutil.Process


@dataclass(frozen=True)
class Figures:
    """The figures of a server under a load; times in milliseconds, `processor` in microseconds."""

    requests: float
    tokens: float
    processor: float
    median: float = math.nan
    late: float = math.nan

    def row(self, name: str, clients: int) -> str:
        """Return a row of the table."""
        first = ("-" if math.isnan(each) else f"{each:.0f} ms" for each in (self.median, self.late))
        rates = f"{self.requests:.1f}", f"{self.tokens:,.0f}", f"{self.processor:.0f} us"
        return line([name, clients, *rates, *first])


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
            end = time.monotonic() + SOON
            while not _answers(port, health):
                if time.monotonic() > end or process.poll() is not None:
                    raise SystemExit(f"{name} didn't start: {' '.join(command)}")
                time.sleep(0.2)
            yield Server(name, port, body, psutil.Process(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return bool(response.status == 200)
    except OSError:
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
    serve = [sys.executable, "-m", "corelm", "serve", "--no-token", "--port", "{port}"]
    yield (
        "corelm serve", [*serve, "--model", f"model={folder / 'model'}"],
        BODY | {"model": "model"}, "/health",
    )  # fmt: skip
    if find_spec("corelm_llama_cpp"):
        yield (
            "corelm serve, the GGUF file", [*serve, "--model", f"model=gguf:{weights}"],
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


def load(server: Server, clients: int, requests: int = REQUESTS) -> Figures:
    """Return the figures of a server that several clients ask at once."""
    return asyncio.run(_load(server, clients, requests))


async def _load(server: Server, clients: int, requests: int) -> Figures:
    await _whole(server, 1)
    begun, before = time.monotonic(), _processor(server.process)
    drawn = sum(await asyncio.gather(*(_whole(server, requests) for _ in range(clients))))
    seconds, processor = time.monotonic() - begun, _processor(server.process) - before
    lists = await asyncio.gather(*(_first(server, requests) for _ in range(clients)))
    return Figures(
        clients * requests / seconds, drawn / seconds, 1e6 * processor / drawn,
        *_median_and_late(lists),
    )  # fmt: skip


def in_process(model: corelm.LanguageModel, texts: int, times: int) -> Figures:
    """Return the figures of `corelm.generate` with several texts at once."""
    begun, before = time.monotonic(), time.process_time()
    drawn = sum(
        len(text.tokens)
        for _ in range(times)
        for text in corelm.generate(model, PROMPT, sampler="stochastic", length=LENGTH, n=texts)
    )
    seconds, processor = time.monotonic() - begun, time.process_time() - before
    return Figures(texts * times / seconds, drawn / seconds, 1e6 * processor / drawn)


async def uneven(server: Server, clients: int, requests: int, n: int = 1) -> Figures:
    """Return the figures of short texts, whose clients are half of all.

    Args:
        server: the server.
        clients: the number of clients.
        requests: of each client with short texts.
        n: the long texts that one client asks for; 1 for many such clients.
    """
    stop = asyncio.Event()

    async def long() -> None:
        while not stop.is_set():
            await _first(server, 1, LONG, n)

    others = [asyncio.ensure_future(long()) for _ in range(clients // 2 if n == 1 else 1)]
    begun, before = time.monotonic(), _processor(server.process)
    # Without the first request of each, which all come at once.
    short = (_first(server, 1 + requests, SHORT) for _ in range(clients // 2))
    lists = await asyncio.gather(*short)
    seconds, processor = time.monotonic() - begun, _processor(server.process) - before
    stop.set()
    await asyncio.gather(*others)
    count = sum(map(len, lists))
    lists = [of_client[1:] for of_client in lists]
    drawn = SHORT * count
    return Figures(
        count / seconds, drawn / seconds, 1e6 * processor / drawn, *_median_and_late(lists)
    )


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _median_and_late(seconds: Iterable[list[float]]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    first = sorted(1000 * each for of_client in seconds for each in of_client)
    return statistics.median(first), first[min(int(0.99 * len(first)), len(first) - 1)]


async def _asked(
    server: Server, body: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send a request; return its connection and the head of the answer.

    Written by hand, since a library's client takes as much of a processor as the server. A
    connection for each request: llama-server closes some that a client may use again.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    content = json.dumps(body)
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: "
        f"application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split()[1] != b"200":
        raise SystemExit(f"{server.name}: {head.decode()}")
    return reader, writer, head


async def _whole(server: Server, requests: int) -> int:
    """Ask for whole answers; return the number of tokens."""
    drawn = 0
    for _ in range(requests):
        reader, writer, head = await _asked(server, server.body)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None, head
        answer = json.loads(await reader.readexactly(int(length[1])))
        drawn += answer["usage"]["completion_tokens"]
        writer.close()
    return drawn


async def _first(server: Server, requests: int, length: int = LENGTH, n: int = 1) -> list[float]:
    """Ask for streams of n texts; return the seconds to the first event of each."""
    times, body = [], server.body | {"stream": True, "max_tokens": length, "n": n}
    for _ in range(requests):
        begun = time.monotonic()
        reader, writer, _ = await _asked(server, body)
        event = await reader.readuntil(b"\n\n")
        times.append(time.monotonic() - begun)
        assert b'data: {"' in event, event
        assert b'"error"' not in event, event
        await reader.readuntil(b"data: [DONE]")
        writer.close()
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--llama-server", metavar="PROGRAM")
    parser.add_argument("--uneven", action="store_true", help="short texts next to long ones")
    parser.add_argument("--many", action="store_true", help="one text next to a request for many")
    options = parser.parse_args()
    os.environ["CORELM_PLUGINS"] = OWN_PLUGINS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every = commands(folder, max(options.clients), options.llama_server)
        servers = [stack.enter_context(started(*each)) for each in every]
        model = corelm.load(folder / "model")
        print(head(TITLES))
        for clients in options.clients:
            requests = max(options.requests, FEWEST // clients)
            if options.uneven or options.many:
                n = MANY if options.many else 1
                figures = asyncio.run(uneven(servers[0], clients, requests, n))
                print(figures.row("corelm serve, short texts", clients), flush=True)
                continue
            print(in_process(model, clients, requests).row("corelm.generate", clients), flush=True)
            for server in servers:
                print(load(server, clients, requests).row(server.name, clients), flush=True)


if __name__ == "__main__":
    main()
