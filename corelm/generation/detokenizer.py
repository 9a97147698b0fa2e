"""The growing text of one sample: the text that each token adds, up to a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from corelm.errors import UsageError
from corelm.language_model import ByteVocabulary, IncrementalVocabulary, Vocabulary


class Text:
    """The text after a prompt, token by token, until a stop string appears.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids of the prompt.
        stop: strings that end the text and are not part of it, or one such string.

    Raises:
        UsageError: an empty stop string.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> text = Text(vocabulary, vocabulary.encode("the"))
        >>> [text.add(token) for token in vocabulary.encode("cat sat")]
        [' cat', ' sat']
    """

    def __init__(
        self, vocabulary: Vocabulary, prompt: Sequence[int], stop: Sequence[str] | str = ()
    ) -> None:
        self._stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if "" in self._stop:
            raise UsageError("a stop string needs at least one character")
        self._decode = _incremental_decoder(vocabulary)
        for token in prompt:
            self._decode(token)
        self._settled: list[str] = []
        self._taken = 0  # the number of settled parts that `take_settled` has returned
        self._held = ""  # the end of the text, which may be the beginning of a stop string
        self.stopped = False
        """True once a stop string has appeared; the text ends before it."""

    @property
    def value(self) -> str:
        """The text after the prompt."""
        return "".join(self._settled) + self._held

    def add(self, token: int) -> str:
        """Append a token and return the text that it adds."""
        before = len(self._held)
        text = self._held + self._decode(int(token))
        ends = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            text = text[: min(ends)]
        held = 0 if ends else max((_overlap(text, stop) for stop in self._stop), default=0)
        self._settled.append(text[: len(text) - held])
        self._held = text[len(text) - held :]
        return text[before:]

    def take_settled(self, last: bool = False) -> str:
        """Return the text that has settled since the last call.

        Args:
            last: no token follows, so nothing needs to be held back.
        """
        parts = self._settled[self._taken :]
        self._taken = len(self._settled)
        return "".join(parts) + (self._held if last else "")


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that begins a stop string."""
    return max((k for k in range(1, len(stop)) if text.endswith(stop[:k])), default=0)


def _incremental_decoder(vocabulary: Vocabulary) -> Callable[[int], str]:
    """Return a function from each next id of a text to the text that it adds."""
    if isinstance(vocabulary, IncrementalVocabulary):
        return vocabulary.writer()
    if isinstance(vocabulary, ByteVocabulary):
        # Holds back the first bytes of a character until its last one has come.
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: characters.decode(vocabulary.token_bytes(token))
    ids: list[int] = []
    text = ""

    def decode(token: int) -> str:
        nonlocal text
        ids.append(token)
        before, text = text, vocabulary.decode(ids)
        return text[len(before) :]

    return decode
