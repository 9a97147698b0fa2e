"""The part that all constraints share."""

from abc import abstractmethod
from contextlib import suppress

from corelm import Mask, ParameterError
from corelm.errors import UsageError
from corelm_grammar.states import Matching, allowed_tokens

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
        """Return the tokens with which the text can still become a match."""
        return allowed_tokens(self._grammar, context, context.vocabulary_size)


def check_length(name, text):
    """Raise if a parameter is empty, or too long to be read in reasonable time."""
    if not text:
        raise ParameterError(f"{name} is missing; give one")
    if len(text) > LONGEST:
        raise ParameterError(f"{name} has {len(text):,} characters; at most {LONGEST:,} are read")
