"""Blinded pairs of texts: only the report tells which sampler wrote which text.

The identity of a pair is a digest of the pair in its report, and so is the order of its texts. So a
file of pairs names no sampler, and no key has to be kept: the verdicts are matched by the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corelm.errors import UsageError
from corelm_report.document.content import Document, KeptText, SamplerEntry
from corelm_report.document.lookup import against
from corelm_report.metrics.inference import Sample


@dataclass(frozen=True)
class Pair:
    """Two texts of one prompt, seed and sample, by two samplers.

    Attributes:
        id: the identity of the pair, which names no sampler.
        sampler: the sampler whose win rate is measured.
        against: the other sampler.
        model: the name of the model.
        sample: the prompt, seed and sample of both texts.
        texts: the texts of the sampler and of the other one.
        swapped: True if the text of the other sampler is shown first.
    """

    id: str
    sampler: str
    against: str
    model: str
    sample: Sample
    texts: tuple[str, str]
    swapped: bool

    @property
    def shown(self) -> tuple[str, str]:
        """Both texts in the order in which they are shown."""
        return self.texts[::-1] if self.swapped else self.texts


def pairs_of(document: Document, model: str) -> Iterator[Pair]:
    """Yield every pair of texts that a report keeps; pairs of equal texts are left out.

    Raises:
        UsageError: the samplers are compared with human text, which has no pairs.
    """
    name = against(document)
    other = next((each for each in document.samplers if each.label == name), None)
    if other is None:
        raise UsageError(
            "pairs are of two samplers, and the report compares with human text: name a sampler, "
            'such as against = "temperature(t=1.0)"'
        )
    theirs = {_sample(text): text for text in other.texts}
    for entry in document.samplers:
        if entry is not other and entry.error is None:
            yield from _pairs(entry, other, theirs, model)


def _pairs(
    entry: SamplerEntry, other: SamplerEntry, theirs: dict[Sample, KeptText], model: str
) -> Iterator[Pair]:
    for text in entry.texts:
        sample = _sample(text)
        if sample not in theirs or theirs[sample].text == text.text:
            continue
        texts = text.text, theirs[sample].text
        content = "\0".join([model, entry.label, other.label, *map(str, sample), *texts])
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        yield Pair(
            digest[:16],
            entry.label,
            other.label,
            model,
            sample,
            texts,
            int(digest[16], 16) % 2 == 1,
        )


def _sample(text: KeptText) -> Sample:
    return text.prompt, text.seed or 0, text.sample


def chosen(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return at most `count` pairs per sampler, from as many prompts as possible, in blind order.

    They are sorted by identity, so the order says nothing about the samplers, and neighbours may
    have different ones.
    """
    turns: dict[tuple[str, str], dict[object, int]] = {}
    ranked = []
    for pair in sorted(pairs, key=lambda each: each.id):
        of_prompts = turns.setdefault((pair.model, pair.sampler), {})
        turn = of_prompts[pair.sample[0]] = of_prompts.get(pair.sample[0], -1) + 1
        ranked.append((turn, pair))
    found = []
    for model, sampler in turns:
        own = [each for each in ranked if (each[1].model, each[1].sampler) == (model, sampler)]
        # The first pair of every prompt, then the second: with many prompts, these are the units.
        found += [pair for _, pair in sorted(own, key=lambda each: each[0])[:count]]
    return sorted(found, key=lambda each: each.id)
