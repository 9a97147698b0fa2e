"""Time a step of llama.cpp, its network included: corelm's chain next to llama.cpp's own.

    pip install -e ".[bench]" ./plugins/corelm-llama-cpp
    python tests/benchmarks/in_llama_cpp.py [--rounds 5] [--vocabulary 50257]

The network has the size of GPT-2 small, 12 blocks of width 768, with random weights in half
precision, on all cores. llama.cpp's own chain and corelm write texts of the same length, in turns.
The table has the median time of a step in milliseconds, for all rows together, with the ratio to
llama.cpp's: below 1 is faster.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import llama_cpp as llama
from corelm_llama_cpp import LlamaCppSampler, as_sampler
from peers.llama_cpp import CORES, F16, Batch, in_chain, opened
from timing import head, line, place

import corelm
from corelm.models.networks.base import Architecture

ROWS, LENGTH = (1, 16), 16
WAY = f"threads: {CORES}, flash attention: off, samplers: after"
Stage = Callable[..., Any]


def defaults(size: int) -> list[Any]:
    """Return the stages of llama.cpp's default sampling, the preset `llama.cpp`."""
    return [
        llama.llama_sampler_init_penalties(size, 64, 1.0, 0.0, 0.0),
        llama.llama_sampler_init_top_n_sigma(-1.0),
        llama.llama_sampler_init_top_k(40),
        llama.llama_sampler_init_typical(1.0, 1),
        llama.llama_sampler_init_top_p(0.95, 1),
        llama.llama_sampler_init_min_p(0.05, 1),
        llama.llama_sampler_init_xtc(0.0, 0.1, 1, 0),
        llama.llama_sampler_init_temp(0.8),
    ]


CHAINS: dict[str, Callable[[int], list[Any]]] = {
    corelm.presets()["llama.cpp"]: defaults,
    "min_p(p=0.05) | temperature(t=0.8)": lambda size: [
        llama.llama_sampler_init_min_p(0.05, 1), llama.llama_sampler_init_temp(0.8),
    ],
    "top_p(p=0.95) | temperature(t=0.8)": lambda size: [
        llama.llama_sampler_init_top_p(0.95, 1), llama.llama_sampler_init_temp(0.8),
    ],
    "temperature(t=0.8)": lambda size: [llama.llama_sampler_init_temp(0.8)],
}  # fmt: skip
"""Expressions, and llama.cpp's samplers for them by the size of the vocabulary, without a draw."""


def ways(chain: str, size: int) -> list[tuple[Stage, Callable[..., int]]]:
    """Return how each way makes a sampler from a seed, and how it draws: llama.cpp's own first."""

    def own(seed: int) -> Any:
        return in_chain(*CHAINS[chain](size), llama.llama_sampler_init_dist(seed))

    return [
        (own, llama.llama_sampler_sample),
        (lambda seed: as_sampler(chain, seed=seed), LlamaCppSampler.sample),
    ]


def steps(texts: Batch, sample: Callable[..., int]) -> list[float]:
    """Write a text in each row; return the milliseconds of each step."""
    times = []
    texts.forget()
    texts.read(0, 0, wanted=True)
    for position in range(1, LENGTH):
        before = time.perf_counter()
        texts.read(position, texts.draw(sample), wanted=True)
        times.append(1e3 * (time.perf_counter() - before))
    return times


def measured(texts: Batch, rows: int, kinds: list[Any], rounds: int) -> list[float]:
    """Return the median time of a step in each way, which take turns."""
    times: list[list[float]] = [[] for _ in kinds]
    for _ in range(rounds):
        for (make, sample), of_way in zip(kinds, times, strict=True):
            texts.samplers = [make(seed) for seed in range(rows)]
            of_way += steps(texts, sample)
    return [statistics.median(of_way) for of_way in times]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocabulary", type=int, default=50_257)
    options = parser.parse_args()
    shape = Architecture(
        "gpt2", width=768, dense=3072, heads=12, blocks=12, vocabulary_size=options.vocabulary
    )
    model = opened(shape, "f16")
    print(place("llama-cpp-python"), end="\n\n")
    print(head(["chain", "rows", "llama.cpp, ms", "corelm"]))
    for rows, chain in itertools.product(ROWS, CHAINS):
        texts = Batch(model, WAY, rows, F16)
        own, corelm_ms = measured(texts, rows, ways(chain, options.vocabulary), options.rounds)
        name = "the preset `llama.cpp`" if CHAINS[chain] is defaults else f"`{chain}`"
        ratio = f"{corelm_ms:.2f} = **{corelm_ms / own:.2f}**"
        print(line([name, rows, f"{own:.2f}", ratio]), flush=True)


if __name__ == "__main__":
    main()
