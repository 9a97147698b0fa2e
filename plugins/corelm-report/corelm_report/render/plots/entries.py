"""The samplers of a report as its plots show them: their labels, sweeps and intervals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from corelm.runs import printable
from corelm_report.document.content import Document, Entry, SamplerEntry
from corelm_report.document.figure import TEACHER_FORCED, visible
from corelm_report.document.lookup import estimate, value

Point = tuple[float, float]
Labelled = tuple[str, SamplerEntry]

ALL = 0.9995
"""A sampler that keeps at least this mass counts as keeping all of it."""
LONGEST = 24
"""The length of a label in characters; the table of the report has the whole expression."""

_ONE_PARAMETER = re.compile(r"(\w+)\((\w+)=([^()\[\]{},='\"|]*)\)")


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep of one parameter that were measured.

    Attributes:
        label: its expression, shortened.
        parameter: the name of the parameter that varies.
        entries: the label and the entry of each setting, in the order of their values.
        values: the values of the parameter.
    """

    label: str
    parameter: str
    entries: Sequence[Labelled]
    values: Sequence[float]


def named(document: Document) -> list[Labelled]:
    """Return the samplers that did not fail, each with its label."""
    pairs = zip(labels(document.samplers), document.samplers, strict=True)
    return [(label, entry) for label, entry in pairs if not entry.error]


def sweeps(document: Document) -> list[Sweep]:
    """Return the sweeps with at least two settings that did not fail."""
    members: dict[str, list[Labelled]] = {}
    for label, entry in named(document):
        if entry.sweep:
            members.setdefault(entry.sweep, []).append((label, entry))
    return [found for text, some in members.items() if (found := _sweep(text, some))]


def _sweep(expression: str, entries: Sequence[Labelled]) -> Sweep | None:
    """Return the entries as a sweep; None unless they differ in exactly one number."""
    numbers = [_numbers(entry) for _, entry in entries]
    differing = [key for key in numbers[0] if len({each.get(key) for each in numbers}) > 1]
    if len(differing) != 1 or not all(differing[0] in each for each in numbers):
        return None
    values = [each[differing[0]] for each in numbers]
    order = sorted(range(len(entries)), key=values.__getitem__)
    return Sweep(
        shortened(expression),
        differing[0][1],
        [entries[i] for i in order],
        [values[i] for i in order],
    )


def _numbers(entry: SamplerEntry) -> dict[tuple[int, str], float]:
    """Return the numeric parameters by the index of their stage and their name."""
    return {
        (place, name): value
        for place, stage in enumerate(entry.parts)
        for name, value in stage.params.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def ends_of_sweeps(document: Document, names: Iterable[str]) -> list[str]:
    """Return the names to show in a plot: of each sweep only the first and the last setting."""
    hidden = {label for sweep in sweeps(document) for label, _ in sweep.entries[1:-1]}
    return [name for name in names if name not in hidden]


def point_of(entry: Entry | None, across: str, up: str, view: str) -> Point | None:
    """Return two figures of an entry as a point, or None if one of them was not measured."""
    x, y = (value(entry, figure, view) for figure in (across, up))
    return None if x is None or y is None else (x, y)


def ends_of(entry: Entry, figure: str, view: str) -> Point | None:
    """Return the 95 % interval of a figure, or None if it has none."""
    found = estimate(entry, figure, view)
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def name_of_rest(rest: Sequence[str], others: bool) -> str:
    """Return the name of a line or a mark that several samplers share.

    Args:
        rest: the labels of the samplers that share it.
        others: True if other samplers have lines or marks of their own.
    """
    if len(rest) == 1:
        return rest[0]
    return "all others" if others else "all samplers"


def mass(entry: Entry) -> float | None:
    """Return the mean mass that a sampler keeps, if it was measured."""
    return value(entry, "mass_kept", TEACHER_FORCED)


def shortened(expression: str, temperatures: Collection[str] = ()) -> str:
    """Shorten an expression to a label.

    A sampler with one parameter is written without parentheses, a temperature without its name: `t
    = 0.7`. A long expression is written without parameter names.

    Args:
        expression: a sampler or a chain.
        temperatures: the names of the samplers in it that are temperatures.

    Example:
        >>> shortened("top_p(p=0.9) | temperature(t=0.7)", ["temperature"])
        'top_p 0.9 | t = 0.7'
        >>> shortened("typical(p=0.9) | repetition_penalty(penalty=1.2)")
        'typical 0.9 | repetitio…'
        >>> shortened("beam(width=4, length_penalty=1.0)")
        'beam(4, 1.0)'
    """

    def short(match: re.Match[str]) -> str:
        name, parameter, value = match.groups()
        return f"{parameter} = {value}" if name in temperatures else f"{name} {value}"

    text = _ONE_PARAMETER.sub(short, printable.one_line(visible(expression)))
    if len(text) > LONGEST:
        text = re.sub(r"\b\w+=(?=[\d.-]+[,)])", "", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def labels(entries: Sequence[SamplerEntry]) -> list[str]:
    """Return a label for each sampler of a report; equal labels are numbered.

    Example:
        >>> labels([SamplerEntry(sampler=text) for text in ("greedy", "top_k(k=5)", "greedy")])
        ['greedy (1)', 'top_k 5', 'greedy (3)']
    """
    short = [shortened(entry.sampler, _temperatures(entry)) for entry in entries]
    count = Counter(short)
    return [
        f"{text} ({number})" if count[text] > 1 else text for number, text in enumerate(short, 1)
    ]


def _temperatures(entry: SamplerEntry) -> set[str]:
    """Return the names of the stages that declare themselves as temperatures."""
    return {stage.name for stage in entry.stages if stage.kind == "temperature"}
