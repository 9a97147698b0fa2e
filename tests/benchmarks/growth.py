"""Measure how time and memory grow with the length of a text, the batch, and a report.

    python tests/benchmarks/growth.py [--rounds 5] [--tokens 30]

The model is the one that ships with corelm. A token is one more at the end of texts of some
length; memory is what a session holds of it, by tracemalloc; teacher forcing is the part of a
report that has every sampler on the same positions, with the curve of temperatures. Calls that
are compared take turns, and the fastest of each counts, so that others on the machine disturb
little. Each ratio is to the first row of its group.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from corelm_report.measure.contexts import Contexts, model_contexts
from corelm_report.measure.on_contexts import measure, temperatures
from corelm_report.measure.run import UNIT

import corelm
from corelm import machine

LENGTHS, BATCHES, TEXTS, COUNTS = (10, 25, 50, 90), (1, 8, 64), (8, 16, 32), (1, 2, 5, 10)
SAMPLERS = (
    "temperature(t=0.7)", "greedy", "top_p(p=0.9)", "top_k(k=40)", "min_p(p=0.05)",
    "typical(p=0.9)", "temperature(t=0.5)", "epsilon(epsilon=0.001)", "temperature(t=1.5)",
    "top_n_sigma(n=1)",
)  # fmt: skip
PROMPT = "This movie"
Call = Callable[[], object]


@dataclass(frozen=True)
class Group:
    """What was measured at several sizes, and how it should grow."""

    name: str
    unit: str
    goal: str
    values: dict[int, float]


def fastest(calls: Sequence[Call], rounds: int) -> list[float]:
    """The least seconds of each call; they take turns."""
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            least[i] = min(least[i], time.perf_counter() - start)
    return least


def texts_of(model: corelm.LanguageModel, batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(3, len(model.vocabulary), (batch, length))


def one_more(model: corelm.LanguageModel, batch: int, length: int) -> Call:
    """A token for each text of a batch, which is then dropped again."""
    session = model.start(texts_of(model, batch, length))
    tokens = np.full(batch, 3)

    def step() -> None:
        session.extend(tokens)
        assert session.next_logits().shape[0] == batch  # which is when they are worked out
        session.rewind(1)

    return step


def held(model: corelm.LanguageModel, batch: int, length: int) -> int:
    """Bytes that a session of some texts holds."""
    texts = texts_of(model, batch, length)
    tracemalloc.start()
    session = model.start(texts)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del session
    return size


def teacher_forced(model: corelm.LanguageModel, contexts: Contexts, texts: int, count: int) -> Call:
    """Compare samplers on the first texts, as a report does."""
    samplers = [corelm.sampler(expression) for expression in SAMPLERS[:count]]
    at = temperatures(samplers)
    parts = [range(first, min(first + UNIT, texts)) for first in range(0, texts, UNIT)]
    return lambda: [measure(model, contexts.some(part), samplers, at) for part in parts]


def groups(model: corelm.LanguageModel, options: argparse.Namespace) -> Iterator[Group]:
    for batch in options.batches[:2]:
        calls = [one_more(model, batch, length) for length in options.lengths]
        times = fastest(calls, 20 * options.rounds)
        per_token = [seconds / batch * 1e6 for seconds in times]
        name = f"a token at text length, batch {batch}"
        yield Group(name, "µs", "flat", dict(zip(options.lengths, per_token, strict=True)))
    sizes = {batch: held(model, batch, options.lengths[-1]) / 1e3 for batch in options.batches}
    yield Group("memory of a session, batch", "kB", "linear", sizes)

    contexts = model_contexts(model, [PROMPT], max(options.texts), options.tokens, seed=1)
    calls = [teacher_forced(model, contexts, texts, 1) for texts in options.texts]
    times = [seconds * 1e3 for seconds in fastest(calls, options.rounds)]
    yield Group(
        "teacher forcing, texts", "ms", "linear", dict(zip(options.texts, times, strict=True))
    )
    calls = [teacher_forced(model, contexts, options.texts[-1], n) for n in options.samplers]
    times = [seconds * 1e3 for seconds in fastest(calls, options.rounds)]
    values = dict(zip(options.samplers, times, strict=True))
    yield Group("teacher forcing, samplers", "ms", "at most 1.5", values)


def table(measured: Sequence[Group]) -> str:
    """One Markdown table, with the machine above it."""
    here = machine.facts()
    versions = f"Python {here['python']}, numpy {here['numpy']}"
    lines = [
        f"{here['processor']}, {here['cores']} cores; {versions}",
        "",
        "| what grows | size | measured | ratio | goal |",
        "|---|---:|---:|---:|---|",
    ]
    for group in measured:
        first = next(iter(group.values.values()))
        for size, value in group.values.items():
            cells = f"{value:,.0f} {group.unit} | **{value / first:.2f}** | {group.goal}"
            lines.append(f"| {group.name} | {size} | {cells} |")
    return "\n".join(lines)


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of calls that take turns")
    parser.add_argument("--tokens", type=int, default=30, help="in a text of the contexts")
    for name, sizes in (
        ("lengths", LENGTHS), ("batches", BATCHES), ("texts", TEXTS), ("samplers", COUNTS)
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, nargs="+", default=sizes)
    return parser.parse_args(words)


def main() -> None:
    options = read_options()
    print(table(list(groups(corelm.load("imdb"), options))))


if __name__ == "__main__":
    main()
