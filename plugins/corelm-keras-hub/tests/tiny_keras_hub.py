"""A tiny GPT-2 with random weights, made without a download; fast on every backend."""

from __future__ import annotations

import keras_hub
import numpy as np
from corelm_keras_hub.vocabulary import BYTES

MERGES = ["Ġ t", "h e", "Ġt he", "c a", "ca t"]
CONTEXT = 32


def tokenizer():
    """Byte pairs that know "the" and "cat", and every byte."""
    tokens = [*BYTES, *(merge.replace(" ", "") for merge in MERGES), "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=MERGES)


def backbone(size, seed=0, **options):
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    network = keras_hub.models.GPT2Backbone(
        vocabulary_size=size, max_sequence_length=CONTEXT, dropout=0.0, **sizes, **options
    )
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return network


def gpt2(**options):
    """Return the model; it scores more ids than its tokenizer has, as many models do."""
    tokens = tokenizer()
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokens, sequence_length=16)
    network = backbone(tokens.vocabulary_size() + 2, **options)
    return keras_hub.models.GPT2CausalLM(backbone=network, preprocessor=preprocessor)
