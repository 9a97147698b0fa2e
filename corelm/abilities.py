"""What a session or a vocabulary can do beyond its contract, and the defaults that stand in.

An ability is a method: what has the method, not None, has the ability; nothing is inherited.
Functions such as `can_rewind` look for it, and no other code does. Functions such as `text_writer`
call it, or stand in for it.

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
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeGuard, TypeVar, cast

from numpy.typing import ArrayLike, NDArray

from corelm.errors import UsageError
from corelm.language_model import Session, Vocabulary
from corelm.numerics.distributions import Array

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


def _has(thing: Any, method: str) -> bool:
    # None switches off a method that a class inherits, as `__hash__ = None` does.
    return getattr(thing, method, None) is not None


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
    """A session whose rows may have different lengths, and that can get more of them.

    The logits of a row do not depend on the other rows. A model with such sessions takes a list of
    ids for each row in `LanguageModel.start`.
    """

    def join(self, other: Session) -> None:
        """Add the rows of another session of the same model after the own ones.

        The other session must not be used afterwards.

        Raises:
            UsageError: a session of another model, or this session itself.
        """


class ForkableSession(Session, Protocol):
    """A session that can be copied, so that a prompt that was read once begins several texts."""

    def fork(self) -> ForkableSession:
        """Return a session of the same rows; what happens to one of both doesn't change the other.

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
    return _has(session, "rewind") and _has(session, "last_logits")


def can_join(session: Session) -> TypeGuard[JoinableSession]:
    """Return True if a session takes rows of different lengths, and more of them: it has `join`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> can_join(ToyModel().start([[3]]))
        True
    """
    return _has(session, "join")


def can_fork(session: Session) -> TypeGuard[ForkableSession]:
    """Return True if a session can be copied: it has `fork`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> can_fork(ToyModel().start([[3]]))
        True
    """
    return _has(session, "fork")


def has_hidden_states(session: Session) -> TypeGuard[HiddenStateSession]:
    """Return True if a session gives access to the network's hidden states.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_hidden_states(ToyModel().start([[3]]))
        True
    """
    return _has(session, "hidden_states")


M = TypeVar("M", bound=Callable[..., Any])


def if_wrapped_can(method: M) -> M:
    """Make a method of a `SessionWrapper` that it has only if the session inside has it too.

    Example:
        >>> from corelm.testing import ToyModel
        >>> class Noted(SessionWrapper):
        ...     @if_wrapped_can
        ...     def rewind(self, count):
        ...         print("drop", count)
        ...         super().rewind(count)
        >>> Noted(ToyModel().start([[3, 4]])).rewind(1)
        drop 1
    """
    return cast(M, _PassedOn(method))


class _PassedOn:
    """A method that looks for the one of its name in the wrapped session first."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__, self.__name__ = method.__doc__, method.__name__

    def __get__(self, wrapper: Any, owner: type) -> Any:
        if wrapper is None:
            return self._method
        if not _has(wrapper.wrapped, self.__name__):
            raise AttributeError(f"the session has no method {self.__name__}")
        return partial(self._method, wrapper)


class SessionWrapper:
    """A session that passes everything on to another one, with the abilities of that one.

    A subclass changes what it counts, times or checks.

    Args:
        wrapped: the session.

    Attributes:
        wrapped: the session.

    Example:
        >>> import numpy as np
        >>> from corelm.testing import ToyModel
        >>> class Counted(SessionWrapper):
        ...     tokens = 0
        ...     def extend(self, tokens):
        ...         self.tokens += np.size(tokens)
        ...         super().extend(tokens)
        >>> session = Counted(ToyModel().start([[3]]))
        >>> session.extend(np.array([4]))
        >>> session.tokens, can_rewind(session), session.fork().tokens
        (1, True, 1)
    """

    def __init__(self, wrapped: Session) -> None:
        # The abilities are looked for when they are asked for.
        self.wrapped: Any = wrapped

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""
        logits: Array = self.wrapped.next_logits()
        return logits

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        self.wrapped.extend(tokens)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self.wrapped.select(rows)

    @if_wrapped_can
    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        logits: Array = self.wrapped.last_logits(count)
        return logits

    @if_wrapped_can
    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self.wrapped.rewind(count)

    @if_wrapped_can
    def join(self, other: Session) -> None:
        """Add the rows of another session, wrapped in the same way or not, after the own ones.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        self.wrapped.join(other.wrapped if isinstance(other, type(self)) else other)

    @if_wrapped_can
    def fork(self) -> ForkableSession:
        """Return a copy of this wrapper around a copy of the session."""
        other = copy(self)
        other.wrapped = self.wrapped.fork()
        return other

    @if_wrapped_can
    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        states: Array = self.wrapped.hidden_states(count)
        return states


