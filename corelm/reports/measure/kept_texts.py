"""The texts that a report keeps: `texts` of its document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from corelm.reports.measure.defaults import TEXTS
from corelm.reports.measure.generated_texts import Record
from corelm.reports.measure.text_set import TextSet

DIGITS = 7
"""Significant digits of the numbers of a token; the model's logits have no more."""
IN_NATS = ("surprisal", "sampler_surprisal", "entropy", "model_entropy")


def kept_texts(texts: TextSet, count: int | None = TEXTS) -> list[dict[str, Any]]:
    """Return the first texts of each prompt, of the first seed, with figures of texts and tokens.

    Args:
        texts: all texts of one sampler.
        count: the number of samples to keep of each prompt; None for all.

    Returns:
        For each text its prompt, seed, sample, text and finish reason; the details of each token
        if it is one of the first samples; its `figures`; and `by_token`, a list for each figure
        of tokens, among them their ids and their words.

    Example:
        >>> import corelm
        >>> from corelm.reports.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> greedy = corelm.sampler("greedy")
        >>> [text] = kept_texts(TextSet(draw(ToyModel(), "the", greedy, 3, range(1), seed=1)))
        >>> text["tokens"][0]["token"], text["tokens"][0]["rank"], text["tokens"][0]["q"]
        (' cat', 1, 1.0)
        >>> text["by_token"]["text"], text["by_token"]["surprisal"]
        ([' cat', ' sat', ' on'], [0.8639649, 1.066351, 0.6690496])
    """
    return [
        {
            "prompt": record["prompt"],
            "seed": record["seed"],
            "sample": record["sample"],
            "text": record["text"],
            "finish_reason": record["finish_reason"],
            "tokens": record["details"],
            "figures": figures,
            "by_token": _by_token(record),
        }
        for record, figures in _chosen(texts, count)
    ]


def _chosen(texts: TextSet, count: int | None) -> Iterator[tuple[Record, dict[str, float | None]]]:
    for record, figures in zip(texts.records, texts.by_text(), strict=True):
        if is_kept(record, texts.records[0]["seed"], count):
            yield record, figures


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
