"""The growing text of one sample: the text that each token adds, up to a stop string or pattern."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from corelm.generation.patterns import TextPatterns
from corelm.language_model import ByteVocabulary, IncrementalVocabulary, Vocabulary
from corelm.token_texts import decode_prefixes


class Text:
    """The text after a prompt, token by token, until a stop string or pattern appears.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids of the prompt.
        stop: strings that end the text, which excludes them.
        patterns: regular expressions that end it in the same way.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> text = Text(vocabulary, vocabulary.encode("the"))
        >>> [text.add(token) for token in vocabulary.encode("cat sat")]
        [' cat', ' sat']
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompt: Sequence[int],
        stop: Sequence[str] = (),
        patterns: TextPatterns | None = None,
    ) -> None:
        self._stop, self._patterns = stop, patterns
        self._decode = text_writer(vocabulary)
        for token in prompt:
            self._decode(token)
        self.value: str = ""
        """The text after the prompt."""
        self._settled = 0  # characters that cannot belong to a stop string any more
        self._taken = 0  # the characters that `take_settled` has returned
        self.stopped: bool = False
        """True once a stop string or pattern has appeared; the text ends before it."""

    def add(self, token: int) -> str:
        """Append a token and return the text that it adds."""
        # A stop string may begin in an earlier token, so search the text and not the piece.
        text = self.value + self._decode(int(token))
        end, settled = self._search(text)
        before, self.value = len(self.value), text[:end]
        self.stopped, self._settled = end is not None, settled
        return self.value[before:]

    def take_settled(self, last: bool = False) -> str:
        """Return the text that has settled since the last call.

        Args:
            last: no token follows, so nothing needs to be held back.
        """
        start, self._taken = self._taken, len(self.value) if last else self._settled
        return self.value[start : self._taken]

    def _search(self, text: str) -> tuple[int | None, int]:
        """Return where a text ends, or None, and the number of its characters that have settled."""
        if not self._stop and not self._patterns:  # as in most runs, at every token
            return None, len(text)
        # From the settled characters on, or each token would search the whole text again.
        ends = [at for stop in self._stop if (at := text.find(stop, self._settled)) >= 0]
        settled = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        if self._patterns:
            end, may_begin = self._patterns.search(text, self._settled)
            ends += [] if end is None else [end]
            settled = min(settled, may_begin)
        return (min(ends), min(ends)) if ends else (None, settled)


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that begins a stop string."""
    return max((k for k in range(1, len(stop)) if text.endswith(stop[:k])), default=0)


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
    if isinstance(vocabulary, IncrementalVocabulary):
        return vocabulary.writer()
    if isinstance(vocabulary, ByteVocabulary):
        # Holds back the first bytes of a character until its last one has come.
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: characters.decode(vocabulary.token_bytes(token))
    return decode_prefixes(vocabulary)
