"""The Keras networks: the chapter's own, a faster successor, GPT-2's and a recurrent one.

Every network maps token ids of shape (batch, time) to next-token scores of shape
(batch, time, vocabulary): probabilities for `book` and `rnn`, as in the chapter,
logits for `default` and `gpt2`. Keras saves a layer's arguments as its configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from corelm.bundles import Architecture

EPSILON = 1e-6
GPT2_EPSILON = 1e-5


@keras.saving.register_keras_serializable("corelm")
class TokenEmbedding(keras.layers.ReversibleEmbedding):
    """Ids to vectors and, in reverse, vectors to logits with the same weights."""

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if reverse:
            return _on_rows(super().call, inputs, reverse=True)
        # Multiplying by one makes the gradient of the look-up dense, as the product's is.
        # Otherwise TensorFlow keeps both as slices, which costs a tenth of a training step.
        dense = ops.multiply(self.embeddings, 1.0)
        return ops.cast(ops.take(dense, inputs, axis=0), self.compute_dtype)


@keras.saving.register_keras_serializable("corelm")
class Linear(keras.layers.Dense):
    """A dense layer without activation: (batch, time, width) to (batch, time, units).

    It has a bias only with `use_bias=True`.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **{"use_bias": False, **kwargs})

    def call(self, inputs: Any, training: Any = None) -> Any:
        return _on_rows(super().call, inputs)


def _on_rows(product: Any, inputs: Any, **options: Any) -> Any:
    """Compute a matrix product of (batch, time, width) as one of (batch * time, width).

    TensorFlow would compute one product per batch element, and sum as many weight gradients.
    """
    rows = product(ops.reshape(inputs, (-1, inputs.shape[-1])), **options)
    return ops.reshape(rows, (*ops.shape(inputs)[:-1], rows.shape[-1]))


