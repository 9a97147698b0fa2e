"""The texts of mlx-lm's batch, which a logits processor sees one row at a time."""

import copy
from dataclasses import dataclass

import numpy as np

from corelm.errors import UsageError


@dataclass(eq=False)
class Text:
    """A text in progress: its ids, its sampler, and its last call."""

    tokens: np.ndarray
    engine: object
    call: int


class Texts:
    """The texts that a logits processor continues, recognised by their tokens.

    mlx-lm calls a processor for one row after another, and passes neither the row nor the length
    of the prompt.

    Args:
        engine: a `corelm.EngineSampler`, which each text gets a copy of.
        alone: refuse a text that continues after another one, as the texts of a batch do.
    """

    def __init__(self, engine, alone):
        self._engine, self._alone = engine, alone
        self._open = []
        self._calls = 0

    def find(self, tokens):
        """Return the text that these ids continue, or a new one.

        Raises:
            UsageError: texts of a batch where only one at a time is allowed.
        """
        self._calls += 1
        for text in self._open:
            before = text.tokens
            if len(before) + 1 == len(tokens) and np.array_equal(before, tokens[:-1]):
                if self._alone and text.call != self._calls - 1:
                    raise UsageError(
                        "with a seed, each text of a batch needs a logits processor of its own: "
                        "as_logits_processor(sampler, seed=seed, sample=i)"
                    )
                text.tokens, text.call = tokens, self._calls
                return text
        return self._begin(tokens)

    def _begin(self, tokens):
        # A batch of n texts calls each in n calls; those that it left out for longer have ended.
        oldest = self._calls - 2 * len(self._open) - 1
        self._open = [text for text in self._open if text.call >= oldest]
        self._open.append(Text(tokens, copy.copy(self._engine), self._calls))
        return self._open[-1]
