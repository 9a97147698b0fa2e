"""Shapes of weights that several networks share, by name as Keras names them."""

from __future__ import annotations

from corelm.model.architectures import Architecture

Shapes = dict[str, tuple[int, ...]]


def embedding_shapes(a: Architecture) -> Shapes:
    return {
        "embedding/token_embeddings/embeddings": (a.vocabulary_size, a.width),
        "embedding/position_embeddings/embeddings": (a.context_length, a.width),
    }


def dense_shapes(name: str, inputs: int, units: int) -> Shapes:
    return {f"{name}/kernel": (inputs, units), f"{name}/bias": (units,)}


def layer_norm_shapes(name: str, width: int) -> Shapes:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}
