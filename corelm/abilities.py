"""Optional abilities of sessions and vocabularies, and the defaults for those without them.

An ability is a method: an object that has the method has the ability, and needs no base class. Only
functions such as `can_rewind` look for the method. Functions such as `text_writer` call it, or do
its work without it.

| the method | without it |
|---|---|
| of a session | |
| `rewind`, `last_logits` | `Decoding.rewind` reads the text again; each token costs a pass |
| `join` | texts of different lengths are decoded one after the other |
| `fork` | a prompt is read again each time that it comes |
| `hidden_states` | decoders and metrics that compare them refuse the model |
| of a vocabulary | |
| `writer`, `token_bytes` | `text_writer` decodes the whole text for each token of a stream |
| `texts_after` | `texts_after` decodes the last tokens with the next one |
| `token_name` | `token_name` returns the text of the token |
| `render_chat` | `render_chat` says that the model has no chat template |
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, cast

from corelm.errors import UsageError
from corelm.language_model import Session, Vocabulary, has_method
from corelm.numerics.distributions import Array
from corelm.session_wrapper import SessionWrapper, if_wrapped_can

__all__ = [
    "ByteVocabulary",
    "ChatVocabulary",
    "ContextualVocabulary",
    "ForkableSession",
    "HiddenStateSession",
    "IncrementalVocabulary",
    "JoinableSession",
    "NamedVocabulary",
    "RewindableSession",
    "SessionWrapper",
    "can_fork",
    "can_join",
    "can_rewind",
    "has_hidden_states",
    "has_texts_after",
    "has_token_bytes",
    "if_wrapped_can",
    "render_chat",
    "text_writer",
    "texts_after",
    "token_name",
]


# ---- of a session ----


class RewindableSession(Session, Protocol):
    """A session that can drop tokens, for decoders that guess ahead.

    The logits of a text do not depend on whether its tokens came one by one or several at a time,
    nor on tokens that were dropped.
    """

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last `count` tokens.

        The last of them equal the result of `next_logits`.
        """

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""


class JoinableSession(Session, Protocol):
    """A session whose rows may differ in length, and to which rows can be added.

    The logits of a row do not depend on the other rows. A model with such sessions takes a list of
    ids for each row in `LanguageModel.start`.
    """

    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model.

        The other session must not be used afterwards.

        Raises:
            UsageError: a session of another model, or this session itself.
        """


class ForkableSession(Session, Protocol):
    """A session that can be copied, so that a prompt that was read once begins several texts."""

    def fork(self) -> ForkableSession:
        """Return a copy of the session; a change to one of the two leaves the other as it is.

        The logits are the same to the last bit.
        """


class HiddenStateSession(Session, Protocol):
    """A session with access to the network's hidden states, for decoders that compare them."""

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""


def can_rewind(session: Session) -> TypeGuard[RewindableSession]:
    """Return True if a session can drop tokens: it has `rewind` and `last_logits`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> can_rewind(ToyModel().start([[3]]))
        True
    """
    return has_method(session, "rewind") and has_method(session, "last_logits")


def can_join(session: Session) -> TypeGuard[JoinableSession]:
    """Return True if a session takes rows of different lengths, and more of them: it has `join`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> can_join(ToyModel().start([[3]]))
        True
    """
    return has_method(session, "join")


def can_fork(session: Session) -> TypeGuard[ForkableSession]:
    """Return True if a session can be copied: it has `fork`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> can_fork(ToyModel().start([[3]]))
        True
    """
    return has_method(session, "fork")


def has_hidden_states(session: Session) -> TypeGuard[HiddenStateSession]:
    """Return True if a session gives access to the network's hidden states.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_hidden_states(ToyModel().start([[3]]))
        True
    """
    return has_method(session, "hidden_states")


# ---- of a vocabulary ----


class ByteVocabulary(Vocabulary, Protocol):
    """A vocabulary in which a text is the concatenated UTF-8 bytes of its tokens.

    A token may hold a part of a character, so no token needs to be a text by itself.
    """

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for padding and ends."""


class IncrementalVocabulary(Vocabulary, Protocol):
    """A vocabulary that decodes a text token by token, at a constant cost per token.

    A vocabulary that is neither this nor a `ByteVocabulary` decodes the whole text for every token
    of a stream.
    """

    def writer(self) -> Callable[[int], str]:
        """Return a function from each next id of a text to the text that it adds.

        With a method `skip`, it reads the ids of a prompt without their texts; with `fork`, which
        returns a copy, several texts share the reading of a prompt.
        """


class _SkippingWriter(Protocol):
    """A writer that reads a prompt faster than it writes one, and once for several texts."""

    def __call__(self, token: int) -> str:
        """Return the text that the next id adds."""

    def skip(self, ids: Sequence[int]) -> None:
        """Read ids whose texts nobody wants."""

    def fork(self) -> Callable[[int], str]:
        """Return a copy, which continues the text by itself."""


class ContextualVocabulary(Vocabulary, Protocol):
    """A vocabulary in which the text of a token depends on the tokens before it.

    In a vocabulary of words, for example, the words before decide spaces and capitals. Samplers
    that constrain the text need the text of every token.
    """

    def texts_after(self, ids: Iterable[int]) -> Sequence[str]:
        """Return for each id of the vocabulary the text that it would add after these ids.

        Padding and ends add none. The result may be the same object after many texts.
        """


class NamedVocabulary(Vocabulary, Protocol):
    """A vocabulary whose tokens have names, even tokens without a text, such as `[end]`."""

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `<|endoftext|>`; "" for one without a name."""


class ChatVocabulary(Vocabulary, Protocol):
    """A vocabulary of a model that was trained to answer messages."""

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of messages, up to where the answer begins.

        Each message has a `role`, such as system, user or assistant, and a `content`. A vocabulary
        whose template describes tools takes them as a second argument, `tools`.

        Raises:
            UsageError: messages that the template refuses, or a model without a template.
        """


def has_token_bytes(vocabulary: Vocabulary) -> TypeGuard[ByteVocabulary]:
    """Return True if the vocabulary gives the bytes of each token: it has `token_bytes`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_token_bytes(ToyModel().vocabulary)
        False
    """
    return has_method(vocabulary, "token_bytes")


def has_texts_after(vocabulary: Vocabulary) -> TypeGuard[ContextualVocabulary]:
    """Return True if the vocabulary gives the texts of all next tokens at once: `texts_after`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_texts_after(ToyModel().vocabulary)
        True
    """
    return has_method(vocabulary, "texts_after")


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
    if has_method(vocabulary, "writer"):
        write = cast(IncrementalVocabulary, vocabulary).writer()
        if has_method(write, "skip"):
            cast(_SkippingWriter, write).skip(prompt)
        else:
            for token in prompt:
                write(token)
        return write
    if has_token_bytes(vocabulary):
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
    if has_texts_after(vocabulary):  # one pass gives the texts of all tokens
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
    if has_method(vocabulary, "token_name"):
        return cast(NamedVocabulary, vocabulary).token_name(token) or None
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
    if not has_method(vocabulary, "render_chat"):
        raise UsageError(NO_TEMPLATE)
    render = cast(Any, vocabulary).render_chat
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