# ---- of a vocabulary ----


class ByteVocabulary(Vocabulary, Protocol):
    """A vocabulary whose texts are the bytes of their tokens in UTF-8, one after the other.

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
        """Return a function from each next id of a text to the text that it adds."""


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
    """A vocabulary whose tokens have names, those without a text too, such as `[end]`."""

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `<|endoftext|>`; "" for one without a name."""


class ChatVocabulary(Vocabulary, Protocol):
    """A vocabulary of a model that was trained to answer messages."""

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of messages, up to where the answer begins.

        Each message has a `role`, such as system, user or assistant, and a `content`. A vocabulary
        whose template describes tools takes them as a second argument, `tools`.

        Raises:
            UsageError: messages that the model can't be given, or a model without a template.
        """


def has_token_bytes(vocabulary: Vocabulary) -> TypeGuard[ByteVocabulary]:
    """Return True if the texts of a vocabulary are the bytes of their tokens.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_token_bytes(ToyModel().vocabulary)
        False
    """
    return _has(vocabulary, "token_bytes")


def has_texts_after(vocabulary: Vocabulary) -> TypeGuard[ContextualVocabulary]:
    """Return True if a vocabulary gives the texts of all tokens after others at once.

    Example:
        >>> from corelm.testing import ToyModel
        >>> has_texts_after(ToyModel().vocabulary)
        True
    """
    return _has(vocabulary, "texts_after")


def text_writer(vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return a function from each next id of a text to the text that it adds.

    Pass the ids of the prompt first: its text decides spaces and the ends of characters.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> write = text_writer(vocabulary)
        >>> [write(token) for token in vocabulary.encode("the cat sat")]
        ['the', ' cat', ' sat']
    """
    if _has(vocabulary, "writer"):
        return cast(IncrementalVocabulary, vocabulary).writer()
    if has_token_bytes(vocabulary):
        # Holds back the first bytes of a character until its last one has come.
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        token_bytes = vocabulary.token_bytes
        return lambda token: characters.decode(token_bytes(token))
    return _decode_prefixes(vocabulary)


def _decode_prefixes(vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return the writer of a vocabulary that decodes whole texts only: one for each token."""
    ids: list[int] = []
    text = ""

    def decode(token: int) -> str:
        nonlocal text
        ids.append(token)
        before, text = text, vocabulary.decode(ids)
        return text[len(before) :]

    return decode


END = "[end]"
"""The name of the token that ends a text."""

TAIL = 16
"""The tokens before a token that decide its spelling: its space, its capital."""


def texts_after(past: Sequence[int], vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return a function from a token to the text that it would add; ends have their name.

    Args:
        past: the ids before it.
        vocabulary: the vocabulary of the ids.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> text_of = texts_after(vocabulary.encode("the"), vocabulary)
        >>> text_of(4), text_of(2)
        (' cat', '[end]')
    """
    tail = list(past[-TAIL:])
    if has_texts_after(vocabulary):  # one pass over the past for all tokens
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
    if _has(vocabulary, "token_name"):
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
        UsageError: a model without a chat template, or messages that it can't be given.

    Example:
        >>> from corelm.testing import ToyModel
        >>> render_chat(ToyModel().vocabulary, [{"role": "user", "content": "the"}])
        Traceback (most recent call last):
        corelm.errors.UsageError: this model has no chat template: it continues texts, and wasn't \
trained to answer messages
    """
    if not _has(vocabulary, "render_chat"):
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
