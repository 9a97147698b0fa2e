"""What other programs and people wrote: JSON lines that hold texts or objects, and numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from numbers import Real
from typing import Any

from corelm.errors import UsageError

SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""
LARGEST = sys.float_info.max


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
