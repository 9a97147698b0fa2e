"""Runs of neighbouring settings in a sweep, which sentences name together: t = 1.3 to 2.0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from corelm_report.document.content import SamplerEntry
from corelm_report.document.numbers import Format

DIGITS = 7
"""The longest number at the end of a run of settings, in characters."""
SHORTEST = 3
"""The fewest neighbouring settings that a sentence names as one run, `t = 1.3 to 2.0`."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")


@dataclass(frozen=True)
class Run:
    """Entries named together in a sentence: neighbouring settings, or a single entry."""

    name: str
    entries: Sequence[SamplerEntry]


def runs(among: Sequence[SamplerEntry], chosen: Sequence[SamplerEntry]) -> list[Run]:
    """Group chosen entries into runs, each at the place of its first entry.

    Entries are neighbours if they differ in one number, and no setting of `among` that was not
    chosen has a number between theirs.

    Example:
        >>> every = [SamplerEntry(sampler=f"temperature(t={t})") for t in (0.5, 1.0, 1.5, 2.0)]
        >>> [run.name for run in runs(every, every[1:])]
        ['temperature(t=1.0 to 2.0)']
        >>> [run.name for run in runs(every, every[2:])]
        ['temperature(t=1.5)', 'temperature(t=2.0)']
    """
    names = {entry.sampler for entry in chosen}
    found: list[Run] = []
    taken: set[str] = set()
    for entry in chosen:
        if entry.sampler not in taken:
            together = _neighbours(_settings(among, entry), names, entry)
            found.append(Run(_name_of_run(together), together))
            taken |= {each.sampler for each in together}
    return found


def span(form: Format, values: Sequence[float]) -> str:
    """Format the range of the values of a run, or its only value.

    Example:
        >>> span(str, [3.0, 1.0, 2.0]), span(str, [3.0])
        ('1.0 to 3.0', '3.0')
    """
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def _settings(among: Sequence[SamplerEntry], entry: SamplerEntry) -> list[SamplerEntry]:
    """Return the entries that differ from `entry` in a single number, sorted by that number."""
    alike = [each for each in among if _words(each) == _words(entry)]
    numbers = [_numbers(each) for each in alike]
    differing = [place for place, some in enumerate(zip(*numbers, strict=True)) if len({*some}) > 1]
    if len(differing) != 1:
        return [entry]
    return sorted(alike, key=lambda each: float(_numbers(each)[differing[0]]))


def _neighbours(
    settings: Sequence[SamplerEntry], names: set[str], entry: SamplerEntry
) -> list[SamplerEntry]:
    """Return the run of chosen settings around an entry; the entry alone in a short run."""
    first = last = next(i for i, each in enumerate(settings) if each.sampler == entry.sampler)
    while first > 0 and settings[first - 1].sampler in names:
        first -= 1
    while last + 1 < len(settings) and settings[last + 1].sampler in names:
        last += 1
    run = list(settings[first : last + 1])
    return run if len(run) >= SHORTEST else [entry]


def _name_of_run(run: Sequence[SamplerEntry]) -> str:
    """Return the first setting's expression, with the range in place of its number."""
    first, last = run[0].sampler, run[-1].sampler
    ends = zip(_NUMBER.findall(first), _NUMBER.findall(last), strict=True)
    texts = iter([low if low == high else f"{_short(low)} to {_short(high)}" for low, high in ends])
    return _NUMBER.sub(lambda _: next(texts), first)


def _short(digits: str) -> str:
    """Return a setting's number without digits that are only rounding errors."""
    return digits if len(digits) <= DIGITS else f"{float(digits):.{DIGITS - 1}g}"


def _words(entry: SamplerEntry) -> list[str]:
    return _NUMBER.split(entry.sampler)


def _numbers(entry: SamplerEntry) -> list[str]:
    return _NUMBER.findall(entry.sampler)
