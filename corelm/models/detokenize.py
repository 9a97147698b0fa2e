"""Write tokens of words and punctuation as a person would, with spaces, quotes and capitals.

Every decision about a token depends only on the tokens before it, so the text of a prefix is a
prefix of the text and can be streamed. The text of a text's tokens splits into the same tokens
again, except for a hyphen between hyphens.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from string import ascii_lowercase

NO_SPACE_BEFORE = frozenset(".,!?;:)]}%")
NO_SPACE_AFTER = frozenset("([{$#")
TIGHT = frozenset("-/\\@_")
QUOTES = frozenset("\"'")
SENTENCE_ENDS = frozenset(".!?")
RUNS = frozenset(".!?-")
"""Marks that form one token in a row, so that two such tokens need a space between them."""
NUMBER_MARKS = frozenset(".,:")
"""Marks inside numbers, such as 3.5, 10,000 and 10:30."""


def join(tokens: Iterable[str]) -> str:
    """Return the text of tokens.

    Example:
        >>> join(["it", "was", "(", "almost", ")", "good", ".", "i", "liked", "it", "!"])
        'It was (almost) good. I liked it!'
    """
    return "".join(map(Writer().piece, tokens))


class Writer:
    """Write the tokens of one text in turn, and keep the state that the next one depends on.

    Example:
        >>> writer = Writer()
        >>> writer.piece("good"), writer.text_of("film"), writer.text_of(".")
        ('Good', ' film', '.')
    """

    def __init__(self) -> None:
        self.previous = ""
        self.before_previous = ""
        self.open: set[str] = set()
        self.glue = True  # the first token needs no space
        self.capital = True

    def piece(self, token: str) -> str:
        """Return the token with the space and the capital that it needs after the tokens so far."""
        text = self.text_of(token)
        self._remember(token, token in self.open)
        return text

    def skip(self, tokens: Sequence[str]) -> None:
        """Read tokens whose texts nobody wants, in a fraction of the time of `piece`.

        Example:
            >>> writer = Writer()
            >>> writer.skip(["good", ".", "i", "liked"])
            >>> writer.piece("it")
            ' it'
        """
        # The last two decide everything but open quotation marks and the capital.
        before, last = tokens[:-2], tokens[-2:]
        self.open ^= {mark for mark in QUOTES if before.count(mark) % 2}
        capitals = {token: _capital_after(token) for token in {*before}}
        decisive = {token for token, capital in capitals.items() if capital is not None}
        if decisive:
            latest = next(token for token in reversed(before) if token in decisive)
            self.capital = _capital_after(latest) is True
        for token in last:
            self._remember(token, token in self.open)

    def text_of(self, token: str) -> str:
        """Return the text of a token if it came next, without writing it."""
        space = " " if self._needs_space(token) else ""
        return space + self._capitalised(token)

    @property
    def state(self) -> Hashable:
        """All that the text of the next token depends on: equal states write alike."""
        # Flags instead of the last tokens: the fewer states, the more often a cache of texts hits.
        before, previous = self.before_previous, self.previous
        run = previous[0] if previous[:1] in RUNS else ""
        number = previous if before.isdigit() and previous in NUMBER_MARKS else ""
        return self.glue, self.capital, frozenset(self.open), run, number

    def _needs_space(self, token: str) -> bool:
        if token[0] in RUNS and self.previous.startswith(token[0]):
            return True
        if self.glue or token in self.open or token[0] in NO_SPACE_BEFORE or _tight(token):
            return False
        return not _one_number(self.before_previous, self.previous, token)

    def _capitalised(self, token: str) -> str:
        if token[0] not in ascii_lowercase:  # splitting into tokens lower-cases only these
            return token
        if self.capital or token == "i" or token.startswith("i'"):
            return token[0].upper() + token[1:]
        return token

    def _remember(self, token: str, closes: bool) -> None:
        if token in QUOTES:
            self.open ^= {token}
        self.glue = token in NO_SPACE_AFTER or _tight(token) or (token in QUOTES and not closes)
        capital = _capital_after(token)
        self.capital = self.capital if capital is None else capital
        self.before_previous, self.previous = self.previous, token


def _capital_after(token: str) -> bool | None:
    """Return True if the next word begins a sentence; None if the tokens before decide."""
    if token[0] in SENTENCE_ENDS and (len(token) == 1 or token[0] != "."):
        return True
    return False if token[0].isalnum() else None


def _tight(token: str) -> bool:
    """Return True for a token without spaces around it; `--` is a dash, and has them."""
    return token in TIGHT or token.startswith("---")


def _one_number(before: str, mark: str, after: str) -> bool:
    """Return True if the tokens are one number, as 3.5, 10,000 and 10:30 are, but not 1, 2."""
    digits = {".": len(after), ",": 3, ":": 2}.get(mark)
    return before.isdigit() and after.isdigit() and len(after) == digits
