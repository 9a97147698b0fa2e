"""The data of a training run: texts, vocabulary, rows of token ids and the prompt of its texts.

A row is one longer than the context: the inputs are the row without its last token, the targets the
row without its first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Vocabulary
from corelm.bundles import Architecture, Bundle, Corpus, StoredVocabulary
from corelm.errors import DataError, TrainingError, UsageError
from corelm_train.progress import Reporter
from corelm_train.settings import Recipe, TrainingSettings
from corelm_train.vocabulary_learning import learn_vocabulary

MEASURED = 2500
"""The most held-out texts to measure on."""

OPENING_WORDS = 2
"""The number of words in a default prompt, such as "This movie"."""


@dataclass(frozen=True, eq=False)
class Material:
    """The training and test data of a run.

    Attributes:
        corpus: the texts, split.
        vocabulary: the tokens of the model.
        rows: (rows, context + 1) token ids to learn from.
        measured: the held-out texts to measure on.
        opening: (texts, context + 1) ids, the beginnings of `measured`.
        prompt: the beginning of the texts written after each epoch.
    """

    corpus: Corpus
    vocabulary: StoredVocabulary
    rows: TokenRows
    measured: list[str]
    opening: TokenRows
    prompt: str


def prepare(
    settings: TrainingSettings,
    architecture: Architecture,
    recipe: Recipe,
    start: Bundle | None,
    report: Reporter,
) -> Material:
    """Read the corpus and convert it to rows.

    Args:
        settings: the data, the share to hold out, the prompt.
        architecture: its vocabulary size is the largest allowed, its context length the number of
            inputs in a row.
        recipe: the style of tokens and of rows.
        start: the model whose vocabulary is used; None learns one.
        report: receives notes before slow work, and a warning about unknown words in the prompt.

    Raises:
        DataError: texts that cannot be read, or too few of them.
        TrainingError: texts that are too short for a row.
        UsageError: an empty prompt, for a model whose texts have no beginning of their own.
    """
    report.note(f"reading {settings.data}")
    texts = Corpus.of(settings.data, settings.held_out)
    if start is None:
        report.note(f"learning the vocabulary of {len(texts.train):,} texts")
        size = architecture.vocabulary_size
        vocabulary = learn_vocabulary(texts.train, recipe.tokens, size, end=recipe.packed)
    else:
        vocabulary = start.vocabulary
    prompt = _checked_prompt(settings.prompt, texts.train, vocabulary, report)
    context_length = architecture.context_length
    rows = _training_rows(texts, vocabulary, context_length, recipe)
    measured = list(texts.held_out)
    if len(measured) > MEASURED:  # drawn with a fixed seed
        chosen = np.random.default_rng(0).choice(len(measured), MEASURED, replace=False)
        measured = [measured[i] for i in sorted(chosen.tolist())]
    opening = opening_rows(measured, vocabulary, context_length)
    if not opening[:, 1:].any():
        raise DataError(
            f"the texts held out of {texts.name!r} are too short to measure on: "
            "no token in them follows another; give more text, or hold out more with --held-out"
        )
    return Material(texts, vocabulary, rows, measured, opening, prompt)


def _checked_prompt(
    wanted: str | None,
    texts: Sequence[str],
    vocabulary: StoredVocabulary,
    report: Reporter,
) -> str:
    prompt = frequent_opening(texts, vocabulary) if wanted is None else wanted
    if not prompt.strip() and vocabulary.start is None:
        raise UsageError(
            "the prompt is empty, and this network needs at least one token to continue: "
            "give some words with --prompt"
        )
    words = dict.fromkeys(re.findall(r"[\w'\u2019-]+|[^\w\s]", prompt))
    unknown = [each for each in words if vocabulary.unknown in vocabulary.encode(each)]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        report.warn(f"the prompt has words that the vocabulary lacks: {listed}")
    return prompt


def frequent_opening(texts: Sequence[str], vocabulary: StoredVocabulary) -> str:
    """Return the texts' most frequent first two words that the vocabulary has.

    Example:
        >>> from corelm.models.word_vocabulary import WordVocabulary
        >>> words = WordVocabulary(["", "[UNK]", "a", "cat", "dog", "sat"], "words")
        >>> frequent_opening(["A cat sat", "A bird sat", "A bird ate", "a cat"], words)
        'A cat'
    """
    openings = Counter(" ".join(text.split()[:OPENING_WORDS]) for text in texts)
    for opening, _ in openings.most_common():
        if opening and vocabulary.unknown not in vocabulary.encode(opening):
            return opening
    ids = (i for text in texts for i in vocabulary.encode(text) if i != vocabulary.unknown)
    return vocabulary.decode([next(ids)])


def _training_rows(
    texts: Corpus,
    vocabulary: StoredVocabulary,
    context_length: int,
    recipe: Recipe,
) -> TokenRows:
    cut = packed_rows if recipe.packed else padded_rows
    rows = cut(texts.train, vocabulary, context_length)
    if not rows[:, 1:].any():
        raise TrainingError(
            f"the texts are too short: together they need more than {context_length} tokens"
            if recipe.packed
            else "the texts are too short: none has two tokens, one to follow the other"
        )
    return rows


TokenRows = NDArray[np.uint16] | NDArray[np.uint32]


def padded_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Cut or pad each text to one row, as the chapter does: (texts, context + 1)."""
    width = context_length + 1
    rows = [vocabulary.encode(text)[:width] for text in texts]
    result = np.zeros((len(rows), width), dtype=_dtype(vocabulary))
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result


def packed_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Pack all tokens of all texts into full rows, without padding: (rows, context + 1).

    A text begins and ends with the vocabulary's tokens for that, if it has them. It is cut into
    rows from its beginning; each shares one token with the next. The remainders are joined
    and cut in the same way.
    """
    dtype = _dtype(vocabulary)
    start, ends = _start(vocabulary), list(vocabulary.ends)[:1]
    rows: list[NDArray[Any]] = []
    rest = [np.empty(0, dtype=dtype)]
    for text in texts:
        whole, left = _whole_rows(
            np.array([*start, *vocabulary.encode(text), *ends], dtype=dtype), context_length
        )
        rows.extend(whole)
        rest.append(left)
    rows.extend(_whole_rows(np.concatenate(rest), context_length)[0])
    return np.array(rows, dtype=dtype).reshape(-1, context_length + 1)


def _whole_rows(ids: NDArray[Any], step: int) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Return rows of `step` + 1 ids that overlap by one id, and the remaining ids."""
    count = max(len(ids) - 1, 0) // step
    return [ids[i * step : (i + 1) * step + 1] for i in range(count)], ids[count * step :]


def opening_rows(texts: Iterable[str], vocabulary: Vocabulary, context_length: int) -> TokenRows:
    """Return the beginning of each text as a model reads it: (texts, context + 1).

    That is the vocabulary's start token, if it has one, and the first `context_length` tokens.
    """
    start = _start(vocabulary)
    rows = padded_rows(texts, vocabulary, context_length)[:, : context_length + 1 - len(start)]
    before = np.full((len(rows), len(start)), start, dtype=rows.dtype)
    return np.concatenate([before, rows], axis=1)


def _start(vocabulary: Vocabulary) -> list[int]:
    return [] if vocabulary.start is None else [vocabulary.start]


def _dtype(vocabulary: Vocabulary) -> Any:
    return np.uint16 if len(vocabulary) <= 2**16 else np.uint32
