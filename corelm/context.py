"""The context of a sampler: the tokens so far, and how surprising each was."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.language_model import Vocabulary


def protect(holder: Any, *names: str) -> None:
    """Replace these arrays of a frozen dataclass by read-only views."""
    fields = vars(holder)  # bypasses `__setattr__`, which a frozen dataclass disables
    for name in names:
        array = fields[name]
        # A view, because the caller may own the array and still write into it.
        if array.flags.writeable:
            fields[name] = view = array.view()
            view.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Context:
    """The tokens so far. Every state that a strategy needs is a function of them.

    Arrays are read-only.

    Attributes:
        tokens: (batch, time) token ids, the prompt first.
        surprisal: (batch, time) nats, of each token under the distribution that it was drawn
            from; nan for tokens of the prompt.
        model_surprisal: (batch, time) nats, the same under the model's own distribution. Computed
            only for samplers whose `reads` names it, else nan.
        prompt_length: the number of tokens in the prompt.
        vocabulary: the vocabulary of the ids, for samplers that name words or the end token; None
            when a distribution is reshaped without a model.
        vocabulary_size: the number of logits in a row; by default the length of the vocabulary, 0
            if there is none.
    """

    tokens: NDArray[np.int64]
    surprisal: NDArray[np.float64]
    model_surprisal: NDArray[np.float64]
    prompt_length: int
    vocabulary: Vocabulary | None = None
    vocabulary_size: int = 0

    @classmethod
    def of(cls, tokens: ArrayLike, **fields: Any) -> Context:
        """Return the context of a prompt: (batch, time) or (time,) ids.

        Example:
            >>> Context.of([[3, 4, 5]]).prompt_length
            3
        """
        ids = np.atleast_2d(np.asarray(tokens, dtype=np.int64))
        unknown = np.full(ids.shape, np.nan)
        fields.setdefault("surprisal", unknown)
        fields.setdefault("model_surprisal", unknown)
        fields.setdefault("prompt_length", ids.shape[1])
        return cls(ids, **fields)

    def __post_init__(self) -> None:
        protect(self, "tokens", "surprisal", "model_surprisal")
        if not self.vocabulary_size and self.vocabulary is not None:
            vars(self)["vocabulary_size"] = len(self.vocabulary)

    def with_vocabulary_size(self, size: int) -> Context:
        """Return the same context for rows of this many logits.

        An engine's model may have more logits than its tokenizer has tokens.
        """
        if self.vocabulary_size == size:
            return self
        other = copy(self)  # `replace` would protect the arrays again
        vars(other)["vocabulary_size"] = size
        return other

    def copy(self) -> Context:
        """Return the same context in arrays of its own, for code that might write into them."""
        return replace(
            self,
            tokens=self.tokens.copy(),
            surprisal=self.surprisal.copy(),
            model_surprisal=self.model_surprisal.copy(),
        )

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.tokens)

    @property
    def position(self) -> int:
        """The number of tokens drawn so far; 0 at the first."""
        return int(self.tokens.shape[1]) - self.prompt_length

    @property
    def drawn(self) -> NDArray[np.int64]:
        """(batch, position) ids: the tokens after the prompt."""
        return self.tokens[:, self.prompt_length :]
