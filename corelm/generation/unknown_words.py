"""Find the words of a text that a model does not know."""

from __future__ import annotations

import re

from corelm.language_model import Vocabulary

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")


def unknown_words(vocabulary: Vocabulary, text: str) -> list[str]:
    """Return the words of a text that the vocabulary lacks, each once, in their order.

    They are spelled as in the text, not as the vocabulary would split or fold them.

    Example:
        >>> from corelm.testing import ToyModel
        >>> unknown_words(ToyModel().vocabulary, "the zebra, the cat")
        ['zebra', ',']
    """
    unknown = vocabulary.unknown
    # One pass over the whole text answers for most: they have no unknown word.
    if unknown is None or unknown not in vocabulary.encode(text):
        return []
    found: dict[str, None] = {}
    for word in text.split():
        if unknown in vocabulary.encode(word):
            parts = [part for part in WORD.findall(word) if unknown in vocabulary.encode(part)]
            found.update(dict.fromkeys(parts or [word]))
    return list(found)
