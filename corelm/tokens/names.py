"""Words as tokens: all the ways in which the tokens of a vocabulary write a word.

A byte-pair vocabulary has ` not` and `not`, and can write both in pieces. A word means every token,
and every sequence of tokens, that makes a text contain it as a whole, without letters or digits at
its sides; docs/explanation/what-a-word-means.md has the rule.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.abilities.optional import can
from corelm.contracts.language_model import Vocabulary
from corelm.errors import UsageError

Ids = NDArray[np.int64]

LETTER = (
    r"[0-9A-Za-z_]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xb7][\x80-\xbf]"
    r"|\xe1[\x83-\x9d\xa0-\xbf][\x80-\xbf]|[\xea-\xed][\x80-\xbf]{2}"
)
"""The UTF-8 bytes of letters and digits, in scripts that write spaces between words."""
BEFORE = "".join(f"(?<!{bytes_})" for bytes_ in LETTER.split("|"))
BEGINS, ENDS = re.compile(LETTER).match, re.compile(rf"(?:{LETTER})\Z").search
SPACED = tuple(mark.encode().decode("latin-1") for mark in ".,;:!?)]}%\u201d\u2019")
"""The marks after which a word begins with a space."""
MARGIN = 4
"""The bytes before a word that decide if it is a whole one: those of a character."""
LISTS, VOCABULARIES = 1024, 8
"""The most lists of words of a vocabulary, and vocabularies, that are cached."""


class TokenNames:
    """The tokens of a vocabulary by name: an id, or a word, which may be several tokens.

    A number written as text is a word.

    Args:
        vocabulary: maps words to ids, such as `context.vocabulary`.
        size: the number of ids.

    Example:
        >>> import corelm
        >>> vocabulary = corelm.load("gpt2").vocabulary
        >>> names = TokenNames(vocabulary, len(vocabulary))
        >>> [vocabulary.decode([i]) for i in sorted(names.alone("not"))]
        [' not', 'not']
        >>> names.ids("not"), names.written(["not"], after=vocabulary.encode("is"))
        ([1358], [372])
    """

    def __init__(self, vocabulary: Vocabulary | None, size: int) -> None:
        self._vocabulary, self._size = vocabulary, size

    def ids(self, token: int | str) -> list[int]:
        """Return the ids of an id, or of a word as the vocabulary encodes it.

        Raises:
            UsageError: a word without a vocabulary, or a word or an id outside it.
        """
        ids = self._encoded(token)
        if not ids:
            raise UsageError(f"the vocabulary of this model does not have {token!r}; leave it out")
        for i in ids:
            if not 0 <= i < self._size:
                raise UsageError(f"there is no token {i}; the ids go from 0 to {self._size - 1}")
        return ids

    def alone(self, token: int | str) -> set[int]:
        """Return the ids of the tokens that write a word by themselves, in some context.

        Raises:
            UsageError: as `ids`, and a word that no single token writes.
        """
        completing = self._completing((token,))
        alone = completing.get(ANYWHERE, set()) | completing.get(AT_START, set())
        if not alone:
            decode = _pieces_of(self._vocabulary).vocabulary.decode
            parts = [repr(decode([i])) for i in self.written([token])]
            what = f"{len(parts)} tokens ({', '.join(parts)})"
            raise UsageError(f"{token!r} is {what}; give each of them by itself")
        return alone

    def existing(self, tokens: Iterable[int | str]) -> set[int]:
        """Return the ids of several tokens, without words that the vocabulary lacks.

        For lists whose words matter only if the model can write them, such as sequence breakers.

        Raises:
            UsageError: as `alone`, except for words that the vocabulary lacks.

        Example:
            >>> from corelm.testing import ToyModel
            >>> sorted(TokenNames(ToyModel().vocabulary, 13).existing(["cat", "unheard-of", 7]))
            [4, 7]
        """
        existing = (token for token in tokens if self._encoded(token))
        alone = (self.alone(each) if isinstance(each, str) else {each} for each in existing)
        return set[int]().union(*alone)

    def completing(self, words: Iterable[int | str], texts: Ids) -> tuple[Ids | None, Ids]:
        """Return the tokens that would complete a word next.

        Args:
            words: words or ids.
            texts: (batch, time) ids.

        Returns:
            The row of each token, rising, or None if they are the same in every row; and its id.

        Raises:
            UsageError: as `ids`.

        Example:
            >>> from corelm.testing import ToyModel
            >>> names, texts = TokenNames(ToyModel().vocabulary, 13), np.array([[4, 11], [4, 4]])
            >>> [part.tolist() for part in names.completing(["dog", "the cat"], texts)]
            [[0, 0, 1], [4, 5, 5]]
        """
        completing = self._completing(tuple(words))
        always = completing.get(ANYWHERE, set())
        if not completing.keys() - {ANYWHERE}:
            return None, np.array(sorted(always), dtype=np.int64)
        pieces = _pieces_of(self._vocabulary)
        longest = max(len(beginning) for beginning, _ in completing) + MARGIN
        owners, every = list[int](), list[int]()
        for row, past in enumerate(texts[:, max(texts.shape[1] - longest, 0) :].tolist()):
            text, ids = pieces.text(past)[-longest:], set(always)
            for at in range(len(text) + 1):
                ids |= completing.get((text[at:], False), ids)
                if not ENDS(text[:at]):
                    ids |= completing.get((text[at:], True), ids)
            owners += [row] * len(ids)
            every += sorted(ids)
        return np.array(owners, dtype=np.int64), np.array(every, dtype=np.int64)

    def written(
        self, words: Iterable[int | str], after: Sequence[int] | Ids | None = None
    ) -> list[int]:
        """Return the ids that write words one after the other, one way of several.

        A word that begins with a letter or digit gets a space in front if the text before ends with
        one or with a mark such as a full stop.

        Args:
            words: words or ids.
            after: the ids before them; None for a place after a word.

        Raises:
            UsageError: as `ids`.
        """
        ids: list[int] = []
        for word in words:
            plain = self.ids(word)
            if isinstance(word, str) and (after is None or ids or len(after)):
                pieces = _pieces_of(self._vocabulary)
                past = "a" if after is None else pieces.text(after[-MARGIN:])
                plain = pieces.written(word, past + pieces.text(ids))
            ids += plain
        return ids

    def _completing(self, words: tuple[int | str, ...]) -> Completing:
        if self._vocabulary is None or not any(isinstance(word, str) for word in words):
            return {ANYWHERE: {i for word in words for i in self.ids(word)}}
        pieces = _pieces_of(self._vocabulary)
        completing = pieces.completing.get(words)
        if completing is None:
            completing = {}
            for word in words:
                ids = [(ANYWHERE, i) for i in self.ids(word)]
                for key, i in pieces.continuations(word) if isinstance(word, str) else ids:
                    completing.setdefault(key, set()).add(i)
            _keep(pieces.completing, words, completing, LISTS)
        return completing

    def _encoded(self, token: int | str) -> list[int]:
        """Return the ids; none of a word that the vocabulary lacks."""
        if not isinstance(token, str):
            return [token]
        if self._vocabulary is None:
            raise UsageError(
                f"the word {token!r} has no id where there is no vocabulary; "
                "give the id itself, or sample from a model"
            )
        # A vocabulary of words may fold case or strip marks, and leave nothing.
        ids = self._vocabulary.encode(token)
        return [] if self._vocabulary.unknown in ids else ids


Completing = dict[tuple[str, bool], set[int]]
"""Tokens that complete a word, by the beginning of it that they continue.

