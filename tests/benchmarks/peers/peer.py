"""What every peer can do, and how a process of its own does it when it is asked."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

PROMPT = "w10 w11"
IDS = (12, 13)
"""The same: before the words come padding and the unknown word."""
TEMPERATURE = 0.7
TRIES = 2
"""How often each way is tried; the first time it may be compiled."""
LEAST = 0.3
"""Seconds of a turn at least: a batch that takes less is written several times."""


class Peer(ABC):
    """What writes texts with a network: from `PROMPT`, at `TEMPERATURE`."""

    @abstractmethod
    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        """(vocabulary,): the scores after a prompt, its last token read alone as in decoding."""

    def ways(self, batch: int) -> list[str]:
        """The ways in which it can write; the one that is fastest here is measured."""
        return [""]

    @abstractmethod
    def write(self, way: str, batch: int, length: int) -> None:
        """Draw `length` tokens for each of `batch` texts."""

    def shares(self, batch: int, length: int) -> dict[str, float]:
        """What parts of a step take of it, where the peer can tell."""
        return {}


class Answers:
    """Answers requests for a peer."""

    def __init__(self, peer: Peer) -> None:
        self._party = peer
        self._way: dict[int, str] = {}

    def logits(self, prompt: list[int]) -> list[float]:
        return [float(score) for score in self._party.logits(prompt)]

    def prepare(self, batch: int, length: int) -> str:
        """Warm up, and find the fastest way to write this batch; returns it."""

        def best(way: str) -> float:
            self._way[batch] = way
            return min(self._once(batch, length) for _ in range(TRIES))

        self._way[batch] = min(self._party.ways(batch), key=best)
        return self._way[batch]

    def seconds(self, batch: int, length: int) -> float:
        """Of one writing, the median of a turn."""
        times: list[float] = []
        while sum(times) < LEAST:
            times.append(self._once(batch, length))
        return statistics.median(times)

    def _once(self, batch: int, length: int) -> float:
        start = time.perf_counter()
        self._party.write(self._way[batch], batch, length)
        return time.perf_counter() - start

    def shares(self, batch: int, length: int) -> dict[str, float]:
        return self._party.shares(batch, length)


def serve(peer: Peer) -> None:
    """Answer requests, one JSON value in a line: [what, {arguments}]."""
    answers, out = Answers(peer), _own_stdout()
    print(json.dumps("ready"), file=out, flush=True)
    for line in sys.stdin:
        what, arguments = json.loads(line)
        answer: Any = getattr(answers, what)(**arguments)
        print(json.dumps(answer), file=out, flush=True)


def _own_stdout() -> Any:
    """Standard output for the answers alone; what libraries print goes to standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out
