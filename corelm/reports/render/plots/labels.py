"""Short names of samplers for the marks and lines of a plot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from corelm.reports.render.format import visible
from corelm.toolkit import one_line

LONGEST = 24
"""The length of a label in characters; the table of the report has the whole expression."""

_ONE_PARAMETER = re.compile(r"(\w+)\((\w+)=([^()\[\]{},='\"|]*)\)")


def shortened(expression: str, temperatures: Collection[str] = ()) -> str:
    """Shorten an expression to a label.

    A sampler with one parameter loses its parentheses. A temperature keeps the symbol alone, as
    people write it.

    Args:
        expression: a sampler or a chain.
        temperatures: the names of the samplers in it that are temperatures.

    Example:
        >>> shortened("top_p(p=0.9) | temperature(t=0.7)", ["temperature"])
        'top_p 0.9 | t = 0.7'
        >>> shortened("typical(p=0.9) | repetition_penalty(penalty=1.2)")
        'typical 0.9 | repetitio…'
    """

    def short(match: re.Match[str]) -> str:
        name, parameter, value = match.groups()
        return f"{parameter} = {value}" if name in temperatures else f"{name} {value}"

    text = _ONE_PARAMETER.sub(short, one_line(visible(expression)))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each sampler of a report; equal ones get their number.

    Example:
        >>> labels([{"sampler": "greedy"}, {"sampler": "top_k(k=5)"}, {"sampler": "greedy"}])
        ['greedy (1)', 'top_k 5', 'greedy (3)']
    """
    short = [shortened(row["sampler"], _temperatures(row)) for row in rows]
    count = Counter(short)
    return [
        f"{text} ({number})" if count[text] > 1 else text for number, text in enumerate(short, 1)
    ]


def _temperatures(row: Mapping[str, Any]) -> set[str]:
    """The names of those stages that say of themselves that they are temperatures."""
    stages = row.get("stages") or ()
    return {stage["name"] for stage in stages if stage.get("kind") == "temperature"}
