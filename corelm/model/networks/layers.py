"""The layers of the networks: attention, norms, products. In C where the kernels are there.

What comes out for a token is the same to the last bit whether it is read alone or with others,
in whichever batch. The kernels see to it; in NumPy it takes a vector for each token, since BLAS
rounds the product of two matrices unlike that of a vector and a matrix, and unlike itself with
other shapes: `np.matmul` of (..., 1, in) and (in, out) makes a BLAS call for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.numerics.distributions import Array
from corelm.threads import spread

Weights = Mapping[str, NDArray[np.float32]]

EPSILON = np.float32(1e-6)
NEVER = np.float32(-1e9)

ACTIVATIONS = ("", "relu", "squared relu", "gelu")
"""What may be done with a product, in the kernels' order."""

CACHED = 2**16
"""Weights in one block of columns: 256 KiB, which a core's own cache holds."""

WORTH = 2**23
"""Multiplications that are worth another core."""


class Reading(NamedTuple):
    """What a network reads: the last tokens of each row of a window, after those in its memory."""

    window: NDArray[np.int64]
    """(batch, time) ids."""
    new: int
    """How many of them, at least 1."""
    memory: Array
    """(batch, parts, planes, groups, context, size), one part for each attention; is changed."""
    seen: NDArray[np.bool_] | None = None
    """(masks, batch, new, time), False where a token must not look; none means it may."""


class Embed:
    """The embeddings of what is read, each with that of its place: (batch, new, width).

    Args:
        tokens: (vocabulary, width).
        positions: (context, width).
    """

    reads = True

    def __init__(self, tokens: Array, positions: Array) -> None:
        self._tokens, self._positions = tokens, positions
        self.width = tokens.shape[1]
        self.kernel = ("embed", tokens, positions, None)

    def __call__(self, reading: Reading) -> Array:
        time = reading.window.shape[1]
        first = time - reading.new
        embedded: Array = self._tokens[reading.window[:, first:]] + self._positions[first:time]
        return embedded


class Attend:
    """Each token that is read looks at itself and at those before it: (batch, new, heads * size).

    A plane of the memory has keys or values, (groups, context, size); as many heads as there are
    in a group look at the same ones. With one plane, keys are values too.

    Args:
        heads: how many.
        width: of all heads together.
        part: which part of the memory is its.
        mask: which of the masks says what it may look at, where there are some.
    """

    reads = True

    def __init__(self, heads: int, width: int, part: int = 0, mask: int = 0) -> None:
        self._part, self._mask, self.width = part, mask, width
        self.kernel = ("attend", part, mask, heads)

    def __call__(self, reading: Reading, x: Array, tokens: Array | None = None) -> Array:
        """What is read looks.

        Args:
            reading: what that is.
            x: (batch, new, width) queries; with keys and values beside them, of the same width,
                where there are no tokens.
            tokens: (batch, new, groups * size) what is looked at.
        """
        planes = (tokens,) if tokens is not None else np.split(x[..., self.width :], 2, axis=-1)
        cache, time = reading.memory[:, self._part], reading.window.shape[1]
        (batch, new), (groups, size) = x.shape[:2], (cache.shape[2], cache.shape[4])
        for plane, values in enumerate(planes):
            by_group = values.reshape(batch, new, groups, size).swapaxes(1, 2)
            cache[:, plane, :, time - new : time] = by_group
        members = self.width // (groups * size)
        queries = x[..., : self.width].reshape(batch, new, groups, members, 1, size)
        queries = queries * np.float32(size**-0.5)
        mixed = np.empty(queries.shape, dtype=np.float32)  # each head by itself, a vector
        for i in range(new):
            # (batch, planes, groups, 1, past, size)
            past = cache[..., None, : time - new + i + 1, :]
            scores = queries[:, i] @ past[:, 0].swapaxes(3, 4)  # (batch, groups, members, 1, past)
            if reading.seen is not None:
                seen = reading.seen[self._mask, :, i, None, None, None, : past.shape[4]]
                scores = np.where(seen, scores, NEVER)
            np.matmul(_softmax(scores), past[:, -1], out=mixed[:, i])
        return mixed.reshape(batch, new, self.width)


def _softmax(scores: Array) -> Array:
    """In place, over the last axis."""
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)
    return scores


