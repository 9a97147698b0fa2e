"""Conditions under which a report fails, such as `temperature(t=0.2).loops > 0.3`.

A condition may be on an end of the 95 % interval (`top_p.loops.high > 0.3`), on the difference from
the entry compared with (`top_p.surprisal.difference.low > 0`), and on human text (`human.loops`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corelm.errors import CorelmError, UsageError
from corelm.runs import printable
from corelm_report.document.content import Document, Entry, SamplerEntry
from corelm_report.document.figures import HUMAN, VIEWS
from corelm_report.document.lookup import (
    Measurement,
    difference,
    estimate,
    names,
    plugin_metrics,
    short_names,
)

PARTS = ("", "low", "high", "difference", "difference.low", "difference.high")
"""The parts that a condition may name: the figure, an end of its interval, its difference."""
OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"(.+?)\s*(>=|<=|>|<)\s*([-+]?[\d._]+(?:e[-+]?\d+)?)", re.DOTALL | re.I)
FORM = (
    "write SAMPLER.METRIC > NUMBER, such as 'temperature(t=0.2).loops > 0.3'; behind the metric "
    "there may be .low, .high or .difference"
)


@dataclass(frozen=True)
class Condition:
    """A condition that fails a report if it holds.

    Attributes:
        text: the condition as the user wrote it.
        sampler: the expression of the entry it is about.
        metric: the figure of that entry, or the metric of a plugin.
        operator: a key of `OPERATORS`.
        bound: the number that the figure is compared with.
        part: the part of the figure, one of `PARTS`.
    """

    text: str
    sampler: str
    metric: str
    operator: str
    bound: float
    part: str = ""

    def tripped(self, document: Document) -> str:
        """Explain why the report fails this condition; return "" if it passes.

        A figure that was not measured fails too, as the condition can't be checked.
        """
        entry = _entry(document, self.sampler)
        figure: Measurement | None = None
        if entry is not None and not entry.error:
            of_difference = self.part.startswith("difference")
            look_up = difference if of_difference else estimate
            each = (look_up(entry, self.metric, view) for view in VIEWS)
            figure = next(filter(None, each), None)
        end = self.part.rpartition(".")[2]
        ends = {} if figure is None else {"low": figure.low, "high": figure.high}
        value = None if figure is None else ends.get(end, figure.value)
        if figure is None or value is None:
            return f"{self.text}: {_reason(entry, self.metric, figure)}"
        if not OPERATORS[self.operator](value, self.bound):
            return ""
        interval = (
            "" if figure.low is None else f", 95% interval {figure.low:.4g} to {figure.high:.4g}"
        )
        # As many digits as it takes to differ from the bound as the value itself does.
        texts = (f"{value:.{digits}g}" for digits in range(4, 18))
        shown = next(each for each in texts if OPERATORS[self.operator](float(each), self.bound))
        return f"{self.text}: {f'its {end} end' if end in ends else 'it'} is {shown}{interval}"


def condition(
    text: str, samplers: Sequence[tuple[str, str]], offered: Iterable[str] = ()
) -> Condition:
    """Parse a condition, before anything is measured.

    Args:
        text: such as `temperature(t=0.2).loops > 0.3`.
        samplers: the expression and the name of every entry of the report.
        offered: the full names of the metrics of plugins in the report.

    Raises:
        UsageError: the text is not a condition, or names no entry or no figure of the report.

    Example:
        >>> samplers = [("greedy", "greedy"), ("temperature(t=0.2)", "temperature")]
        >>> limit = condition("temperature.entropy < 1", samplers)
        >>> limit.sampler, limit.metric, limit.operator, limit.bound
        ('temperature(t=0.2)', 'entropy', '<', 1.0)
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read the condition {printable.shown(text)}; {FORM}")
    short = short_names(offered)  # a condition may use both names; the report has the full one
    full = {name: name for name in (*names(), *short)} | {own: name for name, own in short.items()}
    sampler, metric, part = _parts(match[1], text, full)
    try:
        bound = float(match[3])
    except ValueError:
        raise UsageError(f"{match[3]!r} in {printable.shown(text)} is not a number") from None
    named = HUMAN if sampler == HUMAN else _named(sampler, samplers)
    return Condition(text.strip(), named, metric, match[2], bound, part)


def conditions_of(texts: Iterable[str], document: Document) -> list[Condition]:
    """Parse conditions on a report that is there.

    Raises:
        UsageError: as for `condition`.
    """
    samplers = [(entry.sampler, entry.name) for entry in document.samplers]
    return [condition(text, samplers, plugin_metrics(document)) for text in texts]


def _reason(entry: Entry | None, metric: str, figure: Measurement | None) -> str:
    """Explain why a figure, or its interval, is missing."""
    if entry and entry.error:
        return entry.error.message
    if figure is not None:
        return "it has no interval"
    failed = ((entry and entry.failed_metrics) or {}).get(metric)
    return f"the metric failed: {failed}" if failed else "it was not measured"


def _parts(named: str, text: str, full_names: Mapping[str, str]) -> tuple[str, str, str]:
    """Split `sampler.metric.part` at the first point that a metric follows.

    Any part may itself contain points: `temperature(t=0.2).entropy.mean.difference.low`.
    """
    full = {f"{each}.{part}".rstrip("."): (each, part) for each in full_names for part in PARTS}
    for point in re.finditer(r"\.", named):
        if named[point.end() :] in full:
            metric, part = full[named[point.end() :]]
            return named[: point.start()].strip(), full_names[metric], part
    ends = "|".join(re.escape(part) for part in PARTS if part)
    word = re.sub(rf"(\.({ends}))+$", "", named).rpartition(".")[2]
    hint = printable.did_you_mean(word, full_names) or f"; the metrics are: {', '.join(full_names)}"
    raise UsageError(f"{printable.shown(text)} names no metric{hint}")


def _named(sampler: str, samplers: Sequence[tuple[str, str]]) -> str:
    """Return the expression of the entry that the condition names."""
    from corelm.runs import Strategy  # late: a report that is read again needs no arithmetic

    try:
        expression = str(Strategy.of(sampler))
    except CorelmError:
        # An entry of an earlier report, with a plugin that isn't installed here.
        expression = sampler
    every = [each for each, _ in samplers]
    exact = list(dict.fromkeys(each for each in every if each in (expression, sampler)))
    matches = exact or [each for each, name in samplers if name == sampler]
    if len(matches) == 1:
        return matches[0]
    fault = f"{len(matches)} rows; name one of them" if matches else "no row; name one of"
    raise UsageError(f"{printable.shown(sampler)} matches {fault}: {', '.join(matches or every)}")


def _entry(document: Document, sampler: str) -> Entry | None:
    """Return the entry of an expression, also of one that was matched."""
    if sampler == HUMAN:
        return document.human

    def names(entry: SamplerEntry) -> list[tuple[str, ...]]:
        at = entry.matched
        # A matched entry has other names before matching.
        asked = (at.open, f"{at.open} at {at.asked}") if at else ()
        return [(entry.sampler,), asked, (entry.name,)]

    ranks = (e for rank in range(3) for e in document.samplers if sampler in names(e)[rank])
    return next(ranks, None)
