"""The details of one drawn token: its probability and its likeliest alternatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import numpy as np

from corelm import Array, ContextualVocabulary, Step, TokenRecord, Vocabulary, softmax
from corelm.filters import likeliest_tokens
from corelm.toolkit import END, rank

ALTERNATIVES = 5
TAIL = 16
"""The tokens before an alternative that decide its spelling: its space, its capital."""


class Details(TypedDict):
    """The details of a token.

    Keys:
        token: the text that it added; the end of a text by its name.
        rank: its place under the model, 1 for the likeliest; ties go to the lowest id.
        p: its probability under the model.
        q: its probability in the distribution drawn from.
        entropy: of the distribution drawn from, in nats.
        alternatives: the model's likeliest tokens, as [text, p].
    """

    token: str
    rank: int
    p: float
    q: float
    entropy: float
    alternatives: list[list[str | float]]


def details(
    step: Step, row: int, drawn: TokenRecord, past: list[int], vocabulary: Vocabulary
) -> Details:
    """Return the details of the token drawn in one row of a step.

    Args:
        step: the step.
        row: the row.
        drawn: the token of this row, with its measurements.
        past: the ids before it.
        vocabulary: the vocabulary of the ids.
    """
    logits = step.model_logits[row]
    p, text_of = softmax(logits.astype(np.float64)), _texts_after(past[-TAIL:], vocabulary)
    return {
        "token": END if drawn.token in vocabulary.ends else drawn.text,
        "rank": rank(logits, drawn.token),
        "p": float(p[drawn.token]),
        "q": math.exp(-drawn.surprisal),
        "entropy": drawn.entropy,
        "alternatives": [[text_of(i), float(p[i])] for i in _likeliest(logits)],
    }


def _likeliest(logits: Array) -> list[int]:
    """The ids of the likeliest tokens; ties go to the lowest id."""
    return [int(i) for i in likeliest_tokens(logits, ALTERNATIVES)]


def _texts_after(past: list[int], vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return a function from a token to the text that it would add, the end by its name."""
    if isinstance(vocabulary, ContextualVocabulary):  # one pass over the past for all tokens
        text_of = vocabulary.texts_after(past).__getitem__
    else:
        start = len(vocabulary.decode(past))
        text_of = lambda token: vocabulary.decode([*past, token])[start:]  # noqa: E731
    return lambda token: END if token in vocabulary.ends else text_of(token)
