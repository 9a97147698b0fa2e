"""The vocabularies of corelm's own models, by the style of their tokens."""

from __future__ import annotations

from typing import Protocol

from corelm import Vocabulary
from corelm.errors import ModelFileError
from corelm.models import byte_pairs
from corelm.models.byte_pairs import BytePairVocabulary
from corelm.models.word_vocabulary import STYLES, WordVocabulary

TOKENS = {name: style.help for name, style in STYLES.items()} | {byte_pairs.STYLE: byte_pairs.HELP}
"""The styles of tokens with a line about each."""


class StoredVocabulary(Vocabulary, Protocol):
    """A vocabulary that is stored as a text in a model's folder."""

    @property
    def padding(self) -> int:
        """The id that pads short rows: 0. The ids that are never drawn come first."""

    @property
    def style(self) -> str:
        """The style of its tokens, a key of `TOKENS`."""

    def dumps(self) -> str:
        """Return the text that `read_vocabulary` reads."""


def read_vocabulary(text: str, style: str) -> StoredVocabulary:
    """Read the text of a vocabulary with tokens of this style.

    Raises:
        ModelFileError: an unknown style, or a text that is not such a vocabulary.
    """
    if style not in TOKENS:
        raise ModelFileError(f"there are no tokens {style!r}; there are {', '.join(TOKENS)}")
    if style == byte_pairs.STYLE:
        return BytePairVocabulary.loads(text)
    return WordVocabulary.loads(text, style)
