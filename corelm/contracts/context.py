"""The context of a sampler, the tokens so far with their surprisals, and its builder."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.language_model import Vocabulary
from corelm.errors import UsageError
from corelm.numerics.distributions import Array, surprisals

T = TypeVar("T", bound=np.generic)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Make a new array read-only; nothing else refers to it, so a step needs no view of it."""
    array.flags.writeable = False
    return array


def protect(holder: Any, *names: str) -> None:
    """Replace these arrays of a frozen dataclass by read-only views."""
    fields = vars(holder)  # bypasses `__setattr__`, which a frozen dataclass disables
    for name in names:
        array = fields[name]
        # A view, because the caller may own the array and still write into it.
        if array.flags.writeable:
            fields[name] = view = array.view()
            view.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Context:
    """The tokens so far. Every state that a strategy needs is a function of them.

    Arrays are read-only.

    Attributes:
        tokens: (batch, time) token ids, the prompt first.
        surprisal: (batch, time) nats, of each token under the distribution that it was drawn
            from; nan for tokens of the prompt.
        model_surprisal: (batch, time) nats, the same under the model's own distribution. Computed
            only for samplers whose `reads` names it, else nan.
        prompt_length: the number of tokens in the prompt.
        vocabulary: the vocabulary of the ids, for samplers that name words or the end token; None
            when a distribution is reshaped without a model.
        vocabulary_size: the number of logits in a row; by default the length of the vocabulary, 0
            if there is none.
    """

    tokens: NDArray[np.int64]
    surprisal: NDArray[np.float64]
    model_surprisal: NDArray[np.float64]
    prompt_length: int
    vocabulary: Vocabulary | None = None
    vocabulary_size: int = 0

    @classmethod
    def of(cls, tokens: ArrayLike, **fields: Any) -> Context:
        """Return the context of a prompt: (batch, time) or (time,) ids.

        Example:
            >>> Context.of([[3, 4, 5]]).prompt_length
            3
        """
        ids = np.atleast_2d(np.asarray(tokens, dtype=np.int64))
        unknown = np.full(ids.shape, np.nan)
        fields.setdefault("surprisal", unknown)
        fields.setdefault("model_surprisal", unknown)
        fields.setdefault("prompt_length", ids.shape[1])
        return cls(ids, **fields)

    def __post_init__(self) -> None:
        protect(self, "tokens", "surprisal", "model_surprisal")
        if not self.vocabulary_size and self.vocabulary is not None:
            vars(self)["vocabulary_size"] = len(self.vocabulary)

    def with_vocabulary_size(self, size: int) -> Context:
        """Return the same context for rows of this many logits.

        An engine's model may have more logits than its tokenizer has tokens.
        """
        if self.vocabulary_size == size:
            return self
        other = copy(self)  # `replace` would protect the arrays again
        vars(other)["vocabulary_size"] = size
        return other

    def copy(self) -> Context:
        """Return the same context in arrays of its own, for code that might write into them."""
        return replace(
            self,
            tokens=self.tokens.copy(),
            surprisal=self.surprisal.copy(),
            model_surprisal=self.model_surprisal.copy(),
        )

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.tokens)

    @property
    def position(self) -> int:
        """The number of tokens drawn so far; 0 at the first."""
        return int(self.tokens.shape[1]) - self.prompt_length

    @property
    def drawn(self) -> NDArray[np.int64]:
        """(batch, position) ids: the tokens after the prompt."""
        return self.tokens[:, self.prompt_length :]

    def past(self, last: int = 0, skip_prompt: bool = False) -> NDArray[np.int64]:
        """Return the past tokens that count: (batch, window) ids.

        Args:
            last: how many of the last tokens count; 0 is all.
            skip_prompt: count only tokens that were drawn.

        Example:
            >>> Context.of([[3, 4, 5]]).past(last=2).tolist()
            [[4, 5]]
        """
        tokens = self.drawn if skip_prompt else self.tokens
        return tokens[:, -last:] if last else tokens


class ListingContext(Context):
    """A context in which `corelm.filters.allow_all_but` returns the ids, not an array of bool.

    The core calls built-in masks with it: most of them forbid few tokens.
    """

    @staticmethod
    def like(context: Context, vocabulary_size: int) -> ListingContext:
        """Return the same context for rows of this many logits."""
        listing = object.__new__(ListingContext)  # `replace` would protect the arrays again
        fields = vars(listing)
        fields.update(vars(context))
        fields["vocabulary_size"] = vocabulary_size
        return listing


def example_context(vocabulary: Vocabulary) -> Context:
    """Return the context of a text of two tokens, the second of them drawn."""
    nats = np.ones((1, 2))
    return Context(np.zeros((1, 2), dtype=np.int64), nats, nats, 1, vocabulary)


