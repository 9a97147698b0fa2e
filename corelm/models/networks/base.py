"""Networks, of which `Architecture` is the shape.

They process a few tokens at a time, with a cache of the tokens before them.

A transformer is two graphs of layers, which the kernels execute in one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.errors import ModelFileError
from corelm.lazy import cached_property
from corelm.models.networks.layers import BackgroundStep, Ids, Layer, Linear, Matrix, StepInput
from corelm.native.rows import loaded
from corelm.numerics.distributions import Array

KINDS = ("book", "default", "gpt2", "rnn")
INPUT = 0
"""The index of a graph's input among its values."""


@dataclass(frozen=True)
class Architecture:
    """The shape of a network.

    Attributes:
        kind: `book` (the chapter's decoder), `default` (pre-norm, tied embeddings), `gpt2`
            or `rnn`.
        vocabulary_size: tokens, including the special ones.
        context_length: the largest number of tokens that the network sees.
        width: size of the embedding.
        dense: size of the hidden dense layer, or of the recurrent state.
        heads: the number of attention heads.
        blocks: the number of blocks, one after the other.
    """

    kind: str
    vocabulary_size: int = 15_000
    context_length: int = 100
    width: int = 256
    dense: int = 2048
    heads: int = 2
    blocks: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and words, for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Read what `to_dict` wrote.

        Raises:
            ModelFileError: a missing or extra field, or one of the wrong type or size.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            listed = ", ".join(sorted(names))
            raise ModelFileError(f"an architecture has exactly the fields {listed}")
        if values["kind"] not in KINDS:
            raise ModelFileError(f"unknown kind of network {values['kind']!r}")
        for name in names - {"kind"}:
            number = values[name]
            # Bounds before anything is allocated: the numbers come from a file.
            limit = 2**10 if name in ("blocks", "heads") else 2**24
            # Not `isinstance`: JSON's true would pass as a whole number.
            if type(number) is not int or not 1 <= number <= limit:
                raise ModelFileError(
                    f"{name} must be a whole number of sensible size, not {number!r}"
                )
        return cls(**values)


class Node(NamedTuple):
    """A layer with the buffers of its inputs and the buffer of its output."""

    layer: Layer
    inputs: tuple[int, ...]
    output: int


class Placement(NamedTuple):
    """The nodes of a graph, and the width of each buffer."""

    nodes: list[Node]
    widths: list[int]


class Graph:
    """A graph of layers: each computes a value from earlier ones; the last value is the output.

    Args:
        width: the width of the input; 0 for a `StepInput`.

    Example:
        >>> import numpy as np
        >>> graph = Graph(2)
        >>> doubled = graph.add(Linear(2 * np.eye(2, dtype=np.float32)), INPUT)
        >>> added = graph.add(Linear(np.eye(2, dtype=np.float32)), doubled, INPUT)
        >>> graph(np.array([[[1, 2]]], np.float32)).tolist()
        [[[3.0, 6.0]]]
    """

    def __init__(self, width: int = 0) -> None:
        self._added: list[tuple[Layer, tuple[int, ...]]] = []
        self._width = width

    def add(self, layer: Layer, *inputs: int) -> int:
        """Add a layer that takes these values; return the index of the value it computes."""
        self._added.append((layer, inputs))
        vars(self).pop("placement", None)
        return len(self._added)

    def then(self, layer: Layer) -> Graph:
        """Return a copy of the graph that ends with another layer."""
        longer = Graph(self._width)
        longer._added = self._added.copy()
        longer.add(layer, len(longer._added))
        return longer

    def __call__(self, value: Array | StepInput) -> Array:
        """Evaluate the graph one layer at a time."""
        nodes, widths = self.placement
        buffers: list[Any] = [value, *widths[1:]]
        for layer, inputs, output in nodes:
            buffers[output] = layer(*(buffers[i] for i in inputs))
        result: Array = buffers[nodes[-1].output]
        return result

    @property
    def layers(self) -> list[Layer]:
        """The layers in the order of execution."""
        return [layer for layer, _ in self._added]

    @cached_property
    def placement(self) -> Placement:
        """The nodes with their buffers, computed once.

        A buffer whose value is no longer needed is used again for a value of the same width.
        """
        # A deep network needs a handful of buffers instead of one a layer, so that a step of a
        # large batch stays in the processor's cache.
        last_use = {value: i for i, (_, inputs) in enumerate(self._added) for value in inputs}
        buffers, widths, nodes = [INPUT], [self._width], list[Node]()
        free = defaultdict[int, list[int]](list)  # by width
        for i, (layer, inputs) in enumerate(self._added):
            is_last = i + 1 == len(self._added)  # the output has a buffer of its own
            if free[layer.width] and not is_last:
                buffers.append(free[layer.width].pop())
            else:
                buffers.append(len(widths))
                widths.append(layer.width)
            nodes.append(Node(layer, tuple(buffers[value] for value in inputs), buffers[-1]))
            for value in {value for value in inputs if value != INPUT and last_use[value] == i}:
                free[widths[buffers[value]]].append(buffers[value])
        return Placement(nodes, widths)


