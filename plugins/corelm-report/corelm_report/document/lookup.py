"""Look up the figures that are declared, and the figures of an entry that were measured.

Sentences name neighbouring settings of a sampler together, as one run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corelm_report.document.content import (
    Difference,
    Document,
    Entry,
    GeneratedTexts,
    HumanEntry,
    SamplerEntry,
    TeacherForced,
)
from corelm_report.document.figures import (
    FIGURES,
    GENERATED,
    HUMAN,
    MEAN,
    SET_SIZE,
    SHARES,
    TEXT_LENGTH,
    VIEWS,
    Figure,
    of_view,
)
from corelm_report.document.parts import Interval
from corelm_stats.intervals import IDENTITY, LOGIT, FigureScale

MATCHED = {figure.name: figure for figure in FIGURES if figure.matched}
"""The figures that open parameters can be matched to."""
OF_SETS = tuple(figure.name for figure in FIGURES if figure.depends_on == SET_SIZE)
"""The figures that depend on the number of texts and their length."""
OF_TEXTS = tuple(figure.name for figure in FIGURES if figure.depends_on == TEXT_LENGTH)
"""The figures that depend on the length of the texts."""
LIMITS = {figure.name: figure.limits for figure in FIGURES if figure.limits}
"""The least and the largest value of each share, where its interval ends."""
SCALES = {figure.name: figure.scale for figure in FIGURES if figure.scale}


def scale_of(name: str, limits: tuple[float, float] | None = None) -> FigureScale:
    """Return the scale of a figure's interval: by default the log odds for a share.

    Args:
        name: the figure.
        limits: its least and its largest value, if it is a metric of a plugin.
    """
    if name in SCALES:
        return SCALES[name]
    return LOGIT if (limits or LIMITS.get(name)) == SHARES else IDENTITY


SUMMARY = ("mean", "median", "p05", "p95")
"""The parts of the entropy that are figures, `entropy.mean` to `entropy.p95`."""


def names() -> tuple[str, ...]:
    """Return the names of all figures of reports, as `estimate` takes them."""
    keys = dict.fromkeys(figure.name for view in VIEWS for figure in of_view(view))
    return (*keys, *(f"entropy.{part}" for part in SUMMARY))


def declared(name: str, view: str) -> Figure:
    """Return the declaration of a figure."""
    return next(figure for figure in FIGURES if (figure.name, figure.view) == (name, view))


@dataclass(frozen=True)
class Measurement:
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


def estimates(entry: Entry) -> Iterator[Measurement]:
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
                yield Measurement(view, figure, value, low, high, used.get(figure, part.n))


def estimate(entry: Entry, figure: str, view: str | None = None) -> Measurement | None:
    """Return a figure of an entry, or None if it was not measured.

    Args:
        entry: the entry of a sampler or of human text.
        figure: its name; `entropy` is short for `entropy.mean`.
        view: the view to look in; by default both, one after the other.
    """
    wanted = _full(figure)
    matches = (e for e in estimates(entry) if e.figure == wanted and view in (None, e.view))
    return next(matches, None)


def value(entry: Entry | None, figure: str, view: str) -> float | None:
    """Return the value of a figure, or None if it was not measured."""
    measured = estimate(entry, figure, view) if entry else None
    return measured.value if measured else None


def point(entry: Entry | None, across: str, up: str, view: str) -> tuple[float, float] | None:
    """Return two figures of an entry as a point, or None if one of them was not measured."""
    x, y = (value(entry, figure, view) for figure in (across, up))
    return None if x is None or y is None else (x, y)


def spread(entry: Entry, figure: Figure) -> float | None:
    """Return the standard deviation of a figure of the texts over the seeds, if there are several.

    Example:
        >>> from corelm_report.document.content import GeneratedTexts, SamplerEntry, SeedSpread
        >>> by_seed = {"loops": SeedSpread(sd=0.25, values=[0.0, 0.5])}
        >>> texts = GeneratedTexts(by_seed=by_seed)
        >>> entry = SamplerEntry(sampler="greedy", generated_texts=texts)
        >>> spread(entry, declared("loops", "generated_texts"))
        0.25
    """
    texts = entry.generated_texts if figure.view == GENERATED else None
    over_seeds = ((texts and texts.by_seed) or {}).get(figure.name)
    return over_seeds.sd if over_seeds else None


class Reading(NamedTuple):
    """All that a document has of one figure of an entry.

    Attributes:
        measured: the figure; of human text its counterpart, if that has another name.
        between: the two figures that the page shows instead of its interval.
        spread: its standard deviation over the seeds.
        difference: its difference; `declared` has the p-value and the number of units.
    """

    measured: Measurement | None
    between: tuple[Measurement | None, ...]
    spread: float | None
    difference: Measurement | None
    declared: Difference | None


def readings(entry: Entry, figures: Iterable[Figure]) -> list[Reading]:
    """Look up figures of an entry, in one pass over them."""
    measured = {(each.view, each.figure): each for each in estimates(entry)}

    def read(figure: Figure) -> Reading:
        name = (isinstance(entry, HumanEntry) and figure.human) or figure.looked_up
        place = entry, figure.looked_up, figure.view
        return Reading(
            measured.get((figure.view, _full(name))),
            tuple(measured.get((figure.view, end)) for end in figure.between or ()),
            spread(entry, figure),
            difference(*place),
            declared_difference(*place),
        )

    return [*map(read, figures)]


def against(document: Document) -> str:
    """Return the name of the entry that a report's differences are relative to."""
    differences = (entry.differences for entry in document.samplers if entry.differences)
    return next((each.against for each in differences), HUMAN)


