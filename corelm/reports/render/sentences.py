"""The sentences below a table of a report: what failed, how it was measured, what a column is."""

from __future__ import annotations

from collections.abc import Sequence

from corelm.reports.document.content import Document, Front, SamplerEntry
from corelm.reports.document.figures import HUMAN, MATCHED, NATS, TEACHER_FORCED
from corelm.reports.document.header import Header
from corelm.reports.document.lookup import value
from corelm.reports.document.numbers import listed
from corelm.reports.document.setting_runs import runs
from corelm.reports.render.columns import TARGET, OverviewColumn, amount
from corelm.toolkit import counted

PROMPTS = 3
"""The number of prompts that are quoted."""


def failures(document: Document) -> list[tuple[str, str]]:
    """Return the samplers that failed and the metrics that failed on one, with the reasons."""
    failed = [(each.sampler, each.error.message) for each in document.samplers if each.error]
    return failed + failed_metrics(document)


def failed_metrics(document: Document) -> list[tuple[str, str]]:
    """Return the metrics of plugins that failed, as `SAMPLER.METRIC`, each with the reason."""
    return [
        (f"{entry.label}.{metric}", reason)
        for entry in document.entries
        for metric, reason in (entry.failed_metrics or {}).items()
    ]


def method(document: Document, columns: Sequence[OverviewColumn]) -> str:
    """Say how the columns of a table were measured, in a few sentences."""
    header = document.header
    contexts = header.contexts
    prompts = ", ".join(f'"{prompt}"' for prompt in header.prompts[:PROMPTS])
    more = len(header.prompts) - PROMPTS
    n = header.n * len(header.prompts) * len(header.seeds or [1])
    on_contexts, on_texts = _titles(columns)
    parts = [
        f"{on_contexts}: means over the same {counted(contexts.positions, 'position')} of "
        f"{counted(contexts.texts, 'text')} ({contexts.description})."
    ]
    if on_texts:
        parts.append(
            f"{on_texts}: from {counted(n, 'text')} of at most {counted(header.length, 'token')} "
            f"that each sampler wrote, prompt {prompts}{f' and {more} more' if more > 0 else ''}, "
            f"{seeds(header)}{_units(document, n)}."
        )
    if on_texts and (fewer := _of_one_text(document, n)):
        parts.append(
            f"{listed(fewer)} wrote one text for each prompt, since nothing is drawn at random."
        )
    if matched := targets(document):
        parts.append(f"Open parameters were matched to {matched}.")
    parts.append(f"Model: {header.model.name}.")
    if header.second_scorer:
        parts.append(f"Second scorer: {header.second_scorer.name}.")
    return " ".join(parts)


def _of_one_text(document: Document, n: int) -> list[str]:
    """Return the decoders that draw nothing at random, and so wrote fewer than n texts."""
    prompts = len(document.header.prompts)
    texts = {entry.sampler: entry.generated_texts for entry in document.samplers}
    return [name for name, each in texts.items() if each and each.n == prompts < n]


def _units(document: Document, n: int) -> str:
    """Say how many independent units the texts are, if fewer than the texts."""
    texts = (entry.generated_texts for entry in document.samplers)
    most = max((each.units or 0 for each in texts if each), default=0)
    return f", {most:,} independent units for intervals" if 0 < most < n else ""


def seeds(header: Header) -> str:
    """Name the random seeds, such as "seed 1" or "seeds 1, 2 and 7"."""
    several = header.seeds or [header.seed]
    return f"seed{'s' if len(several) > 1 else ''} {listed([*map(str, several)])}"


def targets(document: Document) -> str:
    """Say what open parameters were matched to; return "" if nothing was matched."""
    return listed([in_words(each.figure, each.target) for each in document.header.matched])


def in_words(figure: str, value: float) -> str:
    """Say which value of a figure is meant.

    Example:
        >>> in_words("entropy", 3.0), in_words("mass_kept", 0.9)
        ('a mean entropy of 3.00 nats', 'a mean mass kept of 90.0%')
    """
    known = MATCHED.get(figure)
    words, unit = (known.matched, known.unit) if known else (figure, "")
    return f"a {words} of {amount(figure, value)}{f' {unit}' if unit.startswith(NATS) else ''}"


def front_in_words(document: Document, front: Front) -> str:
    """Say which entries of a report are on a Pareto front, and which one not.

    Where all are on it, the sentence says what that means instead of naming them.
    """
    measured = [entry for entry in document.samplers if on_view(entry, front)]
    best = [entry for entry in measured if entry.sampler in front.entries]
    if len(best) == len(measured):
        return (
            f"in this sample none of the {len(measured)} rows beats another in both: every gain in "
            f"{front.larger} has its price in {front.smaller}"
        )
    names = listed([run.name for run in runs(measured, best)])
    beaten = [entry for entry in measured if entry not in best]
    others = listed([run.name for run in runs(measured, beaten)])
    return (
        f"in this sample no other row has both a larger {front.larger} and a smaller "
        f"{front.smaller} than {names}; beaten in both: {others}"
    )


def on_view(entry: SamplerEntry, front: Front) -> bool:
    """Return True if both figures of a front were measured of an entry."""
    return None not in (value(entry, each, front.view) for each in (front.larger, front.smaller))


def _titles(columns: Sequence[OverviewColumn]) -> tuple[str, str]:
    """Return the titles of both views as lists: teacher-forced, and of generated texts."""
    views: dict[bool, list[str]] = {True: [], False: []}
    for each in columns:
        if not each.against and each.figure.name != TARGET.name:
            views[each.figure.view == TEACHER_FORCED].append(each.title)
    first, second = (listed(titles) for titles in views.values())
    return _capitalised(first), _capitalised(second)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def legend(columns: Sequence[OverviewColumn]) -> str:
    """Define the columns of a table in one paragraph."""
    meanings = {each.title: each.figure.meaning for each in columns if not each.against}
    for each in columns:
        if each.against:
            of = "human text" if each.against == HUMAN else each.against
            meanings[each.title] = f"the difference from {of}"
    return f"{'; '.join(f'{title}: {meaning}' for title, meaning in meanings.items())}."
