"""Text for people: no control characters, reasons on one line, close names, colours of words."""

from __future__ import annotations

import difflib
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ["SURPRISAL_SCALE", "counted", "did_you_mean", "one_line", "shown", "strip_controls"]

LONGEST = 60
"""The longest value that a message shows in full, in characters."""
LONGEST_MESSAGE = 2_000
"""The longest part of an error's message that is shown, in characters."""
MOST_NAMES = 200
"""The most names that a message lists."""
ENDLESS = 10_000
"""The width of lines that are not broken, in characters."""

# C0 and C1 but for tab and newline, and the characters that reverse the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Lone surrogates and noncharacters, which encodings or markup cannot hold.
_UNWRITABLE = re.compile("[\ud800-\udfff\ufffe\uffff]")


def strip_controls(text: str, mark: str = "") -> str:
    """Return a text without control characters, except tab and newline.

    Lone surrogates, which no encoding can write, become the replacement character.

    Args:
        text: any text.
        mark: written in place of each character that is removed.

    Example:
        >>> strip_controls("a\\x1b]52;c;bHM=\\x07b")
        'a]52;c;bHM=b'
    """
    return _UNWRITABLE.sub("\ufffd", _CONTROL.sub(mark, text))


def one_line(text: str) -> str:
    """Return a text without control characters, on one line.

    Example:
        >>> one_line("two\\nlines\\x07")
        'two lines'
    """
    return " ".join(strip_controls(text).split())


_WHOLE = re.compile(r"[^\d]*[\d,]*")


def aligned(cells: Sequence[str]) -> list[str]:
    """Pad a header and the numbers below it to one width, with decimal points below each other.

    Example:
        >>> aligned(["nats", "4.25", "12.1", "-"])
        [' nats', ' 4.25', '12.1 ', ' -   ']
    """
    header, *numbers = cells
    tails = [len(_WHOLE.sub("", each, count=1)) for each in numbers]
    most = max(tails, default=0)
    padded = [each + " " * (most - tail) for each, tail in zip(numbers, tails, strict=True)]
    width = max(map(len, [header, *padded]))
    return [" " * (width - len(each)) + each for each in (header, *padded)]


def reason_of(error: BaseException) -> str:
    """Return the type and the first line of an error, even if its `__str__` raises.

    Example:
        >>> reason_of(ValueError("no good\\nat all"))
        'ValueError: no good'
    """
    name, lines = type(error).__name__, message_of(error).splitlines()
    return one_line(f"{name}: {lines[0]}" if lines else name)


def message_of(error: BaseException) -> str:
    """Return the message of an error, shortened, or a substitute where its `__str__` raises."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as second:  # SystemExit too: a message must not end the program
        return f"(no message: {type(second).__name__} in its __str__)"
    if len(text) <= LONGEST_MESSAGE:
        return text
    return f"{text[:LONGEST_MESSAGE]}... ({len(text):,} characters)"


def shown(value: Any) -> str:
    """Return the `repr` of a value for a one-line message, shortened if it is long.

    Of an exception, return its type and the first line of its message.

    Example:
        >>> shown("a" * 100)
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... (102 characters)"
    """
    if isinstance(value, BaseException):
        return reason_of(value)
    try:
        text = repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(value, int):  # Python writes out at most 4,300 digits
            return "a number of thousands of digits"
        return f"a {type(value).__name__} ({type(error).__name__} in its __repr__)"
    return text if len(text) <= LONGEST else f"{text[:40]}... ({len(text)} characters)"


def did_you_mean(word: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a suggestion to append to a message; empty if no name is close.

    Args:
        word: the word that is not among the names.
        names: the valid names.
        cutoff: the least similarity of the name, from 0 to 1.

    Example:
        >>> did_you_mean("temprature", ["greedy", "temperature"])
        "; did you mean 'temperature'?"
        >>> did_you_mean("xyz", ["greedy", "temperature"])
        ''
    """
    near = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(names: Sequence[str]) -> str:
    """Return names as a comma-separated list for a message, at most the first 200.

    Example:
        >>> listed(["greedy", "temperature"])
        'greedy, temperature'
        >>> listed([])
        'none'
    """
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES]) or 'none'}{more}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
        >>> counted(1, "text"), counted(2000, "text")
        ('1 text', '2,000 texts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class ColorScale(NamedTuple):
    """A scale of colours.

    Attributes:
        bounds: the numbers at which the next deeper colour begins.
    """

    bounds: tuple[int, ...]

    def level(self, number: float) -> int:
        """Return the level of a number, from 0 to the number of bounds; 0 for nan.

        Example:
            >>> [SURPRISAL_SCALE.level(nats) for nats in (1.9, 2, 12, math.nan)]
            [0, 1, 5, 0]
        """
        return 0 if math.isnan(number) else bisect_right(self.bounds, number)


SURPRISAL_SCALE = ColorScale((2, 4, 6, 8, 10))
"""The colours of words by their surprisal in nats: in notebooks, terminals, reports and pages."""
