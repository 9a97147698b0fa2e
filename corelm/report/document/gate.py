"""Conditions under which a report fails: `temperature(t=0.2).loops > 0.3`."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.errors import CorelmError, UsageError
from corelm.plugins.expressions import sampler as read_sampler
from corelm.printable import shown
from corelm.report.document.lookup import figure, metrics

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"(.+?)\s*(>=|<=|>|<)\s*([-+]?[\d._]+(?:e[-+]?\d+)?)", re.DOTALL | re.I)
HOW = "write SAMPLER.METRIC > NUMBER, such as 'temperature(t=0.2).loops > 0.3'"


@dataclass(frozen=True)
class Condition:
    """One condition that must not hold.

    Attributes:
        text: as it was given.
        sampler: the row that it is about, by its expression or its name.
        metric: which figure of the row.
        operator: a key of `OPERATORS`.
        bound: what the figure is compared with.
    """

    text: str
    sampler: str
    metric: str
    operator: str
    bound: float

    def tripped(self, document: Mapping[str, Any]) -> str:
        """Why a report fails by this condition; empty when it does not.

        What was not measured cannot be vouched for, so it fails too.
        """
        row = _row(document, self.sampler)
        found = None if row is None or row["error"] else figure(row, self.metric)
        if found is None:
            why = row["error"]["message"] if row and row["error"] else "it was not measured"
            return f"{self.text}: {why}"
        if not OPERATORS[self.operator](found.value, self.bound):
            return ""
        interval = (
            "" if found.low is None else f", 95 % interval {found.low:.4g} to {found.high:.4g}"
        )
        return f"{self.text}: it is {found.value:.4g}{interval}"


def condition(text: str, samplers: Sequence[tuple[str, str]]) -> Condition:
    """Read a condition, before anything is measured.

    Args:
        text: such as `temperature(t=0.2).loops > 0.3`.
        samplers: the expression and the name of every row.

    Raises:
        UsageError: no condition, or one about a row or a metric that there is not.

    Example:
        >>> rows = [("greedy", "greedy"), ("temperature(t=0.2)", "temperature")]
        >>> found = condition("temperature.entropy < 1", rows)
        >>> found.sampler, found.metric, found.operator, found.bound
        ('temperature(t=0.2)', 'entropy', '<', 1.0)
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read the condition {shown(text)}; {HOW}")
    sampler, metric = _parts(match[1], text)
    try:
        bound = float(match[3])
    except ValueError:
        raise UsageError(f"{match[3]!r} in {shown(text)} is no number") from None
    return Condition(text.strip(), _named(sampler, samplers), metric, match[2], bound)


def _parts(named: str, text: str) -> tuple[str, str]:
    """The sampler and the metric, parted at the first point with a metric behind it."""
    for point in re.finditer(r"\.", named):
        if named[point.end() :] in metrics():
            return named[: point.start()].strip(), named[point.end() :]
    word = named.rpartition(".")[2]
    near = difflib.get_close_matches(word, metrics(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(metrics())}"
    raise UsageError(f"{shown(text)} names no metric{hint}")


def _named(sampler: str, samplers: Sequence[tuple[str, str]]) -> str:
    """The expression of the one row that is meant."""
    try:
        expression = str(read_sampler(sampler))
    except CorelmError:
        expression = sampler  # of a plugin that is not here; the report may have it all the same
    exact = list(dict.fromkeys(row for row, _ in samplers if row in (expression, sampler)))
    found = exact or [row for row, name in samplers if name == sampler]
    if len(found) == 1:
        return found[0]
    rows = ", ".join(found or [row for row, _ in samplers])
    raise UsageError(f"{sampler!r} is {len(found) or 'none'} of the rows; say which one: {rows}")


def _row(document: Mapping[str, Any], sampler: str) -> Mapping[str, Any] | None:
    """The row of an expression, or of a name whose parameters were found by matching."""
    exact = [row for row in document["samplers"] if row["sampler"] == sampler]
    named = [row for row in document["samplers"] if row["name"] == sampler]
    return next(iter(exact or named), None)
