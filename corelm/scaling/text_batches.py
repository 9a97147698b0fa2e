"""Texts as units of work: each is a batch of samples, and its result their lines in a file."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.contracts.language_model import LanguageModel
from corelm.generation.continuous_batch import ContinuousBatch
from corelm.generation.generate import BATCH, Texts, batches
from corelm.generation.open_texts import Generation
from corelm.scaling.dependencies import Dependencies
from corelm.scaling.job import RunUnits, Unit

EARLY = 256
"""The most results in memory that wait for an earlier one."""


def settings_of(texts: Texts, prompts: Sequence[str] = ()) -> dict[str, Any]:
    """Return everything that texts depend on, besides the model.

    Args:
        texts: the texts of one prompt.
        prompts: several prompts, which replace the prompt of the texts.
    """
    listed = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
    of_prompts = {"prompts": len(prompts), "wording of the prompts": listed}
    things = [thing for thing in texts.strategy if thing is not None]
    return {
        "sampler": str(texts.strategy.sampler),
        "decoder": str(texts.strategy.decoder),
        **(of_prompts if prompts else {"prompt": texts.prompt}),
        "length": texts.length,
        "n": texts.n,
        "seed": texts.seed,
        **texts.endings.settings,
        "unknown": texts.unknown,
        "values of secrets": Dependencies(things).secrets,
    }


def units_of(
    texts: Texts, first: int = 0, prompts: Sequence[str] = ()
) -> Iterator[WriteTexts | WritePrompts]:
    """Yield the units from text `first` on, which must be the first text of a batch."""
    if not prompts:
        units = (WriteTexts(texts, samples) for samples in batches(texts.n))
        return (unit for unit in units if unit.samples.start >= first)
    numbered = enumerate(texts.batches(prompts))
    return (WritePrompts(tuple(part), i) for i, part in numbered if i * BATCH >= first)


@dataclass(frozen=True)
class WriteTexts:
    """Write some of the texts."""

    texts: Texts
    samples: range

    @property
    def name(self) -> str:
        """The unique name of the unit."""
        return f"texts from {self.samples[0]}"

    def __call__(self, model: LanguageModel) -> list[str]:
        open_texts = self.texts.open(model, self.samples)
        for _ in open_texts.take(self.texts.steps(model, self.samples)):
            pass
        return [line(text) for text in open_texts.generations()]


@dataclass(frozen=True)
class WritePrompts:
    """Write the texts of several prompts together.

    Attributes:
        parts: for each prompt, its texts and the samples to write.
        number: the number of the batch.
    """

    parts: tuple[tuple[Texts, range], ...]
    number: int

    @property
    def name(self) -> str:
        """The unique name of the unit."""
        return f"batch {self.number}"

    def __call__(self, model: LanguageModel) -> list[str]:
        lines: list[str] = []
        for ended in ContinuousBatch.in_order(model, self.parts):
            if ended.error:
                raise ended.error
            lines += [line(text) for text in ended.open_texts.generations()]
        return lines


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


def in_order(run: RunUnits, units: Iterator[Unit]) -> Iterator[str]:
    """Yield the results of units in their order, as JSON.

    While `EARLY` results wait for an earlier one, no more units are started.

    Args:
        run: runs the units on its first model.
        units: the units.
    """
    order: deque[str] = deque()
    early: dict[str, str] = {}

    def taken_units() -> Iterator[Unit | None]:
        for unit in units:
            while len(early) >= EARLY:
                yield None
            order.append(unit.name)
            yield unit

    for unit, result in run(taken_units(), 0):
        early[unit.name] = result
        while order and order[0] in early:
            yield early.pop(order.popleft())
