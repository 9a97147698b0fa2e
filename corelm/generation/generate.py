"""Write texts: `stream` one as it is drawn, `generate` several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from corelm.decoder import Decoder, DecodingTask
from corelm.decoding.random_stream import RandomStream, fresh_seed
from corelm.decoding.step import Step
from corelm.errors import UsageError
from corelm.generation.ancestral import Ancestral
from corelm.generation.detokenizer import Text
from corelm.language_model import LanguageModel
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.registry import registry
from corelm.sampler import Sampler

BATCH = 64
"""Samples decoded together: more of them are no faster, and take memory."""


@dataclass(frozen=True)
class TokenRecord:
    """One token of a generated text. Surprisals and entropies are in nats."""

    token: int
    text: str
    surprisal: float
    model_surprisal: float
    entropy: float
    model_entropy: float


@dataclass(frozen=True)
class Generation:
    """A generated text.

    Attributes:
        prompt: what it goes on from, as it was given.
        sample: its index in the run; (seed, sample) decides its luck.
        seed: the seed of the run, given or fresh.
        text: what was written after the prompt, up to a stop string.
        tokens: the ids drawn.
        steps: one record per token.
    """

    prompt: str
    sample: int
    seed: int
    text: str
    tokens: list[int]
    steps: list[TokenRecord] = field(repr=False)


class OpenTexts:
    """The growing texts of some samples of a run.

    Args:
        model: the language model.
        prompt: what the texts go on from.
        samples: which samples of the run, by index.
        stop: strings that end a text.
        measured: whether to keep a `TokenRecord` per token, whose entropies take their time.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: str,
        samples: Sequence[int] = (0,),
        stop: Sequence[str] | str = (),
        measured: bool = False,
    ) -> None:
        ids = model.vocabulary.encode(prompt)
        self.samples = tuple(samples)
        self.texts = [Text(model.vocabulary, ids, stop) for _ in self.samples]
        self.tokens: list[list[int]] = [[] for _ in self.samples]
        self.records: list[list[TokenRecord]] = [[] for _ in self.samples]
        self._prompt = prompt
        self._measured = measured

    def draw(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Take up steps and pass them on, until every text has met a stop string."""
        for step in steps:
            for row, at in enumerate(step.samples.tolist()):
                if not self.texts[at].stopped:
                    self._add(step, row, at)
            yield step
            if all(text.stopped for text in self.texts):
                return

    def _add(self, step: Step, row: int, at: int) -> None:
        token = int(step.tokens[row])
        added = self.texts[at].add(token)
        self.tokens[at].append(token)
        if self._measured:
            self.records[at].append(_drawn(step, row, token, added))

    def generations(self, seed: int) -> list[Generation]:
        """The texts as they are now."""
        parts = zip(self.samples, self.texts, self.tokens, self.records, strict=True)
        return [
            Generation(self._prompt, sample, seed, text.value, tokens, records)
            for sample, text, tokens, records in parts
        ]


def _drawn(step: Step, row: int, token: int, text: str) -> TokenRecord:
    return TokenRecord(
        token,
        text,
        float(step.surprisal[row]),
        float(step.model_surprisal[row]),
        float(step.entropy[row]),
        float(step.model_entropy[row]),
    )


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise UsageError(f"{name} must be a whole number, at least 0, not {value!r}")


def batches(n: int) -> Iterator[range]:
    """The indices of n samples, as many at a time as are decoded together.

    Example:
        >>> list(batches(130))
        [range(0, 64), range(64, 128), range(128, 130)]
    """
    return (range(first, min(first + BATCH, n)) for first in range(0, n, BATCH))


def steps(
    model: LanguageModel,
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    samples: Sequence[int] = (0,),
    seed: int,
    decoder: Decoder | None = None,
    unknown: bool = False,
) -> Iterator[Step]:
    """The steps of some samples of a run, decoded together: what all else is made of.

    Args:
        model: the language model.
        prompt: what to go on from.
        sampler: a sampler, a registered name or an expression.
        length: tokens to draw at most, at least 0.
        samples: which samples of the run, by index.
        seed: decides all luck, with the index of the sample.
        decoder: how to decode; `Ancestral()` when left out.
        unknown: whether the word for everything unknown may be drawn.
    """
    _check_count("length", length)
    ids = np.array(model.vocabulary.encode(prompt), dtype=np.int64)
    task = DecodingTask(
        model, ids, read_sampler(sampler), RandomStream(seed, samples), length, unknown
    )
    plugins = registry()
    observed = plugins.load_observers()
    for step in (decoder or Ancestral())(task):
        if observed:
            plugins.observe(step)
        yield step


def stream(
    model: LanguageModel,
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    sample: int = 0,
    seed: int | None = None,
    decoder: Decoder | None = None,
    stop: Sequence[str] | str = (),
    unknown: bool = False,
) -> Iterator[Step]:
    """Write one text and yield each step as it is drawn, with its `text`.

    Arguments are those of `steps`; `stop` lists strings that end the text, and what may begin one
    is held back until it is decided.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> drawn = corelm.stream(ToyModel(), "the", sampler="greedy", length=3)
        >>> print("".join(step.text for step in drawn))
         cat sat on
    """
    chosen = fresh_seed() if seed is None else seed
    drafts = OpenTexts(model, prompt, (sample,), stop)
    [text] = drafts.texts
    drawn = steps(
        model, prompt, sampler=sampler, length=length, samples=(sample,), seed=chosen,
        decoder=decoder, unknown=unknown,
    )  # fmt: skip
    for step in drafts.draw(drawn):
        last = step.position + 1 == length or step.tokens[0] == model.vocabulary.end
        yield step.with_text(text.take_settled(last))


def generate(
    model: LanguageModel,
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    n: int = 1,
    seed: int | None = None,
    decoder: Decoder | None = None,
    stop: Sequence[str] | str = (),
    unknown: bool = False,
) -> list[Generation]:
    """Write n texts.

    The text of a sample depends on the seed and its index alone: not on n.

    Args:
        model: the language model.
        prompt: what to go on from.
        sampler: a sampler, a registered name or an expression.
        length: tokens to draw at most, at least 0.
        n: how many texts, at least 0.
        seed: decides all luck; a fresh one is drawn, and reported, when left out.
        decoder: how to decode; `Ancestral()` when left out.
        stop: strings that end a text and are not part of it, or one such string.
        unknown: whether the word for everything unknown may be drawn.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=3)
        >>> text.text, text.steps[0].entropy
        (' cat sat on', 0.0)
    """
    _check_count("n", n)
    chosen = fresh_seed() if seed is None else seed
    texts: list[Generation] = []
    for samples in batches(n):
        drafts = OpenTexts(model, prompt, samples, stop, measured=True)
        drawn = steps(
            model, prompt, sampler=sampler, length=length, samples=samples, seed=chosen,
            decoder=decoder, unknown=unknown,
        )  # fmt: skip
        for _ in drafts.draw(drawn):
            pass
        texts += drafts.generations(chosen)
    return texts
