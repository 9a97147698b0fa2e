"""Units of work that draw the texts of samplers, with measurements of each token and the cost."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from corelm import Generation, LanguageModel, Sampler, Step, Vocabulary
from corelm.abilities import FullVocabulary
from corelm.errors import SamplerError
from corelm.runs import (
    ContinuousBatch,
    ForcedTokens,
    OpenTexts,
    PrefixCache,
    Texts,
    plugins,
)
from corelm_report.document.parts import TokenDetails
from corelm_report.measure.counted import CountedModel
from corelm_report.measure.journal import Result, attempted
from corelm_report.measure.text_records import DETAILED, TextRecord, count_bytes, details

PROMPTS = 2**12
"""The most tokens of prompts that are kept while a batch is drawn, so that each is read once."""

Detailed = Container[str] | None
"""The prompts whose first texts have details of every token; None for all."""
Part = tuple[tuple[Texts, Sequence[int]], ...]
"""Texts that are drawn together: the texts of each prompt, and the samples to draw of these."""


@dataclass(frozen=True)
class Share:
    """Some of the texts of one sampler or decoder.

    Attributes:
        entry: the index of the sampler.
        parts: the texts to draw.
        number: the index of the share among the sampler's.
        counted: True to count the calls of the model for the single text.
    """

    entry: int
    parts: Part
    number: int = 0
    counted: bool = False

    @property
    def rows(self) -> int:
        """The number of texts."""
        return sum(len(samples) for _, samples in self.parts)

    @property
    def is_drawn_alone(self) -> bool:
        """True if its texts are in no batch with those of other samplers."""
        return self.counted or any(texts.strategy.decoder for texts, _ in self.parts)

    def cut(self, rows: int) -> tuple[Share, Share]:
        """Return the first texts, and the others."""
        first, others = [], []
        for texts, samples in self.parts:
            first.append((texts, samples[:rows]))
            others.append((texts, samples[rows:]))
            rows = max(rows - len(samples), 0)
        one, other = (tuple(part for part in parts if part[1]) for parts in (first, others))
        return replace(self, parts=one), replace(self, parts=other)

    def draw(self, model: LanguageModel, detailed: Detailed) -> Result:
        """Return the records of its texts, drawn alone, or the error that stopped them."""
        # A sampler fails with corelm's errors, a decoder with any: it is plugin code.
        has_decoder = any(texts.strategy.decoder for texts, _ in self.parts)
        guarded = plugins.registry().guarded if has_decoder else nullcontext

        def work() -> list[TextRecord]:
            how = partial(_draw_counted if self.counted else draw, model, detailed=detailed)
            with guarded():
                return [record for texts, some in self.parts for record in how(texts, some)]

        return attempted(work)


@dataclass(frozen=True)
class DrawTexts:
    """Draw texts of one or several samplers, in one batch of the model.

    Attributes:
        shares: the texts of each.
        detailed: the prompts whose texts have details.
    """

    shares: tuple[Share, ...]
    detailed: Detailed

    @property
    def name(self) -> str:
        """The name in the journal."""
        return " ".join(["generated texts", *(f"{s.entry}.{s.number}" for s in self.shares)])

    def detailed_of(self, share: Share) -> list[str]:
        """Return the prompts of a share whose texts have details."""
        prompts = (texts.prompt for texts, _ in share.parts)
        return [each for each in prompts if self.detailed is None or each in self.detailed]

    def __call__(self, model: LanguageModel) -> list[Result]:
        parts = [share.parts for share in self.shares]
        if sum(map(len, parts)) == 1 or self.shares[0].is_drawn_alone:
            return [share.draw(model, self.detailed) for share in self.shares]
        return draw_together(model, parts, self.detailed)


def shares_of(
    entry: int, runs: Iterable[Texts], prompts: Sequence[str], counted: bool
) -> Iterator[Share]:
    """Yield the texts of a sampler or decoder in shares, which no other sampler's texts change.

    Args:
        entry: the index of the sampler.
        runs: its texts of any prompt, for each seed.
        prompts: the prompts.
        counted: True to decode each prompt by itself, and its first text alone, so that the model's
            calls for that text can be counted.
    """
    shares: list[Share] = []
    for texts in runs:
        parts = tuple((each, range(texts.n)) for each in texts.of_prompts(prompts))
        if not counted:
            shares += _pieces(Share(entry, parts))
            continue
        for of_prompt, samples in parts:
            shares.append(Share(entry, ((of_prompt, samples[:1]),), counted=True))
            shares += _pieces(Share(entry, ((of_prompt, samples[1:]),)))
    return (replace(share, number=number) for number, share in enumerate(shares))


def _pieces(share: Share) -> Iterator[Share]:
    """Cut batches from a share: full ones, then of 32, 16 ... texts, which fit together."""
    while share.rows:
        size = min(ContinuousBatch.ROWS, 1 << (share.rows.bit_length() - 1))
        first, share = share.cut(share.rows if share.is_drawn_alone else size)
        yield first


def packed(shares: Iterable[Share], detailed: Detailed = None) -> list[DrawTexts]:
    """Put shares into units of at most a batch; those to be drawn alone get units of their own.

    A pass through the model for few texts takes nearly as long as one for many.

    Example:
        >>> from corelm.runs import Strategy
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=40, seed=1)
        >>> units = packed(each for i in range(3) for each in shares_of(i, [texts], [""], False))
        >>> [[(share.entry, share.rows) for share in unit.shares] for unit in units]
        [[(0, 32), (0, 8), (1, 8), (2, 8)], [(1, 32), (2, 32)]]
    """
    units: list[list[Share]] = []
    room: list[int] = []
    for share in shares:
        fits = (at for at, left in enumerate(room) if share.rows <= left)
        at = len(units) if share.is_drawn_alone else next(fits, len(units))
        if at == len(units):
            units.append([])
            room.append(0 if share.is_drawn_alone else ContinuousBatch.ROWS)
        units[at].append(share)
        room[at] -= share.rows
    return [DrawTexts(tuple(unit), detailed) for unit in units]


def draw(
    model: LanguageModel, texts: Texts, samples: Sequence[int], detailed: Detailed = None
) -> list[TextRecord]:
    """Draw some samples of a run with one sampler, and return a record for each.

    A text depends on the seed, the index of its prompt and its own index alone, so a run may be
    divided in any way.

    Args:
        model: the language model.
        texts: the texts of the run.
        samples: the indices of the texts to draw.
        detailed: the prompts whose texts have details.

    Raises:
        SamplerError: the sampler raised, did not return a distribution, or restored a token.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1, endings=Endings())
        >>> [record] = draw(ToyModel(), texts, [0])
        >>> record["text"], record["entropy"]
        (' cat sat on', [0.0, 0.0, 0.0])
    """
    records: list[TextRecord] = []
    for first in range(0, len(samples), ContinuousBatch.ROWS):
        some = samples[first : first + ContinuousBatch.ROWS]
        open_texts = texts.open(model, some, measured=True)
        drawn = _DrawnTexts(model, texts.strategy.sampler, open_texts, detailed)
        for step in open_texts.take(texts.steps(model, some)):
            drawn.add(step)
        records += drawn.records()
    return records


def draw_together(
    model: LanguageModel, shares: Sequence[Part], detailed: Detailed = None
) -> list[Result]:
    """Draw texts of several samplers and prompts in one batch.

    Args:
        model: the language model.
        shares: the texts of each sampler: those of each prompt, and the samples to draw of these.
        detailed: the prompts whose texts have details.

    Returns:
        The records of `draw` for each share, or the error that stopped it and no other.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Strategy
        >>> texts = Texts("", Strategy.of("greedy"), 3, 2, 1)
        >>> [batch] = texts.batches(["the", "the cat"])
        >>> [drawn] = draw_together(ToyModel(), [batch])
        >>> [record["text"] for record in drawn["value"]]
        [' cat sat on', ' cat sat on', ' sat on the', ' sat on the']
    """
    batch = ContinuousBatch(model, prefixes=PrefixCache(PROMPTS))
    share_of = {
        batch.add(texts, samples, measured=True): share
        for share, parts in enumerate(shares)
        for texts, samples in parts
    }
    drawn = {
        request: _DrawnTexts(model, request.texts.strategy.sampler, request.open_texts, detailed)
        for request in share_of
    }
    failed: dict[int, Result] = {}
    while batch:
        for request in batch.step():
            result = attempted(partial(drawn[request].add, request.step, request.error))
            if "error" in result:
                share = share_of[request]
                failed.setdefault(share, result)
                for other in share_of:
                    if share_of[other] == share:
                        other.finish()
    records: list[list[TextRecord]] = [[] for _ in shares]
    for request, share in share_of.items():
        records[share] += drawn[request].records() if share not in failed else []
    return [failed.get(share, {"value": drawn_texts}) for share, drawn_texts in enumerate(records)]


def _draw_counted(
    model: LanguageModel, texts: Texts, samples: Sequence[int], detailed: Detailed = None
) -> list[TextRecord]:
    """Draw one sample alone, as `draw` does, and count the calls of the model.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1, endings=Endings())
        >>> [record] = _draw_counted(ToyModel(), texts, [0])
        >>> record["model_calls"], record["tokens_read"]
        (3, 3)
    """
    counted = CountedModel(model, len(FullVocabulary(model.vocabulary).prompt_ids(texts.prompt)))
    [record] = draw(counted, texts, samples, detailed)
    record["model_calls"], record["tokens_read"] = counted.calls, counted.tokens_read
    return [record]


def logits_of(model: LanguageModel, records: Sequence[TextRecord]) -> Iterator[ForcedTokens]:
    """Yield the model's logits before each token of texts, without the prompt and the end.

    Without a start token, the first token of a text without a prompt has no distribution.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy
        >>> texts = Texts("the", Strategy.of("greedy"), length=2, n=3, seed=1, endings=Endings())
        >>> records = draw(ToyModel(), texts, range(3))
        >>> [(each.tokens.tolist(), each.logits.shape) for each in logits_of(ToyModel(), records)]
        [([4, 4, 4], (3, 13)), ([9, 9, 9], (3, 13))]
    """
    vocabulary = model.vocabulary
    prompts = [FullVocabulary(vocabulary).prompt_ids(record["prompt"]) for record in records]
    texts = [prompt + record["tokens"] for prompt, record in zip(prompts, records, strict=True)]
    least = 0 if vocabulary.start is not None else 1
    yield from ForcedTokens.of(model, texts, [max(len(prompt), least) for prompt in prompts])


class _DrawnTexts:
    """A collector of growing texts and the details of their tokens.

    Args:
        model: the language model.
        sampler: the sampler.
        texts: the texts, measured.
        detailed: the prompts whose texts have details.
    """

    def __init__(
        self, model: LanguageModel, sampler: Sampler, texts: OpenTexts, detailed: Detailed
    ) -> None:
        self.texts = texts
        self._detailed = DETAILED if detailed is None or texts.prompt in detailed else 0
        self._sampler, self._vocabulary = sampler, model.vocabulary
        self._prompt = FullVocabulary(model.vocabulary).prompt_ids(texts.prompt)
        self._details: list[list[TokenDetails]] = [[] for _ in texts.samples]

    def add(self, step: Step | None, error: Exception | None = None) -> None:
        """Add the details of a step, if there is one.

        Raises:
            SamplerError: a token that the model itself never draws; and the error, if there is one.
        """
        if error:
            raise error
        if step is None:
            return
        # One infinite surprisal would make the sampler's mean infinite.
        if not np.isfinite(step.model_surprisal).all():
            raise SamplerError(
                f"{self._sampler} restored a token that is never drawn at step {step.position}"
            )
        for row, sample in enumerate(step.samples.tolist()):
            if sample < self._detailed:
                at = self.texts.samples.index(sample)
                past = [*self._prompt, *self.texts.tokens[at][:-1]]
                token = self.texts.records[at][-1]
                self._details[at].append(details(step, row, token, past, self._vocabulary))

    def records(self) -> list[TextRecord]:
        """Return the records of the texts."""
        texts = zip(self.texts.generations(), self._details, strict=True)
        return [_record(text, self._prompt, tokens, self._vocabulary) for text, tokens in texts]


def _record(
    text: Generation, prompt: list[int], tokens: list[TokenDetails], vocabulary: Vocabulary
) -> TextRecord:
    # The end token is measured but not part of the text: all texts would repeat it.
    ended = bool(text.tokens) and text.tokens[-1] in vocabulary.ends
    return TextRecord(
        prompt=text.prompt,
        seed=text.seed,
        sample=text.sample,
        text=text.text,
        tokens=text.tokens[:-1] if ended else text.tokens,
        end=text.tokens[-1] if ended else None,
        finish_reason=text.finish_reason,
        unknown=sum(token == vocabulary.unknown for token in text.tokens),
        bytes=count_bytes(vocabulary, prompt, text.tokens[:-1] if ended else text.tokens),
        words=[step.text for step in text.steps],
        surprisal=[step.model_surprisal for step in text.steps],
        sampler_surprisal=[step.surprisal for step in text.steps],
        entropy=[step.entropy for step in text.steps],
        model_entropy=[step.model_entropy for step in text.steps],
        constraint_cost=text.constraint_cost,
        model_calls=None,
        tokens_read=None,
        details=tokens,
    )
