"""Marks, such as `</think>`, in the text so far.

Marks are for samplers that change as a text grows. A search reads each token once: the searches of
recent texts are cached, so the next token of such a text costs one step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import FullVocabulary, can
from corelm.contracts.language_model import Vocabulary
from corelm.errors import UsageError

REMEMBERED = 1024
"""The number of cached searches; the least recently used one is dropped first."""


def find_in_turn(
    tokens: NDArray[np.int64], marks: Sequence[int | str], vocabulary: Vocabulary | None
) -> tuple[int, ...]:
    """Find one mark after another in a text, and the first again after the last.

    A mark may begin and end inside tokens. A special token, which has no text of its own, is found
    by its id.

    Args:
        tokens: (time,) ids of one text.
        marks: texts or ids. After one of them only the next counts.
        vocabulary: maps ids to texts, such as `context.vocabulary`; marks that are ids need none.

    Returns:
        For each mark that was found, the number of tokens up to its end.

    Raises:
        UsageError: a mark that is a text, without a vocabulary.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel("(a)").vocabulary
        >>> tokens = np.array(vocabulary.encode("a ( ( a ) ) a ("))
        >>> find_in_turn(tokens, ["(", ")"], vocabulary)
        (2, 5, 8)
    """
    # The search keeps its vocabulary alive, so the id can't be reused.
    key = (id(vocabulary), tuple(marks))
    ids = np.ascontiguousarray(tokens, dtype=np.int64)
    cached = _remembered.get((*key, ids.tobytes()))
    if cached is not None:
        return cached[1]
    # Taken out of the cache: a fork of the text must not continue the same search.
    search, _ = _remembered.pop((*key, ids[:-1].tobytes()), (None, ()))
    unread = ids if search is None else ids[-1:]
    if search is None:
        search = _Search(marks, vocabulary)
    for token in unread.tolist():
        search.read(token)
    places = tuple(search.places)
    _remembered[(*key, ids.tobytes())] = search, places
    while len(_remembered) > REMEMBERED:
        _remembered.popitem(last=False)
    return places


class _Search:
    """A search in a growing text."""

    def __init__(self, marks: Sequence[int | str], vocabulary: Vocabulary | None) -> None:
        self.places: list[int] = []
        self._piece, self._nothing = _pieces(vocabulary)
        self._marks = [_mark(mark, vocabulary) for mark in marks]
        self._longest = max((len(text) for text, _ in self._marks if text), default=1)
        self._tail = self._nothing  # the end of the text, in which the next mark may have begun
        self._read = 0

    def read(self, token: int) -> None:
        """Read the next token."""
        self._read += 1
        piece = self._piece(token)
        if token == self._next[1]:
            self.places.append(self._read)
            self._tail = self._nothing
            return
        self._tail += piece
        while (text := self._next[0]) and text in self._tail:
            self.places.append(self._read)
            self._tail = self._tail.partition(text)[2]
        self._tail = self._tail[-self._longest :]

    @property
    def _next(self) -> tuple[Any, int | None]:
        return self._marks[len(self.places) % len(self._marks)]


def _mark(mark: int | str, vocabulary: Vocabulary | None) -> tuple[Any, int | None]:
    """Return the text of a mark, in bytes if the tokens' texts are bytes, and the id to find."""
    if not isinstance(mark, str):
        return None, mark
    if vocabulary is None:
        raise UsageError(
            f"the text {mark!r} cannot be found where there is no vocabulary; "
            "give a token id, or sample from a model"
        )
    ids = vocabulary.encode(mark)
    # A special token has no text of its own, so only its id can be found.
    special = len(ids) == 1 and ids[0] != vocabulary.unknown and not vocabulary.decode(ids)
    text = mark.encode() if can(vocabulary, "token_bytes") else mark
    return text, ids[0] if special else None


def _pieces(vocabulary: Vocabulary | None) -> tuple[Callable[[int], Any], Any]:
    """Return a function from each next id to the text that it adds, and the empty text."""
    if vocabulary is None:
        return lambda token: "", ""
    if can(vocabulary, "token_bytes"):
        return vocabulary.token_bytes, b""
    return FullVocabulary(vocabulary).writer(), ""


_remembered: OrderedDict[tuple[Any, ...], tuple[_Search, tuple[int, ...]]] = OrderedDict()
