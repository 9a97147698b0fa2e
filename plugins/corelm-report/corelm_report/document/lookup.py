"""Look up measured figures of an entry by name, for the gate, CSV and the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corelm_report.document.content import (
    Difference,
    Document,
    Entry,
    GeneratedTexts,
    Interval,
    TeacherForced,
)
from corelm_report.document.figure import HUMAN, MEAN, VIEWS
from corelm_report.document.figures import SUMMARY, names


@dataclass(frozen=True)
class Estimate:
    """One measured number.

    Attributes:
        view: the view it belongs to: `teacher_forced` or `generated_texts`.
        figure: the name of the figure, such as `loops` or `entropy.mean`.
        value: in nats if it is an entropy or a surprisal.
        low, high: its 95 % interval; None if there is none.
        n: the number of texts or positions behind it; None if that is unknown.
    """

    view: str
    figure: str
    value: float
    low: float | None
    high: float | None
    n: int | None

    @property
    def interval(self) -> Interval | None:
        """Both ends of the interval; None if there is none."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def estimates(entry: Entry) -> Iterator[Estimate]:
    """Yield every measured figure of an entry, in the order of the document."""
    for view in VIEWS:
        part = entry.part(view)
        if part is None:
            continue
        intervals = part.ci95
        values, used = part.figures, dict[str, int]()
        if isinstance(part, GeneratedTexts):
            used = part.texts_used
        if isinstance(part, TeacherForced):
            entropy = part.entropy
            values = {f"entropy.{each}": getattr(entropy, each) for each in SUMMARY} | values
            intervals = {**intervals, MEAN: entropy.ci95}
        for figure, value in values.items():
            # A later version may add keys with other content, which isn't a figure here.
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                low, high = intervals.get(figure) or (None, None)
                yield Estimate(view, figure, value, low, high, used.get(figure, part.n))


def estimate(entry: Entry, figure: str, view: str | None = None) -> Estimate | None:
    """Return a figure of an entry, or None if it was not measured.

    Args:
        entry: the entry of a sampler or of human text.
        figure: its name; `entropy` is short for `entropy.mean`.
        view: the view to look in; by default both, one after the other.
    """
    wanted = _full(figure)
    found = (e for e in estimates(entry) if e.figure == wanted and view in (None, e.view))
    return next(found, None)


def value(entry: Entry | None, figure: str, view: str) -> float | None:
    """Return the value of a figure, or None if it was not measured."""
    found = estimate(entry, figure, view) if entry else None
    return found.value if found else None


def spread(entry: Entry, figure: str) -> float | None:
    """Return the standard deviation of a figure of the texts over the seeds, if there are several.

    Example:
        >>> from corelm_report.document.content import GeneratedTexts, SamplerEntry, SeedSpread
        >>> by_seed = {"loops": SeedSpread(sd=0.25, values=[0.0, 0.5])}
        >>> texts = GeneratedTexts(by_seed=by_seed)
        >>> spread(SamplerEntry(sampler="greedy", generated_texts=texts), "loops")
        0.25
    """
    texts = entry.generated_texts
    found = ((texts and texts.by_seed) or {}).get(figure)
    return found.sd if found else None


def against(document: Document) -> str:
    """Return the name of the entry that a report's differences are relative to."""
    found = (entry.differences for entry in document.samplers if entry.differences)
    return next((each.against for each in found), HUMAN)


def difference(entry: Entry, figure: str, view: str) -> Estimate | None:
    """Return a figure's difference from the entry compared with, or None."""
    found = declared_difference(entry, figure, view)
    if not found or found.value is None:
        return None
    low, high = found.ci95 or (None, None)
    return Estimate(view, _full(figure), found.value, low, high, None)


def declared_difference(entry: Entry, figure: str, view: str) -> Difference | None:
    """Return the document's difference of a figure, with its p-value."""
    return entry.differences.of(view).get(_full(figure)) if entry.differences else None


def plugin_metrics(document: Document) -> dict[str, str]:
    """Return the metrics of plugins in a report: a mapping from full name to short name."""
    return short_names(each.name for each in document.header.metrics)


def short_names(full_names: Iterable[str]) -> dict[str, str]:
    """Map full names to the part after the colon, unless another figure has that name.

    Example:
        >>> short_names(["a:mtld", "b:mtld", "a:loops", "a:mattr"])
        {'a:mtld': 'a:mtld', 'b:mtld': 'b:mtld', 'a:loops': 'a:loops', 'a:mattr': 'mattr'}
    """
    short = {name: name.partition(":")[2] for name in full_names}
    uses = Counter([*short.values(), *names()])
    return {name: own if uses[own] == 1 else name for name, own in short.items()}


def _full(figure: str) -> str:
    return MEAN if figure == "entropy" else figure
