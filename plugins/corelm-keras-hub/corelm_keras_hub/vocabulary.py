"""The tokenizers of KerasHub as vocabularies of corelm."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from keras_hub import tokenizers

from corelm.bundles import BytePairVocabulary
from corelm.errors import UsageError
from corelm_keras_hub.backends import outside_graph

BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
"""A piece of SentencePiece that is one byte."""
MARK = re.compile(r"<.+>|\[.+\]")
"""A piece that may be a special token, such as an unknown character or a start."""
BYTES = {character: byte for byte, character in enumerate(BytePairVocabulary.alphabet)}
"""The byte of each character in GPT-2's alphabet of byte pairs."""
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""The character that stands for a space in the pieces of SentencePiece."""


class KerasHubVocabulary:
    """The tokenizer of a preprocessor as a vocabulary.

    Args:
        preprocessor: the preprocessor of a causal language model.
        size: the number of ids that the model scores, which may be more than the tokenizer has.
        ends: the ids at which KerasHub ends a text, its `stop_token_ids`; None for the
            tokenizer's.

    Attributes:
        start: the token that the preprocessor puts before every text; None if it puts none.
        ends: the tokens at which KerasHub ends a text.
        padding, unknown, unused: the ids that are never drawn; None, or empty, if there are none.

    Raises:
        UsageError: a preprocessor that puts several tokens before a text.
    """

    def __init__(self, preprocessor: Any, size: int, ends: Iterable[int] | None = None) -> None:
        self._tokenizer = preprocessor.tokenizer
        self._size = size
        self.start = _start(preprocessor)
        ends = _ends(self._tokenizer) if ends is None else map(int, ends)
        self.ends = frozenset(end for end in ends if 0 <= end < size)
        self._special = frozenset(self._tokenizer.special_token_ids)
        possible = {self.start, *self.ends, *_ends(self._tokenizer)}
        padding, unknown = _padding(self._tokenizer), _unknown(self._tokenizer)
        self.padding = None if padding in possible else padding
        self.unknown = None if unknown in possible else unknown
        tokens = self._tokenizer.vocabulary_size()  # None if all characters are tokens
        self.unused = range(size if tokens is None else tokens, size)

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens around it."""
        ids: list[int] = np.asarray(self._tokenizer.tokenize(text)).ravel().tolist()
        return ids

    def token_name(self, token: int) -> str:
        """Return the name of a token; "" for an id without a token."""
        is_token = int(token) < self._tokenizer.vocabulary_size()
        return str(self._tokenizer.id_to_token(int(token))) if is_token else ""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens, as KerasHub shows a generated text."""
        plain = [int(id) for id in ids if int(id) not in self._special]
        text = self._tokenizer.detokenize(np.array(plain, dtype=np.int32))
        return text if isinstance(text, str) else bytes(np.asarray(text).item()).decode("utf-8")


class KerasHubByteVocabulary(KerasHubVocabulary):
    """A tokenizer whose tokens are bytes or parts of characters.

    Args:
        preprocessor, size, ends: as for `KerasHubVocabulary`.
    """

    def __init__(self, preprocessor: Any, size: int, ends: Iterable[int] | None = None) -> None:
        super().__init__(preprocessor, size, ends)
        self._bytes = _bytes_of_tokens(self._tokenizer)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for special tokens."""
        return b"" if token in self._special else self._bytes(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""
        return b"".join(self.token_bytes(int(id)) for id in ids).decode("utf-8", "replace")


class SentencePieceVocabulary(KerasHubByteVocabulary):
    """A tokenizer of SentencePiece, which drops the space at the beginning of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens and the space that begins it."""
        return super().decode(ids).removeprefix(" ")

    def writer(self) -> Callable[[int], str]:
        """Return a function from each next id of a text to the text that it adds."""
        # Only the first text loses its space, and the first tokens may add no text.
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        begun = False

        def write(token: int) -> str:
            nonlocal begun
            text = characters.decode(self.token_bytes(token))
            added = text if begun else text.removeprefix(" ")
            begun = begun or bool(text)
            return added

        return write


def vocabulary_of(
    preprocessor: Any, size: int, ends: Iterable[int] | None = None
) -> KerasHubVocabulary:
    """Return the vocabulary of a causal language model.

    Args:
        preprocessor, size, ends: as for `KerasHubVocabulary`.
    """
    kind = KerasHubVocabulary
    if isinstance(preprocessor.tokenizer, tokenizers.SentencePieceTokenizer):
        kind = SentencePieceVocabulary
    elif _bytes_of_tokens(preprocessor.tokenizer):
        kind = KerasHubByteVocabulary
    return kind(preprocessor, size, ends)


def _ends(tokenizer: Any) -> list[int]:
    """Return the ids at which KerasHub ends a text by default."""
    ends = (getattr(tokenizer, name, None) for name in ("end_token_id", "end_token2_id"))
    return [int(end) for end in ends if end is not None]


def _padding(tokenizer: Any) -> int | None:
    """Return the id of the padding; None for a tokenizer that pads with an ordinary token.

    Where a tokenizer has no token for it, KerasHub pads with id 0, such as an exclamation mark.
    """
    id: int | None = getattr(tokenizer, "pad_token_id", None)
    if id is None or getattr(tokenizer, "pad_token", None) is not None:
        return id
    if isinstance(tokenizer, (tokenizers.ByteTokenizer, tokenizers.UnicodeCodepointTokenizer)):
        return None  # ids are bytes or characters
    return id if MARK.fullmatch(str(tokenizer.id_to_token(id))) else None


def _unknown(tokenizer: Any) -> int | None:
    """Return the id of unknown words; None for a tokenizer without one."""
    if isinstance(tokenizer, tokenizers.SentencePieceTokenizer):
        pieces: list[str] = tokenizer.get_vocabulary()
        return pieces.index("<unk>") if "<unk>" in pieces else None
    if isinstance(tokenizer, tokenizers.WordPieceTokenizer):
        id: int = tokenizer.token_to_id(tokenizer.oov_token)
        return id
    return None


def _start(preprocessor: Any) -> int | None:
    """Return the token that a preprocessor puts before an empty text."""
    with outside_graph():
        packed = preprocessor.generate_preprocess([""], sequence_length=8)
        ids, mask = (np.asarray(packed[name])[0] for name in ("token_ids", "padding_mask"))
    before: list[int] = ids[mask.astype(bool)].tolist()
    if len(before) > 1:
        raise UsageError(
            f"this preprocessor puts {len(before)} tokens before a text; corelm knows one at most"
        )
    return before[0] if before else None


def _bytes_of_tokens(tokenizer: Any) -> Callable[[int], bytes] | None:
    """Return the bytes of each token; None for a tokenizer whose tokens are not bytes."""
    if isinstance(tokenizer, tokenizers.ByteTokenizer):
        return lambda token: bytes([token]) if token < 256 else b""
    if isinstance(tokenizer, tokenizers.UnicodeCodepointTokenizer):
        return lambda token: chr(token).encode("utf-8", "replace")
    if isinstance(tokenizer, tokenizers.SentencePieceTokenizer):
        pieces = [_bytes_of_piece(piece) for piece in tokenizer.get_vocabulary()]
        for id, text in _marks(tokenizer).items():
            pieces[id] = text
        return lambda token: pieces[token] if token < len(pieces) else b""
    if isinstance(tokenizer, tokenizers.BytePairTokenizer):
        pairs = {id: _bytes_of_pair(text) for text, id in tokenizer.vocabulary.items()}
        return lambda token: pairs.get(token, b"")
    return None


def _marks(tokenizer: Any) -> dict[int, bytes]:
    """Return the bytes of pieces that KerasHub may write differently from their names."""
    ids = [
        id
        for id, piece in enumerate(tokenizer.get_vocabulary())
        if MARK.fullmatch(piece) and not BYTE_PIECE.fullmatch(piece)
    ]
    if not ids:
        return {}
    with outside_graph():
        texts = np.asarray(tokenizer.detokenize(np.array(ids, dtype=np.int32)[:, None])).tolist()
    encoded = (text.encode() if isinstance(text, str) else text for text in texts)
    return dict(zip(ids, encoded, strict=True))


def _bytes_of_piece(piece: str) -> bytes:
    byte = BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()


def _bytes_of_pair(token: str) -> bytes:
    """Decode a token from GPT-2's alphabet, in which each character stands for a byte."""
    return b"".join(bytes([BYTES[c]]) if c in BYTES else c.encode() for c in token)
