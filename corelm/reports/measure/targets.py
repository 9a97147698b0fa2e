"""Targets of matching, such as `entropy=3` or `human_recall=0.95`, read from text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from corelm.errors import UsageError
from corelm.reports.document.lookup import HUMAN
from corelm.reports.document.matched import FIGURES
from corelm.toolkit import did_you_mean, shown

SHORT = {"surprisal": "expected_surprisal"}
"""Names for short, as the tables have them."""
OF_PEOPLE = ("human_recall", "human_surprisal")
"""The figures that need contexts which people wrote."""
LIKE_PEOPLE = ("entropy", "expected_surprisal")
"""The figures that can be matched to human text."""
FORM = "write FIGURE=NUMBER, such as entropy=3 or mass_kept=0.9, or entropy=human"


class Precision(NamedTuple):
    """The errors of a matched figure: up to `tolerance` it is accepted, below `close` final."""

    tolerance: float
    close: float


NATS, SHARES = Precision(0.01, 0.002), Precision(0.002, 0.0005)


@dataclass(frozen=True)
class Target:
    """A figure and the value that it should have.

    Attributes:
        figure: its key in `teacher_forced`, such as `entropy` or `mass_kept`.
        value: the value; None for that of human text.
    """

    figure: str
    value: float | None

    @classmethod
    def read(cls, text: str) -> Target:
        """Read a target.

        Raises:
            UsageError: it is not a figure, an equals sign and a value; or out of range.

        Example:
            >>> Target.read("mass_kept=0.9")
            Target(figure='mass_kept', value=0.9)
            >>> Target.read("surprisal=human")
            Target(figure='expected_surprisal', value=None)
        """
        if not isinstance(text, str) or "=" not in text:
            raise UsageError(f"cannot read the target {shown(text)}; {FORM}")
        name, value = (part.strip() for part in text.split("=", 1))
        figure = SHORT.get(name, name)
        if figure not in FIGURES:
            known = [*SHORT, *FIGURES]
            hint = did_you_mean(name, known) or f"; the figures are: {', '.join(known)}"
            raise UsageError(f"{shown(name)} cannot be matched{hint}")
        if value == HUMAN:
            return cls._of_people(figure)
        return cls(figure, _number(figure, value))

    @classmethod
    def _of_people(cls, figure: str) -> Target:
        if figure not in LIKE_PEOPLE:
            raise UsageError(
                f"the {figure} of human text is not known; entropy and surprisal can be matched to "
                "it, and every figure to a number"
            )
        return cls(figure, None)

    def __str__(self) -> str:
        """Return the text that reads as this target."""
        return f"{self.figure}={HUMAN if self.value is None else format(self.value, 'g')}"


def precision(figure: str, value: float, words: int) -> Precision:
    """Return the errors of a match.

    Args:
        figure: the figure that is matched.
        value: its target.
        words: the number of positions of the contexts.
    """
    unit = FIGURES[figure].unit
    if unit == "tokens":
        return Precision(max(0.01 * value, 0.01), max(0.002 * value, 0.002))
    if figure == "human_recall":  # counts words: it moves in steps of one of them
        return Precision(max(SHARES.tolerance, 1 / words), SHARES.close)
    return SHARES if unit == "share" else NATS


def _number(figure: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{figure} must be a number or 'human', not {shown(text)}") from None
    most = 1.0 if FIGURES[figure].unit == "share" else math.inf
    if not (0 <= value <= most and value < math.inf):
        bound = "between 0 and 1" if most == 1 else "at least 0"
        raise UsageError(f"{figure} must be {bound}, not {value:g}")
    return value
