"""The growing text of one sample: what each token adds, and where a stop string ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corelm.errors import UsageError
from corelm.language_model import IncrementalVocabulary, Vocabulary


class Text:
    """The text after a prompt, token by token, until a stop string appears.

    Args:
        vocabulary: from ids to text.
        prompt: the ids that the text goes on from.
        stop: strings that end the text and are no part of it, or one such string.

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
        self._write = _writer(vocabulary)
        for token in prompt:
            self._write(token)
        self._settled: list[str] = []
        self._taken = 0  # the number of settled parts that `take_settled` has returned
        self._held = ""  # the end of the text, which may yet turn out to begin a stop string
        self.stopped = False
        """Whether a stop string has appeared; it and what follows are not in the text."""

    @property
    def value(self) -> str:
        """The text after the prompt."""
        return "".join(self._settled) + self._held

    def add(self, token: int) -> str:
        """Append a token; returns what it added to the text."""
        before = len(self._held)
        written = self._held + self._write(int(token))
        ends = [at for stop in self._stop if (at := written.find(stop)) >= 0]
        if ends:
            self.stopped = True
            written = written[: min(ends)]
        held = 0 if ends else max((_overlap(written, stop) for stop in self._stop), default=0)
        self._settled.append(written[: len(written) - held])
        self._held = written[len(written) - held :]
        return written[before:]

    def take_settled(self, last: bool = False) -> str:
        """Return the text that has settled since the last call.

        Args:
            last: no token follows, so nothing needs to be held back.
        """
        parts = self._settled[self._taken :]
        self._taken = len(self._settled)
        return "".join(parts) + (self._held if last else "")


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop string."""
    return max((k for k in range(1, len(stop)) if text.endswith(stop[:k])), default=0)


def _writer(vocabulary: Vocabulary) -> Callable[[int], str]:
    """A function from each next id of a text to what it adds."""
    if isinstance(vocabulary, IncrementalVocabulary):
        return vocabulary.writer()
    ids: list[int] = []
    written = ""

    def write(token: int) -> str:
        nonlocal written
        ids.append(token)
        before, written = written, vocabulary.decode(ids)
        return written[len(before) :]

    return write
