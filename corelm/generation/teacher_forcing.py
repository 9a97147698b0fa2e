"""Teacher forcing: a model's logits before each token of given texts, many texts in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can
from corelm.abilities.optional import FullVocabulary
from corelm.contracts.language_model import LanguageModel, Vocabulary
from corelm.contracts.step import ModelLogits
from corelm.generation.generate import BATCH
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]

LOGITS_BYTES = 64 * 2**20
"""The most memory for the logits of one pass of the model, in single precision: 64 MiB."""


@dataclass(frozen=True, eq=False)
class ForcedTokens:
    """The tokens of given texts at one place after their prompts, with the logits before them.

    Attributes:
        texts: (rows,) the index of each text.
        place: the number of tokens between the prompts and these tokens.
        tokens: (rows,) ids.
        logits: (rows, vocabulary) the model's; tokens that are never drawn are at minus infinity.
    """

    texts: Ids
    place: int
    tokens: Ids
    logits: Array

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        texts: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
        unknown: bool = False,
        rows: int = BATCH,
    ) -> Iterator[ForcedTokens]:
        """Yield all tokens of texts after their prompts, with the model's logits before them.

        Texts are read in batches, of any lengths if the sessions of the model can be joined; other
        models read prompts of one length together. The logits of a text don't depend on the others.

        Args:
            model: the language model.
            texts: the ids of each text, with its prompt.
            prompt_lengths: tokens of each text that are read and not returned; at least 1 for a
                model that marks no beginning of a text.
            unknown: allow [UNK].
            rows: the largest number of texts in one pass.

        Raises:
            ModelOutputError: the model returned logits that are not a distribution.

        Example:
            >>> from corelm.testing import ToyModel
            >>> for some in ForcedTokens.of(ToyModel(), [[11, 4], [4, 9, 7]], [1, 1]):
            ...     print(some.place, some.texts, some.tokens, some.logits.shape)
            0 [0 1] [4 9] (2, 13)
            1 [1] [7] (1, 13)
        """
        for batch in _batches(model, texts, prompt_lengths, rows):
            firsts = [prompt_lengths[i] for i in batch]
            for some in cls.in_step(model, [texts[i] for i in batch], firsts, unknown):
                yield replace(some, texts=batch[some.texts])

    @classmethod
    def in_step(
        cls,
        model: LanguageModel,
        texts: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
        unknown: bool = False,
    ) -> Iterator[ForcedTokens]:
        """Read texts in one batch: yield each place with all the texts that reach it, in order.

        Args:
            model, unknown: as for `of`.
            texts: the ids of at least one text, each with its prompt and a token after it.
            prompt_lengths: all the same unless the model's sessions can be joined.

        Raises:
            ModelOutputError: the model returned logits that are not a distribution.
        """
        prepare = ModelLogits(model.vocabulary, unknown)
        for place, reached, logits in _read_logits(model, texts, prompt_lengths):
            following = [texts[row][prompt_lengths[row] + place] for row in reached]
            tokens = np.array(following, dtype=np.int64)
            yield cls(reached, place, tokens, prepare(logits, place))

    @staticmethod
    def split(vocabulary: Vocabulary, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """Return the ids before the first token with a distribution, and the ids of the text.

        Without a start token, an empty prompt gets the first token of the text.

        Example:
            >>> from corelm.testing import ToyModel
            >>> ForcedTokens.split(ToyModel().vocabulary, "the", " cat sat")
            ([11], [4, 9])
        """
        ids_of = FullVocabulary(vocabulary).prompt_ids
        before, whole = ids_of(prompt), ids_of(prompt + text)
        # A token spans the end of the prompt and the start of the text.
        if whole[: len(before)] != before:
            whole = before + vocabulary.encode(text)
        first = len(before) if before or vocabulary.start is not None else 1
        return whole[:first], whole[first:]


def _batches(
    model: LanguageModel, texts: Sequence[Sequence[int]], prompt_lengths: Sequence[int], rows: int
) -> Iterator[Ids]:
    """Yield the indices of texts of similar lengths, to be read together."""
    firsts = np.array(prompt_lengths, dtype=np.int64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64) - firsts
    order = np.lexsort((firsts, lengths))
    order = order[lengths[order] > 0]
    if not len(order):
        return
    if not can(model.start(_prompts(texts, firsts, order[:1])), "join"):
        order = order[np.argsort(firsts[order], kind="stable")]
        bounds = np.flatnonzero(np.diff(firsts[order])) + 1
    else:
        bounds = np.empty(0, dtype=np.int64)
    for alike in np.split(order, bounds):
        yield from (alike[first : first + rows] for first in range(0, len(alike), rows))


def _prompts(
    texts: Sequence[Sequence[int]], firsts: Ids | Sequence[int], rows: Ids | range
) -> Ids | list[list[int]]:
    """Return the prompts of rows: an array, or a list if their lengths differ."""
    prompts = [list(texts[row][: firsts[row]]) for row in rows]
    if len({len(prompt) for prompt in prompts}) > 1:
        return prompts
    return np.array(prompts, dtype=np.int64).reshape(len(prompts), -1)


def _read_logits(
    model: LanguageModel, texts: Sequence[Sequence[int]], firsts: Sequence[int]
) -> Iterator[tuple[int, Ids, Array]]:
    """Read texts in step; yield each place, the texts that reach it, and the logits there.

    The logits are copies, as the model returned them.

    Args:
        model: the language model.
        texts: the ids of at least one text, each with its prompt and at least one token after it.
        firsts: the length of each prompt; all the same unless the model's sessions can be joined.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64) - np.array(firsts)
    # The padding is never read: a text leaves the session where it ends.
    tokens = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
    for row, (text, first) in enumerate(zip(texts, firsts, strict=True)):
        tokens[row, : lengths[row]] = text[first:]
    session = model.start(_prompts(texts, firsts, range(len(texts))))
    several = can(session, "rewind")
    batch: Ids = np.arange(len(texts))
    start = 0
    for stop in _block_ends(lengths, len(model.vocabulary), several):
        # A text that has ended leaves the session, so that the model computes little padding.
        reached = lengths[batch] > start
        if not reached.all():
            batch = batch[reached]
            session.select(np.flatnonzero(reached))
        # The session is one token behind: the last token of a text is scored but never read.
        if stop > 1:
            session.extend(tokens[batch, max(start - 1, 0) : stop - 1])
        count = stop - start
        block = (
            np.asarray(session.last_logits(count))
            if count > 1 and can(session, "rewind")
            else np.asarray(session.next_logits())[:, None]
        )
        for place in range(start, stop):
            reached = lengths[batch] > place
            yield place, batch[reached], block[reached, place - start]
        del block  # so the next pass doesn't hold two blocks in memory
        start = stop


def _block_ends(lengths: Ids, vocabulary_size: int, several: bool) -> Iterator[int]:
    """Yield where each block of places ends, which is one place if not `several`.

    A block has at most `LOGITS_BYTES` of logits, or one place.
    """
    place = 0
    while place < lengths.max():
        left = np.sort(lengths[lengths > place])
        most = LOGITS_BYTES // (4 * vocabulary_size * len(left)) if several else 1
        # Half of the texts reach the end of the block, so less than half of it is padding.
        place = min(place + max(most, 1), int(left[len(left) // 2]))
        yield place
