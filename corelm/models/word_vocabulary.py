"""Text to token ids and back, in plain Python.

`STYLES` names four ways to split a text into tokens. Training builds the vocabulary with Keras's
TextVectorization by the same rules, so the ids are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import deepcopy
from string import ascii_lowercase
from typing import Any, ClassVar, NamedTuple, Protocol

from corelm.abilities.optional import END
from corelm.errors import ModelFileError

PADDING, UNKNOWN = "", "[UNK]"

SPACE = " \t\n\r\f\v"
PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
_LETTER = "[^" + re.escape(SPACE + PUNCTUATION) + "]"

STRIPPED = "[" + re.escape(PUNCTUATION) + "]"
"""The punctuation that the style `words` deletes, as the chapter's TextVectorization does."""

DASH = f"[{SPACE}]-+[{SPACE}]"
"""A hyphen between spaces is a dash, and becomes the token `--`."""

MARKED = (
    f"{_LETTER}+(?:'{_LETTER}+)*"  # a word, with its inner apostrophes
    + r"|\.+|!+|\?+|-+"  # a run of one mark, such as an ellipsis, is one token
    + f"|{STRIPPED}"
)
"""One token of `words+punctuation`; the expression means the same to Python and to RE2."""

# ASCII only: TextVectorization lower-cases bytes, so `str.lower` would give other tokens.
_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_stripped, _dash, _marked = re.compile(STRIPPED), re.compile(DASH), re.compile(MARKED)
_spaced = re.compile(f"[^{SPACE}]+")


def _words(text: str) -> list[str]:
    return _spaced.findall(_stripped.sub("", text.translate(_LOWER)))


PART = 2**14
"""The characters that are split at once: a search doesn't let other threads run, such as a
server's."""


def _words_and_punctuation(text: str) -> list[str]:
    text, pieces, start = _dash.sub(" -- ", text.translate(_LOWER)), list[str](), 0
    while start < len(text):
        # No token has a space in it.
        end = text.find(" ", start + PART)
        end = len(text) if end < 0 else end
        pieces += _marked.findall(text, start, end)
        start = end
    return pieces


class Writer(Protocol):
    """A writer of the tokens of one text, in turn."""

    def piece(self, token: str) -> str:
        """Write the next token: return its text."""

    def skip(self, tokens: Sequence[str]) -> None:
        """Read tokens whose texts nobody wants."""

    def text_of(self, token: str) -> str:
        """Return the text of a token if it came next, without writing it."""

    @property
    def state(self) -> Hashable:
        """All that the text of the next token depends on: equal states write alike."""


class Style(NamedTuple):
    """A way to split a text into tokens and to write tokens as a text."""

    split: Callable[[str], list[str]]
    writer: Callable[[], Writer]
    help: str


class _Spaced:
    """Write each token but the first with a space before it."""

    state = ""  # the separator before a token

    def piece(self, token: str) -> str:
        text, self.state = self.state + token, " "
        return text

    def skip(self, tokens: Sequence[str]) -> None:
        self.state = " " if tokens else self.state

    def text_of(self, token: str) -> str:
        return self.state + token


class _Plain:
    """Write each token as it is."""

    state = None

    def piece(self, token: str) -> str:
        return token

    text_of = piece

    def skip(self, tokens: Sequence[str]) -> None:
        pass


NO_SPACE_BEFORE = frozenset(".,!?;:)]}%")
NO_SPACE_AFTER = frozenset("([{$#")
TIGHT = frozenset("-/\\@_")
QUOTES = frozenset("\"'")
SENTENCE_ENDS = frozenset(".!?")
RUNS = frozenset(".!?-")
"""Marks that form one token in a row, so that two such tokens need a space between them."""
NUMBER_MARKS = frozenset(".,:")
"""Marks inside numbers, such as 3.5, 10,000 and 10:30."""


