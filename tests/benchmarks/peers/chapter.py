"""The loop of the chapter: it tokenises the text and runs the whole network again for each word."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from corelm_train.keras_layers import build
from corelm_train.network_weights import set_weights
from corelm_train.settings import PRESETS
from corelm_train.vocabulary_learning import text_vectorization

import corelm
from corelm.models.networks.base import Architecture
from peers.ours import random_weights, words
from peers.peer import PROMPT, TEMPERATURE, Peer


class Chapter(Peer):
    """The text-generation callback, which writes one text at a time."""

    def __init__(self, a: Architecture) -> None:
        self._context_length = a.context_length
        self._words = words(a.vocabulary_size).words
        self._vectorize = text_vectorization("words", a.vocabulary_size, self._words[2:])
        self._network = build(a)
        set_weights(self._network, random_weights(a))
        self._rng = np.random.default_rng(0)

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        p = self._next(np.array([prompt]))
        return np.log(np.maximum(p, np.finfo(float).tiny))

    def write(self, way: str, batch: int, length: int) -> None:
        text = PROMPT
        for _ in range(length):
            p = self._next(np.asarray(self._vectorize([text])))
            p = corelm.reweight_distribution(p, TEMPERATURE)
            text += " " + self._words[self._rng.choice(len(p), p=p / p.sum())]

    def _next(self, prompt: np.ndarray) -> np.ndarray:
        """The next token's distribution; the chapter pads to the whole context."""
        tokens = np.zeros((1, self._context_length), "int32")
        tokens[:, : prompt.shape[1]] = prompt
        scores = np.asarray(self._network(tokens))[0, prompt.shape[1] - 1].astype(np.float64)
        return scores if (scores >= 0).all() else corelm.softmax(scores)


def peer(preset: str) -> Chapter:
    """The chapter's loop with the network of a preset."""
    return Chapter(PRESETS[preset].architecture)
