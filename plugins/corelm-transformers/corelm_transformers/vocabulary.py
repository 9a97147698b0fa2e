"""The tokenizer of a model as a vocabulary."""

import json
import re

from corelm import CorelmError

SPACE = "▁"
"""The space of tokenizers in the manner of SentencePiece."""
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def vocabulary_of(tokenizer, size=None, ends=None):
    """Return a tokenizer as a vocabulary.

    Args:
        tokenizer: one of transformers.
        size: the number of ids, of which a model may have more than its tokenizer; None for the
            tokenizer's.
        ends: the ids that end a text; None for the tokenizer's.

    Raises:
        CorelmError: a tokenizer that puts several tokens before a text.
    """
    size = len(tokenizer) if size is None else size
    if ends is None:
        ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    to_bytes = _bytes_of(tokenizer)
    if to_bytes is None:
        return TokenizerVocabulary(tokenizer, size, ends)
    return BytesVocabulary(tokenizer, size, ends, to_bytes)


class TokenizerVocabulary:
    """A vocabulary of the tokens of a tokenizer; the engine may draw them all."""

    padding = None
    unknown = None

    def __init__(self, tokenizer, size, ends):
        self._tokenizer, self._size = tokenizer, size
        self.ends = tuple(ends)
        self.start = _start_token(tokenizer)

    def __len__(self):
        return self._size

    def encode(self, text):
        """Return the ids of a text, without the tokens that the tokenizer puts around it."""
        return _encode(self._tokenizer, text)

    def decode(self, ids):
        """Return the text of ids, without special tokens."""
        ids = [int(token) for token in ids]
        return self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


class BytesVocabulary(TokenizerVocabulary):
    """A vocabulary of a tokenizer whose texts are the bytes of their tokens."""

    def __init__(self, tokenizer, size, ends, to_bytes):
        super().__init__(tokenizer, size, ends)
        self._to_bytes = to_bytes
        self._added = {
            token: b"" if added.special else added.content.encode()
            for token, added in tokenizer.added_tokens_decoder.items()
        }

    def token_bytes(self, token):
        """Return the bytes that a token adds to a text; none for special tokens and ends."""
        token = int(token)
        if token in self.ends:
            return b""
        if token in self._added:
            return self._added[token]
        piece = self._tokenizer.convert_ids_to_tokens(token)
        return b"" if piece is None else self._to_bytes(piece)


def _encode(tokenizer, text, special=False):
    return tokenizer.encode(text, add_special_tokens=special, verbose=False)


def _start_token(tokenizer):
    """Return the token that a tokenizer puts before every text, or None."""
    plain, whole = _encode(tokenizer, "a"), _encode(tokenizer, "a", special=True)
    places = range(len(whole) - len(plain) + 1)
    at = next((i for i in places if whole[i : i + len(plain)] == plain), 0)
    if at > 1:
        raise CorelmError(f"this tokenizer puts {at} tokens before a text; corelm knows one")
    return whole[0] if at else None


def _bytes_of(tokenizer):
    """Return a function from the name of a token to its bytes; None for other tokenizers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is not None:  # its state as JSON; that of the whole tokenizer has megabytes
        decoder = json.loads(decoder.__getstate__())
    kinds = {part["type"] for part in _parts(decoder)}
    if kinds == {"ByteLevel"}:
        table = _byte_level_table()
        return lambda piece: bytes(table[character] for character in piece if character in table)
    if kinds and kinds <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}:
        return _sentencepiece_bytes
    return None


def _parts(decoder):
    if decoder is None:
        return []
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _sentencepiece_bytes(piece):
    byte = BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()


def _byte_level_table():
    """Return the byte of each character of byte-level BPE.

    Printable bytes of Latin-1 are their own characters; the others follow from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    codes = {byte: byte for byte in printable} | {b: 256 + i for i, b in enumerate(others)}
    return {chr(code): byte for byte, code in codes.items()}
