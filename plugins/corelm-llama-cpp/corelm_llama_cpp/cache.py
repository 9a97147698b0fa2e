"""The key/value cache of llama.cpp for texts of any lengths."""

import numpy as np

from corelm_llama_cpp.context import MOST_TEXTS, PASS, Context

LEAST = 256
"""The smallest number of positions for a text; llama.cpp rounds up to it."""


class LlamaCppCache:
    """A `PaddedCache` of `corelm.interop` on a context of llama.cpp.

    Each text is a sequence with positions of its own, so shorter ones have no padding in llama.cpp.

    The context is sized for the current texts, because there is seldom memory for whole windows of
    131,072 tokens. For more texts, or for longer ones (with twice the positions), a new context is
    created and the tokens are processed again: llama.cpp copies the state of a text into contexts
    of the same number of texts alone.

    Args:
        model: a `LlamaCppModel`.
        hidden: return hidden states too; then llama.cpp computes the logits of every token.

    Attributes:
        positions: the number of positions of the longest text.
    """

    def __init__(self, model, hidden=False):
        self.hidden, self.positions = hidden, 0
        self._model, self._context = model, None
        self._sequences = []  # the sequence number of each row in the context
        self._texts = []  # the ids of each row

    def process(self, tokens, count, lengths=None):
        """Append tokens to the rows; see `PaddedCache` of `corelm.interop`."""
        if len(tokens) != len(self._texts):
            self._sequences = list(range(len(tokens)))
            self._texts = [tokens[0, :0]] * len(tokens)
        self._reserve(len(tokens), max(map(len, self._texts)) + tokens.shape[1])
        found = self._append([*range(len(tokens))], tokens, count)
        self._texts = [np.append(*pair) for pair in zip(self._texts, tokens, strict=True)]
        self.positions += tokens.shape[1]
        return found

    def truncate(self, length):
        """Drop the tokens after the first `length`; see `PaddedCache` of `corelm.interop`."""
        gone = self.positions - length
        kept = [max(len(text) - gone, 0) for text in self._texts]
        pairs = zip(self._sequences, kept, strict=True)
        if self._context is None:
            length = 0
        elif not all(self._context.drop(*pair) for pair in pairs):
            self._context.clear()  # such as the state of a recurrent network
            length, kept = 0, [0] * len(kept)
        self._texts = [text[:n] for text, n in zip(self._texts, kept, strict=True)]
        self.positions = length
        return length

    def select(self, rows):
        """Keep these rows; see `PaddedCache` of `corelm.interop`."""
        self._texts = [self._texts[row] for row in rows]
        if len(rows) > self._context.texts:
            self._resize(len(rows), self._context.positions)
            return
        before = self._sequences
        # llama.cpp processes sequences in one pass only if their numbers have no gaps.
        self._sequences, forks = compacted([before[row] for row in rows])
        for source, target in forks:
            self._context.fork(source, target)
        for unused in set(before) - set(self._sequences):
            self._context.drop(unused)

    def empty(self):
        """Return an empty cache of the same model."""
        return LlamaCppCache(self._model, self.hidden)

    def join(self, other):
        """Append the rows of another cache, whose tokens are processed again; neither is empty."""
        first = len(self._texts)
        self._texts += other._texts
        self.positions = max(self.positions, other.positions)
        other._context.free()
        texts = len(self._texts)
        if texts > self._context.texts or self.positions > self._context.positions:
            # With room for more: rows often join one after the other.
            room = max(texts, min(2 * self._context.texts, MOST_TEXTS))
            self._resize(room, self._positions_for(self.positions))
        else:
            self._sequences += range(first, texts)
            self._fill(range(first, texts))

    def trim(self, positions):
        """Drop all but the last `positions`; the dropped ones are padding in each row."""
        self.positions = min(self.positions, positions)

    def _positions_for(self, length):
        """Return the positions of a context that has texts of a length."""
        positions = LEAST if self._context is None else self._context.positions
        if length <= positions:
            return positions
        return max(length, min(2 * length, self._model.context_length))

    def _reserve(self, texts, length):
        """Create and fill a larger context if texts of this length don't fit."""
        old = self._context
        if old is None:
            self._context = Context(self._model, texts, self._positions_for(length))
        elif texts > old.texts or length > old.positions:
            self._resize(max(texts, old.texts), self._positions_for(length))

    def _resize(self, texts, positions):
        """Replace the context by one of another size, and process the rows again."""
        self._context.free()  # first, so that two never exist at once
        self._context = Context(self._model, texts, positions)
        self._sequences = list(range(len(self._texts)))
        self._fill(self._sequences)

    def _fill(self, rows):
        """Process the tokens of rows, rows of one length in one pass."""
        for length in {len(self._texts[row]) for row in rows} - {0}:
            alike = [row for row in rows if len(self._texts[row]) == length]
            tokens = np.stack([self._texts[row] for row in alike])
            self._append(alike, tokens, 1, np.zeros(len(alike), dtype=np.int64))

    def _append(self, rows, tokens, count, starts=None):
        """Process tokens of rows, in several passes if necessary.

        Args:
            rows: the rows.
            tokens: (rows, time) their tokens.
            count: the number of the last tokens whose outputs are returned.
            starts: (rows,) the position of each row's first token; by default after its text.
        """
        if starts is None:
            starts = np.array([len(self._texts[row]) for row in rows], dtype=np.int64)
        sequences = [self._sequences[row] for row in rows]
        time, at_once = tokens.shape[1], max(1, PASS // len(tokens))
        parts = []
        for start in range(0, time, at_once):
            part = tokens[:, start : start + at_once]
            after = time - start - part.shape[1]
            wanted = min(max(count - after, 0), part.shape[1])
            parts.append(
                self._context.process(part, sequences, starts + start, wanted, self.hidden)
            )
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
