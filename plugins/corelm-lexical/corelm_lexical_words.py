"""Words of a text."""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; an apostrophe or a hyphen joins two parts.

    Example:
        >>> words("It's a well-made film -- a must!")
        ["it's", 'a', 'well-made', 'film', 'a', 'must']
    """
    return WORD.findall(text.lower())
