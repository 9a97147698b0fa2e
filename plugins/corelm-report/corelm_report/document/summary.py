"""The summary of a report: a few plain sentences, made from its document alone.

Neighbouring settings of a sweep are named as one run, such as t = 1.3 to 2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corelm_report.document.content import Document, Interval, SamplerEntry
from corelm_report.document.figures import GENERATED, HUMAN, TEACHER_FORCED
from corelm_report.document.lookup import difference, estimate
from corelm_report.document.numbers import Format, listed, number, share

LOOPING = 0.01
"""The share of texts ending in a loop from which a sampler is reported; human text has 0.003."""
REPEATING = 0.1
"""The share of repeated 4-grams from which a sampler is reported; human text has 0.004."""
FRONT = 5
"""The largest number of entries of a Pareto front that are named."""
MARGIN = 0.1
"""The difference of surprisal from human text, in nats per token, that counts as equivalent."""
TAIL = 1.0
"""The excess of expected surprisal over human text, or over the model itself, that is reported."""

Samplers = Sequence[SamplerEntry]


def summary(document: Document) -> str:
    """Summarise a report: the samplers closest to human text, the repeating, the straying ones."""
    samplers = [entry for entry in document.samplers if not entry.error]
    if not samplers:
        return "Every sampler failed." if document.samplers else "No sampler was measured."
    parts = (
        _closest(document, samplers),
        _calibration(document),
        _best(document),
        _front(document),
        _repeating(samplers),
        _looping(samplers),
        _straying(document, samplers),
        _failed(document),
    )
    return " ".join(filter(None, parts))


def _closest(document: Document, samplers: Samplers) -> str:
    """Name the samplers that may be the closest to human text by surprisal."""
    human = document.human and estimate(document.human, "surprisal", GENERATED)
    named = {entry.sampler: entry for entry in samplers}
    found = {
        name: measured.value
        for name in document.closest
        if name in named and (measured := estimate(named[name], "surprisal", GENERATED))
    }
    if not human or not found:
        return ""
    names, own = list(found), number(human.value)
    values = listed([*map(number, found.values())])
    if len(samplers) == 1:
        sentence = f"The texts of {names[0]} have {values} nats of surprisal per token, human text"
        sentence += f" {own}."
    elif len(names) == 1:
        sentence = (
            f"Only {names[0]} may be the closest to human text by surprisal: {values} against "
            f"{own} nats per token (at 95 %, with the error of human text)."
        )
    else:
        sentence = (
            f"{listed(names)} cannot be told from the closest to human text by surprisal: {values} "
            f"against {own} nats per token (at 95 %, with the error of human text)."
        )
    return " ".join(filter(None, (sentence, _equivalent([named[name] for name in names]))))


def _calibration(document: Document) -> str:
    """Give the maximum-likelihood temperature of human text, and what it says of the model."""
    fit = document.human.temperature if document.human else None
    if fit is None:
        return ""
    if fit.t is None:
        return "Human text is more surprising to the model than a token drawn at any temperature."
    temperature = f"maximum-likelihood temperature of human text is {'about ' * fit.estimated}"
    between = ""
    if fit.t_ci95:
        low, high = map(number, fit.t_ci95)
        between = f" (95 % interval {low} to {high})"
    sentence = f"The {temperature}{number(fit.t)}{between}"
    if fit.estimated:
        return f"{sentence}, estimated from human surprisal on other texts."
    return f"{sentence}{_verdict(fit.t_ci95)}."


def _verdict(ends: list[float] | None) -> str:
    if ends is None:
        return ""
    if ends[0] > 1:
        return ": the model is overconfident"
    if ends[1] < 1:
        return ": the model is underconfident"
    return ", which includes the model's own, 1"


def _best(document: Document) -> str:
    """Give the best setting of each swept sampler, and its figure after correction."""
    swept = {entry.name for entry in document.samplers if entry.sweep}
    sentences = []
    for best in document.best:
        if best.name in swept and best.ci95:
            low, high = map(number, best.ci95)
            sentences.append(
                f"Of {best.tried} settings of {best.name}, {best.sampler} comes nearest to human "
                f"text in this sample: {number(best.corrected)} nats, corrected for the choice "
                f"(95 % interval {low} to {high})."
            )
    return " ".join(sentences)


def _front(document: Document) -> str:
    """Name the swept samplers that no other one beats in surprisal and diversity, if few."""
    swept = any(entry.sweep for entry in document.samplers)
    found = [front.entries for front in document.fronts if front.view == GENERATED]
    if not swept or not found or len(found[0]) > FRONT:
        return ""
    names = listed(found[0])
    return f"In this sample no other setting is both likelier and more diverse than {names}."


def _equivalent(closest: Samplers) -> str:
    """Name the closest samplers that differ from human text by less than `MARGIN`, and by more.

    An interval with an end on each side of the margin proves neither.
    """
    ends = {
        entry.sampler: found.interval
        for entry in closest
        if (found := difference(entry, "surprisal", GENERATED))
        and found.interval
        and entry.differences
        and entry.differences.against == HUMAN
    }
    inside = {name: each for name, each in ends.items() if max(map(abs, each)) < MARGIN}
    beyond = {name: each for name, each in ends.items() if each[0] > MARGIN or each[1] < -MARGIN}
    unclear = {name: each for name, each in ends.items() if name not in inside | beyond}
    margin = f"{number(MARGIN)} nats"
    sentences = []
    if inside:
        verb = _singular([*inside], "is", "are")
        sentences.append(f"{listed([*inside])} {verb} equivalent to human text within {margin}")
    if beyond:
        verb = _singular([*beyond], "differs", "differ")
        sentences.append(f"{listed([*beyond])} {verb} from human text by more than {margin}")
    if unclear:
        whom = listed([*unclear])
        sentences.append(f"Whether {whom} {_singular([*unclear], 'is', 'are')} within {margin} of "
                         "human text cannot be told")  # fmt: skip
    groups = filter(None, (inside, beyond, unclear))
    return " ".join(
        f"{sentence} ({_of_differences(group.values())})."
        for sentence, group in zip(sentences, groups, strict=True)
    )


def _of_differences(ends: Iterable[Interval]) -> str:
    """Give the intervals of differences."""
    intervals = [f"{number(low)} to {number(high)}" for low, high in ends]
    word = _singular(intervals, "interval of the difference", "intervals of the differences")
    return f"95 % {word}: {listed(intervals)}"


def _repeating(samplers: Samplers) -> str:
    """Name the samplers that often write a phrase of four tokens again."""
    found = _with_share(samplers, "rep_4", REPEATING)
    verb = _singular([*(found or {})], "repeats itself", "repeat themselves")
    return f"{_listed_shares(samplers, found, 'of 4-grams')} {verb}." if found else ""


def _looping(samplers: Samplers) -> str:
    """Name the samplers whose texts end in loops; if loops are rare, give the largest share."""
    found = _with_share(samplers, "loops", LOOPING)
    if found is None:
        return ""
    if not found:
        return _rarely_looping(samplers)
    verb = _singular([*found], "ends", "end")
    return f"{_listed_shares(samplers, found, 'of texts')} {verb} in loops."


def _rarely_looping(samplers: Samplers) -> str:
    """Give the largest share of looping texts, and how far the intervals of the shares reach."""
    shares = [each for entry in samplers if (each := estimate(entry, "loops", GENERATED))]
    ends = [each.high for each in shares if each.high is not None]
    word = _singular(ends, "interval", "intervals")
    reach = f" (95 % {word} up to {share(max(ends))})" if ends else ""
    largest = max(each.value for each in shares)
    if not largest:
        return f"None of the texts ends in a loop{reach}."
    whose = "the" if len(samplers) == 1 else "a sampler's"
    return f"At most {share(largest)} of {whose} texts end in a loop{reach}."


def _with_share(samplers: Samplers, figure: str, least: float) -> dict[str, float] | None:
    """Return the samplers with at least this share; None if the figure was not measured at all."""
    found = {entry.sampler: each.value for entry in samplers if (each := estimate(entry, figure))}
    return {name: each for name, each in found.items() if each >= least} if found else None


def _listed_shares(samplers: Samplers, shares: Mapping[str, float], of: str) -> str:
    """Name samplers with their shares, neighbouring settings of a sweep as one."""
    chosen = [entry for entry in samplers if entry.sampler in shares]
    return listed(
        [
            f"{run.name} ({span(share, [shares[each.sampler] for each in run.entries])} {of})"
            for run in runs(samplers, chosen)
        ]
    )


def _straying(document: Document, samplers: Samplers) -> str:
    """Name the samplers whose tokens surprise the model much more than human words do.

    Without human text the model's own tokens are the measure.
    """
    fit = document.human.temperature if document.human else None
    usually = "the model's own {}" if fit is None else "human text {}"
    if fit and fit.estimated:  # converted to these contexts, so not the number in the table
        usually = "human text about {} on these contexts"
    drawn = {entry.sampler: _expected(entry)[0] for entry in samplers}
    usual = [_expected(entry)[1] if fit is None else fit.surprisal for entry in samplers]
    far = [
        (entry, own)
        for entry, own in zip(samplers, usual, strict=True)
        if drawn[entry.sampler] - own > TAIL
    ]
    if not far:
        return ""
    found = runs(samplers, [entry for entry, _ in far])
    nats = [span(number, [drawn[each.sampler] for each in run.entries]) for run in found]
    verb = "samples" if len(far) == 1 else "sample"
    return (
        f"{listed([run.name for run in found])} {verb} from the tail "
        f"(expected surprisal {listed(nats)} nats, {usually.format(number(far[0][1]))})."
    )


def _expected(entry: SamplerEntry) -> tuple[float, float]:
    """Return the expected surprisal of a drawn token: of the sampler, and of the model itself."""
    drawn = estimate(entry, "expected_surprisal", TEACHER_FORCED)
    own = estimate(entry, "model_entropy", TEACHER_FORCED)
    return (drawn.value, own.value) if drawn and own else (0.0, 0.0)


def _failed(document: Document) -> str:
    failed = [entry.sampler for entry in document.samplers if entry.error]
    return f"{listed(failed)} failed." if failed else ""


def _singular(names: Sequence[object], one: str, several: str) -> str:
    return one if len(names) == 1 else several


SHORTEST = 3
"""The least number of neighbouring settings that a sentence names as one run, `t = 1.3 to 2.0`."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")


