"""The network that all peers have: the shape of GPT-2, small, with random weights.

Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
"""

from __future__ import annotations

import itertools

import numpy as np

from corelm.models.bundle import Bundle
from corelm.models.byte_pairs import ALPHABET, BytePairVocabulary
from corelm.models.contents import shapes
from corelm.models.networks.base import Architecture

SHAPE = Architecture("gpt2", dense=2048, heads=4)
"""One block, 256 wide, a vocabulary of 15,000, a context of 100."""

SPREADS = {
    # Large, so that what is added to a variance matters little.
    "token_embeddings/embeddings": (0, 1),
    "position_embeddings/embeddings": (0, 0.3),
    "qkv/kernel": (0, SHAPE.width**-0.5),
    "attention_out/kernel": (0, SHAPE.width**-0.5),
    "dense_in/kernel": (0, SHAPE.width**-0.5),
    # Little, for llama.cpp looks the values of GELU up in a table of half precision.
    "dense_out/kernel": (0, 0.25 * SHAPE.dense**-0.5),
    "_norm/gamma": (1, 0.1),
    # Around 0, or tied embeddings would say each token again.
    "norm/gamma": (0, 0.12),
    "": (0, 0.1),
}
"""The mean and the deviation to draw a weight with, by the first of these ends of its name."""


def bundle(shape: Architecture = SHAPE) -> Bundle:
    """Return a network as a model that corelm exports; every call gives the same."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, size in shapes(shape).items():
        mean, deviation = next(SPREADS[end] for end in SPREADS if name.endswith(end))
        weights[name] = (mean + deviation * rng.standard_normal(size)).astype(np.float32)
    return Bundle(shape, vocabulary(shape), weights, {})


def vocabulary(shape: Architecture = SHAPE) -> BytePairVocabulary:
    """Return as many byte pairs as the network has tokens; the peers get ids, not texts."""
    merges = shape.vocabulary_size - len(BytePairVocabulary(()))
    return BytePairVocabulary(itertools.islice(itertools.product(ALPHABET, ALPHABET), merges))
