"""Ask a server for short texts, alone and with hostile requests of 22 kinds, and print both p99.

    python docs/scripts/hostile_requests.py [--seconds 20] [--turns 2] [--each] [--one-token]

Each kind has a client of its own, which asks as soon as it has its answer and a short pause; four
ordinary clients ask for a text of 20 tokens. Hostile clients have a token of their own, unless
`--one-token` gives all the same. They have a process of their own, with a niceness, so that work
which would be other machines' takes little from the server. Each line ends with the processor time
that the server took while a request waited (99 %), which other programs on a busy machine don't
change, and with the share of a processor of the server, the ordinary and the hostile clients. It
needs corelm-serve, and corelm-grammar and corelm-beam for some kinds.
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

import numpy as np
from numpy.typing import NDArray

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
        token: the token of the requests.
    """

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    def head(self, line: str, length: int | None = 0, token: str | None = None) -> bytes:
        """Return the head of a request."""
        lines = [
            f"{line} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {token or self.token}",
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
            async with asyncio.timeout(PATIENCE):  # Python 3.11's wait_for may lose a cancellation
                answer = await ask()
            status = (answer or b"- none").split(maxsplit=2)[1].decode()
        seen[f"{name}: {status}"] += 1
        await asyncio.sleep(PAUSE)


async def ordinary(server: Server, end: float, waits: list[NDArray[Any]], pid: int) -> None:
    """Ask for short texts until a time."""
    while time.monotonic() < end:
        begun = clocks(pid)
        answer = await server.send(server.request(max_tokens=20, seed=1))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
        waits.append(clocks(pid) - begun)
        await asyncio.sleep(PAUSE)


async def attack(server: Server, duration: float, names: list[str]) -> Counter[str]:
    """Ask for some seconds with hostile kinds, all at once; return what came of it."""
    seen = Counter[str]()
    tasks = [
        asyncio.ensure_future(hostile(ask, name, seen))
        for name, ask in kinds(server).items()
        if not names or name in names
    ]
    await asyncio.sleep(duration)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seen


def clocks(pid: int) -> NDArray[Any]:
    """Return the time, and the seconds of a processor that a process has taken."""
    return np.array([time.monotonic(), time.clock_gettime((~pid << 3) | 2)])


async def ask(server: Server, duration: float, pid: int) -> NDArray[Any]:
    """Return the sorted seconds of ordinary requests, and those of the server's processor time."""
    waits, end = list[NDArray[Any]](), time.monotonic() + duration
    await asyncio.gather(*(ordinary(server, end, waits, pid) for _ in range(4)))
    return np.sort(waits, axis=0)


def turn(server: Server, options: argparse.Namespace, pid: int, names: list[str] | None) -> str:
    """Return the figures of a turn, with hostile requests of some kinds; None for none."""
    arguments = [str(server.port), options.one_token or "hostile", str(options.seconds + 2)]
    attacking = names is not None and subprocess.Popen(
        ["nice", f"-n{options.niceness}", sys.executable, __file__, "--attack", *arguments,
         *(names or [])], stdout=subprocess.PIPE,
    )  # fmt: skip
    if attacking:
        assert attacking.stdout is not None
        attacking.stdout.readline()  # it begins
        time.sleep(1)
    begun, own = clocks(pid), time.process_time()
    waits = 1000 * asyncio.run(ask(server, options.seconds, pid))
    elapsed, taken = clocks(pid) - begun
    shares = [taken / elapsed, (time.process_time() - own) / elapsed]
    if attacking:
        content = json.loads(attacking.communicate()[0])
        SEEN.update(content["seen"])
        shares.append(content["share"])
    (median, _), (late, processor), (longest, _) = (
        waits[int(x * (len(waits) - 1))] for x in (0.5, 0.99, 1)
    )
    return (f"{len(waits)} requests, median {median:.0f} ms, 99 % {late:.0f} ms, "
            f"longest {longest:.0f} ms, processor {processor:.0f} ms; shares "
            + ", ".join(f"{100 * each:.0f} %" for each in shares))  # fmt: skip


SEEN = Counter[str]()
"""The answers of hostile requests."""


def main() -> None:
    """Print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--each", nargs="*", help="each kind, or these, by itself")
    parser.add_argument("--one-token", action="store_const", const="ordinary")
    parser.add_argument("--niceness", type=int, default=19, help="of hostile clients")
    parser.add_argument("--attack", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        port, token, seconds, *names = options.attack
        print(flush=True)
        begun = [time.monotonic(), time.process_time()]
        seen = asyncio.run(attack(Server(int(port), token), float(seconds), names))
        share = (time.process_time() - begun[1]) / (time.monotonic() - begun[0])
        print(json.dumps({"seen": seen, "share": share}))
        return
    command = [sys.executable, "-m", "corelm", "serve", "--model", "imdb", "--port", "0"]
    with subprocess.Popen(
        ["env", "CORELM_SERVE_TOKEN=ordinary\nhostile", *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline().partition("/?")[0].rpartition(":")[2])
        server = Server(port, "ordinary")
        every = [[]] if options.each is None else [[x] for x in options.each or kinds(server)]
        try:
            for _ in range(options.turns):
                for names in every:
                    print("alone:", turn(server, options, process.pid, None), flush=True)
                    what = turn(server, options, process.pid, names)
                    print(f"beside {' '.join(names) or 'all kinds'}:", what, flush=True)
        finally:
            process.terminate()
    for name, count in sorted(SEEN.items()):
        print(count, name)


if __name__ == "__main__":
    main()
