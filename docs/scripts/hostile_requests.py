"""Ask a server for short texts, alone and with hostile requests of 22 kinds, and print both p99.

    python docs/scripts/hostile_requests.py [--seconds 20] [--turns 2]

Each kind has a client of its own, which asks as soon as it has its answer and a short pause. Four
other clients ask for a text of 20 tokens. It needs corelm-serve, and corelm-grammar and corelm-beam
for some kinds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

PAUSE, PATIENCE = 0.1, 20.0
"""Seconds between two requests of a client, and those after which a hostile one goes away."""
WORDS = "the film was good and the plot was bad "
SCHEMA = {
    "properties": {
        str(k): {"allOf": [
            {"anyOf": [{"properties": {chr(97 + 2 * i + j): {"pattern": "a"}}} for j in range(2)]}
            for i in range(8)
        ]}
        for k in range(5)
    }
}  # fmt: skip
"""A schema whose grammar has 5 times 256 intersections."""
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
BODIES: dict[str, dict[str, Any]] = {
    "64 texts": {"n": 64, "max_tokens": 400},
    "a long prompt": {"prompt": WORDS * 3_000},
    "128 prompts": {"prompt": [WORDS * 3] * 128, "max_tokens": 50},
    "log-probabilities": {"n": 32, "logprobs": 20, "max_tokens": 200},
    "sets": {"n": 16, "record": "sets", "max_tokens": 50, "sampler": "top_k(k=2000)"},
    "a prompt to score": {"prompt": WORDS * 800, "echo": True, "logprobs": 5, "max_tokens": 0},
    "a large schema": {"response_format": FORM},
    "a slow pattern": {"stop_regex": "(.*e){20}b", "max_tokens": 2_000},
    "a deep pattern": {"sampler": "regex(pattern='((a{1,99}){1,99}){1,99}')"},
    "a search": {"decoder": "beam(width=64)", "max_tokens": 200},
    "deep JSON": {"logit_bias": json.loads("[" * 500 + "]" * 500)},
    "unknown fields": {f"field_{i}": i for i in range(2_000)},
    "a long chain": {"sampler": " | ".join(["temperature(t=1.01)"] * 60), "n": 16},
}
"""The bodies of hostile requests that are sent as they should be."""


class Server:
    """A server, and the connections to it.

    Args:
        port: its port.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def head(self, line: str, length: int | None = 0, token: str = "secret") -> bytes:
        """Return the head of a request."""
        lines = [
            f"{line} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {token}",
        ]
        lines += ["Content-Type: application/json", "Connection: close"]
        lines += [] if length is None else [f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def request(self, path: str = "/v1/completions", **body: Any) -> bytes:
        """Return a request."""
        content = json.dumps({"model": "imdb", "prompt": "This movie", **body}).encode()
        return self.head(f"POST {path}", len(content)) + content

    async def send(self, content: bytes, read: bool = True) -> bytes:
        """Send some bytes, and return the answer; without `read`, go away after a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)
        try:
            writer.write(content)
            await writer.drain()
            return await reader.read() if read else await asyncio.sleep(0.3, b"")
        finally:
            writer.transport.abort()


async def slowly(server: Server) -> None:
    """Send a body byte by byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for byte in server.request():
        writer.write(bytes([byte]))
        await asyncio.sleep(0.002)
    await reader.read()
    writer.close()


async def many_idle(server: Server) -> None:
    """Open connections, more than the server keeps, and send nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(300)]
    await asyncio.sleep(4)
    for _, writer in opened:
        writer.transport.abort()


def kinds(server: Server) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the hostile kinds."""
    long = server.request(n=16, max_tokens=4_000, stream=True, sampler="min_length(n=4096)")
    head = server.head("GET /v1/models", None)
    raw = {
        **{name: server.request(**body) for name, body in BODIES.items()},
        "garbage": b"\x00\xff garbage\r\n\r\n" * 50,
        "long headers": head[:-2] + b"X: y\r\n" * 2**15,
        "wrong token": server.head("GET /v1/models", token="x" * 5_000),
        "two lengths": server.head("POST /v1/completions", 5)[:-2]
        + b"Transfer-Encoding: chunked\r\n\r\n",
        "a large text to split": server.request("/tokenize", prompt=WORDS * 20_000),
    }
    return {
        **{name: partial(server.send, content) for name, content in raw.items()},
        "goes away": lambda: server.send(long, read=False),
        "half a request": lambda: server.send(long[:-20], read=False),
        "byte by byte": lambda: slowly(server),
        "idle connections": lambda: many_idle(server),
    }  # fmt: skip


async def hostile(ask: Callable[[], Awaitable[Any]], name: str, seen: Counter[str]) -> None:
    """Ask until cancelled."""
    while True:
        status = "no answer"
        with contextlib.suppress(OSError, TimeoutError):
            answer = await asyncio.wait_for(ask(), PATIENCE)
            status = (answer or b"- none").split(maxsplit=2)[1].decode()
        seen[f"{name}: {status}"] += 1
        await asyncio.sleep(PAUSE)


async def ordinary(server: Server, end: float, seconds: list[float]) -> None:
    """Ask for short texts until a time."""
    while time.monotonic() < end:
        begun = time.monotonic()
        answer = await server.send(server.request(max_tokens=20, seed=1))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
        seconds.append(time.monotonic() - begun)
        await asyncio.sleep(PAUSE)


async def turn(server: Server, duration: float, seen: Counter[str] | None) -> list[float]:
    """Return the seconds of ordinary requests, with hostile ones if these are counted."""
    tasks, seconds = list[asyncio.Future[None]](), list[float]()
    if seen is not None:
        every = kinds(server).items()
        tasks = [asyncio.ensure_future(hostile(ask, name, seen)) for name, ask in every]
    end = time.monotonic() + duration
    await asyncio.gather(*(ordinary(server, end, seconds) for _ in range(4)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seconds


def main() -> None:
    """Print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    command = [sys.executable, "-m", "corelm", "serve", "--model", "imdb", "--port", "0"]
    environment = {"CORELM_SERVE_TOKEN": "secret"}
    with subprocess.Popen(
        ["env", *(f"{name}={value}" for name, value in environment.items()), *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline().partition("/?")[0].rpartition(":")[2])
        server, seen = Server(port), Counter[str]()
        try:
            for number in range(2 * options.turns):
                is_with = number % 2 == 1
                seconds = sorted(
                    asyncio.run(turn(server, options.seconds, seen if is_with else None))
                )
                median, late = (1000 * seconds[int(x * len(seconds))] for x in (0.5, 0.99))
                print(f"{'with hostile ones' if is_with else 'alone'}: {len(seconds)} requests, "
                      f"median {median:.0f} ms, 99 % {late:.0f} ms, "
                      f"longest {1000 * seconds[-1]:.0f} ms", flush=True)  # fmt: skip
        finally:
            process.terminate()
    for name, count in sorted(seen.items()):
        print(count, name)


if __name__ == "__main__":
    main()