@keras.saving.register_keras_serializable("corelm")
class PositionalEmbedding(keras.layers.Layer):
    """Embed tokens and add embeddings of positions: (batch, time) ids to (batch, time, width).

    With `reverse=True` score vectors against the tokens: (batch, time, width) to
    (batch, time, vocabulary).

    Args:
        sequence_length: the longest sequence, in tokens.
        input_dim: the size of the vocabulary.
        output_dim: the width of the embedding.
        mask_zero: True if id 0 is padding that later layers must not attend to.
    """

    def __init__(
        self,
        sequence_length: int,
        input_dim: int,
        output_dim: int,
        mask_zero: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_zero = mask_zero
        initializer = "uniform" if mask_zero else keras.initializers.RandomNormal(stddev=0.02)
        self.token_embeddings = TokenEmbedding(
            input_dim, output_dim, embeddings_initializer=initializer, name="token_embeddings"
        )
        self.position_embeddings = keras.layers.Embedding(
            sequence_length,
            output_dim,
            embeddings_initializer=initializer,
            name="position_embeddings",
        )

    def build(self, input_shape: Any) -> None:
        self.token_embeddings.build(input_shape)
        self.position_embeddings.build((input_shape[-1],))
        self.built = True

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if reverse:
            return self.token_embeddings(inputs, reverse=True)
        positions = ops.arange(ops.shape(inputs)[-1])
        return self.token_embeddings(inputs) + self.position_embeddings(positions)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.not_equal(inputs, 0) if self.mask_zero else None


@keras.saving.register_keras_serializable("corelm")
class TransformerDecoder(keras.layers.Layer):
    """The chapter's decoder: causal self-attention, attention over the embeddings, dense.

    Each of the three is followed by a residual connection and layer normalisation.
    Shapes: (batch, time, embed_dim) to the same.

    Args:
        embed_dim: the width of the embedding, and of each attention head.
        dense_dim: the width of the hidden dense layer.
        num_heads: the number of attention heads.
    """

    def __init__(self, embed_dim: int, dense_dim: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense_dim = dense_dim
        self.attention_1 = keras.layers.MultiHeadAttention(num_heads, embed_dim, name="attention_1")
        self.attention_2 = keras.layers.MultiHeadAttention(num_heads, embed_dim, name="attention_2")
        self.dense_1 = keras.layers.Dense(dense_dim, activation="relu", name="dense_1")
        self.dense_2 = keras.layers.Dense(embed_dim, name="dense_2")
        self.layernorm_1 = keras.layers.LayerNormalization(epsilon=EPSILON, name="layernorm_1")
        self.layernorm_2 = keras.layers.LayerNormalization(epsilon=EPSILON, name="layernorm_2")
        self.layernorm_3 = keras.layers.LayerNormalization(epsilon=EPSILON, name="layernorm_3")
        self.supports_masking = True

    def build(self, inputs_shape: Any, encoder_outputs_shape: Any) -> None:
        self.attention_1.build(inputs_shape, inputs_shape)
        self.attention_2.build(inputs_shape, inputs_shape)
        self.dense_1.build(inputs_shape)
        self.dense_2.build((*inputs_shape[:-1], self.dense_dim))
        for norm in (self.layernorm_1, self.layernorm_2, self.layernorm_3):
            norm.build(inputs_shape)
        self.built = True

    def call(self, inputs: Any, encoder_outputs: Any, inputs_mask: Any = None) -> Any:
        # Keras 3 passes the mask of a layer with two inputs under this name, never as `mask`.
        causal = causal_mask(ops.shape(inputs)[1])
        mask = causal
        if inputs_mask is not None:
            mask = ops.logical_and(causal, inputs_mask[:, None, :])
        x = self.attention_1(inputs, inputs, inputs, attention_mask=causal)
        x1 = self.layernorm_1(inputs + x)
        x = self.attention_2(x1, encoder_outputs, encoder_outputs, attention_mask=mask)
        x2 = self.layernorm_2(x1 + x)
        return self.layernorm_3(x2 + self.dense_2(self.dense_1(x2)))


class TransformerBlock(keras.layers.Layer):
    """A transformer block: normalise, attend, add; normalise, dense, add.

    Shapes: (batch, time, width) to the same.

    Args:
        width: the width of the embedding; `heads` must divide it.
        dense: the width of the hidden dense layer.
        heads: the number of attention heads.
        norm: makes a normalisation layer with a given name.
        activation: the activation of the hidden dense layer.
        use_bias: True if the dense layers have biases.
    """

    def __init__(
        self,
        width: int,
        dense: int,
        heads: int,
        *,
        norm: Callable[[str], keras.layers.Layer],
        activation: Callable[[Any], Any],
        use_bias: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dense = dense
        self.heads = heads
        normal = keras.initializers.RandomNormal(stddev=0.02)

        def linear(units: int, initializer: Any, name: str) -> Linear:
            return Linear(units, use_bias=use_bias, kernel_initializer=initializer, name=name)

        self.attention_norm = norm("attention_norm")
        self.qkv = linear(3 * width, normal, "qkv")
        self.attention_out = linear(width, "zeros", "attention_out")
        self.dense_norm = norm("dense_norm")
        self.dense_in = linear(dense, normal, "dense_in")
        self.dense_out = linear(width, "zeros", "dense_out")
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        for layer in (self.attention_norm, self.qkv, self.attention_out):
            layer.build(input_shape)
        for layer in (self.dense_norm, self.dense_in):
            layer.build(input_shape)
        self.dense_out.build((*input_shape[:-1], self.dense))
        self.built = True

    def call(self, x: Any) -> Any:
        x = x + self.attention_out(attend(self.qkv(self.attention_norm(x)), self.heads))
        return x + self.dense_out(self.activation(self.dense_in(self.dense_norm(x))))


@keras.saving.register_keras_serializable("corelm")
class PreNormBlock(TransformerBlock):
    """A block without biases, with RMS normalisation.

    The hidden activation is the squared relu (So et al. 2021, arXiv 2109.08668), which is as good
    as gelu and far cheaper one token at a time.
    """

    def __init__(self, width: int, dense: int, heads: int, **kwargs: Any) -> None:
        super().__init__(
            width, dense, heads, norm=_rms_norm, activation=_squared_relu, use_bias=False, **kwargs
        )


@keras.saving.register_keras_serializable("corelm")
class Gpt2Block(TransformerBlock):
    """A block of GPT-2 (Radford et al. 2019): biases, layer normalisation and gelu."""

    def __init__(self, width: int, dense: int, heads: int, **kwargs: Any) -> None:
        super().__init__(
            width, dense, heads, norm=_gpt2_norm, activation=_gelu, use_bias=True, **kwargs
        )


def _rms_norm(name: str) -> keras.layers.Layer:
    return keras.layers.RMSNormalization(epsilon=EPSILON, name=name)


def _gpt2_norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=GPT2_EPSILON, name=name)


def _squared_relu(x: Any) -> Any:
    return ops.square(ops.relu(x))


def _gelu(x: Any) -> Any:
    return ops.gelu(x, approximate=True)


def attend(qkv: Any, heads: int) -> Any:
    """Attend causally: (batch, time, 3 * width) to (batch, time, width)."""
    time, width = ops.shape(qkv)[1], qkv.shape[-1] // 3
    size = width // heads
    qkv = ops.reshape(qkv, (-1, time, 3, heads, size))
    query, key, value = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * (size**-0.5)
    scores = ops.where(causal_mask(time), ops.cast(scores, "float32"), -1e9)
    weights = ops.cast(ops.softmax(scores), qkv.dtype)  # (batch, heads, time, time)
    mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    return ops.reshape(mixed, (-1, time, width))


def causal_mask(time: Any) -> Any:
    """Return (time, time), True where a position (row) may attend to another (column)."""
    positions = ops.arange(time)
    return positions[:, None] >= positions[None, :]


def build(architecture: Architecture) -> keras.Model:
    """Build a network that maps (batch, time) ids to (batch, time, vocabulary) scores.

    Example:
        >>> from corelm_train.settings import PRESETS
        >>> build(PRESETS["book"].architecture).count_params()
        9825176
    """
    builders: dict[str, Callable[..., Any]] = {
        "book": _book,
        "default": partial(_tied_decoder, block=PreNormBlock, norm=_rms_norm),
        "gpt2": partial(_tied_decoder, block=Gpt2Block, norm=_gpt2_norm),
        "rnn": _rnn,
    }
    inputs = keras.Input((None,), dtype="int32", name="tokens")
    outputs = builders[architecture.kind](inputs, architecture)
    return keras.Model(inputs, outputs, name=architecture.kind)


def _embedding(a: Architecture, mask_zero: bool) -> PositionalEmbedding:
    return PositionalEmbedding(
        a.context_length, a.vocabulary_size, a.width, mask_zero=mask_zero, name="embedding"
    )


def _book(inputs: Any, a: Architecture) -> Any:
    x = _embedding(a, mask_zero=True)(inputs)
    x = TransformerDecoder(a.width, a.dense, a.heads, name="decoder")(x, x)
    return _probabilities(x, a)


def _tied_decoder(
    inputs: Any, a: Architecture, block: Callable[..., TransformerBlock], norm: Any
) -> Any:
    embedding = _embedding(a, mask_zero=False)
    x = embedding(inputs)
    for i in range(a.blocks):
        x = block(a.width, a.dense, a.heads, name=f"block_{i}")(x)
    logits = embedding(norm("norm")(x), reverse=True)
    return keras.layers.Activation("linear", dtype="float32", name="logits")(logits)


def _rnn(inputs: Any, a: Architecture) -> Any:
    x = keras.layers.Embedding(a.vocabulary_size, a.width, mask_zero=True, name="embedding")(inputs)
    for i in range(a.blocks):
        x = keras.layers.GRU(a.dense, return_sequences=True, name=f"gru_{i}")(x)
    return _probabilities(x, a)


def _probabilities(x: Any, a: Architecture) -> Any:
    dense = keras.layers.Dense(
        a.vocabulary_size, activation="softmax", dtype="float32", name="probabilities"
    )
    return dense(x)
