"""Short names of samplers for the marks and lines of a plot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 24
"""Characters of a label; the table of the report has the whole expression."""

_ONE = re.compile(r"(\w+)\(\w+=([^()\[\]{},='\"|]*)\)")
_TEMPERATURE = re.compile(r"temperature\(t=([^()|]*)\)")
_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text with a mark in place of each character that commands instead of being read.

    Those are control characters, what turns the direction of writing round, and what no file
    may hold. Tab and newline stay.

    Example:
        >>> visible("a\\x1b]0;b")
        'a\ufffd]0;b'
    """
    return _COMMANDS.sub("\ufffd", text)


def shortened(expression: str) -> str:
    """An expression as a label says it.

    Example:
        >>> shortened("top_p(p=0.9) | temperature(t=0.7)")
        'top_p 0.9 | t = 0.7'
        >>> shortened("typical(p=0.9) | repetition_penalty(penalty=1.2)")
        'typical 0.9 | repetitio…'
    """
    text = _ONE.sub(r"\1 \2", _TEMPERATURE.sub(r"t = \1", " ".join(visible(expression).split())))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each sampler of a report; those that would be the same carry their number.

    Example:
        >>> labels([{"sampler": "greedy"}, {"sampler": "top_k(k=5)"}, {"sampler": "greedy"}])
        ['greedy (1)', 'top_k 5', 'greedy (3)']
    """
    short = [shortened(row["sampler"]) for row in rows]
    count = Counter(short)
    return [
        f"{text} ({number})" if count[text] > 1 else text for number, text in enumerate(short, 1)
    ]
