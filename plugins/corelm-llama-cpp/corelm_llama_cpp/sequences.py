"""The sequences of a model's context, which the rows of all its sessions share."""

import threading
import weakref
from contextlib import contextmanager

import numpy as np

from corelm.errors import UsageError

MOST_TEXTS = 256
"""The largest number of sequences in a context of llama.cpp."""
LEAST = 256
"""The smallest number of positions for a text; llama.cpp rounds up to it."""


class Row:
    """The right of a session's row to a sequence; without the row the sequence is free.

    Args:
        shared: the first tokens that may come from the sequence of another row. A session that was
            not forked shares only whole passes of its prompt, of `Context.at_once` tokens: in other
            passes llama.cpp may round differently, and a text should not depend on those before it.

    Attributes:
        sequence: the number of its sequence; None if it has none.
    """

    def __init__(self, shared=0):
        self.shared, self.sequence = shared, None


class Sequences:
    """The sequences of one context of llama.cpp, and the tokens that each holds.

    A row gets a sequence when its tokens are processed. The tokens that its sequence already holds
    are kept as far as they agree with the row's; the others are dropped. So a session never has to
    report what it changed, and loses nothing but time if its sequence goes to another row.

    The context is sized for the current texts, because there is seldom memory for whole windows of
    131,072 tokens, and has twice their positions. For more texts, or for longer ones, a new context
    is created and the tokens are processed again.

    Args:
        create: takes numbers of texts and positions and returns a `Context`.
        context_length: the largest number of tokens that the model attends to.

    Raises:
        UsageError: more rows than llama.cpp takes.
        CorelmError: too little memory, or llama.cpp failed.
    """

    def __init__(self, create, context_length):
        self._create, self._context_length = create, context_length
        self._lock = threading.RLock()
        self._context = None
        self._owners = []  # a weak reference to the row of each sequence, or None
        self._held = np.empty((0, 0), dtype=np.int64)  # the ids in each sequence
        self._counts = np.empty(0, dtype=np.int64)  # how many these are
        self._whole = np.empty(0, dtype=np.int64)  # the first ones, which whole passes appended

    def process(self, rows, texts, lengths, count, hidden):
        """Return the network's outputs at the last `count` tokens of each text.

        Args:
            rows: a `Row` for each text.
            texts: (batch, time) ids; a shorter text is followed by ids that mean nothing.
            lengths: (batch,) tokens of each text, at least `count`.
            count: at least 1.
            hidden: return hidden states too.

        Returns:
            The logits, (batch, count, vocabulary) in float32; and the last hidden states, (batch,
            count, width). The caller owns the arrays.
        """
        with self._placed(rows, texts, lengths, count) as numbers:
            cached = self._keep(numbers, texts, lengths - count)
            return self._read(numbers, texts, lengths, cached, count, hidden)

    def draw_ahead(self, rows, block, texts, lengths):
        """Draw the next tokens of each text; return how many.

        Before the tokens that can be drawn, a sequence has to hold all of its text but the last
        token, and have room for them. Otherwise none are drawn: `process` changes that.

        Args:
            rows: a `Row` for each text.
            block: the tokens to draw, as `corelm.interop.DrawsAhead` prepares them.
            texts: (batch, time) ids.
            lengths: (batch,) tokens of each text.
        """
        with self._placed(rows, texts, lengths, 1) as numbers:
            cached = self._keep(numbers, texts, lengths - 1)
            has_room = lengths.max() + len(block) - 1 <= self._context.positions
            if not (has_room and np.array_equal(cached, lengths - 1)):
                return 0
            order, ids, positions = _last_tokens(numbers, texts, lengths)
            drawn, passes = self._context.draw_ahead(block, ids, numbers[order], positions, order)
            self._held[numbers[order], positions] = ids
            read = positions[:, None] + np.arange(1, passes)
            self._held[numbers[order, None], read] = block.tokens[: passes - 1].T[order]
            self._counts[numbers] = lengths + passes - 1
            return drawn

    def pass_seconds(self, rows):
        """Return the time of a pass over a token of this many rows; None before the first one."""
        context = self._context  # another thread may replace it
        return None if context is None else context.pass_seconds(rows)

    @contextmanager
    def _placed(self, rows, texts, lengths, count):
        """Yield the sequence of each row, (batch,), for passes that nobody else may interrupt."""
        with self._lock:
            longest, numbers = int(lengths.max(initial=1)), [row.sequence for row in rows]
            # While no row comes or goes, nothing has to move.
            is_settled = None not in numbers and max(numbers, default=0) < len(numbers)
            if not is_settled or longest > self._context.positions:
                self._reserve(self._needed(rows), longest)
            try:
                if not is_settled:
                    self._place(rows, texts, lengths, count)
                    numbers = [row.sequence for row in rows]
                yield np.array(numbers, dtype=np.int64)
            except BaseException:  # the pass may have been interrupted between two layers
                self._context.clear()
                self._counts[:] = self._whole[:] = 0
                raise

    def reserve(self, rows):
        """Make room for these rows before they are forked: a larger context is empty at first."""
        with self._lock:
            self._reserve(self._needed([None] * rows), 1)

    def select(self, rows, indices):
        """Return rows by their indices; one that comes twice is copied with its sequence."""
        with self._lock:
            selected = []
            for index in indices:
                row = rows[index]
                if row in selected:
                    row = Row(row.shared)
                selected.append(row)
            pairs = [(rows[i], row) for i, row in zip(indices, selected, strict=True)]
            pairs = [
                (old, new) for old, new in pairs if old is not new and old.sequence is not None
            ]
            if pairs:
                self._reserve(self._needed(selected), 1)
            for old, new in pairs:
                if old.sequence is not None:  # not taken from it for a copy
                    self._give(new, self._free(selected))
                    self._copy(old.sequence, new.sequence)
            return selected

    def _needed(self, rows):
        """Return how many sequences to reserve: for new rows, and for all living ones."""
        new = sum(row is None or row.sequence is None for row in rows)
        living = sum(self._owner(number) is not None for number in range(len(self._owners)))
        return max(len(rows), min(new + living, MOST_TEXTS), 1)

    def _reserve(self, texts, length):
        """Create a larger context if this many texts of this length don't fit."""
        if texts > MOST_TEXTS:
            raise UsageError(f"llama.cpp decodes at most {MOST_TEXTS} texts at a time, not {texts}")
        old = self._context
        if old is not None and texts <= old.texts and length <= old.positions:
            return
        positions = max(LEAST, min(2 * length, self._context_length))
        if old is not None:
            old.free()  # first, so that two never exist at once
            self._context = None
            positions = old.positions if length <= old.positions else positions
            # With room for more: rows often come one after the other.
            room = texts if texts <= old.texts else min(2 * old.texts, MOST_TEXTS)
            texts = max(texts, old.texts, room)
        try:
            self._context = self._create(texts, positions)
        except BaseException:  # such as too little memory: the next may be smaller
            for owner in filter(None, map(self._owner, range(len(self._owners)))):
                owner.sequence = None
            self._owners = []
            raise
        self._owners += [None] * (texts - len(self._owners))
        self._held = np.zeros((texts, positions), dtype=np.int64)
        self._counts, self._whole = np.zeros((2, texts), dtype=np.int64)

    def _owner(self, number):
        owner = self._owners[number]
        return None if owner is None else owner()

    def _free(self, needed):
        """Return the lowest free number; without one, take a sequence from an idle session."""
        for number in range(len(self._owners)):
            if self._owner(number) is None:
                return number
        idle = [n for n in range(len(self._owners)) if self._owner(n) not in needed]
        self._owner(idle[0]).sequence = None
        return idle[0]

    def _give(self, row, number):
        row.sequence, self._owners[number] = number, weakref.ref(row)

    def _copy(self, source, target):
        self._context.fork(source, target)
        for of_sequences in (self._held, self._counts, self._whole):
            of_sequences[target] = of_sequences[source]

    def _place(self, rows, texts, lengths, count):
        """Give each row a sequence, with consecutive numbers if possible."""
        for row, text, length in zip(rows, texts, lengths, strict=True):
            if row.sequence is None:
                source, shared = self._longest(text[: min(length, row.shared)], self._counts)
                if not shared and len(rows) == 1:  # several are read in passes with each other
                    source, shared = self._longest(text[: length - count], self._whole)
                    shared -= shared % self._context.at_once
                self._give(row, self._free(rows))
                if shared and source != row.sequence:
                    self._copy(source, row.sequence)
                self._drop(row.sequence, shared)  # also what agrees: see `Row`
        own = {row.sequence: row for row in rows}
        usable = [n for n in range(len(self._owners)) if n in own or self._owner(n) is None]
        usable = set(usable[: len(rows)])
        for target, source in zip(
            sorted(usable - own.keys()), sorted(own.keys() - usable), strict=False
        ):
            self._copy(source, target)
            self._owners[source] = None
            self._give(own[source], target)

    def _longest(self, text, counts):
        """Return the sequence whose first `counts` tokens share most with a text; and how many."""
        if not len(text):
            return 0, 0
        common = _common(self._held[:, : len(text)], text, counts)
        best = int(common.argmax())
        return best, int(common[best])

    def _keep(self, numbers, texts, most):
        """Drop cached tokens that differ from the texts; return how many each sequence keeps.

        Args:
            numbers: (batch,) the sequences.
            texts: (batch, time) ids.
            most: (batch,) tokens to keep at most: the others' outputs are wanted.
        """
        counts = self._counts[numbers]
        cached = np.minimum(_common(self._held[numbers, : texts.shape[1]], texts, counts), most)
        for i in np.flatnonzero(cached < counts):
            cached[i] = self._drop(int(numbers[i]), int(cached[i]))
        return cached

    def _drop(self, number, length):
        """Drop all but the first tokens of a sequence; return how many it still has."""
        if length < self._counts[number]:
            if length and not self._context.drop(number, length):
                length = 0  # such as the state of a recurrent network
            if not length:
                self._context.drop(number)
            self._counts[number] = length
            self._whole[number] = min(self._whole[number], length)
        return length

    def _read(self, numbers, texts, lengths, cached, count, hidden):
        """Process the tokens that the sequences lack; return the outputs of the last ones."""
        if count == 1 and len(cached) and np.array_equal(cached, lengths - 1):
            return self._read_next(numbers, texts, lengths, hidden)
        order = np.argsort(numbers)
        left = (lengths - cached)[order]
        rows = np.repeat(order, left)  # the row of each token
        first = np.repeat(np.cumsum(left) - left, left)
        positions = np.arange(len(rows)) - first + cached[rows]
        places = positions - (lengths - count)[rows]  # in the outputs, if it isn't negative
        widths = self._context.widths[: 1 + hidden]
        results = [np.empty((len(numbers), count, width), np.float32) for width in widths]
        for start in range(0, len(rows), self._context.at_once):
            part = slice(start, start + self._context.at_once)
            row, position, place = rows[part], positions[part], places[part]
            ids, wanted = texts[row, position], place >= 0
            outputs = self._context.process(ids, numbers[row], position, wanted, hidden)
            for array, of_pass in zip(results, outputs, strict=True):
                array[row[wanted], place[wanted]] = of_pass
            self._held[numbers[row], position] = ids
            is_whole = len(numbers) == 1 and len(ids) == self._context.at_once
            if is_whole and self._whole[numbers] == position[0]:
                self._whole[numbers] += len(ids)
        self._counts[numbers] = lengths
        return tuple(results)

    def _read_next(self, numbers, texts, lengths, hidden):
        """Process one token of each text, as at each step of decoding, in fewer calls of NumPy."""
        order, ids, positions = _last_tokens(numbers, texts, lengths)
        sequences, wanted = numbers[order], np.ones(len(order), dtype=bool)
        outputs = self._context.process(ids, sequences, positions, wanted, hidden)
        self._held[sequences, positions], self._counts[numbers] = ids, lengths
        results = [np.empty((len(order), 1, output.shape[1]), np.float32) for output in outputs]
        for array, output in zip(results, outputs, strict=True):
            array[order, 0] = output
        return tuple(results)


def _last_tokens(numbers, texts, lengths):
    """Return the rows in the order of their sequences, and the last token and position of each."""
    order = np.argsort(numbers)
    positions = lengths[order] - 1
    return order, texts[order, positions], positions


def _common(held, texts, counts):
    """Return the lengths of the common prefixes of sequences and texts.

    Args:
        held: (batch, time) ids of the sequences.
        texts: (batch, time) or (time,) ids.
        counts: (batch,) how many ids the sequences have.

    Example:
        >>> _common(np.array([[1, 2, 3], [1, 9, 3]]), np.array([1, 2, 3]), np.array([2, 3]))
        array([2, 1])
    """
    differs = held != texts
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), held.shape[1])
    return np.minimum(first, counts)