@dataclass(frozen=True)
class Run:
    """Entries that a sentence names together: neighbouring settings, or one entry."""

    name: str
    entries: Sequence[SamplerEntry]


def runs(among: Sequence[SamplerEntry], chosen: Sequence[SamplerEntry]) -> list[Run]:
    """Return chosen entries as runs, each in the place of its first entry.

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
    """Return the entries that differ from one in a single number, sorted by that number."""
    alike = [each for each in among if _words(each) == _words(entry)]
    numbers = [_numbers(each) for each in alike]
    differing = [place for place, some in enumerate(zip(*numbers, strict=True)) if len({*some}) > 1]
    if len(differing) != 1:
        return [entry]
    return sorted(alike, key=lambda each: float(_numbers(each)[differing[0]]))


def _neighbours(
    settings: Sequence[SamplerEntry], names: set[str], entry: SamplerEntry
) -> list[SamplerEntry]:
    """Return the run of chosen settings around one, or that one alone if it is too short."""
    first = last = next(i for i, each in enumerate(settings) if each.sampler == entry.sampler)
    while first > 0 and settings[first - 1].sampler in names:
        first -= 1
    while last + 1 < len(settings) and settings[last + 1].sampler in names:
        last += 1
    run = list(settings[first : last + 1])
    return run if len(run) >= SHORTEST else [entry]


def _name_of_run(run: Sequence[SamplerEntry]) -> str:
    """Return the expression of the first setting, with the range in the place of its number."""
    first, last = run[0].sampler, run[-1].sampler
    ends = zip(_NUMBER.findall(first), _NUMBER.findall(last), strict=True)
    texts = iter([low if low == high else f"{low} to {high}" for low, high in ends])
    return _NUMBER.sub(lambda _: next(texts), first)


def _words(entry: SamplerEntry) -> list[str]:
    return _NUMBER.split(entry.sampler)


def _numbers(entry: SamplerEntry) -> list[str]:
    return _NUMBER.findall(entry.sampler)
