"""Texts as rows of token ids, one longer than the context.

The inputs are a row without its last token, the targets the row without its first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Vocabulary

TokenRows = NDArray[np.uint16] | NDArray[np.uint32]


def padded_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Cut or pad each text to one row, as the chapter does: (texts, context + 1)."""
    width = context_length + 1
    rows = [vocabulary.encode(text)[:width] for text in texts]
    result = np.zeros((len(rows), width), dtype=_dtype(vocabulary))
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result


def packed_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Pack all tokens of all texts into full rows, without padding: (rows, context + 1).

    A text begins and ends with the vocabulary's tokens for that, if it has them. It is cut into
    rows from its beginning, each of which shares one token with the next. The remainders are joined
    and cut in the same way.
    """
    dtype = _dtype(vocabulary)
    start, ends = _start(vocabulary), list(vocabulary.ends)[:1]
    rows: list[NDArray[Any]] = []
    rest = [np.empty(0, dtype=dtype)]
    for text in texts:
        whole, left = _whole_rows(
            np.array([*start, *vocabulary.encode(text), *ends], dtype=dtype), context_length
        )
        rows.extend(whole)
        rest.append(left)
    rows.extend(_whole_rows(np.concatenate(rest), context_length)[0])
    return np.array(rows, dtype=dtype).reshape(-1, context_length + 1)


def _whole_rows(ids: NDArray[Any], step: int) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Return rows of step + 1 ids that overlap by one id, and the rest."""
    count = max(len(ids) - 1, 0) // step
    return [ids[i * step : (i + 1) * step + 1] for i in range(count)], ids[count * step :]


def opening_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Return the beginning of each text as a model reads it: (texts, context + 1).

    These are the first `context_length` tokens, after the vocabulary's start token, if there is
    one.
    """
    start = _start(vocabulary)
    rows = padded_rows(texts, vocabulary, context_length)[:, : context_length + 1 - len(start)]
    before = np.full((len(rows), len(start)), start, dtype=rows.dtype)
    return np.concatenate([before, rows], axis=1)


def _start(vocabulary: Vocabulary) -> list[int]:
    return [] if vocabulary.start is None else [vocabulary.start]


def _dtype(vocabulary: Vocabulary) -> Any:
    return np.uint16 if len(vocabulary) <= 2**16 else np.uint32
