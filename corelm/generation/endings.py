"""The conditions that end a text before its end token and its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from corelm.errors import UsageError
from corelm.generation.patterns import TextPatterns, texts_in

REPEATS, SHORTEST = 3, 2
"""In a loop, a phrase occurs at least this often, and has at least this many tokens."""


@dataclass(frozen=True)
class Endings:
    """The conditions that end a text before its end token and its length.

    Attributes:
        stop: strings that end a text, which excludes them.
        stop_regex: regular expressions that end it in the same way.
        stop_loop: the number of repeats of a text's last phrase that end it, or None.

    Example:
        >>> Endings.of("and", r"d\\w+g", 3).stop
        ('and',)
    """

    stop: tuple[str, ...] = ()
    stop_regex: TextPatterns = field(default_factory=TextPatterns)
    stop_loop: int | None = None

    @classmethod
    def of(
        cls,
        stop: Sequence[str] | str = (),
        stop_regex: Sequence[str] | str = (),
        stop_loop: int | None = None,
    ) -> Endings:
        """Return the endings for these arguments of `generate`.

        Raises:
            UsageError: a stop string that is empty or not a string, an invalid pattern, or fewer
                repeats than 2.
        """
        strings = texts_in("a stop string", stop)
        if "" in strings:
            raise UsageError("a stop string needs at least one character")
        repeats = stop_loop
        # Every text ends in one occurrence of its last phrase.
        if repeats is not None and (type(repeats) is not int or repeats < 2):
            raise UsageError(f"stop_loop must be a whole number, at least 2, not {repeats!r}")
        return cls(strings, TextPatterns(patterns=stop_regex), repeats)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `of`, for JSON."""
        return {
            "stop": list(self.stop),
            "stop_regex": list(self.stop_regex.patterns),
            "stop_loop": self.stop_loop,
        }

    def is_loop(self, tokens: Sequence[int]) -> bool:
        """Return True if a text of these ids ends in a loop that has the repeats of `stop_loop`."""
        return self.stop_loop is not None and self.in_loop(tokens, self.stop_loop)

    @staticmethod
    def in_loop(tokens: Sequence[int], repeats: int = REPEATS) -> bool:
        """Return True if a text ends by repeating one phrase.

        The phrase has two or more tokens. The text may break off inside the phrase, because it then
        ends by repeating another phrase of the same length. One token six times in a row counts as
        a phrase of two tokens, three times.

        Source: Holtzman et al. 2020, The curious case of neural text degeneration,
        arXiv 1904.09751.

        Args:
            tokens: the ids of the text.
            repeats: the number of times that the phrase occurs, at least 2.

        Example:
            >>> [Endings.in_loop(x) for x in ([9, 3, 4, 3, 4, 3, 4], [3, 4, 3, 4], [3] * 6)]
            [True, False, True]
        """
        end = len(tokens)
        # The phrases are equal if all but the first equal all but the last. Few lengths pass the
        # test of the last token, so this is fast enough for every token of a text.
        return any(
            tokens[-1] == tokens[-1 - size]
            and tokens[end - (repeats - 1) * size :] == tokens[end - repeats * size : end - size]
            for size in range(SHORTEST, end // repeats + 1)
        )
