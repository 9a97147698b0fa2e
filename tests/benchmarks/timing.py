"""What the scripts share: calls timed in turns, rows of logits, the machine, tables in Markdown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

import corelm
from corelm import machine
from corelm.models.word_vocabulary import END, PADDING, UNKNOWN, WordVocabulary

Call = Callable[[], Any]
TURNS, FEWEST = 4, 3
PAUSE = 0.05
"""Seconds between two turns, in which the threads of the call before fall asleep."""
CONTEXT = 512
EXPONENT = 1.4
"""Of the power of the rank by which the logits fall, roughly as a language model's do."""


def in_turns(calls: Sequence[Call], seconds: float) -> list[float]:
    """Return the median time of each call in microseconds; they take turns of several calls."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(TURNS):
        for call, of_call in zip(calls, times, strict=True):
            time.sleep(PAUSE)
            call()  # its threads wake, its memory is at hand
            of_call += _turn(call, seconds / TURNS)
    return [1e6 * statistics.median(of_call) for of_call in times]


def _turn(call: Call, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < FEWEST:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


@dataclass(frozen=True)
class Input:
    """Rows of float32 logits, and a context of `CONTEXT` tokens."""

    logits: np.ndarray
    context: corelm.Context

    @classmethod
    def of(cls, vocabulary: int, batch: int) -> Input:
        """Return the input of a size; every call gives the same."""
        rng = np.random.default_rng(0)
        ranks = np.stack([rng.permutation(vocabulary) for _ in range(batch)]) + 1
        logits = (rng.normal(0, 0.1, ranks.shape) - EXPONENT * np.log(ranks)).astype(np.float32)
        words = [PADDING, UNKNOWN, END, *(f"w{i}" for i in range(3, vocabulary))]
        tokens = rng.integers(3, 200, (batch, CONTEXT))
        return cls(logits, corelm.Context.of(tokens, vocabulary=WordVocabulary(words, "symbols")))


def place(*packages: str) -> str:
    """Return the processor, the cores, and the versions of Python, corelm, NumPy and packages."""
    here = machine.facts()
    versions = ", ".join(f"{name} {version(name)}" for name in ("corelm", "numpy", *packages))
    return f"{here['processor']}, {here['cores']} cores; Python {here['python']}, {versions}"


def line(cells: Iterable[object]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def head(titles: Sequence[str], left: int = 1) -> str:
    """Return the head of a table whose first columns are aligned to the left."""
    return f"{line(titles)}\n|{'---|' * left}{'---:|' * (len(titles) - left)}"


def ratio(ours: float, theirs: float) -> str:
    """Return a cell with both times and how many times as fast corelm is."""
    return f"{ours:,.0f} / {theirs:,.0f} = **{theirs / ours:.1f}**"
