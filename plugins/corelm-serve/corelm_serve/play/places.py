"""A place in a text: the words before it, the model's logits there, and the draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from corelm import Array, RandomStream, Sampler, Vocabulary, draw
from corelm.abilities import FullVocabulary
from corelm.runs import ContextBuilder, chain_stages
from corelm_serve.play.rows import RowCache
from corelm_serve.service import ServedModel

SURPRISALS = {"surprisal", "model_surprisal"}
"""The parts of a context that don't follow from the tokens alone."""


class Place:
    """A place in a text of a model.

    Args:
        served: the model.
        rows: its logits along texts.
        prompt: the prompt, kept as `text`.
        tokens: the ids drawn since.
        seed: decides the random numbers.
    """

    def __init__(
        self, served: ServedModel, rows: RowCache, prompt: str, tokens: Sequence[int], seed: int
    ) -> None:
        self.model = served.model
        self.vocabulary: Vocabulary = served.model.vocabulary
        self.text, self.prompt = prompt, tuple(served.ids(prompt))
        self.ids = self.prompt + tuple(served.ids(tuple(tokens), may_be_empty=True))
        self.rows, self._seed, self._stream = rows, seed, RandomStream(seed, [0])

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids drawn since the prompt."""
        return self.ids[len(self.prompt) :]

    @property
    def ended(self) -> bool:
        """True if the last token ends the text."""
        return len(self.ids) > len(self.prompt) and self.ids[-1] in self.vocabulary.ends

    def row(self) -> Array:
        """Return (1, vocabulary): the model's logits here."""
        return self.rows.after(self.ids)

    def past(self, chain: Sampler) -> ContextBuilder:
        """Return the context that a chain sees here: the tokens, with their surprisals when drawn.

        Raises:
            CorelmError: the chain failed at an earlier place.
        """
        builder = ContextBuilder(
            np.array(self.prompt, dtype=np.int64), 1, len(self.tokens), self.vocabulary
        )
        reads = {name for stage in chain.active_stages for name in stage.reads}
        if not reads & SURPRISALS:
            for token in self.tokens:
                builder.append(np.array([token]), np.array([np.nan]))
        else:
            rows = self.rows.along(self.ids, len(self.prompt))
            for token, row in zip(self.tokens, rows, strict=True):
                builder.append_drawn(
                    np.array([token]), chain_stages.apply(chain, row, builder.context), row
                )
        return builder

    def words(self) -> list[dict[str, Any]]:
        """Return the drawn tokens: id, text, and surprisal under the model in nats."""
        write = FullVocabulary(self.vocabulary).writer(self.prompt)
        nats = self.rows.surprisals(self.ids, len(self.prompt))
        return [
            {
                "id": token,
                "text": write(token),
                "end": token in self.vocabulary.ends,
                "surprisal": each if math.isfinite(each) else None,
            }
            for token, each in zip(self.tokens, nats, strict=True)
        ]

    def text_of(self) -> Callable[[int], dict[str, str | bool]]:
        """Return a function: the text that a token would add, and True if it ends it instead."""
        text, ends = FullVocabulary(self.vocabulary).text_after(self.ids), self.vocabulary.ends
        return lambda token: {"text": "" if token in ends else text(token), "end": token in ends}

    def drawn(self, logits: Array) -> int:
        """Return the token that is drawn here with the seed, as by `corelm sample`."""
        return int(draw(logits, self._stream.at(len(self.tokens)))[0][0])

    def counts(self, logits: Array, draws: int) -> Counter[int]:
        """Return how many of a run's first samples draw each token here."""
        uniforms = RandomStream(self._seed, range(draws)).at(len(self.tokens))
        return Counter(int(draw(logits, each)[0][0]) for each in uniforms[:, None])
