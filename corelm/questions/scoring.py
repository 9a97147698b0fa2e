"""Score given texts: the surprisal of each token and each word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corelm.abilities import FullVocabulary
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.step import model_surprisals
from corelm.generation.endings import Endings
from corelm.generation.teacher_forcing import ForcedTokens
from corelm.numerics.distributions import entropy_of_logits


@dataclass(frozen=True)
class ScoredToken:
    """One token of a text.

    Attributes:
        token: its id.
        text: the text that the token adds.
        surprisal: nats under the model; nan for one that the model cannot draw, and for the first
            token of a model that marks no beginning.
        entropy: nats, of the model's distribution there.
        rank: its rank among all tokens, 1 for the likeliest; None without a surprisal.
    """

    token: int
    text: str
    surprisal: float = math.nan
    entropy: float = math.nan
    rank: int | None = None


@dataclass(frozen=True)
class ScoredWord:
    """A word: the tokens from one space to the next.

    Attributes:
        text: the word, with the space before it.
        surprisal: the sum of its tokens; nan if one of them has none.
    """

    text: str
    surprisal: float


@dataclass(frozen=True)
class ScoredText:
    """A text and its tokens.

    Attributes:
        prompt: the text before it, which is read but not scored.
        text: the text.
        tokens: its tokens.
    """

    prompt: str
    text: str
    tokens: tuple[ScoredToken, ...]

    @property
    def scored(self) -> list[float]:
        """The surprisals of the tokens that have one."""
        return [each.surprisal for each in self.tokens if not math.isnan(each.surprisal)]

    @property
    def surprisal(self) -> float:
        """The surprisal of the text in nats."""
        return math.fsum(self.scored)

    @property
    def mean(self) -> float:
        """Nats per token; nan without a token that has a surprisal."""
        return self.surprisal / len(self.scored) if self.scored else math.nan

    @property
    def perplexity(self) -> float:
        """The exponential of the mean."""
        return math.exp(self.mean)

    @property
    def rep_4(self) -> float:
        """The share of 4-grams that repeat an earlier one; nan with fewer than four tokens."""
        ids = [each.token for each in self.tokens]
        grams = [*zip(*(ids[at:] for at in range(4)), strict=False)]
        return 1 - len({*grams}) / len(grams) if grams else math.nan

    @property
    def is_loop(self) -> bool:
        """True if it ends by repeating one phrase three times."""
        return Endings.in_loop([each.token for each in self.tokens])

    @property
    def words(self) -> list[ScoredWord]:
        """The words of the text."""
        words: list[list[ScoredToken]] = []
        for token in self.tokens:
            begins = not words or token.text[:1].isspace() or words[-1][-1].text[-1:].isspace()
            if begins:
                words.append([])
            words[-1].append(token)
        return [
            ScoredWord("".join(each.text for each in word), sum(each.surprisal for each in word))
            for word in words
        ]


@dataclass(frozen=True)
class ScoredTotal:
    """The figures of several texts together.

    Attributes:
        tokens: the number of tokens that have a surprisal.
        surprisal: the sum over these tokens, in nats.
        mean: nats per token, with the same weight for every token; nan without tokens.
        rep_4: the mean of the texts that have one; nan if none has.
        loops: the share of texts that end in a loop.
    """

    tokens: int
    surprisal: float
    mean: float
    rep_4: float
    loops: float

    @classmethod
    def of(cls, texts: Sequence[ScoredText]) -> ScoredTotal:
        """Return the figures of texts, at least one."""
        count, nats = sum(len(each.scored) for each in texts), [each.surprisal for each in texts]
        repeated = [each.rep_4 for each in texts if not math.isnan(each.rep_4)]
        return cls(
            count,
            math.fsum(nats),
            math.fsum(nats) / count if count else math.nan,
            math.fsum(repeated) / len(repeated) if repeated else math.nan,
            sum(each.is_loop for each in texts) / len(texts),
        )

    @property
    def perplexity(self) -> float:
        """The exponential of the mean."""
        return math.exp(self.mean)


def score(
    model: LanguageModel, texts: Sequence[tuple[str, str]], unknown: bool = False
) -> list[ScoredText]:
    """Return the scores of texts under a model, which reads many of them in one pass.

    Args:
        model: the language model.
        texts: the prompt of each text, which may be empty, and the text.
        unknown: allow [UNK], so that unknown words have a surprisal.

    Example:
        >>> from corelm.testing import ToyModel
        >>> [scored] = score(ToyModel(), [("the", " cat sat")])
        >>> [(token.text, round(token.surprisal, 2)) for token in scored.tokens]
        [(' cat', 0.86), (' sat', 1.07)]
    """
    vocabulary = model.vocabulary
    pairs = [ForcedTokens.split(vocabulary, prompt, text) for prompt, text in texts]
    # Without a start token the model has no distribution of the first token of a text.
    ids, firsts = [before + own for before, own in pairs], [len(before) for before, _ in pairs]
    full, scored = FullVocabulary(vocabulary), list[list[ScoredToken]]()
    for (prompt, _), whole in zip(texts, ids, strict=True):
        write, first = full.writer(), len(full.prompt_ids(prompt))
        added = [write(token) for token in whole]
        scored.append([ScoredToken(*each) for each in zip(whole, added, strict=True)][first:])
    skipped = [len(whole) - len(tokens) for whole, tokens in zip(ids, scored, strict=True)]
    for some in ForcedTokens.of(model, ids, firsts, unknown):
        own = some.logits[np.arange(len(some.tokens)), some.tokens]
        columns = (
            some.texts, some.tokens, model_surprisals(some.logits, some.tokens),
            entropy_of_logits(some.logits), (some.logits > own[:, None]).sum(axis=1) + 1,
        )  # fmt: skip
        for text, token, surprisal, entropy, rank in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            # The index in the tokens without the prompt.
            place = firsts[text] + some.place - skipped[text]
            has_surprisal = math.isfinite(surprisal)
            scored[text][place] = ScoredToken(
                token, scored[text][place].text, surprisal if has_surprisal else math.nan, entropy,
                rank if has_surprisal else None,
            )  # fmt: skip
    each = zip(texts, scored, strict=True)
    return [ScoredText(prompt, text, tuple(tokens)) for (prompt, text), tokens in each]
