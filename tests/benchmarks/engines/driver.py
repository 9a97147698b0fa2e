"""Shared by the engines: prompts, a recorder of distributions, and corelm's own texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import corelm
from corelm.interop.testing import DISTRIBUTIONS

PROMPTS = ("see the cat sit", "the", "a cat")
REPEATED = "the cat the cat the"
"""A prompt whose continuation can be guessed from itself."""
ALONE = "the cat sit the"
"""A prompt without padding, which an engine's own penalty may count as a token."""
LENGTH, SEED = 10, 7
PENALTY = 1.3
MANY_ENDS = tuple(range(40, 90))
BEFORE_ENDS = corelm.sampler("min_length(n=4)")
"""Goes before every sampler where many tokens end a text, or most texts would be empty."""

Texts = list[list[int]]
Run = Callable[[], Texts]
Distributions = dict[tuple[int, ...], np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Runs whose texts must be equal.

    Attributes:
        own: corelm's run.
        ways: the runs of the engine, by the way in which they sample with corelm.
        start: the token before each text of the engine; None if there is none.
    """

    own: Run
    ways: dict[str, Run]
    start: int | None


class SettingsFirst:
    """A model with an engine's settings in it.

    What an engine passes to corelm is the model of corelm's samplers: `adaptive_p` reads the
    probabilities of drawn tokens under that distribution.

    Args:
        model: the model.
        settings: a sampler that does what the engine's settings do.
    """

    def __init__(self, model: corelm.LanguageModel, settings: corelm.Sampler) -> None:
        self._model, self._settings = model, settings
        self.vocabulary, self.context_length = model.vocabulary, model.context_length

    def next_token_distribution(self, tokens: np.ndarray) -> np.ndarray:
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        return corelm.softmax(self.start(tokens).next_logits())

    def start(self, tokens: np.ndarray) -> _SettingsSession:
        """Start a session."""
        return _SettingsSession(self._model.start(tokens), np.asarray(tokens), self._settings)


class _SettingsSession:
    """A session whose logits the settings have changed."""

    def __init__(self, session: corelm.Session, tokens: np.ndarray, settings: Any) -> None:
        self._session, self._tokens, self._settings = session, tokens, settings

    def next_logits(self) -> np.ndarray:
        """Return (batch, vocabulary) logits."""
        return self._settings(self._session.next_logits(), corelm.Context.of(self._tokens))

    def extend(self, tokens: np.ndarray) -> None:
        """Append a token to each row."""
        self._tokens = np.concatenate([self._tokens, np.reshape(tokens, (-1, 1))], axis=1)
        self._session.extend(tokens)

    def select(self, rows: np.ndarray) -> None:
        """Keep rows, in this order."""
        self._tokens = self._tokens[rows]
        self._session.select(rows)


Case = Callable[[str, corelm.Sampler], Comparison]
"""Maps an architecture and a sampler to the runs to compare."""


def recorded(run: Run, start: int | None = None) -> tuple[Texts, Distributions]:
    """Return the texts of a run, and the distribution after each text without its start token."""
    DISTRIBUTIONS.clear()
    texts = run()
    return texts, {
        text[1:] if text[:1] == (start,) else text: p for text, p in DISTRIBUTIONS.items()
    }


def own(
    model: corelm.LanguageModel,
    prompts: Sequence[str],
    sampler: corelm.Sampler,
    samples: Iterable[int] | None = None,
    length: int = LENGTH,
    seed: int = SEED,
) -> Texts:
    """Return the tokens of corelm before an end: row i is sample i of its prompt.

    Args:
        model: a model of corelm.
        prompts: a text for each row.
        sampler: the sampler.
        samples: the sample of each row, by default 0, 1, ...
        length: the largest number of tokens.
        seed: the seed of all texts.
    """
    texts = []
    numbers = range(len(prompts)) if samples is None else samples
    for i, prompt in zip(numbers, prompts, strict=True):
        steps = corelm.stream(model, prompt, sampler=sampler, length=length, seed=seed, sample=i)
        texts.append(cut([int(step.tokens[0]) for step in steps], model.vocabulary.ends))
    return texts


def own_by_seed(
    model: corelm.LanguageModel, prompts: Sequence[str], sampler: corelm.Sampler
) -> Texts:
    """Return the tokens of corelm where each row has a seed of its own, as requests have."""
    each = (own(model, [prompt], sampler, seed=SEED + i) for i, prompt in enumerate(prompts))
    return [text for [text] in each]


def cut(tokens: Sequence[int], ends: Iterable[int]) -> list[int]:
    """Return the tokens before the first that ends a text."""
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return [int(token) for token in tokens[:stop]]
