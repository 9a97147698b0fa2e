"""Decoding speed beside the chapter's own loop, on the same weights, in one run.

    python tests/benchmarks/decoding.py [--tokens 60] [--preset book]

The chapter's loop tokenises the text and runs the whole network again for every word. Prints a
Markdown table of tokens per second and ratios, with the machine named.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

import corelm
from corelm.generation import steps
from corelm.model import bundle
from corelm.model.architecture import build
from corelm.model.data import text_vectorization
from corelm.model.presets import PRESETS
from corelm.model.runtime import NumpyModel
from corelm.model.vocabulary import WordVocabulary

PROMPT = "w10 w11"


def words(size: int) -> WordVocabulary:
    """A vocabulary of made-up words."""
    return WordVocabulary(["", "[UNK]", *(f"w{i}" for i in range(size - 2))], "words")


def chapters_loop(
    network, vocabulary: WordVocabulary, context_length: int, length: int, temperature: float
) -> float:
    """Seconds for one text as the chapter's callback writes it."""
    vectorize = text_vectorization("words", len(vocabulary), vocabulary.words[2:])
    rng = np.random.default_rng(0)
    text = PROMPT
    start = time.perf_counter()
    for i in range(length):
        tokens = np.zeros((1, context_length), "int32")  # the chapter pads to the whole context
        given = np.asarray(vectorize([text]))
        tokens[:, : given.shape[1]] = given
        scores = np.asarray(network(tokens))[0, i + 1].astype(np.float64)
        p = scores if (scores >= 0).all() else corelm.softmax(scores)
        p = corelm.reweight_distribution(p, temperature)
        text += " " + vocabulary.words[rng.choice(len(p), p=p / p.sum())]
    return time.perf_counter() - start


def ours(model: NumpyModel, length: int, batch: int, sampler: corelm.Sampler) -> float:
    """Seconds for a batch of texts."""
    start = time.perf_counter()
    for _ in steps(model, PROMPT, sampler=sampler, length=length, samples=range(batch), seed=0):
        pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--preset", choices=PRESETS, default="book")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    architecture = PRESETS[options.preset].architecture
    vocabulary, context = words(architecture.vocabulary_size), architecture.context_length
    network = build(architecture)
    model = NumpyModel(architecture, vocabulary, bundle.weights_of(network))
    sampler = corelm.sampler("temperature", t=0.7)
    chapter = "chapter's loop, 1 text"
    rows = {chapter: (1, lambda: chapters_loop(network, vocabulary, context, options.tokens, 0.7))}
    for batch in (1, 8, 64):
        rows[f"corelm, batch {batch}"] = (
            batch,
            lambda batch=batch: ours(model, options.tokens, batch, sampler),
        )
    speeds: dict[str, list[float]] = {name: [] for name in rows}
    for _, run in rows.values():
        run()  # warm up
    for _ in range(options.rounds):
        for name, (batch, run) in rows.items():
            speeds[name].append(batch * options.tokens / run())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; ", end="")
    print(f"`{options.preset}`, {options.tokens} tokens, median of {options.rounds}\n")
    print("| decoding | tokens/s | times the chapter's loop |\n|---|---|---|")
    base = statistics.median(speeds[chapter])
    for name, values in speeds.items():
        speed = statistics.median(values)
        print(f"| {name} | {speed:,.0f} | {speed / base:,.1f} |")


if __name__ == "__main__":
    main()
