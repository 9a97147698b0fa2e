"""The third contract: what a language model must offer. Protocols, so nothing is inherited.

Token ids are int arrays of shape (batch, time), each row a text from its beginning; a model
that marks the beginning of a text does so itself, so a row may be empty for such a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.numerics.distributions import Array


class Vocabulary(Protocol):
    """Text to token ids and back."""

    @property
    def padding(self) -> int | None:
        """The id that fills short rows; never drawn."""

    @property
    def unknown(self) -> int | None:
        """The id of words outside the vocabulary; drawn only when asked for."""

    @property
    def end(self) -> int | None:
        """The id that ends a text; None for a model whose texts have no end."""

    def __len__(self) -> int:
        """How many ids there are."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids. The text of a prefix should be a prefix of the text."""


@runtime_checkable
class IncrementalVocabulary(Vocabulary, Protocol):
    """A vocabulary that can write a text token by token, at a cost that does not grow.

    Without it every token of a stream costs a `decode` of the whole text.
    """

    def writer(self) -> Callable[[int], str]:
        """A function that takes the ids of one text in turn and returns what each adds."""


class Session(Protocol):
    """Decoding under way: a batch of texts and what the model remembers of them."""

    @property
    def logits(self) -> Array:
        """(batch, vocabulary): the model's scores for the next token of each row."""

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""


@runtime_checkable
class GivingSession(Session, Protocol):
    """A session that wastes no time: its logits are not copied, and what it is told it reads later.

    Its `extend` returns at once, whether it reads the tokens meanwhile or when it is asked about
    them. So it may be told as soon as tokens are drawn, before anybody looks at them.
    """

    def give_logits(self) -> Array:
        """(batch, vocabulary): the logits, which are the caller's now, to be changed at will.

        The session forgets them. It works them out again if it is asked again.
        """


@runtime_checkable
class RewindableSession(Session, Protocol):
    """A session that can go back, for decoders that guess ahead.

    What it says of a text is the same whether the tokens came one by one or several at a time,
    and whether others were there that have been dropped.
    """

    def last_logits(self, count: int) -> Array:
        """(batch, count, vocabulary): the scores after each of the last `count` tokens.

        The last of them are `logits`.
        """

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""


@runtime_checkable
class HiddenStateSession(Session, Protocol):
    """A session that shows the hidden states of its network, for decoders that compare them."""

    def hidden_states(self, count: int) -> Array:
        """(batch, count, width): the last hidden states at each of the last `count` tokens."""


class LanguageModel(Protocol):
    """The next-token distribution hook."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Text to ids and back."""

    @property
    def context_length(self) -> int:
        """How many tokens the model sees at most."""

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """(batch, time) ids to (batch, vocabulary) probabilities. Plain and stateless."""

    def start(self, tokens: ArrayLike) -> Session:
        """A decoding session for (batch, time) ids."""


def window_start(length: int, context_length: int) -> int:
    """Where the window begins that a model sees of a text with this many tokens.

    The window slides by half a context at a time, so that a key/value cache is filled again
    once in that many tokens. It depends on the length alone: a session and the stateless hook
    see the same tokens, whatever was decoded together.

    Example:
        >>> [window_start(n, 4) for n in (3, 4, 5, 6, 7)]
        [0, 0, 2, 2, 4]
    """
    if length <= context_length:
        return 0
    hop = max(context_length // 2, 1)
    return -(-(length - context_length) // hop) * hop


def never_drawn(vocabulary: Vocabulary, unknown: bool = False) -> NDArray[np.int64]:
    """The ids that no sampler gets to see: padding, and the unknown word unless asked for."""
    ids = {vocabulary.padding, None if unknown else vocabulary.unknown} - {None}
    return np.array(sorted(i for i in ids if i is not None), dtype=np.int64)
