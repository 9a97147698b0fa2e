"""Remarks on the conclusions of a report: samplers of unequal entropy, and a second scorer.

Samplers that were compared at unequal entropy may differ in their texts for that reason alone. And
every scorer favours some samplers: bits per byte compare models with different vocabularies, and a
conclusion, a difference whose interval excludes 0, flips if two scorers give opposite signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from corelm_pages.formats import number, with_interval
from corelm_report.document.content import Difference, Document, SamplerEntry
from corelm_report.document.figure import MEAN, SURPRISAL, listed
from corelm_report.document.lookup import against


def remarks(document: Document) -> Iterator[str]:
    """Yield a remark on unequal entropy, and one on scorers if there is a second one."""
    yield from _randomness(document)
    if rows := conclusions([document]):
        yield flips(rows)


def _randomness(document: Document) -> Iterator[str]:
    """Yield a sentence that names the samplers that differ both in their texts and in entropy.

    Other settings of the sampler compared with are left out: they are compared to see the effect of
    its parameter.
    """
    name = against(document)
    other = next((each for each in document.samplers if each.sampler == name), None)
    if other is None:
        return
    unequal = [e for e in document.samplers if e.name != other.name and _differs(e)]
    if not unequal:
        return
    differences = [e.differences.teacher_forced[MEAN] for e in unequal if e.differences]
    differences.sort(key=lambda each: abs(each.value or 0))
    apart = [_size(each) for each in (differences[0], differences[-1])]
    names = listed([entry.sampler for entry in unequal])
    yield (
        f"{names} {'differs' if len(unequal) == 1 else 'differ'} from {name} in entropy, by "
        f"{' to '.join(dict.fromkeys(apart))} nats, so "
        "differences of their texts may be those of randomness: compare at equal entropy "
        "(--match entropy=...) before you call one better."
    )


def _size(difference: Difference) -> str:
    """Format the size of a difference, with the digits that its interval supports."""
    return with_interval(number, abs(difference.value or 0), difference.ci95)[0]


def _differs(entry: SamplerEntry) -> bool:
    """Return True if both the entropy and the surprisal of the texts differ beyond chance."""
    if entry.differences is None:
        return False
    entropy = entry.differences.teacher_forced.get(MEAN)
    texts = entry.differences.generated_texts.get(SURPRISAL)
    return all(
        each is not None and each.ci95 is not None and not each.ci95[0] <= 0 <= each.ci95[1]
        for each in (entropy, texts)
    )


OWN, SECOND = "bits_per_byte", "scorer_bits_per_byte"
"""The figure under the model that wrote the texts, and under the second scorer."""
Conclusions = dict[str, dict[str, Difference]]
"""The difference of each sampler in bits per byte, under each scorer."""


def conclusions(documents: Iterable[Document]) -> Conclusions:
    """Collect the conclusions of reports on the same texts, each under its own second scorer."""
    rows: Conclusions = {}
    for document in documents:
        scorers, second = {document.header.model.name: OWN}, document.header.second_scorer
        if second:
            scorers.setdefault(second.name, SECOND)
        for entry in document.samplers:
            texts = entry.differences.generated_texts if entry.differences else {}
            for scorer, figure in scorers.items():
                each = texts.get(figure)
                if each is not None and each.value is not None:
                    rows.setdefault(entry.sampler, {}).setdefault(scorer, each)
    return {sampler: row for sampler, row in rows.items() if len(row) > 1}


def flips(rows: Conclusions) -> str:
    """Name the samplers whose conclusion flips with the scorer, in a sentence."""
    names = listed([sampler for sampler, row in rows.items() if _flips(row)])
    scorer = f"the scorer: {names}" if names else "no scorer"
    return f"Conclusions on bits per byte flip with {scorer}."


def _flips(row: dict[str, Difference]) -> bool:
    """Return True if two scorers give differences of opposite signs."""
    ends = [each.ci95 for each in row.values() if each.ci95]
    return any(low > 0 for low, _ in ends) and any(high < 0 for _, high in ends)


def table_of(rows: Conclusions) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings and rows of a table of conclusions, those that flip marked."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [
        (sampler, *(_cell(row.get(name)) for name in names), "flips" if _flips(row) else "")
        for sampler, row in rows.items()
    ]
    return ["sampler", *names, ""], cells


def _cell(difference: Difference | None) -> str:
    if difference is None:
        return "none"
    text, ends = with_interval(number, difference.value or 0, difference.ci95, difference=True)
    return f"{text} ({ends})" if ends else text
