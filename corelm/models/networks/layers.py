"""The layers of the networks: attention, normalisation, products. The kernels run them where they
are available.

A token's result is the same to the last bit whether it is computed alone or with others, in any
batch. The kernels ensure this. In NumPy it takes one vector per token: BLAS rounds the product of
two matrices differently from the product of a vector and a matrix, and differently for each shape.
`np.matmul` of (..., 1, in) and (in, out) makes one BLAS call per vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.native.rows import loaded
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]
Weights = Mapping[str, NDArray[np.float32] | NDArray[np.float16]]

EPSILON = np.float32(1e-6)
MASKED = np.float32(-1e9)

ACTIVATIONS = ("", "relu", "squared relu", "gelu")
"""The activations after a product, in the order of the kernels' codes."""

CACHED = 2**16
"""Weights in one block of columns: 256 KiB, which fit a core's own cache."""


def single(weights: Array) -> NDArray[np.float32]:
    """Return weights in single precision, copied only if they have another precision."""
    return np.asarray(weights, dtype=np.float32)


class StepInput(NamedTuple):
    """The input of one step: the last tokens of each row of a window, and the cache before them."""

    window: Ids
    """(batch, time) ids."""
    new: int
    """Tokens at the end of each row to process, at least 1."""
    kv_cache: Array
    """(batch, layers, keys_and_values, kv_heads, context, size); the step writes into it."""
    attention_mask: NDArray[np.bool_] | None = None
    """(masks, batch, new, time), False where a token must not attend; None allows all."""
    times: Ids | None = None
    """(batch,) the tokens of each row, which begins on the left; None if all fill the window."""

    def rows(self) -> Iterator[StepInput]:
        """Yield the input of each row alone, without the ids after its end."""
        times = [self.window.shape[1]] * len(self.window) if self.times is None else self.times
        for i, time in enumerate(times):
            row, mask = slice(i, i + 1), self.attention_mask
            yield StepInput(
                self.window[row, :time],
                self.new,
                self.kv_cache[row],
                None if mask is None else mask[:, row, :, :time],
            )


class BackgroundStep(NamedTuple):
    """A step that another thread computes; its arrays are valid after `wait`."""

    run: Any
    outputs: Array
    logits: Array

    def wait(self) -> None:
        """Wait for the arrays; the waiting thread takes part in the work."""
        loaded().wait(self.run)


class Embed:
    """The embeddings of the new tokens plus the embeddings of their positions: (batch, new, width).

    Args:
        tokens: (vocabulary, width), in single or half precision.
        positions: (context, width).
    """

    reads_step = True

    def __init__(self, tokens: Array, positions: Array) -> None:
        self._tokens, self._positions = tokens, single(positions)
        self.width = tokens.shape[1]
        self.kernel = ("embed", self._tokens, self._positions, None)

    def __call__(self, step: StepInput) -> Array:
        if step.times is not None:
            return np.concatenate([self(row) for row in step.rows()])
        time = step.window.shape[1]
        first = time - step.new
        embedded: Array = self._tokens[step.window[:, first:]] + self._positions[first:time]
        return embedded


class Attend:
    """Causal attention of the new tokens: (batch, new, heads * size).

    Several heads may share one head of keys and values (grouped-query attention). A cache layer
    with one entry instead of two uses its keys as values too.

    Args:
        heads: the number of query heads.
        width: of all heads together.
        layer: the layer of the cache that belongs to this attention.
        mask: the mask that applies to it, where there are several.
    """

    reads_step = True

    def __init__(self, heads: int, width: int, layer: int = 0, mask: int = 0) -> None:
        self._layer, self._mask, self.width = layer, mask, width
        self.kernel = ("attend", layer, mask, heads)

    def __call__(self, step: StepInput, x: Array, tokens: Array | None = None) -> Array:
        """Attend from the new tokens to the cached ones.

        Args:
            step: the cache, which gets the new keys and values, and the mask.
            x: (batch, new, width) queries; without `tokens`, followed by keys and values of the
                same width each.
            tokens: (batch, new, kv_heads * size), the keys that are also the values.
        """
        if step.times is not None:
            inputs = (x,) if tokens is None else (x, tokens)
            parts = zip(step.rows(), *inputs, strict=True)
            return np.concatenate([self(row, *(part[None] for part in of)) for row, *of in parts])
        added = (tokens,) if tokens is not None else np.split(x[..., self.width :], 2, axis=-1)
        cache, time = step.kv_cache[:, self._layer], step.window.shape[1]
        (batch, new), (kv_heads, size) = x.shape[:2], (cache.shape[2], cache.shape[4])
        for i, values in enumerate(added):
            by_head = values.reshape(batch, new, kv_heads, size).swapaxes(1, 2)
            cache[:, i, :, time - new : time] = by_head
        group = self.width // (kv_heads * size)  # query heads that share keys and values
        queries = x[..., : self.width].reshape(batch, new, kv_heads, group, 1, size)
        # Scale the queries, not the scores, whose number grows with the text.
        queries = queries * np.float32(size**-0.5)
        mixed = np.empty(queries.shape, dtype=np.float32)  # one vector per head
        for i in range(new):
            # (batch, keys_and_values, kv_heads, 1, past, size)
            past = cache[..., None, : time - new + i + 1, :]
            scores = queries[:, i] @ past[:, 0].swapaxes(3, 4)  # (batch, kv_heads, group, 1, past)
            if step.attention_mask is not None:
                mask = step.attention_mask[self._mask, :, i, None, None, None, : past.shape[4]]
                scores = np.where(mask, scores, MASKED)
            np.matmul(_softmax(scores), past[:, -1], out=mixed[:, i])
        return mixed.reshape(batch, new, self.width)


