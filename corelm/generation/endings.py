"""The conditions that end a text before its end token and its length: strings, patterns, loops."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from corelm.abilities.optional import END
from corelm.errors import UsageError
from corelm.text.printable import shown

TIMEOUT = 0.03
"""The most seconds of a processor for one search; the usual one takes microseconds."""
BURST, USUAL = 0.1, 1e-3
"""The most seconds for all searches of a `TextPatterns`: a fixed budget, and more per search."""
MOST_CHARACTERS = 1_000
"""The longest pattern: before its first search, `regex` prepares a literal in cubic time, which no
timeout interrupts. 1,000 characters take a second, 10,000 ten minutes."""
MOST_REPEATS = 100_000
"""The largest product of a pattern's counts: `regex` unrolls counted repeats when it compiles."""
# A brace after a backslash is a character, not the count of a repeat.
COUNT = r"(?<!\\)\{(\d+)"


class TextPatterns:
    """Strings and regular expressions that are searched for in a growing text.

    Matches are found in the text so far: `cat` and `cat\\b` match when a token ends in "cat", even
    if the next token makes it "cats"; `cat\\W` waits for the next character.

    Args:
        strings: texts to find as they are, or one such text.
        patterns: regular expressions of the package `regex`, which extends the syntax of Python's
            `re`, or one such expression.
        ignore_case: do not distinguish upper and lower case.

    Raises:
        UsageError: an empty string, or a pattern that is invalid or matches the empty text.

    Example:
        >>> patterns = TextPatterns("cat sat", r"d\\w+g", ignore_case=True)
        >>> patterns.search("The Cat sat"), patterns.search("The ca"), patterns.search("The mat")
        ((4, 4), (None, 4), (None, 7))
    """

    def __init__(
        self,
        strings: Sequence[str] | str = (),
        patterns: Sequence[str] | str = (),
        *,
        ignore_case: bool = False,
    ) -> None:
        self.strings: tuple[str, ...] = texts_in("a string to search for", strings)
        self.patterns: tuple[str, ...] = texts_in("a pattern", patterns)
        if "" in self.strings:
            raise UsageError("a string to search for needs at least one character")
        self._fold = _folded if ignore_case else str
        self._folded_strings = [self._fold(string) for string in self.strings]
        self._compiled = [_compiled(pattern, ignore_case) for pattern in self.patterns]
        self._left = BURST

    def __bool__(self) -> bool:
        """True if there is anything to search for."""
        return bool(self.strings or self.patterns)

    def search(self, text: str, start: int = 0) -> tuple[int | None, int]:
        """Find the first match in a text that may grow, and the first beginning of one.

        Args:
            text: the text so far.
            start: the first character at which a match may begin.

        Returns:
            The index at which the first match begins, or None; and the index at which a match
            begins, or could begin once the text has grown: by default the length of the text.

        Raises:
            UsageError: the search takes more than 30 milliseconds of a processor, or the searches
                so far more than a tenth of a second and a millisecond each. A pattern that takes a
                little less for each token would stop all texts that are written with it.
        """
        # A partial match reaches the end of the text: the next tokens decide if it is one.
        hits = [hit for each in self._compiled if (hit := self._search(each, text, start))]
        matches = [hit.start() for hit in hits if not hit.partial]
        begun = [hit.start() for hit in hits]
        if self.strings:
            folded = self._fold(text)
            positions = [folded.find(string, start) for string in self._folded_strings]
            matches += [position for position in positions if position >= 0]
            begun += [_beginning(string, folded, start) for string in self._folded_strings]
        return min(matches, default=None), min([*matches, *begun], default=len(text))

    def _search(self, compiled: Any, text: str, start: int) -> Any:
        """Return a match or, if there is none, a partial match at the end of the text."""
        began = time.thread_time()
        try:
            match = _search(compiled, text, start)
        except (TimeoutError, MemoryError):
            self._left = -1.0
            raise UsageError(
                _too_long(compiled.pattern, f"on a text of {len(text)} characters")
            ) from None
        self._left += USUAL - (time.thread_time() - began)
        if self._left < 0:
            raise UsageError(_too_long(compiled.pattern, "in all, token after token"))
        self._left = min(self._left, BURST)
        return match


def _search(compiled: Any, text: str, start: int) -> Any:
    """Return a match or a partial match.

    Raises:
        TimeoutError: it takes too long.
    """
    end = time.thread_time() + TIMEOUT
    while True:
        try:
            # Concurrent: it releases the lock of the interpreter for other threads, such as a
            # server's.
            return compiled.search(text, start, partial=True, timeout=TIMEOUT, concurrent=True)
        except TimeoutError:  # of the time of all threads, such as those of a model
            if time.thread_time() >= end:
                raise


