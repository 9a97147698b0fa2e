"""Log-probabilities of the tokens of a text in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corelm import ByteVocabulary, ContextualVocabulary, TokenRecord, Vocabulary
from corelm.runs import text_writer
from corelm_serve.scheduling.jobs import TokenTable
from corelm_serve.scoring import Scores

IMPOSSIBLE = -9999.0
"""The log-probability of an impossible token, as OpenAI writes it: JSON has no infinity."""

NEAR = 256
"""Tokens before a place that its texts may depend on, such as an open quotation mark."""


class Column:
    """The tokens of a text, one below the other, with their log-probabilities.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids of the prompt.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._ids = list(prompt)  # the tokens before the next one
        self._offset = 0
        self._texts: list[str] = []
        self._offsets: list[int] = []
        self._model: list[tuple[float | None, dict[str, float] | None]] = []
        self._sampler: list[tuple[float | None, dict[str, float] | None]] = []

    def add_prompt(self, scores: Scores) -> None:
        """Add the tokens of the prompt; the sampler did not draw them."""
        prompt, self._ids = self._ids, []
        write = text_writer(self._vocabulary)
        for token, own, ids, top in zip(prompt, scores.tokens, scores.ids, scores.top, strict=True):
            self._add_text(write(token))
            self._model.append((_finite(own), None if own is None else self._named(ids, top)))
            self._sampler.append((None, None))
            self._ids.append(token)

    def add(self, records: Sequence[TokenRecord], tables: Sequence[TokenTable]) -> None:
        """Add drawn tokens."""
        for record, table in zip(records, tables, strict=True):
            self._add_text(record.text)
            ids = table.ids[1:]
            self._model.append((_finite(table.model[0]), self._named(ids, table.model[1:])))
            self._sampler.append((_finite(table.sampler[0]), self._named(ids, table.sampler[1:])))
            self._ids.append(record.token)

    def skip(self, text: str) -> None:
        """Count offsets from the end of a text, such as the prompt of an answer that echoes it."""
        self._offset += len(text)

    def forget(self) -> None:
        """Forget the tokens so far, which were sent; keep count of their places."""
        self._texts, self._offsets, self._model, self._sampler = [], [], [], []

    def as_completion(self) -> dict[str, Any]:
        """Return the parts of a choice of `POST /v1/completions`."""
        return {
            "logprobs": self._part(self._model),
            "sampler_logprobs": self._part(self._sampler),
        }

    def as_chat(self) -> dict[str, Any]:
        """Return the parts of a choice of `POST /v1/chat/completions`."""
        return {
            "logprobs": {"content": self._entries(self._model), "refusal": None},
            "sampler_logprobs": {"content": self._entries(self._sampler)},
        }

    def _entries(self, column: Sequence[tuple[float | None, Any]]) -> list[dict[str, Any]]:
        return [
            _entry(text, own) | {"top_logprobs": [_entry(*pair) for pair in (top or {}).items()]}
            for text, (own, top) in zip(self._texts, column, strict=True)
        ]

    def _part(self, column: Sequence[tuple[float | None, Any]]) -> dict[str, Any]:
        return {
            "tokens": self._texts,
            "token_logprobs": [own for own, _ in column],
            "top_logprobs": [top for _, top in column],
            "text_offset": self._offsets,
        }

    def _add_text(self, text: str) -> None:
        self._texts.append(text)
        self._offsets.append(self._offset)
        self._offset += len(text)

    def _named(self, ids: Sequence[int], numbers: Sequence[float]) -> dict[str, float]:
        """Return log-probabilities by the text that each token would add here."""
        found: dict[str, float] = {}
        names = self._names(ids) if ids else []
        for name, number in zip(names, numbers, strict=True):
            found.setdefault(name, max(number, IMPOSSIBLE))  # of equal texts the likeliest counts
        return found

    def _names(self, ids: Sequence[int]) -> list[str]:
        vocabulary = self._vocabulary
        if isinstance(vocabulary, ContextualVocabulary):
            after = vocabulary.texts_after(self._ids[-NEAR:])
            texts = [after[token] for token in ids]
        elif isinstance(vocabulary, ByteVocabulary):
            texts = [_text_of(vocabulary.token_bytes(token)) for token in ids]
        else:
            texts = [vocabulary.decode([token]) for token in ids]
        return [text or f"token:{token}" for text, token in zip(texts, ids, strict=True)]


def _entry(text: str, number: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": number, "bytes": list(text.encode())}


def _text_of(raw: bytes) -> str:
    """Return the text of bytes; a part of a character is written out, as OpenAI does."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(number: float | None) -> float | None:
    return None if number is None else max(number, IMPOSSIBLE)