def _softmax(scores: Array) -> Array:
    """Compute the softmax over the last axis in place."""
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)
    return scores


class Norm:
    """Layer normalisation of each token with a shift, RMS normalisation without one."""

    reads_step = False

    def __init__(
        self, scale: Array, shift: Array | None = None, epsilon: np.float32 = EPSILON
    ) -> None:
        self._scale, self.width, self._epsilon = single(scale), len(scale), epsilon
        self._shift = None if shift is None else single(shift)
        self.kernel = ("normalise", self._scale, self._shift, epsilon)

    def __call__(self, x: Array) -> Array:
        scale, shift = self._scale, self._shift
        if native.kernels:
            out = np.empty(x.shape, dtype=np.float32)
            native.kernels.normalise(np.ascontiguousarray(x), scale, shift, self._epsilon, out)
            return out
        width = np.float32(x.shape[-1])
        if shift is not None:
            x = x - np.add.reduce(x, axis=-1, keepdims=True) / width
        variance: Array = np.vecdot(x, x)[..., None] / width
        y: Array = x / np.sqrt(variance + self._epsilon) * scale
        return y if shift is None else y + shift


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.tanh(x / 2) / 2 + np.float32(0.5)


class Matrix(NamedTuple):
    """The shape and precision of a matrix that every token is multiplied with."""

    inputs: int
    units: int
    halves: bool = False
    """True if the matrix is stored in half precision."""


class Linear:
    """A dense layer with a residual: activation(x @ kernel + bias) + add, for each token.

    Args:
        kernel: (in, out), in single or half precision.
        bias: (out,), or none.
        activation: one of `ACTIVATIONS`.
    """

    reads_step = False

    def __init__(self, kernel: Array, bias: Array | None = None, activation: str = "") -> None:
        self._bias = None if bias is None else single(bias)
        self._activation = ACTIVATIONS.index(activation)
        make = Vectors if native.kernels is None else Panels
        self._product = make(kernel)
        inputs, units = kernel.shape
        self.matrix = Matrix(inputs, units, self._product.halves)
        self.width = units

    @property
    def kernel(self) -> tuple[Any, ...]:
        """The layer as a node of a graph that the kernels run."""
        assert isinstance(self._product, Panels)
        return "multiply", self._product.panels, self._bias, self._activation

    def __call__(self, x: Array, add: Array | None = None) -> Array:
        """Map (batch, new, in) to (batch, new, out), which is also the shape of `add`."""
        out = np.empty((*x.shape[:-1], self.matrix.units), dtype=np.float32)
        self._product(np.ascontiguousarray(x), self._bias, self._activation, add, out)
        return out


Layer = Embed | Attend | Linear | Norm


