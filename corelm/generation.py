"""Write texts: `stream` one as it is drawn, `generate` several."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from corelm.decoder import Ancestral, Decoder, Step, Task
from corelm.errors import UsageError
from corelm.language_model import LanguageModel, Vocabulary
from corelm.luck import Luck, fresh_seed
from corelm.plugins import registry
from corelm.sampler import Sampler
from corelm.spec import sampler as read_sampler


@dataclass(frozen=True)
class Drawn:
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
    steps: list[Drawn] = field(repr=False)


class Text:
    """The growing text of one sample, token by token, until a stop string appears."""

    def __init__(self, vocabulary: Vocabulary, prompt: Sequence[int], stop: Sequence[str] = ()):
        self._vocabulary = vocabulary
        self._ids = list(prompt)
        self._before = len(vocabulary.decode(self._ids))
        self._stop = tuple(stop)
        self.value = ""
        """The text after the prompt."""
        self.stopped = False
        """Whether a stop string has appeared; it and what follows are not in the text."""

    def add(self, token: int) -> str:
        """Append a token; returns what it added to the text."""
        self._ids.append(int(token))
        written = self._vocabulary.decode(self._ids)[self._before :]
        ends = [at for stop in self._stop if (at := written.find(stop)) >= 0]
        if ends:
            self.stopped = True
            written = written[: min(ends)]
        added = written[len(self.value) :]
        self.value = written
        return added


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
    if length < 0:
        raise UsageError(f"length must be at least 0, not {length}")
    ids = np.array(model.vocabulary.encode(prompt), dtype=np.int64)
    task = Task(model, ids, read_sampler(sampler), Luck(seed, samples), length, unknown)
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
    stop: Sequence[str] = (),
    unknown: bool = False,
) -> Iterator[Step]:
    """Write one text and yield each step as it is drawn, with its `text`.

    Arguments are those of `steps`; `stop` lists strings that end the text.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> drawn = corelm.stream(ToyModel(), "the", sampler="greedy", length=3)
        >>> print("".join(step.text for step in drawn))
         cat sat on
    """
    chosen = fresh_seed() if seed is None else seed
    text = Text(model.vocabulary, model.vocabulary.encode(prompt), stop)
    for step in steps(
        model, prompt, sampler=sampler, length=length, samples=(sample,), seed=chosen,
        decoder=decoder, unknown=unknown,
    ):  # fmt: skip
        added = text.add(step.tokens[0])
        yield dataclasses.replace(step, text=added)
        if text.stopped:
            return


def generate(
    model: LanguageModel,
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    n: int = 1,
    seed: int | None = None,
    decoder: Decoder | None = None,
    stop: Sequence[str] = (),
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
        stop: strings that end a text.
        unknown: whether the word for everything unknown may be drawn.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=3)
        >>> text.text, text.steps[0].entropy
        (' cat sat on', 0.0)
    """
    if n < 0:
        raise UsageError(f"n must be at least 0, not {n}")
    chosen = fresh_seed() if seed is None else seed
    ids = model.vocabulary.encode(prompt)
    texts = [Text(model.vocabulary, ids, stop) for _ in range(n)]
    records: list[list[Drawn]] = [[] for _ in range(n)]
    for step in steps(
        model, prompt, sampler=sampler, length=length, samples=range(n), seed=chosen,
        decoder=decoder, unknown=unknown,
    ):  # fmt: skip
        _collect(step, texts, records)
        if all(text.stopped for text in texts):
            break
    return [
        Generation(prompt, i, chosen, text.value, [d.token for d in drawn], drawn)
        for i, (text, drawn) in enumerate(zip(texts, records, strict=True))
    ]


def _collect(step: Step, texts: list[Text], records: list[list[Drawn]]) -> None:
    for row, sample in enumerate(step.samples.tolist()):
        if texts[sample].stopped:
            continue
        token = int(step.tokens[row])
        records[sample].append(
            Drawn(
                token,
                texts[sample].add(token),
                float(step.surprisal[row]),
                float(step.model_surprisal[row]),
                float(step.entropy[row]),
                float(step.model_entropy[row]),
            )
        )