def difference(entry: Entry, figure: str, view: str) -> Measurement | None:
    """Return a figure's difference from the entry compared with, or None."""
    measured = declared_difference(entry, figure, view)
    if not measured or measured.value is None:
        return None
    low, high = measured.ci95 or (None, None)
    return Measurement(view, _full(figure), measured.value, low, high, None)


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


DIGITS = 5
"""The longest number in a sentence's name of settings, in characters; longer ones are rounded."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")


@dataclass(frozen=True)
class SettingRange:
    """Entries named together in a sentence: neighbouring settings, or a single entry."""

    name: str
    entries: Sequence[SamplerEntry]


def runs(among: Sequence[SamplerEntry], chosen: Sequence[SamplerEntry]) -> list[SettingRange]:
    """Group chosen entries into runs, each at the place of its first entry.

    Entries are neighbours if they differ in one number, and no setting of `among` that was not
    chosen has a number between theirs.

    Example:
        >>> every = [SamplerEntry(sampler=f"temperature(t={t})") for t in (0.5, 1.0, 1.5, 2.0)]
        >>> [run.name for run in runs(every, every[1:])]
        ['temperature(t=1.0 to 2.0)']
        >>> [run.name for run in runs(every, every[2:])]
        ['temperature(t=1.5 and 2.0)']
    """
    names = {entry.sampler for entry in chosen}
    groups: list[SettingRange] = []
    grouped: set[str] = set()
    for entry in chosen:
        if entry.sampler not in grouped:
            together = _neighbours(_settings(among, entry), names, entry)
            groups.append(SettingRange(_name_of_run(together), together))
            grouped |= {each.sampler for each in together}
    return groups


def _settings(among: Sequence[SamplerEntry], entry: SamplerEntry) -> list[SamplerEntry]:
    """Return the entries that differ from `entry` in a single number, sorted by that number."""
    words = _NUMBER.split(entry.sampler)
    alike = [each for each in among if _NUMBER.split(each.sampler) == words]
    numbers = [_NUMBER.findall(each.sampler) for each in alike]
    differing = [place for place, some in enumerate(zip(*numbers, strict=True)) if len({*some}) > 1]
    if len(differing) != 1:
        return [entry]
    return sorted(alike, key=lambda each: float(_NUMBER.findall(each.sampler)[differing[0]]))


def _neighbours(
    settings: Sequence[SamplerEntry], names: set[str], entry: SamplerEntry
) -> list[SamplerEntry]:
    """Return the run of chosen settings around an entry."""
    first = last = next(i for i, each in enumerate(settings) if each.sampler == entry.sampler)
    while first > 0 and settings[first - 1].sampler in names:
        first -= 1
    while last + 1 < len(settings) and settings[last + 1].sampler in names:
        last += 1
    return list(settings[first : last + 1])


def _name_of_run(run: Sequence[SamplerEntry]) -> str:
    """Return the first setting's expression, with the range in place of its number."""
    first, last, word = run[0].sampler, run[-1].sampler, "and" if len(run) == 2 else "to"
    ends = zip(_NUMBER.findall(first), _NUMBER.findall(last), strict=True)
    pairs = ((_short(low), _short(high)) for low, high in ends)
    texts = iter([low if low == high else f"{low} {word} {high}" for low, high in pairs])
    return _NUMBER.sub(lambda _: next(texts), first)


def _short(digits: str) -> str:
    """Return a setting's number with three digits, if a sweep has given it many."""
    return digits if len(digits) <= DIGITS or "." not in digits else f"{float(digits):.3g}"


def share(p: float) -> str:
    """Format a share in at most six characters; only exactly 0 and 1 become 0 and 100%.

    Example:
        >>> [share(p) for p in (0, 0.00001, 0.005, 0.123, 0.99999, 1)]
        ['0', '<0.01%', '0.50%', '12.3%', '99.9%', '100%']
        >>> share(-0.123), share(-1)
        ('-12.3%', '-100%')
    """
    size, sign = abs(p), "-" if p < 0 else ""
    if size in (0, 1):
        return f"{sign}100%" if size else "0"
    if size < 0.0001:
        return "<0.01%"
    return f"{sign}{size:.2%}" if size < 0.01 else f"{sign}{min(size, 0.999):.1%}"


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
        ('a, b and c', 'a', '')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
