"""The texts that each sampler writes, and their figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from corelm.decoding.step import FinishReason, Step
from corelm.errors import SamplerError
from corelm.generation.generate import BATCH, Generation, OpenTexts, steps
from corelm.language_model import LanguageModel, Vocabulary
from corelm.metrics import texts as metrics
from corelm.metrics.intervals import jackknife, mean_interval, share_interval
from corelm.metrics.positions import Band, Sums, by_position, drift, outside, ratio, total
from corelm.metrics.self_bleu import self_bleu_left_out
from corelm.report.measure.token_details import Details, details
from corelm.sampler import Sampler

DETAILED = 5
"""The number of samples of each prompt, the first ones, that have details of every token."""


class Record(TypedDict):
    """One text and its measurements; surprisals and entropies in nats, one for each token drawn.

    Keys:
        prompt: its beginning.
        sample: its index; its random numbers depend on the seed and the index alone.
        text: the text behind the prompt.
        tokens: the ids, without the end token.
        finish_reason: why it ended, `end` or `length`.
        unknown: the number of [UNK] tokens.
        surprisal: under the model's own distribution.
        entropy: of the distribution drawn from.
        model_entropy: of the model's own distribution.
        constraint_cost: that of a `Generation`.
        details: of each token, for the first samples; empty for the others.
    """

    prompt: str
    sample: int
    text: str
    tokens: list[int]
    finish_reason: FinishReason
    unknown: int
    surprisal: list[float]
    entropy: list[float]
    model_entropy: list[float]
    constraint_cost: float | None
    details: list[Details]


def draw(
    model: LanguageModel,
    prompt: str,
    sampler: Sampler,
    length: int,
    samples: Sequence[int],
    seed: int,
    unknown: bool = False,
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
            model, prompt, sampler=sampler, length=length, samples=some, seed=seed, unknown=unknown
        )
        texts = OpenTexts(
            model, prompt, some, seed=seed, length=length, sampler=sampler, measured=True
        )
        records += _records(model, texts, _possible(drawn, sampler))
    return records


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
        for row, at in enumerate(step.samples.tolist()):
            if open_texts.samples[at] < DETAILED:
                past = [*prompt_ids, *open_texts.tokens[at][:-1]]
                token = open_texts.records[at][-1]
                found[at].append(details(step, row, token, past, model.vocabulary))
    texts = zip(open_texts.generations(), found, strict=True)
    return [_record(text, tokens, model.vocabulary) for text, tokens in texts]


def _record(text: Generation, tokens: list[Details], vocabulary: Vocabulary) -> Record:
    # The end token is measured, but it is not a word of the text: all texts would repeat it.
    ended = bool(text.tokens) and text.tokens[-1] in vocabulary.ends
    return Record(
        prompt=text.prompt,
        sample=text.sample,
        text=text.text,
        tokens=text.tokens[:-1] if ended else text.tokens,
        finish_reason=text.finish_reason,
        unknown=sum(token == vocabulary.unknown for token in text.tokens),
        surprisal=[step.model_surprisal for step in text.steps],
        entropy=[step.entropy for step in text.steps],
        model_entropy=[step.model_entropy for step in text.steps],
        constraint_cost=text.constraint_cost,
        details=tokens,
    )


def detailed(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the first texts of each prompt with details of their tokens: `texts` of a report.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> greedy = corelm.sampler("greedy")
        >>> [text] = detailed(draw(ToyModel(), "the", greedy, 3, range(1), seed=1))
        >>> text["tokens"][0]["token"], text["tokens"][0]["rank"], text["tokens"][0]["q"]
        (' cat', 1, 1.0)
    """
    return [
        {
            "prompt": record["prompt"],
            "sample": record["sample"],
            "text": record["text"],
            "finish_reason": record["finish_reason"],
            "tokens": record["details"],
        }
        for record in records
        if record["sample"] < DETAILED
    ]


def summary(records: Sequence[Record], human_band: Band | None = None) -> dict[str, Any]:
    """Compute the figures of one sampler's texts: `generated_texts` of a report.

    A figure that is undefined for these texts is None.

    Args:
        records: those of all its texts.
        human_band: the 5th and the 95th percentile, in nats, of the model's entropy at the
            positions of human text.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> greedy = corelm.sampler("greedy")
        >>> figures = summary(draw(ToyModel(), "the", greedy, 9, range(2), seed=1))
        >>> figures["n"], figures["tokens"], figures["self_bleu_4"], figures["loops"]
        (2, 18, 1.0, 0.0)
    """
    tokens = [record["tokens"] for record in records]
    written = [record["text"] for record in records]
    sums, of_set = _sums(records, human_band), metrics.text_figures(tokens, written)
    means = {name: ratio(of_texts) for name, of_texts in sums.items()}
    ci95 = {name: mean_interval(*of_texts) for name, of_texts in sums.items()}
    ends, surprisal = ci95["surprisal"], means["surprisal"]
    ci95["perplexity"] = ends and [_perplexity(end) for end in ends]
    return {
        "n": len(records),
        "tokens": sum(len(record["surprisal"]) for record in records),
        "perplexity": None if surprisal is None else _perplexity(surprisal),
        **means,
        **of_set,
        "ci95": {**ci95, **_intervals(of_set, tokens, written)},
        "by_position": by_position(
            {name: [r[name] for r in records] for name in ("entropy", "model_entropy")}
        ),
    }


def _perplexity(surprisal: float) -> float:
    return math.exp(min(surprisal, 700.0))  # math.exp overflows beyond 709


def _sums(records: Sequence[Record], human_band: Band | None) -> dict[str, Sums]:
    """The figures that are ratios of two sums over texts."""
    entropies = [record["model_entropy"] for record in records]
    surprisal = total([record["surprisal"] for record in records])
    nothing = [0.0] * len(records)  # 0 / 0: undefined without human text
    costs = [record["constraint_cost"] for record in records]
    return {
        "surprisal": surprisal,
        "model_entropy": total(entropies),
        "entropy_drift": drift(entropies),
        "outside_human_band": outside(entropies, human_band) if human_band else (nothing, nothing),
        "unknown": ([record["unknown"] for record in records], surprisal[1]),
        "constraint_cost": ([c or 0.0 for c in costs], [float(c is not None) for c in costs]),
    }


def _intervals(
    of_set: Mapping[str, float | None], tokens: list[list[int]], written: list[str]
) -> dict[str, list[float] | None]:
    """The intervals of the figures of `metrics.text_figures`."""
    # Texts are independent, so means over them have the usual interval. Figures of the whole set
    # are not means: leaving out one text at a time shows how much they vary.
    per_text = {f"rep_{n}": metrics.repetition(tokens, n) for n in (2, 3, 4)}
    per_text["diversity"] = metrics.diversity(tokens)
    left_out = {
        **{f"distinct_{n}": metrics.distinct_left_out(tokens, n) for n in (1, 2, 3)},
        "self_bleu_4": self_bleu_left_out(tokens),
        "zipf": metrics.zipf_left_out(tokens),
        "compression": metrics.left_out(metrics.compression, written),
    }
    return {
        **{
            name: mean_interval(np.nan_to_num(values), ~np.isnan(values))
            for name, values in per_text.items()
        },
        "loops": share_interval(int(metrics.loops(tokens).sum()), len(tokens)),
        **{name: jackknife(of_set[name], values) for name, values in left_out.items()},
    }
