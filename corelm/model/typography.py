"""Write tokens of words and punctuation as a person would: spaces, quotes, capitals.

Every decision about a token depends on the tokens before it alone, so the text of a prefix is
a prefix of the text and can be streamed.
"""

from __future__ import annotations

from collections.abc import Iterable

NO_SPACE_BEFORE = frozenset(".,!?;:)]}%")
NO_SPACE_AFTER = frozenset("([{$#")
TIGHT = frozenset("-/\\@_")
QUOTES = frozenset("\"'")
SENTENCE_ENDS = frozenset(".!?")


def join(tokens: Iterable[str]) -> str:
    """The text of tokens.

    Example:
        >>> join(["it", "was", "(", "almost", ")", "good", ".", "i", "liked", "it", "!"])
        'It was (almost) good. I liked it!'
    """
    writer = _Writer()
    return "".join(writer.piece(token) for token in tokens)


class _Writer:
    """What has to be remembered of the tokens so far."""

    def __init__(self) -> None:
        self.previous = ""
        self.before_previous = ""
        self.open: set[str] = set()
        self.glue = True  # nothing stands before the first token
        self.capital = True

    def piece(self, token: str) -> str:
        """The token as it is written after those before it, with the space that it needs."""
        closes = token in self.open
        space = "" if self.glue or closes or self._touches(token) else " "
        written = self._capitalised(token)
        self._remember(token, closes)
        return space + written

    def _touches(self, token: str) -> bool:
        """Whether no space separates this token from the one before it."""
        if token[0] in NO_SPACE_BEFORE or token in TIGHT:
            return True
        inside_number = self.previous in (".", ",", ":") and self.before_previous.isdigit()
        return inside_number and token.isdigit()

    def _capitalised(self, token: str) -> str:
        if not token[0].isalpha():
            return token
        if self.capital or token == "i" or token.startswith("i'"):
            return token[0].upper() + token[1:]
        return token

    def _remember(self, token: str, closes: bool) -> None:
        if token in QUOTES:
            self.open ^= {token}
        self.glue = token in NO_SPACE_AFTER or token in TIGHT or (token in QUOTES and not closes)
        if token[0] in SENTENCE_ENDS and (len(token) == 1 or token[0] != "."):
            self.capital = True
        elif token[0].isalnum():
            self.capital = False
        self.before_previous, self.previous = self.previous, token
