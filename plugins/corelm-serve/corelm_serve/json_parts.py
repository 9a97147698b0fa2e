"""JSON in parts, so that a large answer is written neither at once nor in the whole memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

LONG = 1_024
"""Items of a list that are written at once."""
SLICE = 2**13
"""Bytes that are written before others get their turn: a few milliseconds at most."""

MANY = dict, list, Iterator
"""The types of values that may be large."""


def _list(value: Any) -> list[Any]:
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


# Kept, since `json.dumps` with separators makes an encoder for each call.
encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_list).encode
"""Return a value as strict JSON in ASCII; an iterator is written as a list."""


def slices(document: Any) -> Iterator[bytes]:
    """Yield the JSON of a document in slices.

    Args:
        document: mappings and lists as for `json.dumps`; an iterator is written as a list.
    """
    return joined(part.encode() for part in parts(document))


def joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join parts to slices of about `SLICE` bytes."""
    found, size = [], 0
    for part in parts:
        found.append(part)
        size += len(part)
        if size >= SLICE:
            yield b"".join(found)
            found, size = [], 0
    if found:
        yield b"".join(found)


def parts(value: Any) -> Iterator[str]:
    """Yield the JSON of a value, piece by piece."""
    if isinstance(value, dict) and any(isinstance(item, MANY) for item in value.values()):
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
