"""The third contract: a language model. Protocols, so there is nothing to inherit.

Optional abilities of sessions and vocabularies are in `corelm.abilities`.

Token ids are integer arrays of shape (batch, time); each row is a text from its beginning. A model
that marks the beginning of a text does so itself, so its rows may be empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import PluginError, UsageError
from corelm.numerics.distributions import Array
from corelm.text.printable import shown


class PlainVocabulary(Protocol):
    """The least that a vocabulary must have."""

    def __len__(self) -> int:
        """Return the number of ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""


class Vocabulary(PlainVocabulary, Protocol):
    """Text to token ids and back. The text of a prefix should be a prefix of the text."""

    @property
    def padding(self) -> int | None:
        """The id that pads short rows; never drawn."""

    @property
    def unknown(self) -> int | None:
        """The id of words outside the vocabulary; drawn only on request."""

    @property
    def start(self) -> int | None:
        """The id that the model puts before every text; None if it puts none.

        Without one a text cannot be empty.
        """

    @property
    def ends(self) -> Collection[int]:
        """The ids that end a text; empty for a model whose texts have no end."""


class Session(Protocol):
    """Decoding in progress: a batch of texts and the model's key/value cache of them."""

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        The caller owns the array and may overwrite it.
        """

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""


class StatelessModel(Protocol):
    """The next-token distribution hook: the least that a model must have.

    Every function of corelm that takes a model takes this one. `LanguageModel` adds sessions with a
    key/value cache; `Vocabulary` adds, for example, the tokens that end a text.
    """

    @property
    def vocabulary(self) -> PlainVocabulary:
        """Text to ids and back."""

    @property
    def context_length(self) -> int:
        """The largest number of tokens that the model attends to."""

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""


class LanguageModel(StatelessModel, Protocol):
    """A model with sessions, which keep what they have read."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Text to ids and back."""

    def start(self, tokens: ArrayLike) -> Session:
        """Return a decoding session that starts with (batch, time) ids.

        If the session has `join`, rows may have different lengths, as a list of ids for
        each row; other models raise an error for these.
        """


@dataclass(frozen=True)
class ModelScheme:
    """A way to open the models of another library: `corelm sample --model SCHEME:REST`.

    A plugin offers it among its models, under the name of the scheme.

    Attributes:
        open: returns the model for REST, such as a path; takes each of `options` as a keyword.
        metavar: the placeholder for REST in lists and messages.
        options: the keywords that it takes, of `device` and `dtype`.
        installed: returns the REST of each model found on this machine, for lists and completion.

    Example:
        >>> from corelm.testing import ToyModel
        >>> toys = ModelScheme(lambda words: ToyModel(words.split("+")), metavar="WORDS")
        >>> len(toys.open("so+it+goes").vocabulary)
        6
    """

    open: Callable[..., LanguageModel]
    metavar: str = "PATH"
    options: Collection[str] = ()
    installed: Callable[[], Iterable[str]] = tuple


def has_method(thing: Any, method: str) -> bool:
    """Return True if an object has a method of this name that is not None."""
    # None switches off a method that a class inherits, as `__hash__ = None` does.
    return getattr(thing, method, None) is not None


def window_start(length: int, context_length: int) -> int:
    """Return the position at which the window of a text of this length begins.

    The window slides by half a context at a time, so a key/value cache is rebuilt once in that
    many tokens. The position depends on the length alone, so a session and the stateless hook
    attend to the same tokens in any batch.

    Example:
        >>> [window_start(n, 4) for n in (3, 4, 5, 6, 7)]
        [0, 0, 2, 2, 4]
    """
    if length <= context_length:
        return 0
    hop = max(context_length // 2, 1)
    return -(-(length - context_length) // hop) * hop


def padded_rows(tokens: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (batch, time) ids with zeros after shorter rows, and the length of each row.

    Raises:
        UsageError: neither (batch, time) ids nor a list of ids for each row.

    Example:
        >>> ids, lengths = padded_rows([[3, 4], [5]])
        >>> ids.tolist(), lengths.tolist()
        ([[3, 4], [5, 0]], [2, 1])
    """
    if isinstance(tokens, (list, tuple)) and len({np.shape(row) for row in tokens}) > 1:
        rows = [np.asarray(row) for row in tokens]
        if any(row.ndim != 1 for row in rows):
            raise UsageError("tokens must be a list of ids for each row")
        lengths = np.array([len(row) for row in rows])
        ids = np.zeros(
            (len(rows), lengths.max()), dtype=np.result_type(*(r for r in rows if r.size))
        )
        for row, padded in zip(rows, ids, strict=True):
            padded[: len(row)] = row
        return ids, lengths
    ids = np.asarray(tokens)
    if ids.ndim != 2:
        raise UsageError(f"tokens must be (batch, time) ids, not an array of shape {ids.shape}")
    return ids, np.full(len(ids), ids.shape[1])


def has_special_tokens(vocabulary: object) -> bool:
    """Return True if a vocabulary says which tokens are special, None for those it lacks."""
    return all(hasattr(vocabulary, name) for name in ("padding", "unknown", "start", "ends"))


def is_end(tokens: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Return True for each token that ends a text.

    Example:
        >>> from corelm.testing import ToyModel
        >>> is_end(np.array([1, 2, 3]), ToyModel().vocabulary).tolist()
        [False, True, False]
    """
    ended: NDArray[np.bool_] | None = None
    for end in vocabulary.ends:  # nearly always one, so this is faster than np.isin
        ended = tokens == end if ended is None else ended | (tokens == end)
    return np.zeros(tokens.shape, dtype=bool) if ended is None else ended


def never_drawn(vocabulary: Vocabulary, unknown: bool = False) -> NDArray[np.int64]:
    """Return the ids that are never drawn, in corelm and in every other engine: (n,), ascending.

    They are padding, [UNK] unless it is allowed, and the ids that no token has: a model may have
    more logits than its tokenizer has tokens, and then its vocabulary lists the others as `unused`.
    """
    ids = {vocabulary.padding, None if unknown else vocabulary.unknown}
    ids.update(getattr(vocabulary, "unused", ()))
    return np.array(sorted(i for i in ids if i is not None), dtype=np.int64)


def check_model(model: Any) -> None:
    """Raise if a member that every model has is missing or of another kind.

    Raises:
        PluginError: names the member.
    """
    if isinstance(model, type):
        raise PluginError(f"not a model: {model.__name__} is a class; write {model.__name__}()")
    wrong, vocabulary = f"not a model: {type(model).__name__}", getattr(model, "vocabulary", None)
    for owner, name in (
        (model, "start" if hasattr(model, "start") else "next_token_distribution"),
        *((vocabulary, name) for name in ("encode", "decode", "__len__")),
    ):
        if not callable(getattr(owner, name, None)):
            raise PluginError(f"{wrong} needs {'' if owner is model else 'vocabulary.'}{name}")
    length = getattr(model, "context_length", None)
    if not isinstance(length, Integral) or length < 1:
        raise PluginError(f"{wrong}.context_length must be a number of tokens, not {shown(length)}")
    special = {name: getattr(vocabulary, name, None) for name in ("padding", "unknown", "start")}
    ids = {name: () if each is None else (each,) for name, each in special.items()}
    size = len(vocabulary)  # type: ignore[arg-type]
    for name, some in (ids | {"ends": getattr(vocabulary, "ends", ())}).items():
        if not isinstance(some, Collection) or any(each not in range(size) for each in some):
            raise PluginError(
                f"{wrong}.vocabulary.{name} holds {shown(some)}; ids are 0 to {size - 1}"
            )
