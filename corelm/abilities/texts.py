"""The text of tokens in any vocabulary: what it gives by itself, or the default that stands in."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from corelm.abilities.optional import can
from corelm.errors import UsageError
from corelm.language_model import Vocabulary, has_method


class _SkippingWriter(Protocol):
    """A writer that reads a prompt faster than it writes one, and once for several texts."""

    def __call__(self, token: int) -> str:
        """Return the text that the next id adds."""

    def skip(self, ids: Sequence[int]) -> None:
        """Read ids whose texts nobody wants."""

    def fork(self) -> Callable[[int], str]:
        """Return a copy, which continues the text by itself."""


def text_writer(vocabulary: Vocabulary, prompt: Sequence[int] = ()) -> Callable[[int], str]:
    """Return a function from each next id of a text to the text that it adds.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids before them, whose text decides spaces and the ends of characters.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> write = text_writer(vocabulary, vocabulary.encode("the cat"))
        >>> [write(token) for token in vocabulary.encode("sat on")]
        [' sat', ' on']
    """
    if can(vocabulary, "writer"):
        write = vocabulary.writer()
        if has_method(write, "skip"):
            cast(_SkippingWriter, write).skip(prompt)
        else:
            for token in prompt:
                write(token)
        return write
    if can(vocabulary, "token_bytes"):
        return _decode_bytes(vocabulary.token_bytes, prompt)
    return _decode_prefixes(vocabulary, prompt)


def text_writers(
    vocabulary: Vocabulary, prompt: Sequence[int], count: int
) -> list[Callable[[int], str]]:
    """Return writers as `text_writer` does, for several texts with one prompt."""
    first = text_writer(vocabulary, prompt)
    if has_method(first, "fork"):
        return [first, *(cast(_SkippingWriter, first).fork() for _ in range(1, count))]
    return [first, *(text_writer(vocabulary, prompt) for _ in range(1, count))]


CHARACTER = 4
"""The most bytes of a character in UTF-8."""


def _decode_bytes(
    token_bytes: Callable[[int], bytes], prompt: Sequence[int]
) -> Callable[[int], str]:
    """Return a writer that holds back the bytes of a character until the last one arrives."""
    characters, tail = codecs.getincrementaldecoder("utf-8")("replace"), b""
    for token in reversed(prompt):  # only the last character may still be incomplete
        tail = token_bytes(token) + tail
        if len(tail) >= CHARACTER:
            break
    characters.decode(tail)
    return lambda token: characters.decode(token_bytes(token))


def _decode_prefixes(vocabulary: Vocabulary, prompt: Sequence[int]) -> Callable[[int], str]:
    """Return a writer for any vocabulary, which decodes the whole text again for each token."""
    ids = list(prompt)
    text = vocabulary.decode(ids) if ids else ""

    def decode(token: int) -> str:
        nonlocal text
        ids.append(token)
        before, text = text, vocabulary.decode(ids)
        return text[len(before) :]

    return decode


END = "[end]"
"""The name of the token that ends a text."""

TAIL = 16
"""The number of preceding tokens that decide a token's spelling: its space, its capital."""


def texts_after(past: Sequence[int], vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return a function from a token to the text that it would add; end tokens give their name.

    Args:
        past: the ids before the token.
        vocabulary: the vocabulary of the ids.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> text_of = texts_after(vocabulary.encode("the"), vocabulary)
        >>> text_of(4), text_of(2)
        (' cat', '[end]')
    """
    tail = list(past[-TAIL:])
    if can(vocabulary, "texts_after"):  # one pass gives the texts of all tokens
        text_of = vocabulary.texts_after(tail).__getitem__
    else:
        start = len(vocabulary.decode(tail))
        text_of = lambda token: vocabulary.decode([*tail, token])[start:]  # noqa: E731
    return lambda token: END if token in vocabulary.ends else text_of(token)


def token_name(vocabulary: Vocabulary, token: int | None) -> str | None:
    """Return the name of a token, such as `<|endoftext|>`; None if it has none.

    Example:
        >>> import corelm
        >>> vocabulary = corelm.load("imdb").vocabulary
        >>> token_name(vocabulary, vocabulary.start)
        '[end]'
    """
    if token is None:
        return None
    if can(vocabulary, "token_name"):
        return vocabulary.token_name(token) or None
    return vocabulary.decode([token]) or None


def render_chat(
    vocabulary: Vocabulary,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the text of messages, up to where the answer begins.

    Args:
        vocabulary: the model's.
        messages: each with a `role`, such as system, user or assistant, and a `content`.
        tools: the functions that the answer may call, as OpenAI's API describes them.

    Raises:
        UsageError: a model without a chat template, or messages that the template refuses.

    Example:
        >>> from corelm.testing import ToyModel
        >>> render_chat(ToyModel().vocabulary, [{"role": "user", "content": "the"}])
        Traceback (most recent call last):
        corelm.errors.UsageError: this model has no chat template: it continues texts, and wasn't \
trained to answer messages
    """
    if not can(vocabulary, "render_chat"):
        raise UsageError(NO_TEMPLATE)
    render: Any = vocabulary.render_chat  # with tools where the template describes them
    if not tools:
        return str(render(messages))
    template = getattr(vocabulary, "chat_template", None)
    if not isinstance(template, str) or "tools" not in template:
        raise UsageError(NO_TOOLS)
    return str(render(messages, tools=tools))


NO_TEMPLATE = (
    "this model has no chat template: it continues texts, and wasn't trained to answer messages"
)
NO_TOOLS = "the chat template of this model has no place for tools; describe them in a message"