class Panels:
    """A matrix in the layout of the kernel, in panels of columns: (panels, in, columns).

    It is stored in half precision if that changes no number, as with weights from a float16
    file: one token takes as long as reading the matrix.
    """

    def __init__(self, kernel: Array) -> None:
        kernels = loaded()
        self._multiply, columns = kernels.multiply, kernels.PANEL
        inputs, units = kernel.shape
        shape = (-(-units // columns), inputs, columns)
        self.panels = _ARENA.allocate(shape, np.float16)
        self.halves = kernels.pack(kernel, self.panels)
        if not self.halves:
            self.panels = _ARENA.allocate(shape, np.float32)
            kernels.pack(kernel, self.panels)

    def __call__(
        self, x: Array, bias: Array | None, activation: int, add: Array | None, out: Array
    ) -> None:
        self._multiply(x, self.panels, bias, activation, add, out)


class Arena:
    """Arrays side by side in large blocks of memory, for which NumPy requests huge pages.

    A network fills more pages of the usual size than fit a processor's cache of page addresses, and
    looking pages up takes longer than reading the weights.
    """

    BLOCK = 2**23
    """The size of a block in bytes; NumPy requests huge pages for arrays of half that size or
    more."""

    def __init__(self) -> None:
        self._rest: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def allocate(self, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> Array:
        """Return an uninitialised array of this shape."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self._rest.size:
            self._rest = np.empty(max(size, self.BLOCK), dtype=np.uint8)
        # Rounded up, so that every array has the alignment of the block.
        block, self._rest = self._rest[:size], self._rest[-(-size // 64) * 64 :]
        return block.view(dtype).reshape(shape)


_ARENA = Arena()


class Vectors:
    """A matrix in plain NumPy that multiplies every token as a vector.

    Several tokens are multiplied with one block of columns at a time, while it is in the cache. A
    single token is multiplied with the whole matrix, so that BLAS can use every core, but only
    where that gives the same bits: it depends on the BLAS, and is tested once.
    """

    halves = False

    def __init__(self, kernel: Array) -> None:
        inputs, self._units = kernel.shape
        columns = np.ascontiguousarray(single(kernel).T)  # (out, in)
        step = max(CACHED // inputs, 1)
        starts = range(0, self._units, step)
        self._blocks = [(slice(i, i + step), columns[i : i + step].T) for i in starts]
        self._whole = columns.T
        probe = np.random.default_rng(0).random((1, 1, inputs), dtype=np.float32)
        blocks = np.empty((1, 1, self._units), dtype=np.float32)
        # A BLAS may split a long product in another way than a short one, and so round differently.
        self._by_blocks(probe, blocks)
        self._same_bits = np.array_equal(probe @ self._whole, blocks)

    def __call__(
        self, x: Array, bias: Array | None, activation: int, add: Array | None, out: Array
    ) -> None:
        if self._same_bits and x.shape[0] == x.shape[1] == 1:
            np.matmul(x, self._whole, out=out)
        else:
            self._by_blocks(x, out)
        if bias is not None:
            out += bias
        _activate(out, ACTIVATIONS[activation])
        if add is not None:
            out += add

    def _by_blocks(self, x: Array, out: Array) -> None:
        tokens, products = x[..., None, :], out[..., None, :]  # (batch, new, 1, in or out)
        for columns, block in self._blocks:
            np.matmul(tokens, block, out=products[..., columns])


def _activate(y: Array, activation: str) -> None:
    """Apply an activation in place; the kernels apply it as they finish a product."""
    if activation == "gelu":  # Hendrycks and Gimpel 2016, arXiv:1606.08415
        y *= sigmoid(np.float32(1.5957691216) * (y + np.float32(0.044715) * y**3))
    elif activation:
        np.maximum(y, 0, out=y)
    if activation == "squared relu":
        y *= y


def bare_products(matrices: Sequence[Matrix], batch: int) -> list[list[Callable[[], object]]]:
    """Return calls that multiply a batch with each matrix, by NumPy and by the kernels.

    Args:
        matrices: the shapes, and whether the kernels store them in half precision.
        batch: the number of vectors multiplied with each matrix.

    Returns:
        The calls of NumPy; then the calls of the kernels, if there are kernels.
    """
    in_numpy: list[Callable[[], object]] = []
    in_kernels: list[Callable[[], object]] = []
    for inputs, units, halves in matrices:
        x, out = _filled(1, batch, inputs), _filled(1, batch, units)
        number = 1 / 2 if halves else 1 / 3  # half precision holds 1/2 exactly, but not 1/3
        matrix = _filled(inputs, units, number=number)
        in_numpy.append(partial(np.matmul, x, matrix, out=out))
        if native.kernels:
            in_kernels.append(partial(Panels(matrix), x, None, 0, None, out))
    return [in_numpy, in_kernels] if native.kernels else [in_numpy]


def _filled(*shape: int, number: float = 0.5) -> Array:
    """Return an array that is filled, so that it occupies real memory as weights do."""
    return np.full(shape, number, dtype=np.float32)
