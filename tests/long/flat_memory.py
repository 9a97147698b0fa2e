"""Generate 100,000 texts and print the memory of the process on the way.

    python tests/long/flat_memory.py --texts 100000

It fails if the last tenth of the texts left more than a byte and a half each.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterable
from pathlib import Path

import corelm

SAMPLERS = (
    "top_p(p=0.9) | temperature(t=0.7)",
    "mirostat",
    "min_p(p=0.05) | repetition_penalty(penalty=1.2)",
)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def generate(model: corelm.LanguageModel, seeds: Iterable[int]) -> None:
    """Generate a text for each seed, with one sampler after the other."""
    for seed in seeds:
        sampler = SAMPLERS[seed % len(SAMPLERS)]
        corelm.generate(model, "w3 w4", sampler=sampler, length=10, seed=seed)


def main() -> None:
    """Print a table, and fail if memory grows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    texts = parser.parse_args().texts
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from small_models import SMALL, small_model

    model = small_model(SMALL["default"], end=True)
    print("| texts | resident memory |\n|---|---|")
    sizes = []
    for tenth in range(10):
        generate(model, range(texts * tenth // 10, texts * (tenth + 1) // 10))
        sizes.append(resident())
        print(f"| {texts * (tenth + 1) // 10:,} | {sizes[-1] / 2**20:.2f} MiB |", flush=True)
    grown = sizes[-1] - sizes[-2]
    print(f"grown in the last tenth: {grown:,} bytes", file=sys.stderr)
    sys.exit(grown > 1.5 * texts / 10)


if __name__ == "__main__":
    main()
