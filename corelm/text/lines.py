"""JSON objects, lines of JSON that hold texts, and numbers, as others wrote them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from numbers import Real
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.text.printable import shown

SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""
LARGEST = sys.float_info.max
JSON_LIMIT = 2**20
"""The largest JSON document, in bytes."""
DEEPEST = 200
"""The most levels of nested JSON."""


def is_finite_number(value: Any, least: float = -LARGEST, most: float = LARGEST) -> bool:
    """Return True for a number in a range that a float holds: no bool, NaN, infinity or 10**400.

    Example:
        >>> [is_finite_number(each, least=0) for each in (1, True, 10**400, -1)]
        [True, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    # A narrow float would overflow where it meets the range, as 10**400 would if it became a float.
    return bool(least <= (value if isinstance(value, int) else float(value)) <= most)


def numbered_lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the place of each line that isn't empty, for messages, and the line.

    Example:
        >>> list(numbered_lines("1\\n\\n2", "a.jsonl"))
        [('line 1 of a.jsonl', '1'), ('line 3 of a.jsonl', '2')]
    """
    # A text may contain characters that `splitlines` takes for the end of a line.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number} of {name}", line


def text_lines(content: str, name: str, key: str, more: str) -> list[tuple[str, Any]]:
    """Return the texts in JSON lines, each with a second value, or None without one.

    A line is a JSON string, or an object with the text and perhaps the value. Empty lines are
    left out.

    Args:
        content: the lines.
        name: the name of the file, for messages.
        key: the key of a text in an object, such as "prompt"; messages call a text that.
        more: the key of the second value: text, or a number.

    Raises:
        UsageError: no text, or another line; the message has its number.

    Example:
        >>> lines = '"the cat"\\n{"prompt": "a dog", "cluster": "dogs"}'
        >>> text_lines(lines, "p.jsonl", "prompt", "cluster")
        [('the cat', None), ('a dog', 'dogs')]
    """
    pairs = [_pair(line, place, key, more) for place, line in numbered_lines(content, name)]
    if not pairs:
        raise UsageError(f"there is no {key} in {name}")
    return pairs


def _pair(line: str, place: str, key: str, more: str) -> tuple[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is not JSON: write each {key} in quotation marks") from None
    value = value if isinstance(value, dict) else {key: value}
    text, second = value.get(key), value.get(more)
    if not isinstance(text, str) or type(second) not in (str, int, type(None)):
        raise UsageError(
            f'{place} has no {key}: expected a string or {{"{key}": "...", "{more}": "..."}}'
        )
    try:
        f"{text}{second}".encode()
    except UnicodeEncodeError:
        raise UsageError(f"{place} has half of a surrogate pair, which is not text") from None
    return text, second


def decode_text(content: bytes) -> str:
    """Decode UTF-8, strictly."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"it is not UTF-8 at byte {error.start}") from error


def parse_json(content: bytes) -> dict[str, Any]:
    """Parse a JSON object, as `json_object` does."""
    try:
        return json_object(decode_text(content), "it")
    except UsageError as error:
        raise ModelFileError(str(error)) from None


def json_object(text: str | bytes | bytearray, place: str) -> dict[str, Any]:
    """Return the object of a JSON text: the reader of all JSON that others wrote.

    Two readers of an object in which a key appears twice may see two objects, so it is refused.

    Args:
        text: the JSON.
        place: its place, with which messages begin.

    Raises:
        UsageError: it isn't JSON, is nested too deeply, has nan, infinity or a key twice, or isn't
            an object.

    Example:
        >>> json_object('{"seed": 1}', "the file")
        {'seed': 1}
    """
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite,
                           object_pairs_hook=_unique)  # fmt: skip
        level = [value] if isinstance(value, dict) else []
        # Level by level: Python's own limit differs between versions, and others may recurse.
        for _ in range(DEEPEST):
            level = [part for each in level for part in _parts(each)]
        if level:
            raise RecursionError
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        if "set_int_max_str_digits" in reason:  # Python's advice to programmers
            reason = "a number is too long"
        raise UsageError(f"{place} is not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{place} must be a JSON object, not {shown(value)}")
    return value


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no number in JSON")
    return value


def _parts(value: Any) -> list[Any]:
    parts = value.values() if isinstance(value, dict) else value
    return [part for part in parts if isinstance(part, (dict, list))]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return value


def dump_json(value: Any) -> bytes:
    """Return JSON in corelm's form, which is the same bytes again after `parse_json`.

    Raises:
        ValueError, TypeError: a value that JSON cannot hold, such as nan.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
