"""The texts that each sampler writes, with what is measured on each token and what it cost."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Literal, TypedDict

import numpy as np

from corelm import (
    Array,
    Decoder,
    Generation,
    LanguageModel,
    Sampler,
    Step,
    TokenRecord,
    Vocabulary,
    softmax,
)
from corelm.batching import ContinuousBatch, ForcedTokens, teacher_forced
from corelm.errors import SamplerError
from corelm.filters import likeliest_tokens
from corelm.reports.document.content import TokenDetails
from corelm.reports.measure.counted_model import CountedModel
from corelm.reports.measure.scoring import count_bytes
from corelm.toolkit import (
    BATCH,
    END,
    FinishReason,
    OpenTexts,
    Texts,
    encoded,
    rank,
    steps,
    texts_after,
)

DETAILED = 5
"""The number of samples of each prompt, the first ones, that have details of every token.

Details take a softmax over the vocabulary for each token, and most of the memory of a record.
"""


class Record(TypedDict):
    """One text and its measurements; surprisals and entropies in nats, one for each token drawn.

    Keys:
        prompt: its beginning.
        seed: the random seed; 0 for a human text.
        sample: its index; its random numbers depend on the seed and the index alone.
        text: the text behind the prompt.
        tokens: the ids, without the end token.
        end: the id of the end token if one was drawn.
        finish_reason: why it ended, `end` or `length`.
        unknown: the number of [UNK] tokens.
        bytes: what the tokens with a surprisal add to the text, in UTF-8.
        words: the text that each token drawn added; none for the end token.
        surprisal: under the model's own distribution.
        sampler_surprisal: under the distribution drawn from.
        entropy: of the distribution drawn from.
        model_entropy: of the model's own distribution.
        constraint_cost: the cost of the masks, as in a `Generation`.
        model_calls: the calls of the model that the text took; None if they were not counted.
        tokens_read: the tokens that the model read for it; None if they were not counted.
        details: of each token, for the first samples; empty for the others.
    """

    prompt: str
    seed: int
    sample: int
    text: str
    tokens: list[int]
    end: int | None
    finish_reason: FinishReason
    unknown: int
    bytes: int
    words: list[str]
    surprisal: Sequence[float]
    sampler_surprisal: Sequence[float]
    entropy: Sequence[float]
    model_entropy: Sequence[float]
    constraint_cost: float | None
    model_calls: int | None
    tokens_read: int | None
    details: list[TokenDetails]


def draw(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    length: int,
    samples: Sequence[int],
    seed: int,
    unknown: bool = False,
    decoder: Decoder | None = None,
    prompt_index: int = 0,
) -> list[Record]:
    """Draw some texts of a run with one sampler, and return a record for each.

    A text depends on the seed, the index of its prompt and its own index alone, so a run may be
    divided in any way.

    Args:
        model: the language model.
        prompt: the beginning of the texts.
        sampler: the sampler.
        length: tokens to draw for each text, at most.
        samples: the indices of the texts within the run.
        seed: the random seed; samplers compared with one seed use the same random numbers.
        unknown: True to allow [UNK] to be sampled.
        decoder: the decoder; by default `Ancestral()`.
        prompt_index: the index of the prompt; texts of different prompts are independent.

    Raises:
        SamplerError: the sampler raised, did not return a distribution, or restored a token.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> [record] = draw(ToyModel(), "the", corelm.sampler("greedy"), 3, range(1), seed=1)
        >>> record["text"], record["entropy"]
        (' cat sat on', [0.0, 0.0, 0.0])
    """
    records: list[Record] = []
    for first in range(0, len(samples), BATCH):
        some = samples[first : first + BATCH]
        open_texts = OpenTexts(
            model, prompt, some, seed=seed, length=length, sampler=sampler, measured=True
        )
        drawn = _DrawnTexts(model, sampler, open_texts)
        taken = steps(
            model, prompt, sampler=sampler, length=length, samples=some, seed=seed,
            unknown=unknown, decoder=decoder, prompt_index=prompt_index,
        )  # fmt: skip
        for step in open_texts.take(taken):
            drawn.add(step)
        records += drawn.records()
    return records


def draw_together(
    model: LanguageModel, parts: Sequence[tuple[Texts, Sequence[int]]]
) -> list[Record]:
    """Draw texts of several prompts in one batch, and return the records of `draw` for each.

    Args:
        model: the language model.
        parts: the texts of each prompt, and the samples to draw of these.

    Raises:
        SamplerError: the sampler raised, did not return a distribution, or restored a token.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm.toolkit import Endings, strategy
        >>> texts = Texts("", strategy("greedy"), 3, 2, 1, Endings())
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


