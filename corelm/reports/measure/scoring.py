"""The surprisal of texts under any model, and their bytes, so that vocabularies compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from corelm import ByteVocabulary, LanguageModel, Vocabulary
from corelm.batching import prompt_and_text, teacher_forced
from corelm.reports.divergences import nan_if_impossible
from corelm.reports.metrics.sums import Sums
from corelm.toolkit import model_surprisals


class Score(TypedDict):
    """The score of one text.

    Keys:
        nats: the sum of the surprisals of its tokens.
        tokens: their number, without tokens that the model cannot draw.
        bytes: what these tokens add to the text, in UTF-8.
    """

    nats: float
    tokens: int
    bytes: int


def score(model: LanguageModel, texts: Sequence[tuple[str, str]]) -> list[Score]:
    """Return the score of each text under a model, which may have its own vocabulary.

    Args:
        model: the scorer.
        texts: for each text its prompt, which is read but not scored, and the text.

    Raises:
        ModelOutputError: the model returned logits that are no distribution.

    Example:
        >>> from corelm.testing import ToyModel
        >>> [found] = score(ToyModel(), [("the", " cat sat")])
        >>> round(found["nats"], 3), found["tokens"], found["bytes"]
        (1.93, 2, 8)
    """
    vocabulary = model.vocabulary
    pairs = [prompt_and_text(vocabulary, prompt, text) for prompt, text in texts]
    nats = [np.full(len(own), np.nan) for _, own in pairs]
    ids, lengths = [before + own for before, own in pairs], [len(before) for before, _ in pairs]
    for some in teacher_forced(model, ids, lengths):
        # A token that the scorer cannot draw would cost infinitely much: it is left out.
        surprisals = nan_if_impossible(model_surprisals(some.logits, some.tokens))
        for i, value in zip(some.texts, surprisals, strict=True):
            nats[i][some.place] = value
    return [_score(vocabulary, *pair, each) for pair, each in zip(pairs, nats, strict=True)]


def _score(
    vocabulary: Vocabulary, before: list[int], own: list[int], nats: NDArray[np.float64]
) -> Score:
    """Return the score of a text with these surprisals; nan for a token that cannot be drawn."""
    known = ~np.isnan(nats)
    kept = [token for token, there in zip(own, known.tolist(), strict=True) if there]
    size = count_bytes(vocabulary, before, kept) if own else 0
    return Score(nats=math.fsum(nats[known]), tokens=len(kept), bytes=size)


def count_bytes(vocabulary: Vocabulary, before: Sequence[int], ids: Sequence[int]) -> int:
    """Return the number of bytes in UTF-8 that ids add to the text of the ids before them.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> count_bytes(vocabulary, vocabulary.encode("the"), vocabulary.encode("cat sat"))
        8
    """
    if isinstance(vocabulary, ByteVocabulary):  # a token may be a part of a character
        return sum(len(vocabulary.token_bytes(token)) for token in ids)
    prompt, whole = vocabulary.decode(before), vocabulary.decode([*before, *ids])
    return len(whole[len(prompt) :].encode("utf-8", "surrogatepass"))


def bits_per_byte(nats: Sequence[float], sizes: Sequence[int]) -> Sums:
    """Return the sums of bits per byte over texts.

    Args:
        nats: (texts,) the sum of the surprisals of each text.
        sizes: (texts,) its bytes.
    """
    return [each / math.log(2) for each in nats], list(sizes)


def scorer_sums(scores: Sequence[Score]) -> dict[str, Sums]:
    """Return the figures of texts under the second scorer, as sums.

    Example:
        >>> scorer_sums([{"nats": 6.0, "tokens": 2, "bytes": 8}])["scorer_surprisal"]
        ([6.0], [2])
    """
    nats = [each["nats"] for each in scores]
    return {
        "scorer_surprisal": (nats, [each["tokens"] for each in scores]),
        "scorer_bits_per_byte": bits_per_byte(nats, [each["bytes"] for each in scores]),
    }
