"""Words as tokens: all the ways in which the tokens of a vocabulary write a word.

A byte-pair vocabulary has a token ` not` beside `not`, and can write both in pieces. So a word
means every token, or sequence of tokens, that makes the text contain it as a whole word:

- Letters and digits right before or after it would be a part of the word, so `not` isn't in
  `cannot`. Scripts without spaces between words, and words that begin or end with a mark, have no
  such neighbours.
- The token that completes a word writes it, even if the next one could continue it (`not` and
  `hing`). A longer word that is one token (` nothing`) doesn't contain it.
- Capitals count, unless the vocabulary folds them. A space in front is one of its characters.
- Where a token's text depends on the tokens before it, as in a vocabulary of words, a word is the
  tokens that `encode` returns, one after the other.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from corelm.abilities.optional import FullVocabulary, can
from corelm.errors import UsageError
from corelm.language_model import Vocabulary

Ids = NDArray[np.int64]

LETTER = re.compile(
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""A letter or digit of a script that writes spaces between words."""
SPACED = ".,;:!?)]}\u201d\u2019%"
"""The marks after which a word begins with a space."""
CHARACTER = 4
"""The most bytes of a character in UTF-8."""
REMEMBERED = 256
"""The number of lists of words whose tokens are cached."""
VOCABULARIES = 8
"""The number of vocabularies whose texts are cached."""


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
        ids, size = self._encoded(token), self._size
        for i in ids:
            if not 0 <= i < size:
                raise UsageError(f"there is no token {i}; the ids go from 0 to {size - 1}")
        return ids

    def alone(self, token: int | str) -> set[int]:
        """Return the ids of the tokens that write a word by themselves, in some context.

        Raises:
            UsageError: as `ids`, and a word that no single token writes.
        """
        completing = self._completing((token,))
        alone = completing.get(ANYWHERE, set()) | completing.get(AT_START, set())
        if not alone:
            parts = [*map(_pieces_of(self._vocabulary).name, self.written([token]))]
            raise UsageError(
                f"{token!r} is {len(parts)} tokens ({', '.join(map(repr, parts))}); "
                "give each of them by itself"
            )
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
        existing = set[int]()
        for token in tokens:
            if ids := self._encoded(token, missing=[]):
                existing.update(self.alone(token) if isinstance(token, str) else ids)
        return existing

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
        longest = max(len(beginning) for beginning, _ in completing) + CHARACTER
        rows = [
            sorted(always.union(*pieces.completed_next(completing, pieces.text(past)[-longest:])))
            for past in texts[:, max(texts.shape[1] - longest, 0) :].tolist()
        ]
        owners = np.arange(len(rows)).repeat([len(ids) for ids in rows])
        return owners, np.array([i for ids in rows for i in ids], dtype=np.int64)

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
                past = "a" if after is None else pieces.text(after[-CHARACTER:])
                plain = pieces.written(word, past + pieces.text(ids))
            ids += plain
        return ids

    def _completing(self, words: tuple[int | str, ...]) -> Completing:
        if self._vocabulary is None or not any(isinstance(word, str) for word in words):
            return {ANYWHERE: {i for word in words for i in self.ids(word)}}
        pieces = _pieces_of(self._vocabulary)
        if words not in pieces.completing:
            completing: Completing = {}
            for word in words:
                ids = self.ids(word)
                every = (
                    pieces.continuations(word) if isinstance(word, str) else [(ANYWHERE, ids[0])]
                )
                for key, token in every:
                    completing.setdefault(key, set()).add(token)
            if len(pieces.completing) >= REMEMBERED:
                pieces.completing.clear()
            pieces.completing[words] = completing
        return pieces.completing[words]

    def _encoded(self, token: int | str, missing: list[int] | None = None) -> list[int]:
        """Return the ids; `missing`, or an error, for a word that the vocabulary lacks."""
        if not isinstance(token, str):
            return [token]
        if self._vocabulary is None:
            raise UsageError(
                f"the word {token!r} has no id where there is no vocabulary; "
                "give the id itself, or sample from a model"
            )
        ids = self._vocabulary.encode(token)
        # A vocabulary of words may fold case or strip marks, and leave nothing.
        if ids and self._vocabulary.unknown not in ids:
            return ids
        if missing is not None:
            return missing
        raise UsageError(f"the vocabulary of this model does not have {token!r}; leave it out")


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

    def name(self, token: int) -> str:
        """Return the text of a token, or its name where a token has several texts."""
        if self._has_texts:
            return self._of[token].encode("latin-1").decode(errors="replace")
        return FullVocabulary(self.vocabulary).token_name(token) or ""

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
        begins, ends = self._is_letter(text, 0), self._is_letter(text, -1)
        for token, piece in enumerate(self._of):
            for match in re.finditer(re.escape(text), piece) if text in piece else ():
                before, after = piece[: match.start()], piece[match.end() :]
                if not (ends and self._is_letter(after, 0)) and not (
                    begins and self._is_letter(before, -1)
                ):
                    yield ("", begins and not before), token
        for at in range(1, len(text)):
            rest, place = text[at:], bisect_left(self._sorted, (text[at:], 0))
            for piece, token in islice(self._sorted, place, None):
                if not piece.startswith(rest):
                    break
                if not (ends and self._is_letter(piece[len(rest) :], 0)):
                    yield (text[:at], begins), token

    def completed_next(self, completing: Completing, text: str) -> Iterator[set[int]]:
        """Yield the tokens that complete a word after a text."""
        for length in range(len(text) + 1):
            before, beginning = text[: len(text) - length], text[len(text) - length :]
            for bound in (False, True):
                ids = completing.get((beginning, bound))
                if ids and not (bound and self._is_letter(before, -1)):
                    yield ids

    def written(self, word: str, before: str) -> list[int]:
        """Return the ids that write a word after a text."""
        encode = self.vocabulary.encode
        if not self._has_texts:
            return encode(word)
        last = _character(before, -1)
        spaced = self._is_letter(_as_bytes(word), 0) and (LETTER.match(last) or last in SPACED)
        text = f" {word}" if spaced and last else word
        # Many tokenizers put a space before a text; a bracket before it takes that.
        for mark in ("", "("):
            start = len(encode(mark))
            ids = encode(mark + text)[start:]
            if self.text(ids) == _as_bytes(text):
                return ids
        return encode(text)

    def _is_letter(self, text: str, at: int) -> bool:
        """Return True if the first or last character belongs to a word."""
        return self._has_texts and bool(LETTER.match(_character(text, at)))


def _character(text: str, at: int) -> str:
    """Return the first (0) or last (-1) character of bytes; U+FFFD for a part of one."""
    part = text[-CHARACTER:] if at else text[:CHARACTER]
    return part.encode("latin-1").decode(errors="replace")[at:][:1]


def _as_bytes(text: str) -> str:
    return text.encode(errors="replace").decode("latin-1")


_cached: dict[int, _Pieces] = {}


def _pieces_of(vocabulary: Vocabulary | None) -> _Pieces:
    """Return the pieces of a vocabulary, from a cache."""
    assert vocabulary is not None  # otherwise a word has no ids
    # The pieces keep their vocabulary alive, so its id can't be reused.
    pieces = _cached.get(id(vocabulary))
    if pieces is None:
        while len(_cached) >= VOCABULARIES:
            _cached.pop(next(iter(_cached)), None)
        pieces = _cached[id(vocabulary)] = _Pieces(vocabulary)
    return pieces
