"""Units of work that draw the texts of samplers, with measurements of each token and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from corelm import Generation, LanguageModel, Sampler, Step, Vocabulary
from corelm.errors import SamplerError
from corelm.runs import ContinuousBatch, OpenTexts, Texts, plugins, prompting, teacher_forcing
from corelm_report.document.content import TokenDetails
from corelm_report.measure.counted import CountedModel
from corelm_report.measure.journal import attempted
from corelm_report.measure.text_records import DETAILED, TextRecord, count_bytes, details

Part = tuple[tuple[Texts, Sequence[int]], ...]
"""Texts that are drawn together: the texts of each prompt, and the samples to draw of these."""


@dataclass(frozen=True)
class DrawTexts:
    """Draw some of the texts of one sampler or decoder.

    Attributes:
        entry: the index of the sampler.
        number: the index of the unit among the sampler's units.
        parts: the texts to draw.
        counted: True to count the calls of the model for the single text.
    """

    entry: int
    number: int
    parts: Part
    counted: bool = False

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"generated texts {self.entry} {self.number}"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        # A sampler fails with corelm's errors, a decoder with any: it is plugin code.
        has_decoder = any(texts.strategy.decoder for texts, _ in self.parts)
        guarded = plugins.plugin_errors if has_decoder else nullcontext

        def work() -> list[TextRecord]:
            with guarded():
                return self._draw(model)

        return attempted(work)

    def _draw(self, model: LanguageModel) -> list[TextRecord]:
        if len(self.parts) > 1:
            return draw_together(model, self.parts)
        [(texts, samples)] = self.parts
        if self.counted:
            [sample] = samples
            return [draw_counted(model, texts, sample)]
        return draw(model, texts, samples)


def parts_of(texts: Texts, prompts: Sequence[str], counted: bool) -> Iterator[Part]:
    """Divide the texts of several prompts into parts that are drawn together.

    Args:
        texts: the texts of any prompt.
        prompts: the prompts.
        counted: True to decode each prompt by itself, and its first text alone, so that the model's
            calls for that text can be counted.
    """
    if not counted:
        yield from map(tuple, texts.batches(prompts, independent=True))
        return
    for index, prompt in enumerate(prompts):
        of_prompt = replace(texts, prompt=prompt, prompt_index=index)
        others = (
            range(some.start + 1, some.stop + 1) for some in ContinuousBatch.batches(texts.n - 1)
        )
        for samples in chain([range(1)], others):
            yield ((of_prompt, samples),)


def draw(model: LanguageModel, texts: Texts, samples: Sequence[int]) -> list[TextRecord]:
    """Draw some samples of a run with one sampler, and return a record for each.

    A text depends on the seed, the index of its prompt and its own index alone, so a run may be
    divided in any way.

    Args:
        model: the language model.
        texts: the texts of the run.
        samples: the indices of the texts to draw.

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
        drawn = _DrawnTexts(model, texts.strategy.sampler, open_texts)
        for step in open_texts.take(texts.steps(model, some)):
            drawn.add(step)
        records += drawn.records()
    return records


def draw_together(
    model: LanguageModel, parts: Sequence[tuple[Texts, Sequence[int]]]
) -> list[TextRecord]:
    """Draw texts of several prompts in one batch, and return the records of `draw` for each.

    Args:
        model: the language model.
        parts: the texts of each prompt, and the samples to draw of these.

    Raises:
        SamplerError: the sampler raised, did not return a distribution, or restored a token.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy
        >>> texts = Texts("", Strategy.of("greedy"), 3, 2, 1, Endings())
        >>> [batch] = texts.batches(["the", "the cat"])
        >>> [record["text"] for record in draw_together(ToyModel(), batch)]
        [' cat sat on', ' cat sat on', ' sat on the', ' sat on the']
    """
    batch = ContinuousBatch(model)
    requests = [batch.add(texts, samples, measured=True) for texts, samples in parts]
    drawn = {
        request: _DrawnTexts(model, request.texts.strategy.sampler, request.open_texts)
        for request in requests
    }
    while batch:
        for request in batch.step():
            if request.error:
                raise request.error
            if request.step is not None:
                drawn[request].add(request.step)
    return [record for request in requests for record in drawn[request].records()]


def draw_counted(model: LanguageModel, texts: Texts, sample: int) -> TextRecord:
    """Draw one sample alone, as `draw` does, and count the calls of the model.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1, endings=Endings())
        >>> record = draw_counted(ToyModel(), texts, 0)
        >>> record["model_calls"], record["tokens_read"]
        (3, 3)
    """
    counted = CountedModel(model, len(prompting.encoded(model.vocabulary, texts.prompt)))
    [record] = draw(counted, texts, [sample])
    record["model_calls"], record["tokens_read"] = counted.calls, counted.tokens_read
    return record


def logits_of(
    model: LanguageModel, records: Sequence[TextRecord]
) -> Iterator[teacher_forcing.ForcedTokens]:
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
    prompts = [prompting.encoded(vocabulary, record["prompt"]) for record in records]
    texts = [prompt + record["tokens"] for prompt, record in zip(prompts, records, strict=True)]
    least = 0 if vocabulary.start is not None else 1
    yield from teacher_forcing.teacher_forced(
        model, texts, [max(len(prompt), least) for prompt in prompts]
    )


class _DrawnTexts:
    """A collector of growing texts and the details of their tokens.

    Args:
        model: the language model.
        sampler: the sampler.
        texts: the texts, measured.
    """

    def __init__(self, model: LanguageModel, sampler: Sampler, texts: OpenTexts) -> None:
        self.texts = texts
        self._sampler, self._vocabulary = sampler, model.vocabulary
        self._prompt = prompting.encoded(model.vocabulary, texts.prompt)
        self._details: list[list[TokenDetails]] = [[] for _ in texts.samples]

    def add(self, step: Step) -> None:
        """Add the details of a step.

        Raises:
            SamplerError: a token that the model itself never draws.
        """
        # One infinite surprisal would make the sampler's mean infinite.
        if not np.isfinite(step.model_surprisal).all():
            raise SamplerError(
                f"{self._sampler} restored a token that is never drawn at step {step.position}"
            )
        for row, sample in enumerate(step.samples.tolist()):
            if sample < DETAILED:
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
