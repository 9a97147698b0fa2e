"""A language model small enough to know by heart, for writing and testing samplers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.abilities.optional import END
from corelm.contracts.language_model import Session, padded_rows
from corelm.errors import UsageError
from corelm.models.word_vocabulary import WordVocabulary
from corelm.numerics.distributions import Array, softmax

SENTENCES = (
    "the cat sat on the mat",
    "the cat sat on the dog",
    "the cat saw the dog and the cat ran",
    "the dog ran under the mat",
    "the dog saw the cat and sat",
)
SMOOTHING = 0.1


class ToyModel:
    """A language model small enough to know by heart: each word depends on the last one alone.

    Ids 0 and 1 are padding and the unknown word. Then comes the end token, if there is one, then
    the words. An empty text continues like one that ends with padding.

    Args:
        words: the words; by default the words of a few sentences about a cat.
        logits: the logits of the next token: (vocabulary,), the same after every token, or
            (vocabulary, vocabulary) with row i after token i. By default your own words are
            equally likely, and the default words follow their sentences.
        end: include a token that ends a text.

    Raises:
        UsageError: a word that is there twice, or logits that do not fit the vocabulary.

    Example:
        >>> import corelm
        >>> [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=3)
        >>> text.text
        ' cat sat on'
        >>> coin = ToyModel(["heads", "tails"], logits=[0, 0, 0, 0], end=False)
        >>> coin.next_token_distribution([[2]]).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    context_length = 100

    def __init__(
        self,
        words: Sequence[str] | None = None,
        logits: ArrayLike | None = None,
        *,
        end: bool = True,
    ) -> None:
        own = sorted({word for sentence in SENTENCES for word in sentence.split()})
        special = [*WordVocabulary.reserved, *([END] if end else [])]
        listed = special + list(own if words is None else words)
        if len({*listed}) < len(listed):
            twice = next(word for i, word in enumerate(listed) if word in listed[:i])
            raise UsageError(f"each word of a toy model occurs once, not {twice!r} twice")
        self.vocabulary: WordVocabulary = WordVocabulary(listed, "symbols")
        if logits is None:
            logits = _counted(self.vocabulary) if words is None else np.zeros(len(self.vocabulary))
        self._after = _table(logits, len(self.vocabulary))  # row i: the logits after token i

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return probabilities, (batch, vocabulary), for ids, (batch, time)."""
        return softmax(self.start(tokens).next_logits())

    def start(self, tokens: ArrayLike) -> Session:
        """Start a decoding session with ids, (batch, time), or a list of ids for each row."""
        return ToySession(self._after, *padded_rows(tokens))


class ToySession:
    """A decoding session of a `ToyModel`; its hidden states are the tokens as one-hot vectors."""

    def __init__(self, after: Array, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self._after = after
        self._lengths = lengths
        # (batch,) at each position: rows end at the last one, with padding before shorter ones.
        ids = tokens.astype(np.int64)
        rows = (np.roll(row, -n) for row, n in zip(ids, lengths, strict=True))
        ids = np.stack([*rows]) if len(ids) else ids
        self._tokens = [np.zeros(len(ids), dtype=np.int64), *ids.T]

    def next_logits(self) -> Array:
        """Return the logits of the next token of each row, (batch, vocabulary)."""
        return np.array(self._after[self._tokens[-1]])  # a copy, which the caller may overwrite

    def last_logits(self, count: int) -> Array:
        """Return the logits after each of the last tokens, (batch, count, vocabulary)."""
        return np.asarray(self._after[self._last(count)])

    def hidden_states(self, count: int) -> Array:
        """Return the last tokens as one-hot vectors, (batch, count, vocabulary)."""
        return np.eye(len(self._after), dtype=np.float32)[self._last(count)]

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        ids = np.asarray(tokens, dtype=np.int64)
        added = [ids] if ids.ndim == 1 else [*ids.T]
        self._tokens += added
        self._lengths = self._lengths + len(added)

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        if not 0 <= count < self._shortest:
            raise UsageError(f"count must be at least 0 and below {self._shortest}, not {count}")
        del self._tokens[len(self._tokens) - count :]
        self._lengths = self._lengths - count

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        order = np.asarray(rows, dtype=np.int64)
        self._tokens = [tokens[order] for tokens in self._tokens]
        self._lengths = self._lengths[order]

    def join(self, other: Session) -> None:
        """Append the rows of another session of this model.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        if other is self or not isinstance(other, ToySession) or other._after is not self._after:
            raise UsageError("join takes another session of the same model")
        time = max(len(self._tokens), len(other._tokens))
        padded = (
            [np.zeros_like(each[0])] * (time - len(each)) + each
            for each in (self._tokens, other._tokens)
        )
        self._tokens = [np.concatenate(pair) for pair in zip(*padded, strict=True)]
        self._lengths = np.concatenate([self._lengths, other._lengths])

    def fork(self) -> ToySession:
        """Return a copy of the session; a change to one of the two leaves the other as it is."""
        other = copy(self)
        other._tokens = [*self._tokens]
        return other

    @property
    def _shortest(self) -> int:
        """The number of tokens of the shortest row, counting one padding token before it."""
        return 1 + int(self._lengths.min(initial=len(self._tokens) - 1))

    def _last(self, count: int) -> NDArray[np.int64]:
        """Return the last tokens, (batch, count), with padding before the first."""
        if not 1 <= count <= self._shortest:
            raise UsageError(f"count must be at least 1 and at most {self._shortest}, not {count}")
        return np.stack(self._tokens[-count:], axis=1)


def _counted(vocabulary: WordVocabulary) -> Array:
    """Return log counts of each pair of adjacent tokens in the sentences."""
    counts = np.full((len(vocabulary), len(vocabulary)), SMOOTHING)
    for sentence in SENTENCES:
        ids = [vocabulary.padding, *vocabulary.encode(sentence), *vocabulary.ends]
        np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return np.asarray(np.log(counts), dtype=np.float32)


def _table(logits: ArrayLike, size: int) -> Array:
    scores = np.asarray(logits)
    scores = scores if scores.dtype == np.float32 else scores.astype(np.float64)
    if scores.shape not in ((size,), (size, size)):
        raise UsageError(
            f"logits must be ({size},) or ({size}, {size}) for a vocabulary of {size} tokens, "
            f"special ones included, not {scores.shape}"
        )
    return np.broadcast_to(scores, (size, size))
