"""Write tokens of words and punctuation as a person would: spaces, quotes, capitals.

Every decision about a token depends on the tokens before it alone, so the text of a prefix is
a prefix of the text and can be streamed. The tokens that a text was cut into, written and cut
again, are the same tokens (but for a hyphen between hyphens).
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_lowercase

NO_SPACE_BEFORE = frozenset(".,!?;:)]}%")
NO_SPACE_AFTER = frozenset("([{$#")
TIGHT = frozenset("-/\\@_")
QUOTES = frozenset("\"'")
SENTENCE_ENDS = frozenset(".!?")
RUNS = frozenset(".!?-")
"""Marks of which several in a row are one token, so that two tokens of them need a space."""


def join(tokens: Iterable[str]) -> str:
    """The text of tokens.

    Example:
        >>> join(["it", "was", "(", "almost", ")", "good", ".", "i", "liked", "it", "!"])
        'It was (almost) good. I liked it!'
    """
    return "".join(map(Writer().piece, tokens))


class Writer:
    """Writes the tokens of one text in turn; remembers what the next one depends on."""

    def __init__(self) -> None:
        self.previous = ""
        self.before_previous = ""
        self.open: set[str] = set()
        self.glue = True  # nothing stands before the first token
        self.capital = True

    def piece(self, token: str) -> str:
        """The token as it is written after those before it, with the space that it needs."""
        closes = token in self.open
        space = " " if self._needs_space(token, closes) else ""
        written = self._capitalised(token)
        self._remember(token, closes)
        return space + written

    def _needs_space(self, token: str, closes: bool) -> bool:
        if token[0] in RUNS and self.previous.startswith(token[0]):
            return True
        if self.glue or closes or token[0] in NO_SPACE_BEFORE or _tight(token):
            return False
        return not _one_number(self.before_previous, self.previous, token)

    def _capitalised(self, token: str) -> str:
        if token[0] not in ascii_lowercase:  # the capitals of others would not be read back
            return token
        if self.capital or token == "i" or token.startswith("i'"):
            return token[0].upper() + token[1:]
        return token

    def _remember(self, token: str, closes: bool) -> None:
        if token in QUOTES:
            self.open ^= {token}
        self.glue = token in NO_SPACE_AFTER or _tight(token) or (token in QUOTES and not closes)
        if token[0] in SENTENCE_ENDS and (len(token) == 1 or token[0] != "."):
            self.capital = True
        elif token[0].isalnum():
            self.capital = False
        self.before_previous, self.previous = self.previous, token


def _tight(token: str) -> bool:
    """Whether no spaces stand around a token; `--` is a dash, and has them."""
    return token in TIGHT or token.startswith("---")


def _one_number(before: str, mark: str, after: str) -> bool:
    """Whether the tokens are one number, as 3.5, 10,000 and 10:30 are, and 1, 2 is not."""
    digits = {".": len(after), ",": 3, ":": 2}.get(mark)
    return before.isdigit() and after.isdigit() and len(after) == digits
