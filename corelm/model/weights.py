"""The weights of each kind of network: their names, as Keras calls them, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corelm.errors import ModelFileError
from corelm.model.presets import Architecture
from corelm.model.vocabulary import WordVocabulary
from corelm.numerics.distributions import Array

Shapes = dict[str, tuple[int, ...]]


def check(a: Architecture, vocabulary: WordVocabulary, weights: Mapping[str, Array]) -> None:
    """Refuse weights or a vocabulary that do not fit an architecture.

    Raises:
        ModelFileError: a weight too many or too few, one of another shape or not finite,
            another number of tokens.
    """
    if len(vocabulary) != a.vocabulary_size:
        raise ModelFileError(
            f"the vocabulary has {len(vocabulary)} tokens, the network {a.vocabulary_size}"
        )
    if a.kind == "default" and a.width % a.heads:
        raise ModelFileError(f"{a.heads} heads cannot share a width of {a.width}")
    check_shapes(a, {name: weight.shape for name, weight in weights.items()})
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise ModelFileError(f"the weights {name!r} hold numbers that are not finite")


def check_shapes(a: Architecture, found: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse any but exactly the weights of an architecture, by name and shape."""
    expected = shapes(a)
    for name, shape in expected.items():
        if name not in found:
            raise ModelFileError(f"the weights {name!r} are missing")
        if tuple(found[name]) != shape:
            raise ModelFileError(f"the weights {name!r} are {found[name]} instead of {shape}")
    foreign = sorted(found.keys() - expected.keys())
    if foreign:
        raise ModelFileError(f"a {a.kind} network has no weights {foreign[0]!r}")


def shapes(a: Architecture) -> Shapes:
    """Every weight of an architecture: its name to its shape.

    Example:
        >>> shapes(Architecture("rnn", vocabulary_size=9, width=4))["embedding/embeddings"]
        (9, 4)
    """
    return {"book": _book, "default": _default, "rnn": _rnn}[a.kind](a)


def _book(a: Architecture) -> Shapes:
    return {
        **_embedding(a),
        **_attention("decoder/attention_1", a),
        **_attention("decoder/attention_2", a),
        **_dense("decoder/dense_1", a.width, a.dense),
        **_dense("decoder/dense_2", a.dense, a.width),
        **_layer_norm("decoder/layernorm_1", a.width),
        **_layer_norm("decoder/layernorm_2", a.width),
        **_layer_norm("decoder/layernorm_3", a.width),
        **_dense("probabilities", a.width, a.vocabulary_size),
    }


def _default(a: Architecture) -> Shapes:
    table = _embedding(a)
    for i in range(a.blocks):
        table |= {
            f"block_{i}/attention_norm/scale": (a.width,),
            f"block_{i}/qkv/kernel": (a.width, 3 * a.width),
            f"block_{i}/attention_out/kernel": (a.width, a.width),
            f"block_{i}/dense_norm/scale": (a.width,),
            f"block_{i}/dense_in/kernel": (a.width, a.dense),
            f"block_{i}/dense_out/kernel": (a.dense, a.width),
        }
    return table | {"norm/scale": (a.width,)}


def _rnn(a: Architecture) -> Shapes:
    table: Shapes = {"embedding/embeddings": (a.vocabulary_size, a.width)}
    for i in range(a.blocks):
        table |= {
            f"gru_{i}/gru_cell/kernel": (a.dense if i else a.width, 3 * a.dense),
            f"gru_{i}/gru_cell/recurrent_kernel": (a.dense, 3 * a.dense),
            f"gru_{i}/gru_cell/bias": (2, 3 * a.dense),
        }
    return table | _dense("probabilities", a.dense, a.vocabulary_size)


def _embedding(a: Architecture) -> Shapes:
    return {
        "embedding/token_embeddings/embeddings": (a.vocabulary_size, a.width),
        "embedding/position_embeddings/embeddings": (a.context_length, a.width),
    }


def _attention(name: str, a: Architecture) -> Shapes:
    table: Shapes = {}
    for part in ("query", "key", "value"):
        table[f"{name}/{part}/kernel"] = (a.width, a.heads, a.width)
        table[f"{name}/{part}/bias"] = (a.heads, a.width)
    table[f"{name}/attention_output/kernel"] = (a.heads, a.width, a.width)
    table[f"{name}/attention_output/bias"] = (a.width,)
    return table


def _dense(name: str, inputs: int, units: int) -> Shapes:
    return {f"{name}/kernel": (inputs, units), f"{name}/bias": (units,)}


def _layer_norm(name: str, width: int) -> Shapes:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}
