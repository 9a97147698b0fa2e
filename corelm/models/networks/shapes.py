"""The shapes of weights that several networks share, under the names that Keras gives them."""

from __future__ import annotations

from corelm.models.architectures import Architecture

Shapes = dict[str, tuple[int, ...]]


def embedding_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the embeddings of tokens and positions."""
    return {
        "embedding/token_embeddings/embeddings": (a.vocabulary_size, a.width),
        "embedding/position_embeddings/embeddings": (a.context_length, a.width),
    }


def dense_shapes(name: str, inputs: int, units: int) -> Shapes:
    """Return the shapes of a dense layer with a bias."""
    return {f"{name}/kernel": (inputs, units), f"{name}/bias": (units,)}


def layer_norm_shapes(name: str, width: int) -> Shapes:
    """Return the shapes of a layer normalisation."""
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}
