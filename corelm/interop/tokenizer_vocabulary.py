"""The tokenizers of Hugging Face as vocabularies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from corelm.abilities.optional import NO_TEMPLATE
from corelm.contracts.language_model import Vocabulary
from corelm.errors import UsageError
from corelm.interop.chat_template import ChatTemplate
from corelm.models.byte_pairs import byte_alphabet

SPACE = "▁"
"""The character that SentencePiece and tokenizers like it write for a space."""
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def vocabulary_of(
    tokenizer: Any, size: int | None = None, ends: Iterable[int] | None = None
) -> Vocabulary:
    """Return a tokenizer of Hugging Face's transformers, or of mlx-lm, as a vocabulary.

    It has `token_bytes` if a text is the bytes of its tokens.

    Args:
        tokenizer: a `PreTrainedTokenizer`, or an object with its methods.
        size: the number of ids, which may be larger for a model than for its tokenizer; None for
            the ids up to the tokenizer's last token.
        ends: the ids that end a text; None for the tokenizer's.

    Raises:
        UsageError: a tokenizer that puts several tokens before a text, or has more tokens than the
            model has logits.

    Example:
        >>> from corelm.interop.testing import tiny_tokenizer
        >>> vocabulary = vocabulary_of(tiny_tokenizer())
        >>> vocabulary.decode(vocabulary.encode("the cat"))
        'the cat'
    """
    if size is None:
        size = 1 + max(tokenizer.get_vocab().values(), default=-1)
    elif len(tokenizer) > size:
        raise UsageError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model has logits of {size}; "
            "they do not belong together"
        )
    if ends is None:
        ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return TokenizerVocabulary(tokenizer, size, ends)


class SpecialTokens(NamedTuple):
    """The ids that a model has logits for, but that are never drawn.

    Attributes:
        padding: the id that pads short rows, or None.
        unknown: the id that replaces unknown words, or None.
        unused: the ids that no token has.
    """

    padding: int | None
    unknown: int | None
    unused: tuple[int, ...]


def special_tokens(tokenizer: Any, size: int, possible: Iterable[int] = ()) -> SpecialTokens:
    """Return the ids that are never drawn from a model with this tokenizer.

    Many tokenizers pad with the end of a text, or replace unknown words by it. A token that ends or
    begins a text stays possible.

    Args:
        tokenizer: a `PreTrainedTokenizer`, or an object with its methods.
        size: the number of ids of the model.
        possible: other ids that stay possible, such as all ends of a text.
    """
    names = ("eos_token_id", "bos_token_id", "pad_token_id", "unk_token_id")
    end, begin, padding, unknown = (getattr(tokenizer, name, None) for name in names)
    drawn: set[int | None] = {*possible, end, begin}
    unused = set[int]()
    if len(tokenizer) < size:  # read all tokens only if needed
        unused = set(range(size)).difference(tokenizer.get_vocab().values(), drawn)
    return SpecialTokens(
        None if padding in drawn else padding,
        None if unknown in drawn else unknown,
        tuple(sorted(unused)),
    )


class TokenizerVocabulary:
    """A tokenizer's vocabulary; its `token_bytes` is None unless texts are the bytes of tokens.

    Args:
        tokenizer, size, ends: as for `vocabulary_of`.

    Attributes:
        padding, unknown, unused: the ids that are never drawn, as in `special_tokens`.
        start: the token that the tokenizer puts before every text; None if it puts none.
        ends: the ids that end a text.
    """

    def __init__(self, tokenizer: Any, size: int, ends: Iterable[int]) -> None:
        self._tokenizer, self._size = tokenizer, size
        # Configurations have ids that no token has, such as -1 for no end.
        self.ends: tuple[int, ...] = tuple(dict.fromkeys(end for end in ends if 0 <= end < size))
        self.start: int | None = _start_token(tokenizer)
        self.padding, self.unknown, self.unused = special_tokens(tokenizer, size, self.ends)
        self._template: ChatTemplate | None = None
        self._to_bytes: Any = _bytes_of(tokenizer)
        if self._to_bytes is None:
            self.token_bytes = None  # type: ignore[assignment]
            return
        self._added: dict[int, bytes] = {
            token: b"" if added.special else added.content.encode()
            for token, added in tokenizer.added_tokens_decoder.items()
        }

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without the tokens that the tokenizer puts around it.

        A text may begin with the name of the start token, as a rendered chat template does.
        """
        ids = _encode(self._tokenizer, text)
        # The model puts the start token before a text, so it must not be in the text too. Alone
        # it is a word, such as one to ban.
        return ids[1:] if len(ids) > 1 and ids[0] == self.start else ids

    def token_name(self, token: int) -> str:
        """Return the name of a token, such as `<|endoftext|>`; "" for an id without a token."""
        name = self._tokenizer.convert_ids_to_tokens(int(token))
        return name if isinstance(name, str) else ""

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's chat template; None if it has none."""
        template = getattr(self._tokenizer, "chat_template", None)
        if isinstance(template, dict):  # several templates, by name
            template = template.get("default")
        return template if isinstance(template, str) else None

    def render_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Return the text of messages, up to where the answer begins."""
        source = self.chat_template
        if source is None:
            raise UsageError(NO_TEMPLATE)
        if self._template is None or self._template.source != source:
            special = getattr(self._tokenizer, "special_tokens_map", {})
            names = {name: str(token) for name, token in special.items()}
            self._template = ChatTemplate(source, names)
        return self._template.render(messages, tools)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens and ends."""
        ids = [int(token) for token in ids if token not in self.ends]
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for special tokens and ends."""
        token = int(token)
        if token in self.ends:
            return b""
        if token in self._added:
            return self._added[token]
        piece = self._tokenizer.convert_ids_to_tokens(token)
        text: bytes = b"" if piece is None else self._to_bytes(piece)
        return text


def _encode(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=special, verbose=False)
    return ids


def _start_token(tokenizer: Any) -> int | None:
    """Return the token that a tokenizer puts before every text, or None."""
    plain, whole = _encode(tokenizer, "a"), _encode(tokenizer, "a", special=True)
    # Compare encodings: tokenizers have no common attribute for the tokens that they prepend.
    places = range(len(whole) - len(plain) + 1)
    at = next((i for i in places if whole[i : i + len(plain)] == plain), 0)
    if at > 1:
        raise UsageError(f"this tokenizer puts {at} tokens before a text; corelm knows one")
    return whole[0] if at else None


def _bytes_of(tokenizer: Any) -> Callable[[str], bytes] | None:
    """Return a function from a token's name to its bytes; None if tokens aren't bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    kinds = set()
    if decoder is not None:  # its state as JSON; the whole tokenizer's has megabytes
        state = json.loads(decoder.__getstate__())
        kinds = {part["type"] for part in state.get("decoders", [state])}
    if kinds == {"ByteLevel"}:
        table = {character: byte for byte, character in enumerate(byte_alphabet())}
        return lambda piece: bytes(table[character] for character in piece if character in table)
    # Any other decoder may look at neighbouring tokens, so its tokens have no bytes alone.
    if kinds and kinds <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}:
        return _sentencepiece_bytes
    return None


def _sentencepiece_bytes(piece: str) -> bytes:
    byte = BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()
