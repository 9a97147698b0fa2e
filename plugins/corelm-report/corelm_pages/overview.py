"""The overview of a report: the columns of its tables, and the sentences below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from corelm.runs import printable
from corelm_pages.formats import FORMATS, number, over_seeds, quoted, with_interval
from corelm_pages.verdict import remarks
from corelm_report.document.content import Document, Entry, MatchedTo
from corelm_report.document.figures import (
    ENTROPY,
    FIGURES,
    GENERATED,
    HUMAN,
    HUMAN_HALVES,
    NATS,
    SHARE,
    TEACHER_FORCED,
    VARIETY,
    Figure,
)
from corelm_report.document.lookup import (
    MATCHED,
    against,
    difference,
    estimate,
    listed,
    plugin_metrics,
    share,
    spread,
)
from corelm_report.document.parts import Header

NOTHING = "-"
"""The text of a cell whose figure was not measured."""
SMALL = 0.1
"""A target below this needs more than two decimals."""
LAST = 10
"""A number greater than any column's priority."""
ASKED_FOR = 4
"""The priority of plugin metrics, which the user requested."""
BARS = 3
"""The priority of the terminal's entropy bars."""
TARGET = Figure(
    name="matched", view=TEACHER_FORCED, table=ENTROPY, title="matched to", compared=False,
    text="The target that the open parameter of the sampler was chosen for.",
    meaning="what its open parameter was chosen for", priority=9,
)  # fmt: skip
"""The column of targets; if samplers were matched to different ones, it comes first."""


def all_columns(document: Document) -> list[Figure]:
    """Return the figures that have a column: corelm's own, and the metrics of plugins."""
    matched = {entry.matched and in_short(entry.matched) for entry in document.samplers} - {None}
    columns = [replace(TARGET, priority=1) if len(matched) > 1 else TARGET] if matched else []
    return [*columns, *(each for each in FIGURES if each.table), *_offered(document)]


def _offered(document: Document) -> Iterator[Figure]:
    """Yield a declaration for each metric of a plugin in a report."""
    short = plugin_metrics(document)
    titles = {figure.title for figure in FIGURES}
    for each in document.header.metrics:
        version = f", version {each.version}" if each.version else ""
        yield Figure(
            name=each.name,
            view=GENERATED,
            table=VARIETY,
            title=printable.one_line(each.name if short[each.name] in titles else short[each.name]),
            text=f"{each.meaning}: a metric of a plugin{version}.",
            meaning=printable.one_line(each.meaning),
            priority=ASKED_FOR,
        )


def in_short(match: MatchedTo) -> str:
    """Format a sampler's target for a table cell.

    Example:
        >>> in_short(MatchedTo(open="top_p", figure="human_recall", asked="", target=0.95))
        'human recall 95.0%'
    """
    words = match.figure.removeprefix("expected_").replace("_", " ")
    return f"{words} {amount(match.figure, match.target)}"


def amount(figure: str, value: float) -> str:
    """Format the value of a matched figure, without its unit."""
    if figure in MATCHED and MATCHED[figure].unit == SHARE:
        return share(value)
    return number(value) if value == 0 or value >= SMALL else f"{value:.3g}"


@dataclass(frozen=True)
class OverviewColumn:
    """A column of the overview: a figure, or its differences from the entry compared with.

    Attributes:
        figure: the figure.
        against: the entry that the differences are relative to; empty for the figure itself.
        with_interval: show the 95 % interval behind each number.
        with_spread: show the standard deviation over several seeds behind the interval.
    """

    figure: Figure
    against: str = ""
    with_interval: bool = False
    with_spread: bool = True

    @property
    def title(self) -> str:
        """Its heading."""
        if not self.against:
            return self.figure.title
        return "to human" if self.against == HUMAN else "difference"

    @property
    def priority(self) -> int:
        """Its priority if there isn't room for all columns; 1 is the highest."""
        if not self.against:
            return self.figure.priority
        # Differences from human text matter more to readers than differences from a sampler.
        return self.figure.difference + (0 if self.against == HUMAN else LAST)

    def cell(self, entry: Entry) -> str:
        """Return the text of its cell for an entry."""
        figure = self.figure
        if figure.name == TARGET.name:
            return in_short(entry.matched) if entry.matched else NOTHING
        if self.against and entry.differences and entry.differences.against != self.against:
            return NOTHING  # one half of the human texts differs from the other half alone
        lookup = difference if self.against else estimate
        measured = lookup(entry, figure.looked_up, figure.view)
        if measured is None:
            return NOTHING
        form, both = FORMATS[figure.form], (measured.low, measured.high)
        text, ends = with_interval(form, measured.value, both, difference=bool(self.against))
        if not self.with_interval or None in both:
            return text
        spread_of = ""
        if self.with_spread and not self.against:
            spread_of = over_seeds(figure.form, spread(entry, figure))
        inside = ", ".join(filter(None, (ends, spread_of)))
        return f"{text} ({inside})" if inside else text


def overview_columns(document: Document, intervals: bool = False) -> list[OverviewColumn]:
    """Return the columns of the overview, without figures that no entry has.

    Args:
        document: the report.
        intervals: show the 95 % intervals.
    """
    chosen: list[OverviewColumn] = []
    measured = document.entries
    for figure in all_columns(document):
        any_value = any(estimate(entry, figure.looked_up, figure.view) for entry in measured)
        if measured and not any_value and figure.name != TARGET.name:
            continue
        if figure.priority:
            chosen.append(OverviewColumn(figure, with_interval=intervals))
        # Not if only one half of the human text is compared, with the other.
        if figure.difference and any(
            difference(entry, figure.looked_up, figure.view) for entry in document.samplers
        ):
            chosen.append(OverviewColumn(figure, against(document), intervals))
    return chosen


