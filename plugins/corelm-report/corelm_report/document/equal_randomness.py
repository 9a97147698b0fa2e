"""A warning that samplers were compared at unequal entropy, which alone may explain differences."""

from __future__ import annotations

from collections.abc import Iterator

from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figure import MEAN
from corelm_report.document.lookup import against
from corelm_report.document.numbers import listed, number

SURPRISAL = "surprisal"


def randomness_sentences(document: Document) -> Iterator[str]:
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
    apart = [abs(_value(entry)) for entry in unequal]
    names = listed([entry.sampler for entry in unequal])
    yield (
        f"{names} {'differs' if len(unequal) == 1 else 'differ'} from {name} in entropy, by "
        f"{number(min(apart))}{f' to {number(max(apart))}' if len(apart) > 1 else ''} nats, so "
        "differences of their texts may be those of randomness: compare at equal entropy "
        "(--match entropy=...) before you call one better."
    )


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


def _value(entry: SamplerEntry) -> float:
    found = entry.differences and entry.differences.teacher_forced[MEAN].value
    return found or 0.0
