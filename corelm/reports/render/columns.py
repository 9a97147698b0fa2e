"""The columns of every table of a report: terminal, Markdown, notebook and page.

To add a figure to the report:

1. Measure it: return it under a key of its own from `on_contexts.summary` or
   `generated_texts.summary`, with its interval under the same key of `ci95`.
2. Name the key in `document/schema.json`. JSON, CSV, pandas and `--fail-if` then have it.
3. Add one `Column` to `COLUMNS`. The page has it then; with a `priority`, so do the terminal,
   Markdown and notebooks.
4. Define it in `definitions.py`: its formula, its unit, and what it says.

A plugin adds a figure of texts through the hook `corelm_metrics`, and gets its column by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from corelm.reports.document.lookup import (
    GENERATED,
    HUMAN,
    TEACHER_FORCED,
    Figure,
    against,
    difference,
    figure,
    plugin_metrics,
    rows,
    spread,
)
from corelm.reports.document.matched import in_short
from corelm.reports.document.numbers import number, share
from corelm.reports.render.format import (
    MINUS,
    Format,
    choices,
    count,
    in_bits,
    interval,
    per_hundred,
    signed,
)
from corelm.toolkit import one_line

NOTHING = "-"
"""The text of a cell whose figure was not measured."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of the tables.

    Attributes:
        table: the table of the page that has it.
        title: its heading.
        metric: its figure, as `lookup.figure` takes it.
        form: the format of its numbers.
        meaning: its definition in a few words; only columns of the overview need one.
        priority: its place among the columns of the overview when there is not room for all,
            1 for the most important; 0 keeps it out of the overview.
        difference: the same for the column behind it, which has the difference from human text,
            or from the sampler that the report compares with.
        human_metric: the figure of the human row, if it has another name.
        compared: whether the page shows the difference. It says nothing new where the figure
            follows from another one.
        between: two figures that the page shows instead of the 95 % interval.
        text: the function from a row to the text of its cell, for a column without a figure.
    """

    table: Table
    title: str
    metric: str
    form: Format = number
    meaning: str = ""
    priority: int = 0
    difference: int = 0
    human_metric: str = ""
    compared: bool = True
    between: tuple[str, str] | None = None
    text: Callable[[Row], str] | None = None

    @property
    def view(self) -> str:
        """The part of the document that holds its figure."""
        return self.table.view


@dataclass(frozen=True)
class Table:
    """A table of the page and the part of the document that it shows."""

    name: str
    view: str


ENTROPY = Table("entropy", TEACHER_FORCED)
LIKELIHOOD = Table("likelihood_and_repetition", GENERATED)
VARIETY = Table("variety", GENERATED)

COLUMNS = (
    Column(
        ENTROPY, "entropy", "entropy", priority=1, difference=2,
        meaning="how random the next token is, in nats (1 nat = 1.44 bits)",
    ),
    Column(ENTROPY, "bits", "entropy", in_bits, compared=False),
    Column(
        ENTROPY, "median", "entropy.median", compared=False,
        between=("entropy.p05", "entropy.p95"),
    ),
    Column(ENTROPY, "choices", "entropy", choices, compared=False),
    Column(ENTROPY, "KL to model", "kl_to_model", compared=False),
    Column(ENTROPY, "TV", "total_variation", share, compared=False),
    Column(ENTROPY, "JS", "jensen_shannon", compared=False),
    Column(
        ENTROPY, "mass kept", "mass_kept", share, priority=8, compared=False,
        meaning="the model's probability of the tokens that can still be drawn",
    ),
    Column(ENTROPY, "human recall", "human_recall", share, compared=False),
    Column(ENTROPY, "tokens kept", "tokens_kept", count, compared=False),
    Column(ENTROPY, "expected surprisal", "expected_surprisal", human_metric="surprisal"),
    Column(ENTROPY, "varentropy", "varentropy", compared=False),
    Column(ENTROPY, "top 1", "top_probability", share, compared=False),
    Column(
        LIKELIHOOD, "surprisal", "surprisal", priority=4, difference=9,
        meaning="how unexpected the tokens written are to the model, -ln p in nats",
    ),
    Column(LIKELIHOOD, "perplexity", "perplexity", count),
    Column(LIKELIHOOD, "bits/byte", "bits_per_byte"),
    Column(
        LIKELIHOOD, "scorer", "scorer_bits_per_byte", priority=4,
        meaning="how unexpected the texts are to the second scorer, in bits per byte of text",
    ),
    Column(LIKELIHOOD, "scorer surprisal", "scorer_surprisal"),
    Column(LIKELIHOOD, "outside band", "outside_human_band", share),
    Column(LIKELIHOOD, "drift", "entropy_drift", per_hundred),
    Column(LIKELIHOOD, "rep-2", "rep_2", share),
    Column(LIKELIHOOD, "rep-3", "rep_3", share),
    Column(
        LIKELIHOOD, "rep-4", "rep_4", share, priority=6,
        meaning="the share of phrases of four tokens that repeat an earlier one",
    ),
    Column(LIKELIHOOD, "diversity", "diversity", share),
    Column(
        LIKELIHOOD, "loops", "loops", share, priority=5,
        meaning="the share of texts that end by repeating one phrase",
    ),
    Column(LIKELIHOOD, "constraint", "constraint_cost", compared=False),
    Column(
        LIKELIHOOD, "model calls", "model_calls", priority=7, compared=False,
        meaning="calls of the model for each token of a text written alone",
    ),
    Column(
        LIKELIHOOD, "tokens read", "tokens_read", priority=4, compared=False,
        meaning="tokens that the model read for each token written",
    ),
    Column(VARIETY, "distinct-1", "distinct_1", share),
    Column(
        VARIETY, "distinct-2", "distinct_2", share, priority=7,
        meaning="the share of pairs of tokens that are different",
    ),
    Column(VARIETY, "distinct-3", "distinct_3", share),
    Column(VARIETY, "self-BLEU-4", "self_bleu_4"),
    Column(VARIETY, "Zipf", "zipf"),
    Column(VARIETY, "compression", "compression"),
    Column(VARIETY, "[UNK]", "unknown", share),
)  # fmt: skip
MATCHED = Column(
    ENTROPY, "matched to", "", compared=False, text=in_short, priority=9,
    meaning="what its open parameter was chosen for",
)  # fmt: skip
"""The column of matched rows; where they were matched to different targets, it comes first."""
LAST = 10
"""More than the priority of any column."""
ASKED_FOR = 4
"""The priority of the metrics of plugins, which are there because somebody asked for them."""
BARS = 3
"""The priority of the bars that the terminal draws next to the entropies."""


def all_columns(document: Row) -> tuple[Column, ...]:
    """Return the columns of the tables: corelm's own, and one for each metric of a plugin."""
    offered = document["header"].get("metrics", ())
    names = plugin_metrics(document)
    titles = {column.title for column in COLUMNS}
    of_plugins = [
        Column(
            VARIETY,
            one_line(each["name"] if names[each["name"]] in titles else names[each["name"]]),
            each["name"],
            priority=ASKED_FOR,
            meaning=one_line(each["meaning"]),
        )
        for each in offered
    ]
    return (*_matched(document), *COLUMNS, *of_plugins)