A key is the beginning, and True if it may not follow a letter or digit.
"""
ANYWHERE, AT_START = ("", False), ("", True)
"""The keys of tokens that write a word by themselves."""


class _Pieces:
    """The text of each token, and the tokens that complete a word.

    A text has one character for each byte (Latin-1), as tokens may end within a character. Where a
    token's text depends on its neighbours, it has one for each token instead: `chr(id)`.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.completing: dict[tuple[int | str, ...], Completing] = {}
        self._has_texts, ids = not can(vocabulary, "texts_after"), range(len(vocabulary))
        if not self._has_texts:
            self._of = [*map(chr, ids)]
        elif can(vocabulary, "token_bytes"):
            self._of = [vocabulary.token_bytes(i).decode("latin-1") for i in ids]
        else:  # after a word, so that the space between words is seen
            word = [next((i for i in ids if vocabulary.decode([i])[-1:].isalpha()), 0)]
            start = len(vocabulary.decode(word))
            self._of = [_as_bytes(vocabulary.decode([*word, i])[start:]) for i in ids]
        self._sorted = sorted(zip(self._of, ids, strict=True))

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of ids; an engine's may be outside the vocabulary, and have none."""
        return "".join([self._of[i] if 0 <= i < len(self._of) else "" for i in ids])

    def continuations(self, word: str) -> Iterator[tuple[tuple[str, bool], int]]:
        """Yield each token that completes a word, after its key among `Completing`."""
        ids = self.vocabulary.encode(word)
        written = self.vocabulary.decode(ids)
        if len(ids) == 1 and not written:  # a special token has no text of its own
            yield ANYWHERE, ids[0]
            return
        if written.strip() not in ("", word.strip()):  # the vocabulary folds capitals or accents
            word = written.lstrip(" ")
        text = _as_bytes(word) if self._has_texts else self.text(ids)
        begins = self._has_texts and bool(BEGINS(text))
        after = f"(?!{LETTER})" if self._has_texts and ENDS(text) else ""
        whole = re.compile((BEFORE if begins else "") + re.escape(text) + after)
        for token, piece in enumerate(self._of):
            if text in piece and whole.search(piece):
                yield ("", begins and not whole.search(f"a{piece}")), token
        for at in range(1, len(text)):
            first, last = (
                bisect_left(self._sorted, (text[at:] + end, 0)) for end in ("", "\U0010ffff")
            )
            for piece, token in self._sorted[first:last]:
                if whole.match(text[:at] + piece):
                    yield (text[:at], begins), token

    def written(self, word: str, before: str) -> list[int]:
        """Return the ids that write a word after a text."""
        encode = self.vocabulary.encode
        spaced = BEGINS(_as_bytes(word)) and (ENDS(before) or before.endswith(SPACED))
        text = f" {word}" if self._has_texts and spaced else word
        # Many tokenizers put a space before a text; a bracket before it takes that.
        for mark in ("", "(") if self._has_texts else ():
            ids = encode(mark + text)[len(encode(mark)) :]
            if self.text(ids) == _as_bytes(text):
                return ids
        return encode(text)


def _as_bytes(text: str) -> str:
    return text.encode(errors="replace").decode("latin-1")


_cached: dict[int, _Pieces] = {}


def _pieces_of(vocabulary: Vocabulary | None) -> _Pieces:
    """Return the pieces of a vocabulary, from a cache."""
    assert vocabulary is not None  # otherwise a word has no ids
    # The pieces keep their vocabulary alive, so its id can't be reused.
    pieces = _cached.get(id(vocabulary))
    if pieces is None:
        pieces = _Pieces(vocabulary)
        _keep(_cached, id(vocabulary), pieces, VOCABULARIES)
    return pieces


def _keep(cache: dict[Any, Any], key: object, value: object, most: int) -> None:
    if len(cache) >= most:
        cache.clear()
    cache[key] = value