MOST_ROOM = 1024
"""The most tokens to allocate in advance; for a longer text the arrays double."""


class ContextBuilder:
    """A growing context: tokens are appended, rows are selected.

    Args:
        prompt: (time,) token ids that every sample begins with.
        batch: the number of samples.
        ahead: the number of tokens expected.
        vocabulary: the vocabulary of the ids.

    Example:
        >>> builder = ContextBuilder(np.array([5]), batch=2, ahead=4)
        >>> builder.append(np.array([6, 7]), np.array([0.1, 0.2]))
        >>> builder.select(np.array([1]))
        >>> builder.context.tokens.tolist(), builder.context.position
        ([[5, 7]], 1)
    """

    def __init__(
        self,
        prompt: NDArray[np.int64],
        batch: int,
        ahead: int = 0,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._prompt_length = self._length = len(prompt)
        room = self._length + min(ahead, MOST_ROOM)
        # The tokens, their surprisals and the model's. nan marks tokens that were not drawn: the
        # prompt and the room ahead.
        nats: Array = np.full((2, batch, room), np.nan)
        self._set(np.empty((batch, room), dtype=np.int64), *nats)
        self._columns[0][:, : self._length] = prompt

    @classmethod
    def of(cls, context: Context, ahead: int = 0) -> ContextBuilder:
        """Return a builder that continues a context.

        Args:
            context: the texts so far, with their surprisals.
            ahead: the number of tokens expected.
        """
        batch, length = context.tokens.shape
        builder = cls(np.zeros(length, dtype=np.int64), batch, ahead, context.vocabulary)
        builder._prompt_length = context.prompt_length
        past = context.tokens, context.surprisal, context.model_surprisal
        for column, values in zip(builder._columns, past, strict=True):
            column[:, :length] = values
        return builder

    @property
    def position(self) -> int:
        """The number of tokens drawn so far."""
        return self._length - self._prompt_length

    @property
    def context(self) -> Context:
        """The context so far, as views. Tokens that are appended later do not change it."""
        length = self._length
        tokens, surprisal, model_surprisal = self._read_only
        return Context(
            tokens[:, :length],
            surprisal[:, :length],
            model_surprisal[:, :length],
            self._prompt_length,
            self._vocabulary,
        )

    def append(self, tokens: Array, surprisal: Array, model_surprisal: Array | None = None) -> None:
        """Append one token to each row.

        Args:
            tokens: (batch,) ids.
            surprisal: (batch,) nats, under the distribution drawn from.
            model_surprisal: (batch,) nats, under the model's own distribution; nan by default.
        """
        if self._length == self._columns[0].shape[1]:
            # Doubling copies each token a constant number of times, however long the text becomes.
            more: Any = ((0, 0), (0, max(self._length, 16)))
            ids, *nats = self._columns
            grown = (np.pad(each, more, constant_values=np.nan) for each in nats)
            self._set(np.pad(ids, more), *grown)
        of_tokens, of_surprisal, of_model = self._columns
        of_tokens[:, self._length] = tokens
        of_surprisal[:, self._length] = surprisal
        of_model[:, self._length] = np.nan if model_surprisal is None else model_surprisal
        # Earlier contexts are slices up to the old length, so writing here leaves them as they are.
        self._length += 1

    def append_drawn(self, tokens: Array, logits: Array, model_logits: Array) -> None:
        """Append one token to each row as if it had been drawn.

        A token that cannot be drawn has no surprisal, as the prompt has none.

        Args:
            tokens: (batch,) ids.
            logits: (batch, vocabulary) the distribution drawn from.
            model_logits: (batch, vocabulary) the model's own.
        """
        pair = surprisals(logits, tokens), surprisals(model_logits, tokens)
        self.append(tokens, *(np.where(np.isfinite(nats), nats, np.nan) for nats in pair))

    def rewind(self, count: int) -> None:
        """Drop the last tokens of each row; contexts from before keep them.

        Raises:
            UsageError: more tokens than were drawn.
        """
        if not 0 <= count <= self.position:
            raise UsageError(
                f"{self.position} tokens were drawn, so the last {count} can't be dropped"
            )
        self._length -= count
        # A copy: earlier contexts are views of the arrays, and the next token would change them.
        self.select(np.arange(len(self._columns[0])))

    def select(self, rows: Array) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self._set(*(column[rows] for column in self._columns))

    def _set(self, *columns: Array) -> None:
        """Store the arrays, and read-only views that contexts are slices of."""
        self._columns = columns
        self._read_only = tuple(column.view() for column in columns)
        for view in self._read_only:
            view.setflags(write=False)
