"""A preset folder for KerasHub: a GPT2CausalLM with its tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from corelm.bundles import Architecture, Bundle, BytePairVocabulary
from corelm.errors import MissingDependencyError
from corelm_train.keras_import import import_keras

NORMS = {
    "attention_norm": "_self_attention_layer_norm",
    "dense_norm": "_feedforward_layer_norm",
}
DENSE = {
    "attention_out": "_self_attention_layer._output_dense",
    "dense_in": "_feedforward_intermediate_dense",
    "dense_out": "_feedforward_output_dense",
}


def files(model: Bundle, vocabulary: BytePairVocabulary) -> dict[str, bytes]:
    """Return the files of the folder by name.

    Raises:
        MissingDependencyError: KerasHub is not installed.
    """
    import_keras("the export to KerasHub")  # imports Keras without TensorFlow's messages
    network = causal_lm(model, vocabulary)
    with tempfile.TemporaryDirectory() as name:  # KerasHub writes to a folder only
        folder = Path(name) / "preset"
        network.save_to_preset(str(folder))
        paths = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in paths}


def causal_lm(model: Bundle, vocabulary: BytePairVocabulary) -> Any:
    """Return KerasHub's GPT2CausalLM with the weights and the tokens of a model."""
    try:
        import keras_hub
    except ImportError as error:
        raise MissingDependencyError(
            f"a preset of KerasHub needs keras-hub ({error}); "
            "install it with: pip install keras-hub tensorflow"
        ) from error
    a = model.architecture
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=a.vocabulary_size,
        num_layers=a.blocks,
        num_heads=a.heads,
        hidden_dim=a.width,
        intermediate_dim=a.dense,
        dropout=0.0,
        max_sequence_length=a.context_length,
        dtype="float32",
    )
    _assign(backbone, model.weights, a)
    tokenizer = keras_hub.models.GPT2Tokenizer(
        vocabulary={word: i for i, word in enumerate(vocabulary.words)},
        merges=[f"{left} {right}" for left, right in vocabulary.merges],
    )
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(
        tokenizer, sequence_length=a.context_length
    )
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor)


def _below(weights: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the weights whose names begin with `name/`, without that prefix."""
    inside = f"{name}/"
    return {k.removeprefix(inside): w for k, w in weights.items() if k.startswith(inside)}


def _assign(backbone: Any, weights: Mapping[str, Any], a: Architecture) -> None:
    embedding = _below(weights, "embedding")
    backbone.token_embedding.embeddings.assign(embedding["token_embeddings/embeddings"])
    positions = embedding["position_embeddings/embeddings"]
    backbone.position_embedding.position_embeddings.assign(positions)
    _assign_norm(backbone.layer_norm, weights, "norm")
    for i, layer in enumerate(backbone.transformer_layers):
        block = _below(weights, f"block_{i}")
        for ours, theirs in NORMS.items():
            _assign_norm(getattr(layer, theirs), block, ours)
        for ours, theirs in DENSE.items():
            dense = attrgetter(theirs)(layer)
            _assign_dense(dense, block[f"{ours}/kernel"], block[f"{ours}/bias"])
        # corelm joins the three products into one; KerasHub has a layer for each.
        kernels = np.split(block["qkv/kernel"], 3, axis=1)
        biases = np.split(block["qkv/bias"], 3)
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            _assign_dense(getattr(layer._self_attention_layer, f"_{name}_dense"), kernel, bias)


def _assign_norm(layer: Any, weights: Mapping[str, Any], name: str) -> None:
    layer.gamma.assign(weights[f"{name}/gamma"])
    layer.beta.assign(weights[f"{name}/beta"])


def _assign_dense(layer: Any, kernel: Any, bias: Any) -> None:
    """Assign a matrix and a bias, reshaped to KerasHub's axes, which may be split by head."""
    layer.kernel.assign(np.reshape(kernel, layer.kernel.shape))
    layer.bias.assign(np.reshape(bias, layer.bias.shape))