def plan(body: Graph, head: Graph) -> Any:
    """Return the two graphs in the form that `native.kernels.run` executes; None without kernels.

    Args:
        body: from a `StepInput` to (batch, new, width).
        head: from (batch, tokens, width) to scores.
    """
    if native.kernels is None:
        return None
    arguments: list[tuple[Any, ...]] = []
    for graph in (body, head):
        nodes, widths = graph.placement
        described = []
        for layer, inputs, output in nodes:
            name, *arrays = layer.kernel
            # The kernels pass the step to every node, so it isn't listed as an input.
            described.append((name, inputs[1:] if layer.reads_step else inputs, output, *arrays))
        arguments += [tuple(described), tuple(widths)]
    return native.kernels.plan(*arguments)


IN_VAIN = 2**28
"""Multiplications of a few milliseconds, which may be in vain where a text ends early."""


class Network(ABC):
    """A network with a cache of the tokens that it has processed.

    Args:
        cache_shape: the shape of the cache of one row. The last axis but one is the time, so that
            the cache of a text begins with the cache of any prefix.
    """

    _scores: Linear

    def __init__(self, *cache_shape: int) -> None:
        self.cache_shape = cache_shape
        self.cache_time: int = cache_shape[-2]
        """The most tokens in a cache."""

    def new_cache(self, batch: int) -> Array:
        """Return an empty cache: (batch, ..., context, size)."""
        return np.empty((batch, *self.cache_shape), dtype=np.float32)

    def select(self, cache: Array, rows: Ids, time: int) -> Array:
        """Return the cache of these rows in this order; each row has `time` tokens.

        Where rows stay or move up, as those that take the places of dropped ones, they do so within
        the same array.
        """
        places = np.arange(len(rows))
        if len(rows) > len(cache) or (rows < places).any():
            compact, moved = self.new_cache(len(rows)), places
        else:
            compact, moved = cache[: len(rows)], np.flatnonzero(rows != places)
        # Rows move up into places that were already copied, so none is overwritten before its turn.
        for to in moved:
            compact[to, ..., :time, :] = cache[rows[to], ..., :time, :]
        return compact

    def join(self, caches: Sequence[Array], times: Sequence[int]) -> Array:
        """Return the rows of the first cache, then those of the others.

        The first is extended in place, as long as there is room after its rows.

        Args:
            caches: at least one.
            times: the number of tokens to keep of each cache.
        """
        batch, joined = len(caches[0]), sum(map(len, caches))
        # A cache that lost or gained rows is the first part of a larger array.
        room = caches[0] if caches[0].base is None else caches[0].base
        if len(room) < joined:
            # Growing by half copies each row a constant number of times. Doubling made caches that
            # the allocator returns to the system at once, so every batch waited for new pages.
            room = self.new_cache(max(joined, batch + batch // 2))
            room[:batch, ..., : times[0], :] = caches[0][..., : times[0], :]
        for cache, time in zip(caches[1:], times[1:], strict=True):
            room[batch : batch + len(cache), ..., :time, :] = cache[..., :time, :]
            batch += len(cache)
        return room[:joined]

    @abstractmethod
    def process(self, window: Ids, new: int, cache: Array, times: Ids | None = None) -> Array:
        """Process the last `new` tokens of each row; the cache holds the earlier ones.

        Args:
            window: (batch, time) ids.
            new: tokens to process, at least 1.
            cache: (batch, ..., context, size); the new tokens are written into it.
            times: (batch,) the tokens of each row, which begins on the left; None if all rows fill
                the window.

        Returns:
            (batch, new, width): an output for each new token, for `hidden`.
        """

    def hidden(self, outputs: Array) -> Array:
        """Return the last hidden states of outputs: (batch, new, width) to the same shape."""
        return outputs

    def process_with_logits(
        self, window: Ids, new: int, cache: Array, asked: int, times: Ids | None = None
    ) -> tuple[Array, Array]:
        """Run `process`; return its outputs, and the logits after the last `asked` tokens.

        Returns:
            (batch, new, width) and (batch, asked, vocabulary).
        """
        outputs = self.process(window, new, cache, times)
        return outputs, self.logits(self.hidden(outputs[:, new - asked :]))

    def begin(
        self, window: Ids, new: int, cache: Array, asked: int, times: Ids | None = None
    ) -> BackgroundStep | None:
        """Start `process_with_logits` in another thread; None where that isn't possible."""
        return None

    def most_ahead(self, batch: int) -> int:
        """Return how many tokens of each row are worth drawing in one call; fewer than 2: none."""
        return 0

    def passes(self, window: Ids, cache: Array, times: Ids | None, count: int) -> Any:
        """Return the passes over the last token of each row, and over those that are drawn then.

        Args:
            window: (batch, time) ids, with room for all tokens to be drawn but the last one.
            cache: as for `process`, of the tokens before the first pass's.
            times: (batch,) the tokens of each row; None if all rows have one length.
            count: the number of passes.

        Returns:
            The capsule of a `struct corelm_pass`; None if the network needs a mask, or kernels.
        """
        return None

    @property
    @abstractmethod
    def linears(self) -> Iterable[Linear]:
        """The dense layers in the order of execution."""

    @property
    def matrices(self) -> list[Matrix]:
        """The matrices that every new token is multiplied with."""
        return [linear.matrix for linear in self.linears]

    def logits(self, hidden: Array) -> Array:
        """Return the scores of the next token: (batch, new, width) to (batch, new, vocabulary)."""
        return self._scores(hidden)


class Transformer(Network):
    """A network of attention layers, in two graphs.

    Args:
        cache_shape: (layers, keys_and_values, kv_heads, context, size), as in `StepInput`.
        body: from a step to (batch, new, width).
        hidden: from there to the last hidden states.
        scores: from these to the scores of the next token.
    """

    def __init__(
        self, cache_shape: tuple[int, ...], body: Graph, hidden: Graph, scores: Linear
    ) -> None:
        super().__init__(*cache_shape)
        self._body, self._hidden, self._scores = body, hidden, scores
        body, head = self.graphs
        self._layers, self._width = body.layers + head.layers, body.layers[-1].width
        # One plan of both graphs, so that a step is one call of the kernels.
        self._plan = plan(body, head)
        self._multiplications = sum(inputs * units for inputs, units, _ in self.matrices)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plan": None}  # a plan holds addresses of this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._plan = plan(*self.graphs)

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        """The graph from tokens to states, and the one from there to scores."""
        # The head is a graph of its own: most tokens of a prompt need no scores.
        return self._body, self._hidden.then(self._scores)

    @property
    def linears(self) -> Iterable[Linear]:
        return [layer for layer in self._layers if isinstance(layer, Linear)]

    def process(self, window: Ids, new: int, cache: Array, times: Ids | None = None) -> Array:
        if self._plan:
            return self.process_with_logits(window, new, cache, 0, times)[0]
        mask = self._attention_mask(window, new, times)
        return self._body(StepInput(window, new, cache, mask, times))

    def hidden(self, outputs: Array) -> Array:
        return self._hidden(np.ascontiguousarray(outputs))

    def process_with_logits(
        self, window: Ids, new: int, cache: Array, asked: int, times: Ids | None = None
    ) -> tuple[Array, Array]:
        outputs, logits = self._new_results(len(window), new, asked)
        mask = self._attention_mask(window, new, times)
        loaded().run(self._plan, window, cache, mask, outputs, logits, times)
        return outputs, logits

    def begin(
        self, window: Ids, new: int, cache: Array, asked: int, times: Ids | None = None
    ) -> BackgroundStep | None:
        if not self._plan:
            return None
        outputs, logits = self._new_results(len(window), new, asked)
        mask = self._attention_mask(window, new, times)
        run = loaded().begin(self._plan, window, cache, mask, outputs, logits, times)
        return BackgroundStep(run, outputs, logits)

    def most_ahead(self, batch: int) -> int:
        return IN_VAIN // max(self._multiplications * batch, 1) if self._plan else 0

    def passes(self, window: Ids, cache: Array, times: Ids | None, count: int) -> Any:
        mask = self._attention_mask(window[:, : window.shape[1] - count + 1], 1, times)
        if mask is not None or not self._plan:
            return None
        states = np.empty((len(window), 1, self._width), np.float32)
        return loaded().window_pass(self._plan, window, cache, states, times, count)

    def _new_results(self, batch: int, new: int, asked: int) -> tuple[Array, Array]:
        outputs = np.empty((batch, new, self._width), dtype=np.float32)
        return outputs, np.empty((batch, asked, self._scores.width), dtype=np.float32)

    def _attention_mask(self, window: Ids, new: int, times: Ids | None) -> NDArray[np.bool_] | None:
        """Return the mask of `StepInput`: (masks, batch, new, time), or None."""
        return None
