"""The likeliest tokens in place of each token of a text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from corelm.abilities import FullVocabulary
from corelm.cli.output.words import share, visible
from corelm.contracts.language_model import Vocabulary
from corelm.contracts.step import Step
from corelm.filters import likeliest_tokens
from corelm.numerics.distributions import softmax


class LikelyToken(NamedTuple):
    """A token that is likely at a place of a text.

    Attributes:
        token: its id.
        text: the text that it would add.
        probability: under the model.
        possible: True if the sampler can draw it there.
    """

    token: int
    text: str
    probability: float
    possible: bool

    def __str__(self) -> str:
        text = f"{visible(self.text)} {share(self.probability)}"
        return text if self.possible else f"({text})"


class Alternatives:
    """The likeliest tokens of the model at each place of texts that are drawn.

    Args:
        vocabulary: the vocabulary of the model.
        prompt: the prompt of the texts.
        count: the number of tokens at each place.

    Attributes:
        of_samples: for each sample, the alternatives at each of its places.
        own: for each sample, its own tokens as alternatives.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: str, count: int) -> None:
        self._vocabulary, self._count = vocabulary, count
        prompt_ids = FullVocabulary(vocabulary).prompt_ids(prompt)
        self._past: defaultdict[int, list[int]] = defaultdict(lambda: list(prompt_ids))
        self.of_samples: defaultdict[int, list[list[LikelyToken]]] = defaultdict(list)
        self.own: defaultdict[int, list[LikelyToken]] = defaultdict(list)

    def watch(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Yield the steps, and keep the alternatives of each."""
        for step in steps:
            for row, (sample, token) in enumerate(
                zip(step.samples.tolist(), step.tokens.tolist(), strict=True)
            ):
                likeliest = likeliest_tokens(step.model_logits[row], self._count)
                tokens = [int(i) for i in likeliest]
                p, logits = softmax(step.model_logits[row].astype(np.float64)), step.logits[row]
                text_of = FullVocabulary(self._vocabulary).text_after(self._past[sample])
                own, *others = (
                    LikelyToken(i, text_of(i), float(p[i]), bool(logits[i] > -np.inf))
                    for i in [token, *tokens]
                )
                self.own[sample].append(own)
                self.of_samples[sample].append(others)
                self._past[sample].append(token)
            yield step

    def as_json(self, sample: int, place: int) -> list[dict[str, Any]]:
        """Return the alternatives at one place of a text."""
        return [each._asdict() for each in self.of_samples[sample][place]]
