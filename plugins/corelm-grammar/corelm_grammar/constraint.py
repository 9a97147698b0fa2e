"""The part that all constraints share."""

from abc import abstractmethod
from contextlib import suppress

import numpy as np

from corelm import Mask, ParameterError
from corelm.errors import UsageError
from corelm_grammar.states import Matching

PURE = '%llguidance {"no_forcing": true}'
"""Allow every way to write a text in tokens, not only the tokenizer's own."""
LONGEST = 200_000
"""The longest pattern, schema, list or grammar, in characters."""


class Constraint(Mask):
    """Keep the tokens with which the text after the prompt can still become a match."""

    reads = frozenset({"tokens", "vocabulary"})

    def __post_init__(self):
        super().__post_init__()
        # Once, at construction, so that a bad pattern fails where it is written.
        object.__setattr__(self, "_grammar", self._compile())

    @abstractmethod
    def _compile(self):
        """Return the constraint in llguidance's form of Lark, or raise a ParameterError."""

    def prepare(self, vocabulary, prompt):
        """Compile the grammar for a vocabulary in advance, instead of in the first `allowed`.

        A server does so before a text joins a batch, whose other texts would have to wait.

        Args:
            vocabulary: the model's.
            prompt: the ids of the prompt.
        """
        with suppress(UsageError):  # `allowed` will raise the same error
            Matching(self._grammar, vocabulary).allowed(list(prompt), len(prompt))

    def allowed(self, context):
        """Return the tokens with which the text can still become a match.

        Returns:
            (batch, vocabulary), True for allowed tokens; all True in a row that can't match.

        Raises:
            UsageError: no token is allowed, the vocabulary has no texts, or the grammar is too
                large.
        """
        matching = Matching(self._grammar, context.vocabulary)
        # A model may have more logits than its tokenizer has tokens; those have no text.
        allowed = np.zeros((len(context.tokens), context.vocabulary_size), dtype=bool)
        for row, tokens in zip(allowed, context.tokens.tolist(), strict=True):
            ids = matching.allowed(tokens, context.prompt_length)[: len(row)]
            row[: len(ids)] = ids
        return allowed


def check_length(name, text):
    """Raise if a parameter is empty, or too long to be read in reasonable time."""
    if not text:
        raise ParameterError(f"{name} is missing; give one")
    if len(text) > LONGEST:
        raise ParameterError(f"{name} has {len(text):,} characters; at most {LONGEST:,} are read")
