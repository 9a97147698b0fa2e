"""Texts as units of work: each is a batch of samples, and its result their lines in a file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.decoder import Decoder
from corelm.engines.engine import Engine, Unit
from corelm.generation.endings import Endings
from corelm.generation.generate import Generation, OpenTexts, batches, steps
from corelm.language_model import LanguageModel
from corelm.plugins.strategies import Strategy
from corelm.sampler import Sampler

EARLY = 256
"""The number of results kept in memory that wait for an earlier one."""


@dataclass(frozen=True)
class Texts:
    """The texts to write.

    Attributes:
        prompt: the beginning of all texts.
        sampler: the sampler.
        decoder: the decoder.
        length: tokens to draw for each text, at most.
        n: the number of texts.
        seed: the random seed.
        endings: what ends a text before its end token and its length.
        unknown: True to allow [UNK] to be sampled.
    """

    prompt: str
    sampler: Sampler
    decoder: Decoder
    length: int
    n: int
    seed: int
    endings: Endings
    unknown: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return everything that the texts depend on, besides the model."""
        return {
            "sampler": str(self.sampler),
            "decoder": str(self.decoder),
            "prompt": self.prompt,
            "length": self.length,
            "samples": self.n,
            "seed": self.seed,
            "stop": list(self.endings.stop),
            "stop_regex": list(self.endings.stop_regex.patterns),
            "stop_on_loop": self.endings.stop_on_loop,
            "unknown": self.unknown,
        }

    def units(self, first: int = 0) -> Iterator[WriteTexts]:
        """Yield the units from a text on, which must be the first of a batch."""
        strategy, ends = Strategy(self.sampler, self.decoder), self.endings
        for samples in batches(self.n):
            if samples.start >= first:
                yield WriteTexts(
                    self.prompt, strategy, self.length, samples, self.seed, ends.stop,
                    tuple(ends.stop_regex.patterns), ends.stop_on_loop, self.unknown,
                )  # fmt: skip


@dataclass(frozen=True)
class WriteTexts:
    """Write some of the texts; the attributes are those of `Texts`."""

    prompt: str
    strategy: Strategy
    length: int
    samples: Sequence[int]
    seed: int
    stop: tuple[str, ...]
    stop_regex: tuple[str, ...]
    stop_on_loop: int | None
    unknown: bool

    @property
    def name(self) -> str:
        """The name among all units."""
        return f"texts from {self.samples[0]}"

    def __call__(self, model: LanguageModel) -> list[str]:
        sampler = self.strategy.sampler
        endings = Endings.of(self.stop, self.stop_regex, self.stop_on_loop)
        open_texts = OpenTexts(
            model, self.prompt, self.samples, seed=self.seed, length=self.length, sampler=sampler,
            endings=endings,
        )  # fmt: skip
        drawn = steps(
            model, self.prompt, sampler=sampler, length=self.length, samples=self.samples,
            seed=self.seed, decoder=self.strategy.decoder, unknown=self.unknown,
        )  # fmt: skip
        for _ in open_texts.take(drawn):
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


def in_order(engine: Engine, units: Iterator[Unit]) -> Iterator[str]:
    """Yield the results of units in their order, as JSON.

    Results that wait for an earlier one stay few: while they do, the engine gets no more units.
    """
    order: deque[str] = deque()
    early: dict[str, str] = {}

    def admitted() -> Iterator[Unit | None]:
        for unit in units:
            while len(early) >= EARLY:
                yield None
            order.append(unit.name)
            yield unit

    for unit, result in engine.run(admitted()):
        early[unit.name] = result
        while order and order[0] in early:
            yield early.pop(order.popleft())
