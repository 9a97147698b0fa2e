"""The vocabulary of byte pairs, as in GPT-2.

Byte-level byte-pair encoding (Radford et al. 2019) splits a text into words, a word into its UTF-8
bytes, and merges neighbouring tokens by the rank of their merge. Every text has tokens, so none is
unknown.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import cache
from heapq import heapify, heappop, heappush
from typing import Any

from corelm.errors import ModelFileError

BYTE_PAIRS = "byte-pairs"
BYTE_PAIRS_HELP = "pieces of words, learned from the texts as GPT-2's are; any text can be written"

PADDING, END = "<|padding|>", "<|endoftext|>"
SPECIAL = (PADDING, END)

WORD = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's expression for words, for the package `regex`: `re` knows no Unicode properties."""

CACHED_WORDS = 2**15
"""The number of words whose tokens are kept; texts repeat most of their words."""

LONGEST_CACHED = 64
"""The longest cached word, in characters; longer words are rare and would fill the memory."""

Merge = tuple[str, str]


def byte_alphabet() -> str:
    """Return the visible character that represents each byte, as in GPT-2's files.

    Example:
        >>> byte_alphabet()[ord("a")], byte_alphabet()[ord(" ")]
        ('a', 'Ġ')
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))  # spaces and control characters would not be visible
    return "".join(chr(byte if byte in visible else next(others)) for byte in range(0x100))


ALPHABET = byte_alphabet()
FIRST_BYTE = len(SPECIAL)
FIRST_MERGE = FIRST_BYTE + len(ALPHABET)
SHORT = 2**12
"""The most characters of a text whose words are found without letting other threads run."""
_BYTES = {character: byte for byte, character in enumerate(ALPHABET)}


class BytePairVocabulary:
    """A byte-level vocabulary: padding, the end of a text, the 256 bytes, then the merges.

    A text begins and ends with the token `<|endoftext|>`; encoding never gives it.

    Args:
        merges: pairs of earlier tokens, in the order of their rank, in the characters of
            `byte_alphabet`. Each makes a new token.

    Raises:
        ModelFileError: a merge of parts that are not earlier tokens, or of a token that exists.

    Example:
        >>> vocabulary = BytePairVocabulary([("o", "d"), ("o", "od"), ("Ġ", "g"), ("Ġg", "ood")])
        >>> vocabulary.encode("so good")
        [117, 113, 261]
        >>> vocabulary.decode([117, 113, 261])
        'so good'
    """

    padding: int = SPECIAL.index(PADDING)
    start: int = SPECIAL.index(END)
    unknown: None = None
    ends: tuple[int, ...] = (start,)
    style: str = BYTE_PAIRS
    special: tuple[str, ...] = SPECIAL
    """The first tokens, which stand for no text."""
    alphabet: str = ALPHABET
    """The characters that stand for the 256 bytes, as in GPT-2's files."""

    def __init__(self, merges: Iterable[Merge]) -> None:
        self.merges: tuple[Merge, ...] = tuple(merges)
        self.words: list[str] = [*SPECIAL, *ALPHABET]
        self._merged: dict[tuple[int, int], int] = {}
        ids = {word: i for i, word in enumerate(self.words) if i >= FIRST_BYTE}
        for left, right in self.merges:
            self._add(left, right, ids)
        self._bytes = [b""] * FIRST_BYTE
        self._bytes += [
            bytes(_BYTES[character] for character in w) for w in self.words[FIRST_BYTE:]
        ]
        self._cache: dict[str, list[int]] = {}

    def _add(self, left: str, right: str, ids: dict[str, int]) -> None:
        for part in (left, right):
            if part not in ids:
                raise ModelFileError(
                    f"the merge '{left} {right}' needs the token {part!r}, which no earlier line "
                    "makes"
                )
        if left + right in ids:
            raise ModelFileError(f"a vocabulary holds each token once, not {left + right!r} twice")
        self._merged[ids[left], ids[right]] = ids[left + right] = len(self.words)
        self.words.append(left + right)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; half a surrogate pair becomes a question mark."""
        # To let other threads run meanwhile may take longer than to find the words of a short text.
        words = _word_pattern().findall(text, concurrent=len(text) > SHORT)
        return [i for word in words for i in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        cached = self._cache.get(word)
        if cached is not None:
            return cached
        ids = self._merge([FIRST_BYTE + byte for byte in word.encode(errors="replace")])
        if len(word) <= LONGEST_CACHED:
            # Cleared when full: frequent words return at once, and no order of use must be kept.
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """Merge neighbours, the lowest rank first and from left to right.

        Ids of merges are in the order of their ranks. With a priority queue of possible merges, a
        word of n bytes costs n log n.
        """
        length, gone = len(ids), -1
        ids.append(gone)  # the right neighbour of the last token
        before, after = list(range(-1, length)), list(range(1, length + 1))
        queue = [
            (self._merged[pair], i)
            for i in range(length)
            if (pair := (ids[i], ids[i + 1])) in self._merged
        ]
        heapify(queue)
        while queue:
            merged, i = heappop(queue)
            right = after[i]
            if self._merged.get((ids[i], ids[right])) != merged:
                continue  # an earlier merge took a part of it
            # A linked list: removal from the middle of a Python list takes linear time.
            ids[i], ids[right], after[i] = merged, gone, after[right]
            before[after[i]] = i
            for left in (before[i], i):
                if left >= 0 and (pair := (ids[left], ids[after[left]])) in self._merged:
                    heappush(queue, (self._merged[pair], left))
        return [i for i in ids if i != gone]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for padding and the end of a text."""
        return self._bytes[token]

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `<|endoftext|>`."""
        return self.words[token]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without padding and end.

        Bytes that are not UTF-8 become U+FFFD. The first bytes of a character without its last
        ones give no text, so that a prefix of the ids decodes to a prefix of the text.
        """
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        return characters.decode(b"".join(map(self.token_bytes, ids)))

    def dumps(self) -> str:
        """Return one token a line; a merge as its two parts with a space between them."""
        merges = (f"{left} {right}" for left, right in self.merges)
        return "".join(f"{line}\n" for line in (*SPECIAL, *ALPHABET, *merges))

    @classmethod
    def loads(cls, text: str) -> BytePairVocabulary:
        """Read the text of `dumps`, also with a byte order mark or Windows line ends.

        Raises:
            ModelFileError: a text that is cut off, or is not such a vocabulary.
        """
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        if lines.pop() != "":
            raise ModelFileError("the vocabulary is cut off: its last line has no end")
        if lines[:FIRST_MERGE] != [*SPECIAL, *ALPHABET]:
            raise ModelFileError(
                f"a vocabulary of {BYTE_PAIRS} begins with {', '.join(SPECIAL)} and the 256 bytes"
            )
        return cls(_parse_merge(line) for line in lines[FIRST_MERGE:])


def _parse_merge(line: str) -> Merge:
    parts = line.split(" ")
    if len(parts) != 2:
        raise ModelFileError(f"a merge has two parts with a space between them, not {line!r}")
    return parts[0], parts[1]


@cache
def _word_pattern() -> Any:
    import regex  # only models with such a vocabulary need it

    return regex.compile(WORD)
