"""Default prompts, and notes on the unknown words of prompts."""

from __future__ import annotations

from collections.abc import Iterable

from corelm.generation.unknown_words import unknown_words
from corelm.language_model import LanguageModel, Vocabulary

DEFAULT = "This movie"
"""The prompt for models without one of their own whose vocabulary has these words."""
LISTED = 8
"""Unknown words that a note lists at most."""


def default_prompt(model: LanguageModel) -> str:
    """Return the default prompt of a model.

    A bundle states its prompt in its manifest. Another model gets "This movie" if its vocabulary
    has these words, and otherwise the first word of its vocabulary.

    Example:
        >>> from corelm.testing import ToyModel
        >>> default_prompt(ToyModel())
        'and'
    """
    stated = getattr(model, "default_prompt", None)
    if isinstance(stated, str):
        return stated
    vocabulary = model.vocabulary
    if not unknown_words(vocabulary, DEFAULT):
        return DEFAULT
    words = (vocabulary.decode([token]).strip() for token in range(len(vocabulary)))
    known = (word for word in words if word.isalpha() and not unknown_words(vocabulary, word))
    return next(known, DEFAULT)


def unknown_words_note(vocabulary: Vocabulary, prompts: Iterable[str]) -> str:
    """Return a note on the words of prompts that a model does not know; "" if there are none.

    Example:
        >>> from corelm.testing import ToyModel
        >>> unknown_words_note(ToyModel().vocabulary, ["the cat", "the zebra"])
        "the model does not know 'zebra'; it reads unknown words as [UNK]"
    """
    found = (word for text in prompts for word in unknown_words(vocabulary, text))
    words = list(dict.fromkeys(found))
    if not words:
        return ""
    listed = ", ".join(map(repr, words[:LISTED]))
    if len(words) > LISTED:
        listed += f" and {len(words) - LISTED:,} more"
    return f"the model does not know {listed}; it reads unknown words as [UNK]"
