"""Texts as units of work: each is a batch of samples, and its result their lines in a file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corelm import Generation, LanguageModel
from corelm.scaling.executor import Executor, Unit
from corelm.scaling.job import hashes_of_secrets
from corelm.toolkit import Texts, batches

EARLY = 256
"""The number of results kept in memory that wait for an earlier one."""


def settings_of(texts: Texts) -> dict[str, Any]:
    """Return everything that texts depend on, besides the model."""
    things = [thing for thing in texts.strategy if thing is not None]
    return {
        "sampler": str(texts.strategy.sampler),
        "decoder": str(texts.strategy.decoder),
        "prompt": texts.prompt,
        "length": texts.length,
        "samples": texts.n,
        "seed": texts.seed,
        **texts.endings.settings,
        "unknown": texts.unknown,
        "hashes_of_secrets": hashes_of_secrets(things),
    }


def units_of(texts: Texts, first: int = 0) -> Iterator[WriteTexts]:
    """Yield the units from a text on, which must be the first of a batch."""
    return (WriteTexts(texts, samples) for samples in batches(texts.n) if samples.start >= first)


@dataclass(frozen=True)
class WriteTexts:
    """Write some of the texts."""

    texts: Texts
    samples: range

    @property
    def name(self) -> str:
        """The name among all units."""
        return f"texts from {self.samples[0]}"

    def __call__(self, model: LanguageModel) -> list[str]:
        open_texts = self.texts.open(model, self.samples)
        for _ in open_texts.take(self.texts.steps(model, self.samples)):
            pass
        return [line(text) for text in open_texts.generations()]


def line(text: Generation) -> str:
    """Return the line of a text: strict JSON in ASCII."""
    return json.dumps(
        {
            "prompt": text.prompt,
            "sample": text.sample,
            "text": text.text,
            "finish_reason": text.finish_reason,
            "is_cut_off": text.is_cut_off,
            "tokens": text.tokens,
        }
    )


def in_order(executor: Executor, units: Iterator[Unit]) -> Iterator[str]:
    """Yield the results of units in their order, as JSON.

    Results that wait for an earlier one stay few: while they do, the executor gets no more units.
    """
    order: deque[str] = deque()
    early: dict[str, str] = {}

    def taken_units() -> Iterator[Unit | None]:
        for unit in units:
            while len(early) >= EARLY:
                yield None
            order.append(unit.name)
            yield unit

    for unit, result in executor.run(taken_units()):
        early[unit.name] = result
        while order and order[0] in early:
            yield early.pop(order.popleft())
