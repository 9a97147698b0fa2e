"""Hugging Face's tokenizers as vocabularies: ids, bytes, special tokens."""

from __future__ import annotations

import pytest

from corelm.abilities import can
from corelm.errors import UsageError
from corelm.interop import special_tokens, vocabulary_of
from corelm.interop.testing import tiny_tokenizer
from corelm.runs import ModelLogits

pytestmark = pytest.mark.engines("transformers")
transformers = pytest.importorskip("transformers", reason="pip install transformers")

from tokenizers import Tokenizer, decoders, models, processors  # noqa: E402

TOKENIZER = tiny_tokenizer()
TEXTS = ["see the cat", " the\n", "naïve 日本 👩‍🔬", "", "a  b"]


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_tokens_are_bytes(text):
    vocabulary = vocabulary_of(TOKENIZER)
    ids = vocabulary.encode(text)
    assert b"".join(map(vocabulary.token_bytes, ids)) == text.encode()
    assert vocabulary.decode(ids) == text
    assert can(vocabulary, "token_bytes")


def test_ends_that_are_no_tokens_end_no_text():
    """Models' configurations contain such ids: -1 for none, or ids of a larger model."""
    assert vocabulary_of(TOKENIZER, ends=[-1, 5, 10**6, 5, 3]).ends == (5, 3)
    assert vocabulary_of(TOKENIZER, size=300, ends=[299, 300]).ends == (299,)


def sentencepiece_tokenizer():
    """Return a tokenizer in the manner of Llama's, with a token that begins every text."""
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    pieces += ["▁", "t", "h", "e", "th", "the", "▁the"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    backend = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    return transformers.LlamaTokenizer(vocab=dict(backend.get_vocab()), merges=merges)


def test_tokens_in_the_manner_of_sentencepiece_are_bytes():
    tokenizer = sentencepiece_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    ids = vocabulary.encode("the the é")
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert "<0xC3>" in pieces, pieces
    assert b"".join(map(vocabulary.token_bytes, ids)).decode().strip() == "the the é"
    assert vocabulary.decode(ids) == "the the é"


def test_added_and_special_tokens():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<think>"])
    vocabulary = vocabulary_of(tokenizer)
    think, end = len(tokenizer) - 1, tokenizer.eos_token_id
    assert vocabulary.token_bytes(think) == b"<think>"
    assert vocabulary.token_bytes(end) == b""
    assert vocabulary.token_name(end) == tokenizer.eos_token
    assert vocabulary.decode([end, think]) == "<think>"


def test_other_tokenizers_decode_whole_texts():
    backend = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    vocabulary = vocabulary_of(tokenizer)
    assert not can(vocabulary, "token_bytes")
    assert vocabulary.decode(vocabulary.encode("ab")) == "ab"
    assert vocabulary.ends == ()


def test_a_start_token_is_found():
    assert vocabulary_of(TOKENIZER).start is None
    tokenizer = tiny_tokenizer(start=True)
    vocabulary = vocabulary_of(tokenizer)
    assert vocabulary.start == tokenizer.bos_token_id
    assert vocabulary.encode("the cat") == TOKENIZER.encode("the cat") == [257, 261]


def test_a_text_that_begins_with_the_start_token_has_it_once():
    vocabulary = vocabulary_of(tiny_tokenizer(start=True))
    assert vocabulary.encode("<|endoftext|>the cat") == [257, 261]
    assert vocabulary.encode("the<|endoftext|>the") == [257, vocabulary.start, 257]
    assert vocabulary.encode("<|endoftext|>") == [vocabulary.start]  # a word, such as one to ban
    assert vocabulary_of(TOKENIZER).encode("<|endoftext|>the") == [263, 257]


def test_two_start_tokens_are_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="! ! $A", special_tokens=[("!", 0)]
    )
    with pytest.raises(UsageError, match="puts 2 tokens before a text; corelm knows one"):
        vocabulary_of(tokenizer)


def test_the_size_and_the_ends_are_the_models():
    vocabulary = vocabulary_of(TOKENIZER, 300, [3, 263])
    assert (len(vocabulary), vocabulary.ends) == (300, (3, 263))
    assert (vocabulary.token_bytes(290), vocabulary.decode([290])) == (b"", "")
    assert (vocabulary.token_bytes(3), vocabulary.decode([257, 3])) == (b"", "the")


def test_padding_unknown_words_and_ids_beyond_the_tokens_are_never_drawn():
    tokenizer = tiny_tokenizer(pad_token="!", unk_token="the")
    vocabulary = vocabulary_of(tokenizer, 267)
    assert (vocabulary.padding, vocabulary.unknown) == (0, 257)
    assert vocabulary.unused == (264, 265, 266)
    assert ModelLogits(vocabulary).never.tolist() == [0, 257, 264, 265, 266]


def test_a_token_that_ends_or_begins_a_text_stays_possible():
    end = {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    assert vocabulary_of(tiny_tokenizer(**end)).padding is None
    assert len(ModelLogits(vocabulary_of(tiny_tokenizer(**end), ends=[])).never) == 0
    padded_with_another_end = vocabulary_of(tiny_tokenizer(pad_token="!"), 270, ends=[0, 265])
    assert ModelLogits(padded_with_another_end).never.tolist() == [264, 266, 267, 268, 269]


def test_a_tokenizer_may_leave_out_ids():
    class Even(dict):
        pad_token_id = 2
        get_vocab = dict.copy

    gaps = Even({name: 2 * i for name, i in TOKENIZER.get_vocab().items()})
    special = special_tokens(gaps, 2 * len(gaps), possible=[3])
    assert special.unused == (1, *range(5, 2 * len(gaps), 2))
    assert (special.padding, special.unknown) == (2, None)
