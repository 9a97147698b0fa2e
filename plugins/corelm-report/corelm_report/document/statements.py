"""The statements of a report about all of its rows at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from corelm_report.document.parts import Count, DocumentPart, Interval


@dataclass(kw_only=True)
class Simultaneous(DocumentPart):
    """A figure of a row, or a difference, with an interval.

    The intervals of all rows hold the truth simultaneously in 99 of 100 reports.
    """

    sampler: str
    figure: str
    value: float
    interval: Interval | None


@dataclass(kw_only=True)
class Best(DocumentPart):
    """The setting of a sampler that is closest to human text, corrected for the choice."""

    name: str
    tried: Count
    sampler: str
    figure: str
    target: float
    corrected: float
    ci95: Interval | None


@dataclass(kw_only=True)
class Front(DocumentPart):
    """The entries that no other entry beats in two figures at once."""

    view: str
    larger: str
    smaller: str
    entries: list[str] = field(metadata={"key": "rows"})
