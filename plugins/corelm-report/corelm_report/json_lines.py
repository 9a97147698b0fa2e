"""Read JSON that other programs wrote: an object, the lines of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from corelm.errors import UsageError

SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""


def placed_lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the place of each line that isn't empty, for messages, and the line.

    Example:
        >>> list(placed_lines("1\\n\\n2", "a.jsonl"))
        [('line 1 of a.jsonl', '1'), ('line 3 of a.jsonl', '2')]
    """
    # A text may contain characters that `splitlines` takes for the end of a line.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number} of {name}", line


def json_object(text: str, place: str) -> Mapping[str, Any]:
    """Return the object of a JSON text.

    Raises:
        UsageError: it is not JSON, or another value; the message begins with the place.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is not JSON") from None
    if not isinstance(value, dict):
        raise UsageError(f"{place} is no JSON object")
    return value
