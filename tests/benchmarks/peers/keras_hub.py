"""KerasHub: the whole of `generate` compiled by XLA, on TensorFlow or JAX."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from corelm_train.keras_hub_export import causal_lm

from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class KerasHub(Peer):
    """GPT2CausalLM, with the backend that Keras was given."""

    def __init__(self) -> None:
        import keras
        import keras_hub

        backbone = causal_lm(gpt2.bundle(), gpt2.vocabulary()).backbone
        self._ops = keras.ops
        self._model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
        sampler = keras_hub.samplers.RandomSampler(temperature=TEMPERATURE, seed=0)
        self._model.compile(sampler=sampler, jit_compile=True)

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        """Its cache holds the whole context; the last token is read into its place."""
        a = gpt2.SHAPE
        ids = np.zeros((1, a.context_length), "int32")
        ids[0, : len(prompt) - 1] = prompt[:-1]
        shape = (1, a.blocks, 2, a.context_length, a.heads, a.width // a.heads)
        cache = self._ops.zeros(shape)
        _, _, cache = self._model.call_with_cache(ids, cache, 0)
        last = np.array([prompt[-1:]], "int32")
        scores, _, _ = self._model.call_with_cache(last, cache, len(prompt) - 1)
        return self._ops.convert_to_numpy(scores)[0, 0]

    def write(self, way: str, batch: int, length: int) -> None:
        ids = np.zeros((batch, len(IDS) + length), "int32")
        ids[:, : len(IDS)] = IDS
        mask = np.zeros_like(ids)
        mask[:, : len(IDS)] = 1
        written = self._model.generate(
            {"token_ids": ids, "padding_mask": mask}, stop_token_ids=None
        )
        assert written["token_ids"].shape == ids.shape


def peer(backend: str) -> KerasHub:
    """KerasHub on `tensorflow` or `jax`."""
    os.environ["KERAS_BACKEND"] = backend
    return KerasHub()
