"""A word means every token, and every sequence of tokens, that writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corelm_break_loop import BreakLoop
from corelm_samplers.ban import Ban
from corelm_samplers.dry import Dry
from corelm_samplers.force import Force
from corelm_samplers.logit_bias import LogitBias
from corelm_samplers.xtc import Xtc

import corelm
from corelm import Context
from corelm.abilities import can
from corelm.bundles import BytePairVocabulary, WordVocabulary
from corelm.errors import UsageError
from corelm.filters import TokenNames
from corelm.interop import vocabulary_of
from corelm.interop.testing import tiny_tokenizer
from corelm.testing import ToyModel

INF = float("inf")
VOCABULARY = WordVocabulary(["", "[UNK]", "[end]", "the", "end", "3", ","], "words+punctuation")


@pytest.mark.parametrize(
    ("token", "ids"),
    [(0, [0]), (6, [6]), ("the", [3]), ("The", [3]), ("3", [5]), (",", [6]), ("the end", [3, 4])],
)
def test_an_id_or_a_word_is_found(token, ids):
    assert TokenNames(VOCABULARY, 7).ids(token) == ids


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (7, "there is no token 7; the ids go from 0 to 6"),
        (-1, "there is no token -1; the ids go from 0 to 6"),
        ("film", "the vocabulary of this model does not have 'film'; leave it out"),
        ("the film", "the vocabulary of this model does not have 'the film'; leave it out"),
        ("\n", "the vocabulary of this model does not have '\\n'; leave it out"),
    ],
)
def test_an_invalid_token_is_refused(token, message):
    names, nowhere = TokenNames(VOCABULARY, 7), np.zeros((1, 0), dtype=int)
    for find in (names.ids, names.alone, lambda word: names.completing([word], nowhere)):
        with pytest.raises(UsageError) as caught:
            find(token)
        assert str(caught.value) == message


def test_a_word_needs_a_vocabulary():
    with pytest.raises(UsageError) as caught:
        TokenNames(None, 7).alone("the")
    assert str(caught.value) == (
        "the word 'the' has no id where there is no vocabulary; "
        "give the id itself, or sample from a model"
    )


def test_one_token_is_not_several():
    assert TokenNames(VOCABULARY, 7).alone("end") == {4}
    with pytest.raises(UsageError) as caught:
        TokenNames(VOCABULARY, 7).alone("the end")
    assert str(caught.value) == (
        "'the end' is 2 tokens ('The', 'End'); give each of them by itself"
    )


def test_a_vocabulary_without_a_word_for_the_unknown_is_believed():
    class Bytes:
        padding = unknown = start = None
        ends = ()

        def encode(self, text):
            return list(text.encode())

    assert TokenNames(Bytes(), 256).ids("no") == [110, 111]


def test_the_vocabulary_of_a_model_reaches_the_samplers():
    model = ToyModel()
    assert TokenNames(model.vocabulary, len(model.vocabulary)).alone("cat") == {4}


# Four kinds of tokenizers, each of which writes "not" in many ways


def byte_pairs():
    return BytePairVocabulary(
        [("n", "o"), ("o", "t"), ("no", "t"), ("Ġ", "not"), ("Ġ", "n"), ("k", "no"), ("Ġ", "a"),
         ("not", "!"), ("Ã", "©"), ("h", "Ã©"), ("Ġnot", "x"), ("i", "s"), ("Ġ", "is")]
    )  # fmt: skip


def _tokenizer(model, **parts):
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    backend = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    return vocabulary_of(
        transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    )


def word_piece():
    tokenizers = pytest.importorskip("tokenizers")
    pieces = ["[UNK]", "not", "no", "n", "is", "a", "kno", "!", "hé", ".", "##not", "##no", "##n",
              "##ot", "##o", "##t", "##x", "##!"]  # fmt: skip
    return _tokenizer(
        tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}),
        normalizer=tokenizers.normalizers.BertNormalizer(strip_accents=False),
        pre_tokenizer=tokenizers.pre_tokenizers.BertPreTokenizer(),
        decoder=tokenizers.decoders.WordPiece(),
    )


def sentence_piece():
    tokenizers = pytest.importorskip("tokenizers")
    pieces = ["[UNK]", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁not", "not", "▁n",
              "n", "no", "ot", "o", "t", "▁is", "▁a", "a", "x", "not!", "k", "hé"]  # fmt: skip
    return _tokenizer(
        tokenizers.models.Unigram(
            [(piece, -1.0 - (i < 257)) for i, piece in enumerate(pieces)], 0, byte_fallback=True
        ),
        pre_tokenizer=tokenizers.pre_tokenizers.Metaspace(),
        decoder=tokenizers.decoders.Sequence(
            [
                tokenizers.decoders.Replace("▁", " "),
                tokenizers.decoders.ByteFallback(),
                tokenizers.decoders.Fuse(),
                tokenizers.decoders.Strip(" ", 1, 0),
            ]
        ),
    )


def trained_sentence_piece(folder):
    """A tokenizer that SentencePiece itself trained, as its users convert it."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    tokenizers = pytest.importorskip("tokenizers")
    texts = ["it is not a knot, not now", "is a note not a knot? not!", "no, it is not hé"] * 9
    trainer.train(
        sentence_iterator=iter(texts), model_prefix=f"{folder}/tiny", vocab_size=40, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    lines = Path(f"{folder}/tiny.vocab").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    model = tokenizers.models.Unigram([(piece, float(score)) for piece, score in rows], 0)
    return _tokenizer(
        model,
        pre_tokenizer=tokenizers.pre_tokenizers.Metaspace(),
        decoder=tokenizers.decoders.Metaspace(),
    )


def words():
    return WordVocabulary(["", "[UNK]", "not", "is", "a", "no", "!", "knot"], "words+punctuation")


KINDS = {
    "byte pairs": byte_pairs,
    "gpt2": lambda: corelm.load("gpt2").vocabulary,
    "WordPiece": word_piece,
    "Unigram": sentence_piece,
    "words": words,
}


@pytest.fixture(params=[*KINDS, "SentencePiece"])
def vocabulary(request, tmp_path):
    if request.param == "SentencePiece":
        return trained_sentence_piece(tmp_path)
    return KINDS[request.param]()


@pytest.fixture
def names(vocabulary):
    return TokenNames(vocabulary, len(vocabulary))


def is_drawable(vocabulary, word):
    return vocabulary.unknown is None or vocabulary.unknown not in vocabulary.encode(word)


def next_texts(vocabulary, ids):
    """Return the bytes of a text and of what each token would make of it."""
    if not can(vocabulary, "token_bytes"):
        decode = vocabulary.decode
        return [decode([*ids, *more]).lower().encode() for more in [(), *enumerated(vocabulary)]]
    pieces = [vocabulary.token_bytes(i) for i in range(len(vocabulary))]
    before = b"".join(pieces[i] for i in ids)
    return [text.removeprefix(b" ") for text in (before, *(before + piece for piece in pieces))]


def enumerated(vocabulary):
    return [(i,) for i in range(len(vocabulary))]


def tokenizations(vocabulary, text, allowed=None):
    """Return all sequences of tokens that write a text, and in which each token is allowed."""
    text, done, unfinished = text.encode(), [], [[]]
    while unfinished:
        ids = unfinished.pop()
        before, *after = next_texts(vocabulary, ids)
        if before == text:
            done.append(ids)
            continue
        fitting = {
            token
            for token, longer in enumerate(after)
            if len(longer) > len(before) and text.startswith(longer)
        }
        if allowed:
            fitting &= {*np.flatnonzero(allowed(ids)).tolist()}
        unfinished += [[*ids, token] for token in fitting]
    return sorted(done)


def after_ban(vocabulary, *words):
    """Return a function from ids to the tokens that a ban allows next."""
    ban, logits = Ban(words=words), np.zeros((1, len(vocabulary)))

    def allowed(ids):
        tokens = np.array([ids], dtype=np.int64)
        return ban(logits, Context.of(tokens, vocabulary=vocabulary))[0] > -INF

    return allowed


@pytest.mark.parametrize("text", ["not", "is not", "is not a", "not!", "a not is", "hé not"])
def test_no_tokenization_writes_a_banned_word(vocabulary, text):
    if not is_drawable(vocabulary, text):
        pytest.skip("this vocabulary cannot write it")
    assert tokenizations(vocabulary, text)
    assert tokenizations(vocabulary, text, after_ban(vocabulary, "not")) == []
    assert tokenizations(vocabulary, text, after_ban(vocabulary, "a", text)) == []


@pytest.mark.parametrize("text", ["knot", "is no", "a no a", "a is", "is knot no"])
def test_a_ban_leaves_words_in_which_it_is_a_part(vocabulary, text):
    if not is_drawable(vocabulary, text):
        pytest.skip("this vocabulary cannot write it")
    every = tokenizations(vocabulary, text)
    assert every
    assert tokenizations(vocabulary, text, after_ban(vocabulary, "not", "!")) == every


def test_a_token_that_holds_the_word_and_more_letters_stays():
    vocabulary = byte_pairs()
    allowed = after_ban(vocabulary, "not")(vocabulary.encode("is"))
    names = {word for word, ok in zip(vocabulary.words, allowed, strict=True) if not ok}
    assert names == {"Ġnot"}
    assert allowed[vocabulary.words.index("Ġnotx")]


@pytest.mark.parametrize(
    ("before", "last", "written"),
    [
        ("is no", "t", True), ("is kno", "t", False), ("", "not", True), ("is", "not", False),
        ("is,", "not", True), ("is\u201c", "not", True), ("é", "not", False),
        ("猫", "not", True), ("isn", "ot", False), ("is\nn", "ot", True), ("it is n", "o", False),
    ],
)  # fmt: skip
def test_letters_before_a_word_make_it_another(before, last, written):
    vocabulary = byte_pairs()
    [token] = vocabulary.encode(last)
    allowed = after_ban(vocabulary, "not")(vocabulary.encode(before))
    assert bool(allowed[token]) != written


def test_scripts_without_spaces_have_no_neighbours():
    vocabulary = byte_pairs()
    ids = vocabulary.encode("黒猫")
    assert not after_ban(vocabulary, "猫")(ids[:-1])[ids[-1]]
    assert after_ban(vocabulary, "黒")(ids[:-1])[ids[-1]]


def test_a_phrase_is_kept_out_and_its_beginning_is_not(vocabulary):
    allowed = after_ban(vocabulary, "is not")
    for text, stays in (("a is not", False), ("is", True), ("not is", True), ("is a not", True)):
        if is_drawable(vocabulary, text):
            every = tokenizations(vocabulary, text)
            assert tokenizations(vocabulary, text, allowed) == (every if stays else [])


def test_a_bias_moves_every_token_that_writes_the_word(vocabulary, names):
    logits = np.zeros((1, len(vocabulary)))
    context = Context.of([vocabulary.encode("is")], vocabulary=vocabulary)
    moved = LogitBias(bias={"not": 2.0})(logits, context)[0] == 2
    texts = {vocabulary.decode([i]).strip(" #").lower() for i in np.flatnonzero(moved).tolist()}
    assert {"not"} <= texts <= {"not", "not!"}
    assert {*vocabulary.encode("not")} <= {*np.flatnonzero(moved).tolist()} == names.alone("not")
    removed = LogitBias(bias={"not": -INF})(logits, context)[0] == -INF
    assert (removed == moved).all()


def test_a_bias_of_several_tokens_is_refused():
    model = vocabulary = byte_pairs()
    context = Context.of([[2]], vocabulary=vocabulary)
    with pytest.raises(UsageError) as caught:
        LogitBias(bias={"nose": 1.0})(np.zeros((1, len(model))), context)
    assert str(caught.value) == (
        "'nose' is 4 tokens (' ', 'no', 's', 'e'); give each of them by itself"
    )


@pytest.mark.parametrize(
    ("before", "text"),
    [("is", "is not"), ("is ", "is not"), ("", "not"), ("is!", "is! not"), ("is (", "is (not")],
)
def test_force_writes_a_word_as_a_text_does(before, text):
    vocabulary = byte_pairs()
    ids = vocabulary.encode(before)
    context = Context.of(np.array([ids], dtype=np.int64), vocabulary=vocabulary)
    forced = Force(words=["not"])
    [token] = np.flatnonzero(
        forced(np.zeros((1, len(vocabulary))), Context.of(
            context.tokens, prompt_length=len(ids), vocabulary=vocabulary))[0] > -INF
    )  # fmt: skip
    assert vocabulary.decode([*ids, token]) == text


def with_forced(sampler, vocabulary, text, prompt):
    """Return a text with the tokens that a sampler makes the only possible ones after it."""
    start = vocabulary.encode(prompt)
    ids = [*start, *vocabulary.encode(prompt + text)[len(start) :]]
    while True:
        context = Context.of([ids], prompt_length=len(start), vocabulary=vocabulary)
        after = sampler(np.zeros((1, len(vocabulary))), context)[0]
        if (after > -INF).sum() > 1:
            return vocabulary.decode(ids).strip().lower()
        ids.append(int(after.argmax()))


def test_forced_words_are_whole_words(vocabulary):
    assert with_forced(Force(words=["not", "a"]), vocabulary, "", "is") == "is not a"


def test_words_of_a_large_vocabulary_are_forced():
    text = with_forced(Force(words=["terrible"]), corelm.load("imdb").vocabulary, "", "It was")
    assert text == "it was terrible"


def test_a_loop_is_broken_by_a_whole_word(vocabulary):
    broken = with_forced(BreakLoop(words=["a"]), vocabulary, " is no is no is no", prompt="a")
    assert broken == "a is no is no is no a"


def test_every_token_of_a_breaker_ends_a_repetition(vocabulary):
    if not is_drawable(vocabulary, "!"):
        pytest.skip("this vocabulary cannot write it")
    ids = vocabulary.encode("is a is! a is a is! a")
    context, logits = Context.of([ids], vocabulary=vocabulary), np.zeros((1, len(vocabulary)))
    free = Dry(multiplier=1.0, allowed_length=len(vocabulary.encode("a")) + 1)
    assert (free(logits, context) < 0).any()
    assert (replace(free, sequence_breakers=("!",))(logits, context) == 0).all()


def test_xtc_leaves_every_token_of_a_word_alone(vocabulary, names):
    logits = np.zeros((1, len(vocabulary)))
    context = Context.of([[2]], vocabulary=vocabulary)
    cut = Xtc(probability=1, threshold=1e-9, special=("not",))(logits, context)[0]
    assert (cut[sorted(names.alone("not"))] > -INF).all()
    assert (cut > -INF).sum() == len(names.alone("not")) + 1


def test_a_special_token_is_a_word_by_its_name():
    pytest.importorskip("transformers")
    transformers_tokenizer = tiny_tokenizer()
    vocabulary = vocabulary_of(transformers_tokenizer)
    [end] = vocabulary.ends
    assert TokenNames(vocabulary, len(vocabulary)).alone("<|endoftext|>") == {end}
