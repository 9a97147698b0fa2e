"""Words of a text, and the mean of a figure over texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; an apostrophe or a hyphen joins two parts.

    Example:
        >>> words("It's a well-made film -- a must!")
        ["it's", 'a', 'well-made', 'film', 'a', 'must']
    """
    return WORD.findall(text.lower())


def mean(figure: Callable[[str], float | None], texts: Sequence[str]) -> float | None:
    """Return the mean of a figure over the texts that have it; None if none does.

    Example:
        >>> mean(lambda text: len(text) or None, ["ab", "", "abcd"])
        3.0
    """
    values = [value for text in texts if (value := figure(text)) is not None]
    return sum(values) / len(values) if values else None
