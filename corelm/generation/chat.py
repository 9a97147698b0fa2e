"""Messages as one text, for models that were trained to answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corelm.errors import UsageError
from corelm.language_model import ChatVocabulary, Vocabulary


def render_chat(vocabulary: Vocabulary, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text of messages, up to where the answer begins.

    Args:
        vocabulary: the model's.
        messages: each with a `role`, such as system, user or assistant, and a `content`.

    Raises:
        UsageError: a model without a chat template, or messages that it can't be given.

    Example:
        >>> from corelm.testing import ToyModel
        >>> render_chat(ToyModel().vocabulary, [{"role": "user", "content": "the"}])
        Traceback (most recent call last):
        corelm.errors.UsageError: this model has no chat template: it continues texts, and wasn't \
trained to answer messages
    """
    if not isinstance(vocabulary, ChatVocabulary):
        raise UsageError(NO_TEMPLATE)
    return vocabulary.render_chat(messages)


NO_TEMPLATE = (
    "this model has no chat template: it continues texts, and wasn't trained to answer messages"
)
