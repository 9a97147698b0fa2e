"""The texts of mlx-lm's batch, which a logits processor sees one row at a time."""

import copy
from dataclasses import dataclass

from corelm.errors import UsageError
from corelm.interop import EngineSampler


@dataclass(eq=False)
class Text:
    """A text in progress: its sampler, and its last call."""

    engine: EngineSampler
    call: int


class Texts:
    """The texts that a logits processor continues, each with a sampler of its own.

    mlx-lm calls a processor for one row after another, and passes neither the row nor the length
    of the prompt.

    Args:
        engine: the sampler, which each text gets a copy of.
        alone: raise for texts that take turns, as the texts of a batch do.
    """

    def __init__(self, engine, alone):
        self._engine, self._alone = engine, alone
        self._open = []
        self._calls = 0

    def sampler_of(self, tokens):
        """Return the sampler of the text that these ids continue, or of a new text.

        Raises:
            UsageError: texts of a batch where only one at a time is allowed.
        """
        self._calls += 1
        # The latest text first: its prompt may be an entire earlier text.
        latest = reversed(self._open)
        text = next((text for text in latest if text.engine.continues(tokens)), None)
        if text is None:
            text = self._begin()
        elif self._alone and text.call != self._calls - 1:
            raise UsageError(
                "with a seed, each text of a batch needs a logits processor of its own: "
                "as_logits_processor(sampler, seed=seed, sample=i)"
            )
        text.call = self._calls
        return text.engine

    def _begin(self):
        # In a batch of n texts, each has its turn every n calls; a text that misses its turn has
        # ended.
        oldest = self._calls - 2 * len(self._open) - 1
        self._open = [text for text in self._open if text.call >= oldest]
        self._open.append(Text(copy.copy(self._engine), self._calls))
        return self._open[-1]