def overview(document: Document, intervals: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the cells of each entry, the human one first, but no failed sampler."""
    columns = overview_columns(document, intervals)
    for entry in document.entries:
        yield entry.label, [column.cell(entry) for column in columns]


PROMPTS = 3
"""The most prompts that are quoted."""


def failures(document: Document) -> list[tuple[str, str]]:
    """Return the samplers and the metrics that failed, with the reasons."""
    failed = [(each.sampler, each.error.message) for each in document.samplers if each.error]
    # A sampler's own message begins with its name.
    reasons = [(name, why.removeprefix(f"{name} failed ")) for name, why in failed]
    return reasons + failed_metrics(document)


def failed_metrics(document: Document) -> list[tuple[str, str]]:
    """Return the metrics of plugins that failed, as `SAMPLER.METRIC`, each with the reason."""
    return [
        (f"{entry.label}.{metric}", reason)
        for entry in document.entries
        for metric, reason in (entry.failed_metrics or {}).items()
    ]


def method(document: Document, columns: Sequence[OverviewColumn]) -> str:
    """Describe how the columns of a table were measured, in a few sentences."""
    header = document.header
    contexts = header.contexts
    n = header.drawn
    on_contexts, on_texts = _titles(columns)
    parts = []
    if on_contexts:
        parts.append(
            f"{on_contexts}: means over the same "
            f"{printable.counted(contexts.positions, 'position')} "
            f"of {printable.counted(contexts.texts, 'text')} ({contexts.description})."
        )
    if on_texts:
        parts.append(
            f"{on_texts}: from {printable.counted(n, 'text')} of at most "
            f"{printable.counted(header.length, 'token')} that each sampler wrote, "
            f"{_prompts(header)}, {seeds(header)}{_units(document, n)}."
        )
    # Deterministic decoders.
    texts = {entry.sampler: entry.generated_texts for entry in document.samplers}
    fewer = [name for name, each in texts.items() if each and each.n == len(header.prompts) < n]
    if on_texts and fewer:
        parts.append(
            f"{listed(fewer)} wrote one text for each prompt, since nothing is drawn at random."
        )
    if document.human_halves and any(each.against == HUMAN for each in columns):
        parts.append(f"{HUMAN_HALVES.capitalize()}: one half of the texts minus the other half.")
    if header.until:
        parts.append(f"The report grew until its condition held or it was whole. {header.until}.")
    if matched := targets(document):
        parts.append(f"Open parameters were matched to {matched}.")
    for name, value in (header.settings or {}).items():
        text = "yes" if value is True else value
        parts.append(f"{name.replace('_', ' ').capitalize()}: {text}.")
    parts.append(f"Model: {header.model.name}.")
    if header.second_scorer:
        parts.append(f"Second scorer: {header.second_scorer.name}.")
    return " ".join([*parts, *remarks(document)])


def _prompts(header: Header) -> str:
    """Name the prompts, or their source if the report chose them."""
    if header.beginnings:
        return f"after {printable.counted(len(header.prompts), 'beginning')} {header.beginnings}"
    prompts = [*map(quoted, header.prompts[:PROMPTS])]
    more = len(header.prompts) - PROMPTS
    prompt = "prompt" if len(header.prompts) == 1 else "prompts"
    return f"{prompt} {listed([*prompts, f'{more} more'] if more > 0 else prompts)}"


def _units(document: Document, n: int) -> str:
    """Return the number of independent units as a clause, if they are fewer than the texts."""
    texts = (entry.generated_texts for entry in document.samplers)
    most = max((each.units or 0 for each in texts if each), default=0)
    units = printable.counted(most, "independent unit")
    return f", {units} for intervals" if 0 < most < n else ""


def seeds(header: Header) -> str:
    """Name the random seeds, such as "seed 1" or "seeds 1, 2 and 7"."""
    several = header.seeds or [header.seed]
    return f"seed{'s' if len(several) > 1 else ''} {listed([*map(str, several)])}"


def targets(document: Document) -> str:
    """Describe the targets of matching; return "" if nothing was matched."""
    return listed([in_words(each.figure, each.target) for each in document.header.matched])


def in_words(figure: str, value: float) -> str:
    """Describe the value of a figure.

    Example:
        >>> in_words("entropy", 3.0), in_words("mass_kept", 0.9)
        ('a mean entropy of 3.00 nats', 'a mean mass kept of 90.0%')
    """
    declared = MATCHED.get(figure)
    words, unit = (declared.matched, declared.unit) if declared else (figure, "")
    return f"a {words} of {amount(figure, value)}{f' {unit}' if unit.startswith(NATS) else ''}"


def _titles(columns: Sequence[OverviewColumn]) -> tuple[str, str]:
    """Join the titles of the columns, by view: teacher-forced, generated texts."""
    views: dict[bool, list[str]] = {True: [], False: []}
    for each in columns:
        if not each.against and each.figure.name != TARGET.name:
            views[each.figure.view == TEACHER_FORCED].append(each.title)
    first, second = map(listed, views.values())
    return first[:1].upper() + first[1:], second[:1].upper() + second[1:]


def legend(columns: Sequence[OverviewColumn]) -> str:
    """Define the columns of a table in one paragraph."""
    meanings = {each.title: each.figure.meaning for each in columns if not each.against}
    for each in columns:
        if each.against:
            of = "human text" if each.against == HUMAN else each.against
            meanings[each.title] = f"the difference from {of}"
    return f"{'; '.join(f'{title}: {meaning}' for title, meaning in meanings.items())}."
