"""The texts that each sampler writes, with what is measured on each token."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np

from corelm import Decoder, Generation, LanguageModel, Sampler, Step, Vocabulary
from corelm.errors import SamplerError
from corelm.reports.measure.cost import CountedModel
from corelm.reports.measure.scoring import count_bytes
from corelm.reports.measure.token_details import Details, details
from corelm.toolkit import BATCH, FinishReason, OpenTexts, steps

DETAILED = 5
"""The number of samples of each prompt, the first ones, that have details of every token."""


class Record(TypedDict):
    """One text and its measurements; surprisals and entropies in nats, one for each token drawn.

    Keys:
        prompt: its beginning.
        seed: the random seed; 0 for a text of people.
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
        constraint_cost: that of a `Generation`.
        model_calls: the calls of the model that the text took; None if they were not counted.
        tokens_read: the tokens that the model read for it; likewise.
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
    details: list[Details]


def draw(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    length: int,
    samples: Sequence[int],
    seed: int,
    unknown: bool = False,
    decoder: Decoder | None = None,
) -> list[Record]:
    """Draw some texts of a run with one sampler, and return a record for each.

    A text depends on the seed and its index alone, so a run may be divided in any way.

    Args:
        model: the language model.
        prompt: the beginning of the texts.
        sampler: the sampler.
        length: tokens to draw for each text, at most.
        samples: the indices of the texts within the run.
        seed: the random seed; samplers compared with one seed use the same random numbers.
        unknown: True to allow [UNK] to be sampled.
        decoder: the decoder; `Ancestral()` when left out.

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
        drawn = steps(
            model, prompt, sampler=sampler, length=length, samples=some, seed=seed,
            unknown=unknown, decoder=decoder,
        )  # fmt: skip
        texts = OpenTexts(
            model, prompt, some, seed=seed, length=length, sampler=sampler, measured=True
        )
        records += _records(model, texts, _possible(drawn, sampler))
    return records


def draw_counted(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    length: int,
    sample: int,
    seed: int,
    decoder: Decoder | None = None,
) -> Record:
    """Draw one text alone, as `draw` does, and count the calls of the model.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> record = draw_counted(ToyModel(), "the", corelm.sampler("greedy"), 3, 0, seed=1)
        >>> record["model_calls"], record["tokens_read"]
        (3, 3)
    """
    counted = CountedModel(model, len(model.vocabulary.encode(prompt)))
    [record] = draw(counted, prompt, sampler, length, (sample,), seed, decoder=decoder)
    record["model_calls"], record["tokens_read"] = counted.calls, counted.tokens_read
    return record


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


def _possible(drawn: Iterable[Step], sampler: Sampler) -> Iterator[Step]:
    """Yield the steps; refuse a token that the model itself never draws."""
    for step in drawn:
        # One infinite surprisal would make the mean of the whole sampler infinite.
        if not np.isfinite(step.model_surprisal).all():
            raise SamplerError(
                f"{sampler} restored a token that is never drawn at step {step.position}"
            )
        yield step


def _records(model: LanguageModel, open_texts: OpenTexts, drawn: Iterable[Step]) -> list[Record]:
    """The records of samples that are decoded in one batch."""
    found: list[list[Details]] = [[] for _ in open_texts.samples]
    prompt_ids = model.vocabulary.encode(open_texts.prompt)
    for step in open_texts.take(drawn):
        for row, sample in enumerate(step.samples.tolist()):
            at = open_texts.samples.index(sample)
            if sample < DETAILED:
                past = [*prompt_ids, *open_texts.tokens[at][:-1]]
                token = open_texts.records[at][-1]
                found[at].append(details(step, row, token, past, model.vocabulary))
    texts = zip(open_texts.generations(), found, strict=True)
    return [_record(text, prompt_ids, tokens, model.vocabulary) for text, tokens in texts]


def _record(
    text: Generation, prompt: list[int], tokens: list[Details], vocabulary: Vocabulary
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
