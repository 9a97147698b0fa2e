"""The optional methods of sessions and vocabularies, and the question whether an object has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeGuard, overload

from corelm.language_model import Session, Vocabulary, has_method
from corelm.numerics.distributions import Array

OfSession = Literal["rewind", "join", "fork", "hidden_states"]
OfVocabulary = Literal["writer", "token_bytes", "texts_after", "token_name", "render_chat"]


class SessionAbilities(Session, Protocol):
    """The optional methods of a session, beyond the three that it must have.

    Each method is an ability by itself, but for `rewind` and `last_logits`, which belong together.
    A session needs none of them, and no base class.
    """

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last `count` tokens.

        The last of them equal the result of `next_logits`.
        """

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row, for decoders that guess ahead.

        The logits of a text do not depend on whether its tokens came one by one or several at a
        time, nor on tokens that were dropped.
        """

    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model, which must not be used afterwards.

        The rows of such a session may differ in length, and the logits of a row do not depend on
        the other rows. The model takes a list of ids for each row in `LanguageModel.start`.

        Raises:
            UsageError: a session of another model, or this session itself.
        """

    def fork(self) -> SessionAbilities:
        """Return a copy, so that a prompt that was read once begins several texts.

        A change to one of the two leaves the other as it is. The logits are the same to the last
        bit.
        """

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""


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


@overload
def can(thing: Session, ability: OfSession) -> TypeGuard[SessionAbilities]: ...
@overload
def can(thing: Vocabulary, ability: OfVocabulary) -> TypeGuard[VocabularyAbilities]: ...
def can(thing: Session | Vocabulary, ability: str) -> bool:
    """Return True if a session or a vocabulary has an ability.

    An object that has the method has the ability. `rewind` needs `last_logits` too.

    Args:
        thing: a session, or a vocabulary.
        ability: of a session: "rewind", "join", "fork" or "hidden_states"; of a vocabulary:
            "writer", "token_bytes", "texts_after", "token_name" or "render_chat".

    Example:
        >>> from corelm.testing import ToyModel
        >>> can(ToyModel().start([[3]]), "rewind"), can(ToyModel().vocabulary, "token_bytes")
        (True, False)
    """
    if ability == "rewind" and not has_method(thing, "last_logits"):
        return False
    return has_method(thing, ability)
