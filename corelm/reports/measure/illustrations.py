"""The parts of a report that show instead of measure: some texts, and one distribution."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from corelm import LanguageModel, explain
from corelm.reports.document.content import KeptText, TryIt
from corelm.reports.measure import TEXTS
from corelm.reports.measure.generated_texts import Record
from corelm.reports.measure.text_set import TextSet
from corelm.toolkit import END, built_in

DIGITS = 7
"""Significant digits of the numbers of a token; the model's logits have no more."""
IN_NATS = ("surprisal", "sampler_surprisal", "entropy", "model_entropy")


def kept_texts(texts: TextSet, count: int | None = TEXTS) -> list[KeptText]:
    """Return the first texts of each prompt, of the first seed, with figures of texts and tokens.

    The first samples have the details of each token; every text has a list for each figure of
    tokens, with their ids and words.

    Args:
        texts: all texts of one sampler.
        count: the number of samples to keep of each prompt; None for all.

    Example:
        >>> import corelm
        >>> from corelm.reports.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> greedy = corelm.sampler("greedy")
        >>> [text] = kept_texts(TextSet(draw(ToyModel(), "the", greedy, 3, range(1), seed=1)))
        >>> text.tokens[0]["token"], text.tokens[0]["rank"], text.tokens[0]["q"]
        (' cat', 1, 1.0)
        >>> text.by_token["text"], text.by_token["surprisal"]
        ([' cat', ' sat', ' on'], [0.8639649, 1.066351, 0.6690496])
    """
    return [
        KeptText(
            prompt=record["prompt"],
            seed=record["seed"],
            sample=record["sample"],
            text=record["text"],
            finish_reason=record["finish_reason"],
            tokens=record["details"],
            figures=figures,
            by_token=_by_token(record),
        )
        for record, figures in _chosen(texts, count)
    ]


def _chosen(texts: TextSet, count: int | None) -> Iterator[tuple[Record, dict[str, float | None]]]:
    for at, record in enumerate(texts.records):
        if is_kept(record, texts.records[0]["seed"], count):
            yield record, texts.of_text(at)


def is_kept(record: Record, seed: int, count: int | None) -> bool:
    """Return True if a report keeps a text: one of the first samples, of the first seed.

    Args:
        record: the record of the text.
        seed: the first seed.
        count: the number of samples to keep of each prompt; None for all texts.
    """
    return count is None or (record["seed"] == seed and record["sample"] < count)


def _by_token(record: Record) -> dict[str, list[Any]]:
    """Return one list for each figure: a dict for each token would be ten times as long."""
    end = [] if record["end"] is None else [record["end"]]
    columns: dict[str, list[Any]] = {"token": [*record["tokens"], *end], "text": record["words"]}
    return columns | {name: _rounded(record[name]) for name in IN_NATS}  # type: ignore[literal-required]


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


WORDS = 40
"""The number of likeliest tokens whose text is kept."""
LEAST = -1e30
"""A logit with probability 0 that float32 can still hold."""


def try_it(model: LanguageModel, prompt: str) -> TryIt:
    """Return the model's distribution after a prompt, on which a reader tries samplers.

    Example:
        >>> from corelm.testing import ToyModel
        >>> found = try_it(ToyModel(), "the")
        >>> found.words[:2], len(np.frombuffer(base64.b64decode(found.logits), "<f4"))
        ([' cat', ' dog'], 11)
    """
    explanation = explain(model, prompt, built_in("stochastic"))
    stage = explanation.stages[0]
    logits = stage.logits[stage.ranked_tokens].astype(np.float64)
    # Shifted so that the first is 0, for float32 has few digits to lose on a common offset.
    below = np.maximum(logits - logits[0], LEAST)
    ends = model.vocabulary.ends
    words = [
        END if token in ends else explanation.text_of(token)
        for token in stage.ranked_tokens[:WORDS].tolist()
    ]
    logits_in_base64 = base64.b64encode(below.astype("<f4").tobytes()).decode("ascii")
    return TryIt(prompt=prompt, logits=logits_in_base64, words=words)
