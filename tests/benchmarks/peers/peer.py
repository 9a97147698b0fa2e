"""The interface of a peer, and the loop that serves it in a process."""

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
"""Trials of each way; the first one may compile."""
LEAST = 0.3
"""The shortest turn in seconds; a faster batch is written several times."""


class Peer(ABC):
    """An engine that writes texts with a network: from `PROMPT`, at `TEMPERATURE`."""

    @abstractmethod
    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        """Return (vocabulary,) logits after a prompt whose last token is read alone."""

    def ways(self, batch: int) -> list[str]:
        """Return the ways in which it can write; the fastest one is measured."""
        return [""]

    @abstractmethod
    def write(self, way: str, batch: int, length: int) -> None:
        """Draw `length` tokens for each of `batch` texts."""

    def shares(self, batch: int, length: int) -> dict[str, float]:
        """Return the share of each part of a step, if the peer knows it."""
        return {}


class Answers:
    """Answers to requests, by a peer."""

    def __init__(self, peer: Peer) -> None:
        self._party = peer
        self._way: dict[int, str] = {}

    def logits(self, prompt: list[int]) -> list[float]:
        return [float(score) for score in self._party.logits(prompt)]

    def prepare(self, batch: int, length: int) -> str:
        """Warm up, and return the fastest way to write this batch."""

        def best(way: str) -> float:
            self._way[batch] = way
            return min(self._once(batch, length) for _ in range(TRIES))

        self._way[batch] = min(self._party.ways(batch), key=best)
        return self._way[batch]

    def seconds(self, batch: int, length: int) -> float:
        """Return the median seconds of one run of a turn."""
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
    """Keep standard output for the answers; send what libraries print to standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out
