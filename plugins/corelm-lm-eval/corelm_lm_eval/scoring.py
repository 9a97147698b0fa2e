"""The likelihood of continuations, from teacher-forced passes over texts of any lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from corelm import LanguageModel, Vocabulary
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import ForcedTokens, ModelLogits

Pair = tuple[list[int], list[int]]
"""The ids of a context, and the ids that continue it."""


def context_and_continuation(vocabulary: Vocabulary, context: str, continuation: str) -> Pair:
    """Return the ids of a context and of its continuation, as lm-evaluation-harness splits them.

    Trailing spaces of the context move to the continuation, as tokens begin with their spaces.
    """
    if not context:
        return prefix(vocabulary), FullVocabulary(vocabulary).prompt_ids(continuation)
    stripped = context.rstrip()
    whole = FullVocabulary(vocabulary).prompt_ids(context + continuation)
    before = FullVocabulary(vocabulary).prompt_ids(stripped)
    return before or prefix(vocabulary), whole[len(before) :]


def prefix(vocabulary: Vocabulary) -> list[int]:
    """Return the ids before a text without a context: an end token if there is no start token.

    Raises:
        UsageError: a model with neither token.
    """
    if vocabulary.start is not None:
        return []
    if not vocabulary.ends:
        raise UsageError(
            "this model has no token for the beginning or the end of a text, so the first word of "
            "a text has no likelihood; evaluate tasks with a context"
        )
    return [min(vocabulary.ends)]


def windows(vocabulary: Vocabulary, ids: list[int], context_length: int) -> list[Pair]:
    """Cut a text into parts that are scored separately, as lm-evaluation-harness does.

    Each part has as many tokens as the model attends to, after the last token of the part before.

    Args:
        vocabulary: the vocabulary of the ids.
        ids: the text.
        context_length: the largest number of tokens that the model attends to.
    """
    before, start = prefix(vocabulary), vocabulary.start
    if len(ids) + len(before) + (start is not None) <= context_length:
        return [(before, ids)]
    # The model puts its start token before each part.
    size = context_length - (start is not None)
    cut = get_rolling_token_windows(ids, -1, max(size, 1), 1)
    (_, first), *others = map(make_disjoint_window, cut)
    return [(before, first), *others]


def likelihoods(
    model: LanguageModel, pairs: Sequence[Pair], rows: int, unknown: bool
) -> Iterator[tuple[float, bool]]:
    """Yield the log-likelihood of each continuation, and True if greedy decoding writes it.

    Args:
        model: the language model.
        pairs: contexts and continuations.
        rows: the largest number of texts in one pass.
        unknown: allow [UNK]; otherwise a continuation with an unknown word is impossible.
    """
    nats: list[list[float]] = [[] for _ in pairs]
    greedy = np.ones(len(pairs), dtype=bool)
    texts, lengths = [before + own for before, own in pairs], [len(before) for before, _ in pairs]
    for some in ForcedTokens.of(model, texts, lengths, unknown, rows):
        greedy[some.texts] &= some.logits.argmax(axis=1) == some.tokens
        surprisals = ModelLogits.surprisals(some.logits, some.tokens).tolist()
        for text, surprisal in zip(some.texts.tolist(), surprisals, strict=True):
            nats[text].append(surprisal)
    for each, is_greedy in zip(nats, greedy.tolist(), strict=True):
        yield -math.fsum(each), is_greedy
