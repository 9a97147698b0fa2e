"""Measure how long ordinary requests wait during hostile ones: percentiles, in one run.

    python tests/benchmarks/hostile.py [--seconds 20] [--only NAME]

A real server of `imdb`. For each kind of hostile request, some clients send it all the time, while
three ordinary clients ask for `/health`, a completion of 4 tokens, and a streamed one of 16. The
table has the median, the 99th percentile and the longest of the ordinary times, in milliseconds,
the 99th percentile of the processor time that the server takes between such a request and its
answer, which says the same on a busy machine (two processors can take twice the time that passes),
and the peak memory of the server's process. The first row has no hostile clients.

It needs httpx2 and the packages plugins/corelm-serve, corelm-grammar and corelm-beam.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx

SOON = 120
BASE = {"model": "imdb", "prompt": "This movie"}
LARGE = {**BASE, "n": 12, "logprobs": 20, "max_tokens": 4000, "sampler": "min_length(n=4000)"}
LONG = "the movie was good and the plot was bad . " * 3_000


def intersections() -> str:
    """Return an expression with a schema of many intersections of patterns."""

    def either(i: int) -> dict[str, Any]:
        names = chr(97 + 2 * i), chr(98 + 2 * i)
        return {"anyOf": [{"properties": {name: {"pattern": "a"}}} for name in names]}

    parts = {str(k): {"allOf": [either(i) for i in range(8)]} for k in range(5)}
    text = json.dumps({"properties": parts}, separators=(",", ":"))
    return f"json_schema(schema={text!r})"


HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "schema": ("/v1/completions", {**BASE, "sampler": intersections()}),
    "stop_regex": ("/v1/completions", {**BASE, "max_tokens": 4000, "stop_regex": "(.*e){20}b"}),
    "pattern": ("/v1/completions", {**BASE, "stop_regex": "(?R)|x"}),
    "dry": ("/v1/completions", {
        **BASE, "prompt": [[5] * 30_000], "n": 8, "max_tokens": 64,
        "sampler": "dry(multiplier=0.8)",
    }),
    "echo": ("/v1/completions", {
        **BASE, "prompt": [[5 + i % 900 for i in range(30_000)]], "echo": True, "logprobs": 20,
        "max_tokens": 0,
    }),
    "text": ("/tokenize", {"prompt": LONG * 7}),
    "beam": ("/v1/completions", {**BASE, "decoder": "beam(width=64)", "max_tokens": 400}),
    "picture": ("/api/picture", {
        "prompt": "This movie", "form": "png",
        "sampler": " | ".join(f"temperature(t={1 + i / 100})" for i in range(32)),
    }),
}  # fmt: skip
"""Paths and bodies."""


class Times:
    """The times of ordinary requests, in seconds.

    Args:
        pid: the server's process.
    """

    def __init__(self, pid: int) -> None:
        self._clock = ~pid << 3 | 2  # of the process's time, as clock_getcpuclockid(3) has it
        self.all: list[float] = []
        self.processor: list[float] = []

    async def ask(self, http: httpx.AsyncClient, end: float) -> None:
        """Ask for short things in turn."""
        short = {**BASE, "max_tokens": 4, "temperature": 0.8}
        while time.monotonic() < end:
            for work in (
                lambda: http.get("/health"),
                lambda: http.post("/v1/completions", json=short),
                lambda: http.post("/v1/completions", json={**short, "stream": True}),
            ):
                started, before = time.monotonic(), time.clock_gettime(self._clock)
                (await work()).raise_for_status()
                self.all.append(time.monotonic() - started)
                self.processor.append(time.clock_gettime(self._clock) - before)

    def row(self) -> str:
        """Return the cells of the table."""
        figures = [statistics.median(self.all), late(self.all), max(self.all), late(self.processor)]
        return f"{len(self.all):,} | " + " | ".join(f"{1000 * x:,.0f}" for x in figures)


def late(times: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(times)[min(int(0.99 * len(times)), len(times) - 1)]


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Yield the URL of a server without a token, and its process."""
    command = [sys.executable, "-m", "corelm", "serve", "--port", "0", "--no-token"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().rstrip("/"), process.pid
    finally:
        process.terminate()
        process.wait(SOON)


async def hostile(http: httpx.AsyncClient, name: str, end: float) -> None:
    """Ask for one kind of work, again and again."""
    path, body = HOSTILE[name]
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            await http.post(path, json=body, timeout=max(end - time.monotonic(), 0.1))


async def unread(url: str, end: float) -> None:
    """Ask for a large stream and read nothing; ask again when dropped."""
    address = re.fullmatch(r"http://(.*):(\d+)", url)
    assert address is not None
    content = json.dumps({**LARGE, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {address[1]}:{address[2]}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((address[1], int(address[2]))) as connection:
        connection.sendall(head.encode() + content)
        await asyncio.sleep(max(end - time.monotonic(), 0))


async def run(url: str, pid: int, name: str, clients: int, seconds: float) -> str:
    """Return a row of the table."""
    end, times = time.monotonic() + seconds, Times(pid)
    others: list[Awaitable[None]] = []
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=url, timeout=SOON, limits=limits) as http:
        ask: Callable[[], Awaitable[None]] = (
            (lambda: unread(url, end)) if name == "unread" else lambda: hostile(http, name, end)
        )
        others = [ask() for _ in range(clients)] if name != "none" else []
        await asyncio.gather(*others, *(times.ask(http, end) for _ in range(3)))
    return f"| {name} | {clients if others else 0} | {times.row()} | {peak(pid):,} |"


def peak(pid: int) -> int:
    """Return the largest memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=["none", *HOSTILE, "unread"])
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    print("| hostile | clients | ordinary requests | median, ms | 99th percentile | longest "
          "| processor, 99th | peak, MiB |\n|---" + "|---:" * 7 + "|", flush=True)  # fmt: skip
    for name in options.only:
        with serving() as (url, pid):
            row = asyncio.run(run(url, pid, name, options.clients, options.seconds))
            print(row, flush=True)
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
