"""Measure the cost of a shape: texts from a Keras network, padded to few shapes or not at all.

    python tests/benchmarks/any_keras_model.py [--length 99] [--preset default]

The network has random weights. Each row is a fresh copy of it, run by Keras with its defaults
on this machine, and with `jit_compile=True`, as it does on GPUs and with JAX everywhere. The first
text includes all tracing and compiling, the second none that the first has done.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from corelm_train.keras_layers import build
from corelm_train.keras_model import KerasLanguageModel
from corelm_train.settings import PRESETS

import corelm
from corelm import machine
from corelm.models.word_vocabulary import WordVocabulary


class Counted:
    """A network, and the shapes that it has been run on."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.shapes: set[tuple[int, ...]] = set()

    def predict_on_batch(self, ids: Any) -> Any:
        self.shapes.add(ids.shape)
        return self._network.predict_on_batch(ids)


def seconds(model: KerasLanguageModel, length: int) -> float:
    """Return the seconds of a text of this length, from a prompt of one token."""
    start = time.perf_counter()
    corelm.generate(model, "w1", sampler="greedy", length=length)
    return time.perf_counter() - start


def rows(preset: str, length: int) -> Iterator[str]:
    """The rows of the table."""
    architecture = PRESETS[preset].architecture
    words = [f"w{i}" for i in range(architecture.vocabulary_size - 2)]
    vocabulary = WordVocabulary(["", "[UNK]", *words], "words")
    for compiled in ("auto", True):
        for padded in (True, False):
            keras.backend.clear_session()
            network = build(architecture)
            network.compile(jit_compile=compiled)
            counted = Counted(network)
            model = KerasLanguageModel(
                counted, vocabulary, architecture.context_length, causal=padded
            )
            first, second = seconds(model, length), seconds(model, length)
            how = "padded" if padded else "exact lengths"
            yield f"| {compiled} | {how} | {len(counted.shapes)} | {first:.1f} | {second:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    parser.add_argument("--length", type=int, default=99)
    options = parser.parse_args()
    here = machine.facts()
    print(f"{here['processor']}, {here['cores']} cores, ", end="")
    print(f"Keras {keras.__version__} on {keras.backend.backend()}; ", end="")
    print(f"`{options.preset}`, {options.length} tokens after 1\n")
    print("| jit_compile | input | shapes | first text (s) | second text (s) |")
    print("|---|---|---|---|---|")
    for row in rows(options.preset, options.length):
        print(row, flush=True)


if __name__ == "__main__":
    main()
