"""Default prompts, and notes on the unknown words of prompts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from corelm.abilities.optional import FullVocabulary
from corelm.errors import UsageError
from corelm.language_model import LanguageModel, Vocabulary, window_start
from corelm.printable import shown

__all__ = ["encoded"]

WORD = r"\w+(?:['\u2019-]\w+)*|[^\w\s]"

DEFAULT = "This movie"
"""The prompt for models without one of their own whose vocabulary has these words."""
LISTED = 8
"""The most unknown words that a note lists."""


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
    if _knows(vocabulary, DEFAULT):
        return DEFAULT
    words = (vocabulary.decode([token]).strip() for token in range(len(vocabulary)))
    known = (word for word in words if word.isalpha() and _knows(vocabulary, word))
    return next(known, DEFAULT)


def _knows(vocabulary: Vocabulary, text: str) -> bool:
    """Return True if a vocabulary can encode the text without unknown words."""
    try:
        vocabulary.encode(text)
    except UsageError:
        return False
    return not unknown_words(vocabulary, text)


def encoded(vocabulary: Vocabulary, prompt: str | Sequence[int]) -> list[int]:
    """Return the ids of a prompt, which may be a list of ids already.

    A prompt may begin with the start token, by its id or its name, as a rendered chat template
    does; it is left out, for the model puts it before every text.

    Raises:
        UsageError: the prompt is neither a text nor a list of ids.

    Example:
        >>> import corelm
        >>> vocabulary = corelm.load("gpt2").vocabulary
        >>> encoded(vocabulary, "<|endoftext|>This movie") == encoded(vocabulary, "This movie")
        True
    """
    if isinstance(prompt, str):
        ids = vocabulary.encode(_without_start(vocabulary, prompt))
    elif isinstance(prompt, list) and {*map(type, prompt)} <= {int}:
        ids = list(prompt)
    else:
        raise UsageError(f"a prompt is a text, not {shown(prompt)}")
    return ids[1:] if ids and ids[0] == vocabulary.start else ids


def _without_start(vocabulary: Vocabulary, text: str) -> str:
    """Return a text without the name of the start token, where the vocabulary doesn't read it."""
    name = FullVocabulary(vocabulary).token_name(vocabulary.start)
    # An engine's tokenizer recognises the name itself, and may treat the text after it specially.
    if not name or not text.startswith(name) or vocabulary.encode(name) == [vocabulary.start]:
        return text
    return text.removeprefix(name)


def prompt_notes(model: LanguageModel, prompts: Sequence[str]) -> Iterator[str]:
    """Yield a note on the unknown words of prompts, and one on prompts longer than the context.

    Example:
        >>> from corelm.testing import ToyModel
        >>> list(prompt_notes(ToyModel(), ["the cat", "the " * 130]))
        ['the prompt has 130 tokens, and the model sees the last 81 of them: its context is 100']
    """
    texts = [_without_start(model.vocabulary, prompt) for prompt in prompts]
    if note := unknown_words_note(model.vocabulary, texts):
        yield note
    if note := _cut_note(model, prompts):
        yield note


def _cut_note(model: LanguageModel, prompts: Iterable[str]) -> str:
    """Return a note on the longest prompt if the model does not see all of it, else ""."""
    context = getattr(model, "context_length", None)
    if not isinstance(context, int):  # optional: most models have it
        return ""
    vocabulary = model.vocabulary
    most = max((len(encoded(vocabulary, text)) for text in prompts), default=0)
    # The start token takes a place in the context too.
    cut = window_start(most + (vocabulary.start is not None), context)
    if not cut:
        return ""
    seen = most + (vocabulary.start is not None) - cut
    return (
        f"the prompt has {most:,} tokens, and the model sees the last {seen:,} of them: its "
        f"context is {context:,}"
    )


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
            parts = [part for part in re.findall(WORD, word) if unknown in vocabulary.encode(part)]
            found.update(dict.fromkeys(parts or [word]))
    return list(found)
