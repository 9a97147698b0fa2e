"""KerasHub: the whole of `generate` compiled by XLA, on TensorFlow or JAX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class KerasHub(Peer):
    """GPT2CausalLM, with the backend that Keras was given."""

    def __init__(self) -> None:
        import keras
        import keras_hub

        a = gpt2.SHAPE
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=a.vocabulary_size,
            num_layers=a.blocks,
            num_heads=a.heads,
            hidden_dim=a.width,
            intermediate_dim=a.dense,
            dropout=0,
            max_sequence_length=a.context_length,
        )
        _set_weights(backbone, gpt2.weights())
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


def _set_weights(backbone: Any, w: gpt2.Weights) -> None:
    backbone.token_embedding.embeddings.assign(w["wte.weight"])
    backbone.position_embedding.position_embeddings.assign(w["wpe.weight"])
    for i, layer in enumerate(backbone.transformer_layers):
        attention = layer._self_attention_layer
        qkv = zip(*(np.split(x, 3, axis=-1) for x in _pair(w, f"h.{i}.attn.c_attn")), strict=True)
        for name, (kernel, bias) in zip(("query", "key", "value"), qkv, strict=True):
            _assign(getattr(attention, f"_{name}_dense"), kernel, bias)
        _assign(attention._output_dense, *_pair(w, f"h.{i}.attn.c_proj"))
        _assign(layer._feedforward_intermediate_dense, *_pair(w, f"h.{i}.mlp.c_fc"))
        _assign(layer._feedforward_output_dense, *_pair(w, f"h.{i}.mlp.c_proj"))
        _assign(layer._self_attention_layer_norm, *_pair(w, f"h.{i}.ln_1"))
        _assign(layer._feedforward_layer_norm, *_pair(w, f"h.{i}.ln_2"))
    _assign(backbone.layer_norm, *_pair(w, "ln_f"))


def _pair(w: gpt2.Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    return w[f"{name}.weight"], w[f"{name}.bias"]


def _assign(layer: Any, *arrays: np.ndarray) -> None:
    """The kernel or the scale, then the bias; some have axes for the heads."""
    for variable, array in zip(layer.weights, arrays, strict=True):
        variable.assign(array.reshape(variable.shape))


def peer(backend: str) -> KerasHub:
    """KerasHub on `tensorflow` or `jax`."""
    os.environ["KERAS_BACKEND"] = backend
    return KerasHub()
