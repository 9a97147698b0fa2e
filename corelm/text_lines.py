"""JSON that other programs and people wrote: objects, and lines that hold texts or objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from corelm import printable
from corelm.errors import UsageError

SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""


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


def json_object(text: str | bytes | bytearray, place: str) -> dict[str, Any]:
    """Return the object of a JSON text.

    Two readers of an object in which a key appears twice may see two objects, so it is refused.

    Args:
        text: the JSON.
        place: its place, with which messages begin.

    Raises:
        UsageError: it is not JSON, too deep, has nan, infinity or a key twice, or is no object.

    Example:
        >>> json_object('{"seed": 1}', "the file")
        {'seed': 1}
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        if "set_int_max_str_digits" in reason:  # Python's advice to programmers
            reason = "a number is too long"
        raise UsageError(f"{place} is not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{place} must be a JSON object, not {printable.shown(value)}")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return value


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
