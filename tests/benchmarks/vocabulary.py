"""Measure time and peak memory by the size of the vocabulary.

    python tests/benchmarks/vocabulary.py [--sizes 15000 128000 262144] [--tasks report ...]

The model costs next to nothing: its logits follow Zipf's law, with noise that depends on the last
token. Each measurement has its own process, so that the peak memory includes the interpreter, the
vocabulary and the model. The report has the default samplers and settings.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import ArrayLike, NDArray

import corelm
from corelm import machine
from corelm.models.word_vocabulary import WordVocabulary
from corelm.numerics.distributions import softmax

SIZES = (15_000, 128_000, 262_144)
CHAIN = "top_k(k=200) | typical(p=0.95) | temperature(t=0.7) | top_p(p=0.9)"
PROMPT, LENGTH, BATCH = "This movie", 50, 64
EXPONENT, NOISE, SCATTER = 1.1, 1.0, 2_654_435_761


class ZipfModel:
    """A model without a network: Zipf's law over the ids, and noise by the last token.

    Args:
        size: the size of the vocabulary.
    """

    context_length = 1024

    def __init__(self, size: int) -> None:
        words = ("", "[UNK]", "[end]", *PROMPT.split())
        numbered = (f"w{i}" for i in range(size - len(words)))
        self.vocabulary = WordVocabulary([*words, *numbered], "symbols")
        rng = np.random.default_rng(0)
        self._usual = -EXPONENT * np.log(1 + np.arange(size, dtype=np.float32))
        rng.shuffle(self._usual)
        self._usual[2] = -30  # texts hardly ever end
        self._noise = NOISE * rng.standard_normal(2 * size, dtype=np.float32)

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits after each token: (batch, vocabulary)."""
        size = len(self._usual)
        found = np.empty((len(tokens), size), dtype=np.float32)
        for row, token in zip(found, tokens.tolist(), strict=True):
            first = token * SCATTER % size
            np.add(self._usual, self._noise[first : first + size], out=row)
        return found

    def next_token_distribution(self, tokens: ArrayLike) -> NDArray[np.float32]:
        return softmax(self.start(tokens).next_logits())

    def start(self, tokens: ArrayLike) -> ZipfSession:
        return ZipfSession(self, np.asarray(tokens)[:, -1])


class ZipfSession:
    """A decoding session of a `ZipfModel`, which remembers the last tokens."""

    def __init__(self, model: ZipfModel, last: NDArray[np.int64]) -> None:
        self._model, self._last = model, last

    def next_logits(self) -> NDArray[np.float32]:
        return self._model.logits(self._last)

    def extend(self, tokens: NDArray[np.int64]) -> None:
        self._last = tokens if tokens.ndim == 1 else tokens[:, -1]

    def select(self, rows: ArrayLike) -> None:
        self._last = self._last[np.asarray(rows)]


def explain(model: ZipfModel) -> None:
    explanation = corelm.explain(model, PROMPT, CHAIN)
    explanation.likeliest(10)
    explanation.trace("movie")


def generate(model: ZipfModel) -> None:
    corelm.generate(model, PROMPT, sampler=CHAIN, length=LENGTH, n=BATCH, seed=1)


def report(model: ZipfModel) -> None:
    corelm.compare(model, prompts=PROMPT).to_html()


TASKS: dict[str, Callable[[ZipfModel], None]] = {
    "explain": explain,
    f"generate {BATCH} x {LENGTH} tokens": generate,
    "report": report,
}


@dataclass(frozen=True)
class Cost:
    """The cost of a task: seconds, and the megabytes of its process at its peak."""

    seconds: float
    peak: float


def measure(task: str, size: int) -> Cost:
    """Measure a task in this process."""
    model = ZipfModel(size)
    start = time.perf_counter()
    TASKS[task](model)
    seconds = time.perf_counter() - start
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux
    return Cost(seconds, kilobytes * 1024 / 1e6)


def measure_apart(task: str, size: int) -> Cost:
    """Measure a task in a process of its own."""
    # A forked process would start with the memory of this one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, task, size).result()


def table(costs: dict[tuple[str, int], Cost]) -> str:
    """One Markdown table, with the machine above it."""
    here = machine.facts()
    lines = [
        f"{here['processor']}, {here['cores']} cores; "
        f"Python {here['python']}, numpy {here['numpy']}",
        "",
        "| task | vocabulary | seconds | peak memory |",
        "|---|---:|---:|---:|",
    ]
    for (task, size), cost in costs.items():
        lines.append(f"| {task} | {size:,} | {cost.seconds:,.2f} | {cost.peak:,.0f} MB |")
    return "\n".join(lines)


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    return parser.parse_args(words)


def main() -> None:
    options = read_options()
    pairs = [(task, size) for task in options.tasks for size in options.sizes]
    print(table({pair: measure_apart(*pair) for pair in pairs}))


if __name__ == "__main__":
    main()
