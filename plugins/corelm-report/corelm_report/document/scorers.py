"""Conclusions under several scorers side by side, since every scorer favours some samplers.

Bits per byte compare models with different vocabularies. A conclusion is a difference, from the
entry compared with, whose interval excludes 0; it flips if two scorers give differences of opposite
signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from corelm_report.document.content import Difference, Document
from corelm_report.document.figure import HUMAN
from corelm_report.document.lookup import against
from corelm_report.document.numbers import listed, number

OWN, SECOND = "bits_per_byte", "scorer_bits_per_byte"
"""The figure under the model that wrote the texts, and under the second scorer."""


@dataclass(frozen=True)
class Conclusion:
    """The differences of a sampler in bits per byte, under each scorer.

    Attributes:
        sampler: the sampler.
        against: the entry compared with.
        differences: by scorer, each with its interval.
    """

    sampler: str
    against: str
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def flips(self) -> bool:
        """True if two scorers give differences of opposite signs."""
        return {-1, 1} <= {sign(each) for each in self.differences.values()}


def sign(found: Difference) -> int:
    """Return the sign of a difference, 1 or -1, if its interval excludes 0; else 0.

    Example:
        >>> sign(Difference(value=1.0, ci95=[0.5, 1.5])), sign(Difference(value=1.0, ci95=None))
        (1, 0)
    """
    if found.ci95 is None:
        return 0
    low, high = found.ci95
    return 1 if low > 0 else -1 if high < 0 else 0


def conclusions(documents: Iterable[Document]) -> list[Conclusion]:
    """Collect the conclusions of reports on the same texts, each under its own second scorer."""
    found: dict[str, Conclusion] = {}
    for document in documents:
        name = against(document)
        for entry in document.samplers:
            if entry.differences is None:
                continue
            row = found.setdefault(entry.sampler, Conclusion(entry.sampler, name))
            for scorer, figure in _scorers(document).items():
                each = entry.differences.generated_texts.get(figure)
                if each is not None and each.value is not None:
                    row.differences.setdefault(scorer, each)
    return [row for row in found.values() if len(row.differences) > 1]


def _scorers(document: Document) -> Mapping[str, str]:
    second = document.header.second_scorer
    own = {document.header.model.name: OWN}
    return own | ({second.name: SECOND} if second and second.name not in own else {})


def flip_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each conclusion that flips with the scorer; one if none does."""
    rows = conclusions([document])
    flipping = [row for row in rows if row.flips]
    if not rows:
        return
    other = "human text" if rows[0].against == HUMAN else rows[0].against
    names = listed(list(rows[0].differences))
    if not flipping:
        yield f"No conclusion on bits per byte differs between {names}."
    for row in flipping:
        first, second = (each.value or 0.0 for each in row.differences.values())
        yield (
            f"The conclusion on {row.sampler} flips with the scorer: it has "
            f"{number(abs(first))} bits per byte {_word(first)} than {other} under "
            f"{next(iter(row.differences))}, and {number(abs(second))} {_word(second)} under "
            f"{list(row.differences)[1]}."
        )


def _word(difference: float) -> str:
    return "more" if difference > 0 else "fewer"


def table_of(rows: Sequence[Conclusion]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings and rows of a table of conclusions, those that flip marked."""
    names = list(dict.fromkeys(name for row in rows for name in row.differences))
    cells = [
        (row.sampler, *(_cell(row.differences.get(name)) for name in names),
         "flips" if row.flips else "")
        for row in rows
    ]  # fmt: skip
    return ["sampler", *names, ""], cells


def _cell(found: Difference | None) -> str:
    if found is None or found.value is None:
        return "none"
    text = f"{found.value:+.3f}"
    return text if found.ci95 is None else f"{text} ({found.ci95[0]:+.3f} to {found.ci95[1]:+.3f})"
