"""The tokenizers of KerasHub as vocabularies."""

from __future__ import annotations

import io

import pytest

keras_hub = pytest.importorskip("keras_hub", reason="pip install keras-hub")

import tiny_keras_hub  # noqa: E402
from corelm_keras_hub.vocabulary import vocabulary_of  # noqa: E402

from corelm.abilities import can  # noqa: E402
from corelm.generation.open_texts import Text  # noqa: E402
from corelm.runs import ModelLogits  # noqa: E402

TEXTS = ["the cat", " the  cat\n", "Caf\u00e9 \u2014 \U0001f408!", ""]


def preprocessor(tokenizer, start=None, end=None, pad=0):
    """A preprocessor for a tokenizer that may have no special tokens of its own."""
    for name, id in {"start_token_id": start, "end_token_id": end, "pad_token_id": pad}.items():
        if not hasattr(tokenizer, name):
            setattr(tokenizer, name, id)
    return keras_hub.models.CausalLMPreprocessor(tokenizer, sequence_length=16)


def sentence_piece(vocab_size=290, byte_fallback=True, **options):
    """A tokenizer trained on a sentence, with a piece for each byte."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="pip install sentencepiece")
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat and the cat ran"] * 20),
        model_writer=proto,
        vocab_size=vocab_size,
        byte_fallback=byte_fallback,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
        **options,
    )
    return keras_hub.tokenizers.SentencePieceTokenizer(proto=proto.getvalue())


def tokenizers():
    yield "bytes", lambda: keras_hub.tokenizers.ByteTokenizer(lowercase=False)
    yield "byte pairs", tiny_keras_hub.tokenizer
    yield "codepoints", lambda: keras_hub.tokenizers.UnicodeCodepointTokenizer(lowercase=False)
    yield "pieces", sentence_piece


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("make"), [pytest.param(make, id=name) for name, make in tokenizers()])
def test_texts_survive_and_decode_as_in_keras_hub(make, text):
    tokenizer = make()
    size = tokenizer.vocabulary_size() or 0x110000  # all codepoints
    vocabulary = vocabulary_of(preprocessor(tokenizer), size)
    ids = vocabulary.encode(text)
    assert can(vocabulary, "token_bytes")
    assert len(vocabulary) == size
    assert vocabulary.decode(ids) == text
    if ids:
        assert tokenizer.detokenize(ids) == text
    written = Text(vocabulary, [])
    assert "".join(map(written.add, ids)) == text


@pytest.mark.parametrize("text", ["the cat \u2014 sat!", "a <turn> caf\u00e9", "the<s>"])
def test_unknown_marks_are_shown_as_in_keras_hub(text):
    tokenizer = sentence_piece(30, byte_fallback=False, user_defined_symbols=["<turn>"])
    vocabulary = vocabulary_of(preprocessor(tokenizer), tokenizer.vocabulary_size())
    ids = [*vocabulary.encode(text), 1, 2]
    assert vocabulary.decode(ids) == tokenizer.detokenize(ids)
    written = Text(vocabulary, [])
    assert "".join(map(written.add, ids)) == tokenizer.detokenize(ids)


def test_the_start_and_the_ends_are_those_of_the_preprocessor():
    tokenizer = keras_hub.tokenizers.ByteTokenizer()
    vocabulary = vocabulary_of(preprocessor(tokenizer, start=1, end=2), 256)
    assert (vocabulary.start, vocabulary.ends) == (1, {2})
    tokenizer.end_token2_id = 3  # as Llama 3 has it
    assert vocabulary_of(preprocessor(tokenizer), 256).ends == {2, 3}
    bare = vocabulary_of(preprocessor(keras_hub.tokenizers.ByteTokenizer()), 256)
    assert (bare.start, bare.ends, bare.padding, bare.unknown) == (None, frozenset(), None, None)


def test_special_tokens_have_no_text():
    tokenizer = tiny_keras_hub.tokenizer()
    vocabulary = vocabulary_of(preprocessor(tokenizer), tokenizer.vocabulary_size() + 2)
    end = tokenizer.end_token_id
    assert (vocabulary.start, vocabulary.ends) == (end, {end})
    assert [vocabulary.token_bytes(id) for id in (end, end + 1)] == [b"", b""]
    assert vocabulary.decode([end, *vocabulary.encode("the cat"), end]) == "the cat"


def test_a_tokenizer_without_bytes_decodes_as_keras_hub_does():
    words = ["[PAD]", "[UNK]", "the", "cat", "##s"]
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(words, special_tokens=["[PAD]", "[UNK]"])
    vocabulary = vocabulary_of(preprocessor(tokenizer), len(words))
    ids = vocabulary.encode("the cats")
    assert ids == [2, 3, 4]
    assert vocabulary.decode(ids) == "the cats"
    assert not can(vocabulary, "token_bytes")


def test_padding_unknown_words_and_ids_beyond_the_tokens_are_never_drawn():
    pieces = ["a", "b", "ab", "<s>", "</s>", "<pad>"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    bloom = keras_hub.models.BloomTokenizer(vocabulary=ids, merges=["a b"])
    vocabulary = vocabulary_of(preprocessor(bloom), 8)
    assert (vocabulary.padding, list(vocabulary.unused)) == (5, [6, 7])
    assert ModelLogits(vocabulary).never.tolist() == [5, 6, 7]
    bloom.pad_token_id = bloom.end_token_id  # which ends a text
    assert vocabulary_of(preprocessor(bloom), 6).padding is None


def test_unknown_words_of_sentence_piece_are_never_drawn():
    vocabulary = vocabulary_of(preprocessor(sentence_piece()), 290)
    assert vocabulary.unknown == 0
    assert 0 in ModelLogits(vocabulary).never


def test_a_tokenizer_may_pad_with_an_ordinary_token():
    """KerasHub's GPT2Tokenizer pads with id 0, an exclamation mark in the first vocabulary."""
    for piece, padding in (("!", None), ("<|padding|>", 0)):
        pieces = {piece: 0, "a": 1, "b": 2, "ab": 3, "<|endoftext|>": 4}
        tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=pieces, merges=["a b"])
        assert vocabulary_of(preprocessor(tokenizer), 5).padding == padding
