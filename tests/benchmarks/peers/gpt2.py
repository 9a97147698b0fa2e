"""The network that all peers have: the shape of GPT-2, small, with random weights.

Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from corelm.model.architectures import Architecture

SHAPE = Architecture("gpt2", dense=2048, heads=4)
"""One block, 256 wide, a vocabulary of 15,000, a context of 100."""

EPSILON = 1e-6
"""Added to the variance when a layer is normalised; KerasHub has 1e-5, which cannot be changed."""

Weights = dict[str, np.ndarray]
InitialWeight = tuple[str, tuple[int, ...], float, float]
"""The name and shape of a weight, the mean and the deviation to draw it with."""


def weights() -> Weights:
    """The weights under their names in GPT-2's checkpoints; every call gives the same."""
    rng = np.random.default_rng(0)
    return {
        name: (mean + spread * rng.standard_normal(shape)).astype(np.float32)
        for name, shape, mean, spread in _initial_weights()
    }


def _initial_weights() -> Iterator[InitialWeight]:
    """Embeddings are large, so that what is added to a variance matters little."""
    width, dense = SHAPE.width, SHAPE.dense
    yield "wte.weight", (SHAPE.vocabulary_size, width), 0, 1
    yield "wpe.weight", (SHAPE.context_length, width), 0, 0.3
    for i in range(SHAPE.blocks):
        yield from _norm(f"h.{i}.ln_1")
        yield from _dense(f"h.{i}.attn.c_attn", width, 3 * width)
        yield from _dense(f"h.{i}.attn.c_proj", width, width)
        yield from _norm(f"h.{i}.ln_2")
        yield from _dense(f"h.{i}.mlp.c_fc", width, dense)
        # Little, for llama.cpp looks the values of GELU up in a table of half precision.
        yield from _dense(f"h.{i}.mlp.c_proj", dense, width, gain=0.25)
    # Around 0, or tied embeddings would say each token again.
    yield "ln_f.weight", (width,), 0, 0.12
    yield "ln_f.bias", (width,), 0, 0.1


def _norm(name: str) -> Iterator[InitialWeight]:
    yield f"{name}.weight", (SHAPE.width,), 1, 0.1
    yield f"{name}.bias", (SHAPE.width,), 0, 0.1


def _dense(name: str, inputs: int, units: int, gain: float = 1) -> Iterator[InitialWeight]:
    yield f"{name}.weight", (inputs, units), 0, gain * inputs**-0.5
    yield f"{name}.bias", (units,), 0, 0.1