class Norm:
    """Of each token: mean 0 and variance 1 where there is a shift, mean square 1 without."""

    reads = False

    def __init__(self, scale: Array, shift: Array | None = None) -> None:
        self._scale, self._shift, self.width = scale, shift, len(scale)
        self.kernel = ("normalise", scale, shift, EPSILON)

    def __call__(self, x: Array) -> Array:
        scale, shift = self._scale, self._shift
        if native.kernels:
            out = np.empty(x.shape, dtype=np.float32)
            native.kernels.normalise(np.ascontiguousarray(x), scale, shift, EPSILON, out)
            return out
        width = np.float32(x.shape[-1])
        if shift is not None:
            x = x - np.add.reduce(x, axis=-1, keepdims=True) / width
        variance: Array = np.vecdot(x, x)[..., None] / width
        y: Array = x / np.sqrt(variance + EPSILON) * scale
        return y if shift is None else y + shift


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), which does not overflow."""
    return np.tanh(x / 2) / 2 + np.float32(0.5)


class Matrix(NamedTuple):
    """What a token is multiplied with."""

    inputs: int
    units: int
    halves: bool = False
    """Whether it is kept in half precision."""


class Linear:
    """A layer for each token by itself: activation(x @ kernel + bias) + what is to be added.

    Args:
        kernel: (in, out).
        bias: (out,), or none.
        activation: one of `ACTIVATIONS`.
    """

    reads = False

    def __init__(self, kernel: Array, bias: Array | None = None, activation: str = "") -> None:
        self._bias, self._activation = bias, ACTIVATIONS.index(activation)
        make = Vectors if native.kernels is None else Panels
        self._product = make(kernel)
        inputs, units = kernel.shape
        self.matrix = Matrix(inputs, units, self._product.halves)
        self.width = units

    @property
    def kernel(self) -> tuple[Any, ...]:
        """The same in a graph that the kernels run."""
        assert isinstance(self._product, Panels)
        return "multiply", self._product.panels, self._bias, self._activation

    def __call__(self, x: Array, add: Array | None = None) -> Array:
        """(batch, new, in) to (batch, new, out), which is also the shape of `add`."""
        out = np.empty((*x.shape[:-1], self.matrix.units), dtype=np.float32)
        self._product(np.ascontiguousarray(x), self._bias, self._activation, add, out)
        return out


class Panels:
    """A matrix as the kernel wants it, in panels of columns: (panels, in, columns).

    In half precision if that changes no number, as with weights from a file of halves: a token
    alone takes as long as it takes to read the matrix.
    """

    def __init__(self, kernel: Array) -> None:
        kernels = native.loaded()
        self._multiply, columns = kernels.multiply, kernels.PANEL
        inputs, units = kernel.shape
        shape = (-(-units // columns), inputs, columns)
        rows = np.ascontiguousarray(kernel.T)  # (out, in): tied embeddings are not copied
        halves = np.empty(shape, dtype=np.float16)
        self.halves = kernels.pack(rows, halves)
        self.panels = _ARENA.room(shape, np.float16 if self.halves else np.float32)
        if self.halves:
            self.panels[:] = halves
        else:
            kernels.pack(rows, self.panels)

    def __call__(
        self, x: Array, bias: Array | None, activation: int, add: Array | None, out: Array
    ) -> None:
        self._multiply(x, self.panels, bias, activation, add, out)


class Arena:
    """Arrays side by side in large pieces of memory, for which NumPy asks for large pages.

    In pages of the usual size a network has more of them than a processor keeps track of, and
    looking them up takes longer than reading the weights.
    """

    PIECE = 2**23
    """Bytes; NumPy asks from half of it on."""

    def __init__(self) -> None:
        self._rest: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def room(self, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> Array:
        """An array of this shape with nothing in it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self._rest.size:
            self._rest = np.empty(max(size, self.PIECE), dtype=np.uint8)
        mine, self._rest = self._rest[:size], self._rest[-(-size // 64) * 64 :]
        return mine.view(dtype).reshape(shape)


_ARENA = Arena()


class Vectors:
    """A matrix in plain NumPy, which every token meets as a vector.

    Several tokens meet one block of columns after the other, each block while it is cached. A
    token alone takes them all at once, so that BLAS can use every core; but only where that gives
    the same bits, which depends on the BLAS and is tried.
    """

    halves = False

    def __init__(self, kernel: Array) -> None:
        inputs, self._units = kernel.shape
        columns = np.ascontiguousarray(kernel.T)  # (out, in): tied embeddings are not copied
        step = max(CACHED // inputs, 1)
        starts = range(0, self._units, step)
        self._blocks = [(slice(i, i + step), columns[i : i + step].T) for i in starts]
        self._whole = columns.T
        probe = np.random.default_rng(0).random((1, 1, inputs), dtype=np.float32)
        blocks = np.empty((1, 1, self._units), dtype=np.float32)
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

        def work(some: slice) -> None:
            for columns, block in self._blocks[some]:
                np.matmul(tokens, block, out=products[..., columns])

        work_of_one = x.size * min(CACHED // x.shape[-1], self._units)
        spread(work, len(self._blocks), least=1 + WORTH // max(work_of_one, 1))


def _activate(y: Array, activation: str) -> None:
    """In place. The kernels do it where they finish a product."""
    if activation == "gelu":  # Hendrycks and Gimpel 2016, arXiv:1606.08415
        y *= sigmoid(np.float32(1.5957691216) * (y + np.float32(0.044715) * y**3))
    elif activation:
        np.maximum(y, 0, out=y)
    if activation == "squared relu":
        y *= y
