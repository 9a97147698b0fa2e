"""Conditions under which a report fails, such as `temperature(t=0.2).loops > 0.3`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.errors import CorelmError, UsageError
from corelm.reports.document.lookup import figure, metrics, short_names
from corelm.toolkit import did_you_mean, shown
from corelm.toolkit import strategy as read_strategy

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"(.+?)\s*(>=|<=|>|<)\s*([-+]?[\d._]+(?:e[-+]?\d+)?)", re.DOTALL | re.I)
FORM = "write SAMPLER.METRIC > NUMBER, such as 'temperature(t=0.2).loops > 0.3'"


@dataclass(frozen=True)
class Condition:
    """A condition that fails a report if it holds.

    Attributes:
        text: the condition as the user wrote it.
        sampler: the expression of the row it is about.
        metric: the figure of that row.
        operator: a key of `OPERATORS`.
        bound: the number that the figure is compared with.
    """

    text: str
    sampler: str
    metric: str
    operator: str
    bound: float

    def tripped(self, document: Mapping[str, Any]) -> str:
        """Explain why the report fails this condition; return "" if it passes.

        A figure that was not measured fails too, because nothing vouches for it.
        """
        row = _row(document, self.sampler)
        found = None if row is None or row["error"] else figure(row, self.metric)
        if found is None:
            return f"{self.text}: {_reason(row, self.metric)}"
        if not OPERATORS[self.operator](found.value, self.bound):
            return ""
        interval = (
            "" if found.low is None else f", 95 % interval {found.low:.4g} to {found.high:.4g}"
        )
        return f"{self.text}: it is {found.value:.4g}{interval}"


def condition(
    text: str, samplers: Sequence[tuple[str, str]], offered: Iterable[str] = ()
) -> Condition:
    """Parse a condition, before anything is measured.

    Args:
        text: such as `temperature(t=0.2).loops > 0.3`.
        samplers: the expression and the name of every row of the report.
        offered: the full names of the metrics of plugins in the report.

    Raises:
        UsageError: the text is not a condition, or names no row or no metric of the report.

    Example:
        >>> rows = [("greedy", "greedy"), ("temperature(t=0.2)", "temperature")]
        >>> found = condition("temperature.entropy < 1", rows)
        >>> found.sampler, found.metric, found.operator, found.bound
        ('temperature(t=0.2)', 'entropy', '<', 1.0)
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read the condition {shown(text)}; {FORM}")
    sampler, metric = _parts(match[1], text, _known(offered))
    try:
        bound = float(match[3])
    except ValueError:
        raise UsageError(f"{match[3]!r} in {shown(text)} is not a number") from None
    return Condition(text.strip(), _named(sampler, samplers), metric, match[2], bound)


def _known(offered: Iterable[str]) -> dict[str, str]:
    """The names of all metrics as a condition may have them, each with the report's name."""
    short = short_names(offered)
    return {name: name for name in (*metrics(), *short)} | {
        own: name for name, own in short.items()
    }


def _reason(row: Mapping[str, Any] | None, metric: str) -> str:
    """Say why a figure is missing."""
    if row is None or not row["error"]:
        failed = (row or {}).get("failed_metrics", {}).get(metric)
        return f"the metric failed: {failed}" if failed else "it was not measured"
    return str(row["error"]["message"])


def _parts(named: str, text: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Split `sampler.metric` at the first point that a metric follows.

    Both parts may contain points themselves: `temperature(t=0.2).entropy.mean`.
    """
    for point in re.finditer(r"\.", named):
        if named[point.end() :] in known:
            return named[: point.start()].strip(), known[named[point.end() :]]
    word = named.rpartition(".")[2]
    hint = did_you_mean(word, known) or f"; the metrics are: {', '.join(known)}"
    raise UsageError(f"{shown(text)} names no metric{hint}")


def _named(sampler: str, samplers: Sequence[tuple[str, str]]) -> str:
    """Return the expression of the one row that is meant."""
    try:
        expression = str(read_strategy(sampler))
    except CorelmError:
        expression = sampler  # a row of an earlier report, whose plugin is not installed here
    exact = list(dict.fromkeys(row for row, _ in samplers if row in (expression, sampler)))
    found = exact or [row for row, name in samplers if name == sampler]
    if len(found) == 1:
        return found[0]
    rows = ", ".join(found or [row for row, _ in samplers])
    fault = f"{len(found)} rows; name one of them" if found else "no row; name one of"
    raise UsageError(f"{shown(sampler)} matches {fault}: {rows}")


def _row(document: Mapping[str, Any], sampler: str) -> Mapping[str, Any] | None:
    """The row of an expression, or of one whose parameter was found by matching."""
    rows = document["samplers"]
    exact = [row for row in rows if row["sampler"] == sampler]
    asked = [row for row in rows if (found := row.get("matched")) and sampler in _asked(found)]
    named = [row for row in rows if row["name"] == sampler]
    return next(iter(exact or asked or named), None)


def _asked(matched: Mapping[str, Any]) -> tuple[str, str]:
    """The names that a matched row has before its parameter is found."""
    return matched["open"], f"{matched['open']} at {matched['asked']}"
