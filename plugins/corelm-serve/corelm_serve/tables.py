"""Log-probabilities of the tokens of a text in OpenAI's shape."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, TokenRecord, Vocabulary
from corelm.abilities import FullVocabulary, can
from corelm_serve.scoring import Scores, TokenTable

IMPOSSIBLE = -9999.0
"""The log-probability of an impossible token, as OpenAI writes it: JSON has no infinity."""

PARTIAL = "bytes:"
"""The beginning of the text of a token that is a part of a character, as OpenAI writes it."""

SPACES = 64
"""The most characters to skip between two tokens, such as spaces or an unknown word."""
LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
"""Lower-casing for ASCII only, so that no character changes its position."""

NEAR = 256
"""The number of tokens before a place that may affect its texts, such as an open quotation mark."""

Numbers = tuple[float | None, Array | None]
"""The log-probability of a token, and the likeliest tokens' log-probabilities; None if missing."""


@dataclass(slots=True)
class _Row:
    """A token of a column."""

    text: str
    offset: int
    ids: NDArray[np.int32]
    model: Numbers
    sampler: Numbers


MODEL, SAMPLER = attrgetter("model"), attrgetter("sampler")
"""Functions from a row to its numbers."""


class Column:
    """The tokens of a text, one below the other, with their log-probabilities.

    Likely tokens get their names only when their part of the answer is written: a vocabulary of
    words computes names slowly, and a million names take much memory.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids of the prompt.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._ids = list(prompt)  # the ids before the rows, then those of the rows
        self._before = len(self._ids)
        self._offset = 0
        self._rows: list[_Row] = []
        self._named_place: tuple[int, list[str]] | None = None  # the last place that was named

    def add_prompt(self, scores: Scores, text: str) -> None:
        """Add the tokens of the prompt; the sampler did not draw them.

        Args:
            scores: their log-probabilities.
            text: the prompt as the answer echoes it, to which the offsets refer.
        """
        self._before = 0
        pieces = [*map(FullVocabulary(self._vocabulary).writer(), self._ids)]
        rows = zip(
            pieces, _offsets(text, pieces), scores.tokens, scores.ids, scores.top, strict=True
        )
        for piece, offset, own, ids, top in rows:
            model = _finite(own), None if own is None else top
            self._rows.append(_Row(piece, offset, ids, model, (None, None)))
        self._offset = len(text)

    def add(self, records: Sequence[TokenRecord], tables: Sequence[TokenTable]) -> None:
        """Add drawn tokens."""
        for record, table in zip(records, tables, strict=True):
            model, sampler = (
                (_finite(float(row[0])), row[1:]) for row in (table.model, table.sampler)
            )
            self._rows.append(_Row(record.text, self._offset, table.ids[1:], model, sampler))
            self._offset += len(record.text)
            self._ids.append(record.token)

    def skip(self, text: str) -> None:
        """Start the offsets after a text, such as an echoed prompt."""
        self._offset += len(text)

    def forget(self) -> None:
        """Drop the tokens that were sent, but keep the offsets."""
        self._rows, self._named_place = [], None
        self._ids = self._ids[-NEAR:]
        self._before = len(self._ids)

    def echoed(self, text: str, size: int) -> Iterator[dict[str, Any]]:
        """Yield the prompt as parts of a choice, `size` tokens at a time."""
        starts = [*range(0, len(self._rows), size)]
        cuts = [0, *(self._rows[start].offset for start in starts[1:]), len(text)]
        for start, first, last in zip(starts, cuts, cuts[1:], strict=False):
            places = range(start, min(start + size, len(self._rows)))
            yield {"text": text[first:last], **self._completion(places)}

    def as_completion(self) -> dict[str, Any]:
        """Return the parts of a choice of `POST /v1/completions`; long lists are iterators."""
        return self._completion(range(len(self._rows)))

    def as_chat(self) -> dict[str, Any]:
        """Return the parts of a choice of `POST /v1/chat/completions`; lists are iterators."""
        return {
            "logprobs": {"content": self._entries(MODEL), "refusal": None},
            "sampler_logprobs": {"content": self._entries(SAMPLER)},
        }

    def _completion(self, places: Sequence[int]) -> dict[str, Any]:
        return {
            "logprobs": self._part(places, MODEL),
            "sampler_logprobs": self._part(places, SAMPLER),
        }

    def _part(self, places: Sequence[int], numbers: Callable[[_Row], Numbers]) -> dict[str, Any]:
        rows = [self._rows[i] for i in places]
        return {
            "tokens": [self._spelling(i) for i in places],
            "token_logprobs": [numbers(row)[0] for row in rows],
            "top_logprobs": (self._named(i, *numbers(self._rows[i])) for i in places),
            "text_offset": [row.offset for row in rows],
        }

    def _entries(self, numbers: Callable[[_Row], Numbers]) -> Iterator[dict[str, Any]]:
        for i, row in enumerate(self._rows):
            own, top = numbers(row)
            likely = [] if top is None else zip(row.ids, self._names(i), top.tolist(), strict=True)
            entry = self._entry(self._ids[self._before + i], self._spelling(i), own)
            yield entry | {"top_logprobs": [self._entry(int(id_), *rest) for id_, *rest in likely]}

    def _entry(self, token: int, text: str, number: float | None) -> dict[str, Any]:
        """Return a token in the form of chat answers; its bytes may be part of a character."""
        vocabulary = self._vocabulary
        raw = vocabulary.token_bytes(token) if can(vocabulary, "token_bytes") else text.encode()
        return {"token": text, "logprob": _finite(number), "bytes": list(raw)}

    def _spelling(self, place: int) -> str:
        """Return the text of a token; of a part of a character, its bytes."""
        text, vocabulary = self._rows[place].text, self._vocabulary
        if not can(vocabulary, "token_bytes"):
            return text
        spelling = _text_of(vocabulary.token_bytes(self._ids[self._before + place]))
        return spelling if spelling.startswith(PARTIAL) else text

    def _named(
        self, place: int, own: float | None, numbers: Array | None
    ) -> dict[str, float] | None:
        """Return log-probabilities by the text that each token would add at a place.

        They are those of the likeliest tokens, and of the token that is there.
        """
        if numbers is None or own is None:
            return None
        named: dict[str, float] = {}
        names = self._names(place)
        for name, number in zip(names, numbers.tolist(), strict=True):
            # Of tokens with the same text, the likeliest counts.
            named.setdefault(name, max(number, IMPOSSIBLE))
        named.setdefault(self._spelling(place), own)
        return named

    def _names(self, place: int) -> list[str]:
        # The model's and the sampler's table of a token have the same names.
        if self._named_place is None or self._named_place[0] != place:
            self._named_place = place, self._names_at(place)
        return self._named_place[1]

    def _names_at(self, place: int) -> list[str]:
        vocabulary, ids = self._vocabulary, [int(i) for i in self._rows[place].ids]
        if not ids:
            return []
        if can(vocabulary, "texts_after"):
            end = self._before + place
            after = vocabulary.texts_after(self._ids[max(0, end - NEAR) : end])
            texts = [after[token] for token in ids]
        elif can(vocabulary, "token_bytes"):
            texts = [_text_of(vocabulary.token_bytes(token)) for token in ids]
        else:
            texts = [vocabulary.decode([token]) for token in ids]
        return [
            # Without a text, or with a part of a character that no text can show.
            text if text and "\ufffd" not in text else f"token:{token}"
            for text, token in zip(texts, ids, strict=True)
        ]


def _offsets(text: str, pieces: Sequence[str]) -> Iterator[int]:
    """Yield the offset of each token in a text, also if the vocabulary changes the spelling."""
    lowered, at = text.translate(LOWER), 0
    for piece in pieces:
        yield at
        word = piece.strip()
        if text.startswith(piece, at):
            at += len(piece)
        elif (match := lowered.find(word.translate(LOWER), at, at + len(word) + SPACES)) >= 0:
            at = match + len(word)


def _text_of(raw: bytes) -> str:
    """Decode bytes; write a partial character as escaped bytes, as OpenAI does."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return PARTIAL + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(number: float | None) -> float | None:
    return None if number is None else max(number, IMPOSSIBLE)