def _too_long(pattern: str, where: str) -> str:
    return (
        f"the pattern {shown(pattern)} takes too long {where}; write it without repeats inside "
        "repeats"
    )


def texts_in(thing: str, value: Sequence[str] | str) -> tuple[str, ...]:
    """Return one text or several as a tuple.

    Raises:
        UsageError: something else; the message begins with `thing`.

    Example:
        >>> texts_in("a pattern", "c.t"), texts_in("a pattern", ["c.t", "d.g"])
        (('c.t',), ('c.t', 'd.g'))
    """
    alone = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    texts: tuple[Any, ...] = (value,) if alone else tuple(value)
    if odd := [text for text in texts if not isinstance(text, str)]:
        raise UsageError(f"{thing} is a text, not {shown(odd[0])}")
    return texts


def _folded(text: str) -> str:
    """Return the text folded for case-insensitive comparison, with each character in its place."""
    if text.isascii():
        return text.lower()
    # Some characters fold to several, as ß to ss, which would shift the positions of matches.
    return "".join(next((c for c in (x.casefold(), x.lower()) if len(c) == 1), x) for x in text)


def _beginning(string: str, text: str, start: int) -> int:
    """Return where the text's last part begins the string; the text's length if nowhere."""
    for position in range(max(start, len(text) - len(string) + 1), len(text)):
        if string.startswith(text[position:]):
            return position
    return len(text)


def _compiled(pattern: str, ignore_case: bool) -> Any:
    import regex  # late: few programs need it, and it is slow to import

    if len(pattern) > MOST_CHARACTERS:
        raise UsageError(
            f"the pattern {shown(pattern)} is too long: give several, of at most "
            f"{MOST_CHARACTERS:,} characters each"
        )
    repeats = math.prod(map(int, re.findall(COUNT, pattern)))
    if repeats > MOST_REPEATS:
        raise UsageError(
            f"the pattern {shown(pattern)} repeats too much: the product of its counts must be at "
            f"most {MOST_REPEATS:,}, not {repeats:,}"
        )
    try:
        compiled = regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the pattern {shown(pattern)} is not valid: {error}") from None
    # The limit matters here too: backtracking can take exponential time on any text.
    try:
        matches_nothing = compiled.search("", timeout=TIMEOUT)
    except (TimeoutError, MemoryError):  # such as (?R)|x, which calls itself without end
        raise UsageError(_too_long(pattern, "on an empty text")) from None
    if matches_nothing:
        raise UsageError(
            f"the pattern {shown(pattern)} matches the empty text, so it would match at once; make "
            "it need a character"
        )
    return compiled


REPEATS, SHORTEST = 3, 2
"""In a loop, a phrase occurs at least this often, and has at least this many tokens."""


@dataclass(frozen=True)
class Endings:
    """The conditions that end a text before its end token and its length.

    Attributes:
        stops: strings and regular expressions that end a text, which excludes them.
        stop_loop: the number of repeats of a text's last phrase that end it, or None.

    Example:
        >>> Endings.of("and", stop_loop=3).settings
        {'stop': ['and'], 'stop_regex': [], 'stop_loop': 3}
    """

    END: ClassVar[str] = END
    """What stands for the end token where tokens are listed."""

    stops: TextPatterns = field(default_factory=TextPatterns)
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
        # Every text ends in one occurrence of its last phrase.
        if stop_loop is not None and (type(stop_loop) is not int or stop_loop < 2):
            raise UsageError(f"stop_loop must be a whole number, at least 2, not {stop_loop!r}")
        return cls(TextPatterns(strings, stop_regex), stop_loop)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `of`, for JSON."""
        return {
            "stop": list(self.stops.strings),
            "stop_regex": list(self.stops.patterns),
            "stop_loop": self.stop_loop,
        }

    @staticmethod
    def in_loop(
        tokens: Sequence[int], repeats: int = REPEATS, shortest: int = SHORTEST, longest: int = 0
    ) -> bool:
        """Return True if a text ends by repeating one phrase.

        By default the phrase has two or more tokens. The text may break off inside the phrase,
        because it then ends by repeating another phrase of the same length. One token six times in
        a row counts as a phrase of two tokens, three times.

        Source: Holtzman et al. 2020, The curious case of neural text degeneration,
        arXiv 1904.09751.

        Args:
            tokens: the ids of the text.
            repeats: the number of times that the phrase occurs, at least 2.
            shortest: the fewest tokens of the phrase.
            longest: the most; 0 for any number.

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
            for size in range(shortest, min(longest or end, end // repeats) + 1)
        )
