"""The optional methods of sessions and vocabularies, and the defaults that stand in for them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, cast, overload

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.language_model import Session, Vocabulary, has_method
from corelm.errors import UsageError
from corelm.text.printable import shown

if TYPE_CHECKING:
    from corelm.abilities.sessions import SessionAbilities
    from corelm.contracts.context import Context
    from corelm.contracts.step import Drawn
    from corelm.decoding.draws import DrawPlan

OfSession = Literal["draw", "rewind", "join", "join_many", "fork", "hidden_states"]
OfVocabulary = Literal["writer", "token_bytes", "texts_after", "token_name", "render_chat"]


class VocabularyAbilities(Vocabulary, Protocol):
    """The optional methods of a vocabulary, beyond `len`, `encode` and `decode`.

    Each method is an ability by itself. A vocabulary needs none of them, and no base class.
    """

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for padding and ends.

        A text is then the concatenated UTF-8 bytes of its tokens. A token may hold a part of a
        character, so no token needs to be a text by itself.
        """

    def writer(self) -> Callable[[int], str]:
        """Return a function from each next id of a text to the text that it adds.

        Its cost for a token doesn't grow with the text. A vocabulary with neither this method nor
        `token_bytes` decodes the whole text for every token of a stream.

        With a method `skip`, the function reads the ids of a prompt without their texts; with
        `fork`, which returns a copy, several texts share the reading of a prompt.
        """

    def texts_after(self, ids: Iterable[int]) -> Sequence[str]:
        """Return for each id of the vocabulary the text that it would add after these ids.

        For vocabularies in which the text of a token depends on the tokens before it, as spaces and
        capitals do between words. Padding and ends add none. The result may be the same object
        after many texts.
        """

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `<|endoftext|>`; "" for one without a name."""

    def render_chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of messages, up to where the answer begins.

        Each message has a `role`, such as system, user or assistant, and a `content`. A vocabulary
        whose template describes tools takes them as a second argument, `tools`.

        Raises:
            UsageError: messages that the template refuses, or a model without a template.
        """


BELONGS = {"rewind": "last_logits", "draw": "expect"}
"""The methods that abilities need beyond their own."""


@overload
def can(thing: Session, ability: OfSession) -> TypeGuard[SessionAbilities]: ...
@overload
def can(thing: Vocabulary, ability: OfVocabulary) -> TypeGuard[VocabularyAbilities]: ...
def can(thing: Session | Vocabulary, ability: str) -> bool:
    """Return True if a session or a vocabulary has an ability.

    An object that has the method has the ability. `rewind` needs `last_logits` too, `draw` needs
    `expect`.

    Args:
        thing: a session, or a vocabulary.
        ability: of a session: "draw", "rewind", "join", "join_many", "fork" or "hidden_states"; of
            a vocabulary: "writer", "token_bytes", "texts_after", "token_name" or "render_chat".

    Example:
        >>> from corelm.testing import ToyModel
        >>> can(ToyModel().start([[3]]), "rewind"), can(ToyModel().vocabulary, "token_bytes")
        (True, False)
    """
    return has_method(thing, ability) and has_method(thing, BELONGS.get(ability, ability))


def draw_next(
    session: Session,
    plan: DrawPlan,
    uniforms: NDArray[np.float64],
    context: Callable[[], Context],
    measured: bool = False,
) -> Drawn:
    """Draw the next token of each row, by the session's own `draw` if it has one.

    Args:
        session: the session.
        plan, uniforms, context, measured: as for `SessionAbilities.draw`.
    """
    if can(session, "draw"):
        return session.draw(plan, uniforms, context, measured)
    return plan.draw(session.next_logits(), uniforms[0], context, measured)


CHARACTER = 4
"""The most bytes of a character in UTF-8."""


class _ByteWriter:
    """A writer that holds back the bytes of a character until the last one arrives.

    Args:
        token_bytes: returns the bytes of an id.
        prompt: the ids before the text.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], prompt: Sequence[int]) -> None:
        self._token_bytes, tail = token_bytes, b""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        for token in reversed(prompt):  # only the last character may still be incomplete
            tail = token_bytes(token) + tail
            if len(tail) >= CHARACTER:
                break
        self._decode(tail)

    def __call__(self, token: int) -> str:
        return self._decode(self._token_bytes(token))

    def write(self, tokens: Iterable[int]) -> str:
        """Return the text that several ids add, in less time than one after the other."""
        return self._decode(b"".join(map(self._token_bytes, tokens)))


def text_of(writer: Callable[[int], str], tokens: Iterable[int]) -> str:
    """Return the text that the next ids of a text add, given its writer."""
    if isinstance(writer, _ByteWriter):
        return writer.write(tokens)
    return "".join(map(writer, tokens))


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
"""The number of preceding tokens that decide a token's spelling in a decoded text: its space."""