class ProseWriter:
    """Write words and punctuation as a person would, with spaces, quotes and capitals.

    What is written for a token depends only on the tokens before it, so the text of a prefix is a
    prefix of the text and can be streamed. The text of a text's tokens splits into the same tokens
    again, except for a hyphen between hyphens.

    Example:
        >>> writer = ProseWriter()
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
            >>> writer = ProseWriter()
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


STYLES = {
    "words": Style(_words, _Spaced, "lower-case words, punctuation stripped (the chapter's)"),
    "words+punctuation": Style(
        _words_and_punctuation,
        ProseWriter,
        "lower-case words; punctuation marks are tokens",
    ),
    "characters": Style(list, _Plain, "single characters, unchanged"),
    "symbols": Style(_spaced.findall, _Spaced, "anything between spaces, unchanged"),
}


class WordWriter:
    """Write the ids of one text in turn.

    Args:
        words: the tokens of the vocabulary.
        silent: ids without a text.
        writer: writes the tokens.
    """

    def __init__(self, words: Sequence[str], silent: tuple[int, ...], writer: Writer) -> None:
        self._words, self._silent, self._writer = words, silent, writer

    def __call__(self, i: int) -> str:
        """Return the text that the next id adds."""
        return "" if i in self._silent else self._writer.piece(self._words[i])

    def skip(self, ids: Iterable[int]) -> None:
        """Read ids whose texts nobody wants."""
        self._writer.skip([self._words[i] for i in ids if i not in self._silent])

    def fork(self) -> WordWriter:
        """Return a copy, which continues the text by itself."""
        return WordWriter(self._words, self._silent, deepcopy(self._writer))


class WordVocabulary:
    """The tokens of a model, in the order of their ids.

    Args:
        words: the tokens; the first is padding (""), the second replaces unknown tokens.
        style: a key of `STYLES`, the way to split a text.

    Example:
        >>> words = ["", "[UNK]", "[end]", "this", "film", "."]
        >>> vocabulary = WordVocabulary(words, "words+punctuation")
        >>> vocabulary.encode("This film. Wow")
        [3, 4, 5, 1]
        >>> vocabulary.decode([3, 4, 5, 3])
        'This film. This'
    """

    END = END
    """The word of the end token."""
    unit = "word"
    """The name of a token, for people."""

    def __init__(self, words: Sequence[str], style: str) -> None:
        if len(words) < 2 or words[0] != PADDING or words[1] != UNKNOWN:
            raise ModelFileError("a vocabulary begins with an empty line and [UNK]")
        if style not in STYLES:
            raise ModelFileError(f"there are no tokens {style!r}; there are {', '.join(STYLES)}")
        self.words: tuple[str, ...] = tuple(words)
        self.style = style
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            twice = next(word for i, word in enumerate(self.words) if self._ids[word] != i)
            raise ModelFileError(f"a vocabulary holds each word once, not {twice!r} twice")

        self._texts: dict[Hashable, _TextsAfter] = {}  # by the writer's state
        self.start: int | None = self._ids.get(END)  # the end of one text starts the next
        self.ends: tuple[int, ...] = () if self.start is None else (self.start,)

    reserved: tuple[str, str] = (PADDING, UNKNOWN)
    """The first two tokens of every vocabulary."""
    spaced: ClassVar[tuple[tuple[str, str], ...]] = ((DASH, " -- "), (MARKED, r" \0 "))
    """The substitutions, in RE2's syntax, that set apart the tokens of `words+punctuation`."""
    padding: int = 0
    unknown: int = 1

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a token that the vocabulary lacks becomes `unknown`."""
        return [self._ids.get(word, self.unknown) for word in STYLES[self.style].split(text)]

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `[end]`."""
        return self.words[token]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without padding and end.

        A prefix of the ids decodes to a prefix of the text.
        """
        return "".join(map(self.writer(), ids))

    def writer(self) -> WordWriter:
        """Return a function that takes the ids of one text in turn and returns the text of each."""
        return WordWriter(self.words, (self.padding, *self.ends), STYLES[self.style].writer())

    def texts_after(self, ids: Iterable[int]) -> Sequence[str]:
        """Return for each token the text that it would add after these ids.

        Texts in the same state of the writer share one object; a text passes a few dozen states.

        Example:
            >>> vocabulary = WordVocabulary(["", "[UNK]", "good", "."], "words+punctuation")
            >>> list(vocabulary.texts_after([2])), vocabulary.texts_after([2, 3])[2]
            (['', ' [UNK]', ' good', '.'], ' Good')
        """
        silent, writer = {self.padding, *self.ends}, STYLES[self.style].writer()
        writer.skip([self.words[i] for i in ids if i not in silent])
        return self._texts.setdefault(writer.state, _TextsAfter(self.words, silent, writer))

    def dumps(self) -> str:
        """Return one token a line, with backslash, newline and carriage return escaped."""
        return "".join(word.translate(_ESCAPES) + "\n" for word in self.words)

    @classmethod
    def loads(cls, text: str, style: str) -> WordVocabulary:
        """Read the text of `dumps`, also with a byte order mark or Windows line ends.

        Raises:
            ModelFileError: a text that is cut off, repeats a word or is not a vocabulary.
        """
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        if lines.pop() != "":
            raise ModelFileError("the vocabulary is cut off: its last line has no end")
        # Few words hold a backslash, and a call for each of the others takes longer than the rest.
        escape = re.compile(r"\\.?")
        return cls([escape.sub(_unescaped, x) if "\\" in x else x for x in lines], style)


class _TextsAfter(Sequence[str]):
    """The text of each token in one state of a writer, computed on access."""

    def __init__(self, words: Sequence[str], silent: set[int], writer: Writer) -> None:
        self._words, self._silent, self._writer = words, silent, writer

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return tuple(self[at] for at in range(*i.indices(len(self))))
        word = self._words[i]
        return "" if i % len(self) in self._silent else self._writer.text_of(word)


_ESCAPES = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r"}
_UNESCAPES = {escaped: chr(plain) for plain, escaped in _ESCAPES.items()}


def _unescaped(match: re.Match[str]) -> str:
    if match[0] not in _UNESCAPES:
        raise ModelFileError(f"the vocabulary holds the unknown escape {match[0]!r}")
    return _UNESCAPES[match[0]]
