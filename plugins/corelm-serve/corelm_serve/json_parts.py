"""JSON in parts, so that a large answer is written neither at once nor in the whole memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

LONG = 1_024
"""Items of a list that are written at once."""
SLICE = 2**13
"""Characters that are written before others get their turn: a few milliseconds at most."""

# Kept, since `json.dumps` with separators makes an encoder for each call.
encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""Return a value as strict JSON in ASCII."""


def slices(document: Any) -> Iterator[bytes]:
    """Yield the JSON of a document in slices.

    Args:
        document: mappings and lists as for `json.dumps`; an iterator is written as a list.
    """
    found, size = [], 0
    for part in parts(document):
        found.append(part)
        size += len(part)
        if size >= SLICE:
            yield "".join(found).encode()
            found, size = [], 0
    if found:
        yield "".join(found).encode()


def parts(value: Any) -> Iterator[str]:
    """Yield the JSON of a value, piece by piece."""
    if isinstance(value, dict) and value:
        before = "{"
        for key, item in value.items():
            yield f"{before}{encode(key)}:"
            yield from parts(item)
            before = ","
        yield "}"
    elif isinstance(value, Iterator):
        yield from _listed(value)
    elif isinstance(value, list) and len(value) > LONG:
        for start in range(0, len(value), LONG):
            yield ("," if start else "[") + encode(value[start : start + LONG])[1:-1]
        yield "]"
    else:
        yield encode(value)


def _listed(items: Iterator[Any]) -> Iterator[str]:
    before = "["
    for item in items:
        yield before
        yield from parts(item)
        before = ","
    yield "[]" if before == "[" else "]"