WORD = r"\w+(?:['\u2019-]\w+)*|[^\w\s]"
"""The regular expression of a word, or of a mark between words."""

NO_TEMPLATE = (
    "this model has no chat template: it continues texts, and wasn't trained to answer messages"
)
NO_TOOLS = "the chat template of this model has no place for tools; describe them in a message"


class FullVocabulary:
    """A vocabulary with every ability: its own methods, or the defaults in their place.

    Args:
        vocabulary: any vocabulary.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> write = FullVocabulary(vocabulary).writer(vocabulary.encode("the cat"))
        >>> [write(token) for token in vocabulary.encode("sat on")]
        [' sat', ' on']
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def same_as(self, other: Vocabulary) -> bool:
        """Return True if each id is the same token in both, so that two models can be compared.

        Example:
            >>> from corelm.testing import ToyModel
            >>> ours, theirs = ToyModel().vocabulary, ToyModel(["a", "cat"]).vocabulary
            >>> FullVocabulary(ours).same_as(ours), FullVocabulary(ours).same_as(theirs)
            (True, False)
        """
        one, special = self._vocabulary, ("padding", "unknown", "start")
        # Sizes before texts: only equal vocabularies cost a pass over all tokens.
        return one is other or (
            all(getattr(one, name) == getattr(other, name) for name in special)
            and set(one.ends) == set(other.ends)
            and len(one) == len(other)
            and all(one.decode([i]) == other.decode([i]) for i in range(len(one)))
        )

    def prompt_ids(self, prompt: str | Sequence[int]) -> list[int]:
        """Return the ids of a prompt, which may be a list of ids already.

        A prompt may begin with the start token, by its id or its name, as a rendered chat template
        does; it is left out, for the model puts it before every text.

        Raises:
            UsageError: the prompt is neither a text nor a list of ids.

        Example:
            >>> import corelm
            >>> vocabulary = FullVocabulary(corelm.load("gpt2").vocabulary)
            >>> vocabulary.prompt_ids("<|endoftext|>the") == vocabulary.prompt_ids("the")
            True
        """
        if isinstance(prompt, str):
            ids = self._vocabulary.encode(self.without_start(prompt))
        elif isinstance(prompt, list) and {*map(type, prompt)} <= {int}:
            ids = list(prompt)
        else:
            raise UsageError(f"a prompt is a text, not {shown(prompt)}")
        return ids[1:] if ids and ids[0] == self._vocabulary.start else ids

    def without_start(self, text: str) -> str:
        """Return a text without the name of the start token that it may begin with.

        An engine's tokenizer recognises the name itself; for such a vocabulary the text stays.
        """
        vocabulary, name = self._vocabulary, self.token_name(self._vocabulary.start)
        # Such a tokenizer may treat the text after the name specially.
        if not name or not text.startswith(name) or vocabulary.encode(name) == [vocabulary.start]:
            return text
        return text.removeprefix(name)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that the vocabulary lacks, each once, in their order.

        They are spelled as in the text, not as the vocabulary would split or fold them.

        Example:
            >>> from corelm.testing import ToyModel
            >>> FullVocabulary(ToyModel().vocabulary).unknown_words("the zebra, the cat")
            ['zebra', ',']
        """
        unknown = self._vocabulary.unknown
        if unknown is None:
            return []
        encode = self._vocabulary.encode
        # One pass over the whole text answers for most: they have no unknown word.
        if unknown not in encode(text):
            return []
        words: dict[str, None] = {}
        for word in text.split():
            if unknown in encode(word):
                parts = [part for part in re.findall(WORD, word) if unknown in encode(part)]
                words.update(dict.fromkeys(parts or [word]))
        return list(words)

    def writer(self, prompt: Sequence[int] = ()) -> Callable[[int], str]:
        """Return a function from each next id of a text to the text that it adds.

        Args:
            prompt: the ids before them, whose text decides spaces and the ends of characters.
        """
        vocabulary = self._vocabulary
        if can(vocabulary, "writer"):
            write: Any = vocabulary.writer()
            if has_method(write, "skip"):
                write.skip(prompt)
            else:
                for token in prompt:
                    write(token)
            return cast(Callable[[int], str], write)
        if can(vocabulary, "token_bytes"):
            return _ByteWriter(vocabulary.token_bytes, prompt)
        return _decode_prefixes(vocabulary, prompt)

    def writers(self, prompt: Sequence[int], count: int) -> list[Callable[[int], str]]:
        """Return writers for several texts with one prompt."""
        first: Any = self.writer(prompt)
        if has_method(first, "fork"):
            return [first, *(first.fork() for _ in range(1, count))]
        return [first, *(self.writer(prompt) for _ in range(1, count))]

    def text_after(self, past: Sequence[int]) -> Callable[[int], str]:
        """Return a function from a token to the text that it would add; ends give their name.

        Args:
            past: the ids before the token.

        Example:
            >>> from corelm.testing import ToyModel
            >>> vocabulary = ToyModel().vocabulary
            >>> text_of = FullVocabulary(vocabulary).text_after(vocabulary.encode("the"))
            >>> text_of(4), text_of(2)
            (' cat', '[end]')
        """
        vocabulary = self._vocabulary
        if can(vocabulary, "texts_after"):  # one pass gives the texts of all tokens
            text_of = vocabulary.texts_after(past).__getitem__
        else:
            tail = list(past[-TAIL:])
            start = len(vocabulary.decode(tail))
            text_of = lambda token: vocabulary.decode([*tail, token])[start:]  # noqa: E731
        return lambda token: (
            END if token in vocabulary.ends else self.text_or_bytes(token, text_of(token))
        )

    def text_or_bytes(self, token: int, text: str) -> str:
        """Return a token's text, with the bytes of a part of a character, such as `<0xE7>`.

        A token that adds no text, such as the beginning of a message, has its name instead.
        """
        if (text and "\ufffd" not in text) or not can(self._vocabulary, "token_bytes"):
            return text
        escaped = self._vocabulary.token_bytes(token).decode("utf-8", "surrogateescape")
        part = re.sub("[\udc80-\udcff]", lambda c: f"<0x{ord(c[0]) - 0xDC00:02X}>", escaped)
        return part or self.token_name(token) or text

    def token_name(self, token: int | None) -> str | None:
        """Return the name of a token, such as `<|endoftext|>`; None if it has none.

        Example:
            >>> import corelm
            >>> vocabulary = corelm.load("imdb").vocabulary
            >>> FullVocabulary(vocabulary).token_name(vocabulary.start)
            '[end]'
        """
        if token is None:
            return None
        if can(self._vocabulary, "token_name"):
            return self._vocabulary.token_name(token) or None
        return self._vocabulary.decode([token]) or None

    def render_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Return the text of messages, up to where the answer begins.

        Args:
            messages: each with a `role`, such as system, user or assistant, and a `content`.
            tools: the functions that the answer may call, as OpenAI's API describes them.

        Raises:
            UsageError: a model without a chat template, or messages that the template refuses.

        Example:
            >>> from corelm.testing import ToyModel
            >>> FullVocabulary(ToyModel().vocabulary).render_chat(
            ...     [{"role": "user", "content": "the"}]
            ... )
            Traceback (most recent call last):
            corelm.errors.UsageError: this model has no chat template: it continues texts, ...
        """
        if not can(self._vocabulary, "render_chat"):
            raise UsageError(NO_TEMPLATE)
        render: Any = self._vocabulary.render_chat  # with tools where the template describes them
        if not tools:
            return str(render(messages))
        template = getattr(self._vocabulary, "chat_template", None)
        if not isinstance(template, str) or "tools" not in template:
            raise UsageError(NO_TOOLS)
        return str(render(messages, tools=tools))

    def message(self, text: str) -> str:
        """Return a user's message as the text of a chat, up to where the answer begins.

        Raises:
            UsageError: as `render_chat`.
        """
        return self.render_chat([{"role": "user", "content": text}])

    @property
    def is_chat(self) -> bool:
        """True if the vocabulary has a chat template."""
        return isinstance(getattr(self._vocabulary, "chat_template", None), str)

    @property
    def unit(self) -> str:
        """The name of a token, in the singular: the vocabulary's `unit`, or "token"."""
        return str(getattr(self._vocabulary, "unit", "token"))