def draw_counted(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    length: int,
    sample: int,
    seed: int,
    decoder: Decoder | None = None,
    prompt_index: int = 0,
) -> Record:
    """Draw one text alone, as `draw` does, and count the calls of the model.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> record = draw_counted(ToyModel(), "the", corelm.sampler("greedy"), 3, 0, seed=1)
        >>> record["model_calls"], record["tokens_read"]
        (3, 3)
    """
    counted = CountedModel(model, len(encoded(model.vocabulary, prompt)))
    [record] = draw(counted, prompt, sampler, length, (sample,), seed, False, decoder, prompt_index)
    record["model_calls"], record["tokens_read"] = counted.calls, counted.tokens_read
    return record


def logits_of(model: LanguageModel, records: Sequence[Record]) -> Iterator[ForcedTokens]:
    """Yield the model's logits before each token of texts behind their prompts, but their ends.

    Without a start token, the first token of a text without a prompt has no distribution.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> records = draw(ToyModel(), "the", corelm.sampler("greedy"), 2, range(3), seed=1)
        >>> [(each.tokens.tolist(), each.logits.shape) for each in logits_of(ToyModel(), records)]
        [([4, 4, 4], (3, 13)), ([9, 9, 9], (3, 13))]
    """
    vocabulary = model.vocabulary
    prompts = [encoded(vocabulary, record["prompt"]) for record in records]
    texts = [prompt + record["tokens"] for prompt, record in zip(prompts, records, strict=True)]
    least = 0 if vocabulary.start is not None else 1
    yield from teacher_forced(model, texts, [max(len(prompt), least) for prompt in prompts])


def without_details(record: Record) -> Record:
    """Return the record of a text that the report does not show, in a fraction of the memory.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> [record] = draw(ToyModel(), "the", corelm.sampler("greedy"), 3, range(1), seed=1)
        >>> without_details(record)["words"], without_details(record)["entropy"]
        ([], array('d', [0.0, 0.0, 0.0]))
    """
    found = record.copy()
    found["words"], found["sampler_surprisal"], found["details"] = [], [], []
    for name in ("surprisal", "entropy", "model_entropy"):
        found[name] = array("d", record[name])
    return found


def without_end(
    record: Record, name: Literal["surprisal", "entropy", "model_entropy"]
) -> Sequence[float]:
    """Return the values of a text's tokens without that of its end.

    Human text has no end token, so nothing that is compared with it counts one.
    """
    values = record[name]
    return values if record["end"] is None else values[:-1]


def are_copies(records: Sequence[Record]) -> bool:
    """Return True if all texts of each prompt are the same, and there are several of one."""
    texts = {(record["prompt"], *record["tokens"]) for record in records}
    prompts = {record["prompt"] for record in records}
    return len(texts) == len(prompts) < len(records)


class _DrawnTexts:
    """Growing texts, with the details of their tokens.

    Args:
        model: the language model.
        sampler: the sampler.
        texts: the texts, measured.
    """

    def __init__(self, model: LanguageModel, sampler: Sampler, texts: OpenTexts) -> None:
        self.texts = texts
        self._sampler, self._vocabulary = sampler, model.vocabulary
        self._prompt = encoded(model.vocabulary, texts.prompt)
        self._details: list[list[TokenDetails]] = [[] for _ in texts.samples]

    def add(self, step: Step) -> None:
        """Add the details of a step that the texts have taken.

        Raises:
            SamplerError: a token that the model itself never draws.
        """
        # One infinite surprisal would make the mean of the whole sampler infinite.
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

    def records(self) -> list[Record]:
        """Return the records of the texts."""
        texts = zip(self.texts.generations(), self._details, strict=True)
        return [_record(text, self._prompt, tokens, self._vocabulary) for text, tokens in texts]


def _record(
    text: Generation, prompt: list[int], tokens: list[TokenDetails], vocabulary: Vocabulary
) -> Record:
    # The end token is measured, but it is not a word of the text: all texts would repeat it.
    ended = bool(text.tokens) and text.tokens[-1] in vocabulary.ends
    return Record(
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


ALTERNATIVES = 5


def details(
    step: Step, row: int, drawn: TokenRecord, past: list[int], vocabulary: Vocabulary
) -> TokenDetails:
    """Return the details of the token drawn in one row of a step.

    Args:
        step: the step.
        row: the row.
        drawn: the token of this row, with its measurements.
        past: the ids before it.
        vocabulary: the vocabulary of the ids.
    """
    logits = step.model_logits[row]
    p, text_of = softmax(logits.astype(np.float64)), texts_after(past, vocabulary)
    return {
        "token": END if drawn.token in vocabulary.ends else drawn.text,
        "rank": rank(logits, drawn.token),
        "p": float(p[drawn.token]),
        "q": min(math.exp(-drawn.surprisal), 1.0),
        "entropy": drawn.entropy,
        "alternatives": [[text_of(i), float(p[i])] for i in _likeliest(logits)],
    }


def _likeliest(logits: Array) -> list[int]:
    """Return the ids of the likeliest tokens; ties go to the lowest id."""
    return [int(i) for i in likeliest_tokens(logits, ALTERNATIVES)]
