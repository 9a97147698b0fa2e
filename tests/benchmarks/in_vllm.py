"""Time corelm in vLLM on a processor: tokens per second, compared with vLLM's own sampling.

    bash .ci/engines FOLDER                       # makes the environment
    FOLDER/bin/python tests/benchmarks/in_vllm.py [--rounds 5] [--tokens 64]

One engine in this process runs corelm's GPT-2 in single precision, and writes texts for 1, 8 or 32
requests. The ways to sample take turns in each round, and each gets its median: tokens per second
of the wall clock, and the processor time of a token, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "corelm-vllm"))
from vllm_on_cpu import engine, export

REQUESTS = (1, 8, 32)
SETTINGS = {
    "temperature and top-p": (
        "temperature(t=0.8) | top_p(p=0.9)",
        {"temperature": 0.8, "top_p": 0.9},
    ),
    "with a repetition penalty": (
        "repetition_penalty(penalty=1.1) | temperature(t=0.8) | top_p(p=0.9)",
        {"repetition_penalty": 1.1, "temperature": 0.8, "top_p": 0.9},
    ),
}
"""corelm's chain, and vLLM's own settings for the same distribution."""


def ways(chain: str, own: dict[str, float], length: int) -> dict[str, Callable[[int], Any]]:
    """Return the ways to sample: functions of the request's index, to its `SamplingParams`."""
    from vllm import SamplingParams

    def request(extra: dict[str, Any] | None = None, **fields: Any) -> Any:
        return SamplingParams(
            max_tokens=length, ignore_eos=True, extra_args=extra, detokenize=False, **fields
        )

    return {
        "corelm, with seeds": lambda i: request({"corelm": chain, "corelm_seed": i}),
        "vLLM, with seeds": lambda i: request(seed=i, **own),
        "corelm, no seeds": lambda i: request({"corelm": chain}),
        "vLLM, no seeds": lambda i: request(**own),
    }


def seconds(llm: Any, way: Callable[[int], Any], requests: int) -> tuple[float, float]:
    """Return the seconds of the wall clock, and of the processor, for texts of some requests."""
    params = [way(i) for i in range(requests)]
    wall, processor = time.perf_counter(), time.process_time()
    llm.generate(["This movie"] * requests, params, use_tqdm=False)
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, engine(export(f"{folder}/gpt2")) as llm:
        for name, (chain, own) in SETTINGS.items():
            kinds = ways(chain, own, arguments.tokens)
            print(f"\n{name}\n\n| requests | {' | '.join(kinds)} |")
            print(f"|---|{'---|' * len(kinds)}")
            for count in REQUESTS:
                cells = []
                for way in kinds.values():  # the first run prepares the engine
                    seconds(llm, way, count)
                times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
                for _ in range(arguments.rounds):
                    for kind, way in kinds.items():
                        times[kind].append(seconds(llm, way, count))
                for of_kind in times.values():
                    wall, processor = map(statistics.median, zip(*of_kind, strict=True))
                    written = count * arguments.tokens
                    cells.append(f"{written / wall:,.0f}/s, {1e6 * processor / written:,.0f} us")
                print(f"| {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
