"""Load a server with many clients and compare every text with the one that corelm writes alone.

    python serve_load.py --clients 64 --seconds 300

Clients come at random times, with random prompts, chains, seeds, lengths and numbers of texts; some
read a stream, some go away in the middle of one.
"""

import argparse
import asyncio
import json
import math
import random
import time
from dataclasses import dataclass, field
from functools import cache

import httpx2 as httpx
import psutil
from serve_process import serving

import corelm

PROMPTS = (
    "This movie", "I", "The acting was", "this film is one of the best i have ever seen , and",
    "It was " * 30, "the plot of " * 30, "Bad", "A masterpiece",
)  # fmt: skip
CHAINS = (
    "stochastic", "temperature(t=0.7)", "top_p(p=0.9) | temperature(t=1.3)", "mirostat(tau=3.0)",
    "min_p(p=0.05) | repetition_penalty(penalty=1.2)", "dry | top_k(k=40)",
)  # fmt: skip
LENGTHS, SEEDS = (5, 20, 60), 20
TEXTS = (1, 2, 3) * 10 + (64,)
ALONE = ("prompt", "sampler", "seed", "max_tokens", "n")
LEAVES = 0.1
"""The share of clients that go away."""


@dataclass
class Tally:
    """Collect the results of a run."""

    texts: list = field(default_factory=list)
    first: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    left: int = 0
    tokens: int = 0
    memory: list = field(default_factory=list)


def body(rng):
    """Return a random request."""
    return {
        "model": "imdb",
        "prompt": rng.choice(PROMPTS),
        "sampler": rng.choice(CHAINS),
        "seed": rng.randrange(SEEDS),
        "max_tokens": rng.choice(LENGTHS),
        "n": rng.choice(TEXTS),
        "stream": rng.random() < 0.5,
    }


async def client(http, rng, end, requests, tally):
    """Ask again and again, with pauses."""
    while requests > 0 and time.monotonic() < end:
        requests -= 1
        await asyncio.sleep(rng.expovariate(20))
        asked, started = body(rng), time.monotonic()
        if asked["stream"]:
            texts = await streamed(http, asked, rng, started, tally)
        else:
            response = await http.post("/v1/completions", json=asked)
            answer = response.raise_for_status().json()
            texts = [choice["text"] for choice in answer["choices"]]
            tally.tokens += answer["usage"]["completion_tokens"]
        if texts is None:
            tally.left += 1
            continue
        tally.seconds.append(time.monotonic() - started)
        tally.texts.append((asked, texts))


async def streamed(http, asked, rng, started, tally):
    """Read a stream; return None if the client went away."""
    texts, leaves, ended = [""] * asked["n"], rng.random() < LEAVES, False
    async with http.stream("POST", "/v1/completions", json=asked) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not texts[0]:
                tally.first.append(time.monotonic() - started)
            if leaves and rng.random() < 0.2:
                return None
            if not line or line == "data: [DONE]":
                ended = ended or bool(line)
                continue
            event = json.loads(line.removeprefix("data: "))
            assert "error" not in event, event
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
                tally.tokens += len(choice["corelm"]["entropy"])
    assert ended, "a stream ended early"
    return texts


async def load(url, headers, clients, seconds, requests, pid, tally):
    """Run the clients for some seconds, or until each has sent some requests."""
    process, end = psutil.Process(pid), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=limits) as http:
        running = [
            asyncio.ensure_future(client(http, random.Random(i), end, requests, tally))
            for i in range(clients)
        ]
        while not all(each.done() for each in running):
            tally.memory.append(process.memory_info().rss / 2**20)
            await asyncio.wait(running, timeout=min(1, seconds / 10))
        await asyncio.gather(*running)


def wrong(texts):
    """Return the requests whose texts differ from what corelm writes alone."""
    model = corelm.load("imdb")

    @cache
    def alone(prompt, sampler, seed, length, n):
        return [
            text.text
            for text in corelm.generate(
                model, prompt, sampler=sampler, seed=seed, length=length, n=n
            )
        ]

    return [asked for asked, found in texts if found != alone(*(asked[name] for name in ALONE))]


def percentile(values, share):
    """Return a percentile in milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def run(clients, seconds=math.inf, requests=math.inf):
    """Load a server; return what happened and its errors."""
    tally = Tally()
    with serving("--model", "imdb", errors=False) as server:
        started = time.monotonic()
        pid = server.process.pid
        asyncio.run(load(server.url, server.headers, clients, seconds, requests, pid, tally))
        elapsed = time.monotonic() - started
        metrics = httpx.get(f"{server.url}/metrics", headers=server.headers).text
    return tally, elapsed, metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    tally, elapsed, _ = run(options.clients, options.seconds)
    count = len(tally.texts)
    print(f"{count} requests in {elapsed:.0f} s, {count / elapsed:.1f} a second, {tally.left} left")
    print(f"{tally.tokens / elapsed:.0f} tokens a second")
    for name, values in (("first token", tally.first), ("whole answer", tally.seconds)):
        median, late = (percentile(values, share) for share in (0.5, 0.99))
        print(f"{name}: median {median:.0f} ms, 99th percentile {late:.0f} ms")
    quarter = max(len(tally.memory) // 4, 1)
    print(f"memory: {max(tally.memory[:quarter]):.0f} MiB at most in the first quarter, "
          f"{max(tally.memory[-quarter:]):.0f} MiB in the last")  # fmt: skip
    print(f"{len(wrong(tally.texts))} of {count} requests have other texts than alone")


if __name__ == "__main__":
    main()
