"""Sixty students on one `corelm play --class`: latencies, and texts compared with corelm's own.

    python tests/benchmarks/play_class.py [--students 60] [--words 40]

Each student joins with the code, draws words one by one with a seed of their own, and asks for the
next word after each, as the page does, all at the same time and without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx2
import numpy as np

import corelm
from corelm.runs import machine

CHAIN = "top_k(k=40) | top_p(p=0.95) | temperature(t=0.8)"
PROMPT = "This movie is"


async def student(address: str, code: str, seed: int, words: int, times: list[float]) -> str:
    """Draw a text as the page does; return it."""
    async with httpx2.AsyncClient(base_url=address, timeout=120) as client:
        await client.get("/join", params={"code": code})
        tokens: list[int] = []
        text = ""
        for _ in range(words):
            place = {"prompt": PROMPT, "sampler": CHAIN, "seed": seed, "tokens": tokens}
            for path, more in (("/api/write", {"length": 1}), ("/api/next", {"count": 8})):
                start = time.perf_counter()
                found = (await client.post(path, json={**place, **more})).json()
                times.append(time.perf_counter() - start)
                if path == "/api/write":
                    tokens += [word["id"] for word in found["words"]]
                    text += "".join(word["text"] for word in found["words"])
                    place["tokens"] = tokens
        return text


async def everybody(address: str, code: str, students: int, words: int) -> list[float]:
    """Let all students draw at once; return the times of requests in seconds."""
    times: list[float] = []
    drawn = await asyncio.gather(
        *(student(address, code, seed, words, times) for seed in range(students))
    )
    model = corelm.load("imdb")
    for seed, text in enumerate(drawn):
        [own] = corelm.generate(model, PROMPT, sampler=CHAIN, length=words, seed=seed)
        assert text == own.text, f"the text of student {seed} is not corelm's"
    return times


def main() -> None:
    """Print the latencies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--words", type=int, default=40)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "corelm", "play", "--class", "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        code = server.stderr.readline().split()[-1]
        address = "http://" + urlsplit(server.stdout.readline()).netloc
        start = time.perf_counter()
        times = asyncio.run(everybody(address, code, arguments.students, arguments.words))
        seconds = time.perf_counter() - start
        server.terminate()
    p50, p95 = np.percentile(np.array(times) * 1000, [50, 95])
    print(machine.facts())
    print(f"{arguments.students} students, {arguments.words} words each: all texts are corelm's")
    print(
        f"{len(times):,} requests in {seconds:.0f} s; median {p50:.0f} ms, 95 % below {p95:.0f} ms"
    )


if __name__ == "__main__":
    main()
