"""Measure the cost of looking for banned texts where none appears.

    pip install ./plugins/corelm-backtrack
    python tests/benchmarks/backtrack.py [--model imdb] [--length 100] [--rounds 15]

Ancestral sampling and backtracking write the same texts in turn. The median of
the rounds counts, and the quartiles of the ratio of the two times of a round show its spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from corelm_backtrack import Backtrack

import corelm
from corelm import Ancestral, Decoder, LanguageModel, machine
from corelm.runs import Strategy, Texts

ABSENT = tuple(f"{first}qx{last}" for first in "abcdefghij" for last in "abcdefghij")
"""A hundred strings that no text has, of which every other token may begin one."""
DECODERS = {
    "ancestral": Ancestral(),
    "1 banned text": Backtrack(banned=ABSENT[:1]),
    "100 banned texts": Backtrack(banned=ABSENT),
    "a pattern": Backtrack(patterns=(r"\b(\w+), (?:but|and) qx",)),
}


def seconds(model: LanguageModel, decoder: Decoder, length: int, n: int, seed: int) -> float:
    """Return the seconds that n texts take."""
    start = time.perf_counter()
    strategy = Strategy(corelm.sampler("temperature(t=0.7)"), decoder)
    drawn = Texts("This movie", strategy, length, n, seed).steps(model, range(n))
    count = sum(len(step.tokens) for step in drawn)
    assert count > 0
    return time.perf_counter() - start


def row(model: LanguageModel, name: str, n: int, length: int, rounds: int) -> str:
    """Return the line of one decoder and number of texts."""
    times: list[tuple[float, float]] = []
    for seed in range(-1, rounds):  # the first one warms up
        pair = [
            seconds(model, DECODERS[decoder], length, n, max(seed, 0))
            for decoder in ("ancestral", name)
        ]
        times += [(pair[0], pair[1])] * (seed >= 0)
    ratios = [found / usual for usual, found in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    usual = statistics.median(usual for usual, _ in times)
    return f"| {n} | {name} | {usual * 1000:.1f} | {middle:.3f} | {low:.3f} to {high:.3f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="imdb")
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args(arguments)
    model = corelm.load(asked.model)
    print(f"{machine.facts()['processor']}, {asked.model}, {asked.length} tokens\n")
    print("| texts | banned | ancestral, ms | ratio | quartiles |\n|--:|---|--:|--:|--:|")
    for n in (1, 64):
        for name in list(DECODERS)[1:]:
            print(row(model, name, n, asked.length, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
