"""Hugging Face's tokenizers as vocabularies: ids, bytes, special tokens."""

from __future__ import annotations

import pytest

import corelm
from corelm.errors import UsageError
from corelm.interop import vocabulary_of
from corelm.interop.testing import tiny_tokenizer

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
    assert isinstance(vocabulary, corelm.ByteVocabulary)


def test_ends_that_are_no_tokens_end_no_text():
    """Configurations of models have such ids: -1 for none, or those of a larger model."""
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
    assert vocabulary.decode([end, think]) == "<think>"


def test_other_tokenizers_decode_whole_texts():
    backend = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    vocabulary = vocabulary_of(tokenizer)
    assert not isinstance(vocabulary, corelm.ByteVocabulary)
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
    assert (vocabulary.padding, vocabulary.unknown) == (None, None)
