"""The two tables of a report's page: their columns, and what stands in each cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.report.document.lookup import Figure, figure
from corelm.report.document.numbers import number, share
from corelm.report.render.plots.charts import value

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"

SAME = "same_contexts"
Row = Mapping[str, Any]
Form = Callable[[float], str]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: what stands over it.
        metric: the figure in it.
        form: how that is written.
        instead: the figure of the human row that it is compared with, where that is another one.
        alone: whether a difference to the human row says nothing new, or there can be none.
        between: the two figures that stand below instead of the 95 % interval.
    """

    title: str
    metric: str
    form: Form = number
    instead: str = ""
    alone: bool = False
    between: tuple[str, str] | None = None


@dataclass(frozen=True)
class Cell:
    """What stands in one cell: a figure, its interval, how far it is from the human one."""

    title: str
    text: str = ""
    interval: str = ""
    difference: str = ""


@dataclass(frozen=True)
class RangeStrip:
    """A figure drawn on a scale, in percent of its length: the mean, and nine tenths of all."""

    at: float
    low: float
    high: float
    human: float | None


@dataclass(frozen=True)
class Line:
    """One row of a table: a sampler or people, and its cells, or the reason that it has none."""

    name: str
    human: bool = False
    error: str = ""
    n: str = ""
    strip: RangeStrip | None = None
    cells: Sequence[Cell] = ()


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)


def _count(value: float) -> str:
    if value >= 1e6:
        return number(value)
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"


SAME_CONTEXTS = (
    Column("entropy", "entropy"),
    Column("bits", "entropy", lambda nats: number(bits(nats)), alone=True),
    Column("median", "entropy.median", alone=True, between=("entropy.p05", "entropy.p95")),
    Column("choices", "entropy", lambda nats: _count(math.exp(min(nats, 700))), alone=True),
    Column("KL to model", "kl_to_model", alone=True),
    Column("mass kept", "mass_kept", share, alone=True),
    Column("tokens kept", "tokens_kept", _count, alone=True),
    Column("surprisal", "expected_surprisal", instead="surprisal"),
    Column("top 1", "top_probability", share, alone=True),
)
LIKELIHOOD_AND_REPETITION = (
    Column("surprisal", "surprisal"),
    Column("perplexity", "perplexity", _count),
    Column("outside band", "outside_human_band", share),
    Column("drift", "entropy_drift", lambda nats: number(100 * nats)),
    Column("rep-2", "rep_2", share),
    Column("rep-3", "rep_3", share),
    Column("rep-4", "rep_4", share),
    Column("diversity", "diversity", share),
    Column("loops", "loops", share),
)
VARIETY = (
    Column("distinct-1", "distinct_1", share),
    Column("distinct-2", "distinct_2", share),
    Column("distinct-3", "distinct_3", share),
    Column("self-BLEU-4", "self_bleu_4"),
    Column("Zipf", "zipf"),
    Column("compression", "compression"),
    Column("[UNK]", "unknown", share),
)


def lines(document: Row, view: str, columns: Sequence[Column]) -> Iterator[Line]:
    """The rows of a table, the human one first."""
    reference = document["reference"]
    if reference:
        yield _line("human text", reference, document, view, columns)
    for row in document["samplers"]:
        if row["error"]:
            reason = f"{row['error']['type']}: {row['error']['message']}"
            yield Line(row["sampler"], error=reason)
        else:
            yield _line(row["sampler"], row, document, view, columns)


def _line(name: str, row: Row, document: Row, view: str, columns: Sequence[Column]) -> Line:
    human = document["reference"]
    n = (row[view] or {}).get("n")
    return Line(
        name,
        human=row is human,
        n="" if n is None else f"{n:,}",
        strip=_strip(row, human, document["bounds"]["max"]) if view == SAME else None,
        cells=[_cell(column, row, human, view) for column in columns],
    )


def _cell(column: Column, row: Row, human: Row | None, view: str) -> Cell:
    is_human = row is human
    found = _of(column, row, view, is_human)
    if found is None:
        return Cell(column.title)
    low, high = _ends(column, found, row, view)
    between = "" if low is None or high is None else _interval(column.form, low, high)
    other = None if is_human or column.alone or human is None else _of(column, human, view, True)
    difference = _difference(column.form, found.value - other.value) if other else ""
    return Cell(column.title, column.form(found.value).replace("-", MINUS), between, difference)


def _ends(column: Column, found: Figure, row: Row, view: str) -> tuple[float | None, float | None]:
    """What stands below a figure: its 95 % interval, unless the column wants something else."""
    if column.between is None:
        return found.low, found.high
    low, high = column.between
    return value(row, low, view), value(row, high, view)


def _interval(form: Form, low: float, high: float) -> str:
    """An interval; nothing where it is narrower than the digits that are shown.

    Example:
        >>> _interval(number, 1.0, 1.001), _interval(number, -1.0, 1.0).replace(MINUS, "-")
        ('', '-1.00 to 1.00')
        >>> _interval(share, 0.25, 0.5).split(DASH)
        ['25.0', '50.0%']
    """
    first, last = form(low), form(high)
    if first == last:
        return ""
    if low < 0:
        return f"{first} to {last}".replace("-", MINUS)
    return f"{first.removesuffix('%') if last.endswith('%') else first}{DASH}{last}"


def _of(column: Column, row: Row, view: str, human: bool) -> Figure | None:
    return figure(row, (human and column.instead) or column.metric, view)


def _difference(form: Form, difference: float) -> str:
    """A difference with its sign, that of shares in percentage points.

    Example:
        >>> _difference(number, 0.5), _difference(share, 0.25), _difference(number, 0.0)
        ('+0.50', '+25.0 pp', '0.00')
    """
    text = form(abs(difference))
    if not any(digit in text for digit in "123456789"):
        return text
    sign = MINUS if difference < 0 else "+"
    return f"{sign}{text.removesuffix('%')} pp" if text.endswith("%") else f"{sign}{text}"


def _strip(row: Row, human: Row | None, greatest: float) -> RangeStrip | None:
    mean, *ends = (value(row, f"entropy.{name}", SAME) for name in ("mean", "p05", "p95"))
    if mean is None:
        return None
    low, high = (_place(mean if end is None else end, greatest) for end in ends)
    person = value(human, "entropy", SAME)
    return RangeStrip(
        _place(mean, greatest), low, high, None if person is None else _place(person, greatest)
    )


def _place(entropy: float, greatest: float) -> float:
    """Where an entropy lies between 0 and the largest, in percent."""
    return round(min(max(100 * entropy / (greatest or 1), 0), 100), 1)
