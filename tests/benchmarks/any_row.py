"""Time per call of each filter on rows that are unlike a language model's.

    python tests/benchmarks/any_row.py [--vocabulary 128256] [--only top_] [--limit 5]

The first column is the time on a usual row, logits that fall as a power of the rank, in
microseconds. The others are the multiple of it that an unusual row takes: equal logits, many ties,
subnormal numbers, the largest floats, sorted logits and so on. With `--limit` the exit code is 1 if
any multiple is larger.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import corelm

Call = Callable[[np.ndarray], object]

FILTERS = [
    "temperature(t=0.7)",
    "top_k(k=50)",
    "top_k(k=5000)",
    "top_p(p=0.5)",
    "top_p(p=0.9)",
    "top_p(p=0.999)",
    "min_p(p=0.05)",
    "typical(p=0.2)",
    "typical(p=0.9)",
    "epsilon(epsilon=0.0003)",
    "eta(epsilon=0.0003)",
    "top_h(h=0.4)",
    "top_n_sigma(n=1)",
    "xtc(probability=0.5)",
    "quadratic(factor=0.3)",
]
REPEATS = 9


def rows(vocabulary: int) -> dict[str, np.ndarray]:
    """Rows of logits by name, the usual one first."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(vocabulary)
    usual = rng.normal(0, 0.1, vocabulary) - 1.4 * np.log(rng.permutation(vocabulary) + 1)
    two_valued = rng.integers(0, 2, vocabulary)
    made = {
        "usual": usual,
        "normal": normal,
        "normal * 4": 4 * normal,
        "flat": np.zeros(vocabulary),
        "flat, one less": np.where(np.arange(vocabulary) == 7, -1e-3, 0.0),
        "normal / 1e4": normal / 1e4,
        "normal / 1e6": normal / 1e6,
        "subnormal": normal * 1e-40,
        "linspace": np.linspace(0, 1e-4, vocabulary),
        "rising": np.sort(4 * normal),
        "falling": -np.sort(-4 * normal),
        "ten values": rng.integers(0, 10, vocabulary),
        "two values": two_valued,
        "two values, far": two_valued * 40.0,
        "one token": np.where(np.arange(vocabulary) == 7, 100.0, 0.0),
        "one and flat": np.where(np.arange(vocabulary) == 7, 12.0, normal / 1e4),
        "half masked": np.where(two_valued, 4 * normal, -np.inf),
        "1e38": 1e38 * np.clip(normal, -3, 3),
        "3e38, flat": np.full(vocabulary, 3e38),
        "powers": np.ldexp(-1.0, rng.integers(-140, 7, vocabulary)),
        "uniform in 87 nats": -87 * rng.random(vocabulary),
    }
    return {name: row.astype(np.float32)[None] for name, row in made.items()}


def microseconds(call: Callable[[], object]) -> float:
    """The median time of a call that has been made before."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def calls(context: corelm.Context) -> dict[str, Call]:
    """The calls to time, by name: each filter and the draw."""
    filters = {name: partial(apply, corelm.sampler(name), context) for name in FILTERS}
    return {**filters, "the draw": lambda row: corelm.draw(row, np.array([0.999]))}


def apply(sampler: corelm.Sampler, context: corelm.Context, row: np.ndarray) -> np.ndarray:
    return sampler(row, context)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--only", default="", help="filters with this in their name")
    parser.add_argument("--limit", type=float, default=float("inf"), help="the largest multiple")
    options = parser.parse_args()
    tried = rows(options.vocabulary)
    context = corelm.Context.of(np.zeros((1, 1), dtype=np.int64))
    unusual = list(tried)[1:]
    print(f"| filter | usual, us | {' | '.join(unusual)} |\n|---|---:|{'---:|' * len(unusual)}")
    worst = (0.0, "")
    chosen = {name: call for name, call in calls(context).items() if options.only in name}
    for name, call in chosen.items():
        times = {row: microseconds(lambda call=call, x=x: call(x)) for row, x in tried.items()}
        ratios = {row: times[row] / times["usual"] for row in unusual}
        worst = max(worst, *((ratio, f"{name}, {row}") for row, ratio in ratios.items()))
        cells = " | ".join(f"{ratios[row]:.1f}" for row in unusual)
        print(f"| `{name}` | {times['usual']:,.0f} | {cells} |", flush=True)
    print(f"\nLargest multiple: {worst[0]:.1f} ({worst[1]}).")
    sys.exit(worst[0] > options.limit)


if __name__ == "__main__":
    main()