def _matched(document: Row) -> tuple[Column, ...]:
    """The column of the targets, if there are any."""
    targets = {in_short(row) for row in document["samplers"]} - {""}
    return (replace(MATCHED, priority=1) if len(targets) > 1 else MATCHED,) if targets else ()


def columns_of(table: Table, document: Row) -> tuple[Column, ...]:
    """Return the columns of a table of the page."""
    return tuple(column for column in all_columns(document) if column.table is table)


@dataclass(frozen=True)
class OverviewColumn:
    """A column of the overview: the figures of a column, or their differences from another row.

    Attributes:
        column: the column.
        against: the row that the differences are from; empty for the figures themselves.
        with_interval: show the 95 % interval behind each number.
    """

    column: Column
    against: str = ""
    with_interval: bool = False

    @property
    def title(self) -> str:
        """Its heading."""
        if not self.against:
            return self.column.title
        return "to human" if self.against == HUMAN else "difference"

    @property
    def priority(self) -> int:
        """Its place among the columns when there is not room for all; 1 is the first."""
        if not self.against:
            return self.column.priority
        # People are what one compares with first; another sampler is there to look up.
        return self.column.difference + (0 if self.against == HUMAN else LAST)

    def cell(self, row: Row) -> str:
        """Return the text of its cell in a row."""
        column = self.column
        if column.text is not None:
            return column.text(row) or NOTHING
        lookup = difference if self.against else figure
        found = lookup(row, column.metric, column.view)
        if found is None:
            return NOTHING
        if not self.against:
            return self._with_interval(column.form(found.value), found, spread_text(column, row))
        return self._with_interval(signed(column.form, found.value, minus="-"), found)

    def _with_interval(self, text: str, found: Figure, spread_of: str = "") -> str:
        if not self.with_interval or found.low is None or found.high is None:
            return text
        ends = interval(self.column.form, found.low, found.high).replace(MINUS, "-")
        inside = ", ".join(filter(None, (ends, spread_of)))
        return f"{text} ({inside})" if inside else text


def spread_text(column: Column, row: Row) -> str:
    """Return the standard deviation of a figure over the seeds in words; empty if it has none."""
    found = spread(row, column.metric) if column.view == GENERATED else None
    return "" if found is None else f"sd {column.form(found)} over seeds"


def overview_columns(document: Row, intervals: bool = False) -> list[OverviewColumn]:
    """Return the columns of the overview, without figures that no row has.

    Args:
        document: the report.
        intervals: show the 95 % intervals.
    """
    chosen: list[OverviewColumn] = []
    compared = any(row.get("differences") for row in document["samplers"])
    measured = [row for _, row in rows(document)]
    for column in all_columns(document):
        found = any(figure(row, column.metric, column.view) for row in measured)
        if measured and not found and column.text is None:
            continue
        if column.priority:
            chosen.append(OverviewColumn(column, with_interval=intervals))
        if column.difference and compared:
            chosen.append(OverviewColumn(column, against(document), intervals))
    return chosen


def overview(document: Row, intervals: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the cells of each row, the human row first, without those that failed."""
    columns = overview_columns(document, intervals)
    for name, row in rows(document):
        yield name, [column.cell(row) for column in columns]
