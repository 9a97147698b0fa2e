"""Compare decoding speed with the peers, on the same weights and shape, in one run.

    pip install -e ".[bench]"
    python tests/benchmarks/decoding.py [--only llama] [--tokens 90] [--rounds 7]

Every peer continues a prompt of two tokens at temperature 0.7, one text, 8 and 64 together. All
have the same random weights: first of a network with the shape of GPT-2, then of corelm's presets,
compared with the loop of the chapter. Each peer runs warmed up in its own process, in its fastest
mode. They take turns, and the median of the rounds counts.

Nothing is printed unless the logits of all peers agree. The output is one Markdown table. It
includes the limit: the share of a step of corelm that its bare matrix products take.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import numpy as np
from peers.peer import IDS, serve
from peers.process import PeerSpec, Process, process
from peers.results import BATCHES, OURS, Results, notes, table

from corelm.numerics.distributions import log_softmax

PAUSE = 0.2
"""Seconds between two turns, in which the threads of the one before fall asleep."""
KERAS_HUB = ("keras_hub", "keras-hub")
TENSORFLOW = ("tensorflow", "tensorflow")
LLAMA = (("llama_cpp", "llama-cpp-python"), ("gguf", "gguf"))
TRANSFORMERS = (("transformers", "transformers"), ("torch", "torch"))
CTRANSLATE2 = (("ctranslate2", "ctranslate2"), *TRANSFORMERS)  # which it is converted from
HALF, EIGHT_BITS = 1e-2, 0.5
"""How far logits may be from corelm's, with numbers of 16 bits and weights of 8."""


def with_chapter(preset: str) -> list[PeerSpec]:
    """corelm and the loop of the chapter, with the network of a preset."""
    loop = PeerSpec("the chapter's loop", "chapter", (preset,), (TENSORFLOW,), batches=(1,))
    return [PeerSpec(OURS, "ours", (preset,)), loop]


PEERS = {
    "GPT-2 shape": [
        PeerSpec(OURS, "ours", ("gpt2",)),
        PeerSpec("corelm, f16", "ours", ("gpt2-f16",), tolerance=HALF),
        PeerSpec("CTranslate2, float32", "ctranslate2", ("float32",), CTRANSLATE2),
        PeerSpec("CTranslate2, int8", "ctranslate2", ("int8",), CTRANSLATE2, tolerance=EIGHT_BITS),
        PeerSpec("llama.cpp, f32", "llama_cpp", ("f32",), LLAMA),
        PeerSpec("llama.cpp, f16", "llama_cpp", ("f16",), LLAMA, tolerance=HALF),
        PeerSpec("llama.cpp, Q8_0", "llama_cpp", ("q8_0",), LLAMA, tolerance=EIGHT_BITS),
        PeerSpec("KerasHub on TensorFlow", "keras_hub", ("tensorflow",), (KERAS_HUB, TENSORFLOW)),
        PeerSpec("KerasHub on JAX", "keras_hub", ("jax",), (KERAS_HUB, ("jax", "jax"))),
        PeerSpec("transformers", "transformers", (), TRANSFORMERS),
    ],
    "`book`": with_chapter("book"),
    "`default`": with_chapter("default"),
}
"""Who writes with which network; corelm is the first of them."""


def measured(peers: list[PeerSpec], tokens: int, rounds: int) -> Results:
    """Let the peers of a network take turns.

    Raises:
        SystemExit: a peer failed, or has other logits.
    """
    results = Results(peers, tokens)
    with ExitStack() as stack:
        processes = [stack.enter_context(process(__file__, one)) for one in peers]
        results.differences = agreed(processes)
        turns = [(p, b) for b in BATCHES for p in processes if p.invited.writes(b)]
        for at, batch in turns:
            say(f"warming up: {at.invited.name}, batch {batch}")
            way = at.ask("prepare", batch=batch, length=tokens)
            results.ways[at.invited.name, batch] = way
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for at, batch in turns:
                take_turn(at, batch, results)
    return results


def take_turn(at: Process, batch: int, results: Results) -> None:
    """One writing of one batch."""
    time.sleep(PAUSE)
    asked = {"batch": batch, "length": results.tokens}
    results.seconds[at.invited.name, batch].append(at.ask("seconds", **asked))
    for part, share in at.ask("shares", **asked).items():
        results.shares[part, batch].append(share)


def agreed(processes: Sequence[Process]) -> dict[str, float]:
    """Return the largest difference between each peer's logits and the first peer's.

    Raises:
        SystemExit: a difference is too large.
    """
    prompt = [*IDS, *range(100, 110)]
    first, *others = (normalised(at.ask("logits", prompt=prompt)) for at in processes)
    peers = [at.invited for at in processes[1:]]
    distances = [float(abs(other - first).max()) for other in others]
    differences = dict(zip((one.name for one in peers), distances, strict=True))
    if not all(differences[one.name] <= one.tolerance for one in peers):  # so nan is not
        raise SystemExit(f"there is no table: logits are too far from corelm's: {differences}")
    return differences


def normalised(logits: list[float]) -> np.ndarray:
    """Scores that can be compared: the loop of the chapter has probabilities, others logits."""
    return log_softmax(np.array([logits]))[0]


def wanted(only: str) -> Iterator[tuple[str, list[PeerSpec]]]:
    """The networks with more than one peer that is asked for and installed."""
    for network, peers in PEERS.items():
        there = [p for p in peers if not p.missing and (p.name == OURS or only in p.name)]
        if len(there) > 1:
            yield network, there


def left_out(peers: Iterable[PeerSpec]) -> Iterator[str]:
    """A line for each peer that is not installed."""
    for one in peers:
        if one.missing:
            yield f"{one.name} is left out: there is no {', '.join(one.missing)}."


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(only: str, tokens: int, rounds: int) -> None:
    """Measure and print."""
    results = {}
    for network, peers in wanted(only):
        say(f"{network}: {', '.join(one.name for one in peers)}")
        results[network] = measured(peers, tokens, rounds)
    invited = (one for peers in PEERS.values() for one in peers)
    print(*table(results), "", *notes(results), *left_out(invited), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="peers with this in their name")
    parser.add_argument("--tokens", type=int, default=90, help="of each text, at most 98")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", nargs="+", metavar="PARTY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        module, *arguments = options.serve
        serve(importlib.import_module(f"peers.{module}").peer(*arguments))
    else:
        compare(options.only, options.tokens, options.rounds)


if __name__ == "__main__":
    main()
