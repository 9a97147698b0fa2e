"""Measure the cost of replay on torch: log-probabilities under chains against a plain log-softmax.

    python tests/benchmarks/replay.py [--vocabulary 50257] [--texts 4] [--tokens 64] [--memory]

Each round computes the log-probabilities and their gradient once with `log_softmax` and `gather`,
then under each chain, in one process with one thread; the table has the smallest processor time of
the rounds. With `--memory` the last column is the peak of a process of its own beyond the peak of
a process that only makes the logits, in copies of them; the gradient, which every trainer needs,
is one.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from corelm_replay import chain_logprobs

from corelm import machine

PLAIN, NOTHING = "log_softmax", "nothing"
CHAINS = (
    "stochastic",
    "temperature(t=0.7)",
    "top_k(k=50)",
    "min_p(p=0.05)",
    "top_p(p=0.8)",
    "top_k(k=50) | top_p(p=0.95) | temperature(t=0.8)",
    "repetition_penalty(penalty=1.2) | top_p(p=0.9)",
    "mirostat(tau=5)",
)


def batch(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that fall as a language model's do, and tokens after a prompt of one."""
    generator = torch.Generator().manual_seed(1)
    shape = options.texts, options.tokens, options.vocabulary
    logits = torch.randn(shape, generator=generator)
    logits.mul_(2)
    tokens = torch.cat([torch.zeros(shape[0], 1, dtype=torch.long), logits.argmax(-1)], 1)
    return logits, tokens


def replayed(chain: str, logits: torch.Tensor, tokens: torch.Tensor) -> None:
    """Compute the log-probabilities and their gradient."""
    logits = logits.detach().requires_grad_()
    if chain == PLAIN:
        found = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    else:
        found = chain_logprobs(chain, logits, tokens, prompt_length=1)
    found.sum().backward()


def seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak(chain: str, options: argparse.Namespace) -> float:
    """Return the peak memory of this process in bytes, after one round."""
    torch.set_num_threads(1)
    logits, tokens = batch(options)
    if chain != NOTHING:
        replayed(chain, logits[:1, :1], tokens[:1, :2])  # imports and kernels
        replayed(chain, logits, tokens)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # on Linux


def peak_apart(chain: str, options: argparse.Namespace) -> float:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(peak, chain, options).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--texts", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    names = (PLAIN, *CHAINS)
    # First: a new process begins with the peak of the one that starts it.
    measured = (NOTHING, *names) if options.memory else ()
    peaks = {name: peak_apart(name, options) for name in measured}
    torch.set_num_threads(1)
    logits, tokens = batch(options)
    rounds = [
        [seconds(lambda name=name: replayed(name, logits, tokens)) for name in names]
        for _ in range(options.rounds)
    ]
    here, count = machine.facts(), options.texts * options.tokens
    print(f"{here['processor']}, one thread; {count} tokens x {options.vocabulary:,} logits\n")
    print("| | ms a token | times log_softmax | copies of the logits |\n|---|---:|---:|---:|")
    for name, times in zip(names, zip(*rounds, strict=True), strict=True):
        copies = "not measured"
        if options.memory:
            copies = f"{(peaks[name] - peaks[NOTHING]) / (logits.numel() * 4):.1f}"
        ratio = min(times) / min(row[0] for row in rounds)
        print(f"| `{name}` | {min(times) / count * 1e3:.2f} | {ratio:.1f} | {copies} |")


if __name__ == "__main__":
    main()
