"""The key/value cache of llama.cpp for a batch of texts."""

import numpy as np

from corelm_llama_cpp.context import PASS, Context

LEAST = 256
"""The smallest number of positions for a text; llama.cpp rounds up to it."""


class LlamaCppCache:
    """A `KeyValueCache` of `corelm.interop` on a context of llama.cpp.

    The context is sized for the current texts, because there is seldom memory for whole windows of
    131,072 tokens. For more texts, or for longer ones (with twice the positions), a new context is
    created and the tokens are processed again.

    Args:
        model: a `LlamaCppModel`.

    Attributes:
        hidden: return hidden states too; then llama.cpp computes the logits of every token.
    """

    def __init__(self, model):
        self.hidden = False
        self._model, self._context = model, None
        self._sequences = []  # the sequence number of each row in the context
        self._tokens = np.empty((0, 0), dtype=np.int64)

    def process(self, tokens, count):
        """Append tokens to the rows; see `KeyValueCache` of `corelm.interop`."""
        if len(tokens) != len(self._tokens):
            self._tokens = np.empty((len(tokens), 0), dtype=np.int64)
            self._sequences = list(range(len(tokens)))
        self._reserve(self._tokens.shape[1] + tokens.shape[1])
        return self._append(tokens, count)

    def truncate(self, length):
        """Drop the tokens after the first `length`; see `KeyValueCache` of `corelm.interop`."""
        if self._context is None:
            length = 0
        elif not all(self._context.drop(i, length) for i in self._sequences):
            self._context.clear()  # such as the state of a recurrent network
            length = 0
        self._tokens = self._tokens[:, :length]
        return length

    def select(self, rows):
        """Keep these rows; see `KeyValueCache` of `corelm.interop`."""
        self._tokens = self._tokens[rows]
        if len(rows) > self._context.texts:
            self._sequences = list(range(len(rows)))
            self._reserve(self._tokens.shape[1])
            return
        before = self._sequences
        # llama.cpp processes sequences in one pass only if their numbers have no gaps.
        self._sequences, forks = compacted([before[row] for row in rows])
        for source, target in forks:
            self._context.fork(source, target)
        for unused in set(before) - set(self._sequences):
            self._context.drop(unused)

    def _reserve(self, length):
        """Create and fill a larger context if texts of this length don't fit."""
        texts, positions, old = len(self._tokens), LEAST, self._context
        if old is not None:
            if texts <= old.texts and length <= old.positions:
                return
            texts, positions = max(texts, old.texts), old.positions
            self._context = None
            old.free()  # free the old one first, so that two never exist at once
        if length > positions:
            positions = max(length, min(2 * length, self._model.context_length))
        self._context = Context(self._model, texts, positions)
        tokens, self._tokens = self._tokens, self._tokens[:, :0]
        if tokens.size:
            self._append(tokens, 1)

    def _append(self, tokens, count):
        """Process tokens, in several passes if necessary."""
        time, at_once = tokens.shape[1], max(1, PASS // len(tokens))
        parts = []
        for start in range(0, time, at_once):
            part = tokens[:, start : start + at_once]
            after = time - start - part.shape[1]
            wanted = min(max(count - after, 0), part.shape[1])
            position = self._tokens.shape[1]
            parts.append(
                self._context.process(part, self._sequences, position, wanted, self.hidden)
            )
            self._tokens = np.concatenate([self._tokens, part], axis=1)
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(outputs, axis=1) for outputs in zip(*parts, strict=True))


def compacted(sources):
    """Renumber rows from 0, so that llama.cpp can process them together.

    Args:
        sources: the number of each row's sequence; one that occurs twice is forked.

    Returns:
        The new numbers, and the pairs (source, target) of sequences to copy. A target is never a
        source, so their order does not matter.

    Example:
        >>> compacted([0, 3, 3])
        ([0, 1, 2], [(3, 1), (3, 2)])
    """
    numbers = [source if sources.index(source) == i else -1 for i, source in enumerate(sources)]
    numbers = [number if number < len(sources) else -1 for number in numbers]
    free = iter(sorted(set(range(len(sources))) - set(numbers)))
    numbers = [next(free) if number < 0 else number for number in numbers]
    forks = [(a, b) for a, b in zip(sources, numbers, strict=True) if a != b]
    return numbers, forks
